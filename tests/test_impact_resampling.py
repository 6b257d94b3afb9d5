"""Figures and their replicates; rows of treatments."""

from __future__ import annotations

import numpy as np
import pytest
from dia_vetting.blends.impact.resampling import MIN_ROWS, Resampling
from dia_vetting.blends.impact.rows import EDGES, bins, flags_of, impact_rows, impact_table
from dia_vetting.blends.schemas import BLENDING_IMPACT

RNG = np.random.default_rng(3)


def of(count: int, groups: int) -> tuple[Resampling, np.ndarray]:
    keys = RNG.integers(groups, size=count) * 7
    resampling = Resampling.of(keys, 800, 1)
    return resampling, resampling.groups(keys)


def test_rates_and_means_have_the_errors_of_independent_rows() -> None:
    resampling, group = of(4000, 4000)
    good = RNG.random(4000) < 0.3
    rate = resampling.rate(group, good, np.ones(4000, bool)).estimate()
    assert rate.value == pytest.approx(good.mean())
    assert rate.high - rate.low == pytest.approx(2 * 1.96 * np.sqrt(0.21 / 4000), rel=0.15)
    values = RNG.normal(5.0, 2.0, 4000)
    mean = resampling.mean(group, values, good).estimate()
    assert mean.value == pytest.approx(values[good].mean())
    assert mean.high - mean.low == pytest.approx(2 * 1.96 * 2.0 / np.sqrt(good.sum()), rel=0.15)


def test_medians() -> None:
    resampling, group = of(3000, 3000)
    values = np.where(np.arange(3000) < 5, np.nan, RNG.normal(size=3000))
    median = resampling.median(group, values, np.arange(3000) % 2 == 0)
    chosen = values[::2][np.isfinite(values[::2])]
    assert median.n == len(chosen)
    assert median.value == np.median(chosen)
    for weights, replicate in zip(resampling.weights[:20], median.replicates, strict=False):
        repeated = np.repeat(values, weights[group].astype(int) * (np.arange(3000) % 2 == 0))
        repeated = repeated[np.isfinite(repeated)]
        assert replicate == np.quantile(repeated, 0.5, method="inverted_cdf")


def test_rows_of_a_group_go_together() -> None:
    """Groups of a hundred equal rows: the error is that of forty rows."""
    resampling, group = of(4000, 40)
    values = RNG.normal(size=40)[group]
    ends = resampling.mean(group, values, np.ones(4000, bool)).estimate()
    assert (ends.high - ends.low) / 2 > 0.2 > 5 * 1.96 / np.sqrt(4000)


def test_changes_are_paired() -> None:
    resampling, group = of(2000, 2000)
    values = RNG.normal(0.0, 10.0, 2000)
    every = np.ones(2000, bool)
    first, second = (resampling.mean(group, v, every) for v in (values, values + 0.1))
    change = second.minus(first)
    assert change.value == pytest.approx(0.1)
    assert change.high - change.low < 1e-6


def test_few_rows_are_undefined() -> None:
    resampling, group = of(50, 50)
    among = np.arange(50) < MIN_ROWS - 1
    for figure in (
        resampling.rate(group, among, among),
        resampling.median(group, np.ones(50), among),
        resampling.mean(group, np.ones(50), among),
    ):
        assert figure.n == MIN_ROWS - 1
        assert np.isnan([*figure.estimate().summary().values()]).all()


def test_keys_must_be_known() -> None:
    with pytest.raises(ValueError, match="none of the groups"):
        Resampling.of([1, 5], 10, 0).groups([1, 4])


def test_bins_hold_each_row_once() -> None:
    values = np.append(RNG.uniform(0, 1, 50), [0.0, 1.0, np.nan])
    found = list(bins(53, {"flux_ratio": values}))
    assert found[0].by == ""
    assert found[0].rows.all()
    assert len(found) == len(EDGES["flux_ratio"])
    inside = np.sum([one.rows for one in found[1:]], axis=0)
    assert (inside[:-1] == 1).all()
    assert inside[-1] == 0


def test_what_has_no_score_is_not_dropped() -> None:
    flags = flags_of(np.array([0.9, 0.5, np.nan]), np.array([False, True, False]), 0.5)
    assert flags["all"].tolist() == [False] * 3
    assert flags["sextractor"].tolist() == [False, True, False]
    assert flags["ours"].tolist() == [True, False, False]


def test_table_of_rows() -> None:
    resampling, group = of(100, 100)
    chosen = next(bins(100, {}))
    good = np.arange(100) < 30
    figures = {n: resampling.rate(group, good & (k == 0), chosen.rows) for k, n in enumerate(("all", "ours"))}
    table = impact_table(impact_rows("completeness", chosen, figures), {"band": "r"})
    BLENDING_IMPACT.check(table)
    assert table.meta["band"] == "r"
    assert table["value"].tolist() == [0.3, 0.0]
    assert np.isnan(table["change"][0])
    assert table["change"][1] == pytest.approx(-0.3)
    assert table["change_low"][1] < -0.3 < table["change_high"][1] < 0
    assert table["high"][1] > 0.01  # Wilson's, where no replicate varies
