"""Knots of light in simulated galaxies."""

from __future__ import annotations

import dataclasses

import galsim
import numpy as np
import pytest
from dia_vetting.blends.drawing import SourceDrawer
from dia_vetting.blends.knots import MAX_KNOTS, draw_knots
from dia_vetting.blends.population import draw_sources
from dia_vetting.blends.presets import load_preset
from dia_vetting.blends.simulation import simulate
from dia_vetting.seeding import generator

PRESET = load_preset("lsst").with_structure(0.5)


def test_half_of_the_galaxies_have_knots_and_no_star() -> None:
    star = generator("star").random((4000, 5)) < 0.1
    knots = draw_knots(PRESET.population, star, generator("knots"))
    assert knots is not None
    light = knots.share.sum(axis=2)
    assert (light[star] == 0).all()
    assert np.mean(light[~star] > 0) == pytest.approx(0.5, abs=0.02)
    low, high = PRESET.population.knot_light
    assert light[light > 0].min() >= low
    assert light.max() <= high
    number = (knots.share > 0).sum(axis=2)[light > 0]
    assert (number.min(), number.max()) == (1, MAX_KNOTS)
    distance = np.hypot(knots.dx, knots.dy)
    assert distance.min() > 0.29
    assert distance.max() < 2.21


def test_none_are_drawn_unless_asked_for() -> None:
    assert draw_knots(load_preset("lsst").population, np.zeros((3, 5), bool), generator("x")) is None


def test_as_galsim_draws_them() -> None:
    preset, rng = PRESET.with_structure(1.0), generator("drawing knots")
    sources = draw_sources(preset.population, 8, rng)
    sources = dataclasses.replace(
        sources, star=np.zeros((8, 5), bool), knots=draw_knots(preset.population, np.zeros((8, 5), bool), rng)
    )
    sources = dataclasses.replace(
        sources, radius=np.maximum(sources.radius, 0.3), bulge_fraction=np.zeros((8, 5))
    )
    knots = sources.knots
    assert knots is not None
    drawer = SourceDrawer(preset, 3.0)
    x = np.full((8, 5), 30.3)
    images = drawer.draw(sources, np.ones((8, 5)), x, x, drawer.psf(np.full(8, 3.5), np.zeros(8, complex)))
    for k in range(8):
        radius, shear = sources.radius[k, 0], sources.shear[k, 0]
        disc = galsim.Exponential(half_light_radius=radius, flux=1.0 - knots.share[k, 0].sum())
        lens = galsim.Shear(g1=shear.real, g2=shear.imag)
        galaxy = disc.shear(lens)
        for share, dx, dy in zip(knots.share[k, 0], knots.dx[k, 0], knots.dy[k, 0], strict=True):
            if share > 0:
                place = lens.getMatrix() @ np.array([dx, dy]) * radius
                galaxy += galsim.Gaussian(sigma=knots.size[k, 0] * radius, flux=share).shift(*place)
        seen = galsim.Convolve(galaxy, galsim.Moffat(beta=3.0, fwhm=3.5 * preset.pixel_scale))
        offset = 30.3 - 0.5 * (preset.size - 1)
        expected = seen.drawImage(
            nx=preset.size, ny=preset.size, scale=preset.pixel_scale, offset=(offset, offset), dtype=float
        ).array
        assert np.abs(images[k, 0] - expected).max() < 1e-3 * expected.max()


def test_all_else_stays_the_same() -> None:
    smooth, truth = simulate(load_preset("great3"), 40, 5)
    knotty, other = simulate(load_preset("great3").with_structure(0.5), 40, 5)
    np.testing.assert_array_equal(truth.x, other.x)
    np.testing.assert_array_equal(truth.flux, other.flux)
    np.testing.assert_array_equal(smooth.noise_sigma, knotty.noise_sigma)
    same = [np.array_equal(a, b) for a, b in zip(smooth.images, knotty.images, strict=True)]
    assert 0 < sum(same) < 40


def test_other_seeing() -> None:
    stamps, _ = simulate(load_preset("lsst").with_seeing((1.2, 1.4)), 20, 5)
    assert (stamps.psf_fwhm > 6.0).all()
