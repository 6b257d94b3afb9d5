"""Headline figures, curves and confusion of a run, as the page draws them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from ..reliability.bootstrap import wilson_interval
from ..reliability.evaluation import COMPARISONS
from ..reliability.plots_style import STYLES

__all__ = ["MODELS", "confusion_of_verdicts", "curve_series", "plain", "summary_of_model"]

_POINTS = 400
_DRAWN = (
    "roc",
    "precision_recall",
    "completeness_snr",
    "purity_snr",
    "completeness_magnitude",
    "calibration",
)

MODELS = {
    "": "trained here, out of fold",
    "seed_cnn_": "seed CNN trained here, out of fold",
    "shipped_": "shipped with the package",
}
"""What is said of the models of which there are metrics, by the prefix of their datasets."""


def plain(value: Any) -> Any:
    """Return nested figures as JSON can hold them: NaN and infinity become `None`.

    Parameters
    ----------
    value : `object`
        Mappings, sequences, NumPy or Python numbers, text.

    Returns
    -------
    value : `object`
        The same in plain Python.
    """
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


def summary_of_model(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the page tells of a model.

    Parameters
    ----------
    metrics : `~collections.abc.Mapping`
        ``reliability_metrics``.

    Returns
    -------
    summary : `dict`
        ``thresholds``, ``stated_prevalence``, ``headline`` and ``confusion`` (by comparison and threshold,
        with the rates), ``names`` and ``about`` of the comparisons.
    """
    compared = metrics.get("comparisons", {})
    confusion = {
        name: {
            threshold: {
                **at["confusion"],
                **{name: at[name] for name in ("sensitivity", "false_positive_rate") if name in at},
            }
            for threshold, at in figures.get("all", {}).get("at_threshold", {}).items()
        }
        for name, figures in compared.items()
    }
    summary: dict[str, Any] = plain(
        {
            "thresholds": metrics.get("thresholds", {}),
            "stated_prevalence": metrics.get("stated_prevalence"),
            "headline": metrics.get("headline", {}),
            "counts": metrics.get("counts", {}),
            "confusion": confusion,
            "names": {name: STYLES[name][0] if name in STYLES else name for name in compared},
            "about": {name: COMPARISONS.get(name, "") for name in compared},
        }
    )
    return summary


def curve_series(curves: Table | None) -> list[dict[str, Any]]:
    """Return the curves that the page draws, of all sources, each once.

    Parameters
    ----------
    curves : `astropy.table.Table` or `None`
        `~dia_vetting.reliability.schemas.RELIABILITY_CURVE`.

    Returns
    -------
    series : `list` [`dict`]
        ``comparison``, ``subset``, ``curve``, ``threshold`` and the points ``x``, ``y``, ``low``, ``high``,
        ``n``; no more than 400 of them, evenly drawn along a longer curve.
    """
    if curves is None or not len(curves):
        return []
    curves = curves[(np.asarray(curves["subset"]) == "all") & np.isin(np.asarray(curves["curve"]), _DRAWN)]
    if not len(curves):
        return []
    keys = [np.asarray(curves[name]).astype(str) for name in ("comparison", "subset", "curve")]
    keys.append(np.asarray(curves["threshold"], float).astype(str))
    index = np.unique(np.stack(keys), axis=1, return_inverse=True)[1].ravel()
    series = []
    for k in range(index.max() + 1):
        rows = curves[index == k]
        if len(rows) > _POINTS:
            rows = rows[np.unique(np.linspace(0, len(rows) - 1, _POINTS).astype(int))]
        points = {
            short: [_rounded(value) for value in np.asarray(rows[name], float)]
            for short, name in (("x", "x"), ("y", "y"), ("low", "y_low"), ("high", "y_high"), ("n", "n"))
        }
        texts = {name: str(rows[name][0]) for name in ("comparison", "subset", "curve")}
        series.append({**texts, "threshold": _rounded(float(rows["threshold"][0])), **points})
    return series


def _rounded(value: float) -> float | None:
    return float(f"{value:.5g}") if np.isfinite(value) else None


def confusion_of_verdicts(truth: NDArray[np.str_], verdict: NDArray[np.str_]) -> dict[str, Any]:
    """Count the objects of each class of truth by their verdict.

    Parameters
    ----------
    truth : `numpy.ndarray`, (M,), str
        Class of most of an object's sources; empty where it is not known.
    verdict : `numpy.ndarray`, (M,), str
        Its verdict; empty where there is none.

    Returns
    -------
    confusion : `dict`
        ``rows`` and ``columns``, and for each pair ``count``, ``fraction``, ``low``, ``high``: the fraction
        of a class that has a verdict, and Wilson's 95 % interval of it, for objects that are independent.
    """
    known = (truth != "") & (verdict != "")
    rows, columns = (sorted(set(values[known].tolist())) for values in (truth, verdict))
    cells = []
    for row in rows:
        of_row = known & (truth == row)
        counts = np.array([int((of_row & (verdict == column)).sum()) for column in columns])
        low, high = wilson_interval(counts, np.full(len(counts), counts.sum()))
        cells.append(
            [
                {"count": int(n), "fraction": n / counts.sum(), "low": a, "high": b}
                for n, a, b in zip(counts, low, high, strict=True)
            ]
        )
    confusion: dict[str, Any] = plain({"rows": rows, "columns": columns, "cells": cells})
    return confusion
