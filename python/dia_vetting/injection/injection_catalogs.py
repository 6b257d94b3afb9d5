"""Transients in the forms that Rubin's own injection reads.

`injection_catalogs` makes the tables of lsst.source.injection, one per HTM trixel of level 7 and band;
`visit_detector_fakes` those of ap_pipe, one per visit and detector.
"""

from __future__ import annotations

__all__ = [
    "HTM_LEVEL",
    "SELECTION",
    "VISIT_DETECTOR_FAKES",
    "Shards",
    "injection_catalogs",
    "visit_detector_fakes",
]

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from astropy.table import Table
from lsst.sphgeom import ConvexPolygon, HtmPixelization, LonLat, UnitVector3d
from numpy.typing import NDArray

from ..errors import BadInputError
from ..tables import Column, TableSchema, stack_tables
from .schemas import TRANSIENT_EPOCH, TRANSIENT_TEMPLATE_EPOCH, TRANSIENT_TRUTH

HTM_LEVEL = 7

SELECTION = "injectVisit:selection=\"np.isin(injection_catalog['visit'], {visit})\""
"""The configuration that makes VisitInjectTask take the rows of its own visit."""

_COLUMNS = (
    "injection_id",
    "visit",
    "band",
    "ra",
    "dec",
    "mag",
    "source_type",
    "host_id",
    "host_mag",
    "midpointMjdTai",
)

VISIT_DETECTOR_FAKES = TableSchema(
    "VisitDetectorFakeSourceCat",
    (
        Column("injection_id", "i8", "Id of the transient; that of a row with twin_id has one bit flipped"),
        Column("visit", "i8", "Visit"),
        Column("detector", "i8", "Detector"),
        Column("band", "U", "Band of the visit"),
        Column("ra", "f8", "ICRS right ascension, deg"),
        Column("dec", "f8", "ICRS declination, deg"),
        Column("mag", "f8", "AB magnitude in the image that the row is for"),
        Column("source_type", "U", "Star"),
        Column("isVisitSource", "bool", "To be injected into the visit image"),
        Column("isTemplateSource", "bool", "To be injected into the template"),
        Column("host_id", "i8", "objectId of the host; 0 for host-less"),
        Column("host_type", "U", "extended; empty for host-less"),
        Column("host_flux", "f8", "Flux of the host in this band, nJy; NaN if not known"),
        Column("host_mag", "f8", "AB magnitude of the host in this band; NaN if not known"),
        Column("host_ra", "f8", "ICRS right ascension of the host, deg; NaN for host-less"),
        Column("host_dec", "f8", "ICRS declination of the host, deg; NaN for host-less"),
        Column("host_a", "f8", "Host semi-major axis (upstream: in pixels)", "arcsec"),
        Column("host_b", "f8", "Host semi-minor axis (upstream: in pixels)", "arcsec"),
        Column("host_pa", "f8", "Angle of the major axis, east of north (upstream: from +x, radians)", "deg"),
        Column("delta_ra", "f8", "Difference of right ascensions, arcsec, without cos(dec) as upstream"),
        Column("delta_dec", "f8", "Difference of declinations, arcsec"),
        Column("delta_mag", "f8", "mag minus host_mag"),
        Column("hosted_fake", "bool", "Has a host"),
        Column("isVariable", "bool", "In both images: the table has a row for each"),
        Column("mag_offset", "f8", "Of a row with twin_id: mag minus that of the twin; else NaN"),
        Column("twin_id", "i8", "Of the template row of a variable: injection_id of its visit row; else 0"),
        Column("isBlended", "bool", "False"),
        Column("blend_twin_id", "i8", "0"),
    ),
)
"""Columns of ap_pipe's table of fakes, but for the pixel positions, which its tasks compute.

Upstream multiplies the columns in degrees by that unit, so that here they must have none.
"""

_TWIN_BIT = np.int64(1 << 62)
_AB_NJY = 31.4


@dataclasses.dataclass(frozen=True)
class Shards[Key]:
    """Tables by what their datasets are told apart by, and what is in none of them.

    Parameters
    ----------
    tables : `dict` [`tuple`, `astropy.table.Table`]
        By HTM index of level 7 and band, or visit and detector; in order.
    left_out : `dict` [`str`, `int`]
        Rows by reason: ``no_position`` (not on the sky), ``no_magnitude`` (not finite), ``trail`` (moving
        sources: upstream wants the angle and a magnitude per pixel in the frame of the image) and, by
        detector, ``on_no_detector``.
    """

    tables: dict[Key, Table]
    left_out: dict[str, int]


