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
from .bootstrap import Estimate
from .curves import FPR_GRID, RECALL_GRID, CurveSummary, summarise_curves, threshold_at_fpr
from .evaluation_rows import usable
from .labels import State
from .metrics import SNR_EDGES, Sample, binned_rates, confusion_counts, threshold_rates
from .schemas import RELIABILITY_CURVE
from .truth_matching import REAL, TRANSIENT

__all__ = ["COMPARISONS", "SELECTIONS", "EvaluationSettings", "count_rows", "evaluate"]

type Bool = NDArray[np.bool_]

COMPARISONS = {
    "injected_vs_unlabelled": "Labels: injections against everything else, hidden real sources among it.",
    "real_vs_artefact": "Truth: injected, hidden, variable and moving sources against artefacts.",
    "transient_vs_artefact": "Truth: injected and hidden transients against artefacts only.",
    "uninjected_real_vs_artefact": "Truth: hidden, variable and moving sources against artefacts only.",
}
"""What is told from what, positives first. All are made of the sources labelled injected or unlabelled."""

SELECTIONS = {"all": 0.0, "snr6": 6.0, "snr8": 8.0}
"""Smallest signal-to-noise ratio of each selection. OSS-REQ-0353 is about SNR >= 6."""

FPR_POINTS = (0.001, 0.01, 0.05)
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
    """

    thresholds: Mapping[str, float]
    nside: int = 4096
    replicates: int = 500
    seed: int = 0


def evaluate(rows: Table, settings: EvaluationSettings) -> tuple[dict[str, Any], Table]:
    """Compute all metrics and curves.

    Parameters
    ----------
    rows : `astropy.table.Table`
        N DIA sources: ``ra``, ``dec``, ``snr``, ``state``, ``reliability`` (NaN if not scored), and, where
        a truth is known, ``truth_class`` and ``cause``.
    settings : `EvaluationSettings`
        Thresholds and bootstrap.

    Returns
    -------
    metrics : `dict`
        Plain Python numbers: settings, ``counts``, ``comparisons`` and ``headline``.
    curves : `astropy.table.Table`
        In `RELIABILITY_CURVE`'s schema.
    """
    rows = rows.copy(copy_data=False)
    rows["cell"] = sky_cell(rows["ra"], rows["dec"], settings.nside)
    comparisons: dict[str, Any] = {}
    curves = [RELIABILITY_CURVE.empty()]
    for name, (positive, member) in _classes(rows).items():
        sample = _sample(rows, positive, member)
        comparisons[name] = {"about": COMPARISONS[name]}
        for selection, snr in SELECTIONS.items():
            figures, table = _evaluate_sample(sample.where(sample.snr >= snr), name, selection, settings)
            comparisons[name][selection] = figures
            if selection == "all":
                curves.append(table)
    metrics = {
        "thresholds": {name: float(value) for name, value in settings.thresholds.items()},
        "nside": settings.nside,
        "n_replicates": settings.replicates,
        "seed": settings.seed,
        "interval": 0.95,
        "counts": count_rows(rows),
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
    """Count sources by state, by truth and, for artefacts, by cause; and those that have a score.

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
    if "truth_class" in rows.colnames:
        counts["truth_class"] = _tally(rows["truth_class"])
        counts["cause"] = _tally(rows["cause"][np.asarray(rows["truth_class"]) == "artefact"])
        unlabelled = rows["truth_class"][np.asarray(rows["state"]) == State.UNLABELLED]
        counts["unlabelled_truth_class"] = _tally(unlabelled)
    return counts


def _tally(values: Any) -> dict[str, int]:
    names, counts = np.unique(np.asarray(values, dtype=str), return_counts=True)
    return {str(name): int(count) for name, count in zip(names, counts, strict=True)}


