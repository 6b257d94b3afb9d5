"""Avro containers, messages of the Confluent wire format, and the schemas that they are read by."""

import io
import json
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fastavro
import pytest
from alert_samples import (
    CUTOUTS,
    SCHEMA_ID,
    container,
    message,
    rubin_record,
    rubin_schema,
    write_schemas,
    ztf_record,
    ztf_schema,
)
from dia_vetting.alerts.avro import read_container, read_messages
from dia_vetting.alerts.avro_schemas import AvroSchema, SchemaFolder
from dia_vetting.alerts.packets import AlertError
from hypothesis import given, settings
from hypothesis import strategies as st

SMALL = {name: name.encode() * 5 for name in CUTOUTS}
"""Bytes that stand for cutouts where nobody reads them."""


RECORDS: list[dict[str, Any]] = [rubin_record(number, **SMALL) for number in range(5)]
for _record in RECORDS:
    _record |= {"prvDiaSources": [r["diaSource"] for r in RECORDS[:4]], "broker": "somebody"}


def read(data: bytes) -> list[dict[str, Any]]:
    return list(read_container(io.BytesIO(data), len(data), "file"))


def snappy(records: list[dict[str, Any]]) -> bytes:
    """Return a container packed by Snappy, for which fastavro itself needs another library."""
    import pyarrow as pa

    plain = container(records, sync_interval=10**6)
    data = io.BytesIO()
    for record in records:
        fastavro.schemaless_writer(data, rubin_schema(), record)
    block = data.getvalue()
    packed = pa.Codec("snappy").compress(block, asbytes=True) + zlib.crc32(block).to_bytes(4, "big")
    head = plain[: plain.index(bytes(range(16))) + 16].replace(b"\x08null", b"\x0csnappy")
    tail = io.BytesIO()
    fastavro.schemaless_writer(tail, "long", len(records))
    fastavro.schemaless_writer(tail, "bytes", packed)
    return head + tail.getvalue() + bytes(range(16))


@pytest.mark.parametrize("make", [container, lambda r: container(r, "deflate"), snappy])
def test_a_container_gives_the_wanted_fields(make: Callable[[list[dict[str, Any]]], bytes]) -> None:
    records = read(make(RECORDS))
    assert [r["diaSourceId"] for r in records] == [1000, 1001, 1002, 1003, 1004]
    for found, wanted in zip(records, RECORDS, strict=True):
        assert set(found) == {"diaSourceId", "diaSource", *CUTOUTS}
        assert found["cutoutScience"] == wanted["cutoutScience"]
        assert found["diaSource"]["ra"] == wanted["diaSource"]["ra"]
        assert "x" not in found["diaSource"]


def test_a_container_of_ztf_reuses_the_type_of_its_cutouts() -> None:
    record = ztf_record()
    (found,) = read(container([record]))
    for name in CUTOUTS:
        assert found[name] == {"stampData": record[name]["stampData"]}
    assert found["candidate"]["magzpsci"] == pytest.approx(26.4)


def test_many_blocks_are_read_one_by_one() -> None:
    data = container([RECORDS[n % 5] for n in range(300)], sync_interval=200)
    assert data.count(bytes(range(16))) > 100
    assert len(read(data)) == 300
    cut = data[: len(data) // 2]
    reader = read_container(io.BytesIO(cut), len(cut), "file")
    assert [next(reader)["diaSourceId"] for _ in range(100)] == [1000 + n % 5 for n in range(100)]
    with pytest.raises(AlertError):
        list(reader)


def spoiled(data: bytes, place: int, value: bytes) -> bytes:
    return data[:place] + value + data[place + len(value) :]


def test_damage_to_a_block_is_noticed() -> None:
    data = container(RECORDS, sync_interval=10**6)
    body = data.index(bytes(range(16))) + 16
    with pytest.raises(AlertError, match="synchronisation marker"):
        read(spoiled(data, len(data) - 3, b"\xff"))
    with pytest.raises(AlertError, match="4 records"):
        read(spoiled(data, body, b"\x08"))  # 4 instead of 5 records
    with pytest.raises(AlertError):
        read(spoiled(data, body, b"\x0c"))  # 6 instead of 5
    with pytest.raises(AlertError, match="1 to 10000 records"):
        read(spoiled(data, body, b"\x09"))  # -5
    with pytest.raises(AlertError):
        read(data + b"\x02")
    packed = snappy(RECORDS)
    with pytest.raises(AlertError, match="checksum"):
        read(spoiled(packed, len(packed) - 18, bytes([packed[-18] ^ 1])))


def test_a_length_that_lies_allocates_nothing() -> None:
    data = container(RECORDS, sync_interval=10**6)
    body = data.index(bytes(range(16))) + 16
    huge = struct.pack("<9B", *([0xFE] + [0xFF] * 7 + [0x0F]))
    tracemalloc.start()
    for place in (body, body + 1, 4):
        with pytest.raises(AlertError):
            read(data[:place] + huge + data[place + 3 :])
    assert tracemalloc.get_traced_memory()[1] < 3_000_000
    tracemalloc.stop()


def test_a_deflate_bomb_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dia_vetting.alerts.avro.MAX_BLOCK", 10**6)
    record = RECORDS[1] | {"cutoutScience": bytes(5 * 10**6)}
    data = container([record], "deflate")
    assert len(data) < 30_000
    with pytest.raises(AlertError, match="at most 1000000 bytes"):
        read(data)


def test_unknown_codecs_are_named() -> None:
    data = container(RECORDS, "bzip2")
    with pytest.raises(AlertError, match="codec null, deflate or snappy, found 'bzip2'"):
        read(data)


NESTED: Any = "int"
for _ in range(40):
    NESTED = {"type": "array", "items": NESTED}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ([{"name": "diaSource", "type": {"type": "array", "items": "null"}}], "outside of their use"),
        ([{"name": "a", "type": {"type": "record", "name": "E", "fields": []}}], "an empty record"),
        ([{"name": "a", "type": {"type": "fixed", "name": "F", "size": 0}}], "an empty fixed"),
        ([{"name": "diaSourceId", "type": ["null", "top"]}], "outside of their use"),
        ([{"name": "a", "type": "nowhere"}], "outside of their use"),
        ([{"name": "a", "type": NESTED}], "nested at most 32 deep"),
        ([{"name": "a", "type": []}], "some types"),
        ([{"name": "a"}], "a type"),
        ([{"type": "int"}], "fields with names"),
        ([{"name": "ra", "type": "double"}], "an alert of Rubin or ZTF"),
        ([{"name": "diaSourceId", "type": {"type": "array", "items": "int"}}], "single values"),
        ([{"name": "candid", "type": {"type": "map", "values": "int"}}], "single values"),
    ],
)
def test_schemas_that_are_not_safe_are_refused(fields: list[Any], words: str) -> None:
    schema = {"type": "record", "name": "top", "fields": fields}
    with pytest.raises(AlertError, match=words):
        AvroSchema.from_json(json.dumps(schema).encode(), "file")


