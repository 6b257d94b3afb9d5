"""Transients as the tables of fakes that ap_pipe's tasks read: one per visit and detector."""

from __future__ import annotations

__all__ = ["VISIT_DETECTOR_FAKES", "visit_detector_fakes"]

from collections.abc import Mapping, Sequence

import numpy as np
from astropy.table import Table
from lsst.sphgeom import ConvexPolygon, Region
from numpy.typing import NDArray

from ..errors import BadInputError
from ..magnitudes import ab_flux
from ..reliability.ids import positions_of
from ..reliability.matching import unit_vectors
from ..tables import Column, TableSchema, stack_tables
from .injection_catalogs import Shards, injectable, split_rows
from .schemas import TRANSIENT_EPOCH, TRANSIENT_TEMPLATE_EPOCH, TRANSIENT_TRUTH

type F64 = NDArray[np.float64]
type I64 = NDArray[np.int64]
type Flags = NDArray[np.bool_]

VISIT_DETECTOR_FAKES = TableSchema(
    "VisitDetectorFakeSourceCat",
    (
        Column("injection_id", "i8", "Id of the transient; of a row with twin_id, that with bit 62 flipped"),
        Column("visit", "i8", "Visit"),
        Column("detector", "i8", "Detector whose region the position is in"),
        Column("ra", "f8", "ICRS right ascension, deg"),
        Column("dec", "f8", "ICRS declination, deg"),
        Column("mag", "f8", "AB magnitude in the image that the row is for"),
        Column("source_type", "U", "Profile by the name lsst.source.injection uses"),
        Column("isVisitSource", "bool", "Is to be injected into the visit image"),
        Column("isTemplateSource", "bool", "Is to be injected into the template"),
        Column("hosted_fake", "bool", "Has a host"),
        Column("host_id", "i8", "objectId of the host; 0 for host-less"),
        Column("host_flux", "f8", "Flux of the host in this band, nJy; NaN if not known"),
        Column("host_mag", "f8", "AB magnitude of the host in this band; NaN if not known"),
        Column("host_ra", "f8", "ICRS right ascension of the host, deg; NaN for host-less"),
        Column("host_dec", "f8", "ICRS declination of the host, deg; NaN for host-less"),
        Column("delta_ra", "f8", "ra minus host_ra, arcsec of right ascension, without cos(dec)"),
        Column("delta_dec", "f8", "dec minus host_dec, arcsec"),
        Column("delta_mag", "f8", "mag minus host_mag"),
        Column("isVariable", "bool", "In visit and template: there is a row for each"),
        Column("twin_id", "i8", "Of the template's row of a variable: injection_id of the visit's; else 0"),
        Column("mag_offset", "f8", "Of a row with twin_id: its mag minus that of the twin; else NaN"),
        Column("isBlended", "bool", "False"),
        Column("blend_twin_id", "i8", "0"),
    ),
)
"""Columns of the catalog of ap_pipe's CreateVisitDetectorFakesTask, in its units (degrees, arcsec, nJy).

Not here are ``x``, ``y``, ``host_a``, ``host_b`` and ``host_pa``, which are in pixels and the frame of an
image (pipe_tasks' matcher works out ``x`` and ``y`` itself), and ``host_type``, which the truth does not
have. Columns have no unit, as upstream's have none: its matcher multiplies ``ra`` and ``dec`` by degrees.
"""

_TWIN_BIT = np.int64(1 << 62)


def visit_detector_fakes(
    truth: Sequence[Table],
    epochs: Sequence[Table],
    template_epochs: Sequence[Table],
    regions: Mapping[tuple[int, int], Region],
) -> Shards[tuple[int, int]]:
    """Sort transients, and the light that templates have of them, by visit and detector.

    A transient in both images has two rows, as upstream's variables have: that of the template refers to
    that of the visit by ``twin_id`` and has an id of its own. The link goes one way, since pipe_tasks'
    matcher sets aside all rows with a ``twin_id`` and finds them through the others.

    Parameters
    ----------
    truth : `~collections.abc.Sequence` of `astropy.table.Table`
        In `~dia_vetting.injection.schemas.TRANSIENT_TRUTH`.
    epochs : `~collections.abc.Sequence` of `astropy.table.Table`
        In `~dia_vetting.injection.schemas.TRANSIENT_EPOCH`; rows with ``isVisitSource``.
    template_epochs : `~collections.abc.Sequence` of `astropy.table.Table`
        In `~dia_vetting.injection.schemas.TRANSIENT_TEMPLATE_EPOCH`; rows with ``isTemplateSource``.
    regions : `~collections.abc.Mapping` [`tuple` [`int`, `int`], `lsst.sphgeom.Region`]
        Convex polygon on the sky by visit and detector. Where padded ones overlap, a row belongs to the one
        that it is deepest in.

    Returns
    -------
    shards : `~dia_vetting.injection.injection_catalogs.Shards`
        Tables in `VISIT_DETECTOR_FAKES`. Every row is in exactly one, or counted as left out for a reason of
        `~dia_vetting.injection.injection_catalogs.injectable` or as ``off_detectors``.

    Raises
    ------
    BadInputError
        If the truth lacks a transient, a region is no convex polygon, or ids differ in bit 62 only.
    """
    science, left_out = injectable(stack_tables(epochs, TRANSIENT_EPOCH))
    template, dropped = injectable(stack_tables(template_epochs, TRANSIENT_TEMPLATE_EPOCH))
    rows = stack_tables([science, template], TRANSIENT_EPOCH)
    in_template = np.arange(len(rows)) >= len(science)
    detector = _detectors(rows, regions)
    on = detector >= 0
    left_out = {reason: count + dropped[reason] for reason, count in left_out.items()}
    left_out["off_detectors"] = int(np.sum(~on))
    rows, detector = rows[on], detector[on]
    hosts = _truth_of(rows, stack_tables(truth, TRANSIENT_TRUTH))
    fakes = _fakes(rows, in_template[on], detector, hosts)
    return Shards(split_rows(fakes, np.asarray(fakes["visit"], np.int64), detector), left_out)