def _evaluate_sample(
    sample: Sample, comparison: str, selection: str, settings: EvaluationSettings
) -> tuple[dict[str, Any], Table]:
    rng = generator(settings.seed, "bootstrap", comparison, selection)
    weights = sample.weights(settings.replicates, rng)
    summary = summarise_curves(sample, weights, FPR_POINTS, PURITY)
    figures: dict[str, Any] = {
        "n_positive": int(sample.positive.sum()),
        "n_negative": int((~sample.positive).sum()),
        "n_groups": weights.shape[1],
        "auc": summary.auc.summary(),
        "average_precision": summary.average_precision.summary(),
        f"completeness_at_purity_{PURITY}": summary.completeness_at_purity.summary(),
    }
    for i, rate in enumerate(FPR_POINTS):
        figures[f"threshold_at_fpr_{rate}"] = threshold_at_fpr(sample, rate)
        figures[f"tpr_at_fpr_{rate}"] = _element(summary.tpr_at_fpr, i).summary()
    figures["at_threshold"] = {}
    tables = [_roc_pr_table(comparison, summary, figures["n_positive"])]
    for name, threshold in settings.thresholds.items():
        rates = threshold_rates(sample, threshold, weights)
        figures["at_threshold"][name] = {
            "threshold": float(threshold),
            "confusion": confusion_counts(sample, threshold),
            **{rate: estimate.summary() for rate, estimate in rates.items()},
        }
        binned = binned_rates(sample, sample.snr, SNR_EDGES, threshold, weights)
        tables.append(_snr_table(comparison, threshold, binned))
    return figures, vstack(tables, metadata_conflicts="silent")


def _element(estimate: Estimate, index: int) -> Estimate:
    return Estimate(estimate.value[index], estimate.low[index], estimate.high[index])


def _roc_pr_table(comparison: str, summary: CurveSummary, n_positive: int) -> Table:
    parts = [("roc", FPR_GRID, summary.roc), ("precision_recall", RECALL_GRID, summary.precision_recall)]
    return _curve_table(
        comparison,
        np.nan,
        [(name, x, x, x, y, np.full(len(x), n_positive)) for name, x, y in parts],
    )


def _snr_table(comparison: str, threshold: float, rates: Mapping[str, Any]) -> Table:
    low, high = np.asarray(SNR_EDGES[:-1]), np.asarray(SNR_EDGES[1:])
    return _curve_table(
        comparison,
        threshold,
        [
            ("completeness_snr", rates["median"], low, high, rates["completeness"], rates["n_positive"]),
            ("purity_snr", rates["median"], low, high, rates["purity"], rates["n_called"]),
        ],
    )


def _curve_table(comparison: str, threshold: float, parts: list[tuple[Any, ...]]) -> Table:
    names, x, x_low, x_high, y, n = zip(*parts, strict=True)
    length = [len(values) for values in x]
    total = sum(length)
    return RELIABILITY_CURVE.build(
        {
            "comparison": np.full(total, comparison),
            "curve": np.repeat(names, length),
            "threshold": np.full(total, threshold),
            "x": np.concatenate(x),
            "x_low": np.concatenate(x_low),
            "x_high": np.concatenate(x_high),
            "y": np.concatenate([estimate.value for estimate in y]),
            "y_low": np.concatenate([estimate.low for estimate in y]),
            "y_high": np.concatenate([estimate.high for estimate in y]),
            "n": np.concatenate(n),
        }
    )


def _headline(comparisons: Mapping[str, Any], settings: EvaluationSettings) -> dict[str, Any]:
    """Return the AUC, and purity and completeness at each threshold for SNR >= 6, as in OSS-REQ-0353."""
    headline: dict[str, Any] = {}
    for name, figures in comparisons.items():
        headline[name] = {"auc": dict(figures["all"]["auc"])}
        for threshold in settings.thresholds:
            rates = figures["snr6"]["at_threshold"][threshold]
            headline[name][f"purity_snr6_{threshold}"] = dict(rates["precision"])
            headline[name][f"completeness_snr6_{threshold}"] = dict(rates["sensitivity"])
    return headline
