import numpy as np
import pytest
from dia_vetting.reliability.bootstrap import draw_weights
from dia_vetting.reliability.folds import TooFewExamplesError
from dia_vetting.reliability.prior import estimate_prior, group_index, prior_replicates
from unlabelled_populations import population


def tolerance(truth):
    return max(0.2 * truth, 0.01)


@pytest.mark.parametrize("kind", ["gauss", "skewed", "hard", "saturated"])
@pytest.mark.parametrize("fraction", [0.0, 0.05, 0.15, 0.25])
@pytest.mark.parametrize(("auc", "n_injected"), [(0.98, 10_000), (0.999, 2_000)])
def test_prior_is_within_a_fifth_or_a_hundredth(kind, fraction, auc, n_injected):
    errors = []
    for seed in range(5):
        rows = population(kind, auc, fraction, 5 * n_injected, n_injected, seed)
        truth = rows.real[~rows.injected].mean()
        estimate = estimate_prior(rows.logit, rows.injected, n_replicates=2)
        errors.append((float(estimate.value) - truth) / tolerance(truth))
    assert np.abs(errors).max() <= 1.0
    assert abs(np.mean(errors)) < 0.6


@pytest.mark.parametrize("fraction", [0.0, 0.05, 0.15, 0.25])
def test_injections_that_outshine_what_hides_do_no_harm(fraction):
    rows = population("brighter", 0.999, fraction, 20_000, 5_000, 1)
    truth = rows.real[~rows.injected].mean()
    estimate = estimate_prior(rows.logit, rows.injected, n_replicates=200)
    assert abs(float(estimate.value) - truth) < tolerance(truth)
    # Of the highest scores alone the fraction would be far too low.
    cut = np.quantile(rows.logit[rows.injected], 0.65)
    assert (rows.logit[~rows.injected] > cut).mean() / 0.35 <= 0.3 * truth


def test_interval_covers_the_truth():
    covered = []
    for seed in range(60):
        rows = population("gauss", 0.995, 0.1, 4_000, 1_000, seed)
        estimate = estimate_prior(rows.logit, rows.injected, n_replicates=200)
        covered.append(estimate.low <= rows.real[~rows.injected].mean() <= estimate.high)
    assert np.mean(covered) >= 0.9


def test_nothing_hidden_has_an_interval_above_zero():
    rows = population("gauss", 0.999, 0.0, 5_000, 1_000, 1)
    estimate = estimate_prior(rows.logit, rows.injected)
    assert estimate.low == 0 <= estimate.value < 0.005
    assert 0 < estimate.high < 0.01


def test_alike_rows_widen_the_interval():
    rows = population("gauss", 0.995, 0.15, 4_000, 1_000, 2)
    alone = estimate_prior(rows.logit, rows.injected)
    # Real sources come in groups of 25: 30 groups of them among the unlabelled.
    order = np.argsort(rows.real, kind="stable")
    groups = np.empty(len(order), np.int64)
    groups[order] = np.arange(len(order)) // 25
    grouped = estimate_prior(rows.logit, rows.injected, groups)
    assert grouped.value == alone.value
    assert grouped.high - grouped.low > 2.0 * (alone.high - alone.low)


def test_only_the_order_of_scores_matters_and_it_repeats():
    rows = population("gauss", 0.99, 0.1, 3_000, 800, 3)
    logits = estimate_prior(rows.logit, rows.injected, seed=4)
    # Halving is exact, so that no two scores become one.
    scores = estimate_prior(0.5 * rows.logit - 0.0, rows.injected, seed=4)
    assert logits == scores
    assert logits != estimate_prior(rows.logit, rows.injected, seed=5)


def test_ties_keep_it_near_the_truth():
    rows = population("gauss", 0.995, 0.15, 20_000, 5_000, 5)
    estimate = estimate_prior(np.round(rows.logit), rows.injected)
    assert abs(float(estimate.value) - rows.real[~rows.injected].mean()) < tolerance(0.15)


def test_equal_scores_give_the_largest_fraction():
    injected = np.arange(500) < 100
    estimate = estimate_prior(np.zeros(500), injected)
    assert estimate.value == estimate.high == 1
    assert 0.9 < estimate.low <= 1


def test_fainter_hidden_ones_are_undercounted():
    rows = population("gauss", 0.995, 0.15, 20_000, 5_000, 6)
    hidden = rows.real & ~rows.injected
    estimate = estimate_prior(np.where(hidden, rows.logit - 2.0, rows.logit), rows.injected)
    assert 0.02 < estimate.value < 0.9 * rows.real[~rows.injected].mean()


def test_replicates_vary_about_the_estimate():
    rows = population("gauss", 0.995, 0.15, 5_000, 1_000, 7)
    index, n_groups = group_index(None, len(rows.logit))
    weights = draw_weights(n_groups, 300, np.random.default_rng(1))
    value, replicates = prior_replicates(rows.logit, rows.injected, index, weights)
    assert value == estimate_prior(rows.logit, rows.injected).value
    assert abs(replicates.mean() - value) < 0.01
    assert 0.003 < replicates.std() < 0.02


@pytest.mark.parametrize(("n_injected", "n_unlabelled"), [(0, 100), (100, 0), (19, 100), (0, 0)])
def test_too_few_rows_are_told(n_injected, n_unlabelled):
    injected = np.arange(n_injected + n_unlabelled) < n_injected
    with pytest.raises(TooFewExamplesError, match=f"{n_injected} injected and {n_unlabelled} unlabelled"):
        estimate_prior(np.arange(len(injected), dtype=float), injected)


def test_unscored_rows_are_refused():
    score = np.r_[np.nan, np.zeros(99)]
    with pytest.raises(ValueError, match="not finite"):
        estimate_prior(score, np.arange(100) < 50)
    with pytest.raises(ValueError, match="length"):
        estimate_prior(score, np.arange(99) < 50)
