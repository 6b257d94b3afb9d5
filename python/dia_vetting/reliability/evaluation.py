"""All figures and curves of an evaluation, from one table of scored DIA sources."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from astropy.table import Table, vstack
from numpy.typing import NDArray

from ..seeding import generator
from ..skycells import sky_cell
from .bootstrap import Estimate, wilson_interval
from .curves import CurveSummary, summarise_curves, threshold_at_fpr
from .evaluation_blends import blend_figures
from .evaluation_calibration import (
    CALIBRATED_SUBSETS,
    Predictions,
    calibrate,
    change_prevalence,
    probability_injected,
)
from .evaluation_contamination import contamination_figures
from .evaluation_curves import HOST_BINS, binned_table, difference_magnitude, roc_pr_table
from .evaluation_rows import usable
from .labels import State
from .metrics import Sample, confusion_counts, threshold_rates
from .schemas import RELIABILITY_CURVE
from .stated_prevalence import purity_at_prevalence_estimate
from .subsets import COMPLETENESS_ONLY, pair_figures, subset_figures, subset_masks
from .truth_matching import REAL, TRANSIENT

__all__ = ["COMPARISONS", "SELECTIONS", "EvaluationSettings", "count_rows", "evaluate"]

type Bool = NDArray[np.bool_]
type F64 = NDArray[np.float64]

COMPARISONS = {
    "injected_vs_unlabelled": "Labels: injections against everything else, hidden real sources among it.",
    "real_vs_artefact": "Truth: injected, hidden, variable and moving sources against artefacts.",
    "transient_vs_artefact": "Truth: injected and hidden transients against artefacts only.",
    "uninjected_real_vs_artefact": "Truth: hidden, variable and moving sources against artefacts only.",
}
"""What is told from what, positives first. All are made of the sources labelled injected or unlabelled."""

SELECTIONS = {"all": 0.0, "snr6": 6.0, "snr8": 8.0}
"""Smallest signal-to-noise ratio of each selection. OSS-REQ-0353 is about SNR >= 6."""

FPR_POINTS = (0.001, 0.0015, 0.01, 0.05)
PURITY = 0.95
"""Purity that OSS-REQ-0353 asks for (with a completeness of 0.90)."""


@dataclasses.dataclass(frozen=True)
class EvaluationSettings:
    """How to evaluate.

    Parameters
    ----------
    thresholds : `~collections.abc.Mapping` [`str`, `float`]
        Scores from which on a source is called real, by name; fixed before this sample was looked at.
    nside : `int`
        HEALPix resolution of the sky groups.
    replicates : `int`
        Bootstrap replicates.
    seed : `int`
        Seed of the bootstrap.
    prevalence : `float`
        Fraction of real sources of the figures that say so in their name; all others are those of the sample.
    score_prevalence : `float` or `None`
        Fraction of real sources at which the scores are probabilities; `None` if it is not known, and then
        calibration is not measured.
    training_prior : `tuple` of three `float`, or `None`
        Fraction of real sources among the unlabelled of the training, and the ends of its interval.
    least_blend : `float`
        Probability of a blend from which on a source is taken to be on one.
    """

    thresholds: Mapping[str, float]
    nside: int = 4096
    replicates: int = 500
    seed: int = 0
    prevalence: float = 0.03
    score_prevalence: float | None = None
    training_prior: tuple[float, float, float] | None = None
    least_blend: float = 0.5

    @property
    def stated(self) -> str:
        """What figures at the stated prevalence end in."""
        return f"at_prevalence_{self.prevalence:g}"


@dataclasses.dataclass(frozen=True)
class _Comparison:
    """Rows of two classes, as a table and as a sample, in the same order."""

    name: str
    rows: Table
    sample: Sample

    def where(self, keep: Bool) -> _Comparison:
        return _Comparison(self.name, self.rows[keep], self.sample.where(keep))


def evaluate(rows: Table, settings: EvaluationSettings) -> tuple[dict[str, Any], Table]:
    """Compute all metrics and curves.

    Parameters
    ----------
    rows : `astropy.table.Table`
        N DIA sources: ``ra``, ``dec``, ``snr``, ``psfFlux``, ``valid_fraction``, ``state``, ``reliability``
        (NaN if not scored), and, where they are known, ``truth_class`` and ``cause``, ``p_blend``, and what
        `~.evaluation_hosts.add_hosts` adds.
    settings : `EvaluationSettings`
        Thresholds and bootstrap.

    Returns
    -------
    metrics : `dict`
        Plain Python numbers: settings, ``counts``, ``prior``, ``contamination``, ``comparisons`` and
        ``headline``.
    curves : `astropy.table.Table`
        In `RELIABILITY_CURVE`'s schema.
    """
    rows = rows.copy(copy_data=False)
    rows["cell"] = sky_cell(rows["ra"], rows["dec"], settings.nside)
    contamination: dict[str, Any] = {}
    comparisons: dict[str, Any] = {}
    curves = [RELIABILITY_CURVE.empty()]
    for name, (positive, member) in _classes(rows).items():
        comparison = _Comparison(name, rows[member], _sample(rows, positive, member))
        comparisons[name] = {"about": COMPARISONS[name]}
        for selection, snr in SELECTIONS.items():
            part = comparison.where(comparison.sample.snr >= snr)
            weights = part.sample.weights(
                settings.replicates, generator(settings.seed, "bootstrap", name, selection)
            )
            comparisons[name][selection], table = _selection(part, selection, weights, settings)
            curves.append(table)
            if selection == "all":
                comparisons[name] |= _parts(part, weights, settings)
                contamination = contamination or _contamination(part, settings)
                curves.append(_binned(part, weights, settings))
                comparisons[name]["calibration"], table = _calibration(part, contamination, settings)
                curves.append(table)
    metrics = {
        "thresholds": {name: float(value) for name, value in settings.thresholds.items()},
        "nside": settings.nside,
        "n_replicates": settings.replicates,
        "seed": settings.seed,
        "interval": 0.95,
        "stated_prevalence": settings.prevalence,
        "score_prevalence": settings.score_prevalence,
        "counts": count_rows(rows),
        "prior": _priors(contamination, settings),
        "contamination": contamination,
        "comparisons": comparisons,
    }
    return {"headline": _headline(comparisons, settings), **metrics}, vstack(
        curves, metadata_conflicts="silent"
    )


def _classes(rows: Table) -> dict[str, tuple[Bool, Bool]]:
    """Return (positive, member) of each comparison that can be made, bool (N,) each."""
    state = np.asarray(rows["state"])
    injected, member = state == State.INJECTED, usable(rows)
    classes = {"injected_vs_unlabelled": (injected, member)}
    if "truth_class" in rows.colnames:
        truth = np.asarray(rows["truth_class"])
        artefact, real = truth == "artefact", np.isin(truth, REAL)
        transient = np.isin(truth, TRANSIENT)
        classes["real_vs_artefact"] = (real, member & (real | artefact))
        classes["transient_vs_artefact"] = (transient, member & (transient | artefact))
        found = real & (truth != "injected")
        classes["uninjected_real_vs_artefact"] = (found, member & (found | artefact))
    return classes


def _sample(rows: Table, positive: Bool, member: Bool) -> Sample:
    kept = rows[member]
    return Sample(
        np.asarray(kept["reliability"], np.float64),
        positive[member],
        np.asarray(kept["cell"], np.int64),
        np.asarray(kept["snr"], np.float64),
    )


def count_rows(rows: Table) -> dict[str, Any]:
    """Count sources by state, truth and, for artefacts, cause; those with a score, and flashes in a row.

    Parameters
    ----------
    rows : `astropy.table.Table`
        As in `evaluate`, with the sky ``cell``.

    Returns
    -------
    counts : `dict`
        Numbers, and dictionaries of numbers by name.
    """
    counts = {
        "sources": len(rows),
        "scored": int(np.isfinite(np.asarray(rows["reliability"], dtype=float)).sum()),
        "sky_cells": len(np.unique(rows["cell"])),
        "state": _tally(rows["state"]),
    }
    known = "truth_class" in rows.colnames
    if "glint_trail" in rows.colnames:
        trail = np.asarray(rows["glint_trail"], dtype=bool)
        counts["glint_trail"] = _tally(rows["truth_class" if known else "state"][trail])
    if known:
        counts["truth_class"] = _tally(rows["truth_class"])
        counts["cause"] = _tally(rows["cause"][np.asarray(rows["truth_class"]) == "artefact"])
        unlabelled = rows["truth_class"][np.asarray(rows["state"]) == State.UNLABELLED]
        counts["unlabelled_truth_class"] = _tally(unlabelled)
    return counts


def _tally(values: Any) -> dict[str, int]:
    names, counts = np.unique(np.asarray(values, dtype=str), return_counts=True)
    return {str(name): int(count) for name, count in zip(names, counts, strict=True)}


def _selection(
    part: _Comparison, selection: str, weights: NDArray[np.float32], settings: EvaluationSettings
) -> tuple[dict[str, Any], Table]:
    sample = part.sample
    summary = summarise_curves(sample, weights, FPR_POINTS, PURITY, prevalence=settings.prevalence)
    figures: dict[str, Any] = {
        "n_positive": int(sample.positive.sum()),
        "n_negative": int((~sample.positive).sum()),
        "n_groups": weights.shape[1],
        "prevalence": float(sample.positive.mean()) if len(sample.score) else float("nan"),
        "auc": summary.auc.summary(),
        "average_precision": summary.average_precision.summary(),
        f"completeness_at_purity_{PURITY}": summary.completeness_at_purity.summary(),
        f"completeness_at_purity_{PURITY}_{settings.stated}": (
            summary.completeness_at_stated_prevalence.summary()
        ),
    }
    figures |= _rates_at_fpr(sample, summary, figures["n_positive"])
    figures["at_threshold"] = {}
    for name, threshold in settings.thresholds.items():
        rates = threshold_rates(sample, threshold, weights)
        figures["at_threshold"][name] = {
            "threshold": float(threshold),
            "confusion": confusion_counts(sample, threshold),
            **{rate: estimate.summary() for rate, estimate in rates.items()},
            f"purity_{settings.stated}": _stated_purity(sample, threshold, weights, settings).summary(),
        }
    return figures, roc_pr_table(part.name, selection, summary, figures["n_positive"])


def _rates_at_fpr(sample: Sample, summary: CurveSummary, n_positive: int) -> dict[str, Any]:
    """Return true-positive and false-negative rates at `FPR_POINTS`; Wilson's interval is in theirs too."""
    figures: dict[str, Any] = {}
    for i, rate in enumerate(FPR_POINTS):
        found = summary.tpr_at_fpr.at(i)
        value = float(found.value)
        ends = wilson_interval(value * n_positive, n_positive)
        low, high = float(np.fmin(ends[0], found.low)), float(np.fmax(ends[1], found.high))
        figures[f"threshold_at_fpr_{rate}"] = threshold_at_fpr(sample, rate)
        figures[f"tpr_at_fpr_{rate}"] = {"value": value, "low": low, "high": high}
        figures[f"fnr_at_fpr_{rate}"] = {"value": 1.0 - value, "low": 1.0 - high, "high": 1.0 - low}
    return figures


