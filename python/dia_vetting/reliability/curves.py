"""ROC and precision-recall curves, the figures read off them, and their intervals over sky groups."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from .bootstrap import Estimate, percentile_interval
from .metrics import Sample

__all__ = ["FPR_GRID", "RECALL_GRID", "CurveSummary", "summarise_curves", "threshold_at_fpr"]

type F64 = NDArray[np.float64]

FPR_GRID = np.concatenate([[0.0], np.logspace(-4, -1, 31)[:-1], np.linspace(0.1, 1.0, 46)])
"""False-positive rates at which a ROC curve is given, (77,): logarithmic below 0.1."""

RECALL_GRID = np.linspace(0.01, 1.0, 100)
"""Completenesses at which a precision-recall curve is given, (100,)."""

_CHUNK = 4_000_000
_SCALARS = 4


@dataclasses.dataclass(frozen=True)
class CurveSummary:
    """What the two curves of a sample say.

    Parameters
    ----------
    auc : `Estimate`
        Area under the ROC curve: the chance that a positive scores higher than a negative, ties half.
    average_precision : `Estimate`
        Sum of precision times the step in recall, as scikit-learn defines it.
    roc : `Estimate`, (77,)
        True-positive rate at `FPR_GRID`, interpolated linearly.
    precision_recall : `Estimate`, (100,)
        Precision at the highest threshold that reaches each recall of `RECALL_GRID`.
    tpr_at_fpr : `Estimate`, (F,)
        True-positive rate at the false-positive rates that were asked for.
    completeness_at_purity : `Estimate`
        Largest recall at which the precision is still as asked; 0 where no threshold reaches it.
    completeness_at_stated_prevalence : `Estimate`
        The same for the precision that the sample would have at the prevalence that was stated,
        rho TPR / (rho TPR + (1 - rho) FPR); NaN if none was.
    """

    auc: Estimate
    average_precision: Estimate
    roc: Estimate
    precision_recall: Estimate
    tpr_at_fpr: Estimate
    completeness_at_purity: Estimate
    completeness_at_stated_prevalence: Estimate


def threshold_at_fpr(sample: Sample, rate: float) -> float:
    """Return the lowest threshold at which at most a given fraction of the negatives is called positive.

    Parameters
    ----------
    sample : `Sample`
        N rows.
    rate : `float`
        Largest false-positive rate.

    Returns
    -------
    threshold : `float`
        To be used as ``score >= threshold``; NaN without negatives.
    """
    negatives = np.sort(sample.score[~sample.positive])[::-1]
    if not len(negatives):
        return float("nan")
    allowed = int(np.floor(rate * len(negatives) + 1e-9))
    return (
        float(np.nextafter(negatives[allowed], np.inf)) if allowed < len(negatives) else float(negatives[-1])
    )


def summarise_curves(
    sample: Sample,
    weights: NDArray[np.float32],
    fpr_points: tuple[float, ...] = (0.01,),
    purity: float = 0.95,
    level: float = 0.95,
    prevalence: float = np.nan,
) -> CurveSummary:
    """Compute the curves of a sample and of its bootstrap replicates, over every distinct score.

    Parameters
    ----------
    sample : `Sample`
        N rows in G groups.
    weights : `numpy.ndarray`, (B, G), float32
        From `Sample.weights`.
    fpr_points : `tuple` of `float`, optional
        False-positive rates of `CurveSummary.tpr_at_fpr`.
    purity : `float`, optional
        Precision of `CurveSummary.completeness_at_purity`.
    level : `float`, optional
        Coverage of the intervals.
    prevalence : `float`, optional
        Fraction rho of positives of `CurveSummary.completeness_at_stated_prevalence`.

    Returns
    -------
    summary : `CurveSummary`
        NaN throughout if there are no rows of both classes. Intervals are NaN with fewer than two groups,
        from which no scatter can be known.
    """
    steps, asked = _Steps.of(sample), _Asked(fpr_points, purity, prevalence)
    figures = _figures(steps, np.ones((1, weights.shape[1]), np.float32), asked)[0]
    chunk = max(_CHUNK // max(len(sample.score), 1), 1)
    parts = [_figures(steps, weights[i : i + chunk], asked) for i in range(0, len(weights), chunk)]
    if weights.shape[1] > 1 and parts:
        low, high = percentile_interval(np.concatenate(parts), level)
    else:
        low, high = (np.full(figures.shape, np.nan) for _ in range(2))

    def take(start: int, stop: int | None = None) -> Estimate:
        part = slice(start, stop) if stop is not None else start
        return Estimate(figures[part], low[part], high[part])

    a = _SCALARS + len(FPR_GRID)
    b = a + len(RECALL_GRID)
    return CurveSummary(
        auc=take(0),
        average_precision=take(1),
        completeness_at_purity=take(2),
        completeness_at_stated_prevalence=take(3),
        roc=take(_SCALARS, a),
        precision_recall=take(a, b),
        tpr_at_fpr=take(b, b + len(fpr_points)),
    )


@dataclasses.dataclass(frozen=True)
class _Asked:
    """Where on the curves figures are read off."""

    fpr_points: tuple[float, ...]
    purity: float
    prevalence: float


@dataclasses.dataclass(frozen=True)
class _Steps:
    """Rows by falling score, and the last row of each distinct score."""

    group: NDArray[np.int64]
    positive: NDArray[np.float32]
    last: NDArray[np.int64]

    @classmethod
    def of(cls, sample: Sample) -> _Steps:
        order = np.argsort(-sample.score, kind="stable")
        score = sample.score[order]
        last = (
            np.flatnonzero(np.append(score[1:] != score[:-1], True)) if len(score) else np.zeros(0, np.int64)
        )
        group = sample.group_index()[0][order]
        return cls(group, sample.positive[order].astype(np.float32), last)


def _figures(steps: _Steps, weights: NDArray[np.float32], asked: _Asked) -> F64:
    """Return, for each of b weight vectors, all figures of `CurveSummary` in a row, float64 (b, ...)."""
    row_weight = weights[:, steps.group]
    tp = np.cumsum(row_weight * steps.positive, axis=1, dtype=np.float64)[:, steps.last]
    fp = np.cumsum(row_weight * (1 - steps.positive), axis=1, dtype=np.float64)[:, steps.last]
    n_figures = _SCALARS + len(FPR_GRID) + len(RECALL_GRID) + len(asked.fpr_points)
    results = np.full((len(weights), n_figures), np.nan)
    for row in range(len(weights)):
        if tp.shape[1] and tp[row, -1] > 0 and fp[row, -1] > 0:
            results[row] = _curve_figures(tp[row], fp[row], asked)
    return results


def _curve_figures(tp: F64, fp: F64, asked: _Asked) -> F64:
    """Return the figures of one curve from cumulative counts at each distinct score, (U,) each."""
    moved = np.diff(tp + fp, prepend=0.0) > 0
    tp, fp = tp[moved], fp[moved]
    recall, precision = tp / tp[-1], tp / (tp + fp)
    tpr, fpr = np.append(0.0, recall), np.append(0.0, fp / fp[-1])
    pure = recall[precision >= asked.purity]
    first = np.searchsorted(recall, RECALL_GRID - 1e-12)
    return np.concatenate(
        [
            [
                np.trapezoid(tpr, fpr),
                np.sum(np.diff(recall, prepend=0.0) * precision),
                pure.max(initial=0.0),
                _recall_at_prevalence(recall, fp / fp[-1], asked),
            ],
            _interpolate_roc(FPR_GRID, fpr, tpr),
            precision[np.minimum(first, len(precision) - 1)],
            _interpolate_roc(np.asarray(asked.fpr_points), fpr, tpr),
        ]
    )


def _recall_at_prevalence(tpr: F64, fpr: F64, asked: _Asked) -> float:
    if np.isnan(asked.prevalence):
        return np.nan
    real, bogus = asked.prevalence * tpr, (1.0 - asked.prevalence) * fpr
    return float(tpr[real >= asked.purity * (real + bogus)].max(initial=0.0))


def _interpolate_roc(grid: F64, fpr: F64, tpr: F64) -> F64:
    """Return the upper end of vertical steps, which `numpy.interp` leaves undefined."""
    last = np.append(fpr[1:] > fpr[:-1], True)
    return np.asarray(np.interp(grid, fpr[last], tpr[last]))
