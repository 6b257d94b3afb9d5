"""Whether the sources of an object stay where they are, on the sky and on the detector."""

from __future__ import annotations

__all__ = ["POSITION_FLOOR", "Motion", "measure_motion", "position_errors"]

import dataclasses

import numpy as np
from numpy.typing import NDArray

from ..injection.host_geometry import project
from .grouping import group_sum

type F64 = NDArray[np.float64]
type I64 = NDArray[np.int64]

POSITION_FLOOR = 0.03
"""Error of a position beside its noise, arcsec: astrometry from visit to visit."""

_LEAST_SPAN = 0.005  # day; sources closer in time tell no rate


@dataclasses.dataclass(frozen=True)
class Motion:
    """Figures of N objects, arrays of length N; NaN (0 for integers) where not known.

    Parameters
    ----------
    scatter
        Rms distance to the mean position, arcsec.
    chi2, dof
        Of the positions about their mean; two degrees for each source but one.
    rate
        Of the best linear motion, arcsec / day.
    significance
        sqrt of the chi-square that the motion takes away.
    pixel_scatter
        Rms distance to the mean place on the detector, pixel.
    """

    scatter: F64
    chi2: F64
    dof: I64
    rate: F64
    significance: F64
    pixel_scatter: F64


def position_errors(snr: F64, fwhm: float) -> F64:
    """Return the error of a position along each axis, arcsec.

    FWHM / (2.355 SNR) of a Gaussian PSF with noise from the sky (King 1983, PASP 95, 163, has 0.6 to 0.7 for
    real ones, which the floor covers), and `POSITION_FLOOR`, in quadrature.

    Parameters
    ----------
    snr : `numpy.ndarray`, (S,), float64
        Signal-to-noise ratios; below 3, or unknown, they count as 3.
    fwhm : `float`
        Of the PSF, arcsec.
    """
    snr = np.where(np.isfinite(snr), np.maximum(np.abs(snr), 3.0), 3.0)
    return np.hypot(fwhm / (2.355 * snr), POSITION_FLOOR)


def measure_motion(
    owner: I64, count: int, sky: tuple[F64, F64], pixel: tuple[F64, F64], mjd: F64, err: F64
) -> Motion:
    """Measure scatter and motion.

    Parameters
    ----------
    owner : `numpy.ndarray`, (S,), int64
        Object of each source.
    count : `int`
        Number N of objects.
    sky : `tuple` of two `numpy.ndarray`, (S,), float64
        Right ascension and declination, deg; rows that are not finite are left out.
    pixel : `tuple` of two `numpy.ndarray`, (S,), float64
        Column and row, pixel.
    mjd, err : `numpy.ndarray`, (S,), float64
        Time, day, and error of the position along each axis, arcsec.

    Returns
    -------
    motion : `Motion`
        Figures of N objects.
    """
    good = np.isfinite(sky[0]) & np.isfinite(sky[1]) & np.isfinite(mjd)
    owner, mjd, weight = owner[good], mjd[good], err[good] ** -2
    first = np.full(count, -1)
    first[owner[::-1]] = np.arange(len(owner))[::-1]
    at = first[owner]
    ra, dec = sky[0][good], sky[1][good]
    east, north = project(ra, dec, ra[at], dec[at])
    n = np.bincount(owner, minlength=count)
    several, place = n > 1, (east, north)
    mean_time = _mean(mjd, weight, owner, count)
    centred = [values - _mean(values, weight, owner, count)[owner] for values in place]
    since = mjd - mean_time[owner]
    chi2 = group_sum(weight * (centred[0] ** 2 + centred[1] ** 2), owner, count)
    spread = group_sum(weight * since**2, owner, count)
    total_weight = group_sum(weight, owner, count)
    with np.errstate(invalid="ignore", divide="ignore"):
        moved = spread / total_weight > _LEAST_SPAN**2
        slopes = [group_sum(weight * values * since, owner, count) / spread for values in centred]
        gain = (slopes[0] ** 2 + slopes[1] ** 2) * spread
    known = several & moved & (n > 2)
    return Motion(
        np.where(several, np.sqrt((_square(centred, owner, count)) / np.maximum(n, 1)), np.nan),
        np.where(several, chi2, np.nan),
        2 * np.maximum(n - 1, 0),
        np.where(several & moved, np.hypot(*slopes), np.nan),
        np.where(known, np.sqrt(gain), np.nan),
        _pixel_scatter(owner, count, (pixel[0][good], pixel[1][good])),
    )


def _mean(values: F64, weight: F64, owner: I64, count: int) -> F64:
    with np.errstate(invalid="ignore"):
        return group_sum(weight * values, owner, count) / group_sum(weight, owner, count)


def _square(centred: list[F64], owner: I64, count: int) -> F64:
    return group_sum(centred[0] ** 2 + centred[1] ** 2, owner, count)


def _pixel_scatter(owner: I64, count: int, pixel: tuple[F64, F64]) -> F64:
    good = np.isfinite(pixel[0]) & np.isfinite(pixel[1])
    owner = owner[good]
    n = np.bincount(owner, minlength=count)
    ones = np.ones(len(owner))
    centred = [v[good] - _mean(v[good], ones, owner, count)[owner] for v in pixel]
    return np.where(n > 1, np.sqrt(_square(centred, owner, count) / np.maximum(n, 1)), np.nan)
