"""The tables of a run joined by id into the columns of a page."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from ..reliability.ids import positions_of
from .objects import object_columns
from .sampling import best_objects_first, choose_objects, choose_stamps
from .tables import PageLimits, RunTables

__all__ = ["PageTables", "join_run"]

type Columns = dict[str, NDArray[Any]]
type I64 = NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class PageTables:
    """Columns of a page.

    Parameters
    ----------
    sources, objects, forced, visits : `dict` [`str`, `numpy.ndarray`]
        By name. ``sources["object"]`` and ``forced["object"]`` are rows of ``objects``, sorted; ``visit`` is
        a row of ``visits``. Every source has an object: one that was not associated has one of its own, of id
        0.
    stamps : `numpy.ndarray`, (K,), int64
        diaSourceId of the sources that get a stamp, in the order of the sources.
    galleries : `dict` [`str`, `numpy.ndarray`]
        Rows of ``sources``, by title.
    totals : `dict` [`str`, `int`]
        Sources, objects, stamps and forced points, on the page (``..._shown``) and in the run.
    """

    sources: Columns
    objects: Columns
    forced: Columns
    visits: Columns
    stamps: I64
    galleries: dict[str, I64]
    totals: dict[str, int]


def join_run(run: RunTables, limits: PageLimits) -> PageTables:
    """Join the tables of a run.

    Parameters
    ----------
    run : `~.tables.RunTables`
        What there is.
    limits : `~.tables.PageLimits`
        How much of it goes onto the page.

    Returns
    -------
    page : `PageTables`
        Sources by object, and in an object by time.

    Raises
    ------
    MissingIdError
        If an id stands twice in a table.
    """
    ids = np.asarray(run.scores["diaSourceId"], np.int64)
    positions_of(ids[:0], ids, "dia_source_vetting")  # none may stand twice
    object_id = _looked_up(ids, run.associations, "diaSourceId", "diaObjectId", 0, "dia_source")
    unique, group = np.unique(object_id, return_inverse=True)
    group = np.where(object_id == 0, -1, group)
    chosen = choose_objects(group, limits.sources, limits.seed)
    rows, object_id = run.scores[chosen], object_id[chosen]
    visits = _visits(rows, run.visits)
    sources = _source_columns(rows, run) | {"visit": _row_of(rows["visit"], visits["visit"])}
    own, sources["object"] = _objects_of(object_id, sources, visits)
    order = np.lexsort((sources["id"], visits["mjd"][sources["visit"]], sources["object"]))
    sources = {name: values[order] for name, values in sources.items()}
    sources["neighbours"] = _neighbours(sources["id"], run.embedding)
    objects = object_columns(own, sources, visits, run)
    rank = best_objects_first(objects["best"])
    galleries = _galleries(sources, limits.gallery)
    stamps = _stamps(sources, rank, galleries, run, limits)
    forced, n_forced = _forced(own, rank, visits, run.forced, limits.forced)
    totals = {
        "sources": len(ids),
        "sources_shown": len(rows),
        "objects": int((unique != 0).sum()),
        "objects_shown": int((own != 0).sum()),
        "stamps_shown": int(stamps.sum()),
        "forced": n_forced,
        "forced_shown": len(forced["object"]),
    }
    return PageTables(sources, objects, forced, visits, sources["id"][stamps], galleries, totals)


def _looked_up(
    ids: Any, table: Table | None, key: str, column: str, default: Any, source: str
) -> NDArray[Any]:
    """Return a column of a table by id; a default where the id, the column or the table is not there."""
    if table is None or column not in table.colnames:
        return np.full(len(ids), default)
    values = np.asarray(table[column])
    if values.dtype.kind in "OSU":
        values = values.astype(str)
    at = positions_of(ids, table[key], source)
    if not len(values):
        return np.full(len(ids), default)
    return np.where(
        at >= 0, values[at], np.asarray(default, values.dtype if values.dtype.kind != "U" else None)
    )


def _source_columns(rows: Table, run: RunTables) -> Columns:
    ids = np.asarray(rows["diaSourceId"], np.int64)

    def take(table: Table | None, column: str, default: Any, name: str) -> NDArray[Any]:
        return _looked_up(ids, table, "diaSourceId", column, default, name)

    columns: Columns = {"id": ids, "detector": np.asarray(rows["detector"], np.int32)}
    columns |= {name: np.asarray(rows[name], np.float64) for name in ("ra", "dec")}
    columns |= {
        name: np.asarray(rows[name], np.float32) for name in ("snr", "reliability", "reliability_err", "ood")
    }
    columns["glint"] = np.asarray(rows["glint_trail"], bool)
    columns["reason"] = np.asarray(rows["reason"]).astype(str)
    for name in ("psfFlux", "psfFluxErr", "valid_fraction"):
        found = take(run.measurements, name, np.nan, "dia_source_cutout")
        columns[name] = found.astype(np.float32)
    columns["state"] = take(run.labels, "state", "", "dia_source_label")
    columns["p_blend"] = take(run.blends, "p_blend", np.nan, "dia_source_blend").astype(np.float32)
    columns["truth"] = take(run.truth, "truth_class", "", "reliability_truth")
    columns["cause"] = take(run.truth, "cause", "", "reliability_truth")
    for name in ("umap_x", "umap_y"):
        columns[name] = take(run.embedding, name, np.nan, "reliability_embedding").astype(np.float32)
    columns["trained"] = take(run.embedding, "trained", False, "reliability_embedding").astype(bool)
    return columns


def _visits(rows: Table, known: Table) -> Columns:
    """Return the visits of the sources by time; one that has no record has no time."""
    visit = np.unique(np.asarray(rows["visit"], np.int64))
    mjd = _looked_up(visit, known, "visit", "mjd", np.nan, "visit records").astype(np.float64)
    day = _looked_up(visit, known, "visit", "day_obs", 0, "visit records").astype(np.int32)
    first = np.unique(np.asarray(rows["visit"], np.int64), return_index=True)[1]
    band = np.asarray(rows["band"]).astype(str)[first]
    order = np.lexsort((visit, mjd))
    return {"visit": visit[order], "mjd": mjd[order], "day_obs": day[order], "band": band[order]}


def _row_of(visit: Any, visits: I64) -> NDArray[np.int32]:
    return positions_of(visit, visits, "visits").astype(np.int32)


def _objects_of(object_id: I64, sources: Mapping[str, Any], visits: Columns) -> tuple[I64, NDArray[np.int32]]:
    """Return the id of each object of the page, and the object of each source."""
    alone = object_id == 0
    unique, index = np.unique(object_id[~alone], return_inverse=True)
    of_source = np.empty(len(object_id), dtype=np.int32)
    of_source[~alone] = index
    of_source[alone] = len(unique) + np.arange(int(alone.sum()))
    return np.concatenate([unique, np.zeros(int(alone.sum()), np.int64)]), of_source


def _neighbours(ids: I64, embedding: Table | None) -> NDArray[np.int32]:
    """Return rows of the sources that look most like each, (N, K); -1 where they are not on the page."""
    if embedding is None or not len(embedding):
        return np.zeros((len(ids), 0), np.int32)
    at = positions_of(ids, embedding["diaSourceId"], "reliability_embedding")
    neighbours = np.asarray(embedding["neighbours"], np.int64)
    found = np.where((at >= 0)[:, None], neighbours[at], 0)
    return positions_of(found.ravel(), ids, "sources").astype(np.int32).reshape(found.shape)


def _galleries(sources: Columns, count: int) -> dict[str, I64]:
    """Choose the highest and the lowest scores of each class of truth, or else of each label."""
    scored = np.isfinite(sources["reliability"])
    chosen: dict[str, I64] = {}
    key, kinds = "truth", ["artefact", "hidden", "variable", "moving", "injected"]
    if not (sources["truth"] != "").any():
        key, kinds = "state", ["unlabelled", "injected"]
    order = np.argsort(-np.nan_to_num(sources["reliability"], nan=-1), kind="stable")
    chosen["Highest scores"] = order[scored[order]][:count]
    for kind in kinds:
        of_kind = order[(scored & (sources[key] == kind))[order]]
        if len(of_kind):
            chosen[f"{kind.capitalize()}, highest scores"] = of_kind[:count]
            chosen[f"{kind.capitalize()}, lowest scores"] = of_kind[::-1][:count]
    strange = np.argsort(-np.nan_to_num(sources["ood"], nan=-1), kind="stable")
    chosen["Least like the training set"] = strange[np.isfinite(sources["ood"])[strange]][:count]
    return {title: rows for title, rows in chosen.items() if len(rows)}


def _stamps(
    sources: Columns, rank: I64, galleries: Mapping[str, I64], run: RunTables, limits: PageLimits
) -> NDArray[np.bool_]:
    if run.measurements is None:
        return np.zeros(len(sources["id"]), dtype=bool)
    found = positions_of(sources["id"], run.measurements["diaSourceId"], "dia_source_cutout") >= 0
    wanted = np.unique(np.concatenate([np.zeros(0, np.int64), *galleries.values()]))
    return choose_stamps(sources["object"].astype(np.int64), rank, found, wanted, limits.stamps, limits.seed)


def _forced(
    object_id: I64, rank: I64, visits: Columns, table: Table | None, limit: int
) -> tuple[Columns, int]:
    """Return forced points of the objects of the page, best objects first where there is no room for all."""
    if table is None or not len(table):
        return _forced_columns(np.zeros(0, np.int32), np.zeros(0, np.int32), None), 0
    known = object_id != 0
    at = positions_of(table["diaObjectId"], object_id[known], "objects")
    visit = positions_of(table["visit"], visits["visit"], "visits")
    keep = at >= 0
    total = int(keep.sum())
    if total > limit:
        counts = np.bincount(at[keep], minlength=int(known.sum()))
        order = np.argsort(rank[: len(counts)], kind="stable")
        allowed = np.zeros(len(counts), dtype=bool)
        allowed[order[np.cumsum(counts[order]) <= limit]] = True
        keep &= allowed[at]
    order = np.lexsort((np.asarray(table["midpointMjdTai"]), at))
    order = order[keep[order]]
    return _forced_columns(at[order].astype(np.int32), visit[order].astype(np.int32), table[order]), total


def _forced_columns(owner: NDArray[np.int32], visit: NDArray[np.int32], table: Table | None) -> Columns:
    if table is None:
        empty = np.zeros(0, np.float32)
        return {"object": owner, "visit": visit, "mjd": empty.astype(float), "flux": empty, "err": empty,
                "bad": empty.astype(bool), "band": np.zeros(0, "U1")}  # fmt: skip
    static = np.asarray(table["staticFluxErr"], float) if "staticFluxErr" in table.colnames else 0.0
    error = np.hypot(np.asarray(table["psfDiffFluxErr"], float), np.nan_to_num(static))
    return {
        "object": owner,
        "visit": visit,
        "mjd": np.asarray(table["midpointMjdTai"], np.float64),
        "flux": np.asarray(table["psfDiffFlux"], np.float32),
        "err": error.astype(np.float32),
        "bad": np.asarray(table["pixelFlags_bad"], bool),
        "band": np.asarray(table["band"]).astype(str),
    }
