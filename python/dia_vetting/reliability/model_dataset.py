"""A trained model as a table: one row per tensor, and a model card in the schema metadata.

Nothing in it is ever executed: bytes become arrays, and arrays are copied into a network that this package
builds by name. Any Parquet reader can open it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pydantic
from numpy.typing import NDArray

from ..model_table import (
    ContentHashError,
    ModelCardError,
    NewerFormatError,
    TensorError,
    TensorRow,
    card_values,
    content_digest,
    read_tensors,
    write_table,
)

__all__ = [
    "FORMAT_VERSION",
    "INHERITED_CELLS",
    "ContentHashError",
    "ModelCard",
    "ModelCardError",
    "NewerFormatError",
    "ReliabilityModel",
    "TensorError",
    "add_provenance",
    "from_table",
    "provenance",
    "to_table",
]

FORMAT_VERSION = 2
"""Version of the layout described here; a reader refuses newer ones."""

_PROVENANCE_KEY = b"dia_vetting:training_datasets"
_CELLS = "trained_cells"

INHERITED_CELLS = "inherited_cells"
"""Name among the auxiliary arrays of `ReliabilityModel.inherited_cells`."""

type Weights = Mapping[str, NDArray[Any]]


class ModelCard(pydantic.BaseModel):
    """What a model is and where it comes from; written as JSON into the metadata of its table.

    No time, host, run or dataset id is in it, so that the same training gives the same content hash. Which
    datasets it was trained on stands beside it (`add_provenance`).
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    format_version: int = FORMAT_VERSION
    name: str = ""
    """Name of a model that is shipped; empty for others."""
    architecture: str
    options: dict[str, int | float]
    strategy: str
    """How it deals with real sources among the unlabelled (`~.strategies`)."""
    strategy_options: dict[str, int | float | str | None]
    layout: str
    """Name of the input layout and normalisation (`~.inputs.LAYOUT`)."""
    channels: tuple[str, ...]
    metadata: tuple[str, ...]
    stamp_size: int
    """Side of the stamps it was trained with; others are cropped or padded to it."""
    min_valid_fraction: float
    """Stamps with a smaller fraction of valid pixels were not trained on and are not scored."""
    instrument: str
    seed: int
    nside: int
    n_folds: int
    members: int
    """Networks per fold."""
    settings: dict[str, int | float | str | None]
    """How it was trained (`~.training.TrainingSettings`)."""
    label_counts: dict[str, int]
    """DIA sources by state of their label, and of the first two those that were ``used``."""
    injected_fraction: float
    """Fraction of injections among the rows it was trained with. Classes weigh the same in the loss."""
    prior: tuple[float, float, float]
    """Estimated fraction of real sources among the unlabelled (`~.prior`): value, ends of the interval."""
    prevalence: float
    """Fraction of real sources among those to be scored, for which ``reliability`` is a probability."""
    calibration: dict[str, float | list[float]]
    """From logits to ``reliability`` (`~.calibration.Calibration`)."""
    epochs: tuple[int, ...]
    """Epoch that was selected, per network, from 0."""
    thresholds: dict[str, float]
    """Reliability at rates of the out-of-fold training rows, by name (`~.cross_fitting.make_thresholds`)."""
    parent: str = ""
    """Content hash of the model that this one was fine-tuned from; empty if it started afresh."""
    metrics: dict[str, tuple[float, float, float]]
    """Out-of-fold figures on the labels: value and the ends of the 95 % interval over sky cells."""
    software: dict[str, str]
    content_hash: str = ""
    """SHA-256 of all else in the card and of every tensor."""

    @property
    def version(self) -> str:
        """First seven characters of the content hash: what ``reliabilityVersion`` can hold."""
        return self.content_hash[:7]