def _detectors(rows: Table, regions: Mapping[tuple[int, int], Region]) -> I64:
    """Return the detector of each row in its visit; -1 for none."""
    points = unit_vectors(np.asarray(rows["ra"], float), np.asarray(rows["dec"], float))
    visits = np.asarray(rows["visit"], np.int64)
    order = np.argsort(visits, kind="stable")
    detector, deepest = np.full(len(rows), -1, np.int64), np.full(len(rows), -1.0)
    for (visit, number), region in sorted(regions.items(), key=lambda item: item[0]):
        start, stop = np.searchsorted(visits, (visit, visit + 1), sorter=order)
        index = order[start:stop]
        depth = _depth(region, points[index], f"visit {visit}, detector {number}")
        better = (depth >= 0) & (depth > deepest[index])
        detector[index[better]], deepest[index[better]] = number, depth[better]
    return detector


def _depth(region: Region, points: F64, source: str) -> F64:
    """Return the sine of the distance of unit vectors (N, 3) to the nearest edge; negative outside."""
    if not isinstance(region, ConvexPolygon):
        raise BadInputError(source, "a convex polygon as its region", type(region).__name__)
    corners = np.array([[v.x(), v.y(), v.z()] for v in region.getVertices()])
    inward = np.cross(corners, np.roll(corners, -1, axis=0))
    inward /= np.linalg.norm(inward, axis=1, keepdims=True)
    return np.asarray((points @ inward.T).min(axis=1), np.float64)


def _truth_of(rows: Table, truth: Table) -> Table:
    """Return the row of the truth for each row."""
    wanted = np.asarray(rows["injection_id"], np.int64)
    ids, first = np.unique(np.asarray(truth["injection_id"], np.int64), return_index=True)
    at = positions_of(wanted, ids, TRANSIENT_TRUTH.name)
    if (at < 0).any():
        found = f"none for {np.unique(wanted[at < 0]).size} transients, the first {wanted[at < 0][0]}"
        raise BadInputError(TRANSIENT_TRUTH.name, "a row for each injection_id", found)
    return truth[first[at]]


def _twins(rows: Table, in_template: Flags) -> I64:
    """Return the position of the other row of the same transient and visit; -1 for none."""
    keys = zip(
        np.asarray(rows["injection_id"]).tolist(),
        np.asarray(rows["visit"]).tolist(),
        in_template.tolist(),
        strict=True,
    )
    place = {key: position for position, key in enumerate(keys)}
    return np.array([place.get((i, visit, not below), -1) for i, visit, below in place], np.int64)


def _fakes(rows: Table, in_template: Flags, detector: I64, truth: Table) -> Table:
    twin = _twins(rows, in_template)
    ids, linked = np.asarray(rows["injection_id"], np.int64), in_template & (twin >= 0)
    own = np.where(linked, ids ^ _TWIN_BIT, ids)
    if np.isin(own[linked], ids).any():
        raise BadInputError(TRANSIENT_EPOCH.name, "ids that differ in more than bit 62", "two that do not")
    mag = np.asarray(rows["mag"], float)
    return VISIT_DETECTOR_FAKES.build(
        {name: rows[name].value for name in ("visit", "ra", "dec", "mag", "source_type", "host_id")}
        | {"injection_id": own, "detector": detector}
        | {"isVisitSource": ~in_template, "isTemplateSource": in_template, "isVariable": twin >= 0}
        | {"twin_id": np.where(linked, ids, 0), "mag_offset": np.where(linked, mag - mag[twin], np.nan)}
        | {"isBlended": np.zeros(len(rows), bool), "blend_twin_id": np.zeros(len(rows), np.int64)}
        | _hosts(rows, truth)
    )


def _hosts(rows: Table, truth: Table) -> dict[str, NDArray[np.generic]]:
    hosted = np.asarray(rows["host_id"], np.int64) != 0
    ra, dec, mag, host_mag = (np.asarray(rows[name], float) for name in ("ra", "dec", "mag", "host_mag"))
    host_ra, host_dec = (np.asarray(truth[name], float) for name in ("host_ra", "host_dec"))
    return {
        "hosted_fake": hosted,
        "host_flux": ab_flux(host_mag),
        "host_mag": host_mag,
        "host_ra": host_ra,
        "host_dec": host_dec,
        "delta_ra": ((ra - host_ra + 180.0) % 360.0 - 180.0) * 3600.0,
        "delta_dec": (dec - host_dec) * 3600.0,
        "delta_mag": mag - host_mag,
    }
