"""Who has a transient, and where: the rows that every physical population starts from."""

from __future__ import annotations

__all__ = ["Selection", "draw_sites", "hostless_sites"]

import dataclasses
from collections.abc import Sequence

import numpy as np
from astropy.table import Table
from lsst.sphgeom import Region
from numpy.typing import NDArray

from .host_geometry import deproject
from .placement import Placement
from .population_control import far_enough
from .sky_regions import inside_any, poisson_positions, sky_area
from .transients import usable_hosts

type F64 = NDArray[np.float64]

_HOST_COLUMNS = ("host_ra", "host_dec", "host_a", "host_b", "host_pa", "host_mag")


@dataclasses.dataclass(frozen=True)
class Selection:
    """How many transients there are, where, and how near to each other.

    Parameters
    ----------
    placement : `~dia_vetting.injection.placement.Placement`
        Where on the host.
    host_fraction : `float`
        Probability that a host has one.
    host_density : `float`
        Expected number of hosted ones per square degree; above 0 it replaces ``host_fraction``.
    hostless_density : `float`
        Expected number of host-less ones per square degree.
    min_separation : `float`
        Least distance between two, arcsec.
    avoid_ra, avoid_dec : `numpy.ndarray`, (M,), float64
        Positions to keep away from, degrees.
    avoid_radius : `float`
        How far, arcsec.
    on_stars : `bool`
        Take the point-like rows of the host table (``host_extendedness`` below 0.5) instead of the others.
    """

    placement: Placement
    host_fraction: float = 0.03
    host_density: float = 0.0
    hostless_density: float = 0.0
    min_separation: float = 3.0
    avoid_ra: F64 = dataclasses.field(default_factory=lambda: np.empty(0))
    avoid_dec: F64 = dataclasses.field(default_factory=lambda: np.empty(0))
    avoid_radius: float = 3.0
    on_stars: bool = False


def draw_sites(
    hosts: Table, selection: Selection, regions: Sequence[Region], within: Region, rng: np.random.Generator
) -> tuple[Table, dict[str, int]]:
    """Draw the places of transients.

    Parameters
    ----------
    hosts : `astropy.table.Table`
        In `~dia_vetting.injection.schemas.HOST_GALAXY`, in the order of their ids; those outside the regions
        are left out. A column ``host_redshift`` is used if there is one.
    selection : `Selection`
        How many and where.
    regions, within
        Sky that counts, as in `~dia_vetting.injection.sky_regions.uniform_positions`.
    rng : `numpy.random.Generator`
        Source of the draws.

    Returns
    -------
    sites : `astropy.table.Table`
        Columns ``index`` (int64, of the draw: ids are made of it), ``row`` (of the host in ``hosts``; -1 for
        host-less), ``host_id``, ``ra``, ``dec``, the host's columns, ``delta_ra``, ``delta_dec`` and
        ``redshift`` (NaN where not known).
    left_out : `dict` [`str`, `int`]
        ``bad_host`` (hosts whose position or shape is not finite and positive), ``avoided``, ``too_close``.
    """
    usable = usable_hosts(hosts)
    point_like = np.asarray(hosts["host_extendedness"], float) < 0.5
    candidates = np.flatnonzero(usable & (point_like == selection.on_stars))
    ra, dec = (np.asarray(hosts[name], float) for name in ("host_ra", "host_dec"))
    candidates = candidates[inside_any(regions, ra[candidates], dec[candidates])]
    fraction = selection.host_fraction
    if selection.host_density > 0:
        fraction = selection.host_density * sky_area(regions, within) / max(len(candidates), 1)
    drawn = candidates[rng.random(len(candidates)) < fraction]
    sites = _sites(hosts, drawn, selection.placement, rng)
    loose_ra, loose_dec = poisson_positions(selection.hostless_density, regions, within, rng)
    loose = hostless_sites(loose_ra, loose_dec, len(sites))
    sites = Table({name: np.concatenate([sites[name], loose[name]]) for name in sites.colnames})
    keep, rejected = far_enough(
        np.asarray(sites["ra"], float),
        np.asarray(sites["dec"], float),
        selection.min_separation,
        selection.avoid_ra,
        selection.avoid_dec,
        selection.avoid_radius,
    )
    return sites[keep], {"bad_host": int(np.sum(~usable)), **rejected}


def _sites(hosts: Table, rows: NDArray[np.int64], placement: Placement, rng: np.random.Generator) -> Table:
    mine = hosts[rows]
    east, north = placement.offsets(mine, rng)
    ra, dec = deproject(east, north, mine["host_ra"], mine["host_dec"])
    redshift = np.full(len(rows), np.nan)
    if "host_redshift" in hosts.colnames:
        redshift = np.asarray(mine["host_redshift"], np.float64)
    return Table(
        {
            "index": np.arange(len(rows)),
            "row": rows,
            "host_id": np.asarray(mine["host_id"], np.int64),
            "ra": ra[: len(rows)],
            "dec": dec[: len(rows)],
            **{name: np.asarray(mine[name], np.float64) for name in _HOST_COLUMNS},
            "delta_ra": east,
            "delta_dec": north,
            "redshift": redshift,
        }
    )


def hostless_sites(ra: F64, dec: F64, first: int = 0) -> Table:
    """Return sites without a host, in the columns of `draw_sites`.

    Parameters
    ----------
    ra, dec : `numpy.ndarray`, (N,), float64
        Positions, degrees.
    first : `int`, optional
        Index of the first.
    """
    count = len(ra)
    unknown = np.full(count, np.nan)
    return Table(
        {
            "index": np.arange(first, first + count),
            "row": np.full(count, -1),
            "host_id": np.zeros(count, np.int64),
            "ra": ra,
            "dec": dec,
            **dict.fromkeys((*_HOST_COLUMNS, "delta_ra", "delta_dec", "redshift"), unknown),
        }
    )
