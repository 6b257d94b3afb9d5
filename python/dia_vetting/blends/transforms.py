"""Fourier transforms of round profiles as tables of GalSim's values, for many sources at once."""

from __future__ import annotations

__all__ = ["PROFILE_INDICES", "RadialTable", "profile_table", "psf_profile", "psf_table"]

import dataclasses
import functools

import galsim
import numpy as np
import scipy.optimize
from numpy.typing import NDArray

from .population import BULGE_INDICES
from .presets import PsfModel

type F32 = NDArray[np.float32]

PROFILE_INDICES = (1.0, *BULGE_INDICES)
"""Sersic indices of the rows of `profile_table`: the disc first."""

_FINE = galsim.GSParams(kvalue_accuracy=1e-6, maxk_threshold=1e-4, maximum_fft_size=1 << 16)


@dataclasses.dataclass(frozen=True)
class RadialTable:
    """Transforms of profiles of unit flux and unit size, on an even grid from 0.

    Parameters
    ----------
    values : `numpy.ndarray`, (P, K), float32
        One row per profile.
    step : `float`
        Spacing of the wave numbers, in the inverse of the unit of length.
    """

    values: F32
    step: float

    def at(self, wave: F32, row: NDArray[np.int64] | int = 0) -> F32:
        """Return values at wave numbers, linearly interpolated; 0 beyond the table.

        Parameters
        ----------
        wave : `numpy.ndarray`, float32
            Wave numbers times the size of the profile.
        row : `numpy.ndarray` or `int`
            Row of the table; it is broadcast against ``wave``.
        """
        columns = self.values.shape[1]
        place = np.minimum(wave * np.float32(1.0 / self.step), np.float32(columns - 1.001))
        index: NDArray[np.int32] = place.astype(np.int32)
        place -= index
        index += np.int32(columns) * np.asarray(row, np.int32)
        low = self.values.ravel().take(index)
        index += 1
        place *= self.values.ravel().take(index) - low
        place += low
        return np.asarray(place)


@functools.cache
def profile_table() -> RadialTable:
    """Return the transforms of Sersic profiles of half-light radius 1, in the order of `PROFILE_INDICES`."""
    profiles = [galsim.Sersic(n, half_light_radius=1.0, gsparams=_FINE) for n in PROFILE_INDICES]
    return _tabulated(profiles, 100.0, 8192)


def psf_profile(model: PsfModel) -> galsim.GSObject:
    """Return the round PSF of FWHM 1."""
    if model.kind == "moffat":
        return galsim.Moffat(beta=model.beta, fwhm=1.0, gsparams=_FINE)
    airy = galsim.Airy(lam_over_diam=1.0, obscuration=model.obscuration, gsparams=_FINE)
    half = scipy.optimize.brentq(lambda r: airy.xValue(r, 0.0) - 0.5 * airy.xValue(0.0, 0.0), 0.1, 1.0)
    return airy.dilate(0.5 / half)


@functools.lru_cache(32)
def psf_table(model: PsfModel) -> RadialTable:
    """Return the transform of the PSF of FWHM 1."""
    return _tabulated([psf_profile(model)], 40.0, 8192)


def _tabulated(profiles: list[galsim.GSObject], limit: float, count: int) -> RadialTable:
    wave = np.linspace(0.0, limit, count)
    values = np.array([[p.kValue(k, 0.0).real for k in wave] for p in profiles])
    values[:, -1] = 0.0
    return RadialTable(values.astype(np.float32), float(wave[1]))
