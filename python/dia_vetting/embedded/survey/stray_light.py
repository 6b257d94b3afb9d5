"""Light that is no source: satellite streaks and glints, ghosts, spikes and aureoles of bright stars."""

from __future__ import annotations

__all__ = ["aureoles", "ghosts", "glints", "streaks"]

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

from ...masks import MaskBit
from .artefacts import ImageContext, Patch
from .render import SourceList, draw_sources

type F64 = NDArray[np.float64]
type F32 = NDArray[np.float32]

_SATELLITE_WIDTH = 2.0  # arcsec: a satellite is out of focus, and may be resolved
_FLOOR = 0.05  # pixels below this are left out, sky noise


def _flicker(rng: np.random.Generator, along: F64, length: float) -> F64:
    """Slow changes of the brightness along a streak, and now and then flashes."""
    wave = np.ones(len(along))
    for _ in range(3):
        wave += rng.normal(0.0, 0.2) * np.sin(
            2 * np.pi * along / length * rng.uniform(0.5, 4) + rng.uniform(0, 6.28)
        )
    if rng.random() < 0.4:
        period, sharp = rng.uniform(60.0, 300.0), rng.uniform(0.02, 0.1)
        phase = (along / period + rng.random()) % 1.0 - 0.5
        wave += rng.uniform(1.0, 4.0) * np.exp(-0.5 * (phase / sharp) ** 2)
    return np.clip(wave, 0.05, None)


def _streak(context: ImageContext, rng: np.random.Generator) -> Patch:
    ny, nx = context.shape
    scale = context.config.camera.pixel_scale
    angle = rng.uniform(0.0, np.pi)
    x0, y0 = rng.uniform(0, nx), rng.uniform(0, ny)
    sigma = context.psf.fwhm.constant / 2.355
    half = 0.5 * rng.uniform(0.1, 1.0) * _SATELLITE_WIDTH / scale
    y, x = np.mgrid[0:ny, 0:nx].astype(np.float32)
    across = -(x - x0) * math.sin(angle) + (y - y0) * math.cos(angle)
    near = np.abs(across) < half + 4.0 * sigma
    rows, columns = np.nonzero(near)
    distance = across[near].astype(float)
    along = (columns - x0) * math.cos(angle) + (rows - y0) * math.sin(angle)
    root = sigma * math.sqrt(2.0)
    profile = 0.5 * (erf((distance + half) / root) - erf((distance - half) / root)) / math.erf(half / root)
    low, high = np.log(context.defects.streak_brightness)
    level = context.noise * math.exp(rng.uniform(low, high))
    light = level * profile * _flicker(rng, along, float(math.hypot(nx, ny)))
    if rng.random() < 0.25:  # it enters the Earth's shadow, or the shutter closes
        light = light * (along > rng.uniform(-0.3, 0.3) * nx)
    keep = light > _FLOOR * context.noise
    return Patch("streak", columns[keep], rows[keep], light[keep])


def streaks(context: ImageContext) -> list[Patch]:
    """Draw satellite streaks (cause streak); the configured share is masked STREAK, with all their pixels.

    Parameters
    ----------
    context : `ImageContext`
        The image.
    """
    rng = context.rng("streaks")
    patches = [_streak(context, rng) for _ in range(context.count(rng, context.defects.streak))]
    masked = rng.random(len(patches)) < context.defects.streak_masked
    return [p.masked_by(MaskBit.STREAK) if m else p for p, m in zip(patches, masked, strict=True)]


def _glint(context: ImageContext, rng: np.random.Generator) -> list[Patch]:
    """Flashes at equal distances along a line, each drawn by the PSF."""
    ny, nx = context.shape
    low, high = context.defects.glint_flashes
    n = int(rng.integers(low, high + 1))
    angle, spacing = rng.uniform(0, np.pi), rng.uniform(25.0, 160.0)
    steps = np.arange(n) - 0.5 * (n - 1)
    x = rng.uniform(0.1, 0.9) * nx + steps * spacing * math.cos(angle)
    y = rng.uniform(0.1, 0.9) * ny + steps * spacing * math.sin(angle)
    area = 2.27 * context.psf.fwhm.constant**2
    snr = 6.0 * rng.random() ** -0.7 * rng.uniform(0.6, 1.4, n)
    flux = np.minimum(snr, 200.0) * context.noise * math.sqrt(area)
    patches = []
    half = int(6 * context.psf.fwhm.constant) + 2
    for px, py, f in zip(x, y, flux, strict=True):
        image = draw_sources(SourceList.points(px, py, f), context.psf, 0.03 * context.noise)
        x0, y0 = max(int(px) - half, 0), max(int(py) - half, 0)
        box = image[y0 : max(int(py) + half, 0), x0 : max(int(px) + half, 0)]
        patches.append(Patch.from_box("glint", box, x0, y0, context.shape, _FLOOR * context.noise))
    return patches


def glints(context: ImageContext) -> list[Patch]:
    """Draw rows of flashes (cause glint), never masked; they look like stars that were not there before.

    Parameters
    ----------
    context : `ImageContext`
        The image.
    """
    rng = context.rng("glints")
    return [p for _ in range(context.count(rng, context.defects.glint)) for p in _glint(context, rng)]


