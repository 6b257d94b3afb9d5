"""Weights of other people's networks from .safetensors and .npz files, in which nothing is ever executed."""

from __future__ import annotations

__all__ = ["read_weights"]

import hashlib
import json
import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..bad_input import BadInputError

_DTYPES = {"F16": "<f2", "F32": "<f4", "F64": "<f8"}
_LARGEST_HEADER = 100_000_000


def read_weights(path: str | Path) -> tuple[str, dict[str, NDArray[Any]]]:
    """Read arrays by name.

    Parameters
    ----------
    path : `str` or `pathlib.Path`
        A ``.npz`` file without objects, or a ``.safetensors`` file of floating-point tensors
        (https://github.com/huggingface/safetensors: an 8-byte length, a header in JSON, raw bytes).

    Returns
    -------
    name : `str`
        Name of the file and the first characters of its SHA-256, for a model's card.
    weights : `dict` [`str`, `numpy.ndarray`]
        The arrays.

    Raises
    ------
    BadInputError
        If the file cannot be read, or is of another kind.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
        match path.suffix:
            case ".npz":
                with np.load(path, allow_pickle=False) as file:
                    weights = {key: file[key] for key in file.files}
            case ".safetensors":
                weights = _safetensors(data)
            case _:
                raise ValueError(f"suffix {path.suffix!r}")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise BadInputError(str(path), "weights in .npz or .safetensors", str(error)) from error
    return f"{path.name} {hashlib.sha256(data).hexdigest()[:12]}", weights


def _safetensors(data: bytes) -> dict[str, NDArray[Any]]:
    length = int.from_bytes(data[:8], "little")
    if not 0 < length <= min(len(data) - 8, _LARGEST_HEADER):
        raise ValueError(f"a header of {length} bytes in a file of {len(data)}")
    header = json.loads(data[8 : 8 + length])
    body = data[8 + length :]
    return {name: _tensor(name, entry, body) for name, entry in header.items() if name != "__metadata__"}


def _tensor(name: str, entry: dict[str, Any], body: bytes) -> NDArray[Any]:
    if entry["dtype"] not in _DTYPES:
        raise ValueError(f"tensor {name!r} of dtype {entry['dtype']!r}")
    dtype = np.dtype(_DTYPES[entry["dtype"]])
    start, end = entry["data_offsets"]
    shape = [int(n) for n in entry["shape"]]
    if not 0 <= start <= end <= len(body) or end - start != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"tensor {name!r} of shape {shape} in bytes {start} to {end}")
    return np.frombuffer(body[start:end], dtype).reshape(shape).astype(np.float32)