def _stated_purity(
    sample: Sample, threshold: float, weights: NDArray[np.float32], settings: EvaluationSettings
) -> Estimate:
    index, n_groups = sample.group_index()
    called = sample.score >= threshold
    cells = (called & sample.positive, sample.positive, called & ~sample.positive, ~sample.positive)
    hits, positives, false, negatives = (
        np.bincount(index[cell], minlength=n_groups)[:, None].astype(float) for cell in cells
    )
    return purity_at_prevalence_estimate(hits, positives, false, negatives, weights, settings.prevalence).at(
        0
    )


def _parts(
    whole: _Comparison, weights: NDArray[np.float32], settings: EvaluationSettings
) -> dict[str, dict[str, Any]]:
    masks = subset_masks(whole.rows)
    masks |= {name: masks[name] & whole.sample.positive for name in COMPLETENESS_ONLY}
    parts = {
        "subsets": subset_figures(whole.sample, masks, settings.thresholds, weights, settings.prevalence),
        "pairs": pair_figures(whole.sample, masks, settings.thresholds, weights),
    }
    if "p_blend" in whole.rows.colnames:
        p_blend = np.asarray(whole.rows["p_blend"], np.float64)
        how = settings.least_blend, settings.thresholds, settings.replicates, settings.seed
        parts["blends"] = blend_figures(whole.sample, p_blend, *how)
    return parts


