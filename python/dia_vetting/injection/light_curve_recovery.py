"""Light curves of injected transients, as injected and as measured at their DIA objects."""

from __future__ import annotations

__all__ = [
    "ALL_BANDS",
    "OUTLIER",
    "Association",
    "associate_transients",
    "fit_light_curves",
    "light_curve_points",
]

import dataclasses
from typing import Any

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from .schemas import INJECTION_LIGHT_CURVE, INJECTION_LIGHT_CURVE_FIT

type F64 = NDArray[np.float64]
type I64 = NDArray[np.int64]

ALL_BANDS = "all"
"""``band`` of the fits to the points of all bands together."""

OUTLIER = 5.0
"""A point further than this from what was injected, in standard deviations, is an outlier."""


@dataclasses.dataclass(frozen=True)
class Association:
    """DIA objects of N transients.

    Parameters
    ----------
    injection_id : `numpy.ndarray`, (N,), int64
        The transients, ascending.
    dia_object : `numpy.ndarray`, (N,), int64
        The object with most of its DIA sources, the lowest id of equal ones; 0 if none was detected.
    n_objects, n_detections : `numpy.ndarray`, (N,), int64
        Objects that have DIA sources of it, and those DIA sources.
    """

    injection_id: I64
    dia_object: I64
    n_objects: I64
    n_detections: I64


def associate_transients(injection_id: I64, labels: Table, dia_sources: Table) -> Association:
    """Find the DIA object of each transient by the labels of its DIA sources.

    Parameters
    ----------
    injection_id : `numpy.ndarray`, (N,), int64
        Transients, in any order, each once.
    labels : `astropy.table.Table`
        In the schema of ``dia_source_label``, of all images.
    dia_sources : `astropy.table.Table`
        With ``diaSourceId`` and ``diaObjectId``; one object can have many.

    Returns
    -------
    association : `Association`
        DIA sources that are in no object do not count.
    """
    ids = np.sort(np.asarray(injection_id, np.int64))
    source, owner = (np.asarray(dia_sources[name], np.int64) for name in ("diaSourceId", "diaObjectId"))
    order = np.argsort(source)
    injected = np.asarray(labels["state"]).astype(str) == "injected"
    mine = injected & np.isin(labels["injection_id"], ids) & np.isin(labels["diaSourceId"], source)
    transient = np.searchsorted(ids, np.asarray(labels["injection_id"], np.int64)[mine])
    labelled = np.asarray(labels["diaSourceId"], np.int64)[mine]
    at = order[np.searchsorted(source, labelled, sorter=order)]
    pairs, counts = np.unique(np.stack([transient, owner[at]], axis=1), axis=0, return_counts=True)
    best = np.lexsort((-pairs[:, 1], counts))  # the last one that is written stays
    dia_object = np.zeros(len(ids), np.int64)
    dia_object[pairs[best, 0]] = pairs[best, 1]
    return Association(
        ids,
        dia_object,
        np.bincount(pairs[:, 0], minlength=len(ids)),
        np.bincount(transient, minlength=len(ids)),
    )


