"""Galaxies and stars of an object table, and of a reference table of stars."""

from __future__ import annotations

__all__ = ["REFERENCE_STAR", "Neighbourhood", "neighbourhood", "reference_stars"]

import dataclasses

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from ..injection.host_geometry import Ellipses, TangentFitError
from ..injection.hosts import MeasuredObjects, host_ellipses
from ..tables import Column, TableSchema
from .context import Galaxies, Stars

type Bool = NDArray[np.bool_]

REFERENCE_STAR = TableSchema(
    "reference_star",
    (
        Column("id", "i8", "Id of the star, in its own catalogue"),
        Column("ra", "f8", "ICRS right ascension at the epoch of the survey", "deg"),
        Column("dec", "f8", "ICRS declination at the epoch of the survey", "deg"),
        Column("mag", "f8", "Magnitude, Gaia G or alike; NaN if not known", "mag"),
    ),
)
"""What a reference table of stars has to have."""


@dataclasses.dataclass(frozen=True)
class Neighbourhood:
    """What an object table says of hosts and stars.

    Parameters
    ----------
    galaxies, stars
        Extended and other objects.
    """

    galaxies: Galaxies
    stars: Stars


def neighbourhood(
    object_id: NDArray[np.int64], objects: MeasuredObjects, least_extendedness: float, bright: float
) -> Neighbourhood:
    """Divide the objects of a tract.

    Parameters
    ----------
    object_id : `numpy.ndarray`, (N,), int64
        Ids.
    objects : `~dia_vetting.injection.hosts.MeasuredObjects`
        Their measurements; those without a flag that they must have are neither.
    least_extendedness : `float`
        Of galaxies.
    bright : `float`
        Extended objects brighter than this are taken for saturated stars, AB.

    Returns
    -------
    neighbourhood : `Neighbourhood`
        An object whose extendedness is not known is a galaxy.
    """
    magnitude = objects.magnitude()
    extended = ~(objects.extendedness < least_extendedness) & ~(magnitude < bright)
    kept = np.logical_and.reduce(list(objects.passes.values()) or [np.ones(len(object_id), bool)])
    galaxy, star = kept & extended, kept & ~extended
    try:
        shapes = host_ellipses(objects)
    except TangentFitError:
        nothing = np.full(len(object_id), np.nan)
        shapes = Ellipses(nothing, nothing, nothing)
    of_galaxies = Ellipses(shapes.a[galaxy], shapes.b[galaxy], shapes.pa[galaxy])
    return Neighbourhood(
        Galaxies(object_id[galaxy], objects.ra[galaxy], objects.dec[galaxy], of_galaxies, magnitude[galaxy]),
        Stars(object_id[star], objects.ra[star], objects.dec[star], magnitude[star]),
    )


def reference_stars(table: Table, source: str = "reference_star") -> Stars:
    """Read a reference table; `TableSchemaError` if a column is missing or has another unit."""
    REFERENCE_STAR.check(table, source)
    ra, dec, mag = (
        np.asarray(np.ma.filled(np.ma.asarray(table[n], float), np.nan)) for n in ("ra", "dec", "mag")
    )
    return Stars(np.asarray(table["id"], np.int64), ra, dec, mag)
