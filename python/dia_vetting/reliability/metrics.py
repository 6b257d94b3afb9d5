"""Figures of merit of a score that should tell positives from negatives, with intervals over sky groups.

Nothing is re-weighted: purity is that of the sample as it stands, at its own prevalence. What is 0/0 is NaN.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .bootstrap import Estimate, draw_weights, grouped_rate

__all__ = ["RATES", "SNR_EDGES", "Sample", "binned_rates", "confusion_counts", "threshold_rates"]

type F64 = NDArray[np.float64]
type Bool = NDArray[np.bool_]

SNR_EDGES = (5.0, 5.5, 6.0, 7.0, 8.0, 10.0, 15.0, 25.0, 50.0, np.inf)
"""Edges of the bins in which completeness and purity are given."""

RATES = {
    "sensitivity": (("tp",), ("tp", "fn")),
    "specificity": (("tn",), ("tn", "fp")),
    "precision": (("tp",), ("tp", "fp")),
    "npv": (("tn",), ("tn", "fn")),
    "accuracy": (("tp", "tn"), ("tp", "tn", "fp", "fn")),
    "false_positive_rate": (("fp",), ("fp", "tn")),
}
"""Numerator and denominator of each rate, in cells of the confusion matrix."""


@dataclasses.dataclass(frozen=True)
class Sample:
    """Scored rows of two classes.

    Parameters
    ----------
    score : `numpy.ndarray`, (N,), float64
        Larger is more positive; finite.
    positive : `numpy.ndarray`, (N,), bool
        True class of each row.
    group : `numpy.ndarray`, (N,), int64
        Sky cell of each row.
    snr : `numpy.ndarray`, (N,), float64
        Signal-to-noise ratio.

    Raises
    ------
    ValueError
        If the lengths differ or a score is not finite.
    """

    score: F64
    positive: Bool
    group: NDArray[np.int64]
    snr: F64

    def __post_init__(self) -> None:
        if not len(self.score) == len(self.positive) == len(self.group) == len(self.snr):
            raise ValueError("Score, class, group and SNR differ in length.")
        if not np.isfinite(self.score).all():
            raise ValueError("A score is not finite: leave unscored rows out, and count them.")

    def where(self, keep: Bool) -> Sample:
        """Return some of the rows; ``keep`` is bool (N,)."""
        return Sample(self.score[keep], self.positive[keep], self.group[keep], self.snr[keep])

    def group_index(self) -> tuple[NDArray[np.int64], int]:
        """Return the groups as indices 0 .. G - 1, (N,) int64, and their number G."""
        unique, index = np.unique(self.group, return_inverse=True)
        return np.asarray(index, np.int64), len(unique)

    def weights(self, n_replicates: int, rng: np.random.Generator) -> NDArray[np.float32]:
        """Return bootstrap weights of the groups, (B, G)."""
        return draw_weights(self.group_index()[1], n_replicates, rng)


def confusion_counts(sample: Sample, threshold: float) -> dict[str, int]:
    """Return the confusion matrix: rows with score >= threshold are called positive.

    Parameters
    ----------
    sample : `Sample`
        N rows.
    threshold : `float`
        Lowest score that is called positive.

    Returns
    -------
    counts : `dict` [`str`, `int`]
        ``tp``, ``fp``, ``tn``, ``fn``.
    """
    return {name: int(cell.sum()) for name, cell in _cells(sample, threshold).items()}


def _cells(sample: Sample, threshold: float) -> dict[str, Bool]:
    called, positive = sample.score >= threshold, sample.positive
    return {
        "tp": called & positive,
        "fp": called & ~positive,
        "tn": ~called & ~positive,
        "fn": ~called & positive,
    }


def threshold_rates(
    sample: Sample, threshold: float, weights: NDArray[np.float32], level: float = 0.95
) -> dict[str, Estimate]:
    """Return the rates of `RATES` at a threshold that was fixed beforehand.

    Parameters
    ----------
    sample : `Sample`
        N rows in G groups.
    threshold : `float`
        Lowest score that is called positive.
    weights : `numpy.ndarray`, (B, G), float32
        From `Sample.weights`.
    level : `float`, optional
        Coverage of the intervals.

    Returns
    -------
    rates : `dict` [`str`, `Estimate`]
        Scalars by name.
    """
    index, n_groups = sample.group_index()
    counts = {
        name: np.bincount(index[cell], minlength=n_groups).astype(float)
        for name, cell in _cells(sample, threshold).items()
    }
    numerators = np.stack([_total(counts, cells) for cells, _ in RATES.values()], axis=1)
    denominators = np.stack([_total(counts, cells) for _, cells in RATES.values()], axis=1)
    rates = grouped_rate(numerators, denominators, weights, level)
    return {name: Estimate(rates.value[i], rates.low[i], rates.high[i]) for i, name in enumerate(RATES)}


def _total(counts: dict[str, F64], cells: Sequence[str]) -> F64:
    return np.asarray(np.sum([counts[cell] for cell in cells], axis=0))


def binned_rates(
    sample: Sample,
    values: F64,
    edges: Sequence[float],
    threshold: float,
    weights: NDArray[np.float32],
    level: float = 0.95,
) -> dict[str, Any]:
    """Return completeness and purity at a threshold, in bins of some quantity.

    Parameters
    ----------
    sample : `Sample`
        N rows.
    values : `numpy.ndarray`, (N,), float64
        The quantity; rows where it is NaN are in no bin.
    edges : `~collections.abc.Sequence` of `float`
        K + 1 edges; a bin holds its lower edge.
    threshold : `float`
        Lowest score that is called positive.
    weights : `numpy.ndarray`, (B, G), float32
        From `Sample.weights`.
    level : `float`, optional
        Coverage of the intervals.

    Returns
    -------
    rates : `dict`
        ``completeness`` and ``purity`` (`Estimate`, (K,)), their denominators ``n_positive`` and
        ``n_called`` (K,), and the ``median`` of the quantity in each bin (K,), NaN if empty.
    """
    group, n_groups = sample.group_index()
    n_bins = len(edges) - 1
    bin_index = np.searchsorted(np.asarray(edges), values, side="right") - 1
    inside = (bin_index >= 0) & (bin_index < n_bins)

    def count(rows: Bool) -> F64:
        flat = group[rows & inside] * n_bins + bin_index[rows & inside]
        return np.bincount(flat, minlength=n_groups * n_bins).reshape(n_groups, n_bins).astype(float)

    called = sample.score >= threshold
    hits, positives, calls = count(called & sample.positive), count(sample.positive), count(called)
    medians = [np.median(values[bin_index == k]) if (bin_index == k).any() else np.nan for k in range(n_bins)]
    return {
        "completeness": grouped_rate(hits, positives, weights, level),
        "purity": grouped_rate(hits, calls, weights, level),
        "n_positive": positives.sum(axis=0),
        "n_called": calls.sum(axis=0),
        "median": np.array(medians),
    }
