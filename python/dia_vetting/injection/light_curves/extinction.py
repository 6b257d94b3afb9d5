"""The extinction law of Cardelli, Clayton & Mathis (1989, ApJ 345, 245), from 0.3 to 5.9 per micron."""

from __future__ import annotations

__all__ = ["extinction_curve"]

import numpy as np
from numpy.typing import ArrayLike, NDArray

type F64 = NDArray[np.float64]

_OPTICAL_A = (1.0, 0.17699, -0.50447, -0.02427, 0.72085, 0.01979, -0.77530, 0.32999)
_OPTICAL_B = (0.0, 1.41338, 2.28305, 1.07233, -5.38434, -0.62251, 5.30260, -2.09002)
_RANGE = (0.3, 5.9)
_R_V = 3.1
"""A(V) / E(B - V)."""


def extinction_curve(wavelength: ArrayLike) -> F64:
    """Return A(wavelength) / E(B - V) = R_V a(x) + b(x), their equations 1 to 4.

    Parameters
    ----------
    wavelength : array_like
        Rest-frame wavelength, nm; beyond the range of the law the value at its end is used.

    Returns
    -------
    k : `numpy.ndarray`, float64
        Same shape; 3.1 near 549 nm.
    """
    x = np.clip(1000.0 / np.asarray(wavelength, np.float64), *_RANGE)
    optical = np.polynomial.polynomial.polyval
    infrared = x**1.61
    ultraviolet_a = 1.752 - 0.316 * x - 0.104 / ((x - 4.67) ** 2 + 0.341)
    ultraviolet_b = -3.090 + 1.825 * x + 1.206 / ((x - 4.62) ** 2 + 0.263)
    a = np.where(x < 1.1, 0.574 * infrared, np.where(x < 3.3, optical(x - 1.82, _OPTICAL_A), ultraviolet_a))
    b = np.where(x < 1.1, -0.527 * infrared, np.where(x < 3.3, optical(x - 1.82, _OPTICAL_B), ultraviolet_b))
    return np.asarray(_R_V * a + b, np.float64)
