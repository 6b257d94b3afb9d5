"""What is fitted and measured on the validation stamps: calibration, thresholds, figures."""

from __future__ import annotations

__all__ = [
    "fit_calibration",
    "fit_count_weights",
    "fit_overlap_threshold",
    "make_metrics",
    "make_thresholds",
]

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import logsumexp

from ..reliability.bootstrap import draw_weights, grouped_rate
from .evaluation import threshold_at
from .prediction import BlendPrediction, Calibration
from .training_rows import TrainingRows

type F64 = NDArray[np.float64]
type Bool = NDArray[np.bool_]

_TNR = (0.9, 0.95, 0.99)
_REPLICATES = 200
_SCALES = (1e-3, 1e3)


def fit_calibration(kinds: NDArray[np.floating], rows: TrainingRows, offset: bool) -> Calibration:
    """Fit how logits of kinds become probabilities, by maximum likelihood.

    Parameters
    ----------
    kinds : `numpy.ndarray`, (N, K), floating
        Logits.
    rows : `~.training_rows.TrainingRows`
        Truth of the same N stamps.
    offset : `bool`
        Whether an offset is fitted beside the scale (Platt 1999), else the scale alone.

    Returns
    -------
    calibration : `Calibration`
        The scale is positive.
    """

    def loss(parameters: F64) -> float:
        calibration = Calibration(float(np.exp(parameters[0])), float(parameters[1]) if offset else 0.0)
        return float(-_likelihoods(calibration.log_probabilities(kinds), rows).mean())

    bounds = [tuple(np.log(_SCALES)), (None, None)]
    start = np.zeros(2 if offset else 1)
    if offset:
        start[1] = -float(np.median(kinds[:, 1] - kinds[:, 0]))
    fit = minimize(loss, start, method="L-BFGS-B", bounds=bounds[: len(start)])
    best = fit.x if loss(fit.x) <= loss(start) else start
    return Calibration(float(np.exp(best[0])), float(best[1]) if offset else 0.0)


def _likelihoods(log_p: F64, rows: TrainingRows) -> F64:
    """Return the log probability of what is true, as `~.networks.base.kind_losses` counts it."""
    if log_p.shape[1] == 2:
        return np.asarray(log_p[np.arange(len(rows)), (rows.kind == 1).astype(int)])
    exact = log_p[np.arange(len(rows)), rows.kind]
    loose = rows.any_companion & (rows.kind > 0)
    return np.where(loose, logsumexp(log_p[:, 1:], axis=1), exact)


def fit_count_weights(counts: NDArray[np.floating], rows: TrainingRows) -> tuple[float, float, float, float]:
    """Fit the weights of the numbers of sources, so that the mean of their F1 scores is as high as it can be.

    The largest probability alone neglects rare numbers, which count as much as others in that mean.

    Parameters
    ----------
    counts : `numpy.ndarray`, (N, 4), floating
        Probabilities of 1, 2, 3, 4 or more sources; all 1 is returned if any is NaN.
    rows : `~.training_rows.TrainingRows`
        Truth of the same N stamps.

    Returns
    -------
    weights : `tuple` [`float`, ...]
        Four, that of one source 1.
    """
    log_weights = np.zeros(4)
    if len(counts) == 0 or np.isnan(counts).any():
        return (1.0, 1.0, 1.0, 1.0)
    true = np.minimum(rows.count, 4) - 1
    log_p = np.log(np.maximum(counts, 1e-30))
    best = _macro_f1(log_p, true)
    for step in (0.4, 0.2, 0.1, 0.05):
        for column in (1, 2, 3, 1, 2, 3):
            for change in (-step, step):
                tried = log_weights.copy()
                tried[column] += change
                if (score := _macro_f1(log_p + tried, true)) > best:
                    best, log_weights = score, tried
    one, two, three, four = (float(weight) for weight in np.exp(log_weights))
    return one, two, three, four


def _macro_f1(scores: F64, true: NDArray[np.int64]) -> float:
    """Return the mean F1 of the numbers that there are, the largest score of a row being what is said."""
    cells = np.bincount(4 * true + scores.argmax(axis=1), minlength=16).reshape(4, 4)
    totals = cells.sum(axis=1) + cells.sum(axis=0)
    there = cells.sum(axis=1) > 0
    return float(np.mean(2.0 * np.diag(cells)[there] / totals[there]))


