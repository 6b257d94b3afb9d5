"""Scores for files of alerts, in batches, so that memory does not grow with their number."""

from __future__ import annotations

import dataclasses
import itertools
import json
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
from astropy.table import Table

from ..errors import BadInputError
from ..progress import progress
from ..reliability.model_dataset import ReliabilityModel
from .avro_schemas import SchemaFolder
from .cutouts import alert_cutouts
from .packets import Alert, AlertError
from .reading import alert_files, read_alerts
from .schemas import ALERT_SCORE

__all__ = ["AlertReader", "AlertScores", "score_alerts", "score_batch"]

_LOG = logging.getLogger(__name__)

_BATCH = 256
_NOT_FINITE = "the networks give no finite score"


class AlertReader:
    """Reads files of alerts one after the other, and notes those that it cannot read.

    Parameters
    ----------
    paths : sequence of `~pathlib.Path`
        Files and folders.
    schemas : `~.avro_schemas.SchemaFolder`, optional
        Schemas of the wire format.

    Raises
    ------
    BadInputError
        If there is no file.
    """

    def __init__(self, paths: Sequence[Path], schemas: SchemaFolder | None = None) -> None:
        self.files = alert_files(paths)
        self.errors: list[AlertError] = []
        """What was wrong with files; the alerts before the damage are read."""
        self._schemas = schemas
        if not self.files:
            raise BadInputError(", ".join(map(str, paths)), "files with alerts", "none")

    def __iter__(self) -> Iterator[Alert]:
        with progress(len(self.files), "reading alerts") as advance:
            for file in self.files:
                yield from self._read(file)
                advance()

    def _read(self, file: Path) -> Iterator[Alert]:
        count = 0
        try:
            for alert in read_alerts(file, self._schemas):
                count += 1
                yield alert
        except AlertError as error:
            if count:
                found = f"{error.found} after {count} alerts, which are kept"
                error = AlertError(error.source, error.expected, found)
            self.errors.append(error)


@dataclasses.dataclass
class AlertScores:
    """What became of the files.

    Parameters
    ----------
    version : `str`
        Version of the model.
    reasons : `collections.Counter`
        Number of alerts by why they have no score; empty text for those that have one.
    errors : `list` of `AlertError`
        Files that could not be read, or not to their end.
    """

    version: str
    reasons: Counter[str]
    errors: list[AlertError]


def score_alerts(
    paths: Sequence[Path],
    model: ReliabilityModel,
    output: Path,
    schemas: SchemaFolder | None = None,
    source: str = "reliability_model",
    prevalence: float | None = None,
) -> AlertScores:
    """Score the alerts of files and write a row for each.

    Parameters
    ----------
    paths : sequence of `~pathlib.Path`
        Files and folders.
    model : `~dia_vetting.reliability.model_dataset.ReliabilityModel`
        The model.
    output : `~pathlib.Path`
        Parquet file of `ALERT_SCORE`'s columns; there only once it is complete. Name, version, content hash
        and architecture of the model are in its metadata.
    schemas : `~.avro_schemas.SchemaFolder`, optional
        Schemas of the wire format.
    source : `str`, optional
        What the model is called, in the table and in messages.
    prevalence : `float`, optional
        Fraction of real sources to be assumed; that of the model's card by default.

    Returns
    -------
    summary : `AlertScores`
        Bad files are left out and listed in it.

    Raises
    ------
    BadInputError
        If there is no file to read, the output cannot be written, or the model cannot be used.
    """
    from ..reliability.deterministic import deterministic_torch
    from ..reliability.scoring import load_networks

    reader = AlertReader(paths, schemas)
    if not output.parent.is_dir():
        raise BadInputError(str(output), "a folder to write to", f"no {output.parent}")
    summary = AlertScores(model.card.version, Counter(), reader.errors)
    partial = output.with_name(f".{output.name}.partial")
    try:
        with deterministic_torch(model.card.seed):
            networks = load_networks(model, source)
            with pq.ParquetWriter(partial, _schema(model, source)) as writer:
                for alerts in itertools.batched(reader, _BATCH):
                    table = score_batch(model, networks, alerts, source, prevalence)
                    summary.reasons.update(str(reason) for reason in table["reason"])
                    writer.write_table(_arrow(table, writer.schema))
        partial.replace(output)
    finally:
        partial.unlink(missing_ok=True)
    return summary


def score_batch(
    model: ReliabilityModel,
    networks: Sequence[Any],
    alerts: Sequence[Alert],
    source: str = "reliability_model",
    prevalence: float | None = None,
) -> Table:
    """Score some alerts.

    Parameters
    ----------
    model : `~dia_vetting.reliability.model_dataset.ReliabilityModel`
        The model.
    networks : sequence of networks
        Its, from `dia_vetting.reliability.scoring.load_networks`.
    alerts : sequence of `Alert`
        At least one.
    source : `str`, optional
        What the model is called.
    prevalence : `float`, optional
        Fraction of real sources to be assumed; that of the model's card by default.

    Returns
    -------
    scores : `astropy.table.Table`
        In `ALERT_SCORE`'s schema, a row per alert.
    """
    from ..reliability.scoring import score_cutouts

    cutouts = alert_cutouts(alerts, model.card.stamp_size)
    scores = score_cutouts(model, cutouts, networks, "alerts", prevalence)
    reasons = [alert.reason or str(scores.reason[i]) for i, alert in enumerate(alerts)]
    finite = np.isfinite(scores.reliability)
    reasons = [r or ("" if good else _NOT_FINITE) for r, good in zip(reasons, finite, strict=True)]
    scored = np.array([not reason for reason in reasons])
    values = {
        name: np.where(scored, getattr(scores, name), np.nan)
        for name in ("reliability", "reliability_err", "ood")
    }
    kept = {name: cutouts[name] for name in ("band", "ra", "dec", "snr", "valid_fraction")}
    texts = {
        "objectId": [a.object_id for a in alerts],
        "stream": [a.stream for a in alerts],
        "file": [a.file for a in alerts],
        "reason": reasons,
        "model": [source] * len(alerts),
        "version": [model.card.version] * len(alerts),
    }
    own = {
        "diaSourceId": np.array([a.dia_source_id for a in alerts], np.int64),
        "candid": np.array([a.candid for a in alerts], np.int64),
        "stream_score": np.array([a.stream_score for a in alerts]),
    }
    return ALERT_SCORE.build(kept | values | own | {name: np.array(t, np.str_) for name, t in texts.items()})


def _schema(model: ReliabilityModel, source: str) -> pa.Schema:
    """Return the Arrow schema of the output, with units and descriptions, and the model in its metadata."""
    card = model.card
    types = {"U": pa.string(), "i8": pa.int64(), "f4": pa.float32(), "f8": pa.float64()}
    fields = [
        pa.field(c.name, types[c.dtype], metadata={"description": c.description, "unit": c.unit})
        for c in ALERT_SCORE.columns
    ]
    about = {
        "model": source,
        "version": card.version,
        "content_hash": card.content_hash,
        "architecture": card.architecture,
        "instrument": card.instrument,
        "prevalence": card.prevalence,
    }
    return pa.schema(fields, metadata={"dia_vetting:model": json.dumps(about)})


def _arrow(table: Table, schema: pa.Schema) -> pa.Table:
    columns = [pa.array(np.asarray(table[field.name]).tolist(), field.type) for field in schema]
    return pa.Table.from_arrays(columns, schema=schema)
