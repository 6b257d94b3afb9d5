"""Figures at a threshold that allow for real sources among the unlabelled, from the labels alone.

With pi the fraction of the unlabelled that is real (`~dia_vetting.reliability.prior`) and P_u the fraction of
the unlabelled that is called real at the threshold,

    false-positive rate = (P_u - pi TPR) / (1 - pi),
    purity of the unlabelled that are called = pi TPR / P_u,

where TPR is that of the injected (Jain, White & Radivojac 2017, AAAI 31, 2066). Both hold for hidden real
sources that score like the injected. An error d of pi moves the rate by about d TPR / (1 - pi): where many
are hidden, a rate of a few tenths of a percent cannot be told from 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .bootstrap import Estimate, grouped_rate, percentile_interval, wilson_interval
from .metrics import Sample
from .prior import check_rows, prior_replicates

__all__ = ["contamination_corrected"]

type F64 = NDArray[np.float64]


def contamination_corrected(
    sample: Sample, threshold: float, weights: NDArray[np.float32], level: float = 0.95
) -> dict[str, Any]:
    """Return rates at a threshold that was fixed beforehand, corrected for the real among the unlabelled.

    The prior is estimated anew in each bootstrap replicate, from the groups that were drawn, so that its
    errors and those of the counts go together as they do in the data.

    Parameters
    ----------
    sample : `~dia_vetting.reliability.metrics.Sample`
        N rows in G groups; ``positive`` are the injected, all others are unlabelled.
    threshold : `float`
        Lowest score that is called real.
    weights : `numpy.ndarray`, (B, G), float32
        From ``sample.weights``.
    level : `float`, optional
        Coverage of the intervals.

    Returns
    -------
    figures : `dict`
        ``prior``, ``tpr`` (injected), ``called_unlabelled`` (P_u), ``false_positive_rate`` and ``purity``,
        the last two corrected, as dictionaries of value, low and high (`Estimate.summary`), NaN where
        undefined; ``false_positive_rate_clipped`` and ``purity_clipped``: whether noise had carried the
        value out of [0, 1], where it was put back. Intervals are the union of the bootstrap's and of
        Wilson's for as many rows.

    Raises
    ------
    TooFewExamplesError
        If there are too few rows of a class to estimate the prior.
    """
    check_rows(sample.score, sample.positive)
    index, n_groups = sample.group_index()
    called = sample.score >= threshold

    def count(rows: NDArray[np.bool_]) -> F64:
        return np.bincount(index[rows], minlength=n_groups).astype(float)

    hits, injected = count(called & sample.positive), count(sample.positive)
    calls, unlabelled = count(called & ~sample.positive), count(~sample.positive)
    prior, priors = prior_replicates(sample.score, sample.positive, index, weights)
    rates = grouped_rate(np.stack([hits, calls], 1), np.stack([injected, unlabelled], 1), weights, level)
    tpr, called_unlabelled = rates.value
    fpr, purity = _corrected(prior, tpr, called_unlabelled)
    with np.errstate(invalid="ignore", divide="ignore"):
        drawn_tpr = (weights @ hits) / (weights @ injected)
        drawn_called = (weights @ calls) / (weights @ unlabelled)
    drawn = _corrected(priors, drawn_tpr, drawn_called)
    n_unlabelled = unlabelled.sum()
    n_artefacts, n_calls = n_unlabelled * (1.0 - prior), calls.sum()
    return {
        "prior": _estimate(prior, priors, prior * n_unlabelled, n_unlabelled, level),
        "tpr": _row(rates, 0),
        "called_unlabelled": _row(rates, 1),
        "false_positive_rate": _estimate(fpr, drawn[0], np.clip(fpr, 0, 1) * n_artefacts, n_artefacts, level),
        "false_positive_rate_clipped": bool(fpr < 0.0 or fpr > 1.0),
        "purity": _estimate(purity, drawn[1], np.clip(purity, 0, 1) * n_calls, n_calls, level),
        "purity_clipped": bool(purity > 1.0),
    }


def _corrected(prior: Any, tpr: Any, called: Any) -> tuple[Any, Any]:
    """Return false-positive rate and purity, not clipped; NaN where undefined."""
    prior, tpr, called = (np.asarray(values, np.float64) for values in (prior, tpr, called))
    with np.errstate(invalid="ignore", divide="ignore"):
        fpr = np.where(prior < 1.0, (called - prior * tpr) / (1.0 - prior), np.nan)
        return fpr, np.where(called > 0.0, prior * tpr / called, np.nan)


def _row(rates: Estimate, k: int) -> dict[str, float]:
    return Estimate(rates.value[k], rates.low[k], rates.high[k]).summary()


def _estimate(value: Any, replicates: F64, successes: Any, trials: Any, level: float) -> dict[str, float]:
    """Unite the intervals of replicates and of counts, all within [0, 1]."""
    low, high = wilson_interval(successes, trials, level)
    boot_low, boot_high = percentile_interval(np.clip(replicates, 0.0, 1.0), level)
    ends = np.fmin(low, boot_low), np.fmax(high, boot_high)
    defined = np.isfinite(value)
    return Estimate(np.clip(value, 0.0, 1.0), *(np.where(defined, end, np.nan) for end in ends)).summary()
