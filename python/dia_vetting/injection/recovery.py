"""Completeness, photometry and astrometry of recovered injections, with intervals."""

from __future__ import annotations

__all__ = [
    "SNR_EDGES",
    "Measured",
    "completeness",
    "fifty_percent",
    "flux_bias",
    "median_east",
    "median_north",
    "median_offset",
    "pull_static",
    "pull_std",
    "pull_width",
    "with_interval",
    "with_intervals",
]

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..reliability.bootstrap import Estimate, percentile_interval, wilson_interval
from .logistic import Logistic, common_threshold, fit_logistic_curve

type F64 = NDArray[np.float64]
type Bool = NDArray[np.bool_]

SNR_EDGES = (0.0, 2.0, 3.0, 4.0, 4.5, 5.0, 5.5, 6.0, 6.5, 7.0, 8.0, 10.0, 15.0, 25.0, 50.0, 100.0, np.inf)
"""Edges of the bins of expected signal-to-noise ratio."""

_FIT_RANGE = (1.0, 40.0)
_FIT_BINS = 120
_REPLICATES = 300
_LEAST = 5
_AT_ONCE = 1_000_000
"""Rows of all replicates that are in memory at once."""


@dataclasses.dataclass(frozen=True)
class Measured:
    """Recovered injections, one row each; or, in a bootstrap, draws of them, (..., N).

    Parameters
    ----------
    truth, flux, error : `numpy.ndarray`, (N,), float64
        Injected flux, measured flux and its uncertainty, nJy.
    east, north : `numpy.ndarray`, (N,), float64
        Measured minus injected position, arcsec.
    static_error : `numpy.ndarray`, (N,), float64
        Error of the flux from the static sky, nJy; NaN where not known.
    """

    truth: F64
    flux: F64
    error: F64
    east: F64
    north: F64
    static_error: F64

    def where(self, keep: NDArray[Any]) -> Measured:
        """Return some rows; ``keep`` is a mask or indices, of any shape."""
        return Measured(*(getattr(self, field.name)[keep] for field in dataclasses.fields(self)))

    def __len__(self) -> int:
        return len(self.truth)


def completeness(recovered: Bool) -> Estimate:
    """Return the recovered fraction with its 95 % Wilson interval; NaN of no injections."""
    count, hits = len(recovered), int(recovered.sum())
    low, high = wilson_interval(hits, count)
    return _estimate(hits / count if count else np.nan, low, high)


def _estimate(value: ArrayLike = np.nan, low: ArrayLike = np.nan, high: ArrayLike = np.nan) -> Estimate:
    return Estimate(*(np.asarray(number, np.float64) for number in (value, low, high)))


def flux_bias(sample: Measured) -> F64:
    """Return the weighted relative bias of the flux: sum(F f / s^2) / sum(F^2 / s^2) - 1.

    It is the slope, less one, of a line through the origin of measured on true flux, by weighted least
    squares.
    """
    weight = sample.truth / sample.error**2
    return np.asarray((weight * sample.flux).sum(axis=-1) / (weight * sample.truth).sum(axis=-1) - 1.0)


def pull_std(sample: Measured) -> F64:
    """Return the standard deviation of (f - F) / s."""
    return np.asarray(np.std((sample.flux - sample.truth) / sample.error, axis=-1, ddof=1))


def pull_static(sample: Measured) -> F64:
    """Return the standard deviation of (f - F) / sqrt(s^2 + s_static^2); NaN where s_static is not known."""
    error = np.hypot(sample.error, sample.static_error)
    return np.asarray(np.std((sample.flux - sample.truth) / error, axis=-1, ddof=1))


def pull_width(sample: Measured) -> F64:
    """Return 1.4826 times the median absolute deviation of (f - F) / s: the width without its tails."""
    pull = (sample.flux - sample.truth) / sample.error
    middle = np.median(pull, axis=-1, keepdims=True)
    return np.asarray(1.4826 * np.median(np.abs(pull - middle), axis=-1))


def median_offset(sample: Measured) -> F64:
    """Return the median distance, arcsec."""
    return np.asarray(np.median(np.hypot(sample.east, sample.north), axis=-1))


def median_east(sample: Measured) -> F64:
    """Return the median offset to the east, arcsec."""
    return np.asarray(np.median(sample.east, axis=-1))


