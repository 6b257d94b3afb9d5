"""Scores of DIA sources: out of fold where their sky was trained on, the mean of all networks elsewhere."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from astropy.table import Table
from numpy.typing import NDArray
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ..errors import BadInputError
from ..skycells import sky_cell, sky_fold
from .inputs import CHANNELS, LAYOUT, network_inputs, unscorable_reasons
from .model_dataset import ReliabilityModel, TensorError
from .networks import build_network, check_options

__all__ = ["InputLayoutError", "Scores", "fold_batch_norms", "load_networks", "predict", "score_cutouts"]

type F32 = NDArray[np.float32]

MICRO_BATCH = 128
"""Rows per forward pass (see ``benchmarks/scoring.py``): activations of much larger ones leave the cache."""


class InputLayoutError(BadInputError):
    """A model that wants its inputs in a layout that this version of the package does not make."""


@dataclasses.dataclass(frozen=True)
class Scores:
    """Scores of N sources, in the order of the rows.

    Parameters
    ----------
    reliability : `numpy.ndarray`, (N,), float32
        In [0, 1]; NaN where there is a reason.
    reliability_err : `numpy.ndarray`, (N,), float32
        Standard deviation between networks; NaN where only one scored.
    fold : `numpy.ndarray`, (N,), int64
        Fold of the source's sky cell if that was trained on; -1 for the ensemble.
    reason : `numpy.ndarray`, (N,), str
        Why there is no score; empty where there is one.
    """

    reliability: F32
    reliability_err: F32
    fold: NDArray[np.int64]
    reason: NDArray[np.str_]


def load_networks(model: ReliabilityModel, source: str = "reliability_model") -> list[nn.Module]:
    """Build the networks of a model, ready to score.

    Parameters
    ----------
    model : `~.model_dataset.ReliabilityModel`
        From a dataset or from training.
    source : `str`, optional
        Where it comes from, for messages.

    Returns
    -------
    networks : `list` of `torch.nn.Module`
        One per fold, in evaluation mode, batch normalisation folded into the convolutions.

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
    if card.layout != LAYOUT or card.channels != CHANNELS:
        raise InputLayoutError(source, f"input layout {LAYOUT} {CHANNELS}", f"{card.layout} {card.channels}")
    check_options(card.architecture, card.options, f"{source}: architecture")
    return [
        _load(
            build_network(card.architecture, card.options, len(CHANNELS)), weights, f"{source}: fold {fold}"
        )
        for fold, weights in enumerate(model.networks)
    ]


def predict(
    networks: Sequence[nn.Module], inputs: NDArray[np.float16], micro_batch: int = MICRO_BATCH
) -> F32:
    """Score network inputs with each network.

    Parameters
    ----------
    networks : `~collections.abc.Sequence` of `torch.nn.Module`
        K networks; they are put into evaluation mode.
    inputs : `numpy.ndarray`, (N, C, S, S), float16
        From `~.inputs.network_inputs`.
    micro_batch : `int`, optional
        Rows per forward pass.

    Returns
    -------
    scores : `numpy.ndarray`, (K, N), float32
        In [0, 1].
    """
    scores = np.empty((len(networks), len(inputs)), dtype=np.float32)
    for network in networks:
        network.eval()
    with torch.inference_mode():
        for start in range(0, len(inputs), micro_batch):
            rows = slice(start, start + micro_batch)
            batch = torch.from_numpy(inputs[rows]).to(torch.float32, memory_format=torch.channels_last)
            for index, network in enumerate(networks):
                scores[index, rows] = torch.sigmoid(network(batch)).numpy()
    return scores


def score_cutouts(
    model: ReliabilityModel, cutouts: Table, networks: Sequence[nn.Module], source: str = "dia_source_cutout"
) -> Scores:
    """Score a cutout table, every row of it.

    A source whose sky cell was trained on is scored by the network of its fold, which never saw that cell.
    Elsewhere the score is the mean over all networks, and its uncertainty their standard deviation.

    Parameters
    ----------
    model : `~.model_dataset.ReliabilityModel`
        The model.
    cutouts : `astropy.table.Table`
        Rows of `~.schemas.DIA_SOURCE_CUTOUT`.
    networks : `~collections.abc.Sequence` of `torch.nn.Module`
        Its networks, from `load_networks`.
    source : `str`, optional
        Where the table comes from, for messages.

    Returns
    -------
    scores : `Scores`
        One per row.
    """
    inputs = network_inputs(cutouts, model.card.stamp_size, source)
    cells = sky_cell(np.asarray(cutouts["ra"]), np.asarray(cutouts["dec"]), model.card.nside)
    reason = unscorable_reasons(inputs, model.card.min_valid_fraction)
    reason = np.where((reason == "") & (cells < 0), "no sky position", reason)
    fold = np.full(len(cutouts), -1, dtype=np.int64)
    trained = np.isin(cells, model.trained_cells)
    fold[trained] = sky_fold(cells[trained], model.card.n_folds, model.card.seed)
    reliability = np.full(len(cutouts), np.nan, dtype=np.float32)
    scatter = reliability.copy()
    for index, network in enumerate(networks):
        rows = (fold == index) & (reason == "")
        reliability[rows] = predict([network], inputs[rows])[0]
    rows = (fold == -1) & (reason == "")
    ensemble = predict(networks, inputs[rows])
    reliability[rows] = ensemble.mean(axis=0)
    scatter[rows] = ensemble.std(axis=0, ddof=1)
    return Scores(reliability, scatter, fold, reason)


def _load(network: nn.Module, weights: Any, source: str) -> nn.Module:
    wanted = network.state_dict()
    if wanted.keys() != weights.keys():
        missing, unknown = sorted(wanted.keys() - weights.keys()), sorted(weights.keys() - wanted.keys())
        raise TensorError(source, "the tensors of its architecture", f"missing {missing}, unknown {unknown}")
    for name, tensor in wanted.items():
        if tuple(tensor.shape) != weights[name].shape:
            raise TensorError(source, f"{name!r} of shape {tuple(tensor.shape)}", str(weights[name].shape))
    network.load_state_dict({name: torch.from_numpy(np.array(weights[name])) for name in wanted})
    network.eval()
    fold_batch_norms(network)
    return network.to(memory_format=torch.channels_last)


def fold_batch_norms(module: nn.Module) -> None:
    """Fold each batch normalisation into the convolution right before it, in place.

    Parameters
    ----------
    module : `torch.nn.Module`
        In evaluation mode. Where the two follow each other in a `torch.nn.Sequential`, they become one.
    """
    if isinstance(module, nn.Sequential):
        names = list(module._modules)
        for first, second in itertools.pairwise(names):
            conv, norm = module._modules[first], module._modules[second]
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                module._modules[first] = fuse_conv_bn_eval(conv, norm)
                module._modules[second] = nn.Identity()
    for child in module.children():
        fold_batch_norms(child)
