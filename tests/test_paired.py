import numpy as np
from dia_vetting.reliability.bootstrap import draw_weights
from dia_vetting.reliability.paired import paired_rates


def sides(rng, rates, trials, groups=40):
    """Counts of a part and of the rest, (G, S) each, from rates and trials by stratum."""
    n = [np.broadcast_to(np.asarray(t, float), (groups, len(t))).copy() for t in trials]
    k = [rng.binomial(m.astype(int), r).astype(float) for m, r in zip(n, rates, strict=True)]
    return tuple(k), tuple(n)


def test_rates_by_hand():
    k, n = (
        (np.array([[3.0, 4.0]]), np.array([[6.0, 30.0]])),
        (np.array([[4.0, 4.0]]), np.array([[8.0, 40.0]])),
    )
    rates = paired_rates(k, n, np.ones((3, 1), np.float32))
    np.testing.assert_allclose(rates.part.value, 7 / 8)
    np.testing.assert_allclose(rates.rest.value, 36 / 48)
    np.testing.assert_allclose(rates.difference.value, 7 / 8 - 36 / 48)
    # Alike: both strata weigh the same, since the part has four trials in each.
    np.testing.assert_allclose(rates.rest_alike.value, (6 / 8 + 30 / 40) / 2)
    np.testing.assert_allclose(rates.difference_alike.value, 7 / 8 - 0.75)


def test_another_mix_of_strata_is_no_difference_alike():
    rng = np.random.default_rng(1)
    rates = ((0.6, 0.95), (0.6, 0.95))
    k, n = sides(rng, rates, ((20, 2), (5, 50)))
    found = paired_rates(k, n, draw_weights(40, 400, rng))
    assert found.difference.high < -0.15
    assert found.difference_alike.low < 0 < found.difference_alike.high
    assert found.difference_alike.high - found.difference_alike.low < 0.16


def test_what_both_sides_share_cancels():
    # Rates vary from group to group, alike on both sides: the difference knows it, the rates do not.
    rng = np.random.default_rng(2)
    shared = rng.uniform(0.2, 1.0, (40, 1))
    k, n = sides(rng, (shared, shared), ((200,), (200,)))
    found = paired_rates(k, n, draw_weights(40, 400, rng))
    alone = found.part.high - found.part.low
    assert found.difference.high - found.difference.low < 0.5 * alone


def test_intervals_hold_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(3)
    held = np.zeros(2)
    for _ in range(200):
        k, n = sides(rng, ((0.9, 0.98), (0.93, 0.99)), ((3, 3), (20, 60)))
        found = paired_rates(k, n, draw_weights(40, 200, rng))
        plain = 0.94 - (20 * 0.93 + 60 * 0.99) / 80
        alike = 0.94 - 0.96
        held += [
            found.difference.low <= plain <= found.difference.high,
            found.difference_alike.low <= alike <= found.difference_alike.high,
        ]
    assert (held >= 0.93 * 200).all()


def test_no_trials_is_no_figure_and_a_stratum_of_one_side_is_left_out():
    k = (np.zeros((2, 2)), np.ones((2, 2)))
    found = paired_rates(k, (np.zeros((2, 2)), np.ones((2, 2))), np.ones((3, 2), np.float32))
    assert np.isnan([found.part.value, found.difference.low, found.difference_alike.value]).all()
    n = (np.array([[2.0, 2.0]]), np.array([[4.0, 0.0]]))
    found = paired_rates((np.array([[1.0, 2.0]]), np.array([[4.0, 0.0]])), n, np.ones((3, 1), np.float32))
    np.testing.assert_allclose(found.difference_alike.value, 0.5 - 1.0)
    np.testing.assert_allclose(found.difference.value, 0.75 - 1.0)