def median_north(sample: Measured) -> F64:
    """Return the median offset to the north, arcsec."""
    return np.asarray(np.median(sample.north, axis=-1))


def with_interval(sample: Measured, figure: Callable[[Measured], F64], rng: np.random.Generator) -> Estimate:
    """Return a figure with its 95 % bootstrap interval (see `with_intervals`)."""
    return with_intervals(sample, {"figure": figure}, rng)["figure"]


def with_intervals(
    sample: Measured, figures: Mapping[str, Callable[[Measured], F64]], rng: np.random.Generator
) -> dict[str, Estimate]:
    """Return figures with their 95 % bootstrap intervals, from the same draws.

    Parameters
    ----------
    sample : `Measured`
        N rows, which are drawn with replacement.
    figures : `~collections.abc.Mapping`
        Functions of a sample by name, along the last axis of its arrays: `flux_bias`, `pull_std` and the
        like. They are given many draws at once.
    rng : `numpy.random.Generator`
        Source of the draws.

    Returns
    -------
    estimates : `dict` [`str`, `~dia_vetting.reliability.bootstrap.Estimate`]
        Scalars; NaN with fewer than five rows.
    """
    if len(sample) < _LEAST:
        return {name: _estimate() for name in figures}
    at_once = max(1, _AT_ONCE // len(sample))
    drawn = []
    for first in range(0, _REPLICATES, at_once):
        count = min(at_once, _REPLICATES - first)
        draws = sample.where(rng.integers(0, len(sample), (count, len(sample))))
        drawn.append(np.stack([figure(draws) for figure in figures.values()], axis=1))
    replicates = np.concatenate(drawn)
    low, high = percentile_interval(replicates)
    return {
        name: _estimate(figure(sample), low[k], high[k]) for k, (name, figure) in enumerate(figures.items())
    }


def fifty_percent(snr: F64, recovered: Bool, rng: np.random.Generator) -> Estimate:
    """Return the signal-to-noise ratio at which half of the injections are recovered.

    A logistic curve in log(snr), p = c / (1 + exp(-(ln snr - m) / w)), is fitted by maximum likelihood to the
    counts in narrow bins between 1 and 40; c <= 1 is what is reached at the bright end.

    Parameters
    ----------
    snr : `numpy.ndarray`, (N,), float64
        Expected signal-to-noise ratios.
    recovered : `numpy.ndarray`, (N,), bool
        Whether each was recovered.
    rng : `numpy.random.Generator`
        Source of the bootstrap's draws.

    Returns
    -------
    estimate : `~dia_vetting.reliability.bootstrap.Estimate`
        With its 95 % bootstrap interval. NaN if hits and misses do not mingle in the range, or the curve
        does not reach one half.
    """
    inside = (snr >= _FIT_RANGE[0]) & (snr < _FIT_RANGE[1])
    log_snr, hit = np.log(snr[inside]), recovered[inside]
    best = _fit_curve(log_snr, hit, Logistic(np.log([5.0]), 0.1, 0.95))
    if best is None:
        return _estimate()
    draws = rng.integers(0, len(hit), (_REPLICATES, len(hit)))
    fits = [_fit_curve(log_snr[rows], hit[rows], best) for rows in draws]
    replicates = np.array([np.nan if fit is None else _half_point(fit) for fit in fits])
    return _estimate(_half_point(best), *percentile_interval(replicates))


def _fit_curve(log_snr: F64, hit: Bool, start: Logistic) -> Logistic | None:
    """Fit to the counts in narrow bins; `None` where hits and misses do not mingle."""
    if not hit.any() or hit.all() or log_snr[hit].min() > log_snr[~hit].max():
        return None
    edges = np.linspace(np.log(_FIT_RANGE[0]), np.log(_FIT_RANGE[1]), _FIT_BINS + 1)
    trials, hits = np.histogram(log_snr, edges)[0], np.histogram(log_snr[hit], edges)[0]
    middle = 0.5 * (edges[1:] + edges[:-1])
    return fit_logistic_curve(middle, common_threshold(_FIT_BINS), hits, trials, start)


def _half_point(fit: Logistic) -> float:
    if fit.ceiling <= 0.5:
        return float("nan")
    return float(np.exp(fit.coefficients[0] - fit.width * np.log(2.0 * fit.ceiling - 1.0)))
