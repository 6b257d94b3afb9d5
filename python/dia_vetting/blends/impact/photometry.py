"""Errors of fluxes and positions of objects whose true source is known, by treatment."""

from __future__ import annotations

__all__ = ["photometry_rows"]

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .catalog import CatalogObjects
from .matches import Matches
from .resampling import Resampling
from .rows import TREATMENTS, bins, impact_rows
from .truth import TrueSources

type F64 = NDArray[np.float64]
type I64 = NDArray[np.int64]

_FAR_OFF = 0.2
"""Relative error of a flux beyond which, and beyond three times its own error, it is an outlier."""


def photometry_rows(
    objects: CatalogObjects, truth: TrueSources, matches: Matches, group: I64, resampling: Resampling
) -> list[dict[str, Any]]:
    """Return the figures of photometry and astrometry.

    Parameters
    ----------
    objects, truth, matches
        N objects, true sources, and which is which.
    group : `numpy.ndarray`, (N,), int64
        Index of the group of each object.
    resampling : `Resampling`
        The groups.

    Returns
    -------
    rows : `list` of `dict`
        Of matched objects that are left: ``flux_bias``, the median of ``(f - f_true) / f_true``;
        ``flux_outliers``, the fraction that is off by more than 20 % and more than three times its own error;
        ``centroid_offset``, the median distance from the true place, arcsec; ``centroid_towards_companion``,
        the median of its component towards the nearest true companion, arcsec.
    """
    matched = matches.source_of >= 0
    source = matches.source_of
    true_flux = _of(truth.flux, source)
    error = objects.flux - true_flux
    outlier = np.abs(error) > np.fmax(_FAR_OFF * true_flux, 3.0 * objects.flux_err)
    offset = tangent_offset(_of(truth.ra, source), _of(truth.dec, source), objects.ra, objects.dec)
    values = {
        "flux_bias": (error / true_flux, ""),
        "centroid_offset": (np.hypot(*offset), "arcsec"),
        "centroid_towards_companion": (_towards(truth, source, offset), "arcsec"),
    }
    quantities = {n: _of(getattr(truth, n), source) for n in ("blendedness", "separation", "flux_ratio")}
    rows = []
    for chosen in bins(len(objects), {"snr": objects.snr, **quantities}):
        left = {n: matched & ~objects.dropped[n] & chosen.rows for n in TREATMENTS}
        for figure, (value, unit) in values.items():
            medians = {n: resampling.median(group, value, left[n]) for n in TREATMENTS}
            rows += impact_rows(figure, chosen, medians, unit)
        rates = {n: resampling.rate(group, outlier, left[n]) for n in TREATMENTS}
        rows += impact_rows("flux_outliers", chosen, rates)
    return rows


def _of(values: F64, source: I64) -> F64:
    """Return the values of the true source of each object, NaN where there is none."""
    return np.append(np.asarray(values, np.float64), np.nan)[source]


def tangent_offset(ra: F64, dec: F64, to_ra: F64, to_dec: F64) -> tuple[F64, F64]:
    """Return the offset from a position to another nearby, east and north, arcsec.

    Parameters
    ----------
    ra, dec, to_ra, to_dec : `numpy.ndarray`, (N,), float64
        ICRS, degrees.
    """
    east = ((to_ra - ra + 180.0) % 360.0 - 180.0) * np.cos(np.radians(0.5 * (dec + to_dec)))
    return 3600.0 * east, 3600.0 * (to_dec - dec)


def _towards(truth: TrueSources, source: I64, offset: tuple[F64, F64]) -> F64:
    """Return the component of offsets towards the nearest companion of the true source; NaN without one."""
    companion = np.append(truth.companion, -1)[source]
    here, there = ((_of(truth.ra, i), _of(truth.dec, i)) for i in (source, companion))
    east, north = tangent_offset(*here, *there)
    return np.asarray((offset[0] * east + offset[1] * north) / np.hypot(east, north))
