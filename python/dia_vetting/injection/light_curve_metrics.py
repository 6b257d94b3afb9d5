"""The figures of coherent injections: are they found as one object, and are their light curves right."""

from __future__ import annotations

__all__ = ["injection_objects", "light_curve_metrics"]

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from astropy.table import Table, join
from numpy.typing import NDArray

from ..planes import robust_sigma
from ..reliability.bootstrap import percentile_interval, wilson_interval
from ..seeding import generator
from .light_curve_recovery import ALL_BANDS, Association
from .light_curves.base import EFFECTIVE_WAVELENGTH
from .schemas import INJECTION_OBJECT

type F64 = NDArray[np.float64]

_REPLICATES = 500
_LEAST = 5
"""Figures of fewer transients are None."""
_COLOR_SNR = 10.0
"""Least signal-to-noise ratio of the amplitudes of both bands of a colour."""
_DETECTIONS = (1, 2, 3, 5)


def injection_objects(truth: Table, n_visits: NDArray[np.int64], association: Association) -> Table:
    """Return what became of each transient.

    Parameters
    ----------
    truth : `astropy.table.Table`
        In `~dia_vetting.injection.schemas.TRANSIENT_TRUTH`, the transients in the order of ``association``.
    n_visits : `numpy.ndarray`, (N,), int64
        Visits with light of each.
    association : `Association`
        Their DIA objects.

    Returns
    -------
    objects : `astropy.table.Table`
        In `~dia_vetting.injection.schemas.INJECTION_OBJECT`.
    """
    return INJECTION_OBJECT.build(
        {
            **{name: truth[name] for name in ("injection_id", "host_id", "ra", "dec", "model")},
            "n_visits": n_visits,
            "n_detections": association.n_detections,
            "n_objects": association.n_objects,
            "diaObjectId": association.dia_object,
        }
    )


def light_curve_metrics(objects: Table, fits: Table, min_detections: int, seed: int) -> dict[str, Any]:
    """Return the figures with their 95 % intervals, by population.

    Parameters
    ----------
    objects : `astropy.table.Table`
        In `~dia_vetting.injection.schemas.INJECTION_OBJECT`.
    fits : `astropy.table.Table`
        In `~dia_vetting.injection.schemas.INJECTION_LIGHT_CURVE_FIT`.
    min_detections : `int`
        Light curves of transients with fewer DIA sources are not judged.
    seed : `int`
        Seed of the bootstrap over transients.

    Returns
    -------
    metrics : `dict`
        By model: ``n``; ``detected_<k>`` (fraction with at least k DIA sources, Wilson's interval);
        ``split`` (of the detected ones, the fraction that is in several objects); ``n_judged`` and of these
        ``chi2_per_point`` and ``chi2_noise_per_point`` (sums over all points, the latter with psfDiffFluxErr
        alone), ``median_chi2_per_point`` (of the transients), ``outliers`` (fraction of the points),
        ``chi2_shape_per_degree`` (sums, without outliers, zero levels and amplitude free); by band
        ``amplitude_bias`` (weighted mean of the amplitude, less 1) and ``amplitude_pull_width`` (robust); by
        pair of bands ``color_bias`` (median of the measured minus the injected colour, mag) and
        ``color_pull_width``. A figure is a dictionary of value, low, high, n; of too few transients None.
    """
    models = np.asarray(objects["model"]).astype(str)
    return {
        str(model): _model_metrics(objects[models == model], fits, min_detections, seed, str(model))
        for model in np.unique(models)
    }


