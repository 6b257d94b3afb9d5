"""The dataset ``blend_model``: networks of one method and a card, as a table."""

from __future__ import annotations

__all__ = ["FORMAT_VERSION", "LAYOUT", "BlendCard", "BlendModel", "from_table", "load_networks", "to_table"]

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa  # type: ignore[import-untyped]
import pydantic
from numpy.typing import NDArray

from ..model_table import (
    ContentHashError,
    ModelCardError,
    TensorError,
    TensorRow,
    card_values,
    content_digest,
    read_tensors,
    write_table,
)
from .networks import build_network, check_options
from .prediction import Calibration

if TYPE_CHECKING:
    from .networks.base import BlendNetwork

FORMAT_VERSION = 1
"""Version of the layout described here; a reader refuses newer ones."""

LAYOUT = "sigma-1"
"""Name of the input layout: pixels over the noise, validity, FWHM of the PSF
(`~.networks.base.BlendNetwork`)."""

type Weights = Mapping[str, NDArray[Any]]


class BlendCard(pydantic.BaseModel):
    """What a model is and where it comes from; written as JSON into the metadata of its table.

    No time, host, run or dataset id is in it, so that the same training gives the same content hash.
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    format_version: int = FORMAT_VERSION
    name: str = ""
    """Name of a model that is shipped; empty for others."""
    method: str
    """Name of the method (`~.methods.METHODS`)."""
    architecture: str
    options: dict[str, int | float]
    initial_weights: str = ""
    """Name and hash of weights that were given to start from; empty where all was learnt from these
    stamps."""
    parent: str = ""
    """Content hash of the model that training started from; empty where it started from fresh weights."""
    parent_presets: dict[str, tuple[int, int]] = {}
    """What that model was trained on, as `presets`."""
    layout: str = LAYOUT
    stamp_size: int
    """Side of the stamps it was trained with; others are cropped or padded to it."""
    presets: dict[str, tuple[int, int]]
    """Number of training stamps and seed of the simulation, by name of the preset."""
    peak_snr: tuple[float, float]
    """1 % and 99 % quantile of brightest pixel over noise of the training stamps, before noise was added."""
    psf_fwhm: tuple[float, float]
    """Smallest and largest PSF of the training stamps, pixels."""
    kind_counts: dict[str, int]
    """Training stamps by kind, and ``any_companion``: blends that may be far apart."""
    seed: int
    settings: dict[str, int | float | str]
    """How it was trained (`~.training.TrainingSettings`)."""
    epochs: tuple[int, ...]
    """Epoch that was selected, per network, from 0."""
    scale: float
    offset: float
    """From logits to probabilities (`~.prediction.Calibration`)."""
    count_weights: tuple[float, float, float, float]
    """Of the probabilities of 1, 2, 3, 4 or more sources, by which one of them is said."""
    overlap_threshold: float
    """Probability from which a pixel counts as an overlap."""
    thresholds: dict[str, float]
    """Probabilities at rates of the validation stamps, by name (`~.validation.make_thresholds`)."""
    metrics: dict[str, tuple[float, float, float]]
    """Figures on the validation stamps: value and the ends of the 95 % interval."""
    software: dict[str, str]
    content_hash: str = ""
    """SHA-256 of all else in the card and of every tensor."""

    @property
    def version(self) -> str:
        """First seven characters of the content hash."""
        return self.content_hash[:7]

    @property
    def seeds(self) -> set[int]:
        """Seeds of all simulations that it, or what it started from, was trained on."""
        return {seed for known in (self.presets, self.parent_presets) for _, seed in known.values()}

    @property
    def known_presets(self) -> set[str]:
        """Names of the presets that it, or what it started from, was trained on."""
        return set(self.presets) | set(self.parent_presets)

    @property
    def calibration(self) -> Calibration:
        """From outputs to answers."""
        return Calibration(self.scale, self.offset, self.count_weights, self.overlap_threshold)


@dataclasses.dataclass(frozen=True)
class BlendModel:
    """Networks that answer together.

    Parameters
    ----------
    card : `BlendCard`
        What it is.
    networks : `~collections.abc.Sequence` of `~collections.abc.Mapping`
        Parameters and buffers by name; one or more networks.
    """

    card: BlendCard
    networks: Sequence[Weights]

    def sealed(self) -> BlendModel:
        """Return the model with its content hash in the card."""
        return dataclasses.replace(self, card=self.card.model_copy(update={"content_hash": self.digest()}))

    def digest(self) -> str:
        """Return the content hash."""
        return content_digest(self.card.model_dump(mode="json"), self.tensors())

    def tensors(self) -> Iterator[TensorRow]:
        """Yield the rows of the table."""
        for index, weights in enumerate(self.networks):
            for name, tensor in weights.items():
                yield index, name, tensor


def to_table(model: BlendModel) -> pa.Table:
    """Write a model as a table.

    Parameters
    ----------
    model : `BlendModel`
        The content hash of its card is made anew.

    Returns
    -------
    table : `pyarrow.Table`
        See `dia_vetting.model_table.write_table`.
    """
    model = model.sealed()
    return write_table(model.card.model_dump(mode="json"), model.tensors())


def from_table(table: pa.Table, source: str = "blend_model") -> BlendModel:
    """Read a model, checking that it is what was written.

    Parameters
    ----------
    table : `pyarrow.Table`
        From `to_table`, through Parquet or not.
    source : `str`, optional
        Where it comes from, for messages.

    Returns
    -------
    model : `BlendModel`
        Arrays are copies.

    Raises
    ------
    ModelCardError
        If there is no card of a blend model, it lacks something, or columns are missing.
    NewerFormatError
        If the format is newer than `FORMAT_VERSION`.
    TensorError
        If a tensor's bytes do not match its dtype and shape, or a network is missing.
    ContentHashError
        If anything differs from what was hashed when the model was written.
    """
    values = card_values(table, source, FORMAT_VERSION)
    try:
        card = BlendCard.model_validate(values)
    except pydantic.ValidationError as error:
        raise ModelCardError(source, "a complete card of a blend model", str(error)) from None
    networks: list[dict[str, NDArray[Any]]] = [{} for _ in card.epochs]
    for index, name, tensor in read_tensors(table, source, len(networks)):
        if index < 0:
            raise TensorError(source, "tensors of networks only", f"tensor {name!r}")
        networks[index][name] = tensor
    if not networks or not all(networks):
        raise TensorError(source, f"{len(networks)} networks", f"{table.num_rows} rows without all of them")
    model = BlendModel(card, networks)
    if (found := model.digest()) != card.content_hash:
        raise ContentHashError(source, f"content of hash {card.content_hash[:12]}", f"hash {found[:12]}")
    return model


def load_networks(model: BlendModel, source: str = "blend_model") -> list[BlendNetwork]:
    """Build the networks of a model, ready to be asked.

    Parameters
    ----------
    model : `BlendModel`
        From a dataset or from training.
    source : `str`, optional
        Where it comes from, for messages.

    Returns
    -------
    networks : `list` of `~.networks.base.BlendNetwork`
        On the graphics card where there is one, in evaluation mode.

    Raises
    ------
    ModelCardError
        If the model wants another input layout.
    UnknownArchitectureError, UnknownOptionError
        If the architecture or an option is not known here.
    TensorError
        If the tensors are not those of the architecture.
    """
    card = model.card
    if card.layout != LAYOUT:
        raise ModelCardError(source, f"input layout {LAYOUT!r}", repr(card.layout))
    check_options(card.architecture, card.options, f"{source}: architecture")
    return [
        _load(build_network(card.architecture, card.options), weights, f"{source}: network {index}")
        for index, weights in enumerate(model.networks)
    ]


def _load(network: BlendNetwork, weights: Weights, source: str) -> BlendNetwork:
    import torch

    from ..reliability.deterministic import best_device
    from ..reliability.networks.base import load_weights

    load_weights(network, weights, source)
    return network.baked().to(best_device()).to(memory_format=torch.channels_last)
