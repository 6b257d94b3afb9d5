"""Alerts in Parquet, as Fink's data transfer writes them: nested columns of the same names as in Avro."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

import pyarrow.parquet as pq  # type: ignore[import-untyped]

from .avro_schemas import leaf_paths
from .packets import AlertError

__all__ = ["PARQUET_MAGIC", "read_parquet"]

PARQUET_MAGIC = b"PAR1"

_ROWS = 32
_THRIFT = 2**24
_MAX_COLUMN = 2**31
_BUFFER = 2**20


def read_parquet(stream: BinaryIO, size: int, source: str) -> Iterator[dict[str, Any]]:
    """Read the alerts of a Parquet file.

    Parameters
    ----------
    stream : binary file
        That can seek.
    size : `int`
        Its length, bytes.
    source : `str`
        Its name, for messages.

    Yields
    ------
    record : `dict`
        The fields `~.avro_schemas.WANTED`.

    Raises
    ------
    AlertError
        If it is no Parquet file of alerts, or is damaged. Where pages have checksums, they are verified.
    """
    try:
        file = pq.ParquetFile(
            stream,
            pre_buffer=False,
            buffer_size=_BUFFER,
            page_checksum_verification=True,
            thrift_string_size_limit=_THRIFT,
            thrift_container_size_limit=_THRIFT,
        )
        columns = _columns(file, size, source)
        for batch in file.iter_batches(_ROWS, columns=columns, use_threads=False):
            yield from batch.to_pylist()
    except AlertError:
        raise
    except Exception as error:  # Arrow raises its own, OSError, ValueError and others
        raise AlertError(
            source, "a sound Parquet file", f"{type(error).__name__}: {' '.join(str(error).split()):.160}"
        ) from None


def _columns(file: pq.ParquetFile, size: int, source: str) -> list[str]:
    metadata = file.metadata
    for index in range(metadata.num_row_groups):
        group = metadata.row_group(index)
        columns = [group.column(i) for i in range(group.num_columns)]
        packed = sum(c.total_compressed_size for c in columns)
        if packed > size or max((c.total_uncompressed_size for c in columns), default=0) > _MAX_COLUMN:
            raise AlertError(source, f"row groups that fit its {size} bytes", f"one of {packed} bytes")
    wanted = set(leaf_paths())
    paths = [metadata.schema.column(i).path for i in range(metadata.num_columns)]
    found = [path for path in paths if path in wanted]
    if not found:
        raise AlertError(source, "columns of an alert of Rubin or ZTF", f"{', '.join(paths)[:120]}")
    return found
