"""Which objects, stamps and forced points go onto a page that cannot hold all."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..seeding import generator

__all__ = ["best_objects_first", "choose_objects", "choose_stamps"]

type I64 = NDArray[np.int64]
type Bool = NDArray[np.bool_]


def choose_objects(group: I64, limit: int, seed: int) -> Bool:
    """Draw whole groups of rows at random until there would be more rows than allowed.

    Parameters
    ----------
    group : `numpy.ndarray`, (N,), int64
        Object of each source; rows with -1 have none and are on their own.
    limit : `int`
        Largest number of rows.
    seed : `int`
        Seed of the draw.

    Returns
    -------
    chosen : `numpy.ndarray`, (N,), bool
        Which rows; all of them where there is room.
    """
    if len(group) <= limit:
        return np.ones(len(group), dtype=bool)
    alone = group < 0
    own = np.where(alone, group.max(initial=-1) + 1 + np.cumsum(alone), group)
    _, index, sizes = np.unique(own, return_inverse=True, return_counts=True)
    order = generator(seed, "report objects").permutation(len(sizes))
    taken = np.zeros(len(sizes), dtype=bool)
    taken[order[np.cumsum(sizes[order]) <= limit]] = True
    return taken[index]


def best_objects_first(best: NDArray[np.floating]) -> I64:
    """Return the rank of objects by their best score, 0 for the highest; those without one come last.

    Parameters
    ----------
    best : `numpy.ndarray`, (M,), float
        Best score of each object; NaN where none of its sources has one.

    Returns
    -------
    rank : `numpy.ndarray`, (M,), int64
        Ties keep their order.
    """
    order = np.argsort(-np.nan_to_num(np.asarray(best, float), nan=-np.inf), kind="stable")
    rank = np.empty(len(best), dtype=np.int64)
    rank[order] = np.arange(len(best))
    return rank


def choose_stamps(group: I64, rank: I64, available: Bool, gallery: I64, limit: int, seed: int) -> Bool:
    """Choose the sources whose stamps go onto the page.

    First those of the galleries; then, up to half of the limit, all of the objects in the order of their
    rank; then others at random.

    Parameters
    ----------
    group : `numpy.ndarray`, (N,), int64
        Object of each source; -1 for none.
    rank : `numpy.ndarray`, (M,), int64
        Rank of each object.
    available : `numpy.ndarray`, (N,), bool
        Whether a source has a cutout.
    gallery : `numpy.ndarray`, (K,), int64
        Rows that must be there.
    limit : `int`
        Largest number of stamps.
    seed : `int`
        Seed of the draw.

    Returns
    -------
    chosen : `numpy.ndarray`, (N,), bool
        Which rows.
    """
    if np.count_nonzero(available) <= limit:
        return available.copy()
    chosen = np.zeros(len(group), dtype=bool)
    chosen[gallery[:limit]] = True
    chosen &= available
    by_rank = np.where(group >= 0, np.append(rank, len(rank))[group], len(rank))
    order = np.argsort(by_rank, kind="stable")
    order = order[(available & ~chosen & (group >= 0))[order]]
    room = max(limit // 2 - int(np.count_nonzero(chosen)), 0)
    chosen[_whole(order, group, room)] = True
    rest = np.flatnonzero(available & ~chosen)
    room = limit - int(np.count_nonzero(chosen))
    chosen[generator(seed, "report stamps").permutation(rest)[:room]] = True
    return chosen


def _whole(order: I64, group: I64, room: int) -> I64:
    """Return the first rows of an order, without the group that would be cut."""
    if len(order) <= room:
        return order
    last = group[order[room]]
    kept = order[:room]
    return np.asarray(kept[group[kept] != last])