def _ghost(context: ImageContext, rng: np.random.Generator, x0: float, y0: float) -> Patch:
    """Draw an image of the pupil, out of focus: an annulus, cut by a filter's edge or a baffle to an arc."""
    ny, nx = context.shape
    outer = rng.uniform(0.05, 0.16) * min(nx, ny)
    inner = outer * rng.uniform(0.4, 0.75)
    # The reflection lies on the line through the optical axis, at a distance of its own.
    cx, cy = x0 + rng.normal(0.0, 0.5 * outer), y0 + rng.normal(0.0, 0.5 * outer)
    reach = 1.3 * outer + 10.0
    x1, x2 = (int(np.clip(value, 0, nx)) for value in (cx - reach, cx + reach))
    y1, y2 = (int(np.clip(value, 0, ny)) for value in (cy - reach, cy + reach))
    dx, dy = np.arange(x1, x2)[None, :] - cx, np.arange(y1, y2)[:, None] - cy
    radius = np.hypot(dx, dy * rng.uniform(0.9, 1.1))
    soft = rng.uniform(0.7, 3.0)
    ring = 1.0 / (1.0 + np.exp(np.clip((radius - outer) / soft, -40, 40)))
    ring *= 1.0 - 1.0 / (1.0 + np.exp(np.clip((radius - inner) / soft, -40, 40)))
    angle = rng.uniform(0, 2 * np.pi)
    ring *= 1.0 + 0.6 * (dx * math.cos(angle) + dy * math.sin(angle)) / outer
    if rng.random() < 0.5:
        cut = dx * math.cos(angle + 1.0) + dy * math.sin(angle + 1.0) - rng.uniform(-0.3, 0.5) * outer
        ring *= 1.0 / (1.0 + np.exp(np.clip(cut / soft, -40, 40)))
    level = context.noise * rng.uniform(*context.defects.ghost_brightness)
    rows, columns = np.nonzero(ring * level > _FLOOR * context.noise)
    return Patch("ghost", columns + x1, rows + y1, level * ring[rows, columns])


def ghosts(context: ImageContext, bright: SourceList) -> list[Patch]:
    """Draw rings and arcs near bright stars (cause ghost), never masked.

    Template exposures of one band, taken one after the other, have the same ghosts, which thus survive their
    coaddition.

    Parameters
    ----------
    context : `ImageContext`
        The image.
    bright : `SourceList`
        Its bright stars; without any, the stars that cause the ghosts lie outside the image.
    """
    template = context.visit.is_template
    rng = context.detector_rng(f"ghosts {context.visit.band}") if template else context.rng("ghosts")
    ny, nx = context.shape
    patches = []
    for _ in range(context.count(rng, context.defects.ghost)):
        x0, y0 = rng.uniform(0, nx), rng.uniform(0, ny)
        if len(bright) and not template and rng.random() < 0.7:
            which = rng.choice(len(bright), p=bright.flux / bright.flux.sum())
            x0, y0 = float(bright.x[which]), float(bright.y[which])
        patches.append(_ghost(context, rng, x0, y0))
    return patches


def aureoles(context: ImageContext, bright: SourceList, rotation: float) -> F32:
    """Draw scattered light and diffraction spikes of bright stars, in addition to their PSF.

    Parameters
    ----------
    context : `ImageContext`
        The image.
    bright : `SourceList`
        Its bright stars, electron.
    rotation : `float`
        Angle of the spikes, deg.

    Returns
    -------
    light : `numpy.ndarray`, (ny, nx), float32
        electron per pixel.
    """
    ny, nx = context.shape
    light = np.zeros((ny, nx), np.float32)
    core = 3.0 * context.psf.fwhm.constant
    for x0, y0, flux in zip(bright.x, bright.y, bright.flux, strict=True):
        reach = int(np.clip(math.sqrt(flux / context.noise) / 3.0, 40, 400))
        x1, x2 = max(int(x0) - reach, 0), min(int(x0) + reach, nx)
        y1, y2 = max(int(y0) - reach, 0), min(int(y0) + reach, ny)
        if x1 >= x2 or y1 >= y2:
            continue
        dx, dy = np.arange(x1, x2)[None, :] - x0, np.arange(y1, y2)[:, None] - y0
        radius = np.hypot(dx, dy)
        fade = np.clip(1.0 - radius / reach, 0.0, 1.0)
        halo = (
            context.config.psf.aureole
            * flux
            / (2 * np.pi * math.log(1 + reach / core))
            / (radius**2 + core**2)
        )
        light[y1:y2, x1:x2] += (halo * fade).astype(np.float32)
        light[y1:y2, x1:x2] += _spikes(context, dx, dy, radius, fade, flux, rotation, reach)
    return light


def _spikes(
    context: ImageContext, dx: F64, dy: F64, radius: F64, fade: F64, flux: float, rotation: float, reach: int
) -> F32:
    sigma = context.psf.fwhm.constant / 2.355
    total = np.zeros(radius.shape)
    for angle in (rotation + 45.0, rotation + 135.0):
        c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        across = -dx * s + dy * c
        total += np.exp(-0.5 * (across / sigma) ** 2)
    peak = context.defects.spikes * flux / (4.0 * math.sqrt(2 * np.pi) * sigma * math.log(reach / 2.0))
    return np.asarray(peak * total * fade**2 / (radius + 2.0 * sigma), np.float32)
