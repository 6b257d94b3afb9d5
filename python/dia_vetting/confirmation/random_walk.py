"""Damped random walks: the evidence of an Ornstein-Uhlenbeck process in each band, for many light curves."""

from __future__ import annotations

__all__ = ["TIMES", "random_walk_evidence"]

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from .evidence import Segments
    from .transient_fit import Sums

type F64 = NDArray[np.float64]
type I64 = NDArray[np.int64]

TIMES = (0.3, 3.0, 20.0, 100.0)
"""Damping times, day: the first is white noise, from night to night."""


def random_walk_evidence(
    segments: Segments, sums: Sums, mjd: F64, flux: F64, err: F64, amplitudes: F64
) -> F64:
    """Return the log evidence of damped random walks about a mean.

    The covariance is A^2 exp(-|dt| / tau) (Kelly, Bechtold & Siemiginowska 2009, ApJ 698, 895), which a
    Kalman filter inverts in one pass. The mean of each band has the prior N(0, offset + A^2): the same filter
    runs over the points and over ones, which gives its normal equation.

    Parameters
    ----------
    segments : `~.evidence.Segments`
        Of K points in M segments of O objects, sorted by time in each.
    sums : `~.transient_fit.Sums`
        Of these points.
    mjd, flux, err : `numpy.ndarray`, (K,), float64
        Points: day, nJy.
    amplitudes : `numpy.ndarray`, (A,), float64
        Standard deviations of the walk, nJy.

    Returns
    -------
    log_evidence : `numpy.ndarray`, (O, T, A), float64
        Over that of no flux at all, for each of `TIMES` and ``amplitudes``.
    """
    order = np.argsort(-segments.length, kind="stable")
    start, length = segments.start[order], segments.length[order]
    state = _Filter(len(order), amplitudes)
    for step in range(int(length[0]) if len(length) else 0):
        active = int(np.searchsorted(-length, -step))  # the first so many have a point of this number
        rows = start[:active] + step
        gap = mjd[rows] - mjd[rows - 1] if step else None
        state.add(active, gap, flux[rows], err[rows])
    mean = sums.offset[order][:, None, None] + amplitudes**2
    spread = 1.0 + mean * state.ones
    walk = state.log_likelihood - 0.5 * np.log(spread) + 0.5 * mean * state.cross**2 / spread
    walk += (0.5 * sums.ff + _log_errors(segments, err))[order][:, None, None]
    result = np.empty_like(walk)
    result[order] = walk
    return segments.per_object(result)


def _log_errors(segments: Segments, err: F64) -> F64:
    return segments.sum(np.log(err))


class _Filter:
    """Filters of M light curves for T times and A amplitudes, (M, T, A)."""

    def __init__(self, count: int, amplitudes: F64) -> None:
        shape = (count, len(TIMES), len(amplitudes))
        self._variance = np.broadcast_to(amplitudes**2, shape).copy()
        self._steady = amplitudes**2
        self._flux_mean, self._one_mean = np.zeros(shape), np.zeros(shape)
        self.log_likelihood, self.cross, self.ones = np.zeros(shape), np.zeros(shape), np.zeros(shape)

    def add(self, active: int, gap: F64 | None, flux: F64, err: F64) -> None:
        """Add one point to each of the first ``active`` light curves, ``gap`` days after the last one."""
        now = slice(active)
        variance, mean, one = self._variance[now], self._flux_mean[now], self._one_mean[now]
        if gap is not None:
            decay = np.exp(-gap[:, None] / np.array(TIMES))[:, :, None]
            mean, one = mean * decay, one * decay
            variance = self._steady + decay**2 * (variance - self._steady)
        total = variance + err[:, None, None] ** 2
        gain = variance / total
        surprise, one_surprise = flux[:, None, None] - mean, 1.0 - one
        self.log_likelihood[now] -= 0.5 * (np.log(total) + surprise**2 / total)
        self.cross[now] += surprise * one_surprise / total
        self.ones[now] += one_surprise**2 / total
        self._flux_mean[now], self._one_mean[now] = mean + gain * surprise, one + gain * one_surprise
        self._variance[now] = variance * (1.0 - gain)
