"""Purity at a prevalence that is stated, not found: the one figure that is re-weighted, and is named so.

Purity depends on how many of the sources are real. A sample into which many were injected has another
prevalence than the night sky; at a prevalence rho, rates that belong to either class alone give
rho TPR / (rho TPR + (1 - rho) FPR) (Bayes' rule). Every other purity of this package is that of the sample as
it stands.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .bootstrap import Estimate, percentile_interval, wilson_interval

__all__ = ["purity_at_prevalence", "purity_at_prevalence_estimate", "ratio_interval"]

type F64 = NDArray[np.float64]


def purity_at_prevalence(tpr: ArrayLike, fpr: ArrayLike, prevalence: float) -> F64:
    """Return the purity that a true- and a false-positive rate give at a prevalence.

    Parameters
    ----------
    tpr, fpr : array_like, (...)
        Rates.
    prevalence : `float`
        Fraction of positives.

    Returns
    -------
    purity : `numpy.ndarray`, (...), float64
        NaN where both rates are 0.
    """
    real, bogus = prevalence * np.asarray(tpr, float), (1.0 - prevalence) * np.asarray(fpr, float)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(real / (real + bogus))


def ratio_interval(
    numerator: tuple[F64, F64], denominator: tuple[F64, F64], level: float = 0.95
) -> tuple[F64, F64]:
    """Return the interval of the ratio of two proportions that are independent, by MOVER-R.

    Made of the Wilson intervals of either (Newcombe 2016, Stat. Methods Med. Res. 25, 1774), it is defined
    for proportions of 0.

    Parameters
    ----------
    numerator, denominator : `tuple` of two `numpy.ndarray`, (K,)
        Successes and trials.
    level : `float`, optional
        Coverage.

    Returns
    -------
    low, high : `numpy.ndarray`, (K,), float64
        Ends of the interval; infinite where the denominator may be 0, NaN without trials.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        (p, q), (l1, u1) = (k / n for k, n in (numerator, denominator)), wilson_interval(*numerator, level)
        l2, u2 = wilson_interval(*denominator, level)
        product = (p * q) ** 2
        down, up = u2 * (2.0 * q - u2), l2 * (2.0 * q - l2)
        low = (p * q - np.sqrt(product - l1 * (2.0 * p - l1) * down)) / down
        high = (p * q + np.sqrt(product - u1 * (2.0 * p - u1) * up)) / up
        # A denominator that is all but unknown: its upper end is more than twice its value.
        low = np.where(down > 0, low, l1 / u2)
    return np.maximum(low, 0.0), np.where(up > 0, high, np.where(np.isnan(up), np.nan, np.inf))


def purity_at_prevalence_estimate(
    hits: F64,
    positives: F64,
    false_alarms: F64,
    negatives: F64,
    weights: NDArray[np.float32],
    prevalence: float,
    level: float = 0.95,
) -> Estimate:
    """Return the purity at a stated prevalence, from counts per group.

    The interval is the union of the bootstrap's over groups and of MOVER-R's, as for rates
    (`~.bootstrap.grouped_rate`).

    Parameters
    ----------
    hits, positives, false_alarms, negatives : `numpy.ndarray`, (G, K)
        Positives that are called, all, negatives that are called, all; in each of G groups, for K figures.
    weights : `numpy.ndarray`, (B, G), float32
        From `~.bootstrap.draw_weights`.
    prevalence : `float`
        Fraction of positives, in (0, 1).
    level : `float`, optional
        Coverage.

    Returns
    -------
    purity : `~.bootstrap.Estimate`
        Arrays (K,); NaN where nothing is called, or a class has no row.
    """
    counts = [np.asarray(c, np.float64) for c in (hits, positives, false_alarms, negatives)]
    n_hits, n_positive, n_false, n_negative = (c.sum(axis=0) for c in counts)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = purity_at_prevalence(n_hits / n_positive, n_false / n_negative, prevalence)
        ratio_low, ratio_high = ratio_interval((n_false, n_negative), (n_hits, n_positive), level)
        odds = (1.0 - prevalence) / prevalence
        low, high = 1.0 / (1.0 + odds * ratio_high), 1.0 / (1.0 + odds * ratio_low)
        drawn = [weights @ c for c in counts]
        replicates = purity_at_prevalence(drawn[0] / drawn[1], drawn[2] / drawn[3], prevalence)
    if weights.shape[1] > 1:
        boot_low, boot_high = percentile_interval(replicates, level)
        low, high = np.fmin(low, boot_low), np.fmax(high, boot_high)
    undefined = np.isnan(value)
    return Estimate(value, np.where(undefined, np.nan, low), np.where(undefined, np.nan, high))
