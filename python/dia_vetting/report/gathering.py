"""The tables of a run, read from a butler repository: the only part of a report that knows of one."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from astropy.table import Table, vstack
from astropy.time import Time
from lsst.daf.butler import Butler, DatasetNotFoundError, MissingDatasetTypeError

from ..bad_input import BadInputError
from ..blends.schemas import DIA_SOURCE_BLEND
from ..reliability.schemas import (
    DIA_SOURCE_CUTOUT,
    DIA_SOURCE_LABEL,
    DIA_SOURCE_VETTING,
    RELIABILITY_CURVE,
    RELIABILITY_EMBEDDING,
    RELIABILITY_TRUTH,
)
from ..tables import TableSchema
from .figures import MODELS
from .tables import RunTables

__all__ = ["gather_run", "read_cutouts"]

_log = logging.getLogger(__name__)

_STAMPS = ("diaSourceId", "science", "template", "difference", "variance", "mask")
_MEASURED = ("diaSourceId", "psfFlux", "psfFluxErr", "valid_fraction")
_FORCED = (
    "diaObjectId",
    "visit",
    "band",
    "midpointMjdTai",
    "psfDiffFlux",
    "psfDiffFluxErr",
    "pixelFlags_bad",
)


def gather_run(butler: Butler, repo: str, collection: str, instrument: str, model: str = "") -> RunTables:
    """Read the tables of a run.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        With the collection and the instrument as defaults.
    repo, collection, instrument : `str`
        What they are, to be told on the page.
    model : `str`, optional
        Prefix of the datasets of the model whose scores the page shows.

    Returns
    -------
    run : `~.tables.RunTables`
        What is there; what is not is named.

    Raises
    ------
    BadInputError
        If there are no scores, and so no page.
    TableSchemaError
        If a table is not what its dataset type says.
    """
    missing: list[str] = []

    def stacked(name: str, schema: TableSchema | None = None, columns: Sequence[str] | None = None) -> Any:
        found = _stack(butler, name, schema, columns)
        if found is None:
            missing.append(name)
        return found

    scores = _stack(butler, f"{model}dia_source_vetting", DIA_SOURCE_VETTING)
    if scores is None or not len(scores):
        raise BadInputError(f"{repo}, {collection}", f"{model}dia_source_vetting of {instrument}", "none")
    run = RunTables(
        instrument,
        collection,
        repo,
        scores,
        _visits(butler, instrument),
        measurements=stacked("dia_source_cutout", DIA_SOURCE_CUTOUT, _MEASURED),
        labels=stacked("dia_source_label", DIA_SOURCE_LABEL, ("diaSourceId", "state")),
        blends=stacked("dia_source_blend", DIA_SOURCE_BLEND, ("diaSourceId", "p_blend")),
        truth=stacked(
            f"{model}reliability_truth", RELIABILITY_TRUTH, ("diaSourceId", "truth_class", "cause")
        ),
        embedding=stacked(f"{model}reliability_embedding", RELIABILITY_EMBEDDING),
        associations=stacked("dia_source", None, ("diaSourceId", "diaObjectId")),
        objects=stacked("dia_object", None, ("diaObjectId", "ra", "dec")),
        forced=_forced(butler, missing),
        verdicts=stacked("dia_object_verdict"),
        curves=stacked(f"{model}reliability_curve", RELIABILITY_CURVE),
        metrics=_metrics(butler, model),
        injection=_get(butler, "injection_metrics"),
        missing=tuple(missing),
    )
    _log.info("%d sources of %s in %s.", len(scores), instrument, collection)
    return run


def read_cutouts(butler: Butler, detectors: set[tuple[int, int]]) -> Iterator[Table]:
    """Read the stamps of some detectors, one at a time.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        As for `gather_run`.
    detectors : `set` [`tuple`]
        Visit and detector of those that are wanted.

    Yields
    ------
    cutouts : `astropy.table.Table`
        The columns that stamps are made of.
    """
    for ref in _refs(butler, "dia_source_cutout"):
        if (int(ref.dataId["visit"]), int(ref.dataId["detector"])) in detectors:
            table = butler.get(ref, parameters={"columns": list(_STAMPS)})
            yield DIA_SOURCE_CUTOUT.check(table, str(ref), _STAMPS)


def _refs(butler: Butler, name: str) -> list[Any]:
    try:
        found = butler.query_datasets(name, find_first=True, limit=None, explain=False)
    except MissingDatasetTypeError:
        return []
    return sorted(found, key=lambda ref: tuple(str(value).zfill(12) for value in ref.dataId.required_values))


def _stack(
    butler: Butler, name: str, schema: TableSchema | None = None, columns: Sequence[str] | None = None
) -> Table | None:
    """Return all datasets of a type one after the other; `None` if there is none."""
    parameters = {} if columns is None else {"columns": list(columns)}
    tables = []
    for ref in _refs(butler, name):
        table = butler.get(ref, parameters=parameters)
        tables.append(table if schema is None else schema.check(table, str(ref), columns))
    filled = [table for table in tables if len(table)]
    if filled:
        return vstack(filled, metadata_conflicts="silent")
    return tables[0] if tables else None


def _forced(butler: Butler, missing: list[str]) -> Table | None:
    name = "dia_object_forced_source"
    refs = _refs(butler, name)
    if not refs:
        missing.append(name)
        return None
    # The error that the subtraction adds is of the embedded stand-in alone.
    columns = [*_FORCED, "staticFluxErr"]
    present = set(butler.get(refs[0]).colnames)
    return _stack(butler, name, None, [column for column in columns if column in present])


def _get(butler: Butler, name: str) -> Any:
    try:
        return butler.get(name)
    except (DatasetNotFoundError, MissingDatasetTypeError):
        return None


def _metrics(butler: Butler, model: str) -> dict[str, Any]:
    found = {
        prefix: _get(butler, f"{prefix}reliability_metrics") for prefix in dict.fromkeys((model, *MODELS))
    }
    return {prefix: metrics for prefix, metrics in found.items() if metrics is not None}


def _visits(butler: Butler, instrument: str) -> Table:
    """Return when each visit was: middle of the exposure (TAI), night, band."""
    rows = []
    for record in butler.query_dimension_records("visit", instrument=instrument, limit=None, explain=False):
        begin, end = (
            getattr(record.timespan, name) if record.timespan else None for name in ("begin", "end")
        )
        times = [float(time.tai.mjd) for time in (begin, end) if isinstance(time, Time)]
        rows.append((record.id, np.mean(times) if times else np.nan, record.day_obs))
    names, dtypes = ("visit", "mjd", "day_obs"), (np.int64, np.float64, np.int64)
    return Table(rows=rows or None, names=names, dtype=dtypes)
