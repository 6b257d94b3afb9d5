"""Labels from a report page into a butler repository."""

from __future__ import annotations

__all__ = ["DATASET_TYPE", "ingest_labels"]

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from lsst.daf.butler import Butler, CollectionType, DatasetType  # type: ignore[attr-defined]

from ..bad_input import BadInputError
from ..reliability.human_labels import LABELS, read_label_files

DATASET_TYPE = "reliability_human_label"
"""Name of the dataset type: one per instrument and RUN collection."""


def ingest_labels(
    files: Sequence[Path], repo: str, run: str, instrument: str, labeller: str = ""
) -> dict[str, int]:
    """Put labels into a repository.

    Parameters
    ----------
    files : `~collections.abc.Sequence` of `pathlib.Path`
        Files that report pages saved; of several labels of a source the latest counts.
    repo, run, instrument : `str`
        Where to put them; the RUN collection is made if it is absent.
    labeller : `str`, optional
        Who labelled, to be noted.

    Returns
    -------
    counts : `dict` [`str`, `int`]
        Sources by label.

    Raises
    ------
    BadInputError
        If a file cannot be used, or the collection has labels already: what is there is never changed.
    """
    table = read_label_files(files, instrument, labeller)
    with Butler.from_config(repo, writeable=True) as butler:
        dataset_type = DatasetType(DATASET_TYPE, ("instrument",), "ArrowAstropy", universe=butler.dimensions)
        butler.registry.registerDatasetType(dataset_type)
        butler.collections.register(run, CollectionType.RUN)
        if butler.find_dataset(DATASET_TYPE, instrument=instrument, collections=run) is not None:
            raise BadInputError(
                f"{repo}, {run}", f"a RUN collection without {DATASET_TYPE}", "one that has it"
            )
        butler.put(table, DATASET_TYPE, instrument=instrument, run=run)
    label = np.asarray(table["label"])
    return {name: int((label == name).sum()) for name in LABELS}
