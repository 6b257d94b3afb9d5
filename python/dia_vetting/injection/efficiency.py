"""Detection efficiency against magnitude: a logistic form, and whether half of the sky predicts the other."""

from __future__ import annotations

__all__ = ["LogisticFit", "efficiency_by_band", "fit_logistic", "holdout"]

import dataclasses
from typing import Any

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

from ..magnitudes import ab_magnitude
from ..reliability.bootstrap import percentile_interval
from ..seeding import generator
from ..skycells import sky_cell, sky_fold
from .recovery import logistic_cost

type F64 = NDArray[np.float64]
type Bool = NDArray[np.bool_]

_REPLICATES = 200
_NSIDE = 8192
"""Cells of 0.43 arcmin: injections on the same sky share its host and template."""
_MIN_COUNT = 100
_STEP = 0.5
"""Width of the bins in which halves are compared, mag."""


@dataclasses.dataclass(frozen=True)
class LogisticFit:
    """Logistic efficiency p(m) = ceiling / (1 + exp((m - m50) / width)).

    Parameters
    ----------
    m50 : `float`
        Magnitude at which half of the ceiling is reached.
    width : `float`
        mag.
    ceiling : `float`
        Efficiency at the bright end.
    """

    m50: float
    width: float
    ceiling: float

    def __call__(self, mag: F64) -> F64:
        """Return the efficiency at magnitudes."""
        return np.asarray(self.ceiling * expit((self.m50 - mag) / self.width), np.float64)


def fit_logistic(mag: F64, recovered: Bool) -> LogisticFit | None:
    """Fit the logistic form to injections by maximum likelihood.

    Parameters
    ----------
    mag : `numpy.ndarray`, (N,), float64
        AB magnitudes.
    recovered : `numpy.ndarray`, (N,), bool
        Whether each was recovered.

    Returns
    -------
    fit : `LogisticFit` or `None`
        `None` where all or none were recovered.
    """
    if not recovered.any() or recovered.all():
        return None
    brightness, trials = -mag, np.ones(len(mag))
    start = np.array([np.median(brightness), np.log(0.3), 3.0])
    bounds = [(brightness.min() - 3.0, brightness.max() + 3.0), (-4.0, 2.0), (-8.0, 12.0)]
    arguments = (brightness, recovered.astype(float), trials)
    best = minimize(logistic_cost, start, arguments, jac=True, method="L-BFGS-B", bounds=bounds)
    centre, log_width, ceiling = best.x
    return LogisticFit(float(-centre), float(np.exp(log_width)), float(expit(ceiling)))


def _columns(outcomes: Table) -> tuple[F64, Bool, NDArray[np.int64]]:
    """Return magnitude, recovered and sky cell of each injection."""
    mag = ab_magnitude(np.abs(np.asarray(outcomes["flux"], np.float64)))
    cells = sky_cell(np.asarray(outcomes["ra"]), np.asarray(outcomes["dec"]), _NSIDE)
    return mag, np.asarray(outcomes["recovered"], bool), cells


def _replicates(
    mag: F64, recovered: Bool, cells: NDArray[np.int64], rng: np.random.Generator
) -> list[LogisticFit]:
    """Return fits to samples of whole cells, drawn with replacement."""
    _, group = np.unique(cells, return_inverse=True)
    order = np.argsort(group, kind="stable")
    rows_of = np.split(order, np.cumsum(np.bincount(group))[:-1])
    fits = []
    for _ in range(_REPLICATES):
        rows = np.concatenate([rows_of[k] for k in rng.integers(0, len(rows_of), len(rows_of))])
        fit = fit_logistic(mag[rows], recovered[rows])
        if fit is not None:
            fits.append(fit)
    return fits


def efficiency_by_band(outcomes: Table, seed: int) -> dict[str, Any]:
    """Return the fits of each band with 95 % intervals.

    Parameters
    ----------
    outcomes : `astropy.table.Table`
        In `~dia_vetting.injection.schemas.INJECTION_OUTCOME`.
    seed : `int`
        Seed of the bootstrap over sky cells.

    Returns
    -------
    figures : `dict`
        By band: ``n``, and ``m50``, ``width``, ``ceiling``, each a dictionary of value, low, high; a band in
        which all or none were recovered has ``n`` only.
    """
    figures: dict[str, Any] = {}
    bands = np.asarray(outcomes["band"]).astype(str)
    for band in np.unique(bands):
        mag, recovered, cells = _columns(outcomes[bands == band])
        best = fit_logistic(mag, recovered)
        figures[str(band)] = {"n": len(mag)}
        if best is None:
            continue
        fits = _replicates(mag, recovered, cells, generator("efficiency", seed, band))
        for name, value in dataclasses.asdict(best).items():
            low, high = percentile_interval(np.array([getattr(fit, name) for fit in fits]))
            figures[str(band)][name] = {"value": value, "low": float(low), "high": float(high)}
    return figures


def holdout(outcomes: Table, seed: int) -> dict[str, Any]:
    """Fit each band on one half of the sky and compare with the other.

    Parameters
    ----------
    outcomes : `astropy.table.Table`
        In `~dia_vetting.injection.schemas.INJECTION_OUTCOME`.
    seed : `int`
        Decides which sky cell is in which half, and seeds the bootstrap.

    Returns
    -------
    figures : `dict`
        By band: ``m50_difference`` (second half minus first, mag), ``n_bins`` of half a magnitude with at
        least 100 injections of the second half, and ``largest_pull`` among them: recovered minus predicted,
        over the root of the binomial variance and of that of the prediction (bootstrap over sky cells).
        Bands without a fit are left out.
    """
    figures: dict[str, Any] = {}
    bands = np.asarray(outcomes["band"]).astype(str)
    for band in np.unique(bands):
        mag, recovered, cells = _columns(outcomes[bands == band])
        half = sky_fold(cells, 2, seed)
        first, second = half == 0, half == 1
        fit, other = fit_logistic(mag[first], recovered[first]), fit_logistic(mag[second], recovered[second])
        if fit is None or other is None:
            continue
        fits = _replicates(mag[first], recovered[first], cells[first], generator("holdout", seed, band))
        pulls = _bin_pulls(fit, fits, mag[second], recovered[second])
        figures[str(band)] = {
            "m50_difference": other.m50 - fit.m50,
            "n_bins": len(pulls),
            "largest_pull": max(map(abs, pulls), default=None),
        }
    return figures


def _bin_pulls(fit: LogisticFit, fits: list[LogisticFit], mag: F64, recovered: Bool) -> list[float]:
    bins = np.floor(mag / _STEP).astype(np.int64)
    pulls = []
    for index in np.unique(bins):
        mine = bins == index
        if mine.sum() < _MIN_COUNT:
            continue
        expected = fit(mag[mine])
        spread = np.var([replicate(mag[mine]).sum() for replicate in fits])
        variance = float((expected * (1.0 - expected)).sum() + spread)
        pulls.append(float((recovered[mine].sum() - expected.sum()) / np.sqrt(max(variance, 1e-9))))
    return pulls
