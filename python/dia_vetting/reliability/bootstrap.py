"""Intervals of rates and other figures, from a bootstrap over sky groups.

Sources of one sky cell share host, template and static artefacts, so whole cells are drawn with replacement,
not rows (the cluster bootstrap; Davison & Hinkley 1997, section 3.8). A replicate is a vector of how often
each group was drawn, which makes every figure a weighted one and a set of replicates a matrix product.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

__all__ = ["Estimate", "draw_weights", "grouped_rate", "percentile_interval", "wilson_interval"]

type F64 = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A figure and its interval; arrays of one shape. NaN where undefined.

    Parameters
    ----------
    value, low, high : `numpy.ndarray`, float64
        Estimate and the ends of its interval.
    """

    value: F64
    low: F64
    high: F64

    @classmethod
    def of(cls, value: ArrayLike, low: ArrayLike = np.nan, high: ArrayLike = np.nan) -> Estimate:
        """Make an estimate of numbers or arrays; without an interval by default."""
        return cls(*(np.asarray(part, np.float64) for part in (value, low, high)))

    def at(self, index: int) -> Estimate:
        """Return one element of an estimate of (K, ...) as an estimate of (...)."""
        return Estimate.of(self.value[index], self.low[index], self.high[index])

    def summary(self) -> dict[str, float]:
        """Return a scalar estimate as a dictionary of value, low and high."""
        return {name: float(getattr(self, name)) for name in ("value", "low", "high")}


def draw_weights(n_groups: int, n_replicates: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Draw groups with replacement.

    Parameters
    ----------
    n_groups : `int`
        Number G of groups.
    n_replicates : `int`
        Number B of replicates.
    rng : `numpy.random.Generator`
        Source of randomness.

    Returns
    -------
    weights : `numpy.ndarray`, (B, G), float32
        How often each group is in each replicate; rows sum to G.
    """
    if not n_groups:
        return np.zeros((n_replicates, 0), np.float32)
    counts = rng.multinomial(n_groups, np.full(n_groups, 1.0 / n_groups), size=n_replicates)
    return counts.astype(np.float32)


def wilson_interval(successes: ArrayLike, trials: ArrayLike, level: float = 0.95) -> tuple[F64, F64]:
    """Return Wilson's (1927) score interval of a proportion of independent trials.

    Parameters
    ----------
    successes, trials : array_like
        Counts of one shape.
    level : `float`, optional
        Coverage.

    Returns
    -------
    low, high : `numpy.ndarray`, float64
        Ends of the interval; NaN where there is no trial.
    """
    k, n = np.asarray(successes, dtype=float), np.asarray(trials, dtype=float)
    z2 = float(ndtri(0.5 + 0.5 * level)) ** 2
    with np.errstate(invalid="ignore", divide="ignore"):
        p = k / n
        centre = (p + 0.5 * z2 / n) / (1.0 + z2 / n)
        half = np.sqrt(z2 * (p * (1.0 - p) / n + 0.25 * z2 / n**2)) / (1.0 + z2 / n)
    # The ends are exact at 0 and 1; rounding must not push them off.
    low, high = np.where(p == 0, 0.0, centre - half), np.where(p == 1, 1.0, centre + half)
    empty = ~(n > 0)
    return np.where(empty, np.nan, low), np.where(empty, np.nan, high)


def percentile_interval(replicates: F64, level: float = 0.95) -> tuple[F64, F64]:
    """Return the central interval of replicates.

    Parameters
    ----------
    replicates : `numpy.ndarray`, (B, ...), float64
        NaN where a replicate has no such figure.
    level : `float`, optional
        Coverage.

    Returns
    -------
    low, high : `numpy.ndarray`, (...), float64
        NaN where fewer than half of the replicates have one.
    """
    defined = np.isfinite(replicates).mean(axis=0) >= 0.5
    filled = np.where(defined, replicates, 0.0)
    low, high = np.nanquantile(filled, [0.5 - 0.5 * level, 0.5 + 0.5 * level], axis=0)
    return np.where(defined, low, np.nan), np.where(defined, high, np.nan)


def grouped_rate(
    successes: NDArray[np.floating],
    trials: NDArray[np.floating],
    weights: NDArray[np.float32],
    level: float = 0.95,
) -> Estimate:
    """Return rates and their intervals from counts per group.

    The interval is the union of the bootstrap's and of Wilson's. The bootstrap knows that the rows of a group
    are alike; Wilson's does not, but stays honest where the bootstrap cannot vary: at rates of 0 and 1, and
    with few groups.

    Parameters
    ----------
    successes, trials : `numpy.ndarray`, (G, K)
        Counts in each of G groups, for K rates.
    weights : `numpy.ndarray`, (B, G), float32
        From `draw_weights`.
    level : `float`, optional
        Coverage.

    Returns
    -------
    rates : `Estimate`
        Arrays (K,); NaN where there is no trial at all.
    """
    successes, trials = np.asarray(successes, np.float32), np.asarray(trials, np.float32)
    total, n = successes.sum(axis=0, dtype=float), trials.sum(axis=0, dtype=float)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = total / n
        replicates = np.asarray((weights @ successes) / (weights @ trials), np.float64)
    low, high = wilson_interval(total, n, level)
    if weights.shape[1]:
        boot_low, boot_high = percentile_interval(replicates, level)
        low, high = np.fmin(low, boot_low), np.fmax(high, boot_high)
    return Estimate(value, low, high)
