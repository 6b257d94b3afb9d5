"""Whether reliability is the probability that it claims to be: of all sources, by SNR and by flux sign.

A score is a probability at one prevalence, a sample has another. Bayes' rule takes the one to the other, and
what is compared is prediction and sample, both at the prevalence of the sample.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from astropy.table import Table, vstack
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit

from ..seeding import generator
from .bootstrap import Estimate, grouped_rate, percentile_interval
from .calibration import expected_calibration_error, reliability_curve
from .evaluation_curves import curve_table
from .metrics import Sample
from .schemas import RELIABILITY_CURVE
from .subsets import SNR_SUBSETS

__all__ = ["CALIBRATED_SUBSETS", "Predictions", "calibrate", "change_prevalence", "probability_injected"]

type Bool = NDArray[np.bool_]
type F64 = NDArray[np.float64]

CALIBRATED_SUBSETS = ("all", *SNR_SUBSETS, "positive_flux", "negative_flux")
"""Parts of a sample of which calibration is measured."""

N_BINS = 10


def change_prevalence(probability: ArrayLike, before: float, after: float) -> F64:
    """Take the probability of being real from one prevalence to another (Bayes' rule, in odds).

    Parameters
    ----------
    probability : array_like, (...)
        At the prevalence ``before``.
    before, after : `float`
        Fractions of real sources, in (0, 1).

    Returns
    -------
    probability : `numpy.ndarray`, (...), float64
        At the prevalence ``after``.
    """
    with np.errstate(divide="ignore"):
        odds = logit(np.asarray(probability, np.float64))
    return np.asarray(expit(odds + logit(after) - logit(before)))


def probability_injected(
    probability: ArrayLike, prevalence: float, injected_fraction: float, prior: float
) -> F64:
    """Return the probability that a source of a labelled sample was injected.

    It falls short of that of being real by what hides among the unlabelled; see `.calibration` for the
    formula.

    Parameters
    ----------
    probability : array_like, (...)
        Of being real, at the prevalence that follows.
    prevalence : `float`
        Fraction of real sources that the probability assumes.
    injected_fraction : `float`
        Fraction of injections in the sample, in (0, 1).
    prior : `float`
        Fraction of real sources among the unlabelled of the sample.

    Returns
    -------
    probability : `numpy.ndarray`, (...), float64
        Of being injected.
    """
    # What is real in the sample, and of that what was injected.
    real = injected_fraction + (1.0 - injected_fraction) * prior
    return change_prevalence(probability, prevalence, real) * injected_fraction / real


@dataclasses.dataclass(frozen=True)
class Predictions:
    """Probabilities and the sample they are about.

    Parameters
    ----------
    name : `str`
        Comparison.
    sample : `~.metrics.Sample`
        N rows.
    probability : `numpy.ndarray`, (N,), float64
        That a row is positive, at the prevalence of the sample.
    """

    name: str
    sample: Sample
    probability: F64


def calibrate(
    predictions: Predictions, masks: Mapping[str, Bool], replicates: int, seed: int
) -> tuple[dict[str, Any], Table]:
    """Compare predicted with observed fractions.

    Parameters
    ----------
    predictions : `Predictions`
        N probabilities and their sample.
    masks : `~collections.abc.Mapping` [`str`, `numpy.ndarray`]
        Subsets, bool (N,); those of `CALIBRATED_SUBSETS` are used.
    replicates : `int`
        Bootstrap replicates.
    seed : `int`
        Seed of the bootstrap.

    Returns
    -------
    figures : `dict`
        By subset: ``n``, ``mean_predicted``, ``observed_fraction``, ``expected_calibration_error``, and
        ``error_by_chance``: what the error would be on average if every probability were right.
    curves : `astropy.table.Table`
        `RELIABILITY_CURVE`, of the curve ``calibration``.
    """
    sample, everything = predictions.sample, np.ones(len(predictions.sample.score), bool)
    figures: dict[str, Any] = {}
    parts = [RELIABILITY_CURVE.empty()]
    for subset in CALIBRATED_SUBSETS:
        keep = everything if subset == "all" else masks[subset]
        part, probability = sample.where(keep), predictions.probability[keep]
        rng = generator(seed, "calibration", predictions.name, subset)
        figures[subset] = _figures(part, probability, part.weights(replicates, rng))
        if len(probability):
            parts.append(_curve(predictions.name, subset, part, probability, rng, replicates))
    return figures, vstack(parts, metadata_conflicts="silent")


def _curve(
    name: str, subset: str, part: Sample, probability: F64, rng: np.random.Generator, replicates: int
) -> Table:
    curve = reliability_curve(probability, part.positive, part.group, rng, N_BINS, replicates)
    edges = curve["edges"]
    columns = ("calibration", curve["predicted"], edges[:-1], edges[1:], curve["observed"], curve["n"])
    return curve_table(name, subset, np.nan, [columns])


def _figures(part: Sample, probability: F64, weights: NDArray[np.float32]) -> dict[str, Any]:
    index, n_groups = part.group_index()
    rows = np.bincount(index, minlength=n_groups)[:, None].astype(float)
    positives = np.bincount(index, part.positive, minlength=n_groups)[:, None].astype(float)
    return {
        "n": len(probability),
        "mean_predicted": float(probability.mean()) if len(probability) else float("nan"),
        "observed_fraction": grouped_rate(positives, rows, weights).at(0).summary(),
        "expected_calibration_error": _error(part, probability, weights).summary(),
        "error_by_chance": _by_chance(probability),
    }


def _error(part: Sample, probability: F64, weights: NDArray[np.float32]) -> Estimate:
    """Return the expected calibration error.

    The noise of replicates only ever adds to it, so that the interval is that of the bootstrap about its own
    mean, moved to the value (Davison & Hinkley 1997, section 5.2) and cut at 0.
    """
    value = expected_calibration_error(probability, part.positive, N_BINS)
    index, n_groups = part.group_index()
    if n_groups < 2:
        return Estimate.of(value)
    bins = np.clip(np.floor(probability * N_BINS), 0, N_BINS - 1).astype(np.int64)
    excess = np.bincount(index * N_BINS + bins, probability - part.positive, n_groups * N_BINS)
    drawn = np.abs(weights @ excess.reshape(n_groups, N_BINS)).sum(axis=1) / (weights @ np.bincount(index))
    low, high = percentile_interval((drawn - drawn.mean())[:, None])
    return Estimate.of(value, max(value + low[0], 0.0), value + high[0])


def _by_chance(probability: F64) -> float:
    """Return the mean error of probabilities that are right: sum over bins of E |N(0, sum p (1 - p))|."""
    if not len(probability):
        return float("nan")
    bins = np.clip(np.floor(probability * N_BINS), 0, N_BINS - 1).astype(np.int64)
    variance = np.bincount(bins, probability * (1.0 - probability), N_BINS)
    return float(np.sqrt(2.0 / np.pi * variance).sum() / len(probability))
