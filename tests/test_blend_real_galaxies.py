"""Stamps of the real HST galaxies; they skip where the data is absent."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dia_vetting.blends.presets import load_preset
from dia_vetting.blends.real_galaxies import LEAST_CHOICE, MAX_BRIGHTENING, RealGalaxies
from dia_vetting.blends.simulation import simulate
from dia_vetting.errors import BadInputError


@pytest.fixture(scope="module")
def catalog(shared_data: Path) -> Path:
    return shared_data / "hst_galaxies" / "catalog.fits"


@pytest.fixture(scope="module")
def galaxies(catalog: Path) -> RealGalaxies:
    return RealGalaxies(catalog)


def test_catalog(galaxies: RealGalaxies) -> None:
    assert len(galaxies) == 50
    assert 19.0 < galaxies.magnitude.min() < galaxies.magnitude.max() < 27.0
    assert (galaxies.radius > 0.0).all()
    assert galaxies.radius.max() < 2.0


def test_choice_does_not_brighten_much(galaxies: RealGalaxies) -> None:
    uniform = np.linspace(0.0, 1.0, 200, endpoint=False)
    chosen = galaxies.magnitude[galaxies.chosen(np.full(200, 23.5), uniform)]
    assert chosen.max() <= 23.5 + MAX_BRIGHTENING
    assert len(np.unique(chosen)) == np.sum(galaxies.magnitude <= 23.5 + MAX_BRIGHTENING)
    bright = galaxies.magnitude[galaxies.chosen(np.full(200, 15.0), uniform)]
    np.testing.assert_array_equal(np.unique(bright), np.sort(galaxies.magnitude)[:LEAST_CHOICE])


def test_stamps(catalog: Path) -> None:
    preset = load_preset("lsst")
    stamps, truth = simulate(preset, 24, 3, galaxies=catalog)
    again, _ = simulate(preset, 24, 3, jobs=2, galaxies=catalog)
    assert stamps.images.tobytes() == again.images.tobytes()
    parametric, other = simulate(preset, 24, 3)
    np.testing.assert_array_equal(truth.flux[:, 0], other.flux[:, 0])
    np.testing.assert_array_equal(truth.kind, other.kind)
    assert truth.group.min() >= 0
    assert truth.group.max() < 50
    assert not np.array_equal(stamps.images, parametric.images)


def test_light_is_where_the_truth_says(catalog: Path) -> None:
    preset = load_preset("great3").with_kinds(single=1.0).with_noise(1e-6)
    stamps, truth = simulate(preset, 12, 6, galaxies=catalog)
    y, x = np.indices(stamps.images.shape[1:])
    for k, image in enumerate(stamps.images):
        near = np.hypot(x - truth.x[k, 0], y - truth.y[k, 0]) < 8.0
        light = image[near]
        assert 0.5 < np.sum(light) / truth.flux[k, 0] < 1.02  # the rest is in the wings
        assert np.sum(light * x[near]) / np.sum(light) == pytest.approx(truth.x[k, 0], abs=1.0)
        assert np.sum(light * y[near]) / np.sum(light) == pytest.approx(truth.y[k, 0], abs=1.0)


def test_no_catalog(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"none\.fits.*RealGalaxy"):
        RealGalaxies(tmp_path / "none.fits")
