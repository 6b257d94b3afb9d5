"""Features of all DIA sources by one network, and the table of their map."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.table import Table, vstack
from numpy.typing import NDArray

from ..skycells import sky_cell, sky_fold
from .embedding import MIN_ROWS, EmbeddingSettings, embed_features
from .inputs import CUTOUT_COLUMNS, network_inputs, unscorable_reasons
from .schemas import DIA_SOURCE_CUTOUT, RELIABILITY_EMBEDDING
from .training_rows import DuplicateIdError

if TYPE_CHECKING:
    from .model_dataset import ReliabilityModel
    from .networks.base import TripletNetwork

__all__ = ["EmbeddedRows", "LazyCutouts", "gather_features"]

type F32 = NDArray[np.float32]

_KEPT = ("diaSourceId", "visit", "detector")
_COLUMNS = tuple(dict.fromkeys((*_KEPT, "ra", "dec", *CUTOUT_COLUMNS)))
_TOO_FEW = "too few sources for a map"


@dataclasses.dataclass(frozen=True)
class LazyCutouts:
    """Cutouts of one detector, not yet read.

    Parameters
    ----------
    source : `str`
        What they are of, for messages.
    read : `~collections.abc.Callable`
        Takes names of columns and returns the table.
    """

    source: str
    read: Callable[[Sequence[str]], Table]


@dataclasses.dataclass(frozen=True)
class EmbeddedRows:
    """All DIA sources, and the features of those that have any.

    Parameters
    ----------
    table : `astropy.table.Table`
        N rows: ``diaSourceId``, ``visit``, ``detector``, ``trained``, ``reason``.
    features : `numpy.ndarray`, (M, F), float32
        Of the rows whose reason is empty, in their order.
    """

    table: Table
    features: F32

    def embedded(self, settings: EmbeddingSettings, meta: Mapping[str, Any]) -> Table:
        """Return the map in `RELIABILITY_EMBEDDING`'s schema.

        Parameters
        ----------
        settings : `~.embedding.EmbeddingSettings`
            How to make it.
        meta : `~collections.abc.Mapping`
            Table metadata.

        Returns
        -------
        table : `astropy.table.Table`
            N rows; those without features, or all if there are too few, are without a position.
        """
        n = len(self.table)
        good = np.asarray(self.table["reason"]) == ""
        reason = np.asarray(self.table["reason"])
        position = np.full((n, 2), np.nan, dtype=np.float32)
        fitted = np.zeros(n, dtype=bool)
        neighbours = np.zeros((n, settings.kept), dtype=np.int64)
        distances = np.full((n, settings.kept), np.nan, dtype=np.float32)
        if len(self.features) < MIN_ROWS:
            reason = np.where(good, _TOO_FEW, reason)
        else:
            found = embed_features(self.features, settings)
            ids = np.append(np.asarray(self.table["diaSourceId"])[good], 0)  # 0 is for -1: none
            position[good], fitted[good] = found.position, found.fitted
            neighbours[good], distances[good] = ids[found.neighbours], found.distances
        own = {
            "umap_x": position[:, 0],
            "umap_y": position[:, 1],
            "fitted": fitted,
            "neighbours": neighbours,
            "neighbour_distances": distances,
            "reason": reason,
        }
        kept = {name: self.table[name] for name in (*_KEPT, "trained")}
        return RELIABILITY_EMBEDDING.build(kept | own, meta)


def gather_features(
    cutouts: Sequence[LazyCutouts], model: ReliabilityModel, network: TripletNetwork, index: int
) -> EmbeddedRows:
    """Read cutouts and run one network over them.

    Parameters
    ----------
    cutouts : `~collections.abc.Sequence` of `LazyCutouts`
        One per detector; one at a time is in memory.
    model : `~.model_dataset.ReliabilityModel`
        The model.
    network : `~.networks.TripletNetwork`
        One of its networks, from `~.scoring.load_networks`.
    index : `int`
        Which one: it tells the sky that the network has seen.

    Returns
    -------
    rows : `EmbeddedRows`
        In the order of the cutouts, every one of them.

    Raises
    ------
    DuplicateIdError
        If an id stands twice.
    """
    parts = [_of_detector(one, model, network, index) for one in cutouts]
    tables = [table for table, _ in parts if len(table)]
    if not tables:
        return EmbeddedRows(Table(), np.zeros((0, network.n_features), np.float32))
    table = vstack(tables, metadata_conflicts="silent")
    ids, counts = np.unique(np.asarray(table["diaSourceId"]), return_counts=True)
    if (counts > 1).any():
        found = f"{ids[counts > 1][0]} {counts.max()} times"
        raise DuplicateIdError("dia_source_cutout", "each diaSourceId once", found)
    return EmbeddedRows(table, np.concatenate([features for _, features in parts]))


def _of_detector(
    cutouts: LazyCutouts, model: ReliabilityModel, network: TripletNetwork, index: int
) -> tuple[Table, F32]:
    from .scoring import predict_features

    name = f"dia_source_cutout of {cutouts.source}"
    table = DIA_SOURCE_CUTOUT.check(cutouts.read(_COLUMNS), name, _COLUMNS)
    rows = Table({column: np.asarray(table[column]) for column in _KEPT})
    if not len(table):
        return rows, np.zeros((0, network.n_features), np.float32)
    inputs = network_inputs(table, model.card.stamp_size, name)
    reason = unscorable_reasons(inputs, model.card.min_valid_fraction)
    rows["trained"] = _seen(table, model, index)
    rows["reason"] = reason
    return rows, predict_features([network], inputs[reason == ""])[1][0]


def _seen(table: Table, model: ReliabilityModel, index: int) -> NDArray[np.bool_]:
    """Tell whose sky cell a network was trained or selected with: those of all folds but its own."""
    card = model.card
    cells = sky_cell(np.asarray(table["ra"]), np.asarray(table["dec"]), card.nside)
    fold = sky_fold(cells, card.n_folds, card.seed)
    own = np.isin(cells, model.trained_cells) & (fold != index // card.members)
    return np.asarray(own | np.isin(cells, model.inherited_cells))
