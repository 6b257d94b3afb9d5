"""Writing the injection catalogs of lsst.source.injection into a butler repository."""

from __future__ import annotations

__all__ = ["export_injection_catalogs"]

from lsst.daf.butler import Butler, CollectionType, DatasetType  # type: ignore[attr-defined]

from ..errors import BadInputError
from .injection_catalogs import HTM_LEVEL, Shards, injection_catalogs
from .schemas import TRANSIENT_EPOCH


def export_injection_catalogs(
    repo: str,
    collection: str,
    run: str,
    instrument: str,
    epoch_type: str = "transient_epoch",
    dataset_type: str = "injection_catalog",
) -> Shards:
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

    Returns
    -------
    shards : `~dia_vetting.injection.injection_catalogs.Shards`
        What was written, and what was not.

    Raises
    ------
    BadInputError
        If there are no transients, or the run has such datasets.
    TableSchemaError
        If a table lacks a column.
    """
    with Butler.from_config(repo, writeable=True) as butler:
        refs = butler.query_datasets(epoch_type, collections=collection, instrument=instrument, explain=False)
        if not refs:
            raise BadInputError(f"{collection} in {repo}", f"{epoch_type} of {instrument}", "no such dataset")
        refs = sorted(refs, key=lambda ref: str(ref.dataId))
        tables = [butler.get(ref) for ref in refs]
        for ref, table in zip(refs, tables, strict=True):
            TRANSIENT_EPOCH.check(table, f"{epoch_type} {ref.dataId}")
        shards = injection_catalogs(tables)
        butler.registry.registerDatasetType(
            DatasetType(dataset_type, (f"htm{HTM_LEVEL}", "band"), "ArrowAstropy", universe=butler.dimensions)
        )
        butler.collections.register(run, CollectionType.RUN)
        if butler.query_datasets(dataset_type, collections=run, explain=False, limit=1):
            raise BadInputError(f"{run} in {repo}", f"a run without {dataset_type}", "a run that has some")
        with butler.transaction():
            for (index, band), table in shards.tables.items():
                butler.put(table, dataset_type, {f"htm{HTM_LEVEL}": index, "band": band}, run=run)
    return shards
