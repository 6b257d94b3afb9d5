"""What a verdict is made of: numbers that say something of the class of an object, by their term."""

from __future__ import annotations

__all__ = ["FEATURES", "feature_matrix", "squashed"]

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

type F64 = NDArray[np.float64]

FEATURES: dict[str, tuple[str, ...]] = {
    "prior": ("one",),
    "reliability": ("log_ratio", "median_ratio", "unscored"),
    "recurrence": ("log_detections", "log_nights", "detected_fraction", "bands_fraction"),
    "coherence": ("transient_walk", "transient_outliers", "walk_outliers", "constant_walk", "no_forced"),
    "sign": ("negative", "both_signs"),
    "position": ("position_excess", "motion_excess"),
    "shape": ("dipole", "trail", "extended"),
    "context": ("hosted", "host_centre", "host_radii", "on_star", "star_faint", "bright_star"),
}
"""Features by term, in the order of the columns of `feature_matrix`."""

HOST_CENTRE = 0.25
"""Offset from a galaxy's centre at which a nucleus is less likely by exp(-1/2), arcsec."""

ON_STAR = 0.3
"""The same from a star, arcsec."""

BRIGHT_MAGNITUDE = 18.0
"""Stars brighter than this leave residuals around them, AB."""

BRIGHT_REACH = 3.0
"""Scale of the distance from these, arcsec."""


def squashed(values: ArrayLike) -> F64:
    """Return sign(x) log(1 + |x|), with 0 for NaN: log evidences have a long tail that says little more."""
    values = np.nan_to_num(np.asarray(values, np.float64), posinf=1e6, neginf=-1e6)
    return np.sign(values) * np.log1p(np.abs(values))


def feature_matrix(columns: Mapping[str, NDArray[np.generic]]) -> F64:
    """Return the features of N objects.

    Parameters
    ----------
    columns : `~collections.abc.Mapping`
        Columns of ``dia_object_verdict``, and ``logRatio``, ``medianRatio`` (log likelihood ratios of the
        scores, all together and of their median) and ``extendedFraction``.

    Returns
    -------
    features : `numpy.ndarray`, (N, F), float64
        In the order of `FEATURES`; finite: what is not known is 0, and says nothing.
    """
    c = {name: np.asarray(values, np.float64) for name, values in columns.items() if _is_number(values)}
    parts = {**_of_scores(c), **_of_recurrence(c), **_of_shape(c), **_of_context(c)}
    names = [name for term in FEATURES.values() for name in term]
    return np.nan_to_num(np.stack([parts[name] for name in names], axis=1))


def _is_number(values: NDArray[np.generic]) -> bool:
    return np.asarray(values).dtype.kind in "iufb"


def _of_scores(c: Mapping[str, F64]) -> dict[str, F64]:
    return {
        "one": np.ones(len(c["nDetections"])),
        "log_ratio": c["logRatio"] / 3.0,
        "median_ratio": c["medianRatio"] / 3.0,
        "unscored": (c["nScored"] == 0).astype(float),
    }


def _of_recurrence(c: Mapping[str, F64]) -> dict[str, F64]:
    """Light curve: how often it was detected, and which model explains it."""
    forced = (c["nForced"] > 0) & np.isfinite(c["lnTransient"])
    some = np.maximum(c["nDetections"], 1.0)
    outliers, walk, transient = c["lnOutliers"], c["lnVariable"], c["lnTransient"]

    def difference(one: F64, other: F64) -> F64:
        return np.where(forced, squashed(one - other), 0.0)

    return {
        "log_detections": np.log(some),
        "log_nights": np.log(np.maximum(c["nNightsDetected"], 1.0)),
        "detected_fraction": np.where(forced, some / np.maximum(c["nEpochs"], some), 0.0),
        "bands_fraction": np.where(
            some > 1, c["nBandsDetected"] / np.maximum(np.minimum(c["nBands"], some), 1.0), 0.0
        ),
        "transient_walk": difference(transient, walk),
        "transient_outliers": difference(transient, outliers),
        "walk_outliers": difference(walk, outliers),
        "constant_walk": difference(c["lnConstant"], walk),
        "no_forced": (~forced).astype(float),
    }


def _of_shape(c: Mapping[str, F64]) -> dict[str, F64]:
    """Signs, positions and shapes of the detections."""
    signs = np.maximum(c["nPositive"] + c["nNegative"], 1.0)
    negative = c["nNegative"] / signs
    excess = c["chi2Position"] / np.maximum(c["dofPosition"], 1.0)
    return {
        "negative": negative,
        "both_signs": 2.0 * np.minimum(negative, np.minimum(c["nPositive"] / signs, 0.5)),
        "position_excess": np.clip(np.log(np.where(excess > 0, excess, 1.0)), -1.0, 4.0),
        "motion_excess": np.clip(np.log1p(np.nan_to_num(c["motionSignificance"])) - 1.0, 0.0, 4.0),
        "dipole": np.nan_to_num(c["dipoleFraction"]),
        "trail": np.log1p(np.clip(np.nan_to_num(c["trailLengthMedian"]), 0.0, 20.0)),
        "extended": np.nan_to_num(c["extendedFraction"]),
    }


def _of_context(c: Mapping[str, F64]) -> dict[str, F64]:
    """Host and star."""
    near = np.where(np.isfinite(c["starOffset"]), c["starOffset"], np.inf)
    on_star = np.exp(-0.5 * (near / ON_STAR) ** 2)
    bright = np.clip(BRIGHT_MAGNITUDE - c["starMag"], 0.0, 5.0) * np.exp(-near / BRIGHT_REACH)
    offset = np.where(np.isfinite(c["hostOffset"]), c["hostOffset"], np.inf)
    hosted = np.isfinite(c["hostOffset"])
    return {
        "hosted": hosted.astype(float),
        "host_centre": np.exp(-0.5 * (offset / HOST_CENTRE) ** 2),
        "host_radii": np.where(hosted, np.minimum(c["hostOffsetRadii"], 5.0) / 5.0, 0.0),
        "on_star": on_star,
        "star_faint": on_star * np.clip(np.nan_to_num(c["starMag"], nan=21.0) - 21.0, -5.0, 5.0) / 3.0,
        "bright_star": np.nan_to_num(bright),
    }