def light_curve_points(association: Association, injected: Table, labels: Table, forced: Table) -> Table:
    """Pair each forced flux with what was injected there.

    Parameters
    ----------
    association : `Association`
        Of the transients.
    injected : `astropy.table.Table`
        With ``injection_id``, ``visit``, ``detector``, ``flux``, ``injection_flag``: catalogs of the
        difference images, stacked. An image with no unflagged row of a transient got none of its light.
    labels : `astropy.table.Table`
        With ``injection_id``, ``state``, ``visit``, ``detector``.
    forced : `astropy.table.Table`
        In the schema of ``dia_object_forced_source``; ``staticFluxErr`` may be absent.

    Returns
    -------
    points : `astropy.table.Table`
        In `~dia_vetting.injection.schemas.INJECTION_LIGHT_CURVE`, a row for each forced flux of each object
        that a transient has, by transient and time.
    """
    has_object = association.dia_object > 0
    owners, ids = association.dia_object[has_object], association.injection_id[has_object]
    # Two transients can share an object: each gets all of its points.
    forced_owner = np.asarray(forced["diaObjectId"], np.int64)
    order = np.argsort(forced_owner, kind="stable")
    first, last = (np.searchsorted(forced_owner, owners, side, sorter=order) for side in ("left", "right"))
    counts = last - first
    start = np.repeat(first - (np.cumsum(counts) - counts), counts)
    rows = forced[order[start + np.arange(counts.sum())]]
    injection = np.repeat(ids, counts)
    places = (np.asarray(rows[name], np.int64).tolist() for name in ("visit", "detector"))
    wanted = list(zip(injection.tolist(), *places, strict=True))
    light = injected[np.asarray(injected["injection_flag"]) == 0]
    flux = _looked_up(_keys(light), np.asarray(light["flux"], float), wanted)
    seen = labels[np.asarray(labels["state"]).astype(str) == "injected"]
    detected = _looked_up(_keys(seen), np.ones(len(seen)), wanted)
    measured = np.isfinite(np.asarray(rows["psfDiffFlux"])) & (np.asarray(rows["psfDiffFluxErr"]) > 0)
    points = INJECTION_LIGHT_CURVE.build(
        {
            **{name: rows[name] for name in INJECTION_LIGHT_CURVE.names() if name in rows.colnames},
            "injection_id": injection,
            "flux": flux,
            "staticFluxErr": rows["staticFluxErr"]
            if "staticFluxErr" in rows.colnames
            else np.zeros(len(rows)),
            "detected": detected > 0,
            "used": measured & ~np.asarray(rows["pixelFlags_bad"], bool),
        }
    )
    points.sort(["injection_id", "midpointMjdTai", "detector"])
    return points


def _keys(table: Table) -> list[tuple[Any, ...]]:
    columns = (np.asarray(table[name], np.int64).tolist() for name in ("injection_id", "visit", "detector"))
    return list(zip(*columns, strict=True))


def _looked_up(keys: list[tuple[Any, ...]], values: F64, wanted: list[tuple[Any, ...]]) -> F64:
    """Return the value of each wanted key; 0 where there is none."""
    value_of = dict(zip(keys, values.tolist(), strict=True))
    return np.array([value_of.get(key, 0.0) for key in wanted], np.float64)


def fit_light_curves(points: Table) -> Table:
    """Compare the light curves with the injected ones, by band and all together.

    F is the injected flux, f the measured one and s its error, psfDiffFluxErr and staticFluxErr in
    quadrature. chi2 is the sum of (f - F)^2 / s^2 over the used points. Points over `OUTLIER` standard
    deviations are counted, and left out of the least-squares fit of f = A F + C, with the amplitude A common
    to the bands and a zero level C for each: the template is the same for all visits, and so is what its
    noise and its defects add. chi2_shape is what this fit leaves.

    Parameters
    ----------
    points : `astropy.table.Table`
        In `~dia_vetting.injection.schemas.INJECTION_LIGHT_CURVE`.

    Returns
    -------
    fits : `astropy.table.Table`
        In `~dia_vetting.injection.schemas.INJECTION_LIGHT_CURVE_FIT`, for each transient a row for each band
        with a used point and one for all.
    """
    used = points[np.asarray(points["used"], bool)]
    one_band = _Sums.of(used)
    parts = [one_band, one_band.all_bands()]
    columns = [part.columns() for part in parts]
    stacked = {name: np.concatenate([part[name] for part in columns]) for name in columns[0]}
    fits = INJECTION_LIGHT_CURVE_FIT.build(stacked)
    fits.sort(["injection_id", "band"])
    return fits


