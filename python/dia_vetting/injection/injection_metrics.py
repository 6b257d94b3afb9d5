"""The figures of an injection campaign: a table over signal-to-noise ratio and a dictionary of numbers."""

from __future__ import annotations

__all__ = ["SAMPLES", "injection_curve", "injection_metrics", "measured"]

import itertools
from typing import Any

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from ..reliability.bootstrap import Estimate
from ..seeding import generator
from .efficiency import efficiency_by_band, holdout
from .recovery import (
    SNR_EDGES,
    Measured,
    completeness,
    fifty_percent,
    flux_bias,
    median_offset,
    pull_std,
    pull_width,
    with_interval,
)
from .schemas import INJECTION_CURVE

type F64 = NDArray[np.float64]
type Bool = NDArray[np.bool_]

SAMPLES = ("all", "blank")
"""All injections on the images, and those on blank sky."""

_MIN_SNR = (0.0, 10.0, 50.0)
"""Lower limits of expected signal-to-noise ratio for photometry and astrometry."""


def measured(outcomes: Table) -> Measured:
    """Return the measurements of rows that were recovered, in their order."""
    found = outcomes[np.asarray(outcomes["recovered"], bool)]
    offset = np.hypot(np.asarray(found["offset_east"], float), np.asarray(found["offset_north"], float))
    truth, flux, error = (np.asarray(found[name], float) for name in ("flux", "psfFlux", "psfFluxErr"))
    return Measured(truth, flux, error, offset)


def _sample(outcomes: Table, name: str) -> Table:
    return outcomes if name == "all" else outcomes[np.asarray(outcomes["blank"], bool)]


def injection_curve(outcomes: Table, seed: int) -> Table:
    """Return completeness, flux bias, pull and offset in bins of expected signal-to-noise ratio.

    Parameters
    ----------
    outcomes : `astropy.table.Table`
        In `~dia_vetting.injection.schemas.INJECTION_OUTCOME`.
    seed : `int`
        Seed of the bootstrap.

    Returns
    -------
    curve : `astropy.table.Table`
        In `~dia_vetting.injection.schemas.INJECTION_CURVE`, a row for each sample and bin.
    """
    rows: dict[str, list[Any]] = {name: [] for name in INJECTION_CURVE.names()}
    for sample in SAMPLES:
        part = _sample(outcomes, sample)
        bins = np.searchsorted(SNR_EDGES, np.asarray(part["expected_snr"], float), side="right") - 1
        for k, (low, high) in enumerate(itertools.pairwise(SNR_EDGES)):
            values = _bin_row(part[bins == k], generator("injection curve", seed, sample, k))
            for name, value in (values | {"sample": sample, "snr_low": low, "snr_high": high}).items():
                rows[name].append(value)
    return INJECTION_CURVE.build(rows)


def _bin_row(part: Table, rng: np.random.Generator) -> dict[str, Any]:
    recovered = np.asarray(part["recovered"], bool)
    sample = measured(part)
    estimates = {
        "completeness": completeness(recovered),
        "flux_bias": with_interval(sample, flux_bias, rng),
        "pull_std": with_interval(sample, pull_std, rng),
    }
    ends = {"value": "", "low": "_low", "high": "_high"}
    return {
        "snr": float(np.median(part["expected_snr"])) if len(part) else np.nan,
        "n_injected": len(part),
        "n_recovered": int(recovered.sum()),
        "offset_median": median_offset(sample) if len(sample) else np.nan,
        **{
            f"{name}{tail}": float(getattr(e, end))
            for name, e in estimates.items()
            for end, tail in ends.items()
        },
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
        ``pull_mean``, ``offset_median``
        (arcsec), ``offset_east``, ``offset_north`` (medians). ``missed`` counts the reasons, over all;
        ``efficiency`` and ``holdout`` have the fits against magnitude by band (see `.efficiency`). A figure
        is a dictionary of value, low, high and n; None where it is not defined.
    """
    why = np.asarray(outcomes["reason"]).astype(str)[~np.asarray(outcomes["recovered"], bool)]
    names, counts = np.unique(why, return_counts=True)
    metrics: dict[str, Any] = {
        "missed": {str(name): int(count) for name, count in zip(names, counts, strict=True)},
        "efficiency": efficiency_by_band(outcomes, seed),
        "holdout": holdout(outcomes, seed),
    }
    for sample in SAMPLES:
        rng = generator("injection metrics", seed, sample)
        metrics[sample] = _sample_metrics(_sample(outcomes, sample), rng)
    return metrics


def _sample_metrics(part: Table, rng: np.random.Generator) -> dict[str, Any]:
    snr, recovered = np.asarray(part["expected_snr"], float), np.asarray(part["recovered"], bool)
    bright = snr >= 8
    result: dict[str, Any] = {
        "n": len(part),
        "n_recovered": int(recovered.sum()),
        "completeness": _figure(completeness(recovered), len(part)),
        "completeness_snr8": _figure(completeness(recovered[bright]), int(bright.sum())),
        "snr50": _figure(fifty_percent(snr, recovered, rng), len(part)),
    }
    for limit in _MIN_SNR:
        rows = part[(snr >= limit) & recovered]
        sample = measured(rows)
        pull = (sample.flux - sample.truth) / sample.error
        result[f"snr_{limit:.0f}"] = {
            "flux_bias": _figure(with_interval(sample, flux_bias, rng), len(sample)),
            "pull_std": _figure(with_interval(sample, pull_std, rng), len(sample)),
            "pull_width": _figure(with_interval(sample, pull_width, rng), len(sample)),
            "pull_mean": _number(pull.mean() if len(pull) else np.nan),
            "offset_median": _figure(with_interval(sample, median_offset, rng), len(sample)),
            "offset_east": _number(np.median(rows["offset_east"]) if len(rows) else np.nan),
            "offset_north": _number(np.median(rows["offset_north"]) if len(rows) else np.nan),
        }
    return result


def _figure(estimate: Estimate, count: int) -> dict[str, float | int | None]:
    return {**{name: _number(value) for name, value in estimate.summary().items()}, "n": count}


def _number(value: float | np.floating[Any]) -> float | None:
    return float(value) if np.isfinite(value) else None
