"""Noise of the pixels, and what is left of the sky."""

from __future__ import annotations

__all__ = ["correlated_noise", "residual_sky"]

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ...seeding import generator
from .config import SurveyConfig
from .visits import Visit

type F32 = NDArray[np.float32]


def correlated_noise(expected: F32, config: SurveyConfig, rng: np.random.Generator) -> F32:
    """Add photon and read noise that neighbouring pixels share a little.

    The kernel has unit sum of squares, so that a single pixel's variance is right; that of a flux summed over
    many is higher by (1 + 4 a)^2 / (1 + 4 a^2), a the configured correlation, which no variance plane knows.

    Parameters
    ----------
    expected : `numpy.ndarray`, (ny, nx), float32
        Expected charge with sky, electron.
    config : `SurveyConfig`
        Gives the read noise and the correlation.
    rng : `numpy.random.Generator`
        Of this image.

    Returns
    -------
    electrons : `numpy.ndarray`, (ny, nx), float32
        Charge read.
    """
    level = np.maximum(expected, np.float32(0))
    noise = rng.poisson(level).astype(np.float32) - level
    noise += np.float32(config.camera.read_noise) * rng.standard_normal(expected.shape, np.float32)
    share = config.noise.correlation
    if share > 0:
        row = np.array([[0.0, share, 0.0], [share, 1.0, share], [0.0, share, 0.0]], np.float32)
        noise = ndimage.convolve(noise, row / np.sqrt((row**2).sum()), mode="mirror")
    return np.asarray(expected + noise, np.float32)


def residual_sky(config: SurveyConfig, seed: int, visit: Visit, detector: int, noise: float) -> F32:
    """Return the sky that its subtraction leaves: an offset, slopes and a weak curvature.

    Parameters
    ----------
    config, seed, visit, detector
        Which image of which survey.
    noise
        Rms of a blank pixel, electron.

    Returns
    -------
    residual
        electron, float32 [ny, nx].
    """
    rng = generator(seed, config.instrument, "residual sky", visit.visit, detector)
    ny, nx = config.shape
    v, u = np.linspace(-0.5, 0.5, ny)[:, None], np.linspace(-0.5, 0.5, nx)[None, :]
    offset = rng.normal(0.0, config.noise.sky_offset)
    slope_x, slope_y, bend = rng.normal(0.0, config.noise.sky_gradient, 3)
    shape = offset + slope_x * u + slope_y * v + bend * (u**2 + v**2 - 1.0 / 6.0)
    return np.asarray(noise * shape, np.float32)
