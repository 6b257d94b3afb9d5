import numpy as np
import pytest
from dia_vetting.reliability.evaluation_calibration import (
    CALIBRATED_SUBSETS,
    Predictions,
    calibrate,
    change_prevalence,
    probability_injected,
)
from dia_vetting.reliability.metrics import Sample
from dia_vetting.reliability.schemas import RELIABILITY_CURVE
from scipy.special import expit
from scipy.stats import norm


def draw(n, fraction, seed=1):
    """Logits of two normal classes, which are real, and the likelihood ratio."""
    rng = np.random.default_rng(seed)
    real = rng.random(n) < fraction
    z = rng.normal(np.where(real, 1.5, -1.5), 1.2)
    return rng, real, norm.logpdf(z, 1.5, 1.2) - norm.logpdf(z, -1.5, 1.2)


def predictions(n=20000, fraction=0.3, wrong=0.0, groups=100, seed=1):
    rng, real, log_ratio = draw(n, fraction, seed)
    score = expit(log_ratio + np.log(0.02 / 0.98) + wrong)
    probability = change_prevalence(score, 0.02, fraction)
    sample = Sample(score, real, rng.integers(0, groups, n), 5 + rng.exponential(8, n))
    flux = np.where(rng.random(n) < 0.3, -1, 1)
    masks = {"positive_flux": flux > 0, "negative_flux": flux < 0}
    edges = (5, 6, 8, 15, np.inf)
    for name, low, high in zip(CALIBRATED_SUBSETS[1:5], edges, edges[1:], strict=False):
        masks[name] = (sample.snr >= low) & (sample.snr < high)
    return Predictions("real_vs_artefact", sample, probability), masks


def test_prevalence_changes_by_bayes_rule():
    np.testing.assert_allclose(change_prevalence([0.5, 0.9], 0.5, 0.03), [0.03, 0.27 / (0.27 + 0.97)])
    p = np.linspace(0, 1, 11)
    np.testing.assert_allclose(change_prevalence(change_prevalence(p, 0.02, 0.4), 0.4, 0.02), p, atol=1e-12)


def test_probability_of_injected_is_that_of_a_drawn_sample():
    # 2000 injected, 6000 unlabelled of which a fifth is real and like the injected.
    n, prior = 400_000, 0.2
    rng, real, log_ratio = draw(n, 0.25 + 0.75 * prior, 3)
    injected = real & (rng.random(n) < 0.25 / (0.25 + 0.75 * prior))
    found = probability_injected(expit(log_ratio + np.log(0.05 / 0.95)), 0.05, 0.25, prior)
    assert found.max() <= 0.25 / 0.4
    for low, high in ((0, 0.1), (0.2, 0.4), (0.5, 0.63)):
        rows = (found >= low) & (found < high)
        np.testing.assert_allclose(injected[rows].mean(), found[rows].mean(), atol=0.012)


def test_right_probabilities_have_only_the_error_of_chance():
    figures, curves = calibrate(*predictions(), 200, 0)
    assert tuple(figures) == CALIBRATED_SUBSETS
    for figure in figures.values():
        error = figure["expected_calibration_error"]
        assert error["low"] <= error["value"] <= error["high"]
        assert error["value"] < 2.5 * figure["error_by_chance"]
        observed = figure["observed_fraction"]
        assert observed["low"] - 0.01 < figure["mean_predicted"] < observed["high"] + 0.01
    RELIABILITY_CURVE.check(curves)
    assert set(curves["subset"]) == set(CALIBRATED_SUBSETS)
    whole = curves[curves["subset"] == "all"]
    assert whole["n"].sum() == 20000
    assert ((whole["y_low"] <= whole["x"]) & (whole["x"] <= whole["y_high"])).sum() >= 9


def test_wrong_probabilities_are_found():
    figures, _ = calibrate(*predictions(wrong=2.0), 200, 0)
    error = figures["all"]["expected_calibration_error"]
    assert error["low"] > 5 * figures["all"]["error_by_chance"]
    assert figures["all"]["mean_predicted"] > figures["all"]["observed_fraction"]["high"]


def test_error_by_chance_is_the_mean_error_of_right_probabilities():
    found = [calibrate(*predictions(1000, groups=20, seed=seed), 2, 0)[0]["all"] for seed in range(40)]
    mean = np.mean([f["expected_calibration_error"]["value"] for f in found])
    np.testing.assert_allclose(mean, np.mean([f["error_by_chance"] for f in found]), rtol=0.12)


@pytest.mark.parametrize("wrong", [0.0, 1.0])
def test_interval_of_the_error_is_as_wide_as_the_scatter(wrong):
    found = [
        calibrate(*predictions(1000, wrong=wrong, groups=40, seed=seed), 100, 0)[0]["all"][
            "expected_calibration_error"
        ]
        for seed in range(30)
    ]
    width = np.mean([f["high"] - max(f["low"], 0) for f in found])
    scatter = 3.92 * np.std([f["value"] for f in found])
    assert 0.6 * scatter < width < 1.6 * scatter


def test_empty_subset():
    made, masks = predictions(500)
    masks["negative_flux"][:] = False
    figures, curves = calibrate(made, masks, 50, 0)
    assert figures["negative_flux"]["n"] == 0
    assert np.isnan(figures["negative_flux"]["expected_calibration_error"]["value"])
    assert "negative_flux" not in set(curves["subset"])
