"""What is near an object: the most likely host galaxy, and the nearest star."""

from __future__ import annotations

__all__ = ["Galaxies", "Hosts", "NearestStars", "Stars", "find_hosts", "find_stars"]

import dataclasses

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ..embedded.association import unit_vectors
from ..injection.host_geometry import Ellipses, project

type F64 = NDArray[np.float64]
type I64 = NDArray[np.int64]

_NEIGHBOURS = 12


@dataclasses.dataclass(frozen=True)
class Galaxies:
    """Galaxies that may be hosts; arrays of length G.

    Parameters
    ----------
    object_id
        Ids, int64.
    ra, dec
        ICRS, deg.
    ellipses
        Rms semi-axes and position angle.
    magnitude
        AB, in the reference band.
    """

    object_id: I64
    ra: F64
    dec: F64
    ellipses: Ellipses
    magnitude: F64

    @classmethod
    def none(cls) -> Galaxies:
        """Return no galaxies."""
        empty = np.zeros(0)
        return cls(np.zeros(0, np.int64), empty, empty, Ellipses(empty, empty, empty), empty)


@dataclasses.dataclass(frozen=True)
class Stars:
    """Stars; arrays of length G.

    Parameters
    ----------
    star_id
        Ids, int64.
    ra, dec
        ICRS, deg.
    magnitude
        AB, or of the reference table.
    """

    star_id: I64
    ra: F64
    dec: F64
    magnitude: F64

    @classmethod
    def none(cls) -> Stars:
        """Return no stars."""
        return cls(np.zeros(0, np.int64), np.zeros(0), np.zeros(0), np.zeros(0))


@dataclasses.dataclass(frozen=True)
class Hosts:
    """Host of each of N objects; 0 and NaN without.

    Parameters
    ----------
    object_id
        Id, int64.
    offset, offset_radii
        From its centre, arcsec, and over its radius in that direction.
    magnitude
        Of the host.
    """

    object_id: I64
    offset: F64
    offset_radii: F64
    magnitude: F64


@dataclasses.dataclass(frozen=True)
class NearestStars:
    """Nearest star of each of N objects; 0 and NaN without.

    Parameters
    ----------
    star_id
        Id, int64.
    offset
        Arcsec.
    magnitude
        Of the star.
    """

    star_id: I64
    offset: F64
    magnitude: F64


def find_hosts(ra: F64, dec: F64, galaxies: Galaxies, reach: float, max_radii: float) -> Hosts:
    """Find the galaxy that is nearest in its own radii.

    The offset in radii is the directional light radius (Sullivan et al. 2006, ApJ 648, 868; Gupta et al.
    2016, AJ 152, 154), with rms semi-axes, the PSF in them.

    Parameters
    ----------
    ra, dec : `numpy.ndarray`, (N,), float64
        Positions, deg; those that are not finite have no host.
    galaxies : `Galaxies`
        Candidates.
    reach : `float`
        Largest distance, arcsec.
    max_radii : `float`
        Largest offset in radii.

    Returns
    -------
    hosts : `Hosts`
        The least offset in radii within both.
    """
    count = len(ra)
    shapely = np.isfinite(galaxies.ellipses.a) & np.isfinite(galaxies.ellipses.b)
    usable = np.flatnonzero(shapely & np.isfinite(galaxies.ra) & np.isfinite(galaxies.dec))
    row, which = _pairs(ra, dec, galaxies.ra[usable], galaxies.dec[usable], reach)
    galaxy = usable[which]
    east, north = project(ra[row], dec[row], galaxies.ra[galaxy], galaxies.dec[galaxy])
    angle = np.deg2rad(galaxies.ellipses.pa[galaxy])
    major = (east * np.sin(angle) + north * np.cos(angle)) / galaxies.ellipses.a[galaxy]
    minor = (east * np.cos(angle) - north * np.sin(angle)) / galaxies.ellipses.b[galaxy]
    radii = np.hypot(major, minor)
    best = _least(row, radii, radii <= max_radii)
    result = Hosts(np.zeros(count, np.int64), *(np.full(count, np.nan) for _ in range(3)))
    at = row[best]
    result.object_id[at] = galaxies.object_id[galaxy[best]]
    result.offset[at], result.offset_radii[at] = np.hypot(east, north)[best], radii[best]
    result.magnitude[at] = galaxies.magnitude[galaxy[best]]
    return result


def find_stars(ra: F64, dec: F64, stars: Stars, reach: float) -> NearestStars:
    """Find the nearest star of each object.

    Parameters
    ----------
    ra, dec : `numpy.ndarray`, (N,), float64
        Positions, deg.
    stars : `Stars`
        Candidates.
    reach : `float`
        Largest distance, arcsec.

    Returns
    -------
    nearest : `NearestStars`
        On the sphere, also across 0 h and at the poles.
    """
    count = len(ra)
    usable = np.flatnonzero(np.isfinite(stars.ra) & np.isfinite(stars.dec))
    row, which = _pairs(ra, dec, stars.ra[usable], stars.dec[usable], reach, 1)
    star = usable[which]
    offset = np.hypot(*project(ra[row], dec[row], stars.ra[star], stars.dec[star]))
    result = NearestStars(np.zeros(count, np.int64), np.full(count, np.nan), np.full(count, np.nan))
    result.star_id[row], result.offset[row] = stars.star_id[star], offset
    result.magnitude[row] = stars.magnitude[star]
    return result


def _pairs(
    ra: F64, dec: F64, other_ra: F64, other_dec: F64, reach: float, neighbours: int = _NEIGHBOURS
) -> tuple[I64, I64]:
    """Return rows and others within reach, the nearest so many of each row."""
    good = np.flatnonzero(np.isfinite(ra) & np.isfinite(dec))
    if not len(good) or not len(other_ra):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    chord = 2.0 * np.sin(0.5 * np.deg2rad(reach / 3600.0))
    k = min(neighbours, len(other_ra))
    tree = cKDTree(unit_vectors(other_ra, other_dec))
    distance, index = tree.query(unit_vectors(ra[good], dec[good]), k=[*range(1, k + 1)])
    near = distance <= chord
    return np.repeat(good, near.sum(axis=1)), index[near].astype(np.int64)


def _least(row: I64, value: F64, allowed: NDArray[np.bool_]) -> I64:
    """Return the index of the least allowed value of each row that has one."""
    index = np.flatnonzero(allowed)
    index = index[np.lexsort((value[index], row[index]))]
    return index[np.r_[True, np.diff(row[index]) != 0]] if len(index) else index
