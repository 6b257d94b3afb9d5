"""Estimators of completeness, photometry and astrometry against known answers."""

import dataclasses

import numpy as np
import pytest
from dia_vetting.injection.recovery import (
    Measured,
    completeness,
    fifty_percent,
    flux_bias,
    median_east,
    median_north,
    median_offset,
    pull_static,
    pull_std,
    pull_width,
    with_interval,
    with_intervals,
)

RNG = np.random.default_rng


def test_fifty_percent_point_of_a_threshold():
    """Sources detected at measured SNR > 5 with unit noise: half of those at SNR 5 are."""
    rng = RNG(2)
    snr = np.exp(rng.uniform(np.log(2), np.log(30), 3000))
    seen = snr + rng.normal(size=3000) > 5.0
    found = fifty_percent(snr, seen, RNG(0))
    assert found.value == pytest.approx(5.0, abs=0.1)
    assert found.low < 5.0 < found.high
    assert found.high - found.low < 0.4
    # Sources lost at every SNR raise the point where half is reached: 0.8 Phi(s - 5) = 1/2 at 5.319.
    lossy = fifty_percent(snr, seen & (rng.random(3000) < 0.8), RNG(0))
    assert lossy.value == pytest.approx(5.319, abs=0.2)


@pytest.mark.parametrize("seen", [np.zeros(50, bool), np.ones(50, bool), np.zeros(0, bool)])
def test_fifty_percent_point_that_is_not_there(seen):
    assert np.isnan(fifty_percent(np.linspace(3, 10, len(seen)), seen, RNG(0)).value)


def measurements(truth, flux, east=0.0) -> Measured:
    """Measurements with errors of 100 nJy, due north right, whose static sky is not known."""
    count = len(truth)
    east, error = np.broadcast_to(east, count), np.full(count, 100.0)
    return Measured(truth, flux, error, east, np.zeros(count), np.full(count, np.nan))


def test_estimators_recover_what_was_put_in():
    rng = RNG(4)
    truth = np.exp(rng.uniform(5, 10, 4000))
    sample = measurements(truth, 1.03 * truth + rng.normal(0, 130, 4000), east=rng.normal(0.01, 0.02, 4000))
    bias = with_interval(sample, flux_bias, RNG(0))
    error = 130 / np.sqrt((truth**2).sum())  # of a least-squares slope
    assert bias.value == pytest.approx(0.03, abs=3 * error)
    assert bias.high - bias.low == pytest.approx(3.92 * error, rel=0.15)
    unbiased = measurements(truth, truth + rng.normal(0, 130, 4000))
    width = with_interval(unbiased, pull_std, RNG(0))
    assert pull_width(unbiased) == pytest.approx(pull_std(unbiased), rel=0.1)
    assert width.value == pytest.approx(1.3, abs=3 * 1.3 / np.sqrt(2 * 4000))
    assert width.high - width.low == pytest.approx(3.92 * 1.3 / np.sqrt(2 * 4000), rel=0.2)
    static = dataclasses.replace(unbiased, static_error=np.full(4000, np.sqrt(130**2 - 100**2)))
    assert pull_static(static) == pytest.approx(1.0, abs=3 / np.sqrt(2 * 4000))
    assert np.isnan(with_interval(unbiased, pull_static, RNG(0)).value)
    east = with_interval(sample, median_east, RNG(0))
    assert east.value == pytest.approx(0.01, abs=3 * 1.2533 * 0.02 / np.sqrt(4000))
    assert east.high - east.low == pytest.approx(3.92 * 1.2533 * 0.02 / np.sqrt(4000), rel=0.25)
    assert median_north(sample) == 0.0
    scattered = dataclasses.replace(sample, east=rng.normal(0, 0.02, 4000), north=rng.normal(0, 0.02, 4000))
    assert with_interval(scattered, median_offset, RNG(0)).value == pytest.approx(
        0.02 * np.sqrt(np.log(4)), rel=0.05
    )
    assert np.isnan(with_interval(sample.where(np.arange(3)), flux_bias, RNG(0)).value)


def test_bias_and_pull_of_negative_fluxes():
    """Measured a tenth too bright, whatever the sign: the bias is the same, and so is the pull's width."""
    rng = RNG(7)
    truth = np.exp(rng.uniform(5, 10, 500))
    noise = rng.normal(0, 100, 500)
    both = [measurements(s * truth, s * (1.1 * truth + noise)) for s in (1, -1)]
    assert flux_bias(both[1]) == pytest.approx(flux_bias(both[0]), rel=1e-12)
    assert flux_bias(both[0]) == pytest.approx(0.1, abs=0.01)
    assert pull_std(both[1]) == pytest.approx(pull_std(both[0]), rel=1e-12)


def test_completeness_has_wilsons_interval():
    found = completeness(np.arange(100) < 90)
    assert found.value == 0.9
    assert found.low == pytest.approx(0.8256, abs=1e-4)
    assert found.high == pytest.approx(0.9448, abs=1e-4)
    assert np.isnan(completeness(np.zeros(0, bool)).value)


def test_figures_of_many_draws_are_those_of_each():
    rng = RNG(9)
    truth = rng.uniform(100, 1000, 50)
    sample = Measured(
        truth,
        truth + rng.normal(0, 5, 50),
        rng.uniform(4, 6, 50),
        *rng.normal(0, 1, (2, 50)),
        np.full(50, 3.0),
    )
    draws = rng.integers(0, 50, (7, 50))
    for figure in (flux_bias, pull_std, pull_width, pull_static, median_offset, median_east, median_north):
        one_by_one = [figure(sample.where(rows)) for rows in draws]
        np.testing.assert_allclose(
            figure(sample.where(draws)), one_by_one, rtol=1e-12, err_msg=figure.__name__
        )


def test_figures_share_their_draws():
    truth = RNG(1).uniform(100, 1000, 30)
    sample = measurements(truth, truth + RNG(2).normal(0, 100, 30))
    together = with_intervals(sample, {"one": pull_std, "two": pull_std}, RNG(0))
    assert together["one"] == together["two"] == with_interval(sample, pull_std, RNG(0))
