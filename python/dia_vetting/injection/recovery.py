"""Completeness, photometry and astrometry of recovered injections, with intervals."""

from __future__ import annotations

__all__ = [
    "SNR_EDGES",
    "Measured",
    "completeness",
    "fifty_percent",
    "flux_bias",
    "median_offset",
    "pull_std",
    "with_interval",
]

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from ..reliability.bootstrap import Estimate, percentile_interval, wilson_interval

type F64 = NDArray[np.float64]
type Bool = NDArray[np.bool_]

SNR_EDGES = (0.0, 2.0, 3.0, 4.0, 4.5, 5.0, 5.5, 6.0, 6.5, 7.0, 8.0, 10.0, 15.0, 25.0, 50.0, 100.0, np.inf)
"""Edges of the bins of expected signal-to-noise ratio."""

_FIT_RANGE = (1.0, 40.0)
_FIT_BINS = 120
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
    return Estimate(np.float64(hits / count if count else np.nan), low, high)


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
        nan = np.float64(np.nan)
        return Estimate(nan, nan, nan)
    draws = rng.integers(0, len(sample), (_REPLICATES, len(sample)))
    low, high = percentile_interval(np.array([figure(sample.where(rows)) for rows in draws]))
    return Estimate(np.float64(figure(sample)), low, high)


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
        With its 95 % bootstrap interval. NaN if there are no hits or no misses in the range, or the curve
        does not reach one half.
    """
    inside = (snr >= _FIT_RANGE[0]) & (snr < _FIT_RANGE[1])
    log_snr, hit = np.log(snr[inside]), recovered[inside]
    value = _fit_counts(log_snr, hit)
    replicates = np.array(
        [_fit_counts(log_snr[rows], hit[rows]) for rows in _draws(len(hit), rng, np.isfinite(value))]
    )
    if not len(replicates):
        return Estimate(np.float64(np.nan), np.float64(np.nan), np.float64(np.nan))
    low, high = percentile_interval(replicates)
    return Estimate(np.float64(value), low, high)


def _draws(count: int, rng: np.random.Generator, wanted: bool | np.bool_) -> NDArray[np.int64]:
    return rng.integers(0, max(count, 1), (_REPLICATES if wanted else 0, count))


def _fit_counts(log_snr: F64, hit: Bool) -> float:
    if not hit.any() or hit.all():
        return float("nan")
    edges = np.linspace(*np.log(_FIT_RANGE), _FIT_BINS + 1)
    trials, _ = np.histogram(log_snr, edges)
    hits, _ = np.histogram(log_snr[hit], edges)
    middle = 0.5 * (edges[1:] + edges[:-1])

    def cost(parameters: F64) -> float:
        p = np.clip(_curve(middle, parameters), 1e-9, 1 - 1e-9)
        return -float((hits * np.log(p) + (trials - hits) * np.log(1 - p)).sum()) / len(log_snr)

    start = np.array([np.median(log_snr[hit]) - 0.3, np.log(0.1), 3.0])
    best = minimize(cost, start, method="Nelder-Mead", options={"maxiter": 400, "xatol": 1e-4, "fatol": 1e-7})
    centre, log_width, ceiling = best.x
    top = 1.0 / (1.0 + np.exp(-ceiling))
    if top <= 0.5:
        return float("nan")
    return float(np.exp(centre - np.exp(log_width) * np.log(2.0 * top - 1.0)))


def _curve(log_snr: F64, parameters: F64) -> F64:
    centre, log_width, ceiling = parameters
    argument = np.clip((log_snr - centre) / np.exp(np.clip(log_width, -6, 3)), -50, 50)
    return np.asarray(1.0 / (1.0 + np.exp(-ceiling)) / (1.0 + np.exp(-argument)), np.float64)