def injection_catalogs(epochs: Sequence[Table]) -> Shards[tuple[int, str]]:
    """Sort transients by trixel and band.

    Parameters
    ----------
    epochs : `~collections.abc.Sequence` of `astropy.table.Table`
        In `~dia_vetting.injection.schemas.TRANSIENT_EPOCH`.

    Returns
    -------
    shards : `Shards`
        Every row is in exactly one table, or counted as left out.
    """
    rows, left_out = _injectable(stack_tables(epochs, TRANSIENT_EPOCH))
    pixels = HtmPixelization(HTM_LEVEL)
    trixel = np.array([pixels.index(point) for point in _points(rows)], np.int64)
    names, band = np.unique(np.asarray(rows["band"]).astype(str), return_inverse=True)
    parts = _split(rows[list(_COLUMNS)], trixel, band)
    return Shards({(index, str(names[k])): part for (index, k), part in parts.items()}, left_out)


def visit_detector_fakes(
    truth: Sequence[Table],
    epochs: Sequence[Table],
    template_epochs: Sequence[Table],
    regions: Mapping[tuple[int, int], ConvexPolygon],
) -> Shards[tuple[int, int]]:
    """Sort transients and the light that templates have of them by visit and detector.

    Parameters
    ----------
    truth : `~collections.abc.Sequence` of `astropy.table.Table`
        In `~dia_vetting.injection.schemas.TRANSIENT_TRUTH`.
    epochs : `~collections.abc.Sequence` of `astropy.table.Table`
        In `~dia_vetting.injection.schemas.TRANSIENT_EPOCH`; they become rows with ``isVisitSource``.
    template_epochs : `~collections.abc.Sequence` of `astropy.table.Table`
        In `~dia_vetting.injection.schemas.TRANSIENT_TEMPLATE_EPOCH`; they become rows with
        ``isTemplateSource``.
    regions : `~collections.abc.Mapping` [`tuple` [`int`, `int`], `lsst.sphgeom.ConvexPolygon`]
        Region on the sky by visit and detector. Where padded ones overlap, a row belongs to the one that it
        is deepest in.

    Returns
    -------
    shards : `Shards`
        Tables in `VISIT_DETECTOR_FAKES`. Every row is in exactly one, or counted as left out.

    Raises
    ------
    BadInputError
        If the truth lacks a transient, or two rows would have one id.
    """
    science, left_out = _injectable(stack_tables(epochs, TRANSIENT_EPOCH))
    template, dropped = _injectable(stack_tables(template_epochs, TRANSIENT_TEMPLATE_EPOCH))
    rows = stack_tables([science, template], TRANSIENT_EPOCH)
    is_template = np.arange(len(rows)) >= len(science)
    detector = _detectors(rows, regions)
    on = detector >= 0
    fakes = _fakes(rows, is_template, detector, stack_tables(truth, TRANSIENT_TRUTH))[on]
    left_out = {reason: count + dropped[reason] for reason, count in left_out.items()}
    left_out["on_no_detector"] = int(np.sum(~on))
    return Shards(_split(fakes, np.asarray(fakes["visit"], np.int64), detector[on]), left_out)


def _number(rows: Table, name: str) -> NDArray[np.float64]:
    """Return a column as floats, with NaN where it is masked."""
    return np.ma.filled(np.ma.asarray(rows[name]).astype(float), np.nan)


def _injectable(rows: Table) -> tuple[Table, dict[str, int]]:
    """Return the rows that upstream can inject, and how many it cannot, by reason."""
    ra, dec = _number(rows, "ra"), _number(rows, "dec")
    placed = np.isfinite(ra) & (np.abs(dec) <= 90.0)
    bright = np.isfinite(_number(rows, "mag"))
    still = ~(_number(rows, "trail_length") > 0)
    left_out = {
        "no_position": int(np.sum(~placed)),
        "no_magnitude": int(np.sum(placed & ~bright)),
        "trail": int(np.sum(placed & bright & ~still)),
    }
    return rows[placed & bright & still], left_out


def _points(rows: Table) -> list[UnitVector3d]:
    pairs = zip(_number(rows, "ra") % 360.0, _number(rows, "dec"), strict=True)
    return [UnitVector3d(LonLat.fromDegrees(ra, dec)) for ra, dec in pairs]


def _split(table: Table, first: NDArray[np.int64], second: NDArray[np.int64]) -> dict[tuple[int, int], Table]:
    """Return the rows by a pair of numbers, each part in the order of the table."""
    if not len(table):
        return {}
    order = np.lexsort((second, first))
    keys = np.column_stack((first, second))[order]
    starts = np.flatnonzero(np.append(True, np.any(np.diff(keys, axis=0) != 0, axis=1)))
    parts = np.split(order, starts[1:])
    return {(int(a), int(b)): table[part] for (a, b), part in zip(keys[starts], parts, strict=True)}


