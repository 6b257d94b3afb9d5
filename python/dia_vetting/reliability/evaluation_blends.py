"""The figures of an evaluation split by whether a source lies on a blend."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..seeding import generator
from .curves import summarise_curves
from .metrics import Sample, threshold_rates

__all__ = ["blend_figures"]


def blend_figures(
    sample: Sample,
    p_blend: NDArray[np.floating[Any]],
    least: float,
    thresholds: Mapping[str, float],
    replicates: int,
    seed: int,
) -> dict[str, Any]:
    """Return AUC, completeness and false-positive rate of sources on blends and of others.

    Parameters
    ----------
    sample : `~.metrics.Sample`
        N rows.
    p_blend : `numpy.ndarray`, (N,)
        Probability of a blend; NaN where it is not known.
    least : `float`
        Probability from which on a source is taken to be on a blend.
    thresholds : `~collections.abc.Mapping` [`str`, `float`]
        Lowest score that is called positive, by name.
    replicates : `int`
        Bootstrap replicates.
    seed : `int`
        Seed of the bootstrap.

    Returns
    -------
    figures : `dict`
        For ``blended``, ``not_blended`` and ``not_flagged``: ``n_positive``, ``n_negative``, ``auc``, and
        ``at_threshold`` by name with ``sensitivity`` and ``false_positive_rate``.
    """
    parts = {"blended": p_blend >= least, "not_blended": p_blend < least, "not_flagged": np.isnan(p_blend)}
    figures: dict[str, Any] = {}
    for name, rows in parts.items():
        part = sample.where(np.asarray(rows, bool))
        weights = part.weights(replicates, generator(seed, "blends", name))
        rates = {key: threshold_rates(part, threshold, weights) for key, threshold in thresholds.items()}
        figures[name] = {
            "n_positive": int(part.positive.sum()),
            "n_negative": int((~part.positive).sum()),
            "auc": summarise_curves(part, weights).auc.summary(),
            "at_threshold": {
                key: {rate: found[rate].summary() for rate in ("sensitivity", "false_positive_rate")}
                for key, found in rates.items()
            },
        }
    return figures
