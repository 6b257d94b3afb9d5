"""Alert packets that the tests of alerts make: Rubin's and ZTF's records, in every file format."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path
from typing import Any

import fastavro
import fastavro.schema
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from astropy.io import fits

NOISE = 10.0
SIGMA = 1.8
SNR = 20.0
X0, Y0 = 1200, 340
RA, DEC = 150.0, 2.0
SCALE = 0.2 / 3600
SCHEMA_ID = 9003
CUTOUTS = ("cutoutScience", "cutoutTemplate", "cutoutDifference")

type Record = dict[str, Any]


def gaussian(shape: tuple[int, int], x: float, y: float, sigma: float = SIGMA) -> np.ndarray:
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    stamp = np.exp(-0.5 * ((columns - x) ** 2 + (rows - y) ** 2) / sigma**2)
    return stamp / stamp.sum()


def rubin_fits(
    image: np.ndarray,
    variance: np.ndarray | None,
    psf: np.ndarray | None,
    position: tuple[float, float] | None,
    corner: tuple[int, int] | None,
    **keywords: object,
) -> bytes:
    """Return a cutout as Rubin packs it: no CTYPE, CUTMIN one less than the corner."""
    header = fits.Header()
    if corner is not None:
        header["CUTMINX"], header["CUTMINY"] = corner[0] - 1, corner[1] - 1
    header["BUNIT"] = "nJy"
    if position is not None:
        header["CRPIX1"], header["CRPIX2"] = position[0] + 1, position[1] + 1
        header["CRVAL1"], header["CRVAL2"] = RA, DEC
        header["PC1_1"], header["PC1_2"], header["PC2_1"], header["PC2_2"] = -SCALE, 0.0, 0.0, SCALE
        header["CDELT1"], header["CDELT2"] = 1.0, 1.0
    header.update(keywords)
    hdus: list[Any] = [fits.PrimaryHDU(image.astype(">f4"), header=header)]
    if variance is not None:
        hdus.append(fits.ImageHDU(variance.astype(">f4"), name="UNCERT"))
    if psf is not None:
        hdus.append(fits.ImageHDU(psf.astype(">f8"), name="PSFIMAGE"))
    stream = io.BytesIO()
    fits.HDUList(hdus).writeto(stream)
    return stream.getvalue()


def rubin_stamps(
    size: int = 31, offset: tuple[float, float] = (0.3, -0.2), seed: int = 0
) -> tuple[dict[str, np.ndarray], tuple[float, float], float]:
    """Return science, template and difference of a point source on a host, its position and its flux."""
    rng = np.random.default_rng(seed)
    x, y = (size - 1) / 2 + offset[0], (size - 1) / 2 + offset[1]
    flux = SNR * NOISE * 2 * np.sqrt(np.pi) * SIGMA
    host = 3000.0 * gaussian((size, size), x + 2, y + 1, 4.0)
    difference = flux * gaussian((size, size), x, y) + rng.normal(0, NOISE, (size, size))
    template = host + rng.normal(0, NOISE / 4, (size, size))
    return {"Science": template + difference, "Template": template, "Difference": difference}, (x, y), flux


def rubin_record(number: int = 1, size: int = 31, **changes: Any) -> Record:
    """Return an alert of Rubin; changes go into ``diaSource``, cutouts into the record."""
    stamps, (x, y), flux = rubin_stamps(size, seed=number)
    psf = gaussian((41, 41), 20, 20)
    variance = np.full((size, size), NOISE**2)
    record: Record = {
        f"cutout{name}": rubin_fits(stamp, variance, psf, (x, y), (X0, Y0)) for name, stamp in stamps.items()
    }
    record["diaSourceId"] = 1000 + number
    source = {
        "diaSourceId": 1000 + number,
        "visit": 2026030900027,
        "detector": 94,
        "diaObjectId": 77 + number,
        "midpointMjdTai": 61109.1,
        "ra": RA,
        "dec": DEC,
        "snr": SNR,
        "psfFlux": flux,
        "psfFluxErr": flux / SNR,
        "reliability": 0.9,
        "band": "r",
        "x": X0 + x,
    }
    record["diaSource"] = source | {k: v for k, v in changes.items() if k not in CUTOUTS}
    return record | {k: v for k, v in changes.items() if k in CUTOUTS}


def ztf_fits(image: np.ndarray) -> bytes:
    stream = io.BytesIO()
    fits.PrimaryHDU(image.astype(">f4"), header=fits.Header({"BUNIT": "DN"})).writeto(stream)
    return gzip.compress(stream.getvalue(), mtime=0)


def ztf_record(number: int = 1, **changes: Any) -> Record:
    """Return an alert of ZTF; changes go into ``candidate``, cutouts into the record."""
    stamps, _, _ = rubin_stamps(63, (0.25, -0.4), seed=number)
    record: Record = {
        f"cutout{name}": {"fileName": name, "stampData": ztf_fits(stamp)} for name, stamp in stamps.items()
    }
    candidate = {
        "jd": 2459000.75,
        "fid": 2,
        "pid": 1245250001315,
        "isdiffpos": "t",
        "rcid": 13,
        "xpos": 1000.25,
        "ypos": 499.6,
        "ra": RA,
        "dec": DEC,
        "magpsf": 19.0,
        "sigmapsf": 0.05,
        "fwhm": 2.0,
        "seeratio": 1.2,
        "magzpsci": 26.4,
        "exptime": 30.0,
        "drb": 0.8,
        "rb": 0.6,
    }
    record |= {"objectId": "ZTF20abcdefg", "candid": 1245250001315010000 + number}
    record["candidate"] = candidate | {k: v for k, v in changes.items() if k not in CUTOUTS}
    return record | {k: v for k, v in changes.items() if k in CUTOUTS}


def _nullable(kind: Any) -> list[Any]:
    return ["null", kind]


def _source_schema() -> Record:
    kinds = {"diaSourceId": "long", "visit": "long", "detector": "int", "midpointMjdTai": "double"}
    kinds |= {"ra": "double", "dec": "double"}
    optional = {"diaObjectId": "long", "x": "float", "band": "string"}
    optional |= dict.fromkeys(("snr", "psfFlux", "psfFluxErr", "reliability"), "float")
    fields = [{"name": name, "type": kind} for name, kind in kinds.items()]
    fields += [{"name": name, "type": _nullable(kind), "default": None} for name, kind in optional.items()]
    return {"type": "record", "namespace": "lsst.v90_3", "name": "diaSource", "fields": fields}


def _alert_schema() -> Record:
    history = {"type": "array", "items": "lsst.v90_3.diaSource"}
    fields = [
        {"name": "diaSourceId", "type": "long"},
        {"name": "diaSource", "type": "lsst.v90_3.diaSource"},
        {"name": "prvDiaSources", "type": _nullable(history), "default": None},
        *({"name": name, "type": _nullable("bytes"), "default": None} for name in CUTOUTS),
        {"name": "broker", "type": _nullable("string"), "default": None},
    ]
    return {"type": "record", "namespace": "lsst.v90_3", "name": "alert", "fields": fields}


def write_schemas(root: Path) -> Path:
    """Write schema 90.3 as lsst/alert_packet lays its schemas out."""
    folder = root / "90" / "3"
    folder.mkdir(parents=True)
    (folder / "lsst.v90_3.alert.avsc").write_text(json.dumps(_alert_schema()))
    (folder / "lsst.v90_3.diaSource.avsc").write_text(json.dumps(_source_schema()))
    return root


def rubin_schema() -> Record:
    schema = _alert_schema()
    schema["fields"][1]["type"] = _source_schema()
    return schema


def ztf_schema() -> Record:
    numbers = ("xpos ypos sigmapsf magpsf fwhm seeratio magzpsci exptime drb rb".split(), "float")
    kinds = {
        "jd": "double",
        "fid": "int",
        "pid": "long",
        "isdiffpos": "string",
        "ra": "double",
        "dec": "double",
    }
    fields = [{"name": name, "type": kind} for name, kind in kinds.items()]
    fields += [{"name": name, "type": _nullable(numbers[1])} for name in numbers[0]]
    fields.append({"name": "rcid", "type": _nullable("int")})
    candidate = {"type": "record", "name": "ztf.alert.candidate", "fields": fields}
    stamp = [{"name": "fileName", "type": "string"}, {"name": "stampData", "type": "bytes"}]
    cutout = {"type": "record", "name": "ztf.alert.cutout", "fields": stamp}
    kinds_of_cutouts = [cutout, "ztf.alert.cutout", "ztf.alert.cutout"]
    return {
        "type": "record",
        "name": "ztf.alert",
        "fields": [
            {"name": "objectId", "type": "string"},
            {"name": "candid", "type": "long"},
            {"name": "candidate", "type": candidate},
            *({"name": n, "type": _nullable(k)} for n, k in zip(CUTOUTS, kinds_of_cutouts, strict=True)),
        ],
    }


def container(records: list[Record], codec: str = "null", **options: Any) -> bytes:
    """Return an Avro object container."""
    schema = rubin_schema() if "diaSource" in records[0] else ztf_schema()
    stream = io.BytesIO()
    fastavro.writer(stream, schema, records, codec=codec, sync_marker=bytes(range(16)), **options)
    return stream.getvalue()


def message(record: Record, schema_id: int = SCHEMA_ID) -> bytes:
    """Return a message in the Confluent wire format."""
    stream = io.BytesIO(b"\x00" + schema_id.to_bytes(4, "big"))
    stream.seek(5)
    fastavro.schemaless_writer(stream, rubin_schema(), record)
    return stream.getvalue()


def parquet(records: list[Record], **options: Any) -> bytes:
    """Return a Parquet file as Fink's data transfer writes it."""
    stream = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(records), stream, **options)
    return stream.getvalue()
