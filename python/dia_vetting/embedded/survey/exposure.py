"""One exposure from photons to calibrated pixels: light, noise, charge, saturation, mask."""

from __future__ import annotations

__all__ = ["calibrated", "expose"]

import numpy as np
from numpy.typing import NDArray

from ...masks import MaskBit
from . import detector_defects, stray_light
from .artefacts import ImageContext, Patch
from .cosmic_rays import cosmic_rays
from .noise import correlated_noise, residual_sky
from .render import SourceList
from .visits import electrons_per_njy, sky_electrons

type F32 = NDArray[np.float32]
type U32 = NDArray[np.uint32]

_BRIGHT_STAR_REACH = 3.0  # of the box of a bright star in the truth table, where its light is this sky noise


def _bright_stars(context: ImageContext, bright: SourceList, light: F32) -> list[Patch]:
    """Return the areas around bright stars whose residuals may be detected (cause bright_star)."""
    ny, nx = context.shape
    patches = []
    for x, y, flux in zip(bright.x, bright.y, bright.flux, strict=True):
        reach = int(np.clip(np.sqrt(flux / (_BRIGHT_STAR_REACH * context.noise)) / 4.0, 8, 60))
        x1, x2, y1, y2 = max(int(x) - reach, 0), int(x) + reach, max(int(y) - reach, 0), int(y) + reach
        box = light[y1 : max(y2, 0), x1 : max(x2, 0)]
        floor = _BRIGHT_STAR_REACH * context.noise
        if box.size:
            patches.append(Patch.from_box("bright_star", box, x1, y1, (ny, nx), floor))
    return patches


def expose(context: ImageContext, light: F32, bright: SourceList) -> tuple[F32, U32, list[Patch]]:
    """Turn expected light into charge and mask, with every defect.

    Parameters
    ----------
    context : `ImageContext`
        The image.
    light : `numpy.ndarray`, (ny, nx), float32
        Expected charge of the sources, electron.
    bright : `SourceList`
        The bright stars, electron.

    Returns
    -------
    electrons : `numpy.ndarray`, (ny, nx), float32
        Charge with sky.
    mask : `numpy.ndarray`, (ny, nx), uint32
        Bits of `MaskBit`.
    patches : `list` [`Patch`]
        All defects, for the truth table.
    """
    sky = np.float32(sky_electrons(context.config, context.visit))
    expected = light + stray_light.aureoles(context, bright, context.visit.rotation)
    stray = stray_light.streaks(context) + stray_light.glints(context) + stray_light.ghosts(context, bright)
    for patch in stray:
        patch.apply(expected)
    electrons = correlated_noise(expected + sky, context.config, context.rng("pixel noise"))
    electrons += residual_sky(context.config, context.seed, context.visit, context.detector, context.noise)
    charge = cosmic_rays(context) + detector_defects.hot_pixels(context)
    charge += detector_defects.hot_columns(context) + detector_defects.edge_glow(context)
    for patch in charge:
        patch.apply(electrons)
    mask = np.zeros(context.shape, np.uint32)
    saturated = detector_defects.saturate(context, electrons, mask)
    ringing = detector_defects.crosstalk(context, saturated)
    for patch in ringing:
        patch.apply(electrons)
    for patch in (*stray, *charge, *ringing):
        patch.mark(mask)
    patches = [*stray, *charge, *saturated, *ringing, *_bright_stars(context, bright, light)]
    patches += detector_defects.dead_columns(context, electrons, mask)
    patches += detector_defects.edges(context, mask) + detector_defects.nan_patches(context, mask)
    return electrons, mask, patches


def calibrated(context: ImageContext, electrons: F32, mask: U32) -> tuple[F32, F32]:
    """Turn charge into flux as a pipeline does: sky subtracted, variance from the pixels themselves.

    Parameters
    ----------
    context : `ImageContext`
        The image.
    electrons, mask : `numpy.ndarray`, (ny, nx)
        From `expose`.

    Returns
    -------
    image, variance : `numpy.ndarray`, (ny, nx), float32
        nJy and nJy^2; NaN where NO_DATA.
    """
    gain = np.float32(electrons_per_njy(context.config, context.visit))
    sky = np.float32(sky_electrons(context.config, context.visit))
    image = (electrons - sky) / gain
    variance = (
        np.maximum(electrons, np.float32(0)) + np.float32(context.config.camera.read_noise**2)
    ) / gain**2
    no_data = (mask & np.uint32(MaskBit.NO_DATA)) != 0
    image[no_data] = np.nan
    variance[no_data] = np.nan
    return image, variance
