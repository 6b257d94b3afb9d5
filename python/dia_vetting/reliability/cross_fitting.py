"""One network per fold of the sky, and the scores that each gives to the fold it never saw."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from importlib.metadata import version

import numpy as np
from numpy.typing import NDArray

from .. import __version__
from ..seeding import generator
from .bootstrap import Estimate
from .curves import summarise_curves
from .folds import fold_splits
from .inputs import CHANNELS, LAYOUT
from .metrics import Sample
from .model_dataset import ModelCard, ReliabilityModel
from .scoring import load_networks, predict
from .training import TrainingSettings, train_network

__all__ = ["CrossFit", "FoldSettings", "TrainingSet", "cross_fit"]

_REPLICAS = 200
"""Bootstrap replicas of the figures in the model card."""


@dataclasses.dataclass(frozen=True)
class TrainingSet:
    """Rows to train with.

    Parameters
    ----------
    inputs : `numpy.ndarray`, (N, C, S, S), float16
        From `~.inputs.network_inputs`.
    injected : `numpy.ndarray`, (N,), bool
        Injected or else unlabelled.
    cells : `numpy.ndarray`, (N,), int64
        Sky cell of each row.
    """

    inputs: NDArray[np.float16]
    injected: NDArray[np.bool_]
    cells: NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class FoldSettings:
    """How the sky is split (see `~.folds.fold_splits`).

    Parameters
    ----------
    nside : `int`
        HEALPix resolution of the cells.
    n_folds : `int`
        Number of folds.
    validation_fraction : `float`
        Fraction of the rows outside a fold that select its model.
    min_examples : `int`
        Smallest number of rows of each class to train a fold with.
    """

    nside: int = 4096
    n_folds: int = 4
    validation_fraction: float = 0.15
    min_examples: int = 30


@dataclasses.dataclass(frozen=True)
class CrossFit:
    """A trained model and the out-of-fold scores of the rows it was trained with.

    Parameters
    ----------
    model : `~.model_dataset.ReliabilityModel`
        With its content hash.
    scores : `numpy.ndarray`, (N,), float32
        Out of fold.
    folds : `numpy.ndarray`, (N,), int64
        Fold of each row.
    histories : `list` of `list` of `dict`
        Per fold and epoch, what `~.training.TrainedNetwork` records.
    """

    model: ReliabilityModel
    scores: NDArray[np.float32]
    folds: NDArray[np.int64]
    histories: list[list[dict[str, float]]]


def cross_fit(
    data: TrainingSet,
    architecture: str,
    options: Mapping[str, int | float],
    settings: TrainingSettings,
    fold_settings: FoldSettings,
    instrument: str,
    min_valid_fraction: float,
    label_counts: Mapping[str, int],
) -> CrossFit:
    """Train one network per fold and score each fold with the network that never saw it.

    Parameters
    ----------
    data : `TrainingSet`
        Rows to train with.
    architecture : `str`
        Name of the architecture.
    options : `~collections.abc.Mapping`
        Its options.
    settings : `~.training.TrainingSettings`
        How to train.
    fold_settings : `FoldSettings`
        How to split.
    instrument, min_valid_fraction, label_counts
        For the model card (see `~.model_dataset.ModelCard`).

    Returns
    -------
    result : `CrossFit`
        Model and scores.

    Raises
    ------
    TooFewSkyCellsError, TooFewExamplesError
        As for `~.folds.fold_splits`.
    """
    splits = fold_splits(
        data.cells,
        data.injected,
        fold_settings.n_folds,
        settings.seed,
        fold_settings.validation_fraction,
        fold_settings.min_examples,
    )
    trained = [
        train_network(data.inputs, data.injected, split, architecture, options, settings) for split in splits
    ]
    card = ModelCard(
        architecture=architecture,
        options=dict(options),
        layout=LAYOUT,
        channels=CHANNELS,
        stamp_size=data.inputs.shape[-1],
        min_valid_fraction=min_valid_fraction,
        instrument=instrument,
        seed=settings.seed,
        nside=fold_settings.nside,
        n_folds=fold_settings.n_folds,
        settings=dataclasses.asdict(settings),
        label_counts=dict(label_counts),
        class_prior=float(data.injected.mean()),
        epochs=tuple(network.epoch for network in trained),
        selection_fpr=settings.selection_fpr,
        thresholds=tuple(network.threshold for network in trained),
        metrics={},
        software={"dia_vetting": __version__, "torch": version("torch")},
    )
    model = ReliabilityModel(card, [network.weights for network in trained], np.unique(data.cells))
    scores = np.full(len(data.injected), np.nan, dtype=np.float32)
    folds = np.full(len(data.injected), -1, dtype=np.int64)
    for split, network in zip(splits, load_networks(model), strict=True):
        scores[split.test] = predict([network], data.inputs[split.test])[0]
        folds[split.test] = split.fold
    metrics = _metrics(scores, data, settings)
    model = dataclasses.replace(model, card=card.model_copy(update={"metrics": metrics})).sealed()
    return CrossFit(model, scores, folds, [network.history for network in trained])


def _metrics(
    scores: NDArray[np.float32], data: TrainingSet, settings: TrainingSettings
) -> dict[str, tuple[float, float, float]]:
    """Return figures of the out-of-fold scores against the labels, with intervals over sky cells."""
    sample = Sample(scores.astype(float), data.injected, data.cells, np.full(len(scores), np.nan))
    weights = sample.weights(_REPLICAS, generator(settings.seed, "model card bootstrap"))
    curves = summarise_curves(sample, weights, (settings.selection_fpr,))
    return {
        "auc_injected_unlabelled": _ends(curves.auc),
        "tpr_injected_at_selection_fpr": _ends(curves.tpr_at_fpr, 0),
    }


def _ends(estimate: Estimate, index: int | tuple[()] = ()) -> tuple[float, float, float]:
    return float(estimate.value[index]), float(estimate.low[index]), float(estimate.high[index])
