import numpy as np
import pytest
from dia_vetting.reliability.curves import FPR_GRID, RECALL_GRID, summarise_curves, threshold_at_fpr
from dia_vetting.reliability.metrics import (
    RATES,
    SNR_EDGES,
    Sample,
    binned_rates,
    confusion_counts,
    threshold_rates,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import erf


def make_sample(n=3000, seed=1, groups=30, decimals=2, separation=1.5):
    rng = np.random.default_rng(seed)
    positive = rng.random(n) < 0.3
    score = 1 / (1 + np.exp(-rng.normal(np.where(positive, separation, -separation), 1.5)))
    return Sample(
        np.round(score, decimals), positive, rng.integers(0, groups, n) * 17, rng.exponential(8, n) + 5
    )


def weights_of(sample, count=200, seed=3):
    return sample.weights(count, np.random.default_rng(seed))


def test_rates_against_scikit_learn():
    sk = pytest.importorskip("sklearn.metrics")
    sample = make_sample()
    called = sample.score >= 0.4
    rates = threshold_rates(sample, 0.4, weights_of(sample))
    expected = {
        "sensitivity": sk.recall_score(sample.positive, called),
        "specificity": sk.recall_score(~sample.positive, ~called),
        "precision": sk.precision_score(sample.positive, called),
        "npv": sk.precision_score(~sample.positive, ~called),
        "accuracy": sk.accuracy_score(sample.positive, called),
        "false_positive_rate": 1 - sk.recall_score(~sample.positive, ~called),
    }
    assert set(expected) == set(RATES)
    for name, value in expected.items():
        np.testing.assert_allclose(rates[name].value, value)
        assert rates[name].low < value < rates[name].high
    counts = confusion_counts(sample, 0.4)
    matrix = sk.confusion_matrix(sample.positive, called)
    np.testing.assert_array_equal(matrix, [[counts["tn"], counts["fp"]], [counts["fn"], counts["tp"]]])


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(4, 80), decimals=st.integers(0, 3))
def test_areas_against_scikit_learn(seed, n, decimals):
    sk = pytest.importorskip("sklearn.metrics")
    sample = make_sample(n, seed, 3, decimals)
    summary = summarise_curves(sample, weights_of(sample, 1))
    if sample.positive.all() or not sample.positive.any():
        assert np.isnan(summary.auc.value)
        return
    np.testing.assert_allclose(summary.auc.value, sk.roc_auc_score(sample.positive, sample.score))
    average = sk.average_precision_score(sample.positive, sample.score)
    np.testing.assert_allclose(summary.average_precision.value, average)


def test_curves_against_a_threshold_by_threshold_count():
    sample = make_sample(400, decimals=3)
    summary = summarise_curves(sample, weights_of(sample))
    thresholds = np.unique(sample.score)[::-1]
    counts = [confusion_counts(sample, t) for t in thresholds]
    tp, fp = (np.array([c[name] for c in counts]) for name in ("tp", "fp"))
    tpr, fpr, precision = tp / tp[-1], fp / fp[-1], tp / (tp + fp)
    best = [tpr[fpr <= x].max(initial=0) for x in (0.0, 1.0)]
    np.testing.assert_allclose(summary.roc.value[[0, -1]], best)
    at = np.searchsorted(FPR_GRID, 0.1)
    below, above = tpr[fpr <= 0.1].max(), tpr[fpr >= 0.1].min()
    assert below <= summary.roc.value[at] <= above
    expected = [precision[np.argmax(tpr >= r - 1e-12)] for r in RECALL_GRID]
    np.testing.assert_allclose(summary.precision_recall.value, expected)
    pure = tpr[precision >= 0.95].max(initial=0)
    np.testing.assert_allclose(summary.completeness_at_purity.value, pure)


def test_completeness_at_a_stated_prevalence():
    sample = make_sample(4000, separation=3, decimals=6)
    found = {
        rho: summarise_curves(sample, weights_of(sample), prevalence=rho).completeness_at_stated_prevalence
        for rho in (0.003, 0.03, float(sample.positive.mean()))
    }
    score, positive = sample.score, sample.positive
    for rho, estimate in found.items():
        # By hand, threshold by threshold.
        rates = [((score >= t)[positive].mean(), (score >= t)[~positive].mean()) for t in np.unique(score)]
        pure = [tpr for tpr, fpr in rates if rho * tpr >= 0.95 * (rho * tpr + (1 - rho) * fpr)]
        np.testing.assert_allclose(estimate.value, max(pure))
        assert estimate.low <= estimate.value <= estimate.high
    rare, _, natural = found.values()
    assert rare.value < natural.value
    # At the sample's own prevalence the two are the same thing.
    summary = summarise_curves(sample, weights_of(sample))
    np.testing.assert_allclose(natural.value, summary.completeness_at_purity.value)
    assert np.isnan(summary.completeness_at_stated_prevalence.value)


