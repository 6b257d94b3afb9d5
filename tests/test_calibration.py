import json

import numpy as np
import pytest
from dia_vetting.reliability.calibration import (
    Calibration,
    expected_calibration_error,
    fit_calibration,
    reliability_curve,
)
from dia_vetting.reliability.folds import TooFewExamplesError
from dia_vetting.reliability.prior import estimate_prior
from scipy.optimize import minimize
from scipy.special import expit
from unlabelled_populations import population


def at_prevalence(rows, prevalence, seed=1):
    """Return the rows of a sample in which this fraction is real."""
    n_real = int(prevalence / (1 - prevalence) * (~rows.real).sum())
    chosen = np.random.default_rng(seed).choice(np.flatnonzero(rows.real), n_real)
    return np.concatenate([chosen, np.flatnonzero(~rows.real)])


def fitted(kind, hidden, n_injected=4_000, seed=1, auc=0.99):
    rows = population(kind, auc, hidden, 5 * n_injected, n_injected, seed)
    prior = float(estimate_prior(rows.logit, rows.injected, n_replicates=2).value)
    return fit_calibration(rows.logit, rows.injected, prior), rows


@pytest.mark.parametrize("kind", ["gauss", "skewed", "hard", "saturated"])
@pytest.mark.parametrize("hidden", [0.0, 0.25])
@pytest.mark.parametrize(("prevalence", "tolerance"), [(0.04, 0.012), (0.3, 0.025)])
def test_calibrated_value_is_the_probability_of_being_real(kind, hidden, prevalence, tolerance):
    calibration, _ = fitted(kind, hidden)
    new = population(kind, 0.99, hidden, 100_000, 50_000, 99)
    rows = at_prevalence(new, prevalence)
    reliability = calibration.reliability(new.logit[rows], prevalence)
    assert expected_calibration_error(reliability, new.real[rows]) < tolerance


def test_plain_logistic_fit_calibrates_the_wrong_thing():
    # That the hidden count as artefacts is what prior = 0 says: P(injected) with its ceiling is then P(real).
    calibration, rows = fitted("gauss", 0.25)
    naive = fit_calibration(rows.logit, rows.injected, 0.0)
    new = population("gauss", 0.99, 0.25, 100_000, 50_000, 99)
    chosen = at_prevalence(new, 0.04)
    right, wrong = (
        expected_calibration_error(c.reliability(new.logit[chosen], 0.04), new.real[chosen])
        for c in (calibration, naive)
    )
    assert wrong > 0.02 > 3 * right
    top = np.quantile(rows.logit[rows.injected], 0.5)
    assert naive.log_likelihood_ratio(top) < np.log(20) < calibration.log_likelihood_ratio(top) - 2


def test_likelihood_ratio_of_normal_logits_is_found():
    calibration, _ = fitted("gauss", 0.15, n_injected=20_000)
    z = np.linspace(-5, 7, 25)
    np.testing.assert_allclose(calibration.log_likelihood_ratio(z), z, atol=0.25)


def test_reliability_rises_with_the_logit_and_with_prevalence():
    calibration, _ = fitted("saturated", 0.15)
    z = np.linspace(-30, 30, 2_000)
    ratio = calibration.log_likelihood_ratio(z)
    assert (np.diff(ratio) >= -1e-12).all()  # rounding where it is flat
    assert np.ptp(ratio) > 10
    rare, common = calibration.reliability(z, 0.01), calibration.reliability(z, 0.5)
    assert rare.dtype == np.float32
    assert (rare < common).all()
    np.testing.assert_allclose(common, expit(ratio), rtol=1e-5)


def test_weights_count_as_rows():
    rows = population("gauss", 0.98, 0.1, 1_000, 300, 2)
    times = np.random.default_rng(3).integers(1, 4, len(rows.logit))
    again = np.repeat(np.arange(len(times)), times)
    weighted = fit_calibration(rows.logit, rows.injected, 0.1, times.astype(float))
    repeated = fit_calibration(rows.logit[again], rows.injected[again], 0.1)
    z = np.linspace(-15, 15, 50)
    np.testing.assert_allclose(
        weighted.log_likelihood_ratio(z), repeated.log_likelihood_ratio(z), atol=0.02, rtol=0.01
    )


def test_fit_repeats_and_goes_through_json():
    calibration, _ = fitted("hard", 0.05, n_injected=500)
    assert fitted("hard", 0.05, n_injected=500)[0] == calibration
    assert Calibration.from_dict(json.loads(json.dumps(calibration.to_dict()))) == calibration


@pytest.mark.parametrize(
    "change",
    [
        {"slopes": [-1.0, 0.0]},
        {"slopes": [1.0]},
        {"knots": [0.0, 0.0, 1.0]},
        {"intercept": float("nan")},
        {"n_injected": 0.0},
        {"knots": "abc"},
        {"slopes": None},
    ],
)
def test_damaged_numbers_are_refused(change):
    good = Calibration((0.0, 1.0, 2.0), 0.5, (1.0, 0.0), 30.0, 40.0).to_dict()
    assert Calibration.from_dict(good).to_dict() == good
    with pytest.raises(ValueError, match=r"Not a calibration|could not convert"):
        Calibration.from_dict(good | change)
    with pytest.raises(ValueError, match="Not a calibration"):
        Calibration.from_dict({name: good[name] for name in good if name not in change})