@pytest.mark.parametrize("text", [b"", b"{", b"[" * 100_000, b"3", b'"long"', b'"\xff"', b"[]", b" " * 2**23])
def test_what_is_no_schema_is_refused(text: bytes) -> None:
    with pytest.raises(AlertError):
        AvroSchema.from_json(text, "file")


def test_names_follow_the_namespace_they_are_in() -> None:
    inner = {"type": "record", "name": "source", "fields": [{"name": "ra", "type": "double"}]}
    fields = [
        {"name": "diaSource", "type": inner},
        {"name": "more", "type": {"type": "array", "items": "source"}},
        {"name": "yet", "type": ["null", "a.b.source"]},
    ]
    schema = {"type": "record", "name": "a.b.alert", "fields": fields}
    record = {"diaSource": {"ra": 5.0}, "more": [{"ra": 1.0}], "yet": {"ra": 2.0}}
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, schema, record)
    stream.seek(0)
    assert AvroSchema.from_definition(schema, "file").read(stream, "file") == {"diaSource": {"ra": 5.0}}


def test_messages_are_read_by_the_schema_of_their_id(tmp_path: Path) -> None:
    schemas = SchemaFolder(write_schemas(tmp_path))
    data = b"".join(message(record) for record in RECORDS)
    records = list(read_messages(data, schemas, "file"))
    assert [r["diaSourceId"] for r in records] == [1000, 1001, 1002, 1003, 1004]
    assert records[2]["cutoutTemplate"] == RECORDS[2]["cutoutTemplate"]


def test_bad_messages(tmp_path: Path) -> None:
    schemas = SchemaFolder(write_schemas(tmp_path))
    good = message(RECORDS[0])
    for data in (good[:-1], good[:4], good + b"\x01", good + b"\x00\x00", b"\x00", good[:-9] + b"\xff" * 9):
        with pytest.raises(AlertError):
            list(read_messages(data, schemas, "file"))
    with pytest.raises(AlertError, match=r"--schema.*found none"):
        list(read_messages(good, None, "file"))
    with pytest.raises(AlertError, match=r"schema 1001 \(version 10.1\), found 0"):
        list(read_messages(message(RECORDS[0], 1001), schemas, "file"))
    (tmp_path / "90" / "3" / "other.alert.avsc").write_text("{}")
    with pytest.raises(AlertError, match="found 2"):
        SchemaFolder(tmp_path).get(SCHEMA_ID)
    (tmp_path / "90" / "3" / "other.alert.avsc").unlink()
    (tmp_path / "90" / "3" / "lsst.v90_3.diaSource.avsc").unlink()
    with pytest.raises(AlertError, match="an Avro schema"):
        SchemaFolder(tmp_path).get(SCHEMA_ID)
    with pytest.raises(AlertError, match="a folder with schemas"):
        SchemaFolder(tmp_path / "absent")


SMALL_CONTAINER = container(RECORDS[:2], sync_interval=10**6)
HEAD = SMALL_CONTAINER.index(bytes(range(16))) + 16


@settings(max_examples=150, deadline=None)
@given(st.binary(min_size=0, max_size=400))
def test_random_blocks_raise_nothing_else(data: bytes) -> None:
    with pytest.raises(AlertError):
        read(SMALL_CONTAINER[:HEAD] + b"\x02" + data)


@settings(max_examples=150, deadline=None)
@given(st.integers(HEAD, len(SMALL_CONTAINER) - 1), st.binary(min_size=1, max_size=9))
def test_overwritten_blocks_raise_nothing_else_and_keep_their_count(place: int, value: bytes) -> None:
    try:
        records = read(spoiled(SMALL_CONTAINER, place, value))
    except AlertError:
        return
    assert len(records) == 2


def test_ztf_schema_has_no_field_too_many() -> None:
    schema = AvroSchema.from_definition(ztf_schema(), "file")
    assert [field["name"] for field in schema.reader["fields"]] == [
        "objectId",
        "candid",
        "candidate",
        *CUTOUTS,
    ]
