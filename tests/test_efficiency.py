"""Efficiency fits on injections whose efficiency is known."""

import numpy as np
import pytest
from astropy.table import Table
from dia_vetting.injection.efficiency import LogisticFit, efficiency_by_band, fit_logistic, holdout
from dia_vetting.injection.recovery import logistic_cost

TRUE = LogisticFit(23.4, 0.25, 0.95)


def outcomes(count: int = 8000, seed: int = 1, south: float = 0.0) -> Table:
    """Return injections over half a degree; the efficiency of the southern half may be another."""
    rng = np.random.default_rng(seed)
    mag, ra, dec = (
        rng.uniform(20, 26, count),
        rng.uniform(359.7, 360.3, count) % 360,
        rng.uniform(-0.3, 0.3, count),
    )
    efficiency = TRUE(mag + south * (dec < 0))
    return Table(
        {
            "flux": 10 ** (0.4 * (31.4 - mag)) * rng.choice([-1, 1], count),
            "ra": ra,
            "dec": dec,
            "band": np.where(np.arange(count) < count // 2, "g", "r"),
            "recovered": rng.random(count) < efficiency,
        }
    )


def test_fit_finds_the_truth_and_its_interval_holds_it():
    figures = efficiency_by_band(outcomes(), seed=2)
    assert set(figures) == {"g", "r"}
    for band in figures.values():
        assert band["n"] == 4000
        for name in ("m50", "width", "ceiling"):
            figure, true = band[name], getattr(TRUE, name)
            assert figure["low"] < figure["value"] < figure["high"]
            reach = 2.0 * (figure["high"] - figure["low"])
            assert abs(figure["value"] - true) < reach
        assert band["m50"]["value"] == pytest.approx(23.4, abs=0.08)


def test_gradient_is_that_of_the_cost():
    rng = np.random.default_rng(3)
    x, at = rng.uniform(-26, -20, 500), np.array([-23.0, -1.0, 1.5])
    trials = rng.integers(1, 5, 500)
    data = x, rng.binomial(trials, 0.5), trials
    value, gradient = logistic_cost(at, *data)
    for k in range(3):
        step = np.eye(3)[k] * 1e-6
        assert gradient[k] == pytest.approx(
            (logistic_cost(at + step, *data)[0] - value) / 1e-6, rel=1e-3, abs=1e-6
        )


def test_half_of_the_sky_predicts_the_other():
    for band in holdout(outcomes(20_000), seed=4).values():
        assert abs(band["m50_difference"]) < 0.05
        assert band["n_bins"] >= 10
        assert band["largest_pull"] < 3.5


def test_a_difference_between_places_is_seen():
    """Where the south is shallower the curve of both is wider than that of either."""
    mixed = efficiency_by_band(outcomes(20_000, south=1.5), seed=2)["g"]
    alone = efficiency_by_band(outcomes(20_000), seed=2)["g"]
    assert mixed["width"]["value"] > 1.5 * alone["width"]["value"]


def test_nothing_to_fit():
    mag = np.linspace(20, 25, 50)
    assert fit_logistic(mag, np.ones(50, bool)) is None
    table = outcomes(100)
    table["recovered"] = False
    assert efficiency_by_band(table, 1) == {"g": {"n": 50}, "r": {"n": 50}}
    assert holdout(table, 1) == {}
