"""Avro schemas from untrusted files: checked, bare of all but structure, cut down to the fields we need.

A hostile schema could make a reader recurse without end, or loop without consuming a byte. Here no type
contains itself, and every value takes at least one byte, so that reading takes time in proportion to the
bytes and, since the fields that are not needed are skipped, memory too (Avro specification 1.11).
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import fastavro
import fastavro.schema

from .packets import AlertError

__all__ = ["WANTED", "AvroSchema", "ByteSource", "SchemaFolder", "leaf_paths", "read_value"]

type Fields = Mapping[str, Fields]

_SOURCE = (
    "diaSourceId visit detector diaObjectId midpointMjdTai ra dec snr psfFlux psfFluxErr reliability band"
).split()
_CANDIDATE = (
    "jd fid pid isdiffpos rcid xpos ypos ra dec magpsf sigmapsf fwhm seeratio magzpsci exptime drb rb"
).split()
_CUTOUT: Fields = {"stampData": {}}

WANTED: Fields = {
    "diaSourceId": {},
    "diaSource": {name: {} for name in _SOURCE},
    "objectId": {},
    "candid": {},
    "candidate": {name: {} for name in _CANDIDATE},
    "cutoutScience": _CUTOUT,
    "cutoutTemplate": _CUTOUT,
    "cutoutDifference": _CUTOUT,
}
"""The fields of Rubin's and ZTF's alerts that are read; a cutout is bytes or a record with ``stampData``."""

_PRIMITIVES = {"boolean", "int", "long", "float", "double", "bytes", "string"}
_MAX_JSON = 2**22
_MAX_DEPTH = 32


class ByteSource(Protocol):
    """What Avro is read from."""

    def read(self, size: int, /) -> bytes:
        """Return exactly ``size`` bytes, or raise `EOFError`."""
        ...


def leaf_paths(fields: Fields = WANTED, prefix: str = "") -> Iterator[str]:
    """Yield the dotted names of wanted fields, records and leaves alike."""
    for name, inner in fields.items():
        yield prefix + name
        yield from leaf_paths(inner, f"{prefix}{name}.")


def read_value(stream: ByteSource, writer: Any, source: str, reader: Any = None) -> Any:
    """Read one Avro value; whatever is wrong with it is an `AlertError`."""
    try:
        return fastavro.schemaless_reader(stream, writer, reader)  # type: ignore[arg-type]
    except Exception as error:  # fastavro raises whatever Python raises on its way
        raise AlertError(
            source, "an Avro value of its schema", f"{type(error).__name__}: {error!s:.120}"
        ) from None


@dataclasses.dataclass(frozen=True)
class AvroSchema:
    """A schema that records are read by.

    Parameters
    ----------
    writer, reader : `dict`
        What was written, and the part of it that is wanted.
    """

    writer: Any
    reader: Any

    @classmethod
    def from_json(cls, text: bytes, source: str) -> AvroSchema:
        """Make it of the JSON in a container.

        Raises
        ------
        AlertError
            If it is no schema, or one that is not safe to read by.
        """
        if len(text) > _MAX_JSON:
            raise AlertError(source, f"an Avro schema of at most {_MAX_JSON} bytes", f"{len(text)} bytes")
        try:
            return cls.from_definition(json.loads(text), source)
        except (ValueError, RecursionError) as error:
            if isinstance(error, AlertError):
                raise
            raise AlertError(source, "an Avro schema in JSON", f"{error!s:.120}") from None

    @classmethod
    def from_definition(cls, definition: Any, source: str) -> AvroSchema:
        """Make it of a schema as Python objects; raises as `from_json`."""
        cleaner = _Cleaner(source)
        writer = cleaner.clean(definition, "", 0)
        if not (isinstance(writer, dict) and writer["type"] == "record"):
            raise AlertError(source, "an Avro record", "another type")
        reader = _Pruner(cleaner.named, source).prune(writer, WANTED)
        if not reader["fields"]:
            raise AlertError(source, "an alert of Rubin or ZTF", "none of its fields")
        try:
            return cls(fastavro.parse_schema(writer), fastavro.parse_schema(reader))
        except Exception as error:  # the names of fields, say
            raise AlertError(source, "an Avro schema", f"{type(error).__name__}: {error!s:.120}") from None

    def read(self, stream: ByteSource, source: str) -> dict[str, Any]:
        """Read one record; raises as `read_value`."""
        record: dict[str, Any] = read_value(stream, self.writer, source, self.reader)
        return record


class _Cleaner:
    """Copies the structure of a schema, under names of its own, and refuses what is not safe."""

    def __init__(self, source: str) -> None:
        self.named: dict[str, Any] = {}
        self._ours: dict[str, str] = {}
        self._source = source

    def clean(self, node: Any, namespace: str, depth: int) -> Any:
        if depth > _MAX_DEPTH:
            raise self._error(f"types nested at most {_MAX_DEPTH} deep", "more")
        if isinstance(node, list):
            branches = [n if n == "null" else self.clean(n, namespace, depth + 1) for n in node]
            if not branches:
                raise self._error("a union of some types", "none")
            return branches
        if isinstance(node, str):
            return self._by_name(node, namespace)
        if not isinstance(node, dict):
            raise self._error("a type", type(node).__name__)
        return self._complex(node, namespace, depth)

    def _by_name(self, name: str, namespace: str) -> str:
        if name in _PRIMITIVES:
            return name
        for full in (name, f"{namespace}.{name}"):
            if full in self._ours:
                return self._ours[full]
        raise self._error("types that are defined before and outside of their use", repr(name[:80]))

    def _complex(self, node: dict[str, Any], namespace: str, depth: int) -> Any:
        kind = node.get("type")
        if kind == "array":
            return {"type": kind, "items": self.clean(node.get("items"), namespace, depth + 1)}
        if kind == "map":
            return {"type": kind, "values": self.clean(node.get("values"), namespace, depth + 1)}
        if kind not in ("record", "enum", "fixed"):
            return self.clean(kind, namespace, depth + 1)
        full = str(node.get("name"))
        if "." not in full:
            inside = str(node.get("namespace", namespace))
            full = f"{inside}.{full}" if inside else full
        clean = self._named_type(node, str(kind), full.rpartition(".")[0], depth)
        ours = f"T{len(self.named)}"
        if full in self._ours:
            raise self._error("types of different names", f"{full[:80]!r} twice")
        self._ours[full], self.named[ours] = ours, clean
        clean["name"] = ours
        return clean

    def _named_type(self, node: dict[str, Any], kind: str, namespace: str, depth: int) -> dict[str, Any]:
        if kind == "record" and isinstance(node.get("fields"), list) and node["fields"]:
            return {"type": kind, "fields": [self._field(f, namespace, depth) for f in node["fields"]]}
        if kind == "enum" and isinstance(node.get("symbols"), list) and node["symbols"]:
            return {"type": kind, "symbols": [f"S{i}" for i in range(len(node["symbols"]))]}
        if kind == "fixed" and type(node.get("size")) is int and node["size"] > 0:
            return {"type": kind, "size": node["size"]}
        raise self._error("types of at least one byte", f"an empty {kind}")

    def _field(self, field: Any, namespace: str, depth: int) -> dict[str, Any]:
        if not isinstance(field, dict) or not isinstance(field.get("name"), str):
            raise self._error("fields with names", "one without")
        return {"name": field["name"], "type": self.clean(field.get("type"), namespace, depth + 1)}

    def _error(self, expected: str, found: str) -> AlertError:
        return AlertError(self._source, f"an Avro schema with {expected}", found)


class _Pruner:
    """Copies the wanted part of a clean schema."""

    def __init__(self, named: Mapping[str, Any], source: str) -> None:
        self._named = named
        self._source = source
        self._seen: set[str] = set()

    def prune(self, node: Any, wanted: Fields) -> Any:
        if isinstance(node, list):
            return [self.prune(branch, wanted) for branch in node]
        node = self._named.get(node, node) if isinstance(node, str) else node
        if isinstance(node, str):
            return node
        if node["type"] != "record" or not wanted:
            raise AlertError(self._source, "single values in the fields of an alert", f"a {node['type']}")
        if node["name"] in self._seen:
            return node["name"]
        self._seen.add(node["name"])
        fields = [
            {"name": field["name"], "type": self.prune(field["type"], wanted[field["name"]])}
            for field in node["fields"]
            if field["name"] in wanted
        ]
        return {"type": "record", "name": node["name"], "fields": fields}


class SchemaFolder:
    """Schemas by the id that a message of the Confluent wire format starts with.

    Parameters
    ----------
    root : `~pathlib.Path`
        Folder laid out as ``python/lsst/alert/packet/schema`` of lsst/alert_packet: ``MAJOR/MINOR/*.avsc``,
        one of which ends in ``alert.avsc`` and names the others.

    Raises
    ------
    AlertError
        If there is no such folder.
    """

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise AlertError(str(root), "a folder with schemas", "none")
        self._root = root
        self._known: dict[int, AvroSchema] = {}

    def get(self, schema_id: int) -> AvroSchema:
        """Return the schema of an id, which is 100 * MAJOR + MINOR.

        Raises
        ------
        AlertError
            If the folder has none, or not exactly one.
        """
        if schema_id not in self._known:
            major, minor = divmod(schema_id, 100)
            folder = self._root / str(major) / str(minor)
            files = [f for f in sorted(folder.glob("*.avsc")) if re.search(r"(^|\.)alert\.avsc$", f.name)]
            if len(files) != 1:
                wanted = f"one file *alert.avsc for schema {schema_id} (version {major}.{minor})"
                raise AlertError(str(folder), wanted, f"{len(files)}")
            try:
                definition = fastavro.schema.load_schema(str(files[0]))
            except Exception as error:  # a file that is missing, or no JSON, or no schema
                raise AlertError(
                    str(files[0]), "an Avro schema", f"{type(error).__name__}: {error!s:.120}"
                ) from None
            self._known[schema_id] = AvroSchema.from_definition(definition, str(files[0]))
        return self._known[schema_id]
