"""Figures with their bootstrap replicates, over groups of rows that belong together: sky cells or stamps."""

from __future__ import annotations

__all__ = ["MIN_ROWS", "Figure", "Resampling"]

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...reliability.bootstrap import Estimate, draw_weights, percentile_interval, wilson_interval
from ...seeding import generator

type F64 = NDArray[np.float64]
type I64 = NDArray[np.int64]
type Bool = NDArray[np.bool_]

MIN_ROWS = 10
"""A figure of fewer rows is NaN."""

_AT_ONCE = 4_000_000
"""Weights that are sorted at a time."""


@dataclasses.dataclass(frozen=True)
class Figure:
    """One figure.

    Parameters
    ----------
    value : `float`
        NaN where it is not defined or of too few rows.
    replicates : `numpy.ndarray`, (B,), float64
        The same of resampled groups.
    n : `int`
        Rows that it is of.
    bounds : `tuple` of two `float`, optional
        Interval that the one of the replicates must hold: Wilson's, for rates.
    """

    value: float
    replicates: F64
    n: int
    bounds: tuple[float, float] | None = None

    def estimate(self) -> Estimate:
        """Return value and 95 % interval."""
        if not np.isfinite(self.value):
            return Estimate.of(np.nan)
        low, high = percentile_interval(self.replicates)
        if self.bounds is not None:
            low, high = np.fmin(low, self.bounds[0]), np.fmax(high, self.bounds[1])
        return Estimate.of(self.value, low, high)

    def minus(self, other: Figure) -> Estimate:
        """Return the difference from a figure of the same groups, with the interval of paired replicates."""
        if not np.isfinite(self.value - other.value):
            return Estimate.of(np.nan)
        low, high = percentile_interval(self.replicates - other.replicates)
        return Estimate.of(self.value - other.value, low, high)


@dataclasses.dataclass(frozen=True)
class Resampling:
    """Groups and how often each is in each replicate.

    Parameters
    ----------
    keys : `numpy.ndarray`, (G,), int64
        Names of the groups, sorted: sky cells, or indices of stamps.
    weights : `numpy.ndarray`, (B, G), float32
        From `~dia_vetting.reliability.bootstrap.draw_weights`.
    """

    keys: I64
    weights: NDArray[np.float32]

    @classmethod
    def of(cls, keys: ArrayLike, replicates: int, seed: int) -> Resampling:
        """Draw replicates of the groups that these keys name, each once or more often."""
        names = np.unique(np.asarray(keys, np.int64))
        return cls(names, draw_weights(len(names), replicates, generator(seed, "blending impact")))

    def groups(self, keys: ArrayLike) -> I64:
        """Return the index of the group of each key, (N,), all of which must be known."""
        keys = np.asarray(keys, np.int64)
        index = np.searchsorted(self.keys, keys)
        if (self.keys[np.minimum(index, len(self.keys) - 1)] != keys).any():
            raise ValueError("A key is of none of the groups.")
        return index

    def sums(self, group: I64, values: NDArray[Any]) -> F64:
        """Return the sums of values (N,) or (N, K) in each group, (G, K)."""
        columns = values.reshape(len(group), -1).astype(np.float64).T
        return np.stack([np.bincount(group, one, len(self.keys)) for one in columns], axis=1)

    def of_sums(self, sums: F64, compute: Callable[[F64], F64], n: int, least: int = MIN_ROWS) -> Figure:
        """Return a figure of sums.

        Parameters
        ----------
        sums : `numpy.ndarray`, (G, K), float64
            Per group.
        compute : `~collections.abc.Callable`
            Gives figures (B,) from total sums (B, K).
        n : `int`
            Rows behind it.
        least : `int`, optional
            Of fewer rows it is NaN.
        """
        with np.errstate(invalid="ignore", divide="ignore"):
            replicates = np.asarray(compute(np.asarray(self.weights @ sums, np.float64)))
            value = float(compute(sums.sum(axis=0)[None])[0])
        return Figure(value if n >= least else np.nan, replicates, n)

    def rate(self, group: I64, good: Bool, among: Bool) -> Figure:
        """Return the fraction of the rows ``among`` that are ``good``; all (N,)."""
        sums = self.sums(group, np.stack([good & among, among], axis=1))
        n = int(np.count_nonzero(among))
        low, high = wilson_interval(np.count_nonzero(good & among), n)
        figure = self.of_sums(sums, lambda s: s[:, 0] / s[:, 1], n)
        return dataclasses.replace(figure, bounds=(float(low), float(high)))

    def mean(self, group: I64, values: F64, among: Bool) -> Figure:
        """Return the mean of the values (N,) that are ``among`` and finite."""
        among = among & np.isfinite(values)
        sums = self.sums(group, np.stack([np.where(among, values, 0.0), among], axis=1))
        return self.of_sums(sums, lambda s: s[:, 0] / s[:, 1], int(np.count_nonzero(among)))

    def median(self, group: I64, values: F64, among: Bool) -> Figure:
        """Return the median of the values (N,) that are ``among`` and finite."""
        chosen = np.flatnonzero(among & np.isfinite(values))
        chosen = chosen[np.argsort(values[chosen], kind="stable")]
        n = len(chosen)
        if n < MIN_ROWS:
            return Figure(np.nan, np.full(len(self.weights), np.nan), n)
        step = max(_AT_ONCE // n, 1)
        parts = [
            _weighted_median(values[chosen], self.weights[start : start + step][:, group[chosen]])
            for start in range(0, len(self.weights), step)
        ]
        return Figure(float(np.median(values[chosen])), np.concatenate(parts), n)


def _weighted_median(values: F64, weights: NDArray[np.float32]) -> F64:
    """Return the median of sorted values (n,) by weights (B, n); NaN where all are 0."""
    running = np.cumsum(weights, axis=1, dtype=np.float64)
    half = 0.5 * running[:, -1:]
    return np.where(half[:, 0] > 0, values[np.argmax(running >= half, axis=1)], np.nan)
