"""The scores of an object's detections, taken together."""

from __future__ import annotations

__all__ = ["CORRELATION", "LARGEST_LOG_RATIO", "Combined", "combine_scores"]

import dataclasses

import numpy as np
from numpy.typing import NDArray

from .grouping import group_max, group_median, group_sum

type F64 = NDArray[np.float64]
type I64 = NDArray[np.int64]

CORRELATION = 0.5
"""Correlation of the log likelihood ratios of two artefacts of one object: a residual is there in all visits.

Within the artefact objects with 3 detections and more of the simulated survey of seed 51."""

LARGEST_LOG_RATIO = 7.0
"""One score says no more than this: it was calibrated on a finite number of rows."""


@dataclasses.dataclass(frozen=True)
class Combined:
    """Figures of N objects.

    Parameters
    ----------
    n_scored : `numpy.ndarray`, (N,), int64
        Sources with a score.
    n_effective : `numpy.ndarray`, (N,), float64
        Independent epochs that these are worth.
    log_ratio : `numpy.ndarray`, (N,), float64
        Log likelihood ratio of real over artefact; 0 without scores.
    probability : `numpy.ndarray`, (N,), float64
        That at the prevalence; NaN without scores.
    highest, median : `numpy.ndarray`, (N,), float64
        Of the scores; NaN without.
    """

    n_scored: I64
    n_effective: F64
    log_ratio: F64
    probability: F64
    highest: F64
    median: F64


def combine_scores(
    reliability: F64, owner: I64, count: int, prevalence: float, correlation: float = CORRELATION
) -> Combined:
    """Combine calibrated scores of correlated epochs.

    A score r at the prevalence p is the likelihood ratio L = r (1 - p) / ((1 - r) p). The log L of n
    independent epochs add up. Those of one object are not independent: with the correlation c between any
    two, the mean of n of them has the variance of n_eff = n / (1 + (n - 1) c) independent ones (the design
    effect of Kish 1965, Survey Sampling, section 5.4), and they add up to n_eff times their mean.

    Parameters
    ----------
    reliability : `numpy.ndarray`, (S,), float64
        Score of each source; NaN where there is none.
    owner : `numpy.ndarray`, (S,), int64
        Its object.
    count : `int`
        Number N of objects.
    prevalence : `float`
        At which the scores are probabilities.
    correlation : `float`, optional
        c, in [0, 1].

    Returns
    -------
    combined : `Combined`
        Figures of N objects.

    Raises
    ------
    ValueError
        If the prevalence is not in (0, 1), the correlation not in [0, 1], or a score outside [0, 1].
    """
    if not (0.0 < prevalence < 1.0 and 0.0 <= correlation <= 1.0):
        raise ValueError(f"Prevalence {prevalence} or correlation {correlation} is out of range.")
    scored = np.isfinite(reliability)
    r, owner = reliability[scored], owner[scored]
    if ((r < 0.0) | (r > 1.0)).any():
        raise ValueError("A reliability is a probability, in [0, 1].")
    prior = np.log(prevalence / (1.0 - prevalence))
    with np.errstate(divide="ignore"):
        ratio = np.clip(np.log(r) - np.log1p(-r) - prior, -LARGEST_LOG_RATIO, LARGEST_LOG_RATIO)
    n = np.bincount(owner, minlength=count)
    n_effective = n / (1.0 + np.maximum(n - 1, 0) * correlation)
    total = n_effective * group_sum(ratio, owner, count) / np.maximum(n, 1)
    return Combined(
        n,
        n_effective,
        total,
        np.where(n > 0, 1.0 / (1.0 + np.exp(-total - prior)), np.nan),
        group_max(r, owner, count),
        group_median(r, owner, count),
    )
