"""What all light curves have in common."""

from __future__ import annotations

__all__ = ["EFFECTIVE_WAVELENGTH", "LightCurves", "wavelengths"]

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ...errors import BadInputError

type F64 = NDArray[np.float64]

EFFECTIVE_WAVELENGTH = {"u": 368.0, "g": 480.0, "r": 623.0, "i": 754.0, "z": 869.0, "y": 974.0}
"""Middle of Rubin's passbands, nm, to about 1 %: for other cameras' filters of these names to a few."""


class LightCurves(Protocol):
    """Light curves of N transients."""

    @property
    def parameters(self) -> Mapping[str, NDArray[Any]]:
        """What they were drawn with, each (N,): for the truth table."""
        ...

    def flux(self, mjd: F64, band: Sequence[str]) -> F64:
        """Return fluxes.

        Parameters
        ----------
        mjd : `numpy.ndarray`, (V,), float64
            Times, MJD (TAI).
        band : `~collections.abc.Sequence` of `str`
            Band of each.

        Returns
        -------
        flux : `numpy.ndarray`, (N, V), float64
            nJy, not negative; NaN where a parameter is not known.

        Raises
        ------
        BadInputError
            If a band has no known wavelength.
        """
        ...


def wavelengths(band: Sequence[str]) -> F64:
    """Return the effective wavelength of each band, nm, (V,); `BadInputError` for one that is not known."""
    for name in band:
        if name not in EFFECTIVE_WAVELENGTH:
            raise BadInputError("light curves", f"a band of {', '.join(EFFECTIVE_WAVELENGTH)}", repr(name))
    return np.array([EFFECTIVE_WAVELENGTH[name] for name in band], np.float64)
