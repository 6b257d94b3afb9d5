"""Covered sky, density and clustering on it."""

from __future__ import annotations

import numpy as np
import pytest
from dia_vetting.blends.impact.clustering import clustering_rows, poisson_interval
from dia_vetting.blends.impact.coverage import Coverage, covered_cells
from dia_vetting.blends.impact.resampling import Resampling
from dia_vetting.embedded.tract_geometry import TractGeometry
from dia_vetting.images import make_patch_image, tract_projection
from dia_vetting.masks import MaskBit
from dia_vetting.planes import Planes
from impact_samples import SIDE, square_coverage, truth_of, truth_table, uniform
from lsst.images import Box

GEOMETRY = TractGeometry("map", 7, 150.0, 2.0, 0.2, (400, 600), 200, 30)
NSIDE = 8192


def coadd(patch: int, hole: slice | None = None):
    shape = GEOMETRY.patch_box(patch).shape
    x0, _, y0, _ = GEOMETRY.patch_box(patch).outer
    mask = np.zeros(shape, np.uint32)
    if hole is not None:
        mask[hole, hole] = MaskBit.NO_DATA
    planes = Planes(np.zeros(shape), np.ones(shape), mask)
    projection = tract_projection(GEOMETRY.wcs, "map", 7, Box.from_shape(GEOMETRY.shape))
    return make_patch_image(planes, sky_projection=projection, x0=x0, y0=y0)


def test_patches_together_cover_the_tract_once() -> None:
    parts = [covered_cells(coadd(patch), 131072) for patch in range(6)]
    coverage = Coverage.joined(131072, parts)
    assert len(coverage.cells) * coverage.cell_area == pytest.approx(400 * 600 / 300**2, rel=0.02)
    assert sum(map(len, parts)) > 1.2 * len(coverage.cells)  # they overlap
    ra, dec = GEOMETRY.pixel_to_sky([5.0, 590.0, 300.0, -9.0, 300.0], [5.0, 390.0, 200.0, 200.0, 410.0])
    assert coverage.holds(ra, dec).tolist() == [True, True, True, False, False]


def test_pixels_without_data_are_not_covered() -> None:
    whole, part = (covered_cells(coadd(0, hole), 131072) for hole in (None, slice(50, 150)))
    assert len(whole) - len(part) == pytest.approx(100**2 * 0.04 / 2.59, rel=0.1)
    ra, dec = GEOMETRY.pixel_to_sky([100.0], [100.0])
    assert Coverage(131072, whole).holds(ra, dec).all()
    assert not Coverage(131072, part).holds(ra, dec).any()
    assert not Coverage(131072, whole).holds([np.nan], [2.0]).any()


def test_random_positions_are_uniform() -> None:
    coverage = square_coverage()
    ra, dec = coverage.random_positions(40_000, np.random.default_rng(1))
    assert coverage.holds(ra, dec).all()
    counts = np.histogram(dec, 10, (2 - 0.45 * SIDE / 3600, 2 + 0.45 * SIDE / 3600))[0]
    assert counts.std() < 3 * np.sqrt(counts.mean())
    assert np.abs(np.histogram(ra, 2)[0][0] / 40_000 - 0.5) < 0.02


def rows_of(east, north, **more):
    truth = truth_of(truth_table(east, north, np.full(len(east), 22.0)))
    coverage = square_coverage()
    inside = coverage.holds(truth.ra, truth.dec)
    sky = (truth.ra[inside], truth.dec[inside])
    resampling = Resampling.of(coverage.coarse(NSIDE), 200, 1)
    samples = {"all": sky, **{name: (sky[0][keep], sky[1][keep]) for name, keep in more.items()}}
    rows = clustering_rows(samples, coverage, NSIDE, resampling, 10, 2)
    return len(sky[0]), rows


def test_uniform_sources_do_not_cluster() -> None:
    count, rows = rows_of(*uniform(3000, 5))
    (density,) = (row for row in rows if row["figure"] == "number_density")
    assert density["value"] == pytest.approx(count / (SIDE / 60) ** 2, rel=0.05)  # cells on the edge
    assert density["low"] < density["value"] < density["high"]
    found = [row for row in rows if row["figure"] == "two_point" and np.isfinite(row["value"])]
    assert len(found) == 10
    assert sum(row["low"] < 0 < row["high"] for row in found) >= 8
    assert abs(found[-1]["value"]) < 0.03


def test_pairs_cluster_and_dropping_one_of_each_undoes_it() -> None:
    east, north = uniform(1200, 6)
    angle = uniform(1200, 7)[0]
    east = np.concatenate([east, east + 1.5 * np.cos(angle)])
    north = np.concatenate([north, north + 1.5 * np.sin(angle)])
    truth = truth_of(truth_table(east, north, np.full(2400, 22.0)))
    inside = square_coverage().holds(truth.ra, truth.dec)
    _, rows = rows_of(east, north, ours=(np.arange(2400) < 1200)[inside])
    at = {r["treatment"]: r for r in rows if r["bin_low"] == 1.2}
    # A pair more for each, where n pi (1.8^2 - 1.2^2) are expected
    density = 2400 / SIDE**2
    assert at["all"]["value"] == pytest.approx(1 / (density * np.pi * 1.8), rel=0.2)
    assert at["all"]["low"] > 0
    assert at["ours"]["low"] < 0 < at["ours"]["high"]
    assert at["ours"]["change_high"] < 0
    far = {r["treatment"]: r for r in rows if r["bin_low"] == 40.0}
    assert abs(far["ours"]["change"]) < 0.05


def test_few_sources_are_undefined() -> None:
    _, rows = rows_of(*uniform(20, 8))
    two_point = [row for row in rows if row["figure"] == "two_point"]
    assert np.isnan(two_point[0]["value"])
    assert two_point[0]["n"] == 0


def test_poisson_intervals() -> None:
    assert poisson_interval(0) == pytest.approx((0.0, 3.689), abs=1e-3)
    assert poisson_interval(10) == pytest.approx((4.795, 18.390), abs=1e-3)