def gaussian_area(n, seed):
    rng = np.random.default_rng(seed)
    positive = np.arange(n) % 2 == 0
    score = rng.normal(np.where(positive, 1.0, 0.0), 1.0)
    sample = Sample(score, positive, np.arange(n) // 2 % 100, np.ones(n))
    return summarise_curves(sample, weights_of(sample, 200, seed)).auc


def test_gaussian_scores_give_the_closed_form_area():
    truth = 0.5 * (1 + erf(0.5))  # Phi(1 / sqrt 2)
    areas = [gaussian_area(1000, seed) for seed in range(60)]
    assert np.mean([area.low < truth < area.high for area in areas]) > 0.88
    np.testing.assert_allclose(np.mean([area.value for area in areas]), truth, atol=0.006)
    # Width by Hanley & McNeil (1982), the rows being independent.
    q1, q2 = truth / (2 - truth), 2 * truth**2 / (1 + truth)
    variance = (truth * (1 - truth) + 499 * (q1 + q2 - 2 * truth**2)) / 500**2
    width = np.mean([area.high - area.low for area in areas])
    np.testing.assert_allclose(width, 2 * 1.96 * np.sqrt(variance), rtol=0.1)


def test_replicates_are_weighted_copies():
    # The figures of a replicate are those of the sample with its groups repeated.
    sample = make_sample(300, groups=4)
    weights = np.array([[2, 0, 1, 1]], np.float32)
    index = sample.group_index()[0]
    rows = np.repeat(np.arange(300), weights[0, index].astype(int))
    copies = summarise_curves(sample.where(rows), np.ones((1, 3), np.float32))
    replicate = summarise_curves(sample, weights)
    for name in ("auc", "average_precision", "roc", "precision_recall", "completeness_at_purity"):
        np.testing.assert_allclose(getattr(replicate, name).low, getattr(copies, name).value)


def test_one_group_has_no_interval_and_no_rows_no_figure():
    sample = make_sample(200, groups=1)
    auc = summarise_curves(sample, weights_of(sample)).auc
    assert np.isfinite(auc.value)
    assert np.isnan([auc.low, auc.high]).all()
    empty = sample.where(np.zeros(200, dtype=bool))
    assert np.isnan(summarise_curves(empty, weights_of(empty)).auc.value)
    rates = threshold_rates(empty, 0.5, weights_of(empty))
    assert all(np.isnan(rate.value) for rate in rates.values())
    assert np.isnan(binned_rates(empty, empty.snr, SNR_EDGES, 0.5, weights_of(empty))["purity"].value).all()


def test_threshold_at_false_positive_rate():
    sample = make_sample(5000, decimals=3)
    for rate in (0.0, 0.01, 0.1, 1.0):
        threshold = threshold_at_fpr(sample, rate)
        negatives = sample.score[~sample.positive]
        assert (negatives >= threshold).mean() <= rate
        lower = np.max(sample.score[sample.score < threshold], initial=-1)
        assert rate == 1 or (negatives >= lower).mean() > rate
    assert np.isnan(threshold_at_fpr(sample.where(sample.positive), 0.1))


def test_bins():
    snr = np.array([4.0, 5.0, 5.4, 9.0, 9.5, 60.0, np.nan])
    positive = np.array([True, True, True, False, True, False, True])
    score = np.array([0.9, 0.9, 0.1, 0.9, 0.9, 0.1, 0.9])
    sample = Sample(score, positive, np.arange(7), snr)
    rates = binned_rates(sample, snr, (5, 6, 8, 10, np.inf), 0.5, weights_of(sample))
    np.testing.assert_array_equal(rates["n_positive"], [2, 0, 1, 0])
    np.testing.assert_array_equal(rates["n_called"], [1, 0, 2, 0])
    np.testing.assert_array_equal(rates["completeness"].value, [0.5, np.nan, 1, np.nan])
    np.testing.assert_array_equal(rates["purity"].value, [1, np.nan, 0.5, np.nan])
    np.testing.assert_allclose(rates["median"], [5.2, np.nan, 9.25, 60.0])


def test_a_score_that_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="not finite"):
        Sample(np.array([np.nan]), np.array([True]), np.zeros(1, int), np.ones(1))
    with pytest.raises(ValueError, match="length"):
        Sample(np.ones(2), np.array([True]), np.zeros(1, int), np.ones(1))
