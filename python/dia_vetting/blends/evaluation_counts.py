"""How well sources are counted, and where they overlap."""

from __future__ import annotations

__all__ = ["COUNTS", "MIN_SNR", "Overlap", "count_matrix", "counting", "overlap", "overlap_iou", "terms"]

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..reliability.bootstrap import Estimate
from .evaluation import EvaluationRows
from .prediction import BlendMaps, BlendPrediction
from .presets import Preset
from .segmentation import SEGMENTATION_THRESHOLD
from .stamps import BlendTruth

type F64 = NDArray[np.float64]
type I64 = NDArray[np.int64]

COUNTS = ("1", "2", "3", "4+")
"""Numbers of sources that are told apart."""

MIN_SNR = 20.0
"""Signal-to-noise ratio of the central source above which overlaps are judged."""


def count_matrix(rows: EvaluationRows, prediction: BlendPrediction) -> I64:
    """Return how many stamps of each number of sources are counted as what.

    Parameters
    ----------
    rows : `~.evaluation.EvaluationRows`
        N rows.
    prediction : `~.prediction.BlendPrediction`
        Of the same stamps.

    Returns
    -------
    counts : `numpy.ndarray`, (4, 5), int64
        True `COUNTS` by `COUNTS`, and at last those that are counted as none or not at all.
    """
    return np.asarray(_cells(rows, prediction).sum(axis=0).reshape(4, 5), np.int64)


def counting(rows: EvaluationRows, prediction: BlendPrediction) -> dict[str, Estimate]:
    """Return how well sources are counted.

    Parameters
    ----------
    rows, prediction
        As for `count_matrix`.

    Returns
    -------
    figures : `dict`
        ``macro_f1``, the mean of the F1 scores ``2 tp / (2 tp + fp + fn)`` of those `COUNTS` that are in the
        truth; ``f1`` itself, (4,), NaN for those that are not; ``accuracy``.
    """
    cells = _cells(rows, prediction)
    true = np.arange(20).reshape(4, 5)
    return {
        "macro_f1": rows.figure(cells, lambda counts: _mean(_f1(counts), counts)),
        "f1": rows.figure(cells, _f1),
        "accuracy": rows.rate(cells[:, np.diag(true)].any(axis=1), np.ones(len(rows), bool)),
    }


def _cells(rows: EvaluationRows, prediction: BlendPrediction) -> NDArray[np.bool_]:
    """Return in which of 4 x 5 cells each row is, (N, 20)."""
    true = np.clip(rows.truth.n_sources, 1, 4) - 1
    said = np.clip(np.nan_to_num(prediction.n_sources), 0, 4).astype(np.int64)
    cell = 5 * true + np.where(said > 0, said - 1, 4)
    return np.asarray(cell[:, None] == np.arange(20))


def _f1(counts: F64) -> F64:
    matrix = counts.reshape(-1, 4, 5)
    hits = np.diagonal(matrix, axis1=1, axis2=2)
    f1 = 2 * hits / (matrix.sum(axis=2) + matrix[:, :, :4].sum(axis=1))
    return np.where(matrix.sum(axis=2) > 0, f1, np.nan)


def _mean(f1: F64, counts: F64) -> F64:
    there = counts.reshape(-1, 4, 5).sum(axis=2) > 0
    return np.asarray(np.where(there, f1, 0.0).sum(axis=1) / there.sum(axis=1))


@dataclasses.dataclass(frozen=True)
class Overlap:
    """Pixels of N stamps in which sources overlap, in truth, by a method, or both.

    Parameters
    ----------
    shared, either, true : `numpy.ndarray`, (N,), int64
        Intersection, union, and those of the truth alone.
    """

    shared: I64
    either: I64
    true: I64

    @staticmethod
    def joined(parts: list[Overlap]) -> Overlap:
        """Return the rows of all parts, one part after another."""
        names = [field.name for field in dataclasses.fields(Overlap)]
        return Overlap(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def overlap(truth: BlendTruth, maps: BlendMaps) -> Overlap:
    """Compare where two sources or more are above the threshold of the segmentation with a method's maps.

    Parameters
    ----------
    truth : `~.stamps.BlendTruth`
        N rows.
    maps : `~.prediction.BlendMaps`
        Of the same stamps; an overlap is where its probability is above the threshold of the maps.
    """
    true = np.bitwise_count(truth.segmentation) >= 2
    said = maps.overlap > maps.threshold
    return Overlap(*(np.asarray(m.sum(axis=(1, 2)), np.int64) for m in (true & said, true | said, true)))


def overlap_iou(rows: EvaluationRows, pixels: Overlap, min_snr: float = MIN_SNR) -> dict[str, Estimate]:
    """Return the intersection over union of overlaps.

    Parameters
    ----------
    rows : `~.evaluation.EvaluationRows`
        N rows.
    pixels : `Overlap`
        Of the same stamps.
    min_snr : `float`, optional
        Central sources must have a higher signal-to-noise ratio.

    Returns
    -------
    iou : `dict`
        ``per_stamp``, the mean over stamps with an overlap in truth; ``pooled``, over the pixels of all
        stamps together, among them those without an overlap in truth; the number ``n`` of the former.
    """
    bright = rows.truth.snr > min_snr
    there = bright & (pixels.true > 0)
    iou = np.where(there, pixels.shared / np.maximum(pixels.either, 1), 0.0)
    return {
        "per_stamp": _ratio(rows, iou, there),
        "pooled": _ratio(rows, pixels.shared * bright, pixels.either * bright),
        "n": Estimate.of(np.count_nonzero(there)),
    }


def _ratio(rows: EvaluationRows, above: NDArray[Any], below: NDArray[Any]) -> Estimate:
    return rows.figure(np.stack([above, below], axis=1), lambda sums: sums[:, 0] / sums[:, 1])


def terms(preset: Preset, truth: BlendTruth) -> dict[str, Any]:
    """Return what the figures depend on, for whoever compares them with others.

    Parameters
    ----------
    preset : `~.presets.Preset`
        Of the stamps.
    truth : `~.stamps.BlendTruth`
        Theirs.

    Returns
    -------
    terms : `dict`
        ``segmentation_threshold`` over the noise; ``least_blend_distance``, of companions in a blend over the
        sum of the half-light radii behind the PSF, `None` where it is not limited;
        ``least_companion``, the least flux of a companion over that of the central source;
        ``least_flux_ratio``, of the fainter over the brighter, since companions may be brighter; and of the
        blends that were made the least ``separation`` (pixels) and ``flux_ratio``.
    """
    population = preset.population
    span = population.magnitude[1] - population.magnitude[0]
    blend = truth.kind == "blend"
    return {
        "segmentation_threshold": SEGMENTATION_THRESHOLD,
        "least_blend_distance": preset.layout.blend[0] if preset.layout.offset is None else None,
        "least_companion": float(10.0 ** (-0.4 * min(population.contrast, span))),
        "least_flux_ratio": float(10.0 ** (-0.4 * span)),
        "separation": float(truth.separation[blend].min()) if blend.any() else None,
        "flux_ratio": float(truth.flux_ratio[blend].min()) if blend.any() else None,
    }
