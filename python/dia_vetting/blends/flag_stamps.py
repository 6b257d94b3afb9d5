"""Flags of stamps in a file, written as a table: what ``dia-vetting flag-blends`` does."""

from __future__ import annotations

__all__ = ["COLUMNS", "flag_stamps", "flags_table"]

import json
from pathlib import Path

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from .flags import BlendFlag
from .methods.learned import Learned
from .methods.sextractor import PUBLISHED, SExtractor
from .model_io import BlendModel
from .preparation import prepare
from .stamps import BlendStamps, read_stamps

COLUMNS = pa.schema(
    [
        pa.field("p_blend", pa.float64(), metadata={"description": "Probability of a blend in the middle"}),
        pa.field("n_sources", pa.int64(), metadata={"description": "Most probable number, 4 for 4 or more"}),
        pa.field(
            "overlap_area",
            pa.float64(),
            metadata={"description": "Where two sources or more are above the threshold", "unit": "pixel2"},
        ),
        pa.field("sextractor_blend", pa.bool_(), metadata={"description": "Whether sep splits the source"}),
        pa.field("flags", pa.int64(), metadata={"description": "Bits of dia_vetting.blends.flags.BlendFlag"}),
    ]
)
"""Columns; null where a stamp has no score, which a bit of ``flags`` explains."""


def flags_table(stamps: BlendStamps, model: BlendModel) -> pa.Table:
    """Return the flags of stamps.

    Parameters
    ----------
    stamps : `~.stamps.BlendStamps`
        N stamps.
    model : `~.model_io.BlendModel`
        Of any method.

    Returns
    -------
    table : `pyarrow.Table`
        `COLUMNS`, one row per stamp, in their order. The metadata have the content hash of the model, and the
        names of the flags.
    """
    prepared = prepare(stamps)
    ours = Learned(model).predict_prepared(prepared)
    theirs = SExtractor(PUBLISHED).predict_prepared(prepared)
    values = {
        "p_blend": ours.p_blend,
        "n_sources": ours.n_sources,
        "overlap_area": ours.overlap_area,
        "sextractor_blend": theirs.p_blend,
        "flags": ours.flags,
    }
    columns = [
        pa.array(values[field.name], mask=np.isnan(values[field.name])).cast(field.type) for field in COLUMNS
    ]
    names = {str(bit.name): int(bit) for bit in BlendFlag}
    metadata = {"blend_model": model.card.content_hash, "flags": json.dumps(names)}
    return pa.Table.from_arrays(columns, schema=COLUMNS.with_metadata(metadata))


def flag_stamps(path: Path, output: Path, model: BlendModel) -> pa.Table:
    """Write the flags of the stamps in a file as Parquet.

    Parameters
    ----------
    path : `pathlib.Path`
        See `~.stamps.read_stamps`.
    output : `pathlib.Path`
        Parquet file to write.
    model : `~.model_io.BlendModel`
        Of any method.

    Returns
    -------
    table : `pyarrow.Table`
        What was written.

    Raises
    ------
    BadInputError
        If the stamps cannot be read.
    """
    table = flags_table(read_stamps(path), model)
    pq.write_table(table, output)
    return table