def _detectors(rows: Table, regions: Mapping[tuple[int, int], ConvexPolygon]) -> NDArray[np.int64]:
    """Return the detector of each row in its visit; -1 for none."""
    points = np.array([[p.x(), p.y(), p.z()] for p in _points(rows)]).reshape(-1, 3)
    visits = np.asarray(rows["visit"], np.int64)
    detector, deepest = np.full(len(rows), -1, np.int64), np.zeros(len(rows))
    members = {int(visit): np.flatnonzero(visits == visit) for visit in np.unique(visits)}
    for (visit, number), region in sorted(regions.items(), key=lambda item: item[0]):
        index = members.get(visit)
        if index is None:
            continue
        depth = _depth(region, points[index])
        better = (depth >= 0) & ((detector[index] < 0) | (depth > deepest[index]))
        detector[index[better]], deepest[index[better]] = number, depth[better]
    return detector


def _depth(region: ConvexPolygon, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sine of the distance to the nearest edge of a polygon; negative outside."""
    corners = np.array([[v.x(), v.y(), v.z()] for v in region.getVertices()])
    inward = np.cross(corners, np.roll(corners, -1, axis=0))
    inward /= np.linalg.norm(inward, axis=1, keepdims=True)
    return np.asarray((points @ inward.T).min(axis=1))


def _twins(
    ids: NDArray[np.int64], visits: NDArray[np.int64], is_template: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Return the position of the other row of the same transient and visit; -1 for none."""
    seen: dict[tuple[int, int, bool], int] = {}
    keys = list(zip(ids.tolist(), visits.tolist(), is_template.tolist(), strict=True))
    for position, key in enumerate(keys):
        if seen.setdefault(key, position) != position:
            raise BadInputError(f"injection_id {key[0]}, visit {key[1]}", "one row per image", "two")
    return np.array([seen.get((i, v, not t), -1) for i, v, t in keys], np.int64)


def _truth_rows(ids: NDArray[np.int64], truth: Table) -> NDArray[np.int64]:
    """Return the position of each id in the truth."""
    place = {int(i): position for position, i in enumerate(np.asarray(truth["injection_id"], np.int64))}
    absent = sorted(set(ids.tolist()) - set(place))
    if absent:
        found = f"{len(absent)} transients without truth, the first {absent[0]}"
        raise BadInputError(TRANSIENT_TRUTH.name, "a row for each injection_id", found)
    return np.array([place[i] for i in ids.tolist()], np.int64)


def _fakes(rows: Table, is_template: NDArray[np.bool_], detector: NDArray[np.int64], truth: Table) -> Table:
    ids, visits = np.asarray(rows["injection_id"], np.int64), np.asarray(rows["visit"], np.int64)
    hosts = truth[_truth_rows(ids, truth)]
    twin = _twins(ids, visits, is_template)
    second = is_template & (twin >= 0)
    if set((ids[second] ^ _TWIN_BIT).tolist()) & set(ids.tolist()):
        raise BadInputError(TRANSIENT_EPOCH.name, "ids that differ in more than bit 62", "two that do not")
    mag, ra, dec = _number(rows, "mag"), _number(rows, "ra"), _number(rows, "dec")
    hosted = np.asarray(rows["host_id"], np.int64) != 0
    host = {
        name: np.where(hosted, _number(hosts, name), np.nan)
        for name in ("host_ra", "host_dec", "host_a", "host_b", "host_pa")
    }
    host_mag = np.where(hosted, _number(rows, "host_mag"), np.nan)
    return VISIT_DETECTOR_FAKES.build(
        {
            "injection_id": np.where(second, ids ^ _TWIN_BIT, ids),
            "visit": visits,
            "detector": detector,
            "band": np.asarray(rows["band"]),
            "ra": ra,
            "dec": dec,
            "mag": mag,
            "source_type": np.asarray(rows["source_type"]),
            "isVisitSource": ~is_template,
            "isTemplateSource": is_template,
            "host_id": np.asarray(rows["host_id"]),
            "host_type": np.where(hosted, "extended", ""),
            "host_flux": 10.0 ** ((_AB_NJY - host_mag) / 2.5),
            "host_mag": host_mag,
            **host,
            "delta_ra": ((ra - host["host_ra"] + 180.0) % 360.0 - 180.0) * 3600.0,
            "delta_dec": (dec - host["host_dec"]) * 3600.0,
            "delta_mag": mag - host_mag,
            "hosted_fake": hosted,
            "isVariable": twin >= 0,
            "mag_offset": np.where(second, mag - mag[twin], np.nan),
            "twin_id": np.where(second, ids, 0),
            "isBlended": np.zeros(len(rows), bool),
            "blend_twin_id": np.zeros(len(rows), np.int64),
        }
    )
