"""The figures of an injection campaign in bins of one quantity after another."""

from __future__ import annotations

__all__ = ["EDGES", "PHOTOMETRY_SNR", "SAMPLES", "injection_curve", "measured", "rows_of_sample"]

import itertools
from typing import Any

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from ..seeding import generator
from .recovery import (
    SNR_EDGES,
    Measured,
    completeness,
    flux_bias,
    median_offset,
    pull_static,
    pull_std,
    pull_width,
    with_intervals,
)
from .schemas import INJECTION_CURVE

type F64 = NDArray[np.float64]

SAMPLES = ("all", "blank")
"""All injections on the images, and those on blank sky."""

PHOTOMETRY_SNR = 10.0
"""Least expected signal-to-noise ratio for photometry against the host's quantities."""

EDGES = {
    "snr": SNR_EDGES,
    "mag": (-np.inf, *np.arange(17.0, 27.1, 0.5), np.inf),
    "host_surface_brightness": (-np.inf, *np.arange(19.0, 28.1, 1.0), np.inf),
    "separation": (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, np.inf),
}
"""Edges of the bins of each variable."""

_OF_HOSTS = ("host_surface_brightness", "separation")
_FIGURES = {
    "flux_bias": flux_bias,
    "pull_std": pull_std,
    "pull_width": pull_width,
    "pull_static": pull_static,
    "offset_median": median_offset,
}


def measured(outcomes: Table) -> Measured:
    """Return the measurements of rows that were recovered, in their order."""
    found = outcomes[np.asarray(outcomes["recovered"], bool)]
    names = ("flux", "psfFlux", "psfFluxErr", "offset_east", "offset_north", "staticFluxErr")
    return Measured(*(np.asarray(found[name], float) for name in names))


def rows_of_sample(outcomes: Table, sample: str) -> Table:
    """Return the rows of a sample (see `SAMPLES`)."""
    return outcomes if sample == "all" else outcomes[np.asarray(outcomes["blank"], bool)]


def injection_curve(outcomes: Table, seed: int) -> Table:
    """Return completeness, flux bias, pulls and offset in bins.

    Parameters
    ----------
    outcomes : `astropy.table.Table`
        In `~dia_vetting.injection.schemas.INJECTION_OUTCOME`.
    seed : `int`
        Seed of the bootstrap.

    Returns
    -------
    curve : `astropy.table.Table`
        In `~dia_vetting.injection.schemas.INJECTION_CURVE`, a row for each sample, variable, band and bin.
        Injections of which a variable is NaN are in no bin of it; blank sky has no rows of host variables.
    """
    rows: dict[str, list[Any]] = {name: [] for name in INJECTION_CURVE.names()}
    bands = np.unique(np.asarray(outcomes["band"]).astype(str)).tolist()
    for sample, variable, band in itertools.product(SAMPLES, EDGES, ("all", *bands)):
        if sample == "blank" and variable in _OF_HOSTS:
            continue
        part = rows_of_sample(outcomes, sample)
        part = part if band == "all" else part[np.asarray(part["band"]).astype(str) == band]
        key = {"sample": sample, "variable": variable, "band": band}
        for bin_values in _bins(part, variable, seed, key):
            for name, value in (bin_values | key).items():
                rows[name].append(value)
    return INJECTION_CURVE.build(rows)


def _bins(part: Table, variable: str, seed: int, key: dict[str, str]) -> list[dict[str, Any]]:
    """Return the figures in each bin of a variable."""
    values = np.asarray(part["expected_snr" if variable == "snr" else variable], float)
    edges = EDGES[variable]
    bins = np.where(np.isfinite(values), np.searchsorted(edges, values, side="right") - 1, -1)
    least = PHOTOMETRY_SNR if variable in _OF_HOSTS else -np.inf
    found = []
    for k, (low, high) in enumerate(itertools.pairwise(edges)):
        mine = bins == k
        middle = float(np.median(values[mine])) if mine.any() else np.nan
        rng = generator("injection curve", seed, *key.values(), k)
        found.append({"low": low, "high": high, "median": middle, **_figures(part[mine], least, rng)})
    return found


def _figures(part: Table, least_snr: float, rng: np.random.Generator) -> dict[str, Any]:
    recovered, snr = np.asarray(part["recovered"], bool), np.asarray(part["expected_snr"], float)
    sample = measured(part if least_snr == -np.inf else part[snr >= least_snr])
    estimates = {"completeness": completeness(recovered), **with_intervals(sample, _FIGURES, rng)}
    ends = {"value": "", "low": "_low", "high": "_high"}
    return {
        "n_injected": len(part),
        "n_recovered": int(recovered.sum()),
        "n_measured": len(sample),
        **{
            f"{name}{tail}": float(getattr(e, end))
            for name, e in estimates.items()
            for end, tail in ends.items()
        },
    }
