"""How good answers about simulated stamps are: confusion, accuracy, true positive rates, counting.

Every rate is of all stamps that it names. A stamp without a score counts as a wrong answer and has a column
of its own in the confusion matrices, so that a method gains nothing by not answering.
"""

from __future__ import annotations

__all__ = [
    "EDGES",
    "NO_SCORE",
    "PREDICTED",
    "EvaluationRows",
    "accuracy",
    "accuracy_difference",
    "accuracy_in_bins",
    "confusion_matrix",
    "evaluation_rows",
    "flag_counts",
    "independent_difference",
    "kind_accuracy",
    "predicted_kinds",
    "rates_at",
    "threshold_at",
    "tpr_in_bins",
]

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..reliability.bootstrap import Estimate, draw_weights, grouped_rate, percentile_interval
from .flags import BlendFlag
from .layout import KINDS
from .prediction import BlendPrediction
from .stamps import BlendTruth

type F64 = NDArray[np.float64]
type I64 = NDArray[np.int64]
type Bool = NDArray[np.bool_]

NO_SCORE = "no score"
"""Column of stamps about which a method says nothing."""

PREDICTED = (*KINDS, NO_SCORE)
"""Columns of a confusion matrix of kinds."""

EDGES = {
    "separation": (0.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 13.0, 17.0, 22.0, 28.0, 36.0),
    "snr": (0.0, 8.0, 12.0, 20.0, 40.0, 80.0, 160.0, np.inf),
    "flux_ratio": (0.0, 0.03, 0.06, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0),
}
"""Edges of the bins of the columns of the truth of this name; pixels for the separation."""

_REPLICATES = 400


@dataclasses.dataclass(frozen=True)
class EvaluationRows:
    """The truth of N test stamps, and how it is resampled.

    Parameters
    ----------
    truth : `~.stamps.BlendTruth`
        N rows.
    any_companion : `bool`
        Whether a companion anywhere in the stamp is what is asked for, else a blend.
    group : `numpy.ndarray`, (N,), int64
        Index, 0 to G - 1, of what is resampled.
    weights : `numpy.ndarray`, (B, G), float32
        From `~..reliability.bootstrap.draw_weights`.
    """

    truth: BlendTruth
    any_companion: bool
    group: I64
    weights: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.truth)

    @property
    def positive(self) -> Bool:
        """Which stamps have what is asked for, (N,)."""
        kind = self.truth.kind
        return np.asarray(kind != "single" if self.any_companion else kind == "blend")

    def score(self, prediction: BlendPrediction) -> F64:
        """Return the probability of what is asked for, (N,); NaN where there is none."""
        return prediction.p_companion if self.any_companion else prediction.p_blend

    def per_group(self, values: NDArray[Any]) -> F64:
        """Return the sum in each group, (G, K), of masks or numbers (N,) or (N, K)."""
        columns = values.reshape(len(self), -1).astype(np.float64).T
        return np.stack([np.bincount(self.group, one, self.weights.shape[1]) for one in columns], axis=1)

    def rate(self, good: Bool, among: Bool) -> Estimate:
        """Return the fraction of rows that are good, of one mask each or of K: () or (K,)."""
        rate = grouped_rate(self.per_group(good & among), self.per_group(among), self.weights)
        return rate if among.ndim > 1 else rate.at(0)

    def figure(self, values: NDArray[Any], compute: Callable[[F64], F64]) -> Estimate:
        """Return a figure of sums with its bootstrap interval.

        Parameters
        ----------
        values : `numpy.ndarray`, (N, K)
            Masks or numbers that are summed.
        compute : callable
            Gives figures (B, ...) from sums (B, K).
        """
        sums = self.per_group(values)
        with np.errstate(invalid="ignore", divide="ignore"):
            low, high = percentile_interval(compute(np.asarray(self.weights @ sums, np.float64)))
            return Estimate(compute(sums.sum(axis=0)[None])[0], low, high)


