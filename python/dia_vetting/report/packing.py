"""Columns of numbers as text in a page: little-endian arrays, deflated, in base64, and a header in JSON."""

from __future__ import annotations

import base64
import dataclasses
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["PackedTable", "encode", "pack_table"]

_KINDS = {"float32", "float64", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64"}
_ALIGNMENT = 8
_LEVEL = 6


@dataclasses.dataclass(frozen=True)
class PackedTable:
    """A table as the page reads it.

    Parameters
    ----------
    header : `dict`
        ``rows``, and ``columns``: name, dtype, offset in bytes, width (numbers per row), and for text the
        ``categories`` that the numbers are indices of.
    payload : `str`
        The arrays one after the other, deflated, in base64.
    """

    header: dict[str, Any]
    payload: str


def encode(data: bytes) -> str:
    """Return bytes as base64."""
    return base64.b64encode(data).decode("ascii")


def pack_table(columns: Mapping[str, ArrayLike], rows: int | None = None) -> PackedTable:
    """Pack columns.

    Parameters
    ----------
    columns : `~collections.abc.Mapping` [`str`, array_like]
        Arrays (N,) or (N, K). Text becomes the index of a category (or, for more than 65,535 different texts,
        of 32 bits), bool becomes uint8. Integers of 64 bits stay exact: the page reads them as text.
    rows : `int`, optional
        N, where there may be no column.

    Returns
    -------
    table : `PackedTable`
        The same.

    Raises
    ------
    ValueError
        If columns differ in length, or have a dtype that a page cannot read.
    """
    described: list[dict[str, Any]] = []
    parts: list[bytes] = []
    offset = 0
    for name, values in columns.items():
        array, categories = _plain(np.asarray(values))
        rows = len(array) if rows is None else rows
        if len(array) != rows:
            raise ValueError(f"Column {name!r} has {len(array)} rows, not {rows}.")
        if array.dtype.name not in _KINDS:
            raise ValueError(f"Column {name!r} is {array.dtype}, which a page cannot read.")
        width = int(np.prod(array.shape[1:], dtype=int))
        column = {"name": name, "dtype": array.dtype.name, "offset": offset, "width": width}
        described.append(column | ({} if categories is None else {"categories": categories}))
        data = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()
        parts += [data, b"\0" * (-len(data) % _ALIGNMENT)]
        offset += len(data) + len(parts[-1])
    payload = encode(zlib.compress(b"".join(parts), _LEVEL))
    return PackedTable({"rows": rows or 0, "columns": described}, payload)


def _plain(array: NDArray[Any]) -> tuple[NDArray[Any], list[str] | None]:
    """Return an array of numbers, and the categories if it was text."""
    if array.dtype.kind == "b":
        return array.astype(np.uint8), None
    if array.dtype.kind not in "USO":
        return array, None
    categories, index = np.unique(array.astype(str), return_inverse=True)
    smallest = np.uint8 if len(categories) < 256 else np.uint16 if len(categories) < 65536 else np.uint32
    return index.astype(smallest), [str(text) for text in categories]