@dataclasses.dataclass(frozen=True)
class _Sums:
    """Sums over the points of each transient and band, arrays (K,).

    Those named after products are of the points that are no outliers, weighted by 1 / s^2, about the weighted
    means of the band: what a fitted zero level leaves.
    """

    injection_id: I64
    band: NDArray[np.str_]
    totals: dict[str, F64]
    zero_level: F64

    @classmethod
    def of(cls, used: Table) -> _Sums:
        """Return the sums by transient and band."""
        ids, band = np.asarray(used["injection_id"], np.int64), np.asarray(used["band"]).astype(str)
        keys, group = np.unique(np.rec.fromarrays([ids, band], names="id,band"), return_inverse=True)
        columns = ("flux", "psfDiffFlux", "psfDiffFluxErr", "staticFluxErr")
        truth, flux, noise, static = (np.asarray(used[name], np.float64) for name in columns)
        deviation, variance = flux - truth, noise**2 + static**2
        inlier = deviation**2 <= OUTLIER**2 * variance
        weight = inlier / variance

        def total(values: F64) -> F64:
            return np.bincount(group, values, minlength=len(keys)).astype(np.float64)

        weights = np.maximum(total(weight), 1e-300)
        mean_truth, mean_flux = total(weight * truth) / weights, total(weight * flux) / weights
        x, y = truth - mean_truth[group], flux - mean_flux[group]
        peak = np.zeros(len(keys))
        np.maximum.at(peak, group, np.abs(truth))
        totals = {
            "n_points": total(np.ones(len(used))),
            "n_outliers": total(~inlier),
            "n_detections": total(np.asarray(used["detected"], bool)),
            "n_zero_levels": np.ones(len(keys)),
            "power": total(truth**2 / variance),
            "chi2": total(deviation**2 / variance),
            "chi2_noise": total(deviation**2 / noise**2),
            "xx": total(weight * x**2),
            "xy": total(weight * x * y),
            "yy": total(weight * y**2),
            "peak_flux": peak,
        }
        with np.errstate(divide="ignore", invalid="ignore"):
            amplitude = np.where(totals["xx"] > 0, totals["xy"] / totals["xx"], 1.0)
        zero_level = np.where(
            totals["n_points"] > totals["n_outliers"], mean_flux - amplitude * mean_truth, np.nan
        )
        return cls(np.asarray(keys["id"], np.int64), np.asarray(keys["band"]).astype(str), totals, zero_level)

    def all_bands(self) -> _Sums:
        """Return the sums over the bands of each transient."""
        ids, group = np.unique(self.injection_id, return_inverse=True)
        totals = {
            name: np.bincount(group, values, minlength=len(ids)) for name, values in self.totals.items()
        }
        totals["peak_flux"] = np.zeros(len(ids))
        np.maximum.at(totals["peak_flux"], group, self.totals["peak_flux"])
        return _Sums(ids, np.full(len(ids), ALL_BANDS), totals, np.full(len(ids), np.nan))

    def columns(self) -> dict[str, NDArray[Any]]:
        """Return the columns of the table of fits."""
        sums = self.totals
        lit = sums["xx"] > 0
        with np.errstate(divide="ignore", invalid="ignore"):
            amplitude = np.where(lit, sums["xy"] / sums["xx"], np.nan)
            amplitude_err = np.where(lit, sums["xx"] ** -0.5, np.nan)
            left = sums["yy"] - np.where(lit, sums["xy"] ** 2 / sums["xx"], 0.0)
        degrees = sums["n_points"] - sums["n_outliers"] - sums["n_zero_levels"] - lit
        whole = ("n_points", "n_outliers", "n_detections")
        return {
            "injection_id": self.injection_id,
            "band": self.band,
            **{name: np.rint(sums[name]).astype(np.int64) for name in whole},
            "peak_flux": sums["peak_flux"],
            "snr": np.sqrt(sums["power"]),
            "amplitude": amplitude,
            "amplitude_err": amplitude_err,
            "zero_level": self.zero_level,
            "chi2": sums["chi2"],
            "chi2_noise": sums["chi2_noise"],
            "chi2_shape": np.where(degrees > 0, np.maximum(left, 0.0), np.nan),
            "n_degrees": np.maximum(np.rint(degrees), 0).astype(np.int64),
        }
