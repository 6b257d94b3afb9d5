"""AB magnitudes of fluxes in nanojansky."""

from __future__ import annotations

__all__ = ["AB_ZERO_POINT", "ab_flux", "ab_magnitude"]

import numpy as np
from numpy.typing import ArrayLike, NDArray

type F64 = NDArray[np.float64]

AB_ZERO_POINT = 31.4
"""AB magnitude of one nJy."""


def ab_magnitude(flux: ArrayLike) -> F64:
    """Return the AB magnitude of a flux in nJy; NaN where it is not positive."""
    flux = np.asarray(flux, np.float64)
    with np.errstate(invalid="ignore"):
        positive = flux > 0
    return np.where(positive, AB_ZERO_POINT - 2.5 * np.log10(np.where(positive, flux, 1.0)), np.nan)


def ab_flux(magnitude: ArrayLike) -> F64:
    """Return the flux, nJy, of an AB magnitude."""
    return np.asarray(10.0 ** (0.4 * (AB_ZERO_POINT - np.asarray(magnitude, np.float64))), np.float64)