@dataclasses.dataclass(frozen=True)
class ReliabilityModel:
    """Networks of every fold, and which sky they were trained on.

    Parameters
    ----------
    card : `ModelCard`
        What it is.
    networks : `~collections.abc.Sequence` of `~collections.abc.Mapping`
        Parameters and buffers by name; those of fold f are elements ``f * members`` to
        ``(f + 1) * members - 1``.
    trained_cells : `numpy.ndarray`, (M,), int64
        Sorted sky cells that any network was trained on or selected with.
    auxiliary : `~collections.abc.Mapping`
        Further arrays by name, float32 or int64: what `~.outliers` needs, for example.
    """

    card: ModelCard
    networks: Sequence[Weights]
    trained_cells: NDArray[np.int64]
    auxiliary: Weights = dataclasses.field(default_factory=dict)

    @property
    def inherited_cells(self) -> NDArray[np.int64]:
        """Sky cells that a model it was fine-tuned from saw: none of its networks is blind to them."""
        cells = self.auxiliary.get(INHERITED_CELLS, np.zeros(0))
        return np.asarray(cells, np.int64)

    def sealed(self) -> ReliabilityModel:
        """Return the model with its content hash in the card."""
        return dataclasses.replace(self, card=self.card.model_copy(update={"content_hash": self._digest()}))

    def _tensors(self) -> Iterator[TensorRow]:
        yield -1, _CELLS, self.trained_cells
        for name, tensor in self.auxiliary.items():
            yield -1, name, tensor
        for index, weights in enumerate(self.networks):
            for name, tensor in weights.items():
                yield index, name, tensor

    def _digest(self) -> str:
        return content_digest(self.card.model_dump(mode="json"), self._tensors())


def to_table(model: ReliabilityModel) -> pa.Table:
    """Write a model as a table.

    Parameters
    ----------
    model : `ReliabilityModel`
        The content hash of its card need not be right; it is made anew.

    Returns
    -------
    table : `pyarrow.Table`
        Columns network, name, dtype, shape, data; the card as JSON in the schema metadata.
    """
    model = model.sealed()
    return write_table(model.card.model_dump(mode="json"), model._tensors())


def from_table(table: pa.Table, source: str = "reliability_model") -> ReliabilityModel:
    """Read a model, checking that it is what was written.

    Parameters
    ----------
    table : `pyarrow.Table`
        From `to_table`, through Parquet or not. Additional metadata is ignored.
    source : `str`, optional
        Where it comes from, for messages.

    Returns
    -------
    model : `ReliabilityModel`
        Arrays are copies.

    Raises
    ------
    ModelCardError
        If there is no model card, it lacks something, or columns are missing.
    NewerFormatError
        If the format is newer than `FORMAT_VERSION`.
    TensorError
        If a tensor's bytes do not match its dtype and shape, or a network is missing.
    ContentHashError
        If anything differs from what was hashed when the model was written.
    """
    card = _read_card(table, source)
    networks: list[dict[str, NDArray[Any]]] = [{} for _ in range(card.n_folds * card.members)]
    others: dict[str, NDArray[Any]] = {}
    for index, name, tensor in read_tensors(table, source, len(networks)):
        (others if index == -1 else networks[index])[name] = tensor
    cells = others.pop(_CELLS, None)
    if cells is None or not all(networks):
        raise TensorError(
            source, f"{len(networks)} networks and {_CELLS}", f"{table.num_rows} rows without all of them"
        )
    model = ReliabilityModel(card, networks, cells, others)
    found = model._digest()
    if found != card.content_hash:
        raise ContentHashError(source, f"content of hash {card.content_hash[:12]}", f"hash {found[:12]}")
    return model


def add_provenance(table: pa.Table, datasets: Mapping[str, str]) -> pa.Table:
    """Note beside the model card which datasets the model was trained on.

    Parameters
    ----------
    table : `pyarrow.Table`
        From `to_table`.
    datasets : `~collections.abc.Mapping`
        Collection by dataset id.

    Returns
    -------
    table : `pyarrow.Table`
        The same rows. The content hash does not cover this.
    """
    metadata = dict(table.schema.metadata)
    return table.replace_schema_metadata(metadata | {_PROVENANCE_KEY: json.dumps(dict(datasets))})


def provenance(table: pa.Table) -> dict[str, str]:
    """Return the datasets a model was trained on: collection by dataset id, empty where not known."""
    text = (table.schema.metadata or {}).get(_PROVENANCE_KEY, b"{}")
    return {str(name): str(run) for name, run in json.loads(text).items()}


def _read_card(table: pa.Table, source: str) -> ModelCard:
    values = card_values(table, source, FORMAT_VERSION)
    try:
        return ModelCard.model_validate(values)
    except pydantic.ValidationError as error:
        raise ModelCardError(source, "a complete model card", str(error)) from None
