"""The curves of an evaluation as one table in long form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from astropy.table import Table, vstack
from numpy.typing import NDArray

from ..magnitudes import AB_ZERO_POINT
from .bootstrap import Estimate
from .curves import FPR_GRID, RECALL_GRID, CurveSummary
from .metrics import SNR_EDGES, Sample, binned_rates
from .schemas import RELIABILITY_CURVE

__all__ = ["BINS", "HOST_BINS", "binned_table", "curve_table", "difference_magnitude", "roc_pr_table"]

type F64 = NDArray[np.float64]

BINS: dict[str, Sequence[float]] = {
    "snr": SNR_EDGES,
    "magnitude": (-np.inf, 17.0, 18.0, 19.0, 20.0, *np.arange(20.5, 26.1, 0.5), np.inf),
}
"""Edges of the bins of completeness and purity, by quantity."""

HOST_BINS: dict[str, Sequence[float]] = {
    "surface_brightness": (-np.inf, *np.arange(19.0, 27.1, 1.0), np.inf),
    "offset": (0.0, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.5, 2.0, 3.0, np.inf),
    "offset_radii": (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, np.inf),
}
"""Edges of the bins of completeness alone: only injections have a known host."""


def difference_magnitude(flux: Any) -> F64:
    """Return the AB magnitude of the size of a flux in nJy, (N,) float64; NaN where it is 0 or unknown."""
    size = np.abs(np.asarray(flux, np.float64))
    with np.errstate(divide="ignore"):
        magnitude = AB_ZERO_POINT - 2.5 * np.log10(size)
    return np.where(size > 0, magnitude, np.nan)


def roc_pr_table(comparison: str, subset: str, summary: CurveSummary, n_positive: int) -> Table:
    """Return ROC and precision-recall curves.

    Parameters
    ----------
    comparison, subset : `str`
        What was compared, and of which sources.
    summary : `~.curves.CurveSummary`
        The curves.
    n_positive : `int`
        Positives they are made of.

    Returns
    -------
    table : `astropy.table.Table`
        `RELIABILITY_CURVE`.
    """
    parts = [("roc", FPR_GRID, summary.roc), ("precision_recall", RECALL_GRID, summary.precision_recall)]
    return curve_table(
        comparison, subset, np.nan, [(name, x, x, x, y, np.full(len(x), n_positive)) for name, x, y in parts]
    )


def binned_table(
    comparison: str,
    sample: Sample,
    quantities: Mapping[str, F64],
    threshold: float,
    weights: NDArray[np.float32],
) -> Table:
    """Return completeness, and purity where it is defined, in the bins of each quantity.

    Parameters
    ----------
    comparison : `str`
        What is compared.
    sample : `~.metrics.Sample`
        N rows.
    quantities : `~collections.abc.Mapping` [`str`, `numpy.ndarray`]
        By the names of `BINS` and `HOST_BINS`, float64 (N,); NaN where unknown.
    threshold : `float`
        Lowest score that is called positive.
    weights : `numpy.ndarray`, (B, G), float32
        From `~.metrics.Sample.weights`.

    Returns
    -------
    table : `astropy.table.Table`
        `RELIABILITY_CURVE`.
    """
    parts = []
    for name, values in quantities.items():
        edges = np.asarray(BINS[name] if name in BINS else HOST_BINS[name], np.float64)
        rates = binned_rates(sample, values, tuple(edges), threshold, weights)
        where = (rates["median"], edges[:-1], edges[1:])
        parts.append((f"completeness_{name}", *where, rates["completeness"], rates["n_positive"]))
        if name in BINS:
            parts.append((f"purity_{name}", *where, rates["purity"], rates["n_called"]))
    return curve_table(comparison, "all", threshold, parts)


def curve_table(comparison: str, subset: str, threshold: float, parts: Sequence[tuple[Any, ...]]) -> Table:
    """Put curves into the table.

    Parameters
    ----------
    comparison, subset : `str`
        What was compared, and of which sources.
    threshold : `float`
        Score from which on a source is called real; NaN where it varies.
    parts : `~collections.abc.Sequence` of `tuple`
        Name, x, its lower and upper end, y (`~.bootstrap.Estimate`) and n of each curve; arrays (K,).

    Returns
    -------
    table : `astropy.table.Table`
        `RELIABILITY_CURVE`.
    """
    if not parts:
        return RELIABILITY_CURVE.empty()
    tables = [
        RELIABILITY_CURVE.build(
            {
                "comparison": np.full(len(x), comparison),
                "subset": np.full(len(x), subset),
                "curve": np.full(len(x), name),
                "threshold": np.full(len(x), threshold),
                "x": x,
                "x_low": x_low,
                "x_high": x_high,
                **_ends(y),
                "n": n,
            }
        )
        for name, x, x_low, x_high, y, n in parts
    ]
    return vstack(tables, metadata_conflicts="silent")


def _ends(y: Estimate) -> dict[str, F64]:
    return {"y": y.value, "y_low": y.low, "y_high": y.high}