def evaluation_rows(
    truth: BlendTruth, any_companion: bool, rng: np.random.Generator, replicates: int = _REPLICATES
) -> EvaluationRows:
    """Make the rows of an evaluation.

    Parameters
    ----------
    truth : `~.stamps.BlendTruth`
        N rows; whole groups are resampled.
    any_companion : `bool`
        See `EvaluationRows`.
    rng : `numpy.random.Generator`
        Source of the bootstrap.
    replicates : `int`, optional
        Number of the bootstrap.
    """
    groups, index = np.unique(truth.group, return_inverse=True)
    return EvaluationRows(truth, any_companion, index, draw_weights(len(groups), replicates, rng))


def predicted_kinds(rows: EvaluationRows, prediction: BlendPrediction) -> NDArray[np.str_]:
    """Return the kind that a method says, (N,), of `PREDICTED`.

    A blend where the probability of what is asked for is above 0.5. Of the others, ``separated`` where
    another source that is not blended is more probable than none, unless companions are all that is asked
    for. Methods that do not tell companions from blends never say ``separated``.

    Parameters
    ----------
    rows : `EvaluationRows`
        N rows, of which only what is asked for is looked at.
    prediction : `~.prediction.BlendPrediction`
        Of the same stamps.
    """
    score = rows.score(prediction)
    apart = prediction.p_companion - prediction.p_blend > 1.0 - prediction.p_companion
    others = np.where(apart & (not rows.any_companion), "separated", "single")
    said = np.where(score > 0.5, "blend", others)
    return np.where(np.isfinite(score), said, NO_SCORE)


def confusion_matrix(rows: EvaluationRows, prediction: BlendPrediction) -> I64:
    """Return how many stamps of each kind are called what.

    Parameters
    ----------
    rows : `EvaluationRows`
        N rows.
    prediction : `~.prediction.BlendPrediction`
        Of the same stamps.

    Returns
    -------
    counts : `numpy.ndarray`, (3, 4), int64
        True `~.layout.KINDS` by `PREDICTED`.
    """
    said = predicted_kinds(rows, prediction)
    kind = rows.truth.kind
    return np.array([[np.count_nonzero((kind == true) & (said == of)) for of in PREDICTED] for true in KINDS])


def accuracy(rows: EvaluationRows, prediction: BlendPrediction) -> Estimate:
    """Return the fraction of stamps of which it is rightly said whether they have what is asked for."""
    return rows.rate(_right(rows, prediction), np.ones(len(rows), bool))


def kind_accuracy(rows: EvaluationRows, prediction: BlendPrediction) -> dict[str, Estimate]:
    """Return the accuracy among stamps of each true kind that there is."""
    right = _right(rows, prediction)
    kinds = {kind: rows.truth.kind == kind for kind in KINDS}
    return {kind: rows.rate(right, among) for kind, among in kinds.items() if among.any()}


def accuracy_difference(rows: EvaluationRows, first: BlendPrediction, second: BlendPrediction) -> Estimate:
    """Return the accuracy of the first minus that of the second, on the same stamps."""
    cells = np.stack([_right(rows, one) for one in (first, second)], axis=1)
    whole = np.concatenate([cells, np.ones((len(rows), 1), bool)], axis=1)
    return rows.figure(whole, lambda counts: (counts[:, 0] - counts[:, 1]) / counts[:, 2])


def independent_difference(first: Estimate, second: Estimate) -> Estimate:
    """Return the first minus the second figure, of different stamps.

    Parameters
    ----------
    first, second : `~..reliability.bootstrap.Estimate`
        Scalars with intervals, which are combined as Newcombe (1998, Stat. Med. 17, 873, method 10) does.
    """
    value = first.value - second.value
    below = np.hypot(first.value - first.low, second.high - second.value)
    above = np.hypot(first.high - first.value, second.value - second.low)
    return Estimate.of(value, value - below, value + above)


