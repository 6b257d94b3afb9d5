"""Whether an efficiency that was fitted on one half of the sky predicts the other."""

from __future__ import annotations

__all__ = ["holdout"]

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..seeding import generator
from ..skycells import sky_fold
from .efficiency import Injections
from .efficiency_fits import EfficiencyModel, Fit, Fitted, cell_weights, fit_efficiency

type F64 = NDArray[np.float64]

_MIN_COUNT = 100


@dataclasses.dataclass(frozen=True)
class _Pull:
    """Recovered minus predicted of one bin, over its error by either variance."""

    binomial: float
    cells: float


def holdout[M: EfficiencyModel](
    fit: Fit[M], injections: Injections, coordinate: F64, seed: int, name: str
) -> dict[str, Any]:
    """Fit a model on one half of the sky cells and compare with the other half.

    Parameters
    ----------
    fit : `~dia_vetting.injection.efficiency_fits.Fit`
        What fits.
    injections : `~dia_vetting.injection.efficiency.Injections`
        N rows, all of them usable. A host is in one half with all of its injections.
    coordinate : `numpy.ndarray`, (N,), float64
        What the bins are of; its integer part is the bin.
    seed : `int`
        Decides which cell is in which half, and seeds the bootstrap.
    name : `str`
        Name of the model, for the bootstrap's seed.

    Returns
    -------
    figures : `dict`
        By band: ``m50_difference``, second half minus first, mag (of ``m50``, or of the magnitude that
        ``snr50`` stands for, so -2.5 log10 of the ratio of the two); ``n_bins`` with at least 100 injections
        of the second half; among them ``largest_pull`` and ``n_over_3``, recovered minus predicted over the
        root of the binomial variance and of that of the prediction (bootstrap over the first half's cells);
        and ``largest_pull_cells`` and ``n_over_3_cells``, where the variance of the recovered number is the
        bootstrap's over the second half's cells, or the binomial one where that is larger: injections on one
        host, over all visits, are not independent, but of few cells the bootstrap tells too little. Bands
        that one half cannot fit are left out.
    """
    half = sky_fold(injections.cell, 2, seed)
    first, second = injections.where(half == 0), injections.where(half == 1)
    fitted = fit_efficiency(fit, first, generator("holdout", seed, name, 0))
    other = fit(second) if len(second) else None
    if fitted is None or other is None:
        return {}
    rng = generator("holdout", seed, name, 1)
    bins = np.floor(coordinate[half == 1]).astype(np.int64)
    pulls = _pulls(fitted, second, bins, rng)
    here, there = _m50(fitted.model), _m50(other)
    return {
        band: {"m50_difference": there[band] - here[band], **_summary(pulls.get(band, []))}
        for band in here
        if band in there
    }


def _m50(model: EfficiencyModel) -> dict[str, float]:
    """Return m50 by band; that of an ``snr50`` for some zero point."""
    found = model.parameters()
    mags = {band: value for (band, name), value in found.items() if name == "m50"}
    return mags or {b: -2.5 * float(np.log10(v)) for (b, name), v in found.items() if name == "snr50"}


def _summary(pulls: list[_Pull]) -> dict[str, Any]:
    binomial, cells = ([abs(getattr(pull, name)) for pull in pulls] for name in ("binomial", "cells"))
    return {
        "n_bins": len(pulls),
        "largest_pull": max(binomial, default=None),
        "n_over_3": sum(pull > 3 for pull in binomial),
        "largest_pull_cells": max(cells, default=None),
        "n_over_3_cells": sum(pull > 3 for pull in cells),
    }


def _pulls[M: EfficiencyModel](
    fitted: Fitted[M], second: Injections, bins: NDArray[np.int64], rng: np.random.Generator
) -> dict[str, list[_Pull]]:
    """Return the pulls of each band's bins that are full enough."""
    _, of_row, count = np.unique(
        np.stack([_codes(second.band), bins]), axis=1, return_inverse=True, return_counts=True
    )
    of_row = of_row.ravel()
    expected = fitted.model(second)
    deviation = np.where(np.isfinite(expected), second.recovered - expected, 0.0)
    total, binomial = (np.bincount(of_row, values) for values in (deviation, expected * (1.0 - expected)))
    predicted = np.nanvar([np.bincount(of_row, model(second)) for model in fitted.replicates], axis=0)
    draws = [np.bincount(of_row, deviation * weights) for weights in cell_weights(second.cell, rng)]
    counted = np.maximum(np.var(draws, axis=0), binomial)
    band_of = dict(zip(of_row.tolist(), second.band.tolist(), strict=True))
    pulls: dict[str, list[_Pull]] = {}
    for k in np.flatnonzero(count >= _MIN_COUNT):
        if np.isfinite(binomial[k] + predicted[k]):
            errors = (np.sqrt(max(v[k] + predicted[k], 1e-9)) for v in (binomial, counted))
            pulls.setdefault(band_of[int(k)], []).append(_Pull(*(float(total[k] / e) for e in errors)))
    return pulls


def _codes(band: NDArray[np.str_]) -> NDArray[np.int64]:
    return np.unique(band, return_inverse=True)[1].astype(np.int64)
