"""Writing the catalogs that Rubin's own injection reads into a butler repository."""

from __future__ import annotations

__all__ = ["export_injection_catalogs"]

import dataclasses
from itertools import batched
from typing import Any

import numpy as np
from astropy.table import Table
from lsst.daf.butler import (  # type: ignore[attr-defined]
    Butler,
    CollectionType,
    DatasetType,
    MissingDatasetTypeError,
)
from lsst.sphgeom import Region

from ..errors import BadInputError
from ..tables import TableSchema
from .ap_fakes import VISIT_DETECTOR_FAKES, visit_detector_fakes
from .injection_catalogs import HTM_LEVEL, Shards, injection_catalogs
from .schemas import TRANSIENT_EPOCH, TRANSIENT_TEMPLATE_EPOCH, TRANSIENT_TRUTH
from .visit_records import region_of

_CATALOG_KEYS = (f"htm{HTM_LEVEL}", "band")

_FAKES = VISIT_DETECTOR_FAKES.name
_FAKES_KEYS = ("visit", "detector")

_VISITS_AT_ONCE = 1000
"""Visits in one query: databases limit how many values one may name."""


def export_injection_catalogs(
    repo: str,
    collection: str,
    run: str,
    instrument: str,
    epoch_type: str = TRANSIENT_EPOCH.name,
    dataset_type: str = "injection_catalog",
    ap_fakes: bool = False,
) -> dict[str, Shards[Any]]:
    """Write all transients of an instrument as datasets of dimensions (htm7, band).

    Parameters
    ----------
    repo : `str`
        Butler repository.
    collection : `str`
        Where the transients are.
    run : `str`
        RUN collection to write to: it is made, and must not have such datasets yet.
    instrument : `str`
        Whose visits.
    epoch_type, dataset_type : `str`, optional
        Dataset types to read and to write.
    ap_fakes : `bool`, optional
        Whether to write ap_pipe's ``VisitDetectorFakeSourceCat`` of dimensions (instrument, visit, detector),
        too: of ``transient_truth``, ``transient_epoch`` and, where there are any,
        ``transient_template_epoch``.

    Returns
    -------
    shards : `dict` [`str`, `~dia_vetting.injection.injection_catalogs.Shards`]
        What was written, and what was not, by dataset type. All of it is written, or nothing.

    Raises
    ------
    BadInputError
        If there are no transients, the run has such datasets, or the truth lacks a transient.
    TableSchemaError
        If a table lacks a column.
    """
    with Butler.from_config(repo, writeable=True) as butler:
        source = _Source(butler, repo, collection, instrument)
        shards: dict[str, Shards[Any]] = {
            dataset_type: injection_catalogs(source.read(TRANSIENT_EPOCH, epoch_type))
        }
        if ap_fakes:
            shards[_FAKES] = _fakes(source)
        _register(butler, repo, run, dataset_type, _CATALOG_KEYS)
        if ap_fakes:
            _register(butler, repo, run, _FAKES, ("instrument", *_FAKES_KEYS))
        with butler.transaction():
            _put(butler, run, dataset_type, shards[dataset_type], _CATALOG_KEYS)
            if ap_fakes:
                _put(butler, run, _FAKES, shards[_FAKES], _FAKES_KEYS, instrument=instrument)
    return shards


@dataclasses.dataclass(frozen=True)
class _Source:
    """Where the transients are."""

    butler: Butler
    repo: str
    collection: str
    instrument: str

    def read(self, schema: TableSchema, dataset_type: str) -> list[Table]:
        """Return the tables of a dataset type in the order of their data IDs, checked."""
        tables = self.read_any(schema, dataset_type)
        if not tables:
            wanted = f"{dataset_type} of {self.instrument}"
            raise BadInputError(f"{self.collection} in {self.repo}", wanted, "no such dataset")
        return tables

    def read_any(self, schema: TableSchema, dataset_type: str) -> list[Table]:
        """Return them as `read` does, or none where there are none."""
        try:
            refs = self.butler.query_datasets(
                dataset_type,
                collections=self.collection,
                instrument=self.instrument,
                limit=None,
                explain=False,
            )
        except MissingDatasetTypeError:
            return []
        refs = sorted(refs, key=lambda ref: str(ref.dataId))
        return [schema.check(self.butler.get(ref), f"{dataset_type} {ref.dataId}") for ref in refs]


def _fakes(source: _Source) -> Shards[tuple[int, int]]:
    truth = source.read(TRANSIENT_TRUTH, TRANSIENT_TRUTH.name)
    epochs = source.read(TRANSIENT_EPOCH, TRANSIENT_EPOCH.name)
    below = source.read_any(TRANSIENT_TEMPLATE_EPOCH, TRANSIENT_TEMPLATE_EPOCH.name)
    visits = sorted({int(visit) for table in (*epochs, *below) for visit in np.unique(table["visit"])})
    return visit_detector_fakes(truth, epochs, below, _regions(source.butler, source.instrument, visits))


def _regions(butler: Butler, instrument: str, visits: list[int]) -> dict[tuple[int, int], Region]:
    """Return the regions of all detectors of visits; of visits without records none."""
    regions = {}
    for some in batched(visits, _VISITS_AT_ONCE):
        data_ids = butler.query_data_ids(
            ("visit", "detector"),
            instrument=instrument,
            where="visit IN (visits)",
            bind={"visits": list(some)},
            with_dimension_records=True,
            limit=None,
            explain=False,
        )
        for data_id in data_ids:
            key = int(data_id["visit"]), int(data_id["detector"])
            regions[key] = region_of(data_id, "visit_detector_region")
    return regions


def _register(butler: Butler, repo: str, run: str, dataset_type: str, dimensions: tuple[str, ...]) -> None:
    """Register a dataset type, and a run that must have none of it."""
    butler.registry.registerDatasetType(
        DatasetType(dataset_type, dimensions, "ArrowAstropy", universe=butler.dimensions)
    )
    butler.collections.register(run, CollectionType.RUN)
    if butler.query_datasets(dataset_type, collections=run, explain=False, limit=1):
        raise BadInputError(f"{run} in {repo}", f"a run without {dataset_type}", "a run that has some")


def _put(
    butler: Butler, run: str, dataset_type: str, shards: Shards[Any], keys: tuple[str, str], **same: str
) -> None:
    """Write tables under data IDs of their keys and of what is the same for all."""
    for values, table in shards.tables.items():
        butler.put(table, dataset_type, dict(zip(keys, values, strict=True)) | same, run=run)