def accuracy_in_bins(
    rows: EvaluationRows, prediction: BlendPrediction, values: F64, edges: Sequence[float]
) -> dict[str, Any]:
    """Return the accuracy in bins of a quantity, for instance of the noise.

    Parameters
    ----------
    rows, prediction
        As for `confusion_matrix`.
    values : `numpy.ndarray`, (N,), float64
        The quantity; where it is NaN a row is in no bin.
    edges : `~collections.abc.Sequence` of `float`
        K + 1 edges; a bin holds its lower edge.

    Returns
    -------
    bins : `dict`
        ``rate`` (`Estimate`, (K,)), the number ``n`` of rows and the ``median`` of the quantity, (K,).
    """
    return _binned(rows, _right(rows, prediction), np.ones(len(rows), bool), values, edges)


def threshold_at(scores: F64, tnr: float) -> float:
    """Return the score that a given fraction of negatives does not exceed.

    Parameters
    ----------
    scores : `numpy.ndarray`, (N,), float64
        Of negatives that are not those it is tried on; at least one is finite.
    tnr : `float`
        True negative rate. A higher score is called positive.
    """
    return float(np.quantile(scores[np.isfinite(scores)], tnr, method="higher"))


def rates_at(
    rows: EvaluationRows, prediction: BlendPrediction, threshold: float, within: float = 10.0
) -> dict[str, Estimate]:
    """Return the rates at a threshold that was fixed on other stamps.

    Parameters
    ----------
    rows, prediction
        As for `confusion_matrix`.
    threshold : `float`
        A higher score is called positive.
    within : `float`, optional
        Separation below which a pair is close, pixels.

    Returns
    -------
    rates : `dict`
        ``tpr``; ``tpr_close`` of pairs closer than ``within``; ``tnr``, to be compared with what the
        threshold was made for. A stamp without a score is in neither rate's numerator.
    """
    score, positive = rows.score(prediction), rows.positive
    called = score > threshold
    close = positive & (rows.truth.separation < within)
    return {
        "tpr": rows.rate(called, positive),
        "tpr_close": rows.rate(called, close),
        "tnr": rows.rate(score <= threshold, ~positive),
    }


def tpr_in_bins(
    rows: EvaluationRows, prediction: BlendPrediction, threshold: float, quantity: str
) -> dict[str, Any]:
    """Return the true positive rate in the bins of `EDGES`.

    Parameters
    ----------
    rows, prediction, threshold
        As for `rates_at`.
    quantity : `str`
        A key of `EDGES`.

    Returns
    -------
    bins : `dict`
        As from `accuracy_in_bins`.
    """
    called = rows.score(prediction) > threshold
    return _binned(rows, called, rows.positive, getattr(rows.truth, quantity), EDGES[quantity])


def flag_counts(flags: I64) -> dict[str, int]:
    """Return how many stamps have each bit of `~.flags.BlendFlag`; bits of none are left out."""
    counts = {str(bit.name): int(np.count_nonzero(flags & int(bit))) for bit in BlendFlag}
    return {name: count for name, count in counts.items() if count}


def _right(rows: EvaluationRows, prediction: BlendPrediction) -> Bool:
    """Return where the answer is right; a comparison with NaN never is."""
    score = rows.score(prediction)
    return np.where(rows.positive, score > 0.5, score <= 0.5)


def _binned(
    rows: EvaluationRows, good: Bool, among: Bool, values: F64, edges: Sequence[float]
) -> dict[str, Any]:
    place = np.where(np.isnan(values), -1, np.searchsorted(edges, values, side="right") - 1)
    inside = (place[:, None] == np.arange(len(edges) - 1)) & among[:, None]
    inside[:, -1] |= among & (values == edges[-1])
    medians = [float(np.median(values[column])) if column.any() else np.nan for column in inside.T]
    return {
        "rate": rows.rate(good[:, None], inside),
        "n": inside.sum(axis=0),
        "median": np.array(medians),
    }