def _contamination(labelled: _Comparison, settings: EvaluationSettings) -> dict[str, Any]:
    masks = subset_masks(labelled.rows)
    parts = {name: labelled.sample.snr >= snr for name, snr in SELECTIONS.items()}
    parts |= {name: masks[name] for name in CALIBRATED_SUBSETS if name not in parts}
    return contamination_figures(
        labelled.rows, labelled.sample, parts, settings.thresholds, settings.replicates, settings.seed
    )


def _priors(contamination: Mapping[str, Any], settings: EvaluationSettings) -> dict[str, Any]:
    """Return the fraction of real sources among the unlabelled, by all who say something of it."""
    found = dict(contamination.get("all", {}).get("prior", {}))
    if settings.training_prior is not None:
        found["of_training"] = dict(zip(("value", "low", "high"), settings.training_prior, strict=True))
    return {name: dict(figure) for name, figure in found.items()}


def _calibration(
    whole: _Comparison, contamination: Mapping[str, Any], settings: EvaluationSettings
) -> tuple[dict[str, Any], Table]:
    """Measure calibration for real against artefact, and by the labels for injected against unlabelled."""
    scored_at = settings.score_prevalence
    fraction = float(whole.sample.positive.mean()) if len(whole.rows) else float("nan")
    prior = contamination["all"].get("prior", {}).get("estimated")
    by_label = whole.name == "injected_vs_unlabelled"
    if scored_at is None or not 0 < fraction < 1 or (by_label and prior is None):
        return {}, RELIABILITY_CURVE.empty()
    if by_label:
        found = probability_injected(whole.sample.score, scored_at, fraction, prior["value"])
    else:
        found = change_prevalence(whole.sample.score, scored_at, fraction)
    predictions = Predictions(whole.name, whole.sample, found)
    return calibrate(predictions, subset_masks(whole.rows), settings.replicates, settings.seed)


