"""Logistic curves with a ceiling and a threshold that may depend on other things, by maximum likelihood."""

from __future__ import annotations

__all__ = ["Logistic", "ThresholdFunction", "common_threshold", "fit_logistic_curve", "logistic_cost"]

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

type F64 = NDArray[np.float64]
type ThresholdFunction = Callable[[F64], tuple[F64, F64]]
"""From coefficients, (K,), to the threshold of each row, (N,), and its derivatives, (N, K)."""

_WIDTH_BOUNDS, _CEILING_BOUNDS = (-5.0, 2.0), (-8.0, 12.0)
"""Of ln(width) and logit(ceiling)."""


@dataclasses.dataclass(frozen=True)
class Logistic:
    """Parameters of p = ceiling / (1 + exp(-(x - threshold(coefficients)) / width)).

    Parameters
    ----------
    coefficients : `numpy.ndarray`, (K,), float64
        What the threshold, where half of the ceiling is reached, is made of.
    width : `float`
        In the unit of x; positive.
    ceiling : `float`
        What is reached far above the threshold, in (0, 1).
    """

    coefficients: F64
    width: float
    ceiling: float


def common_threshold(count: int) -> ThresholdFunction:
    """Return the function of one coefficient that is the threshold of all rows."""
    ones = np.ones((count, 1))
    return lambda coefficients: (ones @ coefficients, ones)


def logistic_cost(
    parameters: F64, x: F64, threshold: ThresholdFunction, hits: NDArray[Any], trials: NDArray[Any]
) -> tuple[float, F64]:
    """Return the mean negative log-likelihood of counts under a logistic curve, and its gradient.

    Parameters
    ----------
    parameters : `numpy.ndarray`, (K + 2,), float64
        The coefficients, ln(width) and logit(ceiling) of a `Logistic`.
    x : `numpy.ndarray`, (N,), float64
        What the efficiency grows with.
    threshold : `ThresholdFunction`
        Where half of the ceiling is reached.
    hits, trials : `numpy.ndarray`, (N,)
        Recovered and injected in each row.

    Returns
    -------
    cost : `float`
        Per trial.
    gradient : `numpy.ndarray`, (K + 2,), float64
        Its derivatives.
    """
    log_width, ceiling = parameters[-2:]
    centre, slopes = threshold(parameters[:-2])
    z = (x - centre) / np.exp(log_width)
    rise, top = expit(z), expit(ceiling)
    p = np.clip(top * rise, 1e-9, 1.0 - 1e-9)
    value = -(hits * np.log(p) + (trials - hits) * np.log1p(-p)).sum() / trials.sum()
    slope = -(hits / p - (trials - hits) / (1.0 - p)) / trials.sum()
    d_z = slope * top * rise * (1.0 - rise)
    last = [-(d_z * z).sum(), (slope * p).sum() * (1.0 - top)]
    return float(value), np.append(-(d_z @ slopes) / np.exp(log_width), last)


def fit_logistic_curve(
    x: F64,
    threshold: ThresholdFunction,
    hits: NDArray[Any],
    trials: NDArray[Any],
    start: Logistic,
    least: F64 | None = None,
) -> Logistic | None:
    """Fit a logistic curve by maximum likelihood.

    Parameters
    ----------
    x, threshold, hits, trials
        As for `logistic_cost`. Coefficients that the threshold does not depend on stay at their start.
    start : `Logistic`
        Where the search begins.
    least : `numpy.ndarray`, (K,), float64, optional
        Lower bounds of the coefficients.

    Returns
    -------
    fit : `Logistic` or `None`
        `None` where all or none were recovered.
    """
    if not 0 < hits.sum() < trials.sum():
        return None
    top = min(max(start.ceiling, 1e-3), 1.0 - 1e-3)
    first = np.append(start.coefficients, [np.log(start.width), np.log(top / (1.0 - top))])
    lower = np.full(len(start.coefficients), -np.inf) if least is None else least
    bounds = [(value, np.inf) for value in lower] + [_WIDTH_BOUNDS, _CEILING_BOUNDS]
    best = minimize(
        logistic_cost, first, (x, threshold, hits, trials), jac=True, method="L-BFGS-B", bounds=bounds
    )
    *coefficients, log_width, ceiling = np.asarray(best.x, np.float64)
    return Logistic(np.array(coefficients), float(np.exp(log_width)), float(expit(ceiling)))
