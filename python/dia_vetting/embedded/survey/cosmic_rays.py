"""Cosmic rays: straight muons, wriggling Compton electrons, compact hits.

Charge is laid down at many points along a path through the silicon and diffuses sideways on its way to the
gates, the more the deeper it was made; a thick detector thus has longer and fuzzier tracks.
"""

from __future__ import annotations

__all__ = ["cosmic_rays"]

import math

import numpy as np
from numpy.typing import NDArray

from ...masks import MaskBit
from .artefacts import ImageContext, Patch

type F64 = NDArray[np.float64]

_STEP = 0.2  # between the points of a path, pixel
_SPREAD = 4  # points that share the charge of a step
_OBVIOUS = 20.0  # peak in sky noise above which a finder may see a cosmic ray
_MASK_FLOOR = 2.0  # a finder masks pixels above this, sky noise
_WORM_RANGE = 12.0  # length of a worm of 10,000 electrons, pixel


def _deposit(
    context: ImageContext, cause: str, x: F64, y: F64, charge: F64, depth: F64, rng: np.random.Generator
) -> Patch:
    """Spread the charge of path points (depth from 0 at the gates to 1) over pixels."""
    camera = context.config.camera
    # Lateral diffusion grows as the root of the drift length; 100 micron of silicon give about 4 micron.
    sigma = 0.4 * math.sqrt(camera.thickness / 100.0) * 10.0 / camera.pixel_pitch * np.sqrt(depth) + 0.05
    offset = rng.standard_normal((2, len(x), _SPREAD)) * sigma[:, None]
    share = np.repeat(charge / _SPREAD, _SPREAD)
    return Patch.from_points(
        cause, (x[:, None] + offset[0]).ravel(), (y[:, None] + offset[1]).ravel(), share, context.shape
    )


def _muon(context: ImageContext, rng: np.random.Generator) -> Patch:
    """Draw a straight track: zenith angle as cos^2, charge per length by a skewed (Landau-like) law."""
    camera = context.config.camera
    ny, nx = context.shape
    cosine = max(float(rng.random()) ** (1.0 / 3.0), 0.05)
    across = camera.thickness * math.sqrt(1.0 - cosine**2) / cosine / camera.pixel_pitch
    n = max(3, int(across / _STEP))
    angle = rng.uniform(0.0, 2.0 * np.pi)
    along = np.linspace(0.0, across, n)
    x, y = (rng.uniform(-20, size + 20) + along * f(angle) for size, f in ((nx, math.cos), (ny, math.sin)))
    per_micron = context.defects.muon_deposit * (0.8 + rng.exponential(0.25, n))
    charge = per_micron * camera.thickness / cosine / n
    return _deposit(context, "muon", x, y, charge, np.linspace(0.0, 1.0, n), rng)


def _worm(context: ImageContext, rng: np.random.Generator) -> Patch:
    """Draw a path that turns the more, and leaves the more charge, the less energy is left."""
    ny, nx = context.shape
    energy = context.defects.worm_energy * float(rng.gamma(0.8)) + 400.0
    pitch = context.config.camera.pixel_pitch / 10.0
    length = float(np.clip(_WORM_RANGE / pitch * (energy / 1e4) ** 1.3, 0.5, 150.0))
    n = max(4, int(length / _STEP))
    left = np.linspace(1.0, 0.02, n)
    direction = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0.0, 0.13 / np.sqrt(left)))
    loss = left**-0.6
    # The path is inclined: its projection is shorter in places.
    step = _STEP * np.abs(np.cos(np.cumsum(rng.normal(0.0, 0.08, n))))
    x = rng.uniform(-10, nx + 10) + np.cumsum(step * np.cos(direction))
    y = rng.uniform(-10, ny + 10) + np.cumsum(step * np.sin(direction))
    depth = np.clip(rng.random() + np.cumsum(rng.normal(0.0, 0.03, n)), 0.02, 1.0)
    return _deposit(context, "worm", x, y, energy * loss / loss.sum(), depth, rng)


def _spot(context: ImageContext, rng: np.random.Generator) -> Patch:
    """Draw a hit of one to a few pixels, of a power-law spectrum."""
    ny, nx = context.shape
    settings = context.defects
    energy = min(settings.spot_energy * float(rng.random()) ** (-1.0 / (settings.spot_slope - 1.0)), 2e5)
    n = 16
    x, y = np.full(n, rng.uniform(-0.5, nx - 0.5)), np.full(n, rng.uniform(-0.5, ny - 0.5))
    length = rng.exponential(0.5) * np.linspace(-0.5, 0.5, n)
    angle = rng.uniform(0, np.pi)
    depth = np.full(n, rng.uniform(0.02, 1.0))
    share = np.full(n, energy / n)
    return _deposit(
        context, "spot", x + length * np.cos(angle), y + length * np.sin(angle), share, depth, rng
    )


def _found(context: ImageContext, patch: Patch, rng: np.random.Generator) -> list[Patch]:
    """Split what a cosmic-ray finder has found into the pixels it masks and the fringe it leaves."""
    lucky = rng.random() < context.defects.cosmic_ray_masked
    if not len(patch) or patch.electrons.max() < _OBVIOUS * context.noise or not lucky:
        return [patch]
    return [patch.masked_by(MaskBit.CR, _MASK_FLOOR * context.noise)]


def cosmic_rays(context: ImageContext) -> list[Patch]:
    """Draw the cosmic rays of an image.

    Parameters
    ----------
    context : `ImageContext`
        The image.

    Returns
    -------
    patches : `list` [`Patch`]
        Causes muon, worm and spot. The bright ones are masked with the configured probability, in the
        pixels that stand out; the faint ones never are.
    """
    rng = context.rng("cosmic rays")
    settings = context.defects
    patches: list[Patch] = []
    for rate, make in ((settings.muon, _muon), (settings.worm, _worm), (settings.spot, _spot)):
        for _ in range(context.count(rng, rate)):
            patches += _found(context, make(context, rng), rng)
    return patches
