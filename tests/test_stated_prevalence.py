import numpy as np
import pytest
from dia_vetting.reliability.bootstrap import draw_weights, wilson_interval
from dia_vetting.reliability.stated_prevalence import (
    purity_at_prevalence,
    purity_at_prevalence_estimate,
    ratio_interval,
)


def test_bayes_rule():
    # 1000 sources at 3 %: 30 real, of which 27 are called; 970 bogus, of which 9.7 are.
    np.testing.assert_allclose(purity_at_prevalence(0.9, 0.01, 0.03), 27 / (27 + 9.7))
    assert purity_at_prevalence(0.5, 0.0, 0.03) == 1
    assert np.isnan(purity_at_prevalence(0.0, 0.0, 0.03))


def test_own_prevalence_gives_the_plain_purity():
    hits, positives, false, negatives = (np.array([[n]]) for n in (80.0, 100.0, 30.0, 900.0))
    found = purity_at_prevalence_estimate(
        hits, positives, false, negatives, np.ones((5, 1), np.float32), 100 / 1000
    )
    np.testing.assert_allclose(found.value, 80 / 110)
    assert found.low < found.value < found.high


def test_ratio_of_a_known_case():
    # No event among the numerator: from 0 to about the Wilson end over the other rate.
    numerator, denominator = (np.array([0.0]), np.array([1000.0])), (np.array([950.0]), np.array([1000.0]))
    low, high = ratio_interval(numerator, denominator)
    assert low == 0
    end = wilson_interval(0, 1000)[1]
    np.testing.assert_allclose(high, end / 0.95, rtol=0.01)
    # Of equal rates: the ratio is 1, and its logarithm has the textbook width for large numbers.
    same = (np.array([500.0]), np.array([1000.0]))
    low, high = ratio_interval(same, same)
    np.testing.assert_allclose(np.log([low, high]).ravel(), [-0.0876, 0.0876], atol=0.001)
    assert np.isinf(ratio_interval(same, (np.array([0.0]), np.array([10.0])))[1])


@pytest.mark.parametrize(("tpr", "fpr"), [(0.95, 0.002), (0.6, 0.05)])
def test_interval_holds_the_truth_as_often_as_it_says(tpr, fpr):
    rng = np.random.default_rng(4)
    truth, held = purity_at_prevalence(tpr, fpr, 0.03), 0
    groups, each = 40, (10, 100)
    for _ in range(200):
        hits, false = (
            rng.binomial(n, p, (groups, 1)).astype(float) for n, p in zip(each, (tpr, fpr), strict=True)
        )
        full = [np.full((groups, 1), float(n)) for n in each]
        weights = draw_weights(groups, 200, rng)
        found = purity_at_prevalence_estimate(hits, full[0], false, full[1], weights, 0.03)
        held += found.low[0] <= truth <= found.high[0]
    assert held >= 0.93 * 200


def test_nothing_called_is_no_figure():
    zero, some = np.zeros((3, 1)), np.ones((3, 1))
    found = purity_at_prevalence_estimate(zero, some, zero, some, np.ones((4, 3), np.float32), 0.03)
    assert np.isnan([found.value, found.low, found.high]).all()
