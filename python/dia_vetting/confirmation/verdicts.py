"""One verdict per object: probabilities of the classes, what they are called, and the reasons as flags."""

from __future__ import annotations

__all__ = ["Criteria", "verdict_flags", "verdict_names", "verdict_table"]

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from .features import HOST_CENTRE, ON_STAR, feature_matrix
from .flags import VerdictFlag
from .object_columns import ContextSettings, ObjectInputs, object_columns
from .rule import VerdictRule
from .schemas import CLASSES, DIA_OBJECT_VERDICT

type F64 = NDArray[np.float64]
type Bool = NDArray[np.bool_]
type Columns = Mapping[str, NDArray[Any]]


@dataclasses.dataclass(frozen=True)
class Criteria:
    """When a probability becomes a verdict, and a figure a reason.

    Parameters
    ----------
    confirm : `float`
        Least probability of a transient that is confirmed.
    min_detections, min_nights : `int`
        Visits and nights that it has to be detected in.
    least : `float`
        Least probability of a class; below it the verdict is unknown.
    prior_shift : `~collections.abc.Mapping`
        Added to the log-odds of a class.
    ood : `float`
        Median ``ood`` from which on sources are strange.
    blend : `float`
        Median ``p_blend`` from which on an object is blended.
    bright_star, bright_reach : `float`
        Magnitude of stars that reach so far, arcsec.
    """

    confirm: float = 0.95
    min_detections: int = 3
    min_nights: int = 2
    least: float = 0.5
    prior_shift: Mapping[str, float] = dataclasses.field(default_factory=dict)
    ood: float = 0.99
    blend: float = 0.5
    bright_star: float = 18.0
    bright_reach: float = 6.0


def verdict_table(
    inputs: ObjectInputs, settings: ContextSettings, criteria: Criteria, rule: VerdictRule
) -> Table:
    """Give every object its verdict.

    Parameters
    ----------
    inputs : `~.object_columns.ObjectInputs`
        Of a tract.
    settings : `~.object_columns.ContextSettings`
        How to look at them.
    criteria : `Criteria`
        When a probability becomes a verdict.
    rule : `~.rule.VerdictRule`
        Weights.

    Returns
    -------
    table : `astropy.table.Table`
        In `~.schemas.DIA_OBJECT_VERDICT`, one row per distinct object, by id.
    """
    columns, _ = object_columns(inputs, settings)
    terms = rule.terms(feature_matrix(columns), criteria.prior_shift)
    probability = rule.probabilities(terms)
    named, of_class = verdict_names(columns, probability, criteria)
    values = {
        **columns,
        **terms,
        **{f"p_{name}": probability[:, i] for i, name in enumerate(CLASSES)},
        "verdict": named,
        "probability": probability[np.arange(len(named)), of_class],
        "flags": verdict_flags(columns, criteria, inputs),
        "verdictVersion": np.full(len(named), rule.version),
    }
    wanted = DIA_OBJECT_VERDICT.names()
    meta = {"verdict_version": rule.version, "flags": {bit.name: int(bit) for bit in VerdictFlag}}
    return DIA_OBJECT_VERDICT.build({name: values[name] for name in wanted}, meta)


def verdict_names(
    columns: Columns, probability: F64, criteria: Criteria
) -> tuple[NDArray[np.str_], NDArray[np.int64]]:
    """Name the verdicts.

    Parameters
    ----------
    columns : `~collections.abc.Mapping`
        ``nDetections`` and ``nNightsDetected``, (N,).
    probability : `numpy.ndarray`, (N, C), float64
        Of `~.schemas.CLASSES`.
    criteria : `Criteria`
        When.

    Returns
    -------
    verdict : `numpy.ndarray`, (N,), str
        The most probable class, if it is probable enough and there is a detection; confirmed or candidate for
        a transient.
    of_class : `numpy.ndarray`, (N,), int64
        Index of the most probable class.
    """
    of_class = np.argmax(probability, axis=1)
    highest = probability.max(axis=1, initial=0.0)
    detections = np.asarray(columns["nDetections"])
    enough = detections >= criteria.min_detections
    enough &= np.asarray(columns["nNightsDetected"]) >= criteria.min_nights
    confirmed = (of_class == 0) & (highest >= criteria.confirm) & enough
    name = np.array(["candidate", *CLASSES[1:]])[of_class]
    unknown = (highest < criteria.least) | (detections == 0)
    return np.select([unknown, confirmed], ["unknown", "confirmed"], name), of_class


