"""What a page says of an object: summed up from its sources, and its verdict if there is one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from ..reliability.ids import positions_of
from .tables import RunTables

__all__ = ["VERDICT_PREFIX", "object_columns"]

type Columns = dict[str, NDArray[Any]]
type I64 = NDArray[np.int64]

VERDICT_PREFIX = "v_"
"""What the names of columns that come from the table of verdicts start with."""


def object_columns(
    object_id: I64, sources: Mapping[str, NDArray[Any]], visits: Mapping[str, NDArray[Any]], run: RunTables
) -> Columns:
    """Return the columns of the objects.

    Parameters
    ----------
    object_id : `numpy.ndarray`, (M,), int64
        diaObjectId; 0 for a source on its own.
    sources, visits : `~collections.abc.Mapping` [`str`, `numpy.ndarray`]
        Columns of the sources, sorted by ``object``, and of the visits.
    run : `~.tables.RunTables`
        Objects, verdicts and hosts.

    Returns
    -------
    columns : `dict` [`str`, `numpy.ndarray`]
        ``id``, ``ra``, ``dec``, ``first`` (row of the first source), ``n`` (sources), ``nights``, ``bands``,
        ``start`` and ``days`` (between first and last), ``best`` and ``mean`` reliability, ``snr`` (largest),
        ``truth`` and ``state`` (those of most sources), and those of the verdicts with `VERDICT_PREFIX`.
    """
    owner = sources["object"]
    n = np.bincount(owner, minlength=len(object_id))
    first = np.cumsum(n) - n
    mjd = visits["mjd"][sources["visit"]]
    last = first + n - 1
    columns: Columns = {
        "id": object_id,
        "ra": sources["ra"][first],
        "dec": sources["dec"][first],
        "first": first.astype(np.int32),
        "n": n.astype(np.int32),
        "nights": _distinct(owner, visits["day_obs"][sources["visit"]], len(n)),
        "bands": _bands(owner, visits["band"][sources["visit"]], len(n)),
        "start": mjd[first],
        "days": (mjd[last] - mjd[first]).astype(np.float32),
        "best": _reduced(np.fmax, sources["reliability"], first),
        "mean": _mean(sources["reliability"], owner, len(n)),
        "snr": _reduced(np.fmax, sources["snr"], first),
        "truth": _most(owner, sources["truth"], len(n)),
        "state": _most(owner, sources["state"], len(n)),
    }
    if run.objects is not None and len(run.objects):
        at = positions_of(object_id, run.objects["diaObjectId"], "dia_object")
        for name in ("ra", "dec"):
            columns[name] = np.where(at >= 0, np.asarray(run.objects[name], float)[at], columns[name])
    return columns | _verdicts(object_id, run.verdicts)


def _reduced(function: np.ufunc, values: NDArray[Any], first: NDArray[Any]) -> NDArray[np.float32]:
    if not len(first):
        return np.zeros(0, np.float32)
    return np.asarray(function.reduceat(values, first), np.float32)


def _mean(values: NDArray[Any], owner: NDArray[Any], count: int) -> NDArray[np.float32]:
    good = np.isfinite(values)
    total = np.bincount(owner[good], values[good], minlength=count)
    number = np.bincount(owner[good], minlength=count)
    with np.errstate(invalid="ignore"):
        return np.asarray(total / np.where(number, number, np.nan), np.float32)


def _distinct(owner: NDArray[Any], values: NDArray[Any], count: int) -> NDArray[np.int32]:
    pairs = np.unique(np.stack([owner, values.astype(np.int64)]), axis=1)[0]
    return np.bincount(pairs, minlength=count).astype(np.int32)


def _bands(owner: NDArray[Any], band: NDArray[Any], count: int) -> NDArray[np.str_]:
    names, index = np.unique(band, return_inverse=True)
    order = sorted(range(len(names)), key=lambda i: ("ugrizy".find(str(names[i])), str(names[i])))
    found = np.full(count, "", dtype=f"U{max(sum(map(len, names.tolist())), 1)}")
    for i in order:
        has = np.bincount(owner[index == i], minlength=count) > 0
        found = np.where(has, np.char.add(found, str(names[i])), found)
    return found


def _most(owner: NDArray[Any], text: NDArray[Any], count: int) -> NDArray[np.str_]:
    """Return the text that most sources of an object have; the first by name where several do."""
    names, index = np.unique(text.astype(str), return_inverse=True)
    table = np.zeros((count, len(names)), dtype=np.int32)
    np.add.at(table, (owner, index), 1)
    return np.asarray(names[table.argmax(axis=1)]) if len(names) else np.zeros(0, "U1")


def _verdicts(object_id: I64, verdicts: Table | None) -> Columns:
    """Return every column of the verdicts that has one value per object."""
    if verdicts is None or not len(verdicts):
        return {}
    at = positions_of(object_id, verdicts["diaObjectId"], "dia_object_verdict")
    known = at >= 0
    return {
        f"{VERDICT_PREFIX}{name}": _cells(np.asarray(verdicts[name]), at, known)
        for name in verdicts.colnames
        if name not in ("diaObjectId", "ra", "dec") and verdicts[name].ndim == 1
    }


def _cells(values: NDArray[Any], at: I64, known: NDArray[np.bool_]) -> NDArray[Any]:
    if values.dtype.kind in "OSU":
        return np.asarray(np.where(known, values.astype(str)[at], ""))
    if values.dtype.kind == "f":
        return np.where(known, values[at], np.nan).astype(np.float32 if values.itemsize <= 4 else np.float64)
    if values.dtype.kind == "b":
        return np.asarray(known & values[at])
    return np.where(known, values[at], 0).astype(np.int64)
