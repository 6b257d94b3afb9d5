"""Trained models that come with the package, and one way to name any model: shipped, or in a file."""

from __future__ import annotations

__all__ = ["DEFAULT_MODEL", "models_folder", "open_model", "shipped_models"]

import importlib.resources
from importlib.resources.abc import Traversable
from pathlib import Path

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from ..bad_input import BadInputError
from ..reliability.shipped import UnknownModelError
from .model_io import BlendModel, from_table

DEFAULT_MODEL = "simulated-2"
"""The shipped model that is used where none is named."""

_SUFFIX = ".parquet"


def models_folder() -> Traversable:
    """Return the folder of the package that holds the shipped models."""
    return importlib.resources.files(__package__) / "models"


def shipped_models() -> list[str]:
    """Return the names of the shipped models, sorted."""
    return sorted(
        file.name.removesuffix(_SUFFIX) for file in models_folder().iterdir() if file.name.endswith(_SUFFIX)
    )


def open_model(reference: str | Path = DEFAULT_MODEL) -> BlendModel:
    """Read a model that is named or in a file.

    Parameters
    ----------
    reference : `str` or `pathlib.Path`, optional
        Path of a Parquet file, or else the name of a shipped model.

    Returns
    -------
    model : `~.model_io.BlendModel`
        Its content hash was checked.

    Raises
    ------
    UnknownModelError
        If there is neither a file nor a shipped model of this name; the message lists those there are.
    BadInputError
        If the file is no Parquet file.
    ModelCardError, NewerFormatError, TensorError, ContentHashError
        If it does not hold the model that was written.
    """
    path = Path(reference)
    if str(reference) and (path.is_file() or path.suffix == _SUFFIX):
        return from_table(_read(path), str(reference))
    known = shipped_models()
    if str(reference) not in known:
        choice = f", or one of {', '.join(known)}" if known else " (no model is shipped)"
        raise UnknownModelError("blend model", f"a file with a model{choice}", repr(str(reference)))
    with (models_folder() / f"{reference}{_SUFFIX}").open("rb") as file:
        return from_table(pq.ParquetFile(file).read(use_threads=False), f"shipped blend model {reference}")


def _read(path: Path) -> pa.Table:
    try:
        return pq.read_table(path, use_threads=False)
    except (OSError, ValueError) as error:
        raise BadInputError(str(path), "a Parquet file with a blend model", str(error)) from error
