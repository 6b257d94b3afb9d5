"""Transients in the form that lsst.source.injection reads: one table per HTM trixel of level 7 and band."""

from __future__ import annotations

__all__ = ["HTM_LEVEL", "SELECTION", "Shards", "injectable", "injection_catalogs", "split_rows"]

import dataclasses
from collections.abc import Sequence

import numpy as np
from astropy.table import Table
from lsst.sphgeom import HtmPixelization, LonLat, UnitVector3d
from numpy.typing import NDArray

from ..tables import stack_tables
from .schemas import TRANSIENT_EPOCH

HTM_LEVEL = 7

SELECTION = "injectVisit:selection=\"np.isin(injection_catalog['visit'], {visit})\""
"""The configuration that makes VisitInjectTask take the rows of its own visit."""

_COLUMNS = (
    "injection_id",
    "visit",
    "ra",
    "dec",
    "mag",
    "source_type",
    "host_id",
    "host_mag",
    "midpointMjdTai",
)


@dataclasses.dataclass(frozen=True)
class Shards[Key]:
    """Tables by what their datasets are told apart by, and what is in none of them.

    Parameters
    ----------
    tables : `dict` [`tuple`, `astropy.table.Table`]
        In the order of their keys: HTM index of level 7 and band here, visit and detector in
        `~dia_vetting.injection.ap_fakes`.
    left_out : `dict` [`str`, `int`]
        Rows by reason; see `injectable`.
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
    rows, left_out = injectable(stack_tables(epochs, TRANSIENT_EPOCH))
    pixels = HtmPixelization(HTM_LEVEL)
    trixel = np.array(
        [
            pixels.index(UnitVector3d(LonLat.fromDegrees(ra % 360.0, dec)))
            for ra, dec in zip(np.asarray(rows["ra"], float), np.asarray(rows["dec"], float), strict=True)
        ],
        np.int64,
    )
    names, band = np.unique(np.asarray(rows["band"]).astype(str), return_inverse=True)
    parts = split_rows(rows[list(_COLUMNS)], trixel, band)
    return Shards({(index, str(names[k])): table for (index, k), table in parts.items()}, left_out)


def injectable(rows: Table) -> tuple[Table, dict[str, int]]:
    """Return the rows that Rubin's injection can have, and how many it cannot.

    Parameters
    ----------
    rows : `astropy.table.Table`
        In `~dia_vetting.injection.schemas.TRANSIENT_EPOCH`.

    Returns
    -------
    rows : `astropy.table.Table`
        In the order given.
    left_out : `dict` [`str`, `int`]
        Rows by reason: ``no_position`` (not finite), ``no_magnitude`` (not finite), ``trail`` (moving
        sources: upstream wants the length in pixels of the image and a surface brightness), ``repeated``
        (a transient that has a row for the visit already).
    """
    placed = np.isfinite(np.asarray(rows["ra"], float)) & np.isfinite(np.asarray(rows["dec"], float))
    bright = np.isfinite(np.asarray(rows["mag"], float))
    still = ~(np.asarray(rows["trail_length"], float) > 0)
    left_out = {
        "no_position": int(np.sum(~placed)),
        "no_magnitude": int(np.sum(placed & ~bright)),
        "trail": int(np.sum(placed & bright & ~still)),
    }
    rows = rows[placed & bright & still]
    keys = np.column_stack([np.asarray(rows[name], np.int64) for name in ("injection_id", "visit")])
    _, first = np.unique(keys, axis=0, return_index=True)
    return rows[np.sort(first)], left_out | {"repeated": len(rows) - len(first)}


def split_rows(
    table: Table, first: NDArray[np.int64], second: NDArray[np.int64]
) -> dict[tuple[int, int], Table]:
    """Split a table by a pair of numbers.

    Parameters
    ----------
    table : `astropy.table.Table`
        N rows.
    first, second : `numpy.ndarray`, (N,), int64
        Numbers of each row.

    Returns
    -------
    parts : `dict` [`tuple` [`int`, `int`], `astropy.table.Table`]
        By both numbers, in their order; rows in the order of the table.
    """
    if not len(table):
        return {}
    keys, part = np.unique(np.column_stack((first, second)), axis=0, return_inverse=True)
    order, ends = np.argsort(part, kind="stable"), np.cumsum(np.bincount(part))[:-1]
    pieces = np.split(order, ends)
    return {(int(a), int(b)): table[piece] for (a, b), piece in zip(keys, pieces, strict=True)}
