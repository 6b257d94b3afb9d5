"""Completeness, photometry and astrometry of recovered injections, with intervals."""

from __future__ import annotations

__all__ = [
    "SNR_EDGES",
    "Measured",
    "completeness",
    "fifty_percent",
    "flux_bias",
    "logistic_cost",
    "median_offset",
    "pull_std",
    "pull_width",
    "with_interval",
]

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize
from scipy.special import expit

from ..planes import robust_sigma
from ..reliability.bootstrap import Estimate, percentile_interval, wilson_interval

type F64 = NDArray[np.float64]
type Bool = NDArray[np.bool_]

SNR_EDGES = (0.0, 2.0, 3.0, 4.0, 4.5, 5.0, 5.5, 6.0, 6.5, 7.0, 8.0, 10.0, 15.0, 25.0, 50.0, 100.0, np.inf)
"""Edges of the bins of expected signal-to-noise ratio."""

_FIT_RANGE = (1.0, 40.0)
_FIT_BINS = 120
_FIT_BOUNDS = ((-1.0, 4.0), (-5.0, 2.0), (-8.0, 12.0))
_REPLICATES = 300


@dataclasses.dataclass(frozen=True)
class Measured:
    """Recovered injections, one row each.

    Parameters
    ----------
    truth, flux, error : `numpy.ndarray`, (N,), float64
        Injected flux, measured flux and its uncertainty, nJy.
    offset : `numpy.ndarray`, (N,), float64
        Distance of the measured from the injected position, arcsec.
    """

    truth: F64
    flux: F64
    error: F64
    offset: F64

    def where(self, keep: NDArray[Any]) -> Measured:
        """Return some rows; ``keep`` is a mask or indices."""
        return Measured(self.truth[keep], self.flux[keep], self.error[keep], self.offset[keep])

    def __len__(self) -> int:
        return len(self.truth)


def completeness(recovered: Bool) -> Estimate:
    """Return the recovered fraction with its 95 % Wilson interval; NaN of no injections."""
    count, hits = len(recovered), int(recovered.sum())
    low, high = wilson_interval(hits, count)
    return _estimate(hits / count if count else np.nan, low, high)


def _estimate(value: ArrayLike = np.nan, low: ArrayLike = np.nan, high: ArrayLike = np.nan) -> Estimate:
    return Estimate(*(np.asarray(number, np.float64) for number in (value, low, high)))


def flux_bias(sample: Measured) -> float:
    """Return the weighted relative bias of the flux: sum(F f / s^2) / sum(F^2 / s^2) - 1.

    It is the slope, less one, of a line through the origin of measured on true flux, by weighted least
    squares.
    """
    weight = sample.truth / sample.error**2
    return float((weight * sample.flux).sum() / (weight * sample.truth).sum() - 1.0)


def pull_std(sample: Measured) -> float:
    """Return the standard deviation of (f - F) / s."""
    return float(np.std((sample.flux - sample.truth) / sample.error, ddof=1))


def pull_width(sample: Measured) -> float:
    """Return 1.4826 times the median absolute deviation of (f - F) / s: the width without its tails."""
    return robust_sigma((sample.flux - sample.truth) / sample.error)


def median_offset(sample: Measured) -> float:
    """Return the median distance, arcsec."""
    return float(np.median(sample.offset))


def with_interval(
    sample: Measured, figure: Callable[[Measured], float], rng: np.random.Generator, least: int = 5
) -> Estimate:
    """Return a figure with its 95 % bootstrap interval.

    Parameters
    ----------
    sample : `Measured`
        N rows, which are drawn with replacement.
    figure : `~collections.abc.Callable`
        `flux_bias`, `pull_std` or `median_offset`.
    rng : `numpy.random.Generator`
        Source of the draws.
    least : `int`, optional
        With fewer rows than this the figure is NaN.

    Returns
    -------
    estimate : `~dia_vetting.reliability.bootstrap.Estimate`
        Scalars.
    """
    if len(sample) < least:
        return _estimate()
    draws = rng.integers(0, len(sample), (_REPLICATES, len(sample)))
    low, high = percentile_interval(np.array([figure(sample.where(rows)) for rows in draws]))
    return _estimate(figure(sample), low, high)


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
    best = _fit_curve(log_snr, hit, np.array([np.log(5.0), np.log(0.1), 3.0]))
    if best is None:
        return _estimate()
    draws = rng.integers(0, len(hit), (_REPLICATES, len(hit)))
    fits = [_fit_curve(log_snr[rows], hit[rows], best) for rows in draws]
    replicates = np.array([np.nan if fit is None else _half_point(fit) for fit in fits])
    return _estimate(_half_point(best), *percentile_interval(replicates))


def _fit_curve(log_snr: F64, hit: Bool, start: F64) -> F64 | None:
    """Fit (m, ln w, logit c) by maximum likelihood; `None` where hits and misses do not mingle."""
    if not hit.any() or hit.all() or log_snr[hit].min() > log_snr[~hit].max():
        return None
    edges = np.linspace(np.log(_FIT_RANGE[0]), np.log(_FIT_RANGE[1]), _FIT_BINS + 1)
    trials, hits = np.histogram(log_snr, edges)[0], np.histogram(log_snr[hit], edges)[0]
    used = trials > 0
    middle = 0.5 * (edges[1:] + edges[:-1])[used]
    best = minimize(
        logistic_cost,
        start,
        args=(middle, hits[used], trials[used]),
        jac=True,
        method="L-BFGS-B",
        bounds=_FIT_BOUNDS,
    )
    return np.asarray(best.x, np.float64)


def logistic_cost(parameters: F64, x: F64, hits: NDArray[Any], trials: NDArray[Any]) -> tuple[float, F64]:
    """Return the mean negative log-likelihood of counts under a logistic curve, and its gradient.

    Parameters
    ----------
    parameters : `numpy.ndarray`, (3,), float64
        m, ln w and logit c of p = c / (1 + exp(-(x - m) / w)).
    x : `numpy.ndarray`, (N,), float64
        What p grows with.
    hits, trials : `numpy.ndarray`, (N,)
        Recovered and injected at each x.
    """
    centre, log_width, ceiling = parameters
    z = (x - centre) / np.exp(log_width)
    rise, top = expit(z), expit(ceiling)
    p = np.clip(top * rise, 1e-9, 1.0 - 1e-9)
    value = -(hits * np.log(p) + (trials - hits) * np.log1p(-p)).sum() / trials.sum()
    slope = -(hits / p - (trials - hits) / (1.0 - p)) / trials.sum()
    d_z = slope * top * rise * (1.0 - rise)
    gradient = np.array([-d_z.sum() / np.exp(log_width), -(d_z * z).sum(), (slope * p).sum() * (1.0 - top)])
    return float(value), gradient


def _half_point(parameters: F64) -> float:
    centre, log_width, ceiling = parameters
    top = float(expit(ceiling))
    return float(np.exp(centre - np.exp(log_width) * np.log(2.0 * top - 1.0))) if top > 0.5 else float("nan")
