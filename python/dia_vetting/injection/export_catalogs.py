"""Writing the catalogs of Rubin's own injection into a butler repository."""

from __future__ import annotations

__all__ = ["Exported", "export_injection_catalogs"]

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from astropy.table import Table
from lsst.daf.butler import (  # type: ignore[attr-defined]
    Butler,
    CollectionType,
    DatasetRef,
    DatasetType,
    MissingCollectionError,
    MissingDatasetTypeError,
)
from lsst.sphgeom import ConvexPolygon

from ..errors import BadInputError
from ..tables import TableSchema
from .injection_catalogs import (
    HTM_LEVEL,
    VISIT_DETECTOR_FAKES,
    Shards,
    injection_catalogs,
    visit_detector_fakes,
)
from .schemas import TRANSIENT_EPOCH, TRANSIENT_TEMPLATE_EPOCH, TRANSIENT_TRUTH


@dataclasses.dataclass(frozen=True)
class Exported:
    """What was written, and what was not.

    Parameters
    ----------
    catalogs : `~dia_vetting.injection.injection_catalogs.Shards`
        By trixel and band.
    fakes : `~dia_vetting.injection.injection_catalogs.Shards`, optional
        By visit and detector, if asked for.
    """

    catalogs: Shards[tuple[int, str]]
    fakes: Shards[tuple[int, int]] | None = None


def export_injection_catalogs(
    repo: str,
    collection: str,
    run: str,
    instrument: str | None = None,
    epoch_type: str = TRANSIENT_EPOCH.name,
    dataset_type: str = "injection_catalog",
    ap_fakes: bool = False,
) -> Exported:
    """Write all transients of an instrument as datasets of dimensions (htm7, band).

    Parameters
    ----------
    repo : `str`
        Butler repository.
    collection : `str`
        Where the transients are.
    run : `str`
        RUN collection to write to: it is made, and must not have such datasets yet.
    instrument : `str`, optional
        Whose visits; may be left out where the collection has transients of one only.
    epoch_type, dataset_type : `str`, optional
        Dataset types to read and to write.
    ap_fakes : `bool`, optional
        Whether to write ap_pipe's tables per visit and detector, too, from ``transient_truth``,
        ``transient_epoch`` and, if there are any, ``transient_template_epoch``.

    Returns
    -------
    exported : `Exported`
        What was written, and what was not. All of it is written, or nothing.

    Raises
    ------
    BadInputError
        If there are no transients, or those of several instruments; if the run has such datasets; if
        transients and truth do not fit.
    TableSchemaError
        If a table lacks a column.
    """
    with Butler.from_config(repo, writeable=True) as butler:
        refs = _find(butler, epoch_type, collection, instrument)
        instrument = _only_instrument(refs, f"{epoch_type} in {collection} of {repo}", instrument)
        exported = Exported(injection_catalogs(_read(butler, refs, TRANSIENT_EPOCH)))
        if ap_fakes:
            exported = Exported(exported.catalogs, _make_fakes(butler, collection, instrument))
        _refuse_full(butler, run, [dataset_type, *([VISIT_DETECTOR_FAKES.name] if ap_fakes else [])], repo)
        butler.registry.registerDatasetType(
            DatasetType(dataset_type, (f"htm{HTM_LEVEL}", "band"), "ArrowAstropy", universe=butler.dimensions)
        )
        if exported.fakes is not None:
            dimensions = ("instrument", "visit", "detector")
            butler.registry.registerDatasetType(
                DatasetType(VISIT_DETECTOR_FAKES.name, dimensions, "ArrowAstropy", universe=butler.dimensions)
            )
        butler.collections.register(run, CollectionType.RUN)
        with butler.transaction():
            for (index, band), table in exported.catalogs.tables.items():
                butler.put(table, dataset_type, {f"htm{HTM_LEVEL}": index, "band": band}, run=run)
            for (visit, detector), table in exported.fakes.tables.items() if exported.fakes else ():
                data_id = {"instrument": instrument, "visit": visit, "detector": detector}
                butler.put(table, VISIT_DETECTOR_FAKES.name, data_id, run=run)
    return exported


def _query(butler: Butler, dataset_type: str, collection: str, **data_id: Any) -> list[DatasetRef]:
    """Return the datasets of a type, in order; none if the repository does not know the type."""
    try:
        refs = butler.query_datasets(dataset_type, collections=collection, explain=False, **data_id)
    except MissingDatasetTypeError:
        return []
    return sorted(refs, key=lambda ref: str(ref.dataId))


def _find(butler: Butler, dataset_type: str, collection: str, instrument: str | None) -> list[DatasetRef]:
    refs = _query(butler, dataset_type, collection, **({"instrument": instrument} if instrument else {}))
    if not refs:
        wanted = f"{dataset_type} of {instrument or 'any instrument'}"
        raise BadInputError(f"Collection {collection}", wanted, "no such dataset")
    return refs


def _only_instrument(refs: Iterable[DatasetRef], source: str, wanted: str | None) -> str:
    names = sorted({str(ref.dataId["instrument"]) for ref in refs})
    if wanted is None and len(names) > 1:
        raise BadInputError(source, "one instrument, or --instrument", ", ".join(names))
    return wanted or names[0]


def _read(butler: Butler, refs: Iterable[DatasetRef], schema: TableSchema) -> list[Table]:
    return [schema.check(butler.get(ref), f"{ref.datasetType.name} {ref.dataId}") for ref in refs]


def _make_fakes(butler: Butler, collection: str, instrument: str) -> Shards[tuple[int, int]]:
    found = _find(butler, TRANSIENT_TRUTH.name, collection, instrument)
    truth = _read(butler, found, TRANSIENT_TRUTH)
    epochs = _read(butler, _find(butler, TRANSIENT_EPOCH.name, collection, instrument), TRANSIENT_EPOCH)
    refs = _query(butler, TRANSIENT_TEMPLATE_EPOCH.name, collection, instrument=instrument)
    templates = _read(butler, refs, TRANSIENT_TEMPLATE_EPOCH)
    return visit_detector_fakes(truth, epochs, templates, _regions(butler, instrument, [*epochs, *templates]))


def _regions(
    butler: Butler, instrument: str, tables: Sequence[Table]
) -> Mapping[tuple[int, int], ConvexPolygon]:
    visits = sorted({visit for table in tables for visit in np.asarray(table["visit"], np.int64).tolist()})
    regions = {}
    for visit in visits:
        records = butler.query_dimension_records(
            "visit_detector_region", instrument=instrument, visit=visit, explain=False
        )
        for record in records:
            if not isinstance(record.region, ConvexPolygon):
                raise BadInputError(str(record.dataId), "a convex polygon", type(record.region).__name__)
            regions[visit, int(record.detector)] = record.region
    return regions


def _refuse_full(butler: Butler, run: str, dataset_types: Iterable[str], repo: str) -> None:
    try:
        kind = butler.collections.get_info(run).type
    except MissingCollectionError:
        return
    if kind is not CollectionType.RUN:
        raise BadInputError(f"{run} in {repo}", "a RUN collection", f"one of type {kind.name}")
    for name in dataset_types:
        if _query(butler, name, run):
            raise BadInputError(f"{run} in {repo}", f"a run without {name}", "a run that has some")
