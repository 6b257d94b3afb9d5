import numpy as np
import pytest
from dia_vetting.reliability.bootstrap import (
    draw_weights,
    grouped_rate,
    percentile_interval,
    wilson_interval,
)
from scipy.stats import binomtest


def test_weights_draw_groups_with_replacement_and_repeat():
    weights = draw_weights(20, 4000, np.random.default_rng(1))
    np.testing.assert_array_equal(weights.sum(axis=1), 20)
    np.testing.assert_allclose(weights.mean(axis=0), 1, atol=0.06)
    np.testing.assert_allclose(weights.var(axis=0), 0.95, atol=0.1)
    np.testing.assert_array_equal(weights, draw_weights(20, 4000, np.random.default_rng(1)))
    assert draw_weights(0, 5, np.random.default_rng(1)).shape == (5, 0)


@pytest.mark.parametrize(("k", "n"), [(0, 12), (12, 12), (3, 17), (950, 1000), (0, 1)])
def test_wilson_is_that_of_scipy(k, n):
    expected = binomtest(k, n).proportion_ci(0.95, method="wilson")
    low, high = wilson_interval(k, n)
    np.testing.assert_allclose([low, high], [expected.low, expected.high], atol=1e-12)


def test_wilson_without_trials_is_undefined():
    low, high = wilson_interval([0, 1], [0, 2])
    assert np.isnan([low[0], high[0]]).all()
    assert np.isfinite([low[1], high[1]]).all()


def test_percentiles_ignore_undefined_replicates_unless_most_are():
    replicates = np.array([[1.0, np.nan], [2.0, np.nan], [3.0, 5.0], [np.nan, np.nan]])
    low, high = percentile_interval(replicates, 0.5)
    np.testing.assert_allclose([low[0], high[0]], [1.5, 2.5])
    assert np.isnan([low[1], high[1]]).all()


def rates(successes, trials, n_replicates=400, seed=2):
    weights = draw_weights(len(successes), n_replicates, np.random.default_rng(seed))
    return grouped_rate(np.reshape(successes, (-1, 1)), np.reshape(trials, (-1, 1)), weights)


def test_undefined_rate_is_nan_never_zero():
    rate = rates([0, 0], [0, 0])
    assert np.isnan([rate.value[0], rate.low[0], rate.high[0]]).all()
    nothing = grouped_rate(np.zeros((0, 1)), np.zeros((0, 1)), draw_weights(0, 10, np.random.default_rng(1)))
    assert np.isnan([nothing.value[0], nothing.low[0], nothing.high[0]]).all()


def test_perfect_rate_still_has_an_interval():
    rate = rates([10, 10, 10], [10, 10, 10])
    assert rate.value[0] == 1
    np.testing.assert_allclose([rate.low[0], rate.high[0]], wilson_interval(30, 30))
    assert rate.low[0] < 0.9


def test_one_group_falls_back_on_wilson():
    rate = rates([30], [40])
    np.testing.assert_allclose([rate.low[0], rate.high[0]], wilson_interval(30, 40))


def test_alike_rows_widen_the_interval():
    # 40 groups of 25 rows that are all right or all wrong: as 40 trials, not as 1000.
    hits = np.repeat([25.0, 0.0], [30, 10])
    grouped, alone = rates(hits, np.full(40, 25.0)), rates(np.repeat([1.0, 0.0], [750, 250]), np.ones(1000))
    assert grouped.value[0] == alone.value[0] == 0.75
    ratio = (grouped.high[0] - grouped.low[0]) / (alone.high[0] - alone.low[0])
    np.testing.assert_allclose(ratio, 5.0, rtol=0.2)


@pytest.mark.parametrize(("n_groups", "beta", "rate"), [(40, 2.0, 0.8), (40, 20.0, 0.97), (12, 5.0, 0.8)])
def test_coverage_with_correlated_groups(n_groups, beta, rate):
    rng = np.random.default_rng(n_groups)
    covered, trials = [], np.full(n_groups, 20.0)
    for seed in range(250):
        truth = rng.beta(beta * rate, beta * (1 - rate), n_groups)
        hits = rng.binomial(20, truth).astype(float)
        result = rates(hits, trials, 200, seed)
        covered.append(result.low[0] <= rate <= result.high[0])
    assert np.mean(covered) > 0.88
