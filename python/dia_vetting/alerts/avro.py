"""Alerts in Avro: object containers, and messages of the Confluent wire format."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO

import fastavro
import pyarrow as pa  # type: ignore[import-untyped]

from .avro_schemas import AvroSchema, SchemaFolder, read_value
from .packets import AlertError

__all__ = ["CONTAINER_MAGIC", "MAX_BLOCK", "WIRE_MAGIC", "read_container", "read_messages"]

CONTAINER_MAGIC = b"Obj\x01"
WIRE_MAGIC = b"\x00"

MAX_BLOCK = 2**27
"""Largest block of a container and largest message, unpacked, bytes: a packet has some 1e5."""

_MAX_RECORDS = 10_000
"""Most records of a block, which are held until all of it is read: blocks of real files hold some ten."""

_HEADER = fastavro.parse_schema(
    {
        "type": "record",
        "name": "header",
        "fields": [
            {"name": "magic", "type": {"type": "fixed", "name": "magic", "size": 4}},
            {"name": "meta", "type": {"type": "map", "values": "bytes"}},
            {"name": "sync", "type": {"type": "fixed", "name": "sync", "size": 16}},
        ],
    }
)
_BLOCK = fastavro.parse_schema(
    {
        "type": "record",
        "name": "block",
        "fields": [
            {"name": "count", "type": "long"},
            {"name": "data", "type": "bytes"},
            {"name": "sync", "type": {"type": "fixed", "name": "sync", "size": 16}},
        ],
    }
)
_SNAPPY = pa.Codec("snappy")


class _Exact:
    """Reads exactly what is asked for, and never asks for more than there is."""

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self._read = stream.read
        self.left = size

    def read(self, size: int, /) -> bytes:
        if not 0 <= size <= self.left or size > MAX_BLOCK:
            raise EOFError(f"{size} bytes wanted, {self.left} there")
        self.left -= size
        data = self._read(size)
        if len(data) != size:
            raise EOFError(f"{size} bytes wanted, {len(data)} there")
        return data


def read_container(stream: BinaryIO, size: int, source: str) -> Iterator[dict[str, Any]]:
    """Read the alerts of an Avro object container (Avro specification 1.11), block by block.

    Parameters
    ----------
    stream : binary file
        At its start.
    size : `int`
        Its length, bytes.
    source : `str`
        Its name, for messages.

    Yields
    ------
    record : `dict`
        The fields `~.avro_schemas.WANTED`; those of a block come once all of the block is known to be sound.

    Raises
    ------
    AlertError
        If it is no container of alerts, or is damaged.
    """
    file = _Exact(stream, size)
    header = read_value(file, _HEADER, source)
    if header["magic"] != CONTAINER_MAGIC or "avro.schema" not in header["meta"]:
        raise AlertError(source, "the header of an Avro container", "another")
    schema = AvroSchema.from_json(header["meta"]["avro.schema"], source)
    codec = header["meta"].get("avro.codec", b"null").decode("ascii", "replace")
    while file.left:
        block = read_value(file, _BLOCK, source)
        if block["sync"] != header["sync"]:
            raise AlertError(source, "the synchronisation marker of the container", "another")
        data = _unpack(codec, block["data"], source)
        if not 0 < block["count"] <= _MAX_RECORDS:
            raise AlertError(source, f"1 to {_MAX_RECORDS} records in a block", f"{block['count']}")
        yield from _block_records(data, block["count"], schema, source)


def _block_records(data: bytes, count: int, schema: AvroSchema, source: str) -> list[dict[str, Any]]:
    stream = _guarded(data)
    records = [schema.read(stream, source) for _ in range(count)]
    if stream.tell() != len(data):
        raise AlertError(source, f"{count} records in {len(data)} bytes", f"them in {stream.tell()}")
    return records


def _guarded(data: bytes) -> io.BytesIO:
    """Return a stream of the data and one more byte, behind which stands whoever reads too much.

    fastavro does not notice when a field that it skips is shorter than it says, or of a negative length.
    """
    return io.BytesIO(data + b"\x00")


def _unpack(codec: str, data: bytes, source: str) -> bytes:
    if codec == "null":
        return data
    if codec == "deflate":
        return _inflate(data, source)
    if codec == "snappy":
        return _unpack_snappy(data, source)
    raise AlertError(source, "an Avro codec null, deflate or snappy", repr(codec[:40]))


def _inflate(data: bytes, source: str) -> bytes:
    stream = zlib.decompressobj(wbits=-15)
    try:
        unpacked = stream.decompress(data, MAX_BLOCK)
    except zlib.error as error:
        raise AlertError(source, "a block packed by deflate", str(error)) from None
    # fastavro leaves part of zlib's checksum, of four bytes, behind the raw stream.
    if not stream.eof or len(stream.unused_data) > 4:
        raise AlertError(source, f"one whole deflate stream of at most {MAX_BLOCK} bytes", "another")
    return unpacked


def _unpack_snappy(data: bytes, source: str) -> bytes:
    """Unpack Snappy, whose length comes first (7 bits a byte, least significant first) and a CRC-32 last."""
    length = 0
    for place, byte in enumerate(data[:5]):
        length |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            break
    if len(data) < 5 or length > MAX_BLOCK:
        raise AlertError(source, f"a block packed by Snappy, of at most {MAX_BLOCK} bytes", f"{length} bytes")
    try:
        unpacked: bytes = _SNAPPY.decompress(data[:-4], length, asbytes=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise AlertError(source, "a block packed by Snappy", f"{error!s:.120}") from None
    if zlib.crc32(unpacked) != int.from_bytes(data[-4:], "big"):
        raise AlertError(source, "a block of the checksum that it says", "another")
    return unpacked


def read_messages(data: bytes, schemas: SchemaFolder | None, source: str) -> Iterator[dict[str, Any]]:
    """Read messages of the Confluent wire format: a zero byte, the schema's id, one record without a schema.

    Parameters
    ----------
    data : `bytes`
        One message or several in a row.
    schemas : `~.avro_schemas.SchemaFolder` or `None`
        Where their schemas are.
    source : `str`
        Where they come from, for messages.

    Yields
    ------
    record : `dict`
        The fields `~.avro_schemas.WANTED`; one comes once it is known that it ends where its message does.

    Raises
    ------
    AlertError
        If there is no folder or no schema, or a message is damaged.
    """
    if schemas is None:
        raise AlertError(source, "the folder of its schema (--schema)", "none")
    stream = _guarded(data)
    schema = _schema(stream, schemas, source)
    while stream.tell() < len(data):
        record = schema.read(stream, source)
        if stream.tell() > len(data):
            raise AlertError(source, f"a message in {len(data)} bytes", "a longer one")
        if stream.tell() < len(data):
            schema = _schema(stream, schemas, source)
        yield record


def _schema(stream: io.BytesIO, schemas: SchemaFolder, source: str) -> AvroSchema:
    start = stream.read(5)
    if len(start) < 5 or start[:1] != WIRE_MAGIC:
        raise AlertError(source, "a message in the Confluent wire format", f"one that starts with {start!r}")
    return schemas.get(int.from_bytes(start[1:], "big"))
