"""Elliptical Moffat stamps: the smooth prior, and the last resort, of the PSF fit."""

from __future__ import annotations

__all__ = ["fit_moffat", "moffat_stamp"]

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

type F64 = NDArray[np.float64]


def moffat_stamp(size: int, fwhm: float, beta: float = 3.0) -> F64:
    """Return a round Moffat profile of unit sum, [size, size], sampled at the pixel centres.

    Parameters
    ----------
    size
        Odd side, pixels.
    fwhm
        Full width at half maximum, pixels.
    beta
        Exponent (Moffat 1969, A&A 3, 455).
    """
    scale = (2.0 ** (1.0 / beta) - 1.0) * 4.0 / fwhm**2
    stamp = _profile(size, scale, scale, 0.0, beta)
    return np.asarray(stamp / stamp.sum())


def fit_moffat(stack: F64, sigma: float) -> F64:
    """Fit an elliptical Moffat profile and a constant background to a centred star.

    Parameters
    ----------
    stack
        float64 [S, S], S odd.
    sigma
        First guess of the Gaussian width, pixels.

    Returns
    -------
    profile
        float64 [S, S], without the background, its sum near that of ``stack``.
    """
    size, peak = stack.shape[0], float(stack.max())
    start = (2.0 ** (1.0 / 3.0) - 1.0) * 4.0 / (2.355 * sigma) ** 2

    def model(parameters: F64) -> tuple[F64, float]:
        amplitude, log_a, log_b, skew, log_beta, background = parameters
        a, b = np.exp(log_a), np.exp(log_b)
        cross = np.tanh(skew) * np.sqrt(a * b)
        shape = 1.1 + np.exp(log_beta)
        return amplitude * peak * _profile(size, a, b, cross, shape), float(background * peak)

    def residual(parameters: F64) -> Any:
        profile, background = model(parameters)
        # Between equal weights and Poisson ones: the wings count, the core does not drown in them.
        return ((profile + background - stack) / np.sqrt(peak * np.maximum(profile, 0.01 * peak))).ravel()

    first = [1.0, np.log(start), np.log(start), 0.0, np.log(1.9), 0.0]
    found = least_squares(residual, first, loss="soft_l1", f_scale=0.05, max_nfev=60)
    return model(found.x)[0]


def _profile(size: int, a: float, b: float, cross: float, beta: float) -> F64:
    u = np.arange(size) - size // 2
    x, y = u[None, :], u[:, None]
    return np.asarray((1.0 + a * x**2 + b * y**2 + 2.0 * cross * x * y) ** (-beta))