@pytest.mark.parametrize("case", ["few", "separated", "equal", "two values", "reversed", "huge"])
@pytest.mark.parametrize("prior", [0.0, 0.3])
def test_degenerate_logits_give_probabilities(case, prior):
    rng = np.random.default_rng(5)
    injected = np.arange(80) < 30
    logit = {
        "few": rng.normal(0, 1, 80) + 2 * injected,
        "separated": np.where(injected, 8.0, -8.0) + rng.normal(0, 0.1, 80),
        "equal": np.zeros(80),
        "two values": np.where(injected, 1.0, 0.0),
        "reversed": -10.0 * injected + rng.normal(0, 1, 80),
        "huge": np.where(injected, 1e6, -1e6) * rng.random(80),
    }[case]
    calibration = fit_calibration(logit, injected, prior)
    value = calibration.reliability(np.r_[logit, -1e9, 0.0, 1e9, -np.inf, np.inf].astype(np.float32), 0.05)
    assert ((value > 0) & (value < 1)).all()
    extreme = calibration.log_likelihood_ratio(np.array([-1e9, 1e9]))
    assert -np.log(30) - 1e-9 <= extreme[0] <= extreme[1] <= np.log(50 * (1 - prior)) + 1e-9
    if case in ("equal", "reversed"):
        np.testing.assert_allclose(value, 0.05, rtol=0.05)
    assert np.isnan(calibration.reliability(np.array([np.nan]), 0.05)).all()


def test_what_cannot_be_fitted_is_told():
    injected, logit = np.arange(100) < 50, np.linspace(1, -1, 100)
    with pytest.raises(TooFewExamplesError, match="0 artefacts"):
        fit_calibration(logit, injected, 1.0)
    with pytest.raises(TooFewExamplesError, match="5 injected"):
        fit_calibration(logit, np.arange(100) < 5, 0.1)
    with pytest.raises(ValueError, match="prior"):
        fit_calibration(logit, injected, float("nan"))
    with pytest.raises(ValueError, match="Weights"):
        fit_calibration(logit, injected, 0.1, np.full(100, -1.0))
    with pytest.raises(ValueError, match="prevalence"):
        fit_calibration(logit, injected, 0.1).reliability(logit, 0.0)


def test_calibration_error_by_hand():
    reliability = np.array([0.1, 0.1, 0.95, 0.95], np.float32)
    truth = np.array([False, True, True, True])
    np.testing.assert_allclose(expected_calibration_error(reliability, truth), (0.8 + 0.1) / 4, rtol=1e-6)
    assert np.isnan(expected_calibration_error(reliability[:0], truth[:0]))


def test_reliability_diagram_of_true_probabilities_is_the_diagonal():
    rng = np.random.default_rng(6)
    p = rng.random(20_000)
    truth = rng.random(20_000) < p
    curve = reliability_curve(p, truth, np.arange(20_000) // 10, rng, n_bins=5)
    assert curve["n"].sum() == 20_000
    observed = curve["observed"]
    assert ((observed.low < curve["predicted"]) & (curve["predicted"] < observed.high)).all()
    np.testing.assert_allclose(curve["predicted"], [0.1, 0.3, 0.5, 0.7, 0.9], atol=0.01)
    assert expected_calibration_error(p, truth) < 0.015


def test_empty_bins_of_the_diagram_are_undefined():
    rng = np.random.default_rng(7)
    curve = reliability_curve(np.array([0.0, 1.0]), np.array([False, True]), None, rng, n_bins=4)
    np.testing.assert_array_equal(curve["n"], [1, 0, 0, 1])
    assert np.isnan(curve["predicted"][1:3]).all()
    assert np.isnan(curve["observed"].value[1:3]).all()
    np.testing.assert_array_equal(curve["observed"].value[[0, 3]], [0, 1])


@pytest.mark.parametrize(("kind", "auc", "hidden"), [("hard", 0.995, 0.0), ("saturated", 0.995, 0.25)])
def test_fit_is_the_most_likely(kind, auc, hidden):
    # A quasi-Newton search from two starts, told to go on for long, finds nothing better.
    n_injected, n_unlabelled = 600, 3_000
    rows = population(kind, auc, hidden, n_unlabelled, n_injected, 4)
    calibration = fit_calibration(rows.logit, rows.injected, hidden)
    knots, slopes = np.array(calibration.knots), np.array(calibration.slopes)
    low, high = knots[:-1].copy(), knots[1:].copy()
    low[0], high[-1] = -np.inf, np.inf
    ramps = np.clip(rows.logit[:, None], low, high) - knots[:-1]

    def minus_log_likelihood(parameters):
        g = parameters[0] + ramps @ parameters[1:]
        unlabelled = np.log(n_unlabelled) + np.logaddexp(np.log(hidden or 1e-300) + g, np.log(1 - hidden))
        injected = np.log(n_injected) + g
        return np.sum(np.logaddexp(injected, unlabelled) - np.where(rows.injected, injected, unlabelled))

    bounds = [(None, None)] + [(0, None)] * len(slopes)
    options = {"ftol": 1e-13, "maxfun": 20_000}
    others = [
        minimize(minus_log_likelihood, np.r_[a, b * np.ones_like(slopes)], bounds=bounds, options=options).fun
        for a, b in ((0.0, 0.1), (calibration.intercept, 1.0))
    ]
    # The penalty costs a little.
    assert minus_log_likelihood(np.r_[calibration.intercept, slopes]) < min(others) + 10
