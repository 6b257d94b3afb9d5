"""The headline figures of an injection campaign: a dictionary of numbers."""

from __future__ import annotations

__all__ = ["figure_of", "injection_metrics"]

from typing import Any

import numpy as np
from astropy.table import Table

from ..reliability.bootstrap import Estimate
from ..seeding import generator
from .injection_curve import SAMPLES, measured, rows_of_sample
from .recovery import (
    completeness,
    fifty_percent,
    flux_bias,
    median_east,
    median_north,
    median_offset,
    pull_static,
    pull_std,
    pull_width,
    with_intervals,
)

_MIN_SNR = (0.0, 10.0, 50.0)
"""Lower limits of expected signal-to-noise ratio for photometry and astrometry."""


_FIGURES = {
    "flux_bias": flux_bias,
    "pull_std": pull_std,
    "pull_width": pull_width,
    "pull_static": pull_static,
    "offset_median": median_offset,
    "offset_east": median_east,
    "offset_north": median_north,
}


def injection_metrics(outcomes: Table, seed: int) -> dict[str, Any]:
    """Return the headline figures with their 95 % intervals.

    Parameters
    ----------
    outcomes : `astropy.table.Table`
        In `~dia_vetting.injection.schemas.INJECTION_OUTCOME`.
    seed : `int`
        Seed of the bootstrap.

    Returns
    -------
    metrics : `dict`
        By sample (all, blank): ``n``, ``n_recovered``, ``completeness`` (all, and for expected SNR >= 8),
        ``snr50``, and by lower limit of SNR ``flux_bias``, ``pull_std``, ``pull_width`` (robust),
        ``pull_static`` (with ``staticFluxErr``), ``pull_mean``, ``offset_median``, and the medians
        ``offset_east`` and ``offset_north`` (arcsec). ``missed`` counts the reasons, over all. A figure is a
        dictionary of value, low, high and n; None where it is not defined.
    """
    why = np.asarray(outcomes["reason"]).astype(str)[~np.asarray(outcomes["recovered"], bool)]
    names, counts = np.unique(why, return_counts=True)
    metrics: dict[str, Any] = {
        "missed": {str(name): int(count) for name, count in zip(names, counts, strict=True)},
    }
    for sample in SAMPLES:
        rng = generator("injection metrics", seed, sample)
        metrics[sample] = _sample_metrics(rows_of_sample(outcomes, sample), rng)
    return metrics


def _sample_metrics(part: Table, rng: np.random.Generator) -> dict[str, Any]:
    snr, recovered = np.asarray(part["expected_snr"], float), np.asarray(part["recovered"], bool)
    bright = snr >= 8
    result: dict[str, Any] = {
        "n": len(part),
        "n_recovered": int(recovered.sum()),
        "completeness": figure_of(completeness(recovered), len(part)),
        "completeness_snr8": figure_of(completeness(recovered[bright]), int(bright.sum())),
        "snr50": figure_of(fifty_percent(snr, recovered, rng), len(part)),
    }
    for limit in _MIN_SNR:
        sample = measured(part[snr >= limit])
        pull = (sample.flux - sample.truth) / sample.error
        estimates = with_intervals(sample, _FIGURES, rng)
        result[f"snr_{limit:.0f}"] = {name: figure_of(e, len(sample)) for name, e in estimates.items()} | {
            "pull_mean": _number(pull.mean() if len(pull) else np.nan)
        }
    return result


def figure_of(estimate: Estimate, count: int) -> dict[str, float | int | None]:
    """Return a scalar estimate as a dictionary of value, low, high and n; None where it is not defined."""
    return {**{name: _number(value) for name, value in estimate.summary().items()}, "n": count}


def _number(value: float | np.floating[Any]) -> float | None:
    return float(value) if np.isfinite(value) else None
