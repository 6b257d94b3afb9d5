"""Figures by the labels alone, corrected for the real sources hidden among the unlabelled, and by the truth.

*labels*: whatever was not injected counts as wrong. *corrected*: with the fraction of real sources among the
unlabelled estimated from the scores (see `.contamination`). *truth*: what only a simulation knows; unlabelled
sources beside an injection, of which the truth says nothing, are left out of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from ..seeding import generator
from .bootstrap import Estimate, grouped_rate, percentile_interval, wilson_interval
from .contamination import contamination_corrected
from .metrics import Sample
from .prior import MIN_ROWS, prior_replicates
from .truth_matching import REAL

__all__ = ["contamination_figures", "corrected_purity"]

type Bool = NDArray[np.bool_]
type F64 = NDArray[np.float64]


def contamination_figures(
    rows: Table,
    sample: Sample,
    parts: Mapping[str, Bool],
    thresholds: Mapping[str, float],
    replicates: int,
    seed: int,
) -> dict[str, Any]:
    """Return prior, false-positive rate, purity and completeness by the labels, corrected, and by the truth.

    Parameters
    ----------
    rows : `astropy.table.Table`
        N scored sources, injected or unlabelled; where a truth is known, with ``truth_class``.
    sample : `~.metrics.Sample`
        The same; the injected are positive.
    parts : `~collections.abc.Mapping` [`str`, `numpy.ndarray`]
        Parts of the sample, bool (N,).
    thresholds : `~collections.abc.Mapping` [`str`, `float`]
        Lowest score that is called real, by name.
    replicates : `int`
        Bootstrap replicates.
    seed : `int`
        Seed of the bootstrap.

    Returns
    -------
    figures : `dict`
        By part: numbers, ``prior``, and ``at_threshold`` by name. A part with fewer than
        `~.prior.MIN_ROWS` of either label has its numbers only.
    """
    truth = np.asarray(rows["truth_class"], str) if "truth_class" in rows.colnames else None
    figures = {}
    for name, keep in parts.items():
        part = sample.where(keep)
        n_injected, n_unlabelled = int(part.positive.sum()), int((~part.positive).sum())
        figures[name] = {"n_injected": n_injected, "n_unlabelled": n_unlabelled}
        if min(n_injected, n_unlabelled) >= MIN_ROWS:
            weights = part.weights(replicates, generator(seed, "contamination", name))
            figures[name] |= _part(part, None if truth is None else truth[keep], thresholds, weights)
    return figures


def corrected_purity(
    sample: Sample, threshold: float, weights: NDArray[np.float32], level: float = 0.95
) -> Estimate:
    """Return the purity of all that is called real, injected or not, corrected for the real ones among them.

    With h of n_i injected and c of n_u unlabelled called, (h + pi n_u h / n_i) / (h + c): of the unlabelled
    that are real, as many are called as of the injected.

    Parameters
    ----------
    sample : `~.metrics.Sample`
        N rows in G groups; the injected are positive.
    threshold : `float`
        Lowest score that is called real.
    weights : `numpy.ndarray`, (B, G), float32
        From `~.metrics.Sample.weights`.
    level : `float`, optional
        Coverage of the interval, the union of the bootstrap's and of Wilson's.

    Returns
    -------
    purity : `~.bootstrap.Estimate`
        Scalars, at most 1; NaN where nothing is called.
    """
    index, n_groups = sample.group_index()
    called = sample.score >= threshold
    cells = (called & sample.positive, sample.positive, called & ~sample.positive, ~sample.positive)
    counts = np.stack([np.bincount(index[cell], minlength=n_groups) for cell in cells], 1).astype(float)
    prior, priors = prior_replicates(sample.score, sample.positive, index, weights)
    value = _total_purity(prior, counts.sum(axis=0))
    n_called = counts[:, 0].sum() + counts[:, 2].sum()
    low, high = wilson_interval(value * n_called, n_called, level)
    boot_low, boot_high = percentile_interval(_total_purity(priors, weights @ counts)[:, None], level)
    if np.isnan(value):
        return Estimate.of(value)
    return Estimate.of(value, np.fmin(low, boot_low[0]), np.fmax(high, boot_high[0]))


def _total_purity(prior: Any, counts: F64) -> F64:
    hits, injected, calls, unlabelled = np.moveaxis(counts, -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = np.minimum(prior * unlabelled * hits / injected, calls)
        return np.asarray((hits + found) / (hits + calls))


def _part(
    part: Sample,
    truth: NDArray[np.str_] | None,
    thresholds: Mapping[str, float],
    weights: NDArray[np.float32],
) -> dict[str, Any]:
    figures: dict[str, Any] = {"prior": {}, "at_threshold": {}}
    for name, threshold in thresholds.items():
        found = contamination_corrected(part, threshold, weights)
        figures["prior"]["estimated"] = found["prior"]
        called = part.score >= threshold
        figures["at_threshold"][name] = {
            "false_positive_rate": {
                "labels": found["called_unlabelled"],
                "corrected": found["false_positive_rate"],
            },
            "purity": {
                "labels": _rate(part, called & part.positive, called, weights),
                "corrected": corrected_purity(part, threshold, weights).summary(),
            },
            "purity_of_unlabelled": {"corrected": found["purity"]},
            "completeness": {"labels": found["tpr"]},
        }
        if truth is not None:
            _add_truth(figures["at_threshold"][name], part, called, truth, weights)
    if truth is not None:
        real, artefact = np.isin(truth, REAL), truth == "artefact"
        known = ~part.positive & (real | artefact)
        figures["prior"]["truth"] = _rate(part, known & real, known, weights)
    return figures


def _add_truth(
    figures: dict[str, Any], part: Sample, called: Bool, truth: NDArray[np.str_], weights: NDArray[np.float32]
) -> None:
    real, artefact = np.isin(truth, REAL), truth == "artefact"
    known, hidden = real | artefact, real & ~part.positive
    for name, of, among in (
        ("false_positive_rate", called, artefact),
        ("purity", real, called & known),
        ("purity_of_unlabelled", real, called & known & ~part.positive),
        ("completeness", called, hidden),
    ):
        figures[name]["truth"] = _rate(part, of & among, among, weights)


def _rate(part: Sample, successes: Bool, trials: Bool, weights: NDArray[np.float32]) -> dict[str, float]:
    index, n_groups = part.group_index()
    k, n = (
        np.bincount(index[rows], minlength=n_groups)[:, None].astype(float) for rows in (successes, trials)
    )
    return grouped_rate(k, n, weights).at(0).summary()
