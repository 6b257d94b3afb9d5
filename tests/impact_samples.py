"""A small sky of known sources and objects, for the tests of blending impact."""

from __future__ import annotations

import numpy as np
from astropy.table import Table
from dia_vetting.blends.impact.catalog import CatalogObjects
from dia_vetting.blends.impact.coverage import Coverage
from dia_vetting.blends.impact.truth import TrueSources, true_sources
from dia_vetting.embedded.schemas import SIM_TRUTH_OBJECT
from dia_vetting.skycells import sky_cell

RA, DEC = 150.0, 2.0
FWHM, ERROR = 0.75, 50.0
SIDE = 240.0


def truth_table(east: np.ndarray, north: np.ndarray, mag: np.ndarray, half: float = 0.0) -> Table:
    """Return true sources at offsets in arcsec."""
    count = len(mag)
    return SIM_TRUTH_OBJECT.build(
        {
            "truth_id": np.arange(1, count + 1),
            "kind": np.full(count, "star" if half == 0 else "galaxy"),
            "ra": RA + np.asarray(east) / 3600 / np.cos(np.radians(DEC)),
            "dec": DEC + np.asarray(north) / 3600,
            "mag": mag,
            "color": np.full(count, 1.0),
            "half_light_radius": np.full(count, half),
        }
    )


def truth_of(table: Table, band: str = "r") -> TrueSources:
    return true_sources(table, band, FWHM / 2.3548, ERROR)


def objects_of(truth: TrueSources, keep: np.ndarray | None = None, **dropped: np.ndarray) -> CatalogObjects:
    """Return objects exactly at true sources; what treatments drop is given, else nothing."""
    keep = np.arange(len(truth)) if keep is None else keep
    count = len(keep)
    none = np.zeros(count, bool)
    flags = {name: dropped.get(name, none) for name in ("all", "sextractor", "ours")}
    error = np.full(count, ERROR)
    ones = np.ones(count, bool)
    flux = truth.flux[keep]
    return CatalogObjects(truth.ra[keep], truth.dec[keep], flux, error, flux / error, ones, flags, ones)


def uniform(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return offsets, arcsec, uniform over a square."""
    return tuple(np.random.default_rng(seed).uniform(-0.5 * SIDE, 0.5 * SIDE, (2, count)))


def square_coverage(nside: int = 65536) -> Coverage:
    """Return the cells of the square that `uniform` fills, by many positions in it."""
    grid = np.linspace(-0.5 * SIDE, 0.5 * SIDE, 700)
    east, north = (axis.ravel() for axis in np.meshgrid(grid, grid))
    cells = sky_cell(RA + east / 3600 / np.cos(np.radians(DEC)), DEC + north / 3600, nside)
    return Coverage(nside, np.unique(cells))
