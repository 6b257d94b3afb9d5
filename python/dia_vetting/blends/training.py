"""Training of the networks of a method: seeded, and the same bytes again on the same CPU."""

from __future__ import annotations

__all__ = ["TrainingDivergedError", "TrainingSettings", "split_groups", "train_blends"]

import copy
import dataclasses
import logging
import platform
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..bad_input import BadInputError
from ..progress import progress
from ..reliability.deterministic import best_device, deterministic_torch
from ..reliability.networks.base import load_weights
from ..seeding import generator, hash63
from .augmentation import Augmentation, augment
from .flags import BlendFlag
from .methods.names import METHODS, method_entry
from .model_io import BlendCard, BlendModel
from .networks import build_network, check_options
from .networks.base import KINDS, BlendNetwork, Outputs, Targets
from .prediction import BlendPrediction, Calibration, RawOutputs, predict, predict_maps, raw_outputs
from .training_rows import TrainingRows, TrainingTensors
from .validation import (
    fit_calibration,
    fit_count_weights,
    fit_overlap_threshold,
    make_metrics,
    make_thresholds,
)

_LOG = logging.getLogger(__name__)

_MAP_ROWS = 20_000

type I64 = NDArray[np.int64]
type Weights = Mapping[str, NDArray[Any]]


class TrainingDivergedError(RuntimeError):
    """The loss is no longer a number."""


