"""Joining tables by id."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import BadInputError

__all__ = ["MissingIdError", "positions_of"]


class MissingIdError(BadInputError):
    """Two tables of the same things of which one lacks some, or has some twice."""


def positions_of(wanted: Any, ids: Any, source: str) -> NDArray[np.int64]:
    """Find ids among ids.

    Parameters
    ----------
    wanted : array_like, (N,)
        Ids to look for.
    ids : array_like, (M,)
        Ids to look in.
    source : `str`
        Dataset type and where, for the message.

    Returns
    -------
    positions : `numpy.ndarray`, (N,), int64
        Index into ``ids``; -1 where it is not there.

    Raises
    ------
    MissingIdError
        If an id stands twice in ``ids``.
    """
    wanted, ids = np.asarray(wanted, np.int64), np.asarray(ids, np.int64)
    order = np.argsort(ids, kind="stable")
    ordered = ids[order]
    if (ordered[1:] == ordered[:-1]).any():
        raise MissingIdError(source, "each id once", "one that stands twice")
    at = np.searchsorted(ordered, wanted)
    found = (at < len(ids)) & (np.append(ordered, -1)[np.minimum(at, len(ids))] == wanted)
    return np.where(found, np.append(order, -1)[np.minimum(at, len(ids))], -1)
