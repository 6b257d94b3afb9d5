"""Training of one network per fold of the sky: seeded, and the same bytes again on the same machine."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from ..errors import ScienceError
from ..seeding import hash63
from .curves import threshold_at_fpr
from .folds import Split
from .metrics import Sample
from .networks import build_network
from .scoring import predict

__all__ = [
    "TrainedNetwork",
    "TrainingDivergedError",
    "TrainingSettings",
    "deterministic_torch",
    "dihedral",
    "train_network",
]

_LOG = logging.getLogger(__name__)

type Weights = dict[str, NDArray[Any]]


class TrainingDivergedError(ScienceError):
    """The loss is no longer a number."""


@dataclasses.dataclass(frozen=True)
class TrainingSettings:
    """How a network is trained.

    Parameters
    ----------
    seed : `int`
        Seed of the initial weights, the order of the rows, the augmentation and the dropout.
    epochs : `int`
        Passes over the training rows.
    min_updates : `int`
        Least number of weight updates; small training sets get more epochs until it is reached.
    batch_size : `int`
        Rows per update.
    learning_rate : `float`
        Peak of the one-cycle schedule.
    weight_decay : `float`
        AdamW's.
    selection_fpr : `float`
        False-positive rate, on the validation rows, at which epochs are compared.
    threads : `int`
        Torch threads; 0 leaves what ``OMP_NUM_THREADS`` says.
    """

    seed: int = 0
    epochs: int = 10
    min_updates: int = 400
    batch_size: int = 64
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    selection_fpr: float = 0.05
    threads: int = 0


@dataclasses.dataclass(frozen=True)
class TrainedNetwork:
    """One trained network and how it got there.

    Parameters
    ----------
    weights : `dict` [`str`, `numpy.ndarray`]
        Parameters and buffers by name.
    epoch : `int`
        The epoch that was selected, from 0.
    history : `list` of `dict`
        Per epoch: ``loss``, ``validation_loss``, ``tpr``.
    threshold : `float`
        Score at the selection's false-positive rate on the validation rows.
    """

    weights: Weights
    epoch: int
    history: list[dict[str, float]]
    threshold: float


@contextlib.contextmanager
def deterministic_torch(seed: int, threads: int = 0) -> Iterator[None]:
    """Give torch a seed, a number of threads and deterministic algorithms, and what it had back afterwards.

    Parameters
    ----------
    seed : `int`
        Seed of torch's generator.
    threads : `int`, optional
        Torch threads; 0 leaves the number as it is.
    """
    before = torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        torch.use_deterministic_algorithms(True)
        torch.set_num_threads(threads or before[1])
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(before[0])
            torch.set_num_threads(before[1])


def dihedral(stamps: torch.Tensor, elements: NDArray[np.integer]) -> torch.Tensor:
    """Turn and mirror each stamp by its own element of the symmetry group of the square.

    Parameters
    ----------
    stamps : `torch.Tensor`, (N, C, S, S)
        Network inputs.
    elements : `numpy.ndarray`, (N,), int
        0 to 3: quarter turns; 4 to 7: the same after a mirror along x.

    Returns
    -------
    stamps : `torch.Tensor`, (N, C, S, S)
        A copy.
    """
    output = stamps.clone()
    for element in range(1, 8):
        rows = torch.from_numpy(np.flatnonzero(elements == element))
        if len(rows):
            turned = stamps[rows].flip(3) if element >= 4 else stamps[rows]
            output[rows] = torch.rot90(turned, element % 4, dims=(2, 3))
    return output


def train_network(
    inputs: NDArray[np.float16],
    injected: NDArray[np.bool_],
    split: Split,
    architecture: str,
    options: Mapping[str, Any],
    settings: TrainingSettings,
) -> TrainedNetwork:
    """Train the network of one fold.

    Binary cross-entropy, injected against unlabelled. The classes weigh the same in the loss, and in the loss
    only. The epoch that is kept has the highest true-positive rate at a fixed false-positive rate on the
    validation rows; the validation loss decides between equals.

    Parameters
    ----------
    inputs : `numpy.ndarray`, (N, C, S, S), float16
        From `~.inputs.network_inputs`.
    injected : `numpy.ndarray`, (N,), bool
        Whether a row is an injection.
    split : `~.folds.Split`
        Rows to train and to validate with; the test rows are not touched.
    architecture : `str`
        Name of the architecture.
    options : `~collections.abc.Mapping`
        Its options.
    settings : `TrainingSettings`
        How to train.

    Returns
    -------
    network : `TrainedNetwork`
        The selected weights.

    Raises
    ------
    TrainingDivergedError
        If the loss is no longer a number.
    """
    seed = hash63(settings.seed, "network", split.fold)
    with deterministic_torch(seed, settings.threads):
        network = build_network(architecture, options, inputs.shape[1])
        network = network.to(memory_format=torch.channels_last)
        return _Trainer(network, inputs, injected, split, settings, np.random.default_rng(seed)).train()


class _Trainer:
    """The state of one training run."""

    def __init__(
        self,
        network: nn.Module,
        inputs: NDArray[np.float16],
        injected: NDArray[np.bool_],
        split: Split,
        settings: TrainingSettings,
        rng: np.random.Generator,
    ) -> None:
        self.network, self.inputs, self.injected = network, inputs, injected
        self.split, self.settings, self.rng = split, settings, rng
        batches = max(len(split.train) // settings.batch_size, 1)
        self.epochs = max(settings.epochs, -(-settings.min_updates // batches))
        positive = injected[split.train].mean()
        self.class_weights = 0.5 / (1 - positive), 0.5 / positive
        self.optimizer = torch.optim.AdamW(
            network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
        )
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, settings.learning_rate, total_steps=self.epochs * batches
        )
        self.batches = batches

    def train(self) -> TrainedNetwork:
        """Train all epochs and keep the best."""
        history: list[dict[str, float]] = []
        best, best_key, threshold = 0, (-1.0, 0.0), 0.0
        weights: Weights = {}
        for epoch in range(self.epochs):
            start = time.perf_counter()
            loss = self._epoch()
            if not np.isfinite(loss):
                raise TrainingDivergedError(
                    f"Fold {self.split.fold}: the loss of epoch {epoch + 1} is {loss}; "
                    "a lower learning rate may help.",
                    fold=self.split.fold,
                    epoch=epoch,
                )
            figures, level = self._validate()
            history.append({"loss": loss, **figures})
            key = figures["tpr"], -figures["validation_loss"]
            if key > best_key:
                best, best_key, threshold, weights = epoch, key, level, _copy_weights(self.network)
            _LOG.info(
                "Fold %d, epoch %d of %d: loss %.4f, validation loss %.4f, TPR %.4f at FPR %g, %.1f s.",
                self.split.fold,
                epoch + 1,
                self.epochs,
                loss,
                figures["validation_loss"],
                figures["tpr"],
                self.settings.selection_fpr,
                time.perf_counter() - start,
            )
        return TrainedNetwork(weights, best, history, threshold)

    def _epoch(self) -> float:
        self.network.train()
        rows = self.rng.permutation(self.split.train)
        parts = np.array_split(rows, self.batches)
        return float(np.mean([self._update(np.sort(part)) for part in parts]))

    def _update(self, rows: NDArray[np.int64]) -> float:
        batch = torch.from_numpy(self.inputs[rows]).float()
        batch = dihedral(batch, self.rng.integers(8, size=len(rows)))
        logits = self.network(batch.contiguous(memory_format=torch.channels_last))
        loss = self._loss(logits, self.injected[rows])
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        self.schedule.step()
        return float(loss.detach())

    def _loss(self, logits: torch.Tensor, injected: NDArray[np.bool_]) -> torch.Tensor:
        weights = np.where(injected, self.class_weights[1], self.class_weights[0]).astype(np.float32)
        target = torch.from_numpy(injected.astype(np.float32))
        return binary_cross_entropy_with_logits(logits, target, torch.from_numpy(weights))

    def _validate(self) -> tuple[dict[str, float], float]:
        rows = self.split.validation
        scores = predict([self.network], self.inputs[rows])[0]
        injected = self.injected[rows]
        # Every row is its own group: nothing is resampled here.
        sample = Sample(scores.astype(float), injected, rows, np.full(len(rows), np.nan))
        # Scores are float32: the threshold must be one too, or comparing the two rounds it down.
        level = np.float32(threshold_at_fpr(sample, self.settings.selection_fpr))
        threshold = float(np.nextafter(level, np.float32(np.inf)))
        clipped = np.clip(np.where(injected, scores, 1 - scores), 1e-7, 1)
        loss = 0.5 * (-np.log(clipped[injected]).mean() - np.log(clipped[~injected]).mean())
        return {
            "validation_loss": float(loss),
            "tpr": float(np.mean(scores[injected] >= threshold)),
        }, threshold


def _copy_weights(network: nn.Module) -> Weights:
    return {name: tensor.detach().numpy().copy() for name, tensor in network.state_dict().items()}
