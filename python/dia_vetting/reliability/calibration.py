"""From logits of "injected or unlabelled" to the probability of being real, at any prevalence.

A network that tells injected from unlabelled learns P(injected), which falls short of P(real) by what hides
among the unlabelled. With pi the fraction of the unlabelled that is real (`~dia_vetting.reliability.prior`)
and L(z) = p_real(z) / p_artefact(z) the likelihood ratio at logit z,

    P(injected | z) = n_i L / (n_i L + n_u (pi L + 1 - pi)),
    P(real | z, prevalence rho) = rho L / (rho L + 1 - rho).

The first is a logistic with a ceiling (Elkan & Noto 2008, doi:10.1145/1401890.1401920; Ward et al. 2009,
Biometrics 65, 554), here with pi given. log L is taken as a rising, piecewise linear function of z and fitted
by maximum likelihood; the second then follows by Bayes' theorem.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import lsq_linear
from scipy.special import expit

from .bootstrap import draw_weights, grouped_rate
from .folds import TooFewExamplesError
from .prior import MIN_ROWS, check_rows, group_index

__all__ = ["Calibration", "expected_calibration_error", "fit_calibration", "reliability_curve"]

type F64 = NDArray[np.float64]
type I64 = NDArray[np.int64]
type Bool = NDArray[np.bool_]

_N_SEGMENTS = 8
_ROUGHNESS = 0.03  # penalty on differences of neighbouring slopes, of standardised logits
_MAX_STEPS = 200
_LEAST_GAIN = 1e-6  # of the log likelihood
_DAMPING = 1e-9
_STEEPEST = 100.0  # slope, where classes do not overlap
_FLATTEST = 1e-8  # below it, a slope is 0 that rounding has left
_LARGEST_LOG_RATIO = 60.0
_LARGEST_LOGIT = 1e30  # in place of infinity, which times a slope of 0 is no number
_BELOW_ONE = np.nextafter(np.float32(1), np.float32(0))


@dataclasses.dataclass(frozen=True)
class Calibration:
    """How a logit becomes a probability.

    Parameters
    ----------
    knots : `tuple` [`float`, ...]
        K + 1 logits where the slope changes; the outer segments go on beyond the first and the last. Empty
        where the logits tell nothing.
    intercept : `float`
        log L at the first knot.
    slopes : `tuple` [`float`, ...]
        d log L / d logit in the K segments, none negative.
    n_injected, n_artefacts : `float`
        Rows that real sources and artefacts were learnt from, which bound what is known: L is taken as
        (L + 1 / n_injected) / (1 + L / n_artefacts), as if one row more of each class were of the other.
    """

    knots: tuple[float, ...]
    intercept: float
    slopes: tuple[float, ...]
    n_injected: float
    n_artefacts: float

    def log_likelihood_ratio(self, logit: NDArray[np.floating]) -> F64:
        """Return log p_real / p_artefact.

        Parameters
        ----------
        logit : `numpy.ndarray`, (...), floating
            Logits of the network.

        Returns
        -------
        log_ratio : `numpy.ndarray`, (...), float64
            Within (-log n_injected, log n_artefacts), rising with ``logit``; NaN where that is NaN.
        """
        z = np.clip(np.asarray(logit, np.float64), -_LARGEST_LOGIT, _LARGEST_LOGIT)
        if not self.slopes:
            return np.where(np.isnan(z), np.nan, 0.0)
        raw = self.intercept + _ramps(z, np.array(self.knots)) @ np.array(self.slopes)
        ratio = np.exp(np.clip(raw, -_LARGEST_LOG_RATIO, _LARGEST_LOG_RATIO))
        return np.asarray(np.log((ratio + 1.0 / self.n_injected) / (1.0 + ratio / self.n_artefacts)))

    def reliability(self, logit: NDArray[np.floating], prevalence: float) -> NDArray[np.float32]:
        """Return the probability of being real.

        Parameters
        ----------
        logit : `numpy.ndarray`, (...), floating
            Logits of the network.
        prevalence : `float`
            Fraction of real sources among those that are scored, in (0, 1).

        Returns
        -------
        reliability : `numpy.ndarray`, (...), float32
            In (0, 1), never exactly 0 or 1; NaN where the logit is NaN.

        Raises
        ------
        ValueError
            If the prevalence is not in (0, 1).
        """
        if not 0.0 < prevalence < 1.0:
            raise ValueError(f"A prevalence lies in (0, 1), not {prevalence}.")
        probability = expit(self.log_likelihood_ratio(logit) + np.log(prevalence) - np.log1p(-prevalence))
        tiny = np.finfo(np.float32).tiny
        return np.clip(np.asarray(probability, np.float32), tiny, _BELOW_ONE)

    def to_dict(self) -> dict[str, float | list[float]]:
        """Return plain numbers, as JSON holds them."""
        return {
            "knots": list(self.knots),
            "intercept": self.intercept,
            "slopes": list(self.slopes),
            "n_injected": self.n_injected,
            "n_artefacts": self.n_artefacts,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Calibration:
        """Make a calibration from what `to_dict` returned.

        Parameters
        ----------
        values : `~collections.abc.Mapping`
            Numbers by name.

        Returns
        -------
        calibration : `Calibration`
            The same.

        Raises
        ------
        ValueError
            If a number is missing, is none or is out of its range.
        """
        try:
            knots, slopes = (tuple(float(x) for x in values[name]) for name in ("knots", "slopes"))
            scalars = [float(values[name]) for name in ("intercept", "n_injected", "n_artefacts")]
        except (KeyError, TypeError) as error:
            raise ValueError(f"Not a calibration: {error!r}.") from error
        segments = len(knots) == len(slopes) + 1 if slopes else not knots
        if not (
            segments
            and np.isfinite([*knots, *slopes, *scalars]).all()
            and all(low < high for low, high in itertools.pairwise(knots))
            and min(slopes, default=0.0) >= 0.0
            and min(scalars[1:]) > 0.0
        ):
            raise ValueError(f"Not a calibration: {dict(values)}.")
        return cls(knots, scalars[0], slopes, scalars[1], scalars[2])


def fit_calibration(
    logit: NDArray[np.floating], injected: Bool, prior: float, weights: NDArray[np.floating] | None = None
) -> Calibration:
    """Fit the likelihood ratio of real sources and artefacts.

    Parameters
    ----------
    logit : `numpy.ndarray`, (N,), floating
        Out-of-fold logits.
    injected : `numpy.ndarray`, (N,), bool
        Whether a row is an injection; all others are unlabelled.
    prior : `float`
        Fraction of the unlabelled that are real, in [0, 1).
    weights : `numpy.ndarray`, (N,), floating, optional
        Weights of the rows, which count as so many rows; 1 by default.

    Returns
    -------
    calibration : `Calibration`
        The likelihood ratio, which no prevalence enters.

    Raises
    ------
    ValueError
        If the lengths differ, or a logit, the prior or a weight is not finite or is out of its range.
    TooFewExamplesError
        If there are fewer than `~dia_vetting.reliability.prior.MIN_ROWS` of a class, or so large a prior that
        fewer artefacts are left.

    Notes
    -----
    The eight segments of log L have their knots at quantiles of the two classes with the same weight. The
    squared difference of neighbouring slopes is penalised a little, which draws them to one straight line
    where rows are few.
    """
    check_rows(logit, injected)
    if not 0.0 <= prior <= 1.0:
        raise ValueError(f"The prior lies in [0, 1), not {prior}.")
    rows = np.ones(len(logit)) if weights is None else np.asarray(weights, np.float64)
    if rows.shape != logit.shape or not np.isfinite(rows).all() or (rows < 0).any():
        raise ValueError("Weights of rows are finite, not negative and as many as there are logits.")
    n_injected, n_unlabelled = float(rows[injected].sum()), float(rows[~injected].sum())
    n_artefacts = n_unlabelled * (1.0 - prior)
    if min(n_injected, n_artefacts) < MIN_ROWS:
        raise TooFewExamplesError(
            f"{n_injected:.0f} injected DIA sources and, if {prior:.3f} of the {n_unlabelled:.0f} unlabelled "
            f"are real, {n_artefacts:.0f} artefacts; at least {MIN_ROWS} of each are needed to calibrate.",
            injected=n_injected,
            unlabelled=n_unlabelled,
            prior=prior,
        )
    z = np.asarray(logit, np.float64)
    balanced = np.where(injected, 0.5 / n_injected, 0.5 / n_unlabelled) * rows
    knots = _knots(z, balanced)
    if len(knots) < 2:
        return Calibration((), 0.0, (), n_injected, n_artefacts)
    scale = float(np.sqrt(np.sum(balanced * (z - np.sum(balanced * z)) ** 2)))
    intercept, slopes = _maximise(_ramps(z, knots) / scale, injected, rows, prior)
    return Calibration(
        tuple(map(float, knots)),
        intercept,
        tuple(float(slope) for slope in slopes / scale),
        n_injected,
        n_artefacts,
    )


def _knots(z: F64, balanced: F64) -> F64:
    order = np.argsort(z, kind="stable")
    cumulative = np.cumsum(balanced[order])
    wanted = np.linspace(0.02, 0.98, _N_SEGMENTS + 1) * cumulative[-1]
    return np.unique(z[order][np.searchsorted(cumulative, wanted).clip(0, len(z) - 1)])


def _ramps(z: F64, knots: F64) -> F64:
    """Return how far z has come in each segment, (..., K): log L is linear in these, with its slopes."""
    low, high = knots[:-1].copy(), knots[1:].copy()
    low[0], high[-1] = -np.inf, np.inf
    return np.clip(z[..., None], low, high) - knots[:-1]


def _maximise(ramps: F64, injected: Bool, rows: F64, prior: float) -> tuple[float, F64]:
    """Return intercept and slopes of log L that make the classes most likely.

    Fisher scoring with bounds on the slopes, from the fit without hidden ones, which is a logistic regression
    and has one maximum, to that with them, which is flat where L is large and starts near its own.
    """
    means = np.average(ramps, axis=0, weights=rows)
    design = np.column_stack([np.ones(len(ramps)), ramps - means])
    parameters = np.r_[0.0, np.ones(ramps.shape[1])]
    for fraction in (0.0, prior):
        parameters = _score(design, injected, rows, fraction, parameters)
    slopes = np.where(parameters[1:] > _FLATTEST, parameters[1:], 0.0)
    return float(parameters[0] - means @ slopes), slopes


def _score(design: F64, injected: Bool, rows: F64, prior: float, parameters: F64) -> F64:
    """Step to the least penalised loss: minus the log likelihood."""
    log_i, log_u = np.log(rows[injected].sum()), np.log(rows[~injected].sum())
    log_real, log_artefact = np.log(max(prior, np.finfo(float).tiny)), np.log1p(-prior)
    n = design.shape[1]
    differences = np.zeros((max(n - 2, 0), n))
    differences[:, 1:] = np.diff(np.eye(n - 1), axis=0)
    penalty = _ROUGHNESS * differences.T @ differences
    low, high = np.r_[-np.inf, np.zeros(n - 1)], np.r_[np.inf, np.full(n - 1, _STEEPEST)]

    def log_odds(g: F64) -> F64:
        return np.asarray(log_i + g - log_u - np.logaddexp(log_real + g, log_artefact))

    def loss(theta: F64) -> float:
        eta = log_odds(design @ theta)
        return float(rows @ (np.logaddexp(0.0, eta) - injected * eta) + theta @ penalty @ theta)

    value = loss(parameters)
    for _ in range(_MAX_STEPS):
        g = design @ parameters
        artefact = expit(log_artefact - log_real - g)  # d log odds / dg: an unlabelled one is an artefact
        p = expit(log_odds(g))
        gradient = design.T @ (rows * (p - injected) * artefact) + 2.0 * penalty @ parameters
        information = (design.T * (rows * p * (1.0 - p) * artefact**2)) @ design + 2.0 * penalty
        information += _DAMPING * np.trace(information) / n * np.eye(n)
        root = np.linalg.cholesky(information).T
        step = lsq_linear(root, -np.linalg.solve(root.T, gradient), (low - parameters, high - parameters)).x
        for shorter in 0.5 ** np.arange(20):
            trial = np.clip(parameters + shorter * step, low, high)
            if loss(trial) < value:
                break
        else:
            return parameters
        parameters, before, value = trial, value, loss(trial)
        if before - value < _LEAST_GAIN:
            return parameters
    return parameters


def expected_calibration_error(reliability: NDArray[np.floating], truth: Bool, n_bins: int = 10) -> float:
    """Return how far predicted probabilities are from observed fractions, on average over rows.

    The absolute difference of mean prediction and observed fraction in bins of equal width, weighted by their
    rows (Naeini et al. 2015, AAAI 29, 2901; Guo et al. 2017, arXiv:1706.04599).

    Parameters
    ----------
    reliability : `numpy.ndarray`, (N,), floating
        Predicted probabilities, at the prevalence of these rows.
    truth : `numpy.ndarray`, (N,), bool
        Whether a row is real.
    n_bins : `int`, optional
        Number of bins.

    Returns
    -------
    error : `float`
        In [0, 1]; NaN without rows.
    """
    if not len(truth):
        return float("nan")
    excess = np.bincount(_bin(reliability, n_bins), np.asarray(reliability, np.float64) - truth, n_bins)
    return float(np.abs(excess).sum() / len(truth))


def reliability_curve(
    reliability: NDArray[np.floating],
    truth: Bool,
    groups: I64 | None,
    rng: np.random.Generator,
    n_bins: int = 10,
    n_replicates: int = 400,
    level: float = 0.95,
) -> dict[str, Any]:
    """Return a reliability diagram: observed against predicted probability, in bins of equal width.

    Parameters
    ----------
    reliability : `numpy.ndarray`, (N,), floating
        Predicted probabilities, at the prevalence of these rows.
    truth : `numpy.ndarray`, (N,), bool
        Whether a row is real.
    groups : `numpy.ndarray`, (N,), int64, or `None`
        Sky cell of each row; `None` if each is on its own.
    rng : `numpy.random.Generator`
        Source of randomness.
    n_bins : `int`, optional
        Number K of bins.
    n_replicates : `int`, optional
        Number of bootstrap replicates.
    level : `float`, optional
        Coverage of the intervals.

    Returns
    -------
    curve : `dict`
        ``edges`` (K + 1,), ``n`` (K,) rows, ``predicted`` (K,), their mean, and ``observed``, an `Estimate`
        of (K,) from `~dia_vetting.reliability.bootstrap.grouped_rate`; NaN where a bin is empty.
    """
    index, n_groups = group_index(groups, len(truth))
    flat = index * n_bins + _bin(reliability, n_bins)

    def count(values: NDArray[Any]) -> F64:
        return np.bincount(flat, values, n_groups * n_bins).reshape(n_groups, n_bins)

    rows, real = count(np.ones(len(truth))), count(truth)
    n = rows.sum(axis=0)
    observed = grouped_rate(real, rows, draw_weights(n_groups, n_replicates, rng), level)
    with np.errstate(invalid="ignore"):
        predicted = count(np.asarray(reliability, np.float64)).sum(axis=0) / n
    return {
        "edges": np.linspace(0.0, 1.0, n_bins + 1),
        "n": n.astype(np.int64),
        "predicted": predicted,
        "observed": observed,
    }


def _bin(reliability: NDArray[np.floating], n_bins: int) -> I64:
    return np.asarray(np.clip(np.floor(reliability * n_bins), 0, n_bins - 1), np.int64)
