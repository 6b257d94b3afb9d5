"""Positions inside regions of the sky."""

from __future__ import annotations

__all__ = ["inside_any", "poisson_positions", "sky_area", "uniform_positions"]

from collections.abc import Sequence

import numpy as np
from lsst.sphgeom import Circle, LonLat, Region
from numpy.typing import ArrayLike, NDArray

from .host_geometry import ARCSEC_PER_RADIAN, deproject

type F64 = NDArray[np.float64]

_BATCHES = 200

_AREA_POINTS = 20_000


def inside_any(regions: Sequence[Region], ra: ArrayLike, dec: ArrayLike) -> NDArray[np.bool_]:
    """Tell which positions lie in at least one region.

    Parameters
    ----------
    regions : `~collections.abc.Sequence` of `lsst.sphgeom.Region`
        Regions.
    ra, dec : array_like, (N,)
        ICRS positions, degrees.

    Returns
    -------
    inside : `numpy.ndarray`, (N,), bool
        Edges belong to a region.
    """
    lon = np.deg2rad(np.asarray(ra, np.float64)) % (2 * np.pi)
    lat = np.deg2rad(np.asarray(dec, np.float64))
    inside = np.zeros(lon.shape, dtype=bool)
    for region in regions:
        left = ~inside
        if left.any():
            inside[left] = region.contains(lon[left], lat[left])
    return inside


def uniform_positions(
    count: int, regions: Sequence[Region], within: Region, rng: np.random.Generator
) -> tuple[F64, F64]:
    """Draw positions uniformly, by area, over the union of regions, as far as it lies within another one.

    Parameters
    ----------
    count : `int`
        How many.
    regions : `~collections.abc.Sequence` of `lsst.sphgeom.Region`
        Where; sky that two of them share does not count twice.
    within : `lsst.sphgeom.Region`
        And only here.
    rng : `numpy.random.Generator`
        Source of the draws.

    Returns
    -------
    ra, dec : `numpy.ndarray`, (count,), float64
        Degrees. Fewer, or none, if the common area is less than about a
        thousandth of the circle around it.
    """
    cap = _common_cap(regions, within)
    found_ra, found_dec, left = [np.empty(0)], [np.empty(0)], count
    for _ in range(_BATCHES if count and not cap.isEmpty() else 0):
        ra, dec = _uniform_in_cap(max(8 * left, 256), cap, rng)
        good = np.flatnonzero(inside_any(regions, ra, dec) & inside_any([within], ra, dec))[:left]
        found_ra.append(ra[good])
        found_dec.append(dec[good])
        left -= len(good)
        if not left:
            break
    return np.concatenate(found_ra), np.concatenate(found_dec)


def poisson_positions(
    density: float, regions: Sequence[Region], within: Region, rng: np.random.Generator
) -> tuple[F64, F64]:
    """Draw a Poisson number of positions, uniform by area over the union of regions within another one.

    Parameters
    ----------
    density : `float`
        Expected number per square degree.
    regions, within, rng
        As in `uniform_positions`.

    Returns
    -------
    ra, dec : `numpy.ndarray`, (N,), float64
        Degrees. They are drawn over a circle that holds the area and thinned, so that the area need not be
        known.
    """
    cap = _common_cap(regions, within)
    if cap.isEmpty() or not density > 0:
        return np.empty(0), np.empty(0)
    ra, dec = _uniform_in_cap(int(rng.poisson(density * _square_degrees(cap))), cap, rng)
    good = inside_any(regions, ra, dec) & inside_any([within], ra, dec)
    return ra[good], dec[good]


def sky_area(regions: Sequence[Region], within: Region) -> float:
    """Return the area of the union of regions within another one, square degrees, to about one per cent."""
    cap = _common_cap(regions, within)
    if cap.isEmpty():
        return 0.0
    ra, dec = _uniform_in_cap(_AREA_POINTS, cap, np.random.default_rng(0))
    return float(np.mean(inside_any(regions, ra, dec) & inside_any([within], ra, dec))) * _square_degrees(cap)


def _square_degrees(cap: Circle) -> float:
    return float(cap.getArea() * np.rad2deg(1.0) ** 2)


def _common_cap(regions: Sequence[Region], within: Region) -> Circle:
    """Return a circle that holds all of the area asked for, the smaller one of two that are at hand."""
    union = Circle()
    for region in regions:
        union.expandTo(region.getBoundingCircle())
    whole = within.getBoundingCircle()
    return union if union.getArea() < whole.getArea() else whole


def _uniform_in_cap(count: int, cap: Circle, rng: np.random.Generator) -> tuple[F64, F64]:
    """Draw positions uniformly on a circle of the sphere: equal areas are equal steps in height."""
    angle = cap.getOpeningAngle().asRadians()
    below = (1.0 - np.cos(angle)) * rng.random(count)
    radius, azimuth = np.sqrt(below * (2.0 - below)), rng.uniform(0.0, 2.0 * np.pi, count)
    centre = LonLat(cap.getCenter())
    # On the tangent plane a point at angular distance r lies at tan r.
    step = ARCSEC_PER_RADIAN * radius / (1.0 - below)
    return deproject(
        step * np.cos(azimuth),
        step * np.sin(azimuth),
        centre.getLon().asDegrees(),
        centre.getLat().asDegrees(),
    )
