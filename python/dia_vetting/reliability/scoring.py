"""Scores of DIA sources: out of fold where their sky was trained on, from all networks elsewhere."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from astropy.table import Table
from numpy.typing import NDArray

from ..errors import BadInputError
from ..skycells import sky_cell, sky_fold
from .calibration import Calibration
from .deterministic import best_device
from .inputs import CHANNELS, LAYOUT, METADATA, NetworkInputs, network_inputs, unscorable_reasons
from .model_dataset import ReliabilityModel
from .networks import build_network, check_options
from .networks.base import TripletNetwork, load_weights
from .outliers import OutlierModel

__all__ = [
    "InputLayoutError",
    "Scores",
    "best_device",
    "load_networks",
    "predict_features",
    "predict_logits",
    "score_cutouts",
    "score_inputs",
]

type F32 = NDArray[np.float32]

MICRO_BATCH = {"cpu": 128, "cuda": 4096}
"""Rows of 30 pixels per forward pass (see ``benchmarks/scoring.py``): on a CPU the activations of much larger
ones leave the cache. Larger stamps go in smaller batches."""


class InputLayoutError(BadInputError):
    """A model that wants its inputs in a layout that this version of the package does not make."""


@dataclasses.dataclass(frozen=True)
class Scores:
    """Scores of N sources, in the order of the rows.

    Parameters
    ----------
    reliability : `numpy.ndarray`, (N,), float32
        Probability of being real at the prevalence asked for, in (0, 1); NaN where there is a reason.
    reliability_err : `numpy.ndarray`, (N,), float32
        Standard deviation between the networks; NaN where only one scored.
    ood : `numpy.ndarray`, (N,), float32
        Fraction of the training sources that were less strange; NaN where the model cannot tell.
    fold : `numpy.ndarray`, (N,), int64
        Fold of the source's sky cell if that was trained on; -1 if all networks scored it.
    reason : `numpy.ndarray`, (N,), str
        Why there is no score; empty where there is one.
    """

    reliability: F32
    reliability_err: F32
    ood: F32
    fold: NDArray[np.int64]
    reason: NDArray[np.str_]


def load_networks(model: ReliabilityModel, source: str = "reliability_model") -> list[TripletNetwork]:
    """Build the networks of a model, ready to score.

    Parameters
    ----------
    model : `~.model_dataset.ReliabilityModel`
        From a dataset or from training.
    source : `str`, optional
        Where it comes from, for messages.

    Returns
    -------
    networks : `list` of `~.networks.TripletNetwork`
        In the order of the model, on the graphics card where there is one, in evaluation mode, batch
        normalisation folded into the convolutions.

    Raises
    ------
    InputLayoutError
        If the model wants another input layout.
    UnknownArchitectureError, UnknownOptionError
        If the architecture or an option is not known here.
    TensorError
        If the tensors are not those of the architecture.
    """
    card = model.card
    wanted, found = (LAYOUT, CHANNELS, METADATA), (card.layout, card.channels, card.metadata)
    if found != wanted:
        raise InputLayoutError(source, f"input layout {wanted}", str(found))
    check_options(card.architecture, card.options, f"{source}: architecture")
    device = best_device()
    return [
        _load(
            build_network(card.architecture, card.options, len(CHANNELS)), weights, f"{source}: network {i}"
        ).to(device)
        for i, weights in enumerate(model.networks)
    ]


def predict_logits(
    networks: Sequence[TripletNetwork], inputs: NetworkInputs, micro_batch: int | None = None
) -> F32:
    """Return what each network says of each source.

    Parameters
    ----------
    networks : `~collections.abc.Sequence` of `~.networks.TripletNetwork`
        K networks; they are put into evaluation mode.
    inputs : `~.inputs.NetworkInputs`
        N rows.
    micro_batch : `int`, optional
        Rows per forward pass; chosen by device and stamp size by default.

    Returns
    -------
    logits : `numpy.ndarray`, (K, N), float32
        Larger is more like an injection.
    """
    logits = np.empty((len(networks), len(inputs)), dtype=np.float32)
    for rows, stamps, metadata in _batches(networks, inputs, micro_batch):
        for index, network in enumerate(networks):
            logits[index, rows] = network(stamps, metadata).cpu().numpy()
    return logits


def predict_features(
    networks: Sequence[TripletNetwork], inputs: NetworkInputs, micro_batch: int | None = None
) -> tuple[F32, F32]:
    """Return what each network says of each source, and the features of its last hidden layer.

    Parameters
    ----------
    networks, inputs, micro_batch
        As for `predict_logits`.

    Returns
    -------
    logits : `numpy.ndarray`, (K, N), float32
        Larger is more like an injection.
    features : `numpy.ndarray`, (K, N, F), float32
        What the last linear layer sees.
    """
    width = networks[0].n_features if networks else 0
    logits = np.empty((len(networks), len(inputs)), dtype=np.float32)
    features = np.empty((len(networks), len(inputs), width), dtype=np.float32)
    for rows, stamps, metadata in _batches(networks, inputs, micro_batch):
        for index, network in enumerate(networks):
            hidden = network.features(stamps, metadata)
            features[index, rows] = hidden.cpu().numpy()
            logits[index, rows] = network.output(hidden).squeeze(1).cpu().numpy()
    return logits, features


def _batches(
    networks: Sequence[TripletNetwork], inputs: NetworkInputs, micro_batch: int | None
) -> Iterator[tuple[slice, torch.Tensor, torch.Tensor]]:
    """Yield the rows, stamps and metadata of each forward pass, on the device of the networks."""
    for network in networks:
        network.eval()
    device = next(networks[0].parameters()).device if networks else torch.device("cpu")
    step = micro_batch or max(MICRO_BATCH[device.type] * 30**2 // max(inputs.size, 1) ** 2, 8)
    # TF32, torch's default for convolutions on a card, differs from the CPU by 0.002 in probability.
    cudnn = torch.backends.cudnn
    with (
        torch.inference_mode(),
        cudnn.flags(enabled=cudnn.enabled, deterministic=True, allow_tf32=False),
    ):
        for start in range(0, len(inputs), step):
            rows = slice(start, start + step)
            stamps = torch.from_numpy(inputs.stamps[rows]).to(device)
            stamps = stamps.to(torch.float32, memory_format=torch.channels_last)
            yield rows, stamps, torch.from_numpy(inputs.metadata[rows]).to(device)


def score_cutouts(
    model: ReliabilityModel,
    cutouts: Table,
    networks: Sequence[TripletNetwork],
    source: str = "dia_source_cutout",
    prevalence: float | None = None,
) -> Scores:
    """Score a cutout table, every row of it.

    A source whose sky cell was trained on is scored by the networks of its fold, which never saw that cell,
    every other source by all networks. One in sky that a parent of a fine-tuned model was trained on gets no
    score but a reason: no network of the model is blind to it.

    Parameters
    ----------
    model : `~.model_dataset.ReliabilityModel`
        The model.
    cutouts : `astropy.table.Table`
        Rows of `~.schemas.DIA_SOURCE_CUTOUT`.
    networks : `~collections.abc.Sequence` of `~.networks.TripletNetwork`
        Its networks, from `load_networks`.
    source : `str`, optional
        Where the table comes from, for messages.
    prevalence : `float`, optional
        Fraction of real sources to be assumed; that of the model's card by default.

    Returns
    -------
    scores : `Scores`
        One per row.
    """
    inputs = network_inputs(cutouts, model.card.stamp_size, source)
    cells = sky_cell(np.asarray(cutouts["ra"]), np.asarray(cutouts["dec"]), model.card.nside)
    return score_inputs(model, inputs, cells, networks, prevalence)


def score_inputs(
    model: ReliabilityModel,
    inputs: NetworkInputs,
    cells: NDArray[np.int64],
    networks: Sequence[TripletNetwork],
    prevalence: float | None = None,
) -> Scores:
    """Score network inputs, every row of them (see `score_cutouts`).

    Parameters
    ----------
    model : `~.model_dataset.ReliabilityModel`
        The model.
    inputs : `~.inputs.NetworkInputs`
        N rows of the model's stamp size.
    cells : `numpy.ndarray`, (N,), int64
        Sky cell of each row; -1 where it has no position.
    networks : `~collections.abc.Sequence` of `~.networks.TripletNetwork`
        The model's networks, from `load_networks`.
    prevalence : `float`, optional
        Fraction of real sources to be assumed; that of the model's card by default.

    Returns
    -------
    scores : `Scores`
        One per row.
    """
    card = model.card
    reason = unscorable_reasons(inputs, card.min_valid_fraction)
    reason = np.where((reason == "") & (cells < 0), "no sky position", reason)
    fold = np.full(len(inputs), -1, dtype=np.int64)
    inherited = np.isin(cells, model.inherited_cells)
    reason = np.where((reason == "") & inherited, "sky that a parent of the model was trained on", reason)
    trained = np.isin(cells, model.trained_cells)
    fold[trained] = sky_fold(cells[trained], card.n_folds, card.seed)
    unknown = np.full((3, len(inputs)), np.nan, dtype=np.float32)
    scores = Scores(unknown[0], unknown[1], unknown[2], fold, reason)
    calibration = Calibration.from_dict(card.calibration)
    rate = card.prevalence if prevalence is None else prevalence
    for index in np.unique(fold):
        rows = np.flatnonzero((fold == index) & (reason == ""))
        own = _networks_of(card.members, int(index), len(networks))
        logits, features = predict_features([networks[i] for i in own], inputs[rows])
        scores.reliability[rows] = calibration.reliability(logits.mean(axis=0), rate)
        if len(own) > 1:
            each = [calibration.reliability(values, rate) for values in logits]
            scores.reliability_err[rows] = np.std(each, axis=0, ddof=1)
        outliers = [_outliers(model, i) for i in own]
        if len(rows) and all(outliers):
            strange = [one.score(features[k]) for k, one in enumerate(outliers) if one]
            scores.ood[rows] = np.mean(strange, axis=0)
    return scores


def _networks_of(members: int, fold: int, count: int) -> range:
    """Return the indices of the networks that score a fold; all of them for -1."""
    return range(count) if fold < 0 else range(fold * members, (fold + 1) * members)


def _outliers(model: ReliabilityModel, index: int) -> OutlierModel | None:
    prefix = f"ood{index}."
    arrays = {name.removeprefix(prefix): a for name, a in model.auxiliary.items() if name.startswith(prefix)}
    return OutlierModel.from_arrays(arrays) if arrays else None


def _load(network: TripletNetwork, weights: Any, source: str) -> TripletNetwork:
    load_weights(network, weights, source)
    return network.baked().to(memory_format=torch.channels_last)
