"""Alerts from files, one by one; what a file is follows from its first bytes, never from its name."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from .avro import CONTAINER_MAGIC, MAX_BLOCK, WIRE_MAGIC, read_container, read_messages
from .avro_schemas import SchemaFolder
from .packets import Alert, AlertError
from .parquet import PARQUET_MAGIC, read_parquet
from .rubin import rubin_alert
from .stamps import gunzip
from .ztf import ztf_alert

__all__ = ["alert_files", "read_alerts"]

_GZIP_MAGIC = b"\x1f\x8b"

_MIN_SIZE = 64
"""Smallest size of an alert, packed, bytes: a file that unpacks to nothing but zeros could last for hours."""


def alert_files(paths: Sequence[Path]) -> list[Path]:
    """Return the files to read: those given, and all in the folders given, at any depth.

    Parameters
    ----------
    paths : sequence of `~pathlib.Path`
        Files and folders. In folders, names that start with a dot or an underscore are passed over, which
        are the checksums and markers that Spark and Hadoop leave beside data.

    Returns
    -------
    files : `list` of `~pathlib.Path`
        In the order given, sorted within a folder. A path that does not exist is kept: to read it fails.
    """
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = (p for p in path.rglob("*") if not _is_hidden(p.relative_to(path)) and p.is_file())
            files.extend(sorted(inside))
        else:
            files.append(path)
    return files


def _is_hidden(path: Path) -> bool:
    return any(part.startswith((".", "_")) for part in path.parts)


def read_alerts(path: Path, schemas: SchemaFolder | None = None) -> Iterator[Alert]:
    """Read the alerts of one file.

    Parameters
    ----------
    path : `~pathlib.Path`
        Avro object container, message in the Confluent wire format, Parquet file, or one of these in gzip.
    schemas : `~.avro_schemas.SchemaFolder`, optional
        Schemas of the wire format.

    Yields
    ------
    alert : `Alert`
        In the order of the file.

    Raises
    ------
    AlertError
        If it cannot be read, or only up to a place; nothing else is ever raised.
    """
    name = str(path)
    try:
        if not path.is_file():
            raise AlertError(name, "a file", "a folder" if path.is_dir() else "no such file")
        size = path.stat().st_size
        with path.open("rb") as stream:
            for count, record in enumerate(_records(stream, size, schemas, name)):
                if count * _MIN_SIZE > size:
                    raise AlertError(name, f"alerts of at least {_MIN_SIZE} bytes", "smaller ones")
                yield _alert(record, name)
    except OSError as error:
        raise AlertError(name, "a file that can be read", str(error)) from None


def _records(
    stream: BinaryIO, size: int, schemas: SchemaFolder | None, name: str, packed: bool = False
) -> Iterator[dict[str, Any]]:
    start = stream.read(4)
    stream.seek(0)
    if start == CONTAINER_MAGIC:
        return read_container(stream, size, name)
    if start == PARQUET_MAGIC:
        return read_parquet(stream, size, name)
    if start[:1] == WIRE_MAGIC:
        return read_messages(_all(stream, size, name), schemas, name)
    if start[:2] == _GZIP_MAGIC and not packed:
        data = gunzip(_all(stream, size, name), MAX_BLOCK, name)
        return _records(io.BytesIO(data), len(data), schemas, name, packed=True)
    expected = "alerts in an Avro container, the Confluent wire format or Parquet"
    raise AlertError(name, expected, f"a file that starts with {start!r}" if size else "an empty file")


def _all(stream: BinaryIO, size: int, name: str) -> bytes:
    if size > MAX_BLOCK:
        raise AlertError(name, f"a message or gzip file of at most {MAX_BLOCK} bytes", f"{size} bytes")
    return stream.read(size)


def _alert(record: Mapping[str, Any], name: str) -> Alert:
    if isinstance(record.get("diaSource"), Mapping):
        return rubin_alert(record, name)
    if isinstance(record.get("candidate"), Mapping):
        return ztf_alert(record, name)
    raise AlertError(name, "an alert of Rubin or ZTF", f"the fields {', '.join(record)[:120]}")
