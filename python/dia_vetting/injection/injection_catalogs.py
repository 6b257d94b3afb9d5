"""Transients in the form that lsst.source.injection reads: one table per HTM trixel of level 7 and band."""

from __future__ import annotations

__all__ = ["HTM_LEVEL", "SELECTION", "Shards", "injection_catalogs"]

import dataclasses
from collections.abc import Sequence

import numpy as np
from astropy.table import Table
from lsst.sphgeom import HtmPixelization, LonLat, UnitVector3d

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
class Shards:
    """Tables by trixel and band, and what is in none of them.

    Parameters
    ----------
    tables : `dict` [`tuple` [`int`, `str`], `astropy.table.Table`]
        By HTM index of level 7 and band, in order.
    left_out : `dict` [`str`, `int`]
        Rows by reason: ``no_position`` (not finite), ``no_magnitude`` (not finite), ``trail`` (moving
        sources: upstream
        wants the length in pixels of the image and a surface brightness).
    """

    tables: dict[tuple[int, str], Table]
    left_out: dict[str, int]


def injection_catalogs(epochs: Sequence[Table]) -> Shards:
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
    rows = stack_tables(epochs, TRANSIENT_EPOCH)
    placed = np.isfinite(np.asarray(rows["ra"], float)) & np.isfinite(np.asarray(rows["dec"], float))
    bright = np.isfinite(np.asarray(rows["mag"], float))
    still = ~(np.asarray(rows["trail_length"], float) > 0)
    left_out = {
        "no_position": int(np.sum(~placed)),
        "no_magnitude": int(np.sum(placed & ~bright)),
        "trail": int(np.sum(placed & bright & ~still)),
    }
    rows = rows[placed & bright & still]
    pixels = HtmPixelization(HTM_LEVEL)
    trixel = np.array(
        [
            pixels.index(UnitVector3d(LonLat.fromDegrees(ra % 360.0, dec)))
            for ra, dec in zip(np.asarray(rows["ra"], float), np.asarray(rows["dec"], float), strict=True)
        ],
        np.int64,
    )
    band = np.asarray(rows["band"]).astype(str)
    keys = sorted(set(zip(trixel.tolist(), band.tolist(), strict=True)))
    columns = rows[list(_COLUMNS)]
    tables = {(index, name): columns[(trixel == index) & (band == name)] for index, name in keys}
    return Shards(tables, left_out)
