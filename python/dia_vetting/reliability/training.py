"""Training of the networks of one fold of the sky: seeded, and the same bytes again on the same machine."""

from __future__ import annotations

import copy
import dataclasses
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import ScienceError
from ..seeding import hash63
from .augmentation import Augmentation, augment
from .deterministic import deterministic_torch
from .folds import Split
from .inputs import NetworkInputs
from .networks import build_network
from .networks.base import TripletNetwork
from .scoring import best_device, predict_logits
from .selection import Figures, figures, validation_prior
from .strategies import build_strategy, check_strategy
from .strategies.base import Batch, Strategy
from .strategies.plain import Plain

__all__ = [
    "TrainedNetwork",
    "TrainingDivergedError",
    "TrainingSettings",
    "deterministic_torch",
    "train_networks",
]

_LOG = logging.getLogger(__name__)

type Weights = Mapping[str, NDArray[Any]]

_PLAIN = Plain()


class TrainingDivergedError(ScienceError):
    """The loss is no longer a number."""


@dataclasses.dataclass(frozen=True)
class TrainingSettings:
    """How networks are trained.

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
        False-positive rate, on the validation rows, at which epochs are compared; a larger one is taken where
        too few rows tell the hidden ones from artefacts (`~.selection.figures`).
    threads : `int`
        Torch threads; 0 leaves what ``OMP_NUM_THREADS`` says.
    strategy : `str`
        How to deal with real sources among the unlabelled: a name of `~.strategies.STRATEGIES`.
    strategy_options : `~collections.abc.Mapping`
        Its options.
    prior : `float`, optional
        Fraction of real ones among the unlabelled; by default it is estimated from the validation rows after
        each epoch.
    warmup : `float`
        Part of the epochs in which all networks are trained plainly, before the strategy is followed.
    average : `float`
        Networks are validated and kept as the running mean of their weights over this many epochs (Polyak
        & Juditsky 1992, doi:10.1137/0330046; exponential, as Tarvainen & Valpola 2017, arXiv:1703.01780, do);
        0 for the weights of the last update.
    anchor : `float`
        When training starts from given weights, how strongly it is held to them: each update of rate r pulls
        the weights back by r times this, in place of AdamW's pull towards zero (L2-SP: Li et al. 2018,
        arXiv:1802.01483, decoupled from the gradient as in AdamW).
    augmentation : `~.augmentation.Augmentation`
        What is done to the training stamps.
    """

    seed: int = 0
    epochs: int = 10
    min_updates: int = 400
    batch_size: int = 64
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    selection_fpr: float = 0.05
    threads: int = 0
    strategy: str = "plain"
    strategy_options: Mapping[str, float | None] = dataclasses.field(default_factory=dict)
    prior: float | None = None
    warmup: float = 0.2
    average: float = 0.5
    anchor: float = 0.0
    augmentation: Augmentation = dataclasses.field(default_factory=Augmentation)

    def record(self) -> dict[str, int | float | str | None]:
        """Return all but the strategy as one flat mapping, for the model card."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        for name in ("strategy", "strategy_options", "augmentation"):
            del values[name]
        changes = dataclasses.asdict(self.augmentation)
        return values | {f"augmentation_{name}": value for name, value in changes.items()}


@dataclasses.dataclass(frozen=True)
class TrainedNetwork:
    """One trained network and how it got there.

    Parameters
    ----------
    weights : `~collections.abc.Mapping` [`str`, `numpy.ndarray`]
        Parameters and buffers by name.
    epoch : `int`
        The epoch that was selected, from 0.
    figures : `~.selection.Figures`
        Of the selected epoch, on the validation rows, at the last estimate of the prior.
    history : `list` of `dict`
        Per epoch: ``loss``, ``validation_loss``, ``tpr``, and the ``prior`` that went into these.
    """

    weights: Weights
    epoch: int
    figures: Figures
    history: list[dict[str, float]]


def train_networks(
    inputs: NetworkInputs,
    injected: NDArray[np.bool_],
    split: Split,
    architecture: str,
    options: Mapping[str, Any],
    settings: TrainingSettings,
    members: int = 1,
    initial: Sequence[Weights] | None = None,
) -> list[TrainedNetwork]:
    """Train the networks of one fold.

    Injected against unlabelled. The classes weigh the same in the loss, and in the loss only. The epoch that
    is kept has the highest true-positive rate at a fixed false-positive rate on the validation rows, which is
    corrected for the real ones among the unlabelled (`~.selection`); the validation loss decides between
    equals.

    A strategy of two networks trains members in pairs; of the last pair of an odd number, the better one is
    kept.

    Parameters
    ----------
    inputs : `~.inputs.NetworkInputs`
        N rows.
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
    members : `int`, optional
        Number of networks.
    initial : `~collections.abc.Sequence`, optional
        Weights to start from, member by member, and from the first again when they run out; fresh ones by
        default. They must not have seen the test rows (see `~.folds.check_unseen`).

    Returns
    -------
    networks : `list` of `TrainedNetwork`
        As many as members.

    Raises
    ------
    UnknownStrategyError, StrategyOptionError
        If the strategy or one of its options is not known, or wants more members.
    ValueError
        If there is an anchor, but no weights to start from.
    TrainingDivergedError
        If the loss is no longer a number.
    """
    check_strategy(settings.strategy, settings.strategy_options, members)
    if settings.anchor and not initial:
        raise ValueError("An anchor needs weights to start from.")
    strategy = build_strategy(settings.strategy, settings.strategy_options)
    trained: list[TrainedNetwork] = []
    while len(trained) < members:
        seed = hash63(settings.seed, "network", split.fold, len(trained))
        with deterministic_torch(seed, settings.threads):
            networks = []
            for index in range(strategy.networks):
                network = build_network(architecture, options, inputs.stamps.shape[1])
                if initial:
                    start = initial[(len(trained) + index) % len(initial)]
                    network.load_state_dict({n: torch.from_numpy(np.array(t)) for n, t in start.items()})
                networks.append(network)
            rng = np.random.default_rng(seed)
            group = _Trainer(networks, strategy, inputs, injected, split, settings, rng).train(len(trained))
        if len(trained) + len(group) > members:
            group = [max(group, key=lambda network: network.figures)]
        trained += group
    return trained


class _Trainer:
    """The state of one training run, of one network or of two side by side."""

    def __init__(
        self,
        networks: Sequence[TripletNetwork],
        strategy: Strategy,
        inputs: NetworkInputs,
        injected: NDArray[np.bool_],
        split: Split,
        settings: TrainingSettings,
        rng: np.random.Generator,
    ) -> None:
        self.device = best_device()
        self.networks = [n.to(self.device).to(memory_format=torch.channels_last) for n in networks]
        self.strategy, self.inputs, self.injected = strategy, inputs, injected
        self.split, self.settings, self.rng = split, settings, rng
        self.batches = max(len(split.train) // settings.batch_size, 1)
        self.epochs = max(settings.epochs, -(-settings.min_updates // self.batches))
        self.warmup = int(np.ceil(settings.warmup * self.epochs))
        self.classes = [split.train[injected[split.train]], split.train[~injected[split.train]]]
        self.validation = inputs[split.validation]
        self.prior = self.prior_low = settings.prior or 0.0
        self.updates = 0
        parameters = [parameter for network in self.networks for parameter in network.parameters()]
        self.anchors = [(p, p.detach().clone()) for p in parameters] if settings.anchor else []
        decay = 0.0 if settings.anchor else settings.weight_decay
        self.optimizer = torch.optim.AdamW(
            parameters, lr=settings.learning_rate, weight_decay=decay, fused=True
        )
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, settings.learning_rate, total_steps=self.epochs * self.batches
        )
        self.averages = [copy.deepcopy(network) for network in self.networks]
        self.averaged = [
            (mean, now)
            for average, network in zip(self.averages, self.networks, strict=True)
            for mean, now in zip(average.state_dict().values(), network.state_dict().values(), strict=True)
            if mean.is_floating_point()
        ]

    def train(self, first: int) -> list[TrainedNetwork]:
        """Train all epochs and keep the best of each network; ``first`` is the number of the first one."""
        best = [_Best() for _ in self.networks]
        histories: list[list[dict[str, float]]] = [[] for _ in self.networks]
        for epoch in range(self.epochs):
            start = time.perf_counter()
            losses = self._epoch(epoch)
            logits = predict_logits(self.averages, self.validation)
            self._estimate_prior(logits)
            for index, network in enumerate(self.averages):
                now = self._figures(logits[index])
                history = {
                    "loss": losses[index],
                    "validation_loss": now.loss,
                    "tpr": now.tpr,
                    "prior": self.prior,
                }
                histories[index].append(history)
                if not best[index].weights or now > self._figures(best[index].logits):
                    best[index] = _Best(epoch, _copy_weights(network), logits[index])
                self._log(epoch, first + index, history, time.perf_counter() - start)
        return [
            TrainedNetwork(one.weights, one.epoch, self._figures(one.logits), history)
            for one, history in zip(best, histories, strict=True)
        ]

    def _epoch(self, epoch: int) -> list[float]:
        """Go through the training rows once; return the mean loss of each network."""
        for network in self.networks:
            network.train()
        # Each batch gets its share of either class, so that even a rare one is in all of them.
        parts = [np.array_split(self.rng.permutation(rows), self.batches) for rows in self.classes]
        losses = []
        for index in range(self.batches):
            rows = np.sort(np.concatenate([parts[0][index], parts[1][-1 - index]]))
            losses.append(self._update(rows, epoch + index / self.batches))
        means = [float(value) for value in torch.stack(losses).mean(0)]
        if not np.isfinite(means).all():
            raise TrainingDivergedError(
                f"Fold {self.split.fold}: the loss of epoch {epoch + 1} is {max(means)}; "
                "a lower learning rate may help.",
                fold=self.split.fold,
                epoch=epoch,
            )
        return means

    def _update(self, rows: NDArray[np.int64], epoch: float) -> torch.Tensor:
        """Update all networks with a batch; return their losses, (K,)."""
        stamps = torch.from_numpy(self.inputs.stamps[rows]).to(self.device).float()
        metadata = torch.from_numpy(self.inputs.metadata[rows]).to(self.device)
        stamps, metadata = augment(stamps, metadata, self.settings.augmentation, self.rng)
        stamps = stamps.contiguous(memory_format=torch.channels_last)
        logits = [network(stamps, metadata) for network in self.networks]
        strategy = self.strategy if epoch >= self.warmup else _PLAIN
        losses = torch.stack(strategy.losses(logits, self._batch(rows, epoch)))
        self.optimizer.zero_grad(set_to_none=True)
        losses.sum().backward()
        self.optimizer.step()
        self._hold()
        self._average()
        self.schedule.step()
        return losses.detach()

    def _batch(self, rows: NDArray[np.int64], epoch: float) -> Batch:
        injected = self.injected[rows]
        fraction = len(self.classes[0]) / len(self.split.train)
        weights = np.where(injected, 0.5 / fraction, 0.5 / (1 - fraction)).astype(np.float32)
        age = max(epoch - self.warmup, 0.0) / self.epochs
        weights_there = torch.from_numpy(weights).to(self.device)
        return Batch(injected, weights_there, self.prior, self.prior_low, fraction, age, self.rng)

    def _hold(self) -> None:
        """Pull the weights back to where they started from."""
        if self.anchors:
            pull = min(self.optimizer.param_groups[0]["lr"] * self.settings.anchor, 1.0)
            with torch.no_grad():
                for parameter, start in self.anchors:
                    parameter.lerp_(start, pull)

    def _average(self) -> None:
        """Bring the running means up to date: plain ones at first, exponential ones later."""
        self.updates += 1
        memory = min(self.updates, max(self.settings.average * self.batches, 1.0))
        with torch.no_grad():
            for mean, now in self.averaged:
                mean.lerp_(now, 1 / memory)

    def _estimate_prior(self, logits: NDArray[np.float32]) -> None:
        """Estimate the prior from what the networks, on average, say of the validation rows."""
        if self.settings.prior is None:
            known = self.injected[self.split.validation]
            self.prior, self.prior_low = validation_prior(logits.mean(axis=0), known)

    def _figures(self, logits: NDArray[np.float32]) -> Figures:
        injected = self.injected[self.split.validation]
        return figures(logits, injected, self.prior, self.settings.selection_fpr)

    def _log(self, epoch: int, member: int, history: Mapping[str, float], seconds: float) -> None:
        _LOG.info(
            "Fold %d, member %d, epoch %d of %d: loss %.4f, validation loss %.4f, TPR %.4f at FPR %g, "
            "prior %.4f, %.1f s.",
            self.split.fold,
            member,
            epoch + 1,
            self.epochs,
            history["loss"],
            history["validation_loss"],
            history["tpr"],
            self.settings.selection_fpr,
            self.prior,
            seconds,
        )


@dataclasses.dataclass
class _Best:
    """The best epoch of a network so far, and what it says of the validation rows."""

    epoch: int = -1
    weights: Weights = dataclasses.field(default_factory=dict)
    logits: NDArray[np.float32] = dataclasses.field(default_factory=lambda: np.zeros(0, np.float32))


def _copy_weights(network: torch.nn.Module) -> Weights:
    return {name: tensor.detach().cpu().numpy().copy() for name, tensor in network.state_dict().items()}
