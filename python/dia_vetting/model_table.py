"""Tensors and a card as a table: the layout that every trained model of this package has.

One row per tensor, and a card in JSON in the schema metadata. Nothing in it is ever executed: bytes become
arrays. Any Parquet reader can open it.
"""

from __future__ import annotations

__all__ = [
    "ContentHashError",
    "ModelCardError",
    "NewerFormatError",
    "TensorError",
    "TensorRow",
    "card_values",
    "content_digest",
    "read_tensors",
    "write_table",
]

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
from numpy.typing import NDArray

from .bad_input import BadInputError

_CARD_KEY = b"dia_vetting:model_card"
_SCHEMA = pa.schema(
    [
        pa.field("network", pa.int32(), metadata={"description": "Network; -1 for what is not of a network"}),
        pa.field("name", pa.string(), metadata={"description": "Name of the tensor in its network"}),
        pa.field("dtype", pa.string(), metadata={"description": "NumPy dtype, little-endian"}),
        pa.field("shape", pa.list_(pa.int64()), metadata={"description": "Shape, C order"}),
        pa.field("data", pa.large_binary(), metadata={"description": "Raw bytes"}),
    ]
)
_DTYPES = ("<f4", "<i8")

type TensorRow = tuple[int, str, NDArray[Any]]
"""Index of the network (-1 for what is not of a network), name of the tensor, and the tensor."""


class ModelCardError(BadInputError):
    """A table without a model card, or with one that does not hold what it must."""


class NewerFormatError(BadInputError):
    """A model in a newer format than this version of the package reads."""


class TensorError(BadInputError):
    """A tensor whose bytes, dtype or shape are not what the model says."""


class ContentHashError(BadInputError):
    """A model whose content is not what was written."""


def content_digest(card: Mapping[str, Any], tensors: Iterable[TensorRow]) -> str:
    """Return the SHA-256 of a model.

    Parameters
    ----------
    card : `~collections.abc.Mapping`
        All that the card holds, as JSON does; its ``content_hash`` is taken as empty.
    tensors : `~collections.abc.Iterable` of `tuple`
        Rows of the table.

    Returns
    -------
    digest : `str`
        Hexadecimal.
    """
    values = {**card, "content_hash": ""}
    digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode())
    for network, name, tensor in tensors:
        dtype, shape, data = _encode(tensor)
        digest.update(f"\x1e{network}\x1f{name}\x1f{dtype}\x1f{shape}\x1f".encode())
        digest.update(data)
    return digest.hexdigest()


def write_table(card: Mapping[str, Any], tensors: Iterable[TensorRow]) -> pa.Table:
    """Write a model as a table.

    Parameters
    ----------
    card : `~collections.abc.Mapping`
        What JSON can hold.
    tensors : `~collections.abc.Iterable` of `tuple`
        At least one row.

    Returns
    -------
    table : `pyarrow.Table`
        Columns network, name, dtype, shape, data; the card as JSON in the schema metadata.
    """
    rows = [(network, name, *_encode(tensor)) for network, name, tensor in tensors]
    columns = [
        pa.array(column, field.type) for column, field in zip(zip(*rows, strict=True), _SCHEMA, strict=True)
    ]
    return pa.Table.from_arrays(columns, schema=_SCHEMA.with_metadata({_CARD_KEY: json.dumps(card)}))


def card_values(table: pa.Table, source: str, newest: int) -> dict[str, Any]:
    """Return what the card of a table holds, having checked the table's columns and its format.

    Parameters
    ----------
    table : `pyarrow.Table`
        From `write_table`, through Parquet or not. Additional metadata is ignored.
    source : `str`
        Where it comes from, for messages.
    newest : `int`
        Newest ``format_version`` that can be read.

    Returns
    -------
    values : `dict`
        As they are in the JSON.

    Raises
    ------
    ModelCardError
        If there is no card, or a column is missing or of another type.
    NewerFormatError
        If the format is newer.
    """
    text = (table.schema.metadata or {}).get(_CARD_KEY)
    if text is None:
        raise ModelCardError(source, "a model card in the schema metadata", "none")
    for field in _SCHEMA:
        if field.name not in table.column_names or table.schema.field(field.name).type != field.type:
            raise ModelCardError(
                source, f"column {field.name!r} of type {field.type}", str(table.schema.names)
            )
    try:
        values: dict[str, Any] = json.loads(text)
        version = int(values["format_version"])
    except (ValueError, KeyError, TypeError) as error:
        raise ModelCardError(source, "a model card in JSON with a format_version", repr(error)) from None
    if version > newest:
        raise NewerFormatError(source, f"format {newest} or older", f"format {version}")
    return values


def read_tensors(table: pa.Table, source: str, n_networks: int) -> Iterator[TensorRow]:
    """Yield the rows of a table.

    Parameters
    ----------
    table : `pyarrow.Table`
        From `write_table`, through Parquet or not.
    source : `str`
        Where it comes from, for messages.
    n_networks : `int`
        Number of networks that the card tells of.

    Yields
    ------
    row : `tuple`
        Arrays are copies.

    Raises
    ------
    TensorError
        If a tensor's bytes do not match its dtype and shape, or it is of a network beyond the last.
    """
    for row in zip(*(table.column(field.name) for field in _SCHEMA), strict=True):
        index, name, dtype, shape, data = (value.as_py() for value in row)
        if not -1 <= index < n_networks:
            raise TensorError(source, f"networks 0 to {n_networks - 1}", f"network {index}")
        yield index, name, _decode(dtype, shape, data, f"{source}: tensor {name} of network {index}")


def _encode(tensor: NDArray[Any]) -> tuple[str, list[int], bytes]:
    little = np.asarray(tensor, dtype=np.asarray(tensor).dtype.newbyteorder("<"))
    return little.dtype.str, list(little.shape), little.tobytes()


def _decode(dtype: str, shape: list[int], data: bytes, source: str) -> NDArray[Any]:
    if dtype not in _DTYPES:
        raise TensorError(source, f"dtype {' or '.join(_DTYPES)}", repr(dtype))
    expected = math.prod(shape) * np.dtype(dtype).itemsize
    if any(n < 0 for n in shape) or len(data) != expected:
        raise TensorError(source, f"{expected} bytes for shape {shape}", f"{len(data)} bytes")
    return np.frombuffer(data, dtype=dtype).reshape(shape).copy()
