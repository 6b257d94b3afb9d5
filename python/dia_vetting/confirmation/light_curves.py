"""Light curves of many objects at once: detections and forced fluxes joined by id, image by image."""

from __future__ import annotations

__all__ = ["ERROR_FRACTION", "LightCurves", "Sources", "assemble", "read_sources"]

import dataclasses
from typing import Any

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from .grouping import first_of_each, positions

type F64 = NDArray[np.float64]
type I64 = NDArray[np.int64]
type Bool = NDArray[np.bool_]

ERROR_FRACTION = 0.01
"""Error of a flux beside its noise, as a fraction of it: calibration from visit to visit, and the PSF."""

_SOURCE_COLUMNS = ("psfFlux", "psfFluxErr", "snr", "midpointMjdTai", "ra", "dec", "x", "y")


@dataclasses.dataclass(frozen=True)
class Sources:
    """DIA sources of known objects, each once, by object and time; arrays of length S.

    Parameters
    ----------
    source_id : `numpy.ndarray`, int64
        Ids.
    owner : `numpy.ndarray`, int64
        Index of the object, ascending.
    row : `numpy.ndarray`, int64
        Row of the table that was read.
    visit, detector : `numpy.ndarray`, int64
        Of the image.
    band : `numpy.ndarray`, str
        Of the visit.
    values : `dict` [`str`, `numpy.ndarray`]
        Columns as float64; NaN where the table has none.
    n_duplicates, n_orphans : `int`
        Rows left out: an id that was there already, and an object that is not in the table of objects.
    has_duplicate : `numpy.ndarray`, (N,), bool
        Objects of which a row was left out.
    """

    source_id: I64
    owner: I64
    row: I64
    visit: I64
    detector: I64
    band: NDArray[np.str_]
    values: dict[str, F64]
    n_duplicates: int
    n_orphans: int
    has_duplicate: Bool


def read_sources(table: Table, object_id: I64) -> Sources:
    """Read DIA sources and find their objects.

    Parameters
    ----------
    table : `astropy.table.Table`
        With ``diaSourceId``, ``diaObjectId``, ``visit``, ``detector``, ``band`` and what else there is.
    object_id : `numpy.ndarray`, (N,), int64
        Ids of the objects, each once.

    Returns
    -------
    sources : `Sources`
        In the order of the objects, and of time.
    """
    owner = positions(table["diaObjectId"], object_id)
    first = first_of_each(table["diaSourceId"]) if len(table) else np.zeros(0, bool)
    known = owner >= 0
    rows = np.flatnonzero(first & known)
    time = _column(table, "midpointMjdTai")
    rows = rows[np.lexsort((np.asarray(table["diaSourceId"])[rows], time[rows], owner[rows]))]
    duplicate = np.zeros(len(object_id), bool)
    duplicate[owner[known & ~first]] = True
    return Sources(
        np.asarray(table["diaSourceId"], np.int64)[rows],
        owner[rows],
        rows,
        np.asarray(table["visit"], np.int64)[rows],
        np.asarray(table["detector"], np.int64)[rows],
        np.asarray(table["band"]).astype(str)[rows],
        {name: _column(table, name)[rows] for name in _SOURCE_COLUMNS},
        int((known & ~first).sum()),
        int((~known).sum()),
        duplicate,
    )


def _column(table: Table, name: str) -> F64:
    if name not in table.colnames:
        return np.full(len(table), np.nan)
    return np.asarray(np.ma.filled(np.ma.asarray(table[name]).astype(np.float64), np.nan))


@dataclasses.dataclass(frozen=True)
class LightCurves:
    """Usable points of N objects, by object, band and time; arrays of length K.

    Parameters
    ----------
    n_objects : `int`
        N.
    owner : `numpy.ndarray`, int64
        Index of the object, ascending.
    visit : `numpy.ndarray`, int64
        Of the image.
    band : `numpy.ndarray`, int64
        Index into ``bands``.
    bands : `tuple` of `str`
        Bands that occur, sorted.
    mjd : `numpy.ndarray`, float64
        Middle of the exposure, TAI, day.
    flux, err : `numpy.ndarray`, float64
        Difference flux and its error, nJy; finite, the error positive.
    detected : `numpy.ndarray`, bool
        There is a DIA source of this object in this visit.
    forced : `numpy.ndarray`, bool
        The flux is a forced one.
    left_out : `dict` [`str`, `numpy.ndarray`], (N,), int64
        Points of each object that are not there, by reason: nan, bad_pixels, duplicate.
    n_orphans : `int`
        Forced fluxes of objects that are not in the table of objects.
    """

    n_objects: int
    owner: I64
    visit: I64
    band: I64
    bands: tuple[str, ...]
    mjd: F64
    flux: F64
    err: F64
    detected: Bool
    forced: Bool
    left_out: dict[str, I64]
    n_orphans: int

    def __len__(self) -> int:
        return len(self.owner)


