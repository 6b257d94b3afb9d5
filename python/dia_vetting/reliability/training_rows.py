"""Labels joined with cutouts by id, one detector at a time, as the rows that training sees."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from ..errors import BadInputError
from ..seeding import generator
from ..skycells import sky_cell, sky_fold
from ..tables import stack_tables
from .inputs import CHANNELS, METADATA, NetworkInputs, StampSizeError, network_inputs, unscorable_reasons
from .labels import State
from .schemas import DIA_SOURCE_CUTOUT, DIA_SOURCE_LABEL, RELIABILITY_TRAINING

__all__ = ["DuplicateIdError", "LabelledCutouts", "TrainingRows", "gather_rows"]

type Bool = NDArray[np.bool_]

_TRAINABLE = (State.INJECTED, State.UNLABELLED)


class DuplicateIdError(BadInputError):
    """A table in which a diaSourceId stands twice."""


@dataclasses.dataclass(frozen=True)
class LabelledCutouts:
    """Labels and cutouts of one detector, not yet read.

    Parameters
    ----------
    source : `str`
        What they are of, for messages.
    labels, cutouts : `~collections.abc.Callable`
        Read and return the table.
    """

    source: str
    labels: Callable[[], Table]
    cutouts: Callable[[], Table]


@dataclasses.dataclass(frozen=True)
class TrainingRows:
    """All labelled DIA sources, and the network inputs of those that are used.

    Parameters
    ----------
    labels : `astropy.table.Table`
        N rows of `DIA_SOURCE_LABEL`.
    cells : `numpy.ndarray`, (N,), int64
        Sky cell of each.
    used : `numpy.ndarray`, (N,), bool
        Whether it is trained with.
    inputs : `~.inputs.NetworkInputs`
        Of the M used ones, in the order of the rows.
    """

    labels: Table
    cells: NDArray[np.int64]
    used: Bool
    inputs: NetworkInputs

    @property
    def injected(self) -> Bool:
        """Whether each of the M used rows is an injection."""
        return np.asarray(self.labels["state"][self.used] == State.INJECTED)

    @property
    def objects(self) -> NDArray[np.int64]:
        """Injection that each of the M used rows shows, which must not stand on two sides; 0 for none."""
        return np.asarray(self.labels["injection_id"][self.used], dtype=np.int64)

    @property
    def positions(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Right ascension and declination of the M used rows, deg."""
        ra, dec = (np.asarray(self.labels[name][self.used], dtype=float) for name in ("ra", "dec"))
        return ra, dec

    def counts(self) -> dict[str, int]:
        """Return the number of rows by state, and of the used ones by class."""
        states = Counter(str(state) for state in self.labels["state"])
        injected = int(self.injected.sum())
        return {
            **{state.value: states[state] for state in State},
            "injected_used": injected,
            "unlabelled_used": len(self.injected) - injected,
        }

    def table(self, scores: NDArray[np.float32], n_folds: int, seed: int, meta: Mapping[str, Any]) -> Table:
        """Return the rows in `RELIABILITY_TRAINING`'s schema.

        Parameters
        ----------
        scores : `numpy.ndarray`, (M,), float32
            Out-of-fold scores of the used rows.
        n_folds, seed : `int`
            What the folds were made with.
        meta : `~collections.abc.Mapping`
            Table metadata.
        """
        reliability = np.full(len(self.labels), np.nan, dtype=np.float32)
        reliability[self.used] = scores
        fold = np.where(self.cells >= 0, sky_fold(self.cells, n_folds, seed), -1)
        own = {"sky_cell": self.cells, "fold": fold, "used": self.used, "reliability": reliability}
        kept = {name: self.labels[name] for name in RELIABILITY_TRAINING.names() if name not in own}
        return RELIABILITY_TRAINING.build(kept | own, meta)


