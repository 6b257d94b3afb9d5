"""Noise of a stamp: Gaussian, and correlated between neighbours where the preset says so."""

from __future__ import annotations

__all__ = ["draw_noise", "kernel_wing"]

import math

import numpy as np
from numpy.typing import NDArray


def kernel_wing(correlation: float) -> float:
    """Return ``c`` of the kernel (c, 1, c) that gives white noise a correlation of neighbours.

    The correlation is ``2 c / (1 + 2 c^2)``, and ``c^2 / (1 + 2 c^2)`` of the next but one, so that
    ``c = (1 - sqrt(1 - 2 rho^2)) / (2 rho)``.

    Parameters
    ----------
    correlation : `float`
        Correlation coefficient, 0 to 0.7.
    """
    if correlation == 0.0:
        return 0.0
    return (1.0 - math.sqrt(1.0 - 2.0 * correlation**2)) / (2.0 * correlation)


def draw_noise(shape: tuple[int, ...], correlation: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Draw noise whose rms is 1.

    Parameters
    ----------
    shape : `tuple` of `int`
        Shape; the last two axes are y and x.
    correlation : `float`
        Correlation coefficient of neighbours along x and along y.
    rng : `numpy.random.Generator`
        Source of the random numbers.

    Returns
    -------
    noise : `numpy.ndarray`, float32
        Noise.
    """
    if correlation == 0.0:
        return rng.standard_normal(shape, dtype=np.float32)
    wing = np.float32(kernel_wing(correlation))
    noise = rng.standard_normal((*shape[:-2], shape[-2] + 2, shape[-1] + 2), dtype=np.float32)
    noise = noise[..., 1:-1, :] + wing * (noise[..., :-2, :] + noise[..., 2:, :])
    noise = noise[..., 1:-1] + wing * (noise[..., :-2] + noise[..., 2:])
    return np.asarray(noise / np.float32(1.0 + 2.0 * wing**2))
