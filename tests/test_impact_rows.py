"""Detection, photometry and residuals of objects whose truth is known exactly."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from dia_vetting.blends.impact.detection import detection_rows
from dia_vetting.blends.impact.matches import match_objects
from dia_vetting.blends.impact.photometry import photometry_rows, tangent_offset
from dia_vetting.blends.impact.resampling import Resampling
from dia_vetting.blends.impact.residuals import DiaSources, residual_rows
from impact_samples import objects_of, truth_of, truth_table, uniform

COUNT = 400
PAIRS = 100
"""The first objects have a companion 1.5 arcsec to the east, without an object; ours flags half of them."""


@pytest.fixture(scope="module")
def scene():
    grid = np.stack(np.meshgrid(np.arange(20), np.arange(20))).reshape(2, -1) * 12.0
    east = np.concatenate([grid[0], grid[0, :PAIRS] + 1.5])
    north = np.concatenate([grid[1], grid[1, :PAIRS]])
    mag = np.concatenate([np.full(COUNT, 21.0), np.full(PAIRS, 22.0)])
    truth = truth_of(truth_table(east, north, mag))
    place = np.arange(COUNT)
    flags = {"ours": place < PAIRS // 2, "sextractor": place % 4 == 0}
    objects = objects_of(truth, place, **flags)
    pair = place < PAIRS
    objects = dataclasses.replace(
        objects,
        flux=objects.flux * np.where(pair, 1.4, 1.0),
        ra=objects.ra + np.where(pair, 0.3, 0.0) / 3600 / np.cos(np.radians(objects.dec)),
    )
    return objects, truth, match_objects(objects, truth), Resampling.of(np.arange(COUNT + PAIRS), 200, 1)


def value(rows, figure, treatment, by="", low=None):
    (row,) = (
        row
        for row in rows
        if (row["figure"], row["treatment"], row["by"]) == (figure, treatment, by)
        and (low is None or row["bin_low"] == low)
    )
    assert np.isnan(row["value"]) or row["low"] <= row["value"] <= row["high"]
    return row


def detected(scene, counted=None):
    objects, truth, matches, resampling = scene
    counted = np.ones(len(truth), bool) if counted is None else counted
    groups = np.arange(len(objects)), np.arange(len(truth))
    return detection_rows(objects, truth, matches, groups, resampling, 10.0, counted)


def test_detection(scene) -> None:
    rows = detected(scene)
    assert value(rows, "completeness", "all")["value"] == pytest.approx(COUNT / (COUNT + PAIRS))
    ours = value(rows, "completeness", "ours")
    assert ours["value"] == pytest.approx((COUNT - PAIRS // 2) / (COUNT + PAIRS))
    assert ours["change"] == pytest.approx(-PAIRS // 2 / (COUNT + PAIRS))
    assert ours["change_high"] < 0
    assert value(rows, "purity", "all")["value"] == 1.0
    assert value(rows, "unrecognised_left", "all")["value"] == pytest.approx(PAIRS / COUNT)
    left = PAIRS // 2 / (COUNT - PAIRS // 2)
    assert value(rows, "unrecognised_left", "ours")["value"] == pytest.approx(left)
    assert value(rows, "blends_left", "ours")["value"] == pytest.approx(left)
    assert value(rows, "blends_dropped", "ours")["value"] == 0.5
    assert value(rows, "others_dropped", "ours")["value"] == 0.0
    assert value(rows, "others_dropped", "sextractor")["value"] == 0.25
    separated = value(rows, "completeness", "all", "separation", 1.5)
    assert separated["n"] + value(rows, "completeness", "all", "separation", 1.0)["n"] == 2 * PAIRS


def test_only_sources_on_covered_sky_are_asked_for(scene) -> None:
    rows = detected(scene, np.arange(COUNT + PAIRS) < COUNT)
    assert value(rows, "completeness", "all")["value"] == 1.0
    assert value(rows, "completeness", "all")["n"] == COUNT


def test_purity_counts_objects_without_a_source(scene) -> None:
    objects, truth, _, resampling = scene
    away = dataclasses.replace(objects, dec=np.where(np.arange(COUNT) < 40, 3.0, objects.dec))
    rows = detected((away, truth, match_objects(away, truth), resampling))
    assert value(rows, "purity", "all")["value"] == pytest.approx(0.9)
    assert value(rows, "purity", "ours")["value"] == pytest.approx(1 - 0 / 350)


def test_photometry(scene) -> None:
    objects, truth, matches, resampling = scene
    rows = photometry_rows(objects, truth, matches, np.arange(COUNT), resampling)
    assert value(rows, "flux_bias", "all")["value"] == pytest.approx(0.0, abs=1e-12)
    near = [value(rows, "flux_bias", "all", "separation", low) for low in (1.0, 1.5)]  # 1.5 by rounding
    assert sum(row["n"] for row in near) == PAIRS
    assert np.nanmax([row["value"] for row in near]) == pytest.approx(0.4)
    shift = value(rows, "centroid_towards_companion", "all")
    assert shift["n"] == PAIRS
    assert shift["value"] == pytest.approx(0.3, abs=1e-6)
    assert shift["unit"] == "arcsec"
    assert value(rows, "flux_outliers", "all")["value"] == pytest.approx(PAIRS / COUNT)
    assert value(rows, "flux_outliers", "ours")["change"] < -0.1


def test_offsets_across_the_meridian() -> None:
    east, north = tangent_offset(*(np.array([v]) for v in (359.9999, 60.0, 0.0001, 60.0001)))
    assert east[0] == pytest.approx(0.36, abs=1e-4)
    assert north[0] == pytest.approx(0.36, abs=1e-9)


def test_residuals(scene) -> None:
    """Two artefacts at each blend, one at each other object, one real source at each; and many far away."""
    objects, _, matches, resampling = scene
    objects = dataclasses.replace(objects, flux=np.full(COUNT, 1e4))
    at = np.concatenate([np.repeat(np.arange(PAIRS), 2), np.arange(PAIRS, COUNT), np.arange(COUNT)])
    ra, dec = objects.ra[at] + 0.5 / 3600, objects.dec[at]
    artefact = np.append(np.arange(len(at)) < COUNT + PAIRS, np.ones(500, bool))
    far = uniform(500, 1)
    sources = DiaSources(
        np.append(ra, 140.0 + far[0] / 3600), np.append(dec, far[1] / 3600), artefact, ~artefact, True
    )
    rows = residual_rows(objects, matches, sources, np.arange(COUNT), resampling, 2.0)
    assert value(rows, "artefacts_per_object", "all")["value"] == pytest.approx(1 + PAIRS / COUNT)
    assert value(rows, "artefacts_per_object", "truth")["value"] == pytest.approx(1.0)
    assert value(rows, "artefacts_per_dropped", "ours")["value"] == pytest.approx(2.0)
    assert value(rows, "artefacts_per_dropped_excess", "truth")["value"] == pytest.approx(1.0)
    assert value(rows, "real_per_object", "ours")["value"] == pytest.approx(1.0)
    assert value(rows, "real_left", "ours")["value"] == pytest.approx(0.875)
    assert value(rows, "artefacts_left", "ours")["value"] == pytest.approx(0.8)
    assert value(rows, "sources_per_object", "all")["value"] == pytest.approx(2 + PAIRS / COUNT)


def test_like_is_compared_with_like(scene) -> None:
    """Bright objects have more residuals, and only bright ones are flagged: no excess."""
    objects, _, matches, resampling = scene
    bright = np.arange(COUNT) % 2 == 0
    flagged = bright & (np.arange(COUNT) % 4 == 0)
    objects = dataclasses.replace(
        objects,
        flux=np.where(bright, 1e5, 1e3),
        dropped={"all": np.zeros(COUNT, bool), "sextractor": flagged, "ours": np.zeros(COUNT, bool)},
    )
    at = np.flatnonzero(bright)
    none = np.zeros(len(at), bool)
    sources = DiaSources(objects.ra[at], objects.dec[at], none, none, False)
    rows = residual_rows(objects, matches, sources, np.arange(COUNT), resampling, 2.0)
    assert {row["figure"].split("_")[0] for row in rows} == {"sources"}
    assert value(rows, "sources_per_object", "sextractor")["value"] == pytest.approx(1 / 3)
    assert value(rows, "sources_per_dropped_expected", "sextractor")["value"] == pytest.approx(1.0)
    assert value(rows, "sources_per_dropped_excess", "sextractor")["value"] == pytest.approx(0.0)
    assert np.isnan(value(rows, "sources_per_dropped_excess", "ours")["value"])