def _binned(whole: _Comparison, weights: NDArray[np.float32], settings: EvaluationSettings) -> Table:
    quantities: dict[str, F64] = {
        "snr": whole.sample.snr,
        "magnitude": difference_magnitude(whole.rows["psfFlux"]),
    }
    if whole.name == "injected_vs_unlabelled" and "host_offset" in whole.rows.colnames:
        quantities |= {name: np.asarray(whole.rows[f"host_{name}"], np.float64) for name in HOST_BINS}
    tables = [
        binned_table(whole.name, whole.sample, quantities, threshold, weights)
        for threshold in settings.thresholds.values()
    ]
    return vstack([RELIABILITY_CURVE.empty(), *tables], metadata_conflicts="silent")


def _headline(comparisons: Mapping[str, Any], settings: EvaluationSettings) -> dict[str, Any]:
    """Return the AUC, and purity and completeness at each threshold for SNR >= 6, as in OSS-REQ-0353."""
    headline: dict[str, Any] = {}
    for name, figures in comparisons.items():
        headline[name] = {"auc": dict(figures["all"]["auc"])}
        for threshold in settings.thresholds:
            rates = figures["snr6"]["at_threshold"][threshold]
            headline[name][f"purity_snr6_{threshold}"] = dict(rates["precision"])
            headline[name][f"completeness_snr6_{threshold}"] = dict(rates["sensitivity"])
            stated = f"purity_{settings.stated}"
            headline[name][f"{stated}_snr6_{threshold}"] = dict(rates[stated])
    return headline
