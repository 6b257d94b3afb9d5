"""Rows that belong to objects: looked up by id once, and summed up over segments of sorted rows."""

from __future__ import annotations

__all__ = ["first_of_each", "group_max", "group_mean", "group_median", "group_sum", "positions"]

import numpy as np
from numpy.typing import ArrayLike, NDArray

type F64 = NDArray[np.float64]
type I64 = NDArray[np.int64]
type Bool = NDArray[np.bool_]


def first_of_each(ids: ArrayLike) -> Bool:
    """Tell which rows are the first ones with their id.

    Parameters
    ----------
    ids : array_like, (N,)
        Ids.

    Returns
    -------
    first : `numpy.ndarray`, (N,), bool
        False for what is there a second time.
    """
    ids = np.asarray(ids, np.int64)
    first = np.zeros(len(ids), bool)
    first[np.unique(ids, return_index=True)[1]] = True
    return first


def positions(wanted: ArrayLike, ids: ArrayLike) -> I64:
    """Find ids among ids of which each is there once.

    Parameters
    ----------
    wanted : array_like, (N,)
        Ids to look for.
    ids : array_like, (M,)
        Ids to look in, distinct.

    Returns
    -------
    positions : `numpy.ndarray`, (N,), int64
        Index into ``ids``; -1 where it is not there.
    """
    wanted, ids = np.asarray(wanted, np.int64), np.asarray(ids, np.int64)
    if not len(ids):
        return np.full(len(wanted), -1, np.int64)
    order = np.argsort(ids, kind="stable")
    at = np.minimum(np.searchsorted(ids, wanted, sorter=order), len(ids) - 1)
    return np.where(ids[order[at]] == wanted, order[at], -1)


def group_sum(values: ArrayLike, group: I64, count: int) -> F64:
    """Sum values over groups.

    Parameters
    ----------
    values : array_like, (K,)
        Numbers or bools.
    group : `numpy.ndarray`, (K,), int64
        Group of each, in ``[0, count)``.
    count : `int`
        Number G of groups.

    Returns
    -------
    sums : `numpy.ndarray`, (G,), float64
        0 for a group without rows.
    """
    return np.bincount(group, np.asarray(values, np.float64), count)


def group_mean(values: ArrayLike, group: I64, count: int) -> F64:
    """Average values over groups, (G,), float64; NaN for a group without rows. Parameters as `group_sum`."""
    with np.errstate(invalid="ignore"):
        return group_sum(values, group, count) / np.bincount(group, minlength=count)


def group_max(values: ArrayLike, group: I64, count: int) -> F64:
    """Return the largest value of each group, (G,), float64; NaN for none. Parameters as `group_sum`."""
    result = np.full(count, -np.inf)
    np.maximum.at(result, group, np.asarray(values, np.float64))
    return np.where(np.isneginf(result), np.nan, result)


def group_median(values: ArrayLike, group: I64, count: int) -> F64:
    """Return the median of each group, (G,), float64; NaN for none. Parameters as `group_sum`; no NaN."""
    values = np.asarray(values, np.float64)
    order = np.lexsort((values, group))
    n = np.bincount(group, minlength=count)
    start = np.cumsum(n) - n
    result = np.full(count, np.nan)
    some = np.flatnonzero(n)
    low, high = start[some] + (n[some] - 1) // 2, start[some] + n[some] // 2
    result[some] = 0.5 * (values[order[low]] + values[order[high]])
    return result
