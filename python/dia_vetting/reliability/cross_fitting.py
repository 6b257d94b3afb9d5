"""Networks of every fold of the sky, and the scores that each gives to the sky it never saw.

From these follow the fraction of real ones among the unlabelled, the calibration and the thresholds.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from .. import __version__
from ..seeding import generator
from .bootstrap import Estimate
from .calibration import Calibration, fit_calibration
from .curves import summarise_curves
from .folds import Split, check_unseen, fold_splits
from .inputs import CHANNELS, LAYOUT, METADATA, NetworkInputs
from .metrics import Sample
from .model_dataset import INHERITED_CELLS, ModelCard, ReliabilityModel
from .networks.base import TripletNetwork
from .outliers import fit_outliers
from .prior import estimate_prior
from .scoring import load_networks, predict_features, predict_logits
from .selection import LARGEST_PRIOR, threshold_at_true_fpr
from .training import TrainedNetwork, TrainingSettings, train_networks

__all__ = ["CrossFit", "FoldSettings", "ModelNotes", "TrainingSet", "cross_fit", "make_thresholds"]

_LOG = logging.getLogger(__name__)

_REPLICAS = 200
"""Bootstrap replicas of the figures in the model card."""

_FPR_POINTS = (0.0015, 0.01)
"""False-positive rates that the model card has thresholds for."""
_TPR_POINTS = (0.9, 0.95, 0.98)
"""True-positive rates of injections that it has thresholds for."""

_PREVALENCES = (0.001, LARGEST_PRIOR)
"""Least and largest prevalence that is taken from the estimate."""

_OUTLIER_METHOD = "relative"
"""Of the methods of `~.outliers`, the one that saw most of both kinds of artefact that were withheld."""

type F32 = NDArray[np.float32]
type I64 = NDArray[np.int64]
type Bool = NDArray[np.bool_]


@dataclasses.dataclass(frozen=True)
class TrainingSet:
    """Rows to train with.

    Parameters
    ----------
    inputs : `~.inputs.NetworkInputs`
        N rows.
    injected : `numpy.ndarray`, (N,), bool
        Injected or else unlabelled.
    cells : `numpy.ndarray`, (N,), int64
        Sky cell of each row.
    positions : `tuple` of `numpy.ndarray`, optional
        Right ascension and declination of each row, deg.
    objects : `~collections.abc.Mapping`, optional
        Object of each row by kind, (N,) int64; 0 for none.
    """

    inputs: NetworkInputs
    injected: Bool
    cells: I64
    positions: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None
    objects: Mapping[str, I64] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class FoldSettings:
    """How the sky is split (see `~.folds.fold_splits`), and how many networks there are.

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
    members : `int`
        Networks per fold.
    buffer_arcsec : `float`
        Rows nearer than this to another part of a split are not trained on.
    """

    nside: int = 4096
    n_folds: int = 4
    validation_fraction: float = 0.15
    min_examples: int = 30
    members: int = 1
    buffer_arcsec: float = 0.0


@dataclasses.dataclass(frozen=True)
class ModelNotes:
    """What only the caller knows of a model.

    Parameters
    ----------
    instrument : `str`
        What it was trained on.
    min_valid_fraction : `float`
        Smallest fraction of valid pixels of the rows.
    label_counts : `~collections.abc.Mapping`
        See `~.model_dataset.ModelCard`.
    prevalence : `float`, optional
        Fraction of real sources for which ``reliability`` is a probability; that estimated for the unlabelled
        by default.
    name : `str`
        Name of a model that is to be shipped.
    """

    instrument: str
    min_valid_fraction: float
    label_counts: Mapping[str, int]
    prevalence: float | None = None
    name: str = ""


@dataclasses.dataclass(frozen=True)
class CrossFit:
    """A trained model and what it says, out of fold, of the rows it was trained with.

    Parameters
    ----------
    model : `~.model_dataset.ReliabilityModel`
        With its content hash.
    networks : `list` of `~.networks.TripletNetwork`
        Its networks, ready to score.
    splits : `list` of `~.folds.Split`
        Of each fold.
    logits : `numpy.ndarray`, (N,), float32
        Out of fold, mean over the members.
    reliability : `numpy.ndarray`, (N,), float32
        The same, calibrated.
    folds : `numpy.ndarray`, (N,), int64
        Fold of each row.
    """

    model: ReliabilityModel
    networks: list[TripletNetwork]
    splits: list[Split]
    logits: F32
    reliability: F32
    folds: I64

    @property
    def trained_rows(self) -> list[I64]:
        """Rows that each network was trained on, in the order of the networks."""
        members = self.model.card.members
        return [split.train for split in self.splits for _ in range(members)]


def cross_fit(
    data: TrainingSet,
    architecture: str,
    options: Mapping[str, int | float],
    settings: TrainingSettings,
    fold_settings: FoldSettings,
    notes: ModelNotes,
    initial: ReliabilityModel | None = None,
) -> CrossFit:
    """Train the networks of every fold, score each fold with those that never saw it, calibrate the scores.

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
    notes : `ModelNotes`
        For the model card.
    initial : `~.model_dataset.ReliabilityModel`, optional
        Model to fine-tune: its networks are where training starts from, its architecture counts.

    Returns
    -------
    result : `CrossFit`
        Model and scores.

    Raises
    ------
    TooFewSkyCellsError, TooFewExamplesError, SplitLeakError
        As for `~.folds.fold_splits`.
    TrainingDivergedError
        If the loss is no longer a number.
    """
    if initial is not None:
        architecture, options = initial.card.architecture, initial.card.options
    splits = fold_splits(
        data.cells,
        data.injected,
        fold_settings.n_folds,
        settings.seed,
        fold_settings.validation_fraction,
        fold_settings.min_examples,
        data.positions,
        data.objects,
        fold_settings.buffer_arcsec,
    )
    trained: list[TrainedNetwork] = []
    for split in splits:
        if initial is not None:
            check_unseen(split, *_same_resolution(data.cells, fold_settings.nside, initial))
        trained += train_networks(
            data.inputs,
            data.injected,
            split,
            architecture,
            options,
            settings,
            fold_settings.members,
            None if initial is None else initial.networks,
        )
    card = ModelCard(
        name=notes.name,
        architecture=architecture,
        options=dict(options),
        strategy=settings.strategy,
        strategy_options=dict(settings.strategy_options),
        layout=LAYOUT,
        channels=CHANNELS,
        metadata=METADATA,
        stamp_size=data.inputs.size,
        min_valid_fraction=notes.min_valid_fraction,
        instrument=notes.instrument,
        seed=settings.seed,
        nside=fold_settings.nside,
        n_folds=fold_settings.n_folds,
        members=fold_settings.members,
        settings=settings.record(),
        label_counts=dict(notes.label_counts),
        injected_fraction=float(data.injected.mean()),
        prior=(0.0, 0.0, 0.0),
        prevalence=0.0,
        calibration={},
        epochs=tuple(network.epoch for network in trained),
        thresholds={},
        parent="" if initial is None else initial.card.content_hash,
        metrics={},
        software={"dia_vetting": __version__, "torch": version("torch")},
    )
    inherited = {} if initial is None else {INHERITED_CELLS: _inherited(initial, fold_settings.nside)}
    weights = [network.weights for network in trained]
    model = ReliabilityModel(card, weights, np.unique(data.cells), inherited)
    return _finish(model, data, splits, notes.prevalence)


def _same_resolution(cells: I64, nside: int, initial: ReliabilityModel) -> tuple[I64, I64]:
    """Return sky cells, and those that a model was trained on, at the coarser of the two resolutions.

    In the nested scheme of HEALPix, cells 4 n to 4 n + 3 make up cell n of half the resolution.
    """
    coarser = min(nside, initial.card.nside)
    return cells // (nside // coarser) ** 2, _seen(initial) // (initial.card.nside // coarser) ** 2


def _seen(model: ReliabilityModel) -> I64:
    """Return all sky cells that a model or one that it was fine-tuned from was trained on."""
    return np.union1d(model.trained_cells, model.inherited_cells)


def _inherited(initial: ReliabilityModel, nside: int) -> I64:
    """Return the cells of another resolution that the sky which a model has seen lies in."""
    finer = max(nside // initial.card.nside, 1) ** 2
    within = _seen(initial)[:, None] * finer + np.arange(finer)
    return np.unique(within // max(initial.card.nside // nside, 1) ** 2)


def _finish(
    model: ReliabilityModel, data: TrainingSet, splits: list[Split], prevalence: float | None
) -> CrossFit:
    """Score out of fold, and complete the model with all that follows from the scores."""
    card, networks = model.card, load_networks(model)
    logits = np.full(len(data.injected), np.nan, dtype=np.float32)
    folds = np.full(len(data.injected), -1, dtype=np.int64)
    auxiliary: dict[str, NDArray[Any]] = dict(model.auxiliary)
    for split in splits:
        own = range(split.fold * card.members, (split.fold + 1) * card.members)
        members = [networks[i] for i in own]
        logits[split.test] = predict_logits(members, data.inputs[split.test]).mean(axis=0)
        folds[split.test] = split.fold
        auxiliary |= _outlier_arrays(members, own, data, split)
    prior = estimate_prior(logits, data.injected, data.cells)
    believed = min(float(prior.value), LARGEST_PRIOR)
    calibration = fit_calibration(logits, data.injected, believed)
    if prevalence is None:
        prevalence = float(np.clip(prior.value, *_PREVALENCES))
    thresholds = make_thresholds(logits, data.injected, believed, calibration, prevalence)
    update = {
        "prevalence": prevalence,
        "prior": (float(prior.value), float(prior.low), float(prior.high)),
        "calibration": calibration.to_dict(),
        "thresholds": thresholds,
        "metrics": _metrics(logits, data, card.seed),
    }
    model = dataclasses.replace(model, card=card.model_copy(update=update), auxiliary=auxiliary).sealed()
    reliability = calibration.reliability(logits, prevalence)
    return CrossFit(model, networks, splits, logits, reliability, folds)


def _outlier_arrays(
    members: Sequence[TripletNetwork], indices: Sequence[int], data: TrainingSet, split: Split
) -> dict[str, NDArray[Any]]:
    """Return what each network's out-of-distribution score needs, by name."""
    features = predict_features(members, data.inputs[split.validation])[1]
    injected, cells = data.injected[split.validation], data.cells[split.validation]
    arrays: dict[str, NDArray[Any]] = {}
    for index, hidden in zip(indices, features, strict=True):
        outliers = fit_outliers(hidden, injected, cells, _OUTLIER_METHOD)
        arrays |= {f"ood{index}.{name}": array for name, array in outliers.arrays().items()}
    return arrays


