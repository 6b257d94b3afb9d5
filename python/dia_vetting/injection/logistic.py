"""Logistic curves with a ceiling and a threshold that may depend on other things, by maximum likelihood."""

from __future__ import annotations

__all__ = ["Threshold", "fit_threshold", "logistic_cost"]

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

type F64 = NDArray[np.float64]
type Bool = NDArray[np.bool_]

_WIDTH_BOUNDS, _CEILING_BOUNDS = (-5.0, 2.0), (-8.0, 12.0)
"""Of ln(width) and logit(ceiling)."""


@dataclasses.dataclass(frozen=True)
class Threshold:
    """Efficiency p = ceiling / (1 + exp(-(x - design @ coefficients) / width)).

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

    def __call__(self, x: F64, design: F64) -> F64:
        """Return the efficiency at x, (N,), with the design, (N, K)."""
        z = (x - design @ self.coefficients) / self.width
        return np.asarray(self.ceiling * expit(z), np.float64)


def logistic_cost(
    parameters: F64, x: F64, design: F64, hits: NDArray[Any], trials: NDArray[Any]
) -> tuple[float, F64]:
    """Return the mean negative log-likelihood of counts under a logistic curve, and its gradient.

    Parameters
    ----------
    parameters : `numpy.ndarray`, (K + 2,), float64
        The coefficients, ln(width) and logit(ceiling) of a `Threshold`.
    x : `numpy.ndarray`, (N,), float64
        What the efficiency grows with.
    design : `numpy.ndarray`, (N, K), float64
        Factors of the coefficients.
    hits, trials : `numpy.ndarray`, (N,)
        Recovered and injected in each row.

    Returns
    -------
    cost : `float`
        Per trial.
    gradient : `numpy.ndarray`, (K + 2,), float64
        Its derivatives.
    """
    coefficients, log_width, ceiling = parameters[:-2], parameters[-2], parameters[-1]
    width = np.exp(log_width)
    z = (x - design @ coefficients) / width
    rise, top = expit(z), expit(ceiling)
    p = np.clip(top * rise, 1e-9, 1.0 - 1e-9)
    value = -(hits * np.log(p) + (trials - hits) * np.log1p(-p)).sum() / trials.sum()
    slope = -(hits / p - (trials - hits) / (1.0 - p)) / trials.sum()
    d_z = slope * top * rise * (1.0 - rise)
    last = [-(d_z * z).sum(), (slope * p).sum() * (1.0 - top)]
    return float(value), np.append(-(d_z @ design) / width, last)


def fit_threshold(
    x: F64, design: F64, hits: NDArray[Any], trials: NDArray[Any], start: Threshold
) -> Threshold | None:
    """Fit a `Threshold` by maximum likelihood.

    Parameters
    ----------
    x, design, hits, trials : `numpy.ndarray`
        As for `logistic_cost`. A coefficient whose column is zero stays at its start.
    start : `Threshold`
        Where the search begins.

    Returns
    -------
    fit : `Threshold` or `None`
        `None` where all or none were recovered.
    """
    if not 0 < hits.sum() < trials.sum():
        return None
    used = trials > 0
    top = min(max(start.ceiling, 1e-3), 1.0 - 1e-3)
    first = np.append(start.coefficients, [np.log(start.width), np.log(top / (1.0 - top))])
    bounds = [(None, None)] * design.shape[1] + [_WIDTH_BOUNDS, _CEILING_BOUNDS]
    best = minimize(
        logistic_cost,
        first,
        (x[used], design[used], hits[used], trials[used]),
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
    )
    *coefficients, log_width, ceiling = np.asarray(best.x, np.float64)
    return Threshold(np.array(coefficients), float(np.exp(log_width)), float(expit(ceiling)))
