"""Taking a trained model out of one butler repository and into another, or to another instrument."""

from __future__ import annotations

__all__ = ["export_model", "import_model"]

from pathlib import Path

import pyarrow.parquet as pq  # type: ignore[import-untyped]
from lsst.daf.butler import Butler, CollectionType, DatasetType  # type: ignore[attr-defined]

from .reliability.model_dataset import ModelCard, from_table
from .reliability.shipped import read_model_table

_STORAGE_CLASS = "ArrowTable"


def export_model(
    repo: str, collection: str, instrument: str, path: Path, dataset_type: str = "reliability_model"
) -> ModelCard:
    """Write a model to a Parquet file.

    Parameters
    ----------
    repo, collection, instrument : `str`
        Where the model is.
    path : `pathlib.Path`
        File to write.
    dataset_type : `str`, optional
        The model's dataset type.

    Returns
    -------
    card : `~dia_vetting.reliability.model_dataset.ModelCard`
        The card of the model, whose content hash was checked.
    """
    with Butler.from_config(repo, collections=collection) as butler:
        table = butler.get(dataset_type, instrument=instrument)
    card = from_table(table).card
    pq.write_table(table, path)
    return card


def import_model(
    reference: str | Path, repo: str, run: str, instrument: str, dataset_type: str = "reliability_model"
) -> ModelCard:
    """Put a model from a Parquet file, or one that is shipped, into a repository.

    Parameters
    ----------
    reference : `str` or `pathlib.Path`
        File that `export_model` wrote, or name of a shipped model.
    repo : `str`
        Butler repository.
    run : `str`
        RUN collection to put it into; is made if it is absent.
    instrument : `str`
        Instrument whose sources the model is to score; the card keeps the one that it was trained on.
    dataset_type : `str`, optional
        The model's dataset type.

    Returns
    -------
    card : `~dia_vetting.reliability.model_dataset.ModelCard`
        The card of the model, whose content hash was checked.

    Raises
    ------
    UnknownModelError
        If there is neither a file nor a shipped model of this name.
    BadInputError
        If the file is no Parquet file or holds no model.
    """
    table = read_model_table(reference)
    card = from_table(table, str(reference)).card
    with Butler.from_config(repo, writeable=True) as butler:
        butler.collections.register(run, CollectionType.RUN)
        butler.registry.registerDatasetType(
            DatasetType(dataset_type, ("instrument",), _STORAGE_CLASS, universe=butler.dimensions)
        )
        butler.put(table, dataset_type, instrument=instrument, run=run)
    return card
