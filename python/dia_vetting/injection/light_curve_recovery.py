"""Light curves of injected transients, as injected and as measured at their DIA objects."""

from __future__ import annotations

__all__ = ["ALL_BANDS", "Association", "associate_transients", "fit_light_curves", "light_curve_points"]

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

    With F injected, f measured and s its error (psfDiffFluxErr and staticFluxErr in quadrature), sums over
    the used points: chi2 = sum (f - F)^2 / s^2; the amplitude is that of the least-squares fit f = A F,
    A = sum(f F / s^2) / sum(F^2 / s^2) +- sum(F^2 / s^2)^-1/2, and chi2_shape what this fit leaves.

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
    bands = np.asarray(used["band"]).astype(str)
    ids = np.concatenate([np.asarray(used["injection_id"], np.int64)] * 2)
    names = np.concatenate([bands, np.full(len(used), ALL_BANDS)])
    columns = ("flux", "psfDiffFlux", "psfDiffFluxErr", "staticFluxErr")
    truth, flux, noise, static = (np.tile(np.asarray(used[name], np.float64), 2) for name in columns)
    error = np.hypot(noise, static)
    keys, group = np.unique(
        np.array(list(zip(ids.tolist(), names.tolist(), strict=True)), [("id", "i8"), ("band", names.dtype)]),
        return_inverse=True,
    )
    n = len(keys)

    def total(values: F64) -> F64:
        return np.bincount(group, values, minlength=n).astype(np.float64)

    power, cross, chi2 = (total(v / error**2) for v in (truth**2, truth * flux, (flux - truth) ** 2))
    with np.errstate(divide="ignore", invalid="ignore"):
        amplitude, amplitude_err = cross / power, power**-0.5
    detected = total(np.tile(np.asarray(used["detected"], np.float64), 2))
    peak = np.zeros(n)
    np.maximum.at(peak, group, np.abs(truth))
    return INJECTION_LIGHT_CURVE_FIT.build(
        {
            "injection_id": keys["id"],
            "band": keys["band"].astype(str),
            "n_points": np.bincount(group, minlength=n),
            "n_detections": np.rint(detected).astype(np.int64),
            "peak_flux": peak,
            "snr": np.sqrt(power),
            "amplitude": amplitude,
            "amplitude_err": np.where(power > 0, amplitude_err, np.nan),
            "chi2": chi2,
            "chi2_shape": np.where(power > 0, chi2 - power * (amplitude - 1.0) ** 2, np.nan),
            "chi2_noise": total((flux - truth) ** 2 / noise**2),
        }
    )
