"""The fraction of the unlabelled sources that are real, from scores of injected and unlabelled ones alone.

This is mixture proportion estimation. If a fraction pi of the unlabelled is real and scores like the
injected,

    q_u(t) = pi q_p(t) + (1 - pi) q_n(t),

where q(t) is the fraction with score >= t of the unlabelled, the injected and the artefacts. Where
artefacts run out the ratio q_u / q_p is pi, if the real ones score exactly like the injected. They never
do: injections are brighter than what hides, and then the ratio falls on towards the highest scores. So the
threshold is the lowest one that artefacts have hardly reached: the one that keeps most of the injected (at
most `HIGHEST_TPR`), such that going on to the threshold that loses half as many of them changes the ratio by
no more than `STEADY` of it, or `STEADY_DIFFERENCE`. There nearly all the injected and nearly all the hidden
are above, whatever the scores of each. Half of that change is taken off, as an estimate of the artefacts that
are above already; intervals allow for anything from none to three times as much.

Where artefacts mix with the real ones everywhere, no threshold is like that. Then it is Best-Bin Estimation
(Garg et al. 2021, arXiv:2111.00980): the ratio at the threshold where its upper confidence bound is least.
Two things differ there: the bound is that of the ratio's own variance (the delta method) in place of the
uniform one of Dvoretzky, Kiefer and Wolfowitz, which is so wide that artefacts come in; and thresholds that
keep less than `LOWEST_TPR` of the injected are not tried, since the least of many noisy ratios is too low.

Hidden sources that score like artefacts are not counted; artefacts that no score tells from injections are
counted as real. ``doc/statistics.md`` has the errors of this and of other estimators.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..seeding import generator
from .bootstrap import Estimate, draw_weights, percentile_interval, wilson_interval
from .folds import TooFewExamplesError

__all__ = [
    "HIGHEST_TPR",
    "LOWEST_TPR",
    "MIN_ROWS",
    "check_rows",
    "estimate_prior",
    "group_index",
    "prior_replicates",
]

type F64 = NDArray[np.float64]
type I64 = NDArray[np.int64]
type Bool = NDArray[np.bool_]

LOWEST_TPR = 0.35
"""Smallest fraction of the injected that a threshold may keep."""

HIGHEST_TPR = 0.95
"""Largest fraction of the injected that the chosen threshold may keep."""

STEADY = 0.07
"""Change of the ratio, relative, that is taken for none."""

STEADY_DIFFERENCE = 0.0125
"""Change of the ratio that is taken for none where the ratio is small."""

MIN_ROWS = 20
"""Fewest injected and fewest unlabelled rows that anything is estimated from."""

_HALF = 4  # thresholds between one and that which loses half as many of the injected
_LOST = (1.0 - LOWEST_TPR) * 0.5 ** (np.arange(20 + _HALF) / _HALF)
_TPR = np.append(1.0 - _LOST, 1.0)
_MAY_BE_CHOSEN = _LOST[:-_HALF] > 0.99 * (1.0 - HIGHEST_TPR)
_Z = 2.0  # standard deviations of the upper bound
_N_PSEUDO_GROUPS = 1000


def check_rows(score: NDArray[np.floating], injected: Bool) -> None:
    """Check that scores are finite and that there are enough rows of both classes.

    Parameters
    ----------
    score : `numpy.ndarray`, (N,), floating
        Scores or logits.
    injected : `numpy.ndarray`, (N,), bool
        Whether a row is an injection; all others are unlabelled.

    Raises
    ------
    ValueError
        If the lengths differ or a score is not finite.
    TooFewExamplesError
        If there are fewer than `MIN_ROWS` of a class.
    """
    if score.shape != injected.shape or score.ndim != 1:
        raise ValueError("Score and class differ in length.")
    if not np.isfinite(score).all():
        raise ValueError("A score is not finite: leave unscored rows out, and count them.")
    n_injected = int(injected.sum())
    n_unlabelled = len(injected) - n_injected
    if min(n_injected, n_unlabelled) < MIN_ROWS:
        raise TooFewExamplesError(
            f"{n_injected} injected and {n_unlabelled} unlabelled DIA sources with scores; at least "
            f"{MIN_ROWS} of each are needed to estimate how many of the unlabelled are real.",
            injected=n_injected,
            unlabelled=n_unlabelled,
        )


def group_index(groups: I64 | None, n_rows: int) -> tuple[I64, int]:
    """Return groups as indices and their number.

    Parameters
    ----------
    groups : `numpy.ndarray`, (N,), int64, or `None`
        Sky cell of each row. Without any, rows are dealt to at most 1000 groups in turn: drawing these is as
        good as drawing rows that are independent.
    n_rows : `int`
        Number N of rows.

    Returns
    -------
    index : `numpy.ndarray`, (N,), int64
        In ``[0, G)``.
    n_groups : `int`
        G.
    """
    if groups is None:
        n_groups = min(n_rows, _N_PSEUDO_GROUPS)
        return np.arange(n_rows, dtype=np.int64) % max(n_groups, 1), n_groups
    unique, index = np.unique(groups, return_inverse=True)
    return np.asarray(index, np.int64), len(unique)


def estimate_prior(
    score: NDArray[np.floating],
    injected: Bool,
    groups: I64 | None = None,
    n_replicates: int = 400,
    level: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """Estimate the fraction of the unlabelled that are real.

    Parameters
    ----------
    score : `numpy.ndarray`, (N,), floating
        Out-of-fold scores or logits; only their order matters, ties are fine.
    injected : `numpy.ndarray`, (N,), bool
        Whether a row is an injection; all others are unlabelled.
    groups : `numpy.ndarray`, (N,), int64, optional
        Sky cell of each row. By default each row is on its own.
    n_replicates : `int`, optional
        Number of bootstrap replicates.
    level : `float`, optional
        Coverage of the interval.
    seed : `int`, optional
        Seed of the bootstrap.

    Returns
    -------
    prior : `Estimate`
        Scalars in [0, 1]. The interval is the union of the bootstrap's and of Wilson's for the unlabelled
        above the threshold, as in `~dia_vetting.reliability.bootstrap.grouped_rate`; it knows the noise, not
        what a difference between the injected and the hidden does. Scores that tell nothing apart give 1,
        the largest fraction that the data allow.

    Raises
    ------
    ValueError
        If the lengths differ or a score is not finite.
    TooFewExamplesError
        If there are fewer than `MIN_ROWS` of a class.
    """
    check_rows(score, injected)
    index, n_groups = group_index(groups, len(score))
    weights = draw_weights(n_groups, n_replicates, generator(seed, "prior"))
    positives, unlabelled = _counts(score, injected, index, n_groups)
    p, u = positives.sum(axis=0, keepdims=True), unlabelled.sum(axis=0, keepdims=True)
    values, best = _estimate(p, u)
    low, high = percentile_interval(_replicates(positives, unlabelled, weights), level)
    tpr = p[0, best[0]] / p[0, -1]
    wilson_low, wilson_high = wilson_interval(u[0, best[0]], u[0, -1], level)
    return Estimate(
        values[0],
        np.asarray(np.fmin(low, np.minimum(wilson_low / tpr, 1.0))),
        np.asarray(np.fmax(high, np.minimum(wilson_high / tpr, 1.0))),
    )


def prior_replicates(
    score: NDArray[np.floating], injected: Bool, index: I64, weights: NDArray[np.float32]
) -> tuple[float, F64]:
    """Estimate the prior, and once more in each bootstrap replicate.

    Parameters
    ----------
    score, injected : `numpy.ndarray`, (N,)
        As for `estimate_prior`.
    index : `numpy.ndarray`, (N,), int64
        Group of each row, in ``[0, G)``.
    weights : `numpy.ndarray`, (B, G), float32
        From `~dia_vetting.reliability.bootstrap.draw_weights`.

    Returns
    -------
    value : `float`
        That of `estimate_prior`.
    replicates : `numpy.ndarray`, (B,), float64
        The best threshold is chosen anew in each; NaN where one has no row of a class.
    """
    positives, unlabelled = _counts(score, injected, index, weights.shape[1])
    values, _ = _estimate(positives.sum(axis=0, keepdims=True), unlabelled.sum(axis=0, keepdims=True))
    return float(values[0]), _replicates(positives, unlabelled, weights)


def _counts(score: NDArray[np.floating], injected: Bool, index: I64, n_groups: int) -> tuple[F64, F64]:
    """Count injected and unlabelled rows at or above each threshold, (G, K) each; the last one keeps all."""
    thresholds = np.quantile(score[injected], 1.0 - _TPR, method="inverted_cdf")
    thresholds[-1] = score.min()
    kept = np.searchsorted(thresholds[::-1], score, side="right")  # a row is above the `kept` lowest ones
    n = len(thresholds)

    def count(rows: Bool) -> F64:
        flat = index[rows] * n + (n - kept[rows])
        return np.bincount(flat, minlength=n_groups * n).reshape(n_groups, n).cumsum(axis=1).astype(float)

    return count(injected), count(~injected)


def _replicates(positives: F64, unlabelled: F64, weights: NDArray[np.float32]) -> F64:
    part = np.linspace(0.0, 1.5, len(weights))[:, None]
    return _estimate(weights @ positives, weights @ unlabelled, part)[0]


def _estimate(positives: F64, unlabelled: F64, part: F64 | float = 0.5) -> tuple[F64, I64]:
    """Return the prior and the threshold it was taken at, (B,), (B,), of counts (B, K).

    ``part``, (B, 1), of the change towards lower thresholds is taken off.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = (unlabelled / unlabelled[:, -1:]) / (positives / positives[:, -1:])
    further = ratio[:, _HALF:-1]
    change = further - ratio[:, : -1 - _HALF]
    steady = (change <= np.maximum(STEADY * further, STEADY_DIFFERENCE)) & _MAY_BE_CHOSEN
    last = steady.shape[1] - 1 - np.argmax(steady[:, ::-1], axis=1)
    chosen = np.where(steady.any(axis=1), last, _best_bin(positives, unlabelled, ratio))
    leak = np.where(steady, np.maximum(part * change, 0.0), 0.0)
    values = ratio - np.pad(leak, ((0, 0), (0, ratio.shape[1] - leak.shape[1])))
    return np.clip(np.take_along_axis(values, chosen[:, None], axis=1)[:, 0], 0.0, 1.0), chosen


def _best_bin(positives: F64, unlabelled: F64, ratio: F64) -> I64:
    """Return where the upper bound of the ratio is least, of counts (B, K): (B,)."""
    n_p, n_u = positives[:, -1:], unlabelled[:, -1:]
    with np.errstate(invalid="ignore", divide="ignore"):
        q_p = positives / n_p
        # One success and one failure more, so that no count has no variance.
        smooth = (unlabelled + 1.0) / (n_u + 2.0)
        variance = smooth * (1.0 - smooth) / n_u + ratio**2 * q_p * (1.0 - q_p) / n_p
        bound = ratio + _Z * np.sqrt(variance) / q_p
    return np.argmin(np.where(np.isfinite(bound), bound, np.inf), axis=1)
