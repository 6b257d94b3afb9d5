"""Sources of simulated stamps."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from dia_vetting.blends.population import Sources, draw_sources
from dia_vetting.blends.presets import PopulationModel, load_preset
from dia_vetting.seeding import generator

MODEL = load_preset("lsst").population


@pytest.fixture(scope="module")
def sources() -> Sources:
    return draw_sources(MODEL, 20_000, generator("population"))


def test_stars_are_points(sources: Sources) -> None:
    assert sources.star.mean() == pytest.approx(MODEL.star_fraction, abs=0.01)
    assert (sources.radius[sources.star] == 0.0).all()
    assert (sources.shear[sources.star] == 0.0).all()


def test_counts_of_central_sources(sources: Sources) -> None:
    bright, faint = MODEL.magnitude
    span = 10.0 ** (MODEL.slope * (faint - bright)) - 1.0
    cdf = lambda m: (10.0 ** (MODEL.slope * (m - bright)) - 1.0) / span  # noqa: E731
    assert scipy.stats.kstest(sources.magnitude[:, 0], cdf).pvalue > 1e-3


def test_companions_are_within_the_contrast(sources: Sources) -> None:
    fainter = sources.magnitude[:, 1:] - sources.magnitude[:, :1]
    assert fainter.max() <= MODEL.contrast
    assert fainter.max() > MODEL.contrast - 0.05
    assert sources.magnitude.min() >= MODEL.magnitude[0]
    assert sources.magnitude.max() <= MODEL.magnitude[1]


def test_sizes(sources: Sources) -> None:
    radius = sources.radius[~sources.star]
    assert radius.min() >= MODEL.size_range[0]
    assert radius.max() <= MODEL.size_range[1]
    near = ~sources.star & (np.abs(sources.magnitude - 22.0) < 0.2)
    assert np.median(sources.radius[near]) == pytest.approx(MODEL.size, rel=0.05)


def test_shears_are_a_truncated_rayleigh_distribution(sources: Sources) -> None:
    size = np.abs(sources.shear[~sources.star])
    assert size.max() <= 0.6
    rayleigh = scipy.stats.rayleigh(scale=MODEL.ellipticity)
    cdf = lambda s: rayleigh.cdf(s) / rayleigh.cdf(0.6)  # noqa: E731
    assert scipy.stats.kstest(size[:20_000], cdf).pvalue > 1e-3
    angle = np.angle(sources.shear[~sources.star])
    assert scipy.stats.kstest(angle[:20_000] / (2 * np.pi) + 0.5, "uniform").pvalue > 1e-3


def test_bulges_are_smaller_than_discs(sources: Sources) -> None:
    galaxy = ~sources.star
    share = sources.bulge_radius[galaxy] / sources.radius[galaxy]
    assert share.min() >= MODEL.bulge_size[0] - 1e-9
    assert share.max() <= MODEL.bulge_size[1] + 1e-9
    assert sources.bulge_fraction.mean() == pytest.approx(0.8 / 2.8, abs=0.01)


def test_slice(sources: Sources) -> None:
    part = sources[10:12]
    assert part.star.shape == (2, 5)
    np.testing.assert_array_equal(part.magnitude, sources.magnitude[10:12])


def test_no_stars_where_none_are_asked_for() -> None:
    model = PopulationModel.model_validate({**MODEL.model_dump(), "star_fraction": 0.0})
    assert not draw_sources(model, 100, generator("x")).star.any()