def _model_metrics(objects: Table, fits: Table, least: int, seed: int, model: str) -> dict[str, Any]:
    detections = np.asarray(objects["n_detections"])
    found = detections > 0
    judged = np.asarray(objects["injection_id"])[detections >= least]
    mine = fits[np.isin(fits["injection_id"], judged)]
    bands = np.asarray(mine["band"]).astype(str)
    rng = generator("light curve metrics", seed, model)
    whole = mine[bands == ALL_BANDS]
    names = ("chi2", "chi2_noise", "n_points", "n_outliers", "n_degrees")
    chi2, noise_chi2, points, outliers, degrees = (np.asarray(whole[name], float) for name in names)
    shape = np.where(degrees > 0, np.asarray(whole["chi2_shape"], float), 0.0)
    by_band = {
        str(b): mine[bands == b]
        for b in sorted(set(bands.tolist()) - {ALL_BANDS}, key=EFFECTIVE_WAVELENGTH.__getitem__)
    }
    return {
        "n": len(objects),
        **{f"detected_{k}": _fraction(detections >= k) for k in _DETECTIONS},
        "split": _fraction(np.asarray(objects["n_objects"])[found] > 1),
        "n_judged": len(judged),
        "chi2_per_point": _ratio(chi2, points, rng),
        "chi2_noise_per_point": _ratio(noise_chi2, points, rng),
        "median_chi2_per_point": _bootstrap(chi2 / np.maximum(points, 1.0), np.median, rng),
        "outliers": _ratio(outliers, points, rng),
        "chi2_shape_per_degree": _ratio(shape, degrees, rng),
        "bands": {band: _amplitudes(rows, rng) for band, rows in by_band.items()},
        "colors": {
            f"{blue}-{red}": _colors(by_band[blue], by_band[red], rng)
            for blue, red in itertools.pairwise(by_band)
        },
    }


def _amplitudes(rows: Table, rng: np.random.Generator) -> dict[str, Any]:
    lit = rows[np.isfinite(np.asarray(rows["amplitude"], float))]
    amplitude, error = (np.asarray(lit[name], float) for name in ("amplitude", "amplitude_err"))
    weight = error**-2.0
    return {
        "amplitude_bias": _ratio((amplitude - 1.0) * weight, weight, rng),
        "amplitude_pull_width": _bootstrap((amplitude - 1.0) / error, robust_sigma, rng),
    }


def _colors(blue: Table, red: Table, rng: np.random.Generator) -> dict[str, Any]:
    pair = join(blue, red, "injection_id", table_names=["blue", "red"])
    amplitude, error = (
        np.stack([np.asarray(pair[f"{name}_{end}"], float) for end in ("blue", "red")])
        for name in ("amplitude", "amplitude_err")
    )
    relative = error / amplitude
    bright = ((relative > 0) & (relative <= 1.0 / _COLOR_SNR)).all(axis=0)
    amplitude, relative = amplitude[:, bright], relative[:, bright]
    color = -2.5 * np.log10(amplitude[0] / amplitude[1])
    color_err = 2.5 / np.log(10.0) * np.hypot(*relative)
    return {
        "color_bias": _bootstrap(color, np.median, rng),
        "color_pull_width": _bootstrap(color / color_err, robust_sigma, rng),
    }


def _fraction(hits: NDArray[np.bool_]) -> dict[str, Any] | None:
    if not len(hits):
        return None
    low, high = wilson_interval(int(hits.sum()), len(hits))
    return {"value": float(hits.mean()), "low": float(low), "high": float(high), "n": len(hits)}


def _ratio(above: F64, below: F64, rng: np.random.Generator) -> dict[str, Any] | None:
    """Return sum(above) / sum(below) over transients, with its bootstrap interval."""
    pairs = np.stack([above, below], axis=1)
    return _bootstrap(pairs, lambda rows: float(rows[:, 0].sum() / rows[:, 1].sum()), rng)


def _bootstrap(
    values: F64, figure: Callable[[F64], float], rng: np.random.Generator
) -> dict[str, Any] | None:
    if len(values) < _LEAST:
        return None
    draws = rng.integers(0, len(values), (_REPLICATES, len(values)))
    low, high = percentile_interval(np.array([figure(values[rows]) for rows in draws], np.float64))
    return {"value": float(figure(values)), "low": float(low), "high": float(high), "n": len(values)}