def fit_overlap_threshold(overlap: NDArray[np.float32], rows: TrainingRows) -> float:
    """Fit the probability from which pixels count as an overlap.

    The largest expected ratio of intersection to union R takes all pixels above R / (1 + R): a pixel of
    probability p adds p to the intersection and 1 - p to the union. That is below 0.5 wherever R is below 1.

    Parameters
    ----------
    overlap : `numpy.ndarray`, (N, S, S), float32
        Probabilities of an overlap.
    rows : `~.training_rows.TrainingRows`
        Truth of the same N stamps.

    Returns
    -------
    threshold : `float`
        Of 0.2, 0.25 to 0.6, the one with the highest mean ratio over stamps with an overlap; 0.5 if there is
        none.
    """
    there = np.flatnonzero((rows.maps > 1).any(axis=(1, 2)))
    if len(there) == 0 or np.isnan(overlap[there]).any():
        return 0.5
    said, true = overlap[there], rows.maps[there] > 1
    ratios = {}
    for threshold in np.round(np.arange(0.2, 0.61, 0.05), 2):
        above = said > threshold
        ratios[float(threshold)] = np.mean((above & true).sum((1, 2)) / (above | true).sum((1, 2)))
    return max(ratios, key=lambda threshold: ratios[threshold])


def make_thresholds(prediction: BlendPrediction, rows: TrainingRows) -> dict[str, float]:
    """Return the probabilities above which given fractions of what is not asked for do not lie.

    Parameters
    ----------
    prediction : `BlendPrediction`
        Of the validation stamps.
    rows : `~.training_rows.TrainingRows`
        Their truth.

    Returns
    -------
    thresholds : `dict` [`str`, `float`]
        ``tnr_0.99`` is the value of ``p_blend`` that 99 % of the stamps without a blend do not exceed,
        ``companion_tnr_0.99`` that of ``p_companion`` among single sources; so for 0.95 and 0.9. A name is
        left out where there is no such stamp.
    """
    thresholds = {}
    for prefix, values, negative in (
        ("", prediction.p_blend, _without_blend(rows)),
        ("companion_", prediction.p_companion, rows.kind == 0),
    ):
        values = values[negative & np.isfinite(values)]
        if len(values):
            for rate in _TNR:
                thresholds[f"{prefix}tnr_{rate:g}"] = threshold_at(values, rate)
    return thresholds


def _without_blend(rows: TrainingRows) -> Bool:
    return np.asarray(rows.kind != 1)


def make_metrics(
    prediction: BlendPrediction, rows: TrainingRows, thresholds: dict[str, float], rng: np.random.Generator
) -> dict[str, tuple[float, float, float]]:
    """Return figures on the validation stamps, with 95 % intervals over groups.

    Parameters
    ----------
    prediction : `BlendPrediction`
        Of the validation stamps.
    rows : `~.training_rows.TrainingRows`
        Their truth.
    thresholds : `dict`
        From `make_thresholds`.
    rng : `numpy.random.Generator`
        Source of the bootstrap.

    Returns
    -------
    metrics : `dict`
        ``accuracy`` and ``tpr_at_tnr_0.99`` of blends where what is blended is known exactly, the same of
        companions with the prefix ``companion_``, and ``count_accuracy`` where the method counts. Figures
        without a row are left out.
    """
    blend, companion = rows.kind == 1, rows.kind > 0
    exact = ~rows.any_companion
    rates: dict[str, tuple[Bool, Bool]] = {
        "accuracy": ((prediction.p_blend > 0.5) == blend, exact),
        "companion_accuracy": ((prediction.p_companion > 0.5) == companion, np.ones(len(rows), bool)),
        "count_accuracy": (
            prediction.n_sources == np.minimum(rows.count, 4),
            np.isfinite(prediction.n_sources),
        ),
    }
    for prefix, values, positive in (
        ("", prediction.p_blend, blend & exact),
        ("companion_", prediction.p_companion, companion),
    ):
        if f"{prefix}tnr_0.99" in thresholds:
            found = values > thresholds[f"{prefix}tnr_0.99"]
            rates[f"{prefix}tpr_at_tnr_0.99"] = (found, positive)
    return {name: _interval(good, of, rows, rng) for name, (good, of) in rates.items() if of.any()}


def _interval(
    good: Bool, of: Bool, rows: TrainingRows, rng: np.random.Generator
) -> tuple[float, float, float]:
    _, index = np.unique(rows.group, return_inverse=True)
    counts = [np.bincount(index, chosen)[:, None] for chosen in (good & of, of)]
    rate = grouped_rate(counts[0], counts[1], draw_weights(len(counts[0]), _REPLICATES, rng))
    return float(rate.value[0]), float(rate.low[0]), float(rate.high[0])