@dataclasses.dataclass(frozen=True)
class TrainingSettings:
    """How networks are trained.

    Parameters
    ----------
    seed : `int`
        Seed of the split, the weights, the order of the rows and the augmentation.
    epochs : `int`
        Passes over the training rows, at most.
    batch_size : `int`
        Rows per update.
    learning_rate : `float`
        Peak of the one-cycle schedule (Smith & Topin 2018, arXiv:1708.07120).
    weight_decay : `float`
        AdamW's.
    patience : `int`
        Epochs without a smaller validation loss after which training ends.
    validation : `float`
        Fraction of the groups that validate.
    members : `int`
        Networks, from seeds of their own.
    average : `float`
        Networks are validated and kept as the running mean of their weights over this many epochs; 0 for the
        weights of the last update.
    parent_share : `float`
        Share of the weights of a parent in what is kept; the rest is of what was trained. The mean of both
        can be as good on new stamps and lose less on the old ones (Wortsman et al. 2022, arXiv:2109.01903).
    threads : `int`
        Torch threads; 0 leaves what ``OMP_NUM_THREADS`` says.
    augmentation : `~.augmentation.Augmentation`
        What is done to the training stamps.
    """

    seed: int = 0
    epochs: int = 30
    batch_size: int = 256
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    patience: int = 10
    validation: float = 0.1
    members: int = 1
    average: float = 0.5
    parent_share: float = 0.0
    threads: int = 0
    augmentation: Augmentation = dataclasses.field(default_factory=Augmentation)

    def record(self) -> dict[str, int | float | str]:
        """Return all as one flat mapping, for the card."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "augmentation"}
        changes = dataclasses.asdict(self.augmentation)
        return values | {f"augmentation_{name}": value for name, value in changes.items()}


def split_groups(group: I64, fraction: float, seed: int) -> tuple[I64, I64]:
    """Split rows so that no group is on both sides.

    Parameters
    ----------
    group : `numpy.ndarray`, (N,), int64
        Group of each row.
    fraction : `float`
        Fraction of the groups that validate; at least one, and not all.
    seed : `int`
        Seed.

    Returns
    -------
    train, validation : `numpy.ndarray`, int64
        Sorted row numbers.

    Raises
    ------
    BadInputError
        If there are fewer than two groups.
    """
    groups = np.unique(group)
    if len(groups) < 2:
        raise BadInputError("training stamps", "two groups or more", str(len(groups)))
    count = min(max(round(fraction * len(groups)), 1), len(groups) - 1)
    chosen = generator(seed, "validation").choice(groups, count, replace=False)
    validates = np.isin(group, chosen)
    return np.flatnonzero(~validates), np.flatnonzero(validates)


def train_blends(
    method: str,
    rows: TrainingRows,
    presets: Mapping[str, tuple[int, int]],
    settings: TrainingSettings | None = None,
    options: Mapping[str, int | float] | None = None,
    initial: tuple[str, Weights] | None = None,
    parent: BlendModel | None = None,
) -> BlendModel:
    """Train a model.

    Parameters
    ----------
    method : `str`
        A name in `~.methods.names.METHODS` that has a network.
    rows : `~.training_rows.TrainingRows`
        Training and validation stamps.
    presets : `~collections.abc.Mapping`
        Number of stamps and seed of the simulation by preset, for the card.
    settings : `TrainingSettings`, optional
        How to train.
    options : `~collections.abc.Mapping`, optional
        Options of the architecture.
    initial : `tuple`, optional
        Name and arrays of ImageNet weights for ``vgg16`` (see `~.networks.vgg16.load_convolutions`). Without,
        it learns from these stamps alone, which the card says.
    parent : `~.model_io.BlendModel`, optional
        Model of the same method and options whose weights training starts from; a lower `learning_rate` and
        few epochs are then enough.

    Returns
    -------
    model : `~.model_io.BlendModel`
        Sealed.

    Raises
    ------
    UnknownMethodError, UnknownOptionError, BadInputError
        If a name or option is not known, the stamps cannot be split, or the parent is another network.
    TrainingDivergedError
        If the loss is no longer a number.
    """
    settings = settings or TrainingSettings()
    architecture = method_entry(method, trained=True).architecture
    full = dataclasses.asdict(check_options(architecture, options or {}))
    if initial and architecture != "vgg16":
        raise BadInputError(f"method {method}", "no initial weights", initial[0])
    if parent and (parent.card.architecture, parent.card.options) != (architecture, full):
        found = f"{parent.card.architecture} with {parent.card.options}"
        raise BadInputError(f"method {method}, parent", f"{architecture} with {full}", found)
    split = split_groups(rows.group, settings.validation, settings.seed)
    if not all(np.isin([0, 1], rows.kind[part]).all() for part in split):
        raise BadInputError("training stamps", "single sources and blends on both sides", "one kind alone")
    trained = []
    for member in range(settings.members):
        with deterministic_torch(hash63(settings.seed, "network", member), settings.threads):
            network = build_network(architecture, full)
            if initial:
                from .networks.vgg16 import load_convolutions

                load_convolutions(network, initial[1], initial[0])
            if parent:
                load_weights(network, parent.networks[member % len(parent.networks)], "parent")
            trained.append(_Trainer(network, rows, split, settings, member).train())
            if parent:
                own = parent.networks[member % len(parent.networks)]
                _mix(trained[-1].network, own, settings.parent_share)
    return _model(method, rows, split, presets, settings, full, initial, parent, trained)


@dataclasses.dataclass
class _Best:
    network: BlendNetwork
    loss: float = float("inf")
    epoch: int = -1


class _Trainer:
    """The state of one training run."""

    def __init__(
        self,
        network: BlendNetwork,
        rows: TrainingRows,
        split: tuple[I64, I64],
        settings: TrainingSettings,
        member: int,
    ) -> None:
        self.device = best_device()
        self.network = network.to(self.device).to(memory_format=torch.channels_last)
        self.settings, self.member = settings, member
        self.train_rows, self.validation_rows = split
        self.data = TrainingTensors(rows, self.device)
        self.rng = generator(settings.seed, "order", member)
        self.random = torch.Generator(self.device)
        self.random.manual_seed(hash63(settings.seed, "augmentation", member))
        self.batches = max(len(self.train_rows) // settings.batch_size, 1)
        parameters = [one for one in self.network.parameters() if one.requires_grad]
        self.optimizer = torch.optim.AdamW(
            parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
        )
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, settings.learning_rate, total_steps=settings.epochs * self.batches + 1
        )
        self.updates = 0

    def train(self) -> _Best:
        """Train until the validation loss no longer falls; return the best epoch's network."""
        with torch.no_grad():
            self.network.train()
            self.network.start(self._passes(self.network, self.train_rows))
        self._start_average()
        best = _Best(self.network)
        with progress(self.settings.epochs * self.batches, f"training network {self.member}") as advance:
            for epoch in range(self.settings.epochs):
                loss = self._epoch(advance)
                validation = self._validate()
                _LOG.info("Epoch %d: loss %.4f, validation loss %.4f.", epoch + 1, loss, validation)
                if not np.isfinite([loss, validation]).all():
                    raise TrainingDivergedError(
                        f"The loss of epoch {epoch + 1} is {loss}; a lower learning rate may help."
                    )
                if validation < best.loss:
                    best = _Best(copy.deepcopy(self.average), validation, epoch)
                elif epoch - best.epoch >= self.settings.patience:
                    break
        best.network.eval()
        with torch.no_grad():
            best.network.finish(self._passes(best.network, self.train_rows))
        return best

    def _start_average(self) -> None:
        """Set up the running means, as lists: one call changes them all."""
        self.average = copy.deepcopy(self.network)
        pairs = list(zip(self.average.state_dict().values(), self.network.state_dict().values(), strict=True))
        self.means = [mean for mean, _ in pairs if mean.is_floating_point()]
        self.values = [now for _, now in pairs if now.is_floating_point()]
        self.counters = [(mean, now) for mean, now in pairs if not mean.is_floating_point()]

    def _epoch(self, advance: Any) -> float:
        self.network.train()
        losses = []
        for rows in np.array_split(self.rng.permutation(self.train_rows), self.batches):
            losses.append(self._update(np.sort(rows)))
            advance()
        return float(torch.stack(losses).mean())

    def _update(self, rows: I64) -> torch.Tensor:
        batch = augment(self.data.batch(rows), self.settings.augmentation, self.random)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            outputs = self.network(*batch.inputs())
        loss = self.network.losses(outputs, batch.targets)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self.optimizer.step()
        self.schedule.step()
        self._average()
        return loss.detach()

    @torch.no_grad()
    def _average(self) -> None:
        """Bring the running means up to date: plain ones at first, exponential ones later."""
        self.updates += 1
        memory = min(self.updates, max(self.settings.average * self.batches, 1.0))
        torch._foreach_lerp_(self.means, self.values, 1 / memory)
        for mean, now in self.counters:
            mean.copy_(now)

    @torch.no_grad()
    def _validate(self) -> float:
        self.average.eval()
        total, count = 0.0, 0
        for outputs, targets in self._passes(self.average, self.validation_rows):
            total += float(self.average.losses(outputs, targets)) * len(targets.kind)
            count += len(targets.kind)
        return total / count

    def _passes(self, network: BlendNetwork, rows: I64) -> Iterator[tuple[Outputs, Targets]]:
        """Yield outputs and targets of rows as they are, in an order in which kinds are mixed."""
        mixed = generator(self.settings.seed, "passes").permutation(rows)
        for part in np.array_split(mixed, -(-len(rows) // max(self.settings.batch_size, 2))):
            batch = self.data.batch(part)
            yield network(*batch.inputs()), batch.targets


def _model(
    method: str,
    rows: TrainingRows,
    split: tuple[I64, I64],
    presets: Mapping[str, tuple[int, int]],
    settings: TrainingSettings,
    options: Mapping[str, int | float],
    initial: tuple[str, Weights] | None,
    parent: BlendModel | None,
    trained: list[_Best],
) -> BlendModel:
    """Calibrate and measure on the validation rows, and write the card."""
    validation = rows.where(split[1])
    networks = [one.network.baked() for one in trained]
    raw = raw_outputs(networks, validation.prepared)
    calibration = fit_calibration(raw.kinds, validation, networks[0].fits_offset)
    calibration = dataclasses.replace(
        calibration,
        count_weights=fit_count_weights(raw.counts, validation),
        overlap_threshold=_overlap_threshold(networks, raw, validation),
    )
    prediction = predict(networks, calibration, rows.size, validation.prepared)
    _check(prediction)
    thresholds = make_thresholds(prediction, validation)
    rng = generator(settings.seed, "bootstrap")
    counts = {name: int(np.count_nonzero(rows.kind == index)) for index, name in enumerate(KINDS)}
    peak_snr, psf_fwhm = _ranges(rows, parent)
    card = BlendCard(
        method=method,
        architecture=METHODS[method].architecture,
        options=dict(options),
        initial_weights=initial[0] if initial else "",
        stamp_size=rows.size,
        presets={name: (int(count), int(seed)) for name, (count, seed) in presets.items()},
        parent=parent.card.content_hash if parent else "",
        parent_presets=_known_presets(parent) if parent else {},
        peak_snr=peak_snr,
        psf_fwhm=psf_fwhm,
        kind_counts=counts | {"any_companion": int(np.count_nonzero(rows.any_companion & (rows.kind == 1)))},
        seed=settings.seed,
        settings=settings.record(),
        epochs=tuple(one.epoch for one in trained),
        scale=calibration.scale,
        offset=calibration.offset,
        count_weights=calibration.count_weights,
        overlap_threshold=calibration.overlap_threshold,
        thresholds=thresholds,
        metrics=make_metrics(prediction, validation, thresholds, rng),
        software={"torch": torch.__version__, "numpy": np.__version__, "python": platform.python_version()},
    )
    return BlendModel(card, [_copy_weights(one.network) for one in trained]).sealed()


def _ranges(rows: TrainingRows, parent: BlendModel | None) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the ranges of brightest pixels and PSFs that were trained with, those of a parent in them."""
    peak = rows.prepared.pixels.max(axis=(1, 2))
    snr = float(np.quantile(peak, 0.01)), float(np.quantile(peak, 0.99))
    fwhm = rows.prepared.psf_fwhm[np.isfinite(rows.prepared.psf_fwhm)]
    psf = (float(fwhm.min()), float(fwhm.max())) if len(fwhm) else (0.0, float(np.finfo("f4").max))
    if parent is None:
        return snr, psf
    old_snr, old_psf = parent.card.peak_snr, parent.card.psf_fwhm
    return (
        (min(snr[0], old_snr[0]), max(snr[1], old_snr[1])),
        (min(psf[0], old_psf[0]), max(psf[1], old_psf[1])),
    )


def _known_presets(parent: BlendModel) -> dict[str, tuple[int, int]]:
    """Return what a parent and its own parents were trained on."""
    return {**parent.card.parent_presets, **parent.card.presets}


def _overlap_threshold(networks: list[BlendNetwork], raw: RawOutputs, rows: TrainingRows) -> float:
    """Fit the threshold on at most `_MAP_ROWS` validation stamps, whose maps fit into memory."""
    if np.isnan(raw.overlap_area).all():
        return 0.5  # no maps
    part = rows.where(np.arange(min(len(rows), _MAP_ROWS)))
    maps = predict_maps(networks, Calibration(), rows.size, part.prepared)
    return fit_overlap_threshold(maps.overlap, part)


@torch.no_grad()
def _mix(network: BlendNetwork, parent: Weights, share: float) -> None:
    """Bring the weights of a network towards those of its parent, in place."""
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point():
            tensor.lerp_(torch.from_numpy(parent[name]).to(tensor.device), share)


def _check(prediction: BlendPrediction) -> None:
    if (prediction.flags & int(BlendFlag.NO_ANSWER)).any():
        raise TrainingDivergedError("The trained networks give answers that are not finite.")


def _copy_weights(network: torch.nn.Module) -> Weights:
    return {name: tensor.detach().cpu().numpy().copy() for name, tensor in network.state_dict().items()}