def make_thresholds(
    logits: F32, injected: Bool, prior: float, calibration: Calibration, prevalence: float
) -> dict[str, float]:
    """Return the thresholds that a model card names.

    Parameters
    ----------
    logits : `numpy.ndarray`, (N,), float32
        Out of fold.
    injected : `numpy.ndarray`, (N,), bool
        Whether a row is an injection.
    prior : `float`
        Fraction of real ones among the unlabelled.
    calibration : `~.calibration.Calibration`
        From logits to reliability.
    prevalence : `float`
        At which reliability is a probability.

    Returns
    -------
    thresholds : `dict` [`str`, `float`]
        ``fpr_0.01``: reliability at which that fraction of the artefacts is called real, hidden ones taken
        into account (`~.selection`); ``tpr_0.95``: at which that fraction of the injections is.
    """
    levels = {f"fpr_{rate:g}": threshold_at_true_fpr(logits, injected, prior, rate) for rate in _FPR_POINTS}
    real = logits[injected]
    levels |= {
        f"tpr_{rate:g}": float(np.quantile(real, 1 - rate, method="inverted_cdf")) for rate in _TPR_POINTS
    }
    values = calibration.reliability(np.array(list(levels.values()), dtype=np.float32), prevalence)
    return {name: float(value) for name, value in zip(levels, values, strict=True)}


def _metrics(logits: F32, data: TrainingSet, seed: int) -> dict[str, tuple[float, float, float]]:
    """Return figures of the out-of-fold scores against the labels, with intervals over sky cells."""
    unknown = np.full(len(logits), np.nan)
    sample = Sample(expit(logits.astype(float)), data.injected, data.cells, unknown)
    weights = sample.weights(_REPLICAS, generator(seed, "model card bootstrap"))
    curves = summarise_curves(sample, weights, _FPR_POINTS)
    return {
        "auc_injected_unlabelled": _ends(curves.auc),
        "tpr_injected_at_labelled_fpr_0.01": _ends(curves.tpr_at_fpr, _FPR_POINTS.index(0.01)),
    }


def _ends(estimate: Estimate, index: int | tuple[()] = ()) -> tuple[float, float, float]:
    return float(estimate.value[index]), float(estimate.low[index]), float(estimate.high[index])
