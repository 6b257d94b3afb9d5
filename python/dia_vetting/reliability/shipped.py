"""Trained models that come with the package, and one way to name any model: shipped, or in a file."""

from __future__ import annotations

import dataclasses
import importlib.resources
from importlib.resources.abc import Traversable
from pathlib import Path

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from ..errors import BadInputError
from .model_dataset import ReliabilityModel, from_table

__all__ = [
    "DEFAULT_MODEL",
    "UnknownModelError",
    "check_name",
    "models_folder",
    "named",
    "open_model",
    "read_model_table",
    "shipped_model",
    "shipped_models",
]

DEFAULT_MODEL = "simulated-3"
"""The shipped model that is used where none is named."""

_SUFFIX = ".parquet"


class UnknownModelError(BadInputError):
    """No shipped model has this name; the message lists those there are."""


def models_folder() -> Traversable:
    """Return the folder of the package that holds the shipped models."""
    return importlib.resources.files(__package__) / "models"


def shipped_models() -> list[str]:
    """Return the names of the shipped models, sorted."""
    return sorted(
        file.name.removesuffix(_SUFFIX) for file in models_folder().iterdir() if file.name.endswith(_SUFFIX)
    )


def check_name(name: str) -> None:
    """Raise `UnknownModelError`, which lists those there are, unless a shipped model has this name."""
    known = shipped_models()
    if name not in known:
        raise UnknownModelError("model", f"one of {', '.join(known) or 'none that are shipped'}", repr(name))


def shipped_model(name: str = DEFAULT_MODEL) -> ReliabilityModel:
    """Read a shipped model.

    Parameters
    ----------
    name : `str`, optional
        One of `shipped_models`.

    Returns
    -------
    model : `~.model_dataset.ReliabilityModel`
        Its content hash was checked, and its card has the name.

    Raises
    ------
    UnknownModelError
        If there is no model of this name, or the file holds one of another.
    ModelCardError, NewerFormatError, TensorError, ContentHashError
        If the file is not what was written.
    """
    source = f"shipped model {name}"
    model = from_table(_shipped_table(name), source)
    if model.card.name != name:
        raise UnknownModelError(source, "a model card of that name", repr(model.card.name))
    return model


def read_model_table(reference: str | Path) -> pa.Table:
    """Read the table of a model that is named or in a file.

    Parameters
    ----------
    reference : `str` or `pathlib.Path`
        Path of a Parquet file, or else the name of a shipped model.

    Returns
    -------
    table : `pyarrow.Table`
        To be read by `~.model_dataset.from_table`.

    Raises
    ------
    UnknownModelError
        If there is neither a file nor a shipped model of this name.
    BadInputError
        If the file is no Parquet file.
    """
    if not _is_file(reference):
        return _shipped_table(str(reference))
    try:
        return pq.read_table(reference, use_threads=False)
    except (OSError, ValueError) as error:
        raise BadInputError(str(reference), "a Parquet file with a model", str(error)) from error


def open_model(reference: str | Path = DEFAULT_MODEL) -> ReliabilityModel:
    """Read a model that is named or in a file.

    Parameters
    ----------
    reference : `str` or `pathlib.Path`, optional
        Path of a Parquet file, or else the name of a shipped model.

    Returns
    -------
    model : `~.model_dataset.ReliabilityModel`
        Its content hash was checked.

    Raises
    ------
    UnknownModelError, BadInputError
        As for `read_model_table`.
    ModelCardError, NewerFormatError, TensorError, ContentHashError
        If it does not hold the model that was written.
    """
    if _is_file(reference):
        return from_table(read_model_table(reference), str(reference))
    return shipped_model(str(reference))


def named(model: ReliabilityModel, name: str) -> ReliabilityModel:
    """Return the model under the name by which it is shipped.

    Parameters
    ----------
    model : `~.model_dataset.ReliabilityModel`
        A trained model.
    name : `str`
        The file that `~.model_dataset.to_table` goes into is called so too.

    Returns
    -------
    model : `~.model_dataset.ReliabilityModel`
        The same, with the name in the card and therefore another content hash.
    """
    return dataclasses.replace(model, card=model.card.model_copy(update={"name": name})).sealed()


def _is_file(reference: str | Path) -> bool:
    return Path(reference).is_file() or Path(reference).suffix == _SUFFIX


def _shipped_table(name: str) -> pa.Table:
    check_name(name)
    with (models_folder() / f"{name}{_SUFFIX}").open("rb") as file:
        return pq.ParquetFile(file).read(use_threads=False)  # read_table imports much more
