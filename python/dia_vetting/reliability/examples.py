"""The stamps with the highest and the lowest scores of either class, to look at."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from .evaluation_rows import CutoutReader, usable
from .ids import positions_of
from .labels import State
from .schemas import DIA_SOURCE_CUTOUT

__all__ = ["Example", "choose_examples", "gather_examples"]

type F32 = NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class Example:
    """One triplet and what is known of it.

    Parameters
    ----------
    science, template, difference, variance : `numpy.ndarray`, (S, S), float32
        Pixels as [y, x], nJy, and variance of the difference, nJy^2; NaN where there are none.
    caption : `str`
        Score, signal-to-noise ratio, and the truth where it is known.
    """

    science: F32
    template: F32
    difference: F32
    variance: F32
    caption: str


def choose_examples(rows: Table, count: int) -> dict[str, Table]:
    """Choose the extreme rows of injected and of unlabelled sources.

    Parameters
    ----------
    rows : `astropy.table.Table`
        From `~.evaluation_rows.join_rows`.
    count : `int`
        At most so many of each kind.

    Returns
    -------
    chosen : `dict` [`str`, `astropy.table.Table`]
        Rows by kind, extreme first; ties go by diaSourceId.
    """
    chosen = {}
    for state, title in ((State.INJECTED, "Injected"), (State.UNLABELLED, "Unlabelled")):
        of_state = rows[usable(rows) & (np.asarray(rows["state"]) == state)]
        score = np.asarray(of_state["reliability"], dtype=float)
        for sign, end in ((-1.0, "highest"), (1.0, "lowest")):
            order = np.lexsort((of_state["diaSourceId"], sign * score))
            chosen[f"{title}, {end} scores"] = of_state[order[:count]]
    return chosen


def gather_examples(
    chosen: Mapping[str, Table], cutouts: Mapping[tuple[int, int], CutoutReader]
) -> dict[str, list[Example]]:
    """Read the stamps of chosen rows, each detector's table once and only where it is needed.

    Parameters
    ----------
    chosen : `~collections.abc.Mapping` [`str`, `astropy.table.Table`]
        From `choose_examples`.
    cutouts : `~collections.abc.Mapping`
        Reader of the cutout table by (visit, detector).

    Returns
    -------
    examples : `dict` [`str`, `list` [`Example`]]
        In the order of the rows; rows without a cutout are left out.
    """
    found: dict[int, Example] = {}
    rows = [row for table in chosen.values() for row in table]
    for key in sorted({(int(row["visit"]), int(row["detector"])) for row in rows}):
        here = [row for row in rows if (int(row["visit"]), int(row["detector"])) == key]
        found |= _read(here, cutouts[key](), f"dia_source_cutout of visit {key[0]}, detector {key[1]}")
    return {
        kind: [found[int(row["diaSourceId"])] for row in table if int(row["diaSourceId"]) in found]
        for kind, table in chosen.items()
    }


def _read(rows: list[Table.Row], cutouts: Table, source: str) -> dict[int, Example]:
    DIA_SOURCE_CUTOUT.check(cutouts, source)
    ids = [int(row["diaSourceId"]) for row in rows]
    at = positions_of(ids, cutouts["diaSourceId"], source)
    planes = ("science", "template", "difference", "variance")
    return {
        ids[i]: Example(**{name: np.array(cutouts[name][at[i]]) for name in planes}, caption=_caption(row))
        for i, row in enumerate(rows)
        if at[i] >= 0
    }


def _caption(row: Table.Row) -> str:
    text = f"{row['reliability']:.3f}   SNR {row['snr']:.1f}"
    if "truth_class" not in row.colnames:
        return text
    return f"{text}\n{row['cause'] or row['truth_class']}".replace("_", " ")
