"""Elliptical Moffat profiles: the frame of the PSF series, and the last resort of the PSF fit."""

from __future__ import annotations

__all__ = ["Moffat", "fit_moffat"]

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import least_squares

type F64 = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Moffat:
    """The profile (1 + a x^2 + b y^2 + 2 c x y)^-beta (Moffat 1969, A&A 3, 455), 1 at its centre.

    Parameters
    ----------
    a, b, c
        Of the quadratic form, 1 / pixel^2; a b > c^2.
    beta
        Exponent.
    """

    a: float
    b: float
    c: float
    beta: float

    @classmethod
    def round(cls, fwhm: float, beta: float = 3.0) -> Moffat:
        """Return the round profile of a full width at half maximum, pixels."""
        a = (2.0 ** (1.0 / beta) - 1.0) * 4.0 / fwhm**2
        return cls(a, a, 0.0, beta)

    def at(self, x: ArrayLike, y: ArrayLike) -> F64:
        """Evaluate the profile at offsets from its centre, pixels."""
        x, y = np.asarray(x, float), np.asarray(y, float)
        form = self.a * x**2 + self.b * y**2 + 2.0 * self.c * x * y
        return np.asarray((1.0 + form) ** -self.beta)

    @property
    def peak(self) -> float:
        """Central value of the profile with unit integral."""
        return float((self.beta - 1.0) / np.pi * np.sqrt(self.a * self.b - self.c**2))

    def stamp(self, size: int) -> F64:
        """Return a stamp of unit sum, [size, size], size odd, sampled at the pixel centres."""
        u = np.arange(size) - size // 2
        stamp = self.at(u[None, :], u[:, None])
        return np.asarray(stamp / stamp.sum())


def fit_moffat(stack: F64, sigma: float, beta: float | None = None) -> Moffat:
    """Fit an elliptical Moffat profile and a constant background to a centred star.

    Parameters
    ----------
    stack
        float64 [S, S], S odd.
    sigma
        First guess of the Gaussian width, pixels.
    beta
        The exponent; fitted by default.
    """
    half, peak = stack.shape[0] // 2, float(stack.max())
    u = np.arange(-half, half + 1)

    def moffat(parameters: F64) -> Moffat:
        a, b = np.exp(parameters[2:4])
        exponent = beta or 1.1 + float(np.exp(parameters[5]))
        return Moffat(float(a), float(b), float(np.tanh(parameters[4]) * np.sqrt(a * b)), exponent)

    def residual(parameters: F64) -> Any:
        profile = parameters[0] * peak * moffat(parameters).at(u[None, :], u[:, None])
        # Between equal weights and Poisson ones: the wings count, the core does not drown in them.
        weight = 1.0 / np.sqrt(peak * np.maximum(profile, 0.01 * peak))
        return ((profile + parameters[1] * peak - stack) * weight).ravel()

    start = np.log(Moffat.round(2.355 * sigma, beta or 3.0).a)
    first = [1.0, 0.0, start, start, 0.0, *([] if beta else [np.log(1.9)])]
    return moffat(least_squares(residual, first, loss="soft_l1", f_scale=0.05, max_nfev=60).x)