def assemble(object_id: I64, sources: Sources, forced: Table | None) -> LightCurves:
    """Make the light curves.

    A visit in which an object has a forced flux is told by that, which is there whether it was detected or
    not; one in which there is none, by the flux of the DIA source. Of several points of one visit the one
    with the least error stays. The error is that of the noise, of the subtraction (``staticFluxErr``) and
    `ERROR_FRACTION` of the flux, in quadrature.

    Parameters
    ----------
    object_id : `numpy.ndarray`, (N,), int64
        Ids of the objects, each once.
    sources : `Sources`
        Their DIA sources.
    forced : `astropy.table.Table` or `None`
        In the schema of ``dia_object_forced_source``; ``staticFluxErr`` and ``pixelFlags_bad`` may be absent.

    Returns
    -------
    curves : `LightCurves`
        What was left out is counted.
    """
    points = [_of_sources(sources)]
    n_orphans = 0
    if forced is not None and len(forced):
        owner = positions(forced["diaObjectId"], object_id)
        n_orphans = int((owner < 0).sum())
        points.insert(0, _of_forced(forced, owner))
    joined = {name: np.concatenate([part[name] for part in points]) for name in points[0]}
    return _select(joined, sources, len(object_id), n_orphans)


def _of_sources(sources: Sources) -> dict[str, Any]:
    count = len(sources.owner)
    return {
        "owner": sources.owner,
        "visit": sources.visit,
        "band": sources.band,
        "mjd": sources.values["midpointMjdTai"],
        "flux": sources.values["psfFlux"],
        "err": _error(sources.values["psfFlux"], sources.values["psfFluxErr"], np.zeros(count)),
        "bad": np.zeros(count, bool),
        "forced": np.zeros(count, bool),
    }


def _of_forced(table: Table, owner: I64) -> dict[str, Any]:
    known = owner >= 0
    flux, err, static = (_column(table, f"{name}")[known] for name in _FORCED_COLUMNS)
    bad = np.asarray(table["pixelFlags_bad"], bool) if "pixelFlags_bad" in table.colnames else ~known
    return {
        "owner": owner[known],
        "visit": np.asarray(table["visit"], np.int64)[known],
        "band": np.asarray(table["band"]).astype(str)[known],
        "mjd": _column(table, "midpointMjdTai")[known],
        "flux": flux,
        "err": _error(flux, err, np.nan_to_num(static)),
        "bad": bad[known],
        "forced": np.ones(int(known.sum()), bool),
    }


_FORCED_COLUMNS = ("psfDiffFlux", "psfDiffFluxErr", "staticFluxErr")


def _error(flux: F64, noise: F64, static: F64) -> F64:
    with np.errstate(invalid="ignore"):
        return np.where(noise > 0, np.sqrt(noise**2 + static**2 + (ERROR_FRACTION * flux) ** 2), np.nan)


def _select(points: dict[str, Any], sources: Sources, n_objects: int, n_orphans: int) -> LightCurves:
    """Choose one usable point for each object and visit, and count the others by reason."""
    owner, finite = points["owner"], np.isfinite(points["flux"]) & np.isfinite(points["mjd"])
    finite &= np.isfinite(points["err"]) & (points["err"] > 0)
    # A visit with a forced flux is told by it alone, even where that cannot be used.
    visits = np.unique(points["visit"])
    visit_key = _keys(owner, points["visit"], visits)
    of_forced = np.unique(visit_key[points["forced"]])
    told = points["forced"] | ~np.isin(visit_key, of_forced)
    usable = np.flatnonzero(finite & ~points["bad"] & told)
    usable = usable[np.lexsort((points["err"][usable], visit_key[usable]))]
    best = np.r_[True, np.diff(visit_key[usable]) != 0] if len(usable) else np.zeros(0, bool)
    reasons = {
        "nan": told & ~finite & ~points["bad"],
        "bad_pixels": told & points["bad"],
        "duplicate": np.zeros(len(owner), bool),
    }
    reasons["duplicate"][usable[~best]] = True
    bands, band = np.unique(points["band"], return_inverse=True)
    rows = usable[best]
    rows = rows[np.lexsort((points["visit"][rows], points["mjd"][rows], band[rows], owner[rows]))]
    return LightCurves(
        n_objects,
        owner[rows],
        points["visit"][rows],
        band[rows],
        tuple(str(name) for name in bands),
        points["mjd"][rows],
        points["flux"][rows],
        points["err"][rows],
        np.isin(visit_key[rows], _keys(sources.owner, sources.visit, visits)),
        points["forced"][rows],
        {reason: np.bincount(owner[mask], minlength=n_objects) for reason, mask in reasons.items()},
        n_orphans,
    )


def _keys(owner: I64, visit: I64, visits: I64) -> I64:
    """Return one number for each pair of object and visit."""
    return owner * np.int64(len(visits)) + np.searchsorted(visits, visit)