def verdict_flags(columns: Columns, criteria: Criteria, inputs: ObjectInputs) -> NDArray[np.int64]:
    """Return the bits of `~.flags.VerdictFlag`, (N,), int64.

    Parameters
    ----------
    columns : `~collections.abc.Mapping`
        From `~.object_columns.object_columns`.
    criteria : `Criteria`
        When a figure is a reason.
    inputs : `~.object_columns.ObjectInputs`
        What there was.
    """
    parts = {**_missing(columns, inputs), **_counts(columns, criteria), **_scores(columns, criteria)}
    parts |= {**_light_curve(columns), **_place(columns, criteria)}
    flags = np.zeros(len(columns["diaObjectId"]), np.int64)
    for bit, is_set in parts.items():
        flags[np.broadcast_to(is_set, flags.shape)] |= int(bit)
    return flags


def _missing(c: Columns, inputs: ObjectInputs) -> dict[VerdictFlag, Bool]:
    return {
        VerdictFlag.NO_DETECTION: c["nDetections"] == 0,
        VerdictFlag.NO_FORCED: c["nForced"] == 0,
        VerdictFlag.NO_SCORE: c["nScored"] == 0,
        VerdictFlag.UNSCORED_SOURCES: (c["nScored"] > 0) & (c["nScored"] < c["nDiaSources"]),
        VerdictFlag.NAN_FLUX: c["nanFlux"],
        VerdictFlag.BAD_PIXELS: c["badPixels"],
        VerdictFlag.DUPLICATE_ID: c["duplicated"],
        VerdictFlag.NIGHT_ESTIMATED: c["nightEstimated"],
        VerdictFlag.BAD_POSITION: ~(np.isfinite(c["ra"]) & np.isfinite(c["dec"])),
        VerdictFlag.NO_HOST_CATALOG: np.array(inputs.galaxies is None),
        VerdictFlag.NO_STAR_CATALOG: np.array(inputs.stars is None),
        VerdictFlag.NO_BLEND: np.isnan(c["pBlendMedian"]),
    }


def _counts(c: Columns, criteria: Criteria) -> dict[VerdictFlag, Bool]:
    return {
        VerdictFlag.SINGLE_EPOCH: c["nDetections"] == 1,
        VerdictFlag.SINGLE_NIGHT: c["nNightsDetected"] == 1,
        VerdictFlag.SINGLE_BAND: c["nBandsDetected"] == 1,
        VerdictFlag.FEW_DETECTIONS: c["nDetections"] < criteria.min_detections,
    }


def _scores(c: Columns, criteria: Criteria) -> dict[VerdictFlag, Bool]:
    return {
        VerdictFlag.RELIABLE: c["combinedReliability"] >= 0.5,
        VerdictFlag.UNRELIABLE: c["combinedReliability"] < 0.5,
        VerdictFlag.GLINT_TRAIL: c["glintFraction"] > 0,
        VerdictFlag.BLENDED: c["pBlendMedian"] >= criteria.blend,
        VerdictFlag.OUT_OF_DISTRIBUTION: c["oodMedian"] >= criteria.ood,
        VerdictFlag.DIPOLE: c["dipoleFraction"] >= 0.5,
        VerdictFlag.TRAILED: c["trailLengthMedian"] > 1.0,
    }


def _light_curve(c: Columns) -> dict[VerdictFlag, Bool]:
    """Say which model is the best, of those that are ten times as likely as noise."""
    names = ("lnTransient", "lnVariable", "lnConstant", "lnOutliers")
    table = np.stack([np.nan_to_num(np.asarray(c[name], float), nan=-np.inf) for name in names])
    best = np.where(table.max(axis=0, initial=-np.inf) > np.log(10.0), table.argmax(axis=0), -1)
    best = np.where(c["nForced"] > 0, best, -1)
    return {
        VerdictFlag.TRANSIENT_SHAPE: best == 0,
        VerdictFlag.VARIABLE_SHAPE: best == 1,
        VerdictFlag.CONSTANT: best == 2,
        VerdictFlag.ISOLATED_OUTLIERS: best == 3,
        VerdictFlag.NEGATIVE: c["nNegative"] > c["nPositive"],
        VerdictFlag.BOTH_SIGNS: (c["nNegative"] > 0) & (c["nPositive"] > 0),
    }


def _place(c: Columns, criteria: Criteria) -> dict[VerdictFlag, Bool]:
    from scipy.stats import chi2

    with np.errstate(invalid="ignore"):
        scattered = chi2.sf(c["chi2Position"], np.maximum(c["dofPosition"], 1)) < 1e-3
        moves = c["motionSignificance"] > 5.0
        error = HOST_CENTRE
        return {
            VerdictFlag.MOVES: moves,
            VerdictFlag.SCATTERED: scattered & ~moves,
            VerdictFlag.SAME_PIXEL: scattered & (c["pixelScatter"] < 0.7),
            VerdictFlag.HOSTLESS: c["hostless"],
            VerdictFlag.HOST_CENTRE: c["hostOffset"] < error,
            VerdictFlag.ON_STAR: c["starOffset"] < ON_STAR,
            VerdictFlag.NEAR_BRIGHT_STAR: (c["starMag"] < criteria.bright_star)
            & (c["starOffset"] < criteria.bright_reach),
        }