def gather_rows(
    sources: Sequence[LabelledCutouts],
    nside: int,
    seed: int,
    max_sources: int,
    min_valid_fraction: float,
    stamp_size: int | None = None,
) -> TrainingRows:
    """Read labels and cutouts and join them by id.

    Rows are used if they are injected or unlabelled, have a position and a cutout with enough valid pixels,
    and, where there are more than ``max_sources``, if a seeded draw selects them. The rest stay in the table.

    Parameters
    ----------
    sources : `~collections.abc.Sequence` of `LabelledCutouts`
        One per detector; the cutouts of one at a time are in memory.
    nside : `int`
        HEALPix resolution of the sky cells.
    seed : `int`
        Seed of the draw.
    max_sources : `int`
        Largest number of rows to use.
    min_valid_fraction : `float`
        Smallest fraction of valid pixels.
    stamp_size : `int`, optional
        Side of the network inputs (see `~.inputs.network_inputs`); that of the cutouts by default.

    Returns
    -------
    rows : `TrainingRows`
        In the order of the sources.

    Raises
    ------
    DuplicateIdError
        If an id stands twice in a table.
    StampSizeError
        If the stamps differ in size.
    """
    tables = [_unique(DIA_SOURCE_LABEL.check(s.labels(), f"labels of {s.source}"), s.source) for s in sources]
    labels = stack_tables(tables, DIA_SOURCE_LABEL)
    cells = sky_cell(np.asarray(labels["ra"]), np.asarray(labels["dec"]), nside)
    used = _select(np.isin(np.asarray(labels["state"]), _TRAINABLE) & (cells >= 0), max_sources, seed)
    inputs = _empty(0, 0)
    filled = start = 0
    for source, table in zip(sources, tables, strict=True):
        rows = slice(start, start := start + len(table))
        if not used[rows].any():
            continue
        wanted = np.asarray(table["diaSourceId"])[used[rows]]
        found, stamps = _stamps(source, wanted, min_valid_fraction, stamp_size)
        used[rows][used[rows]] = found
        if not len(stamps):
            continue
        if not len(inputs):
            inputs = _empty(int(used.sum()), stamps.size)
        if stamps.size != inputs.size:
            raise StampSizeError(source.source, f"stamps of {inputs.size} pixels", f"{stamps.size} pixels")
        inputs.stamps[filled : filled + len(stamps)] = stamps.stamps
        inputs.metadata[filled : filled + len(stamps)] = stamps.metadata
        filled += len(stamps)
    return TrainingRows(labels, cells, used, inputs[:filled])


def _empty(count: int, size: int) -> NetworkInputs:
    stamps = np.empty((count, len(CHANNELS), size, size), dtype=np.float16)
    return NetworkInputs(stamps, np.empty((count, len(METADATA)), dtype=np.float32))


def _select(eligible: Bool, limit: int, seed: int) -> Bool:
    """Draw no more than ``limit`` of the eligible rows."""
    chosen = np.flatnonzero(eligible)
    if len(chosen) > limit:
        chosen = generator(seed, "training selection").choice(chosen, size=limit, replace=False)
    selected = np.zeros(len(eligible), dtype=bool)
    selected[chosen] = True
    return selected


def _stamps(
    source: LabelledCutouts, wanted: NDArray[np.int64], minimum: float, size: int | None
) -> tuple[Bool, NetworkInputs]:
    """Return which of the wanted ids have a usable cutout, and the inputs of those, in their order."""
    name = f"cutouts of {source.source}"
    table = _unique(DIA_SOURCE_CUTOUT.check(source.cutouts(), name, ["diaSourceId"]), name)
    ids = np.asarray(table["diaSourceId"])
    order = np.argsort(ids)
    place = np.clip(np.searchsorted(ids, wanted, sorter=order), 0, max(len(ids) - 1, 0))
    row = order[place] if len(ids) else np.zeros(0, dtype=np.int64)
    found = ids[row] == wanted if len(ids) else np.zeros(len(wanted), dtype=bool)
    stamps = network_inputs(table[row[found]], size, name)
    usable = unscorable_reasons(stamps, minimum) == ""
    found[found] = usable
    return found, stamps[usable]


def _unique(table: Table, source: str) -> Table:
    ids, counts = np.unique(np.asarray(table["diaSourceId"]), return_counts=True)
    if (counts > 1).any():
        raise DuplicateIdError(source, "each diaSourceId once", f"{ids[counts > 1][0]} {counts.max()} times")
    return table
