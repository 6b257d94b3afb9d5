"""The same rate of two parts of one sample: each, and their difference, with intervals.

The bootstrap draws the sky groups of both together, so that what they share cancels.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from .bootstrap import Estimate, grouped_rate, percentile_interval, wilson_interval

__all__ = ["PairedRates", "paired_rates"]

type F64 = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class PairedRates:
    """A rate of a part and of the rest; scalars.

    Parameters
    ----------
    part, rest : `~.bootstrap.Estimate`
        The two rates.
    difference : `~.bootstrap.Estimate`
        Part minus rest.
    rest_alike : `~.bootstrap.Estimate`
        Rate of the rest if it were distributed over the strata as the part is.
    difference_alike : `~.bootstrap.Estimate`
        Part minus that.
    """

    part: Estimate
    rest: Estimate
    difference: Estimate
    rest_alike: Estimate
    difference_alike: Estimate


def paired_rates(
    successes: tuple[F64, F64], trials: tuple[F64, F64], weights: NDArray[np.float32], level: float = 0.95
) -> PairedRates:
    """Compare the rate of a part with that of the rest, as they are and stratum by stratum.

    The rate of the rest that is alike is its mean over the strata, weighted by the trials of the part (direct
    standardisation); strata in which the rest has no trial are left out of both sides of that difference.
    Intervals of differences are the union of the bootstrap's and of Newcombe's (1998, Stat. Med. 17, 873,
    method 10), made of Wilson's.

    Parameters
    ----------
    successes, trials : `tuple` of two `numpy.ndarray`, (G, S)
        Of the part and of the rest: counts in each of G groups and S strata.
    weights : `numpy.ndarray`, (B, G), float32
        From `~.bootstrap.draw_weights`.
    level : `float`, optional
        Coverage.

    Returns
    -------
    rates : `PairedRates`
        NaN where there is no trial.
    """
    sides = [
        grouped_rate(k.sum(axis=1)[:, None], n.sum(axis=1)[:, None], weights, level)
        for k, n in zip(successes, trials, strict=True)
    ]
    part, rest = (side.at(0) for side in sides)
    counts = [np.asarray(c, np.float64) for c in (successes[0], trials[0], successes[1], trials[1])]
    once = np.ones((1, weights.shape[1]))
    plain, alike = _rates([once @ c for c in counts]), _standardised([once @ c for c in counts])
    drawn = [weights @ c for c in counts]
    plain_drawn, alike_drawn = _rates(drawn), _standardised(drawn)
    n_part, n_rest = (float(c.sum()) for c in trials)
    shared, effective = _effective(counts)
    return PairedRates(
        part,
        rest,
        _difference(plain, plain_drawn, (n_part, n_rest), level),
        _alone(alike[0, 1], alike_drawn[:, 1], effective, level),
        _difference(alike, alike_drawn, (shared, effective), level),
    )


def _rates(counts: list[F64]) -> F64:
    """Return the two rates of each of b weight vectors, (b, 2)."""
    k1, n1, k2, n2 = (c.sum(axis=1) for c in counts)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.stack([k1 / n1, k2 / n2], axis=1)


def _standardised(counts: list[F64]) -> F64:
    """Return the rates of the part and of the rest made alike, over the strata that both have, (b, 2)."""
    k1, n1, k2, n2 = counts
    shared = (n1 > 0) & (n2 > 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        rest = np.where(shared, n1 * k2 / np.where(shared, n2, 1.0), 0.0).sum(axis=1)
        n = np.where(shared, n1, 0.0).sum(axis=1)
        return np.stack([np.where(shared, k1, 0.0).sum(axis=1) / n, rest / n], axis=1)


def _effective(counts: list[F64]) -> tuple[float, float]:
    """Return the trials of the part in shared strata, and how many plain ones the weighted rest is worth."""
    n1, n2 = counts[1].sum(axis=0), counts[3].sum(axis=0)
    shared = (n1 > 0) & (n2 > 0)
    n = float(n1[shared].sum())
    return n, n**2 / float((n1[shared] ** 2 / n2[shared]).sum()) if n else 0.0


def _alone(value: float, replicates: F64, n: float, level: float) -> Estimate:
    low, high = wilson_interval(value * n, n, level)
    boot_low, boot_high = percentile_interval(replicates[:, None], level)
    return Estimate.of(value, np.fmin(low, boot_low[0]), np.fmax(high, boot_high[0]))


def _difference(values: F64, replicates: F64, n: tuple[float, float], level: float) -> Estimate:
    (p1, p2), difference = values[0], values[0, 0] - values[0, 1]
    (l1, u1), (l2, u2) = (wilson_interval(p * m, m, level) for p, m in zip((p1, p2), n, strict=True))
    low = difference - np.hypot(p1 - l1, u2 - p2)
    high = difference + np.hypot(u1 - p1, p2 - l2)
    boot_low, boot_high = percentile_interval(replicates[:, :1] - replicates[:, 1:], level)
    if np.isnan(difference):
        return Estimate.of(difference)
    return Estimate.of(difference, np.fmin(low, boot_low[0]), np.fmax(high, boot_high[0]))
