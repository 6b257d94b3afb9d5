"""Scenes behind a lens, and central sources alone."""

from __future__ import annotations

import dataclasses

import galsim
import numpy as np
import pytest
from dia_vetting.bad_input import BadInputError
from dia_vetting.blends.impact.shear import galaxies_only
from dia_vetting.blends.lensing import sheared_layout, sheared_sources
from dia_vetting.blends.population import draw_sources
from dia_vetting.blends.presets import load_preset
from dia_vetting.blends.simulation import BLOCK, simulate, simulate_psfs

SHEAR = 0.05 - 0.03j


def test_shears_add_as_galsim_adds_them() -> None:
    sources = draw_sources(load_preset("lsst").population, 40, np.random.default_rng(1))
    seen = sheared_sources(sources, SHEAR)
    assert sources.star.any()
    for own, star, new in zip(sources.shear.flat, sources.star.flat, seen.shear.flat, strict=True):
        lens = galsim.Shear(g1=SHEAR.real, g2=SHEAR.imag)
        expected = 0.0 if star else (lens + galsim.Shear(own)).shear
        assert new == pytest.approx(expected, abs=1e-12)


def test_positions_move_as_galsim_moves_them() -> None:
    preset = galaxies_only(load_preset("lsst"))
    stamps, truth = simulate(preset, 6, 3, shear=SHEAR)
    before = simulate(preset, 6, 3)[1]
    matrix = galsim.Shear(g1=SHEAR.real, g2=SHEAR.imag).getMatrix()
    for axis, one in zip((truth.x, truth.y), (0, 1), strict=True):
        offset = np.stack([before.x - 31.5, before.y - 31.5])
        np.testing.assert_allclose(axis - 31.5, np.tensordot(matrix[one], offset, 1), atol=1e-9)
    np.testing.assert_array_equal(truth.flux, before.flux)
    assert not np.array_equal(stamps.images, simulate(preset, 6, 3)[0].images)


def test_nothing_changes_without_shear() -> None:
    preset = load_preset("great3")
    plain, same = (simulate(preset, 40, 5, **options) for options in ({}, {"shear": 0.0, "companions": True}))
    for one, two in zip(plain, same, strict=True):
        for field in dataclasses.fields(one):
            assert getattr(one, field.name).tobytes() == getattr(two, field.name).tobytes()


def test_without_companions_the_central_source_and_the_noise_stay() -> None:
    preset = load_preset("cfis")
    stamps, truth = simulate(preset, BLOCK + 9, 6)
    alone, alone_truth = simulate(preset, BLOCK + 9, 6, companions=False)
    assert set(alone_truth.kind) == {"single"}
    assert (alone_truth.n_sources == 1).all()
    assert np.isnan(alone_truth.x[:, 1:]).all()
    np.testing.assert_array_equal(alone_truth.x[:, 0], truth.x[:, 0])
    np.testing.assert_array_equal(alone_truth.snr, truth.snr)
    assert (alone_truth.blendedness == 0).all()
    single = truth.n_sources == 1
    np.testing.assert_array_equal(alone.images[single], stamps.images[single])
    assert not (alone.images[~single] == stamps.images[~single]).all(axis=(1, 2)).any()


@pytest.mark.parametrize("name", ["lsst", "cfis"])
def test_psfs_are_those_of_the_stamps(name: str) -> None:
    """A star alone in a stamp without noise is its PSF, moved."""
    preset = load_preset(name).with_kinds(single=1.0).with_noise(1e-9)
    stars = preset.population.model_copy(update={"star_fraction": 1.0})
    preset = preset.model_copy(update={"population": stars})
    stamps, truth = simulate(preset, BLOCK + 5, 7)
    psfs = simulate_psfs(preset, BLOCK + 5, 7)
    assert psfs.shape == stamps.images.shape
    for k in (0, 9, BLOCK + 2):
        own, seen = (galsim.hsm.FindAdaptiveMom(galsim.Image(image)) for image in (psfs[k], stamps.images[k]))
        assert own.moments_sigma == pytest.approx(seen.moments_sigma, rel=2e-3)
        assert own.observed_shape.g1 == pytest.approx(seen.observed_shape.g1, abs=3e-3)
        assert psfs[k].sum() == pytest.approx(stamps.images[k].sum() / truth.flux[k, 0], abs=2e-2)


def test_bad_shears(tmp_path) -> None:
    with pytest.raises(BadInputError, match="below 1"):
        simulate(load_preset("lsst"), 1, 1, shear=1.0)
    with pytest.raises(BadInputError, match="parametric"):
        simulate(load_preset("lsst"), 1, 1, shear=0.1, galaxies=tmp_path / "catalog.fits")


def test_layout_without_positions_stays_without() -> None:
    from dia_vetting.blends.layout import Layout

    x = np.array([[31.0, 40.0, np.nan]])
    layout = Layout(np.array(["blend"]), np.array([2]), x, x)
    moved = sheared_layout(layout, 31.5, 0.1)
    np.testing.assert_allclose(moved.x[0, 1] - 31.5, 8.5 * 1.1 / np.sqrt(0.99))
    np.testing.assert_allclose(moved.y[0, 1] - 31.5, 8.5 * 0.9 / np.sqrt(0.99))
    assert np.isnan(moved.x[0, 2])
