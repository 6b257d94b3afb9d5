"""Grouping DIA sources of many visits into DIA objects, visit by visit as the alert pipeline does."""

__all__ = ["associate", "unit_vectors"]

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

type F64 = NDArray[np.float64]
type I64 = NDArray[np.int64]


def unit_vectors(ra: NDArray[Any], dec: NDArray[Any]) -> F64:
    """Turn sky positions into unit vectors, on which distances need no cos(dec).

    Parameters
    ----------
    ra, dec : `numpy.ndarray`, (N,)
        ICRS positions in degrees.

    Returns
    -------
    vectors : `numpy.ndarray`, (N, 3), float64
        Unit vectors.
    """
    ra, dec = np.radians(np.asarray(ra, dtype=float)), np.radians(np.asarray(dec, dtype=float))
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1)


def associate(ra: NDArray[Any], dec: NDArray[Any], epoch: NDArray[Any], radius: float) -> I64:
    """Associate sources to objects: mutual nearest neighbours, one epoch after the other.

    Two sources of one epoch never share an object. An object's position is the mean of its sources.

    Parameters
    ----------
    ra, dec : `numpy.ndarray`, (N,)
        ICRS positions in degrees, all finite.
    epoch : `numpy.ndarray`, (N,)
        What orders the visits, for example the visit id or its time.
    radius : `float`
        Largest distance to the object, in arcseconds.

    Returns
    -------
    index : `numpy.ndarray`, (N,), int64
        Object of each source, counted from 0 in the order of first appearance.
    """
    vectors = unit_vectors(ra, dec)
    reach = 2 * np.sin(np.radians(radius / 3600.0) / 2)
    index = np.full(len(vectors), -1, dtype=np.int64)
    sums, counts = np.empty((0, 3)), np.empty(0)
    for now in np.unique(epoch):
        rows = np.flatnonzero(epoch == now)
        index[rows] = _match(vectors[rows], sums, counts, reach)
        new = rows[index[rows] < 0]
        index[new] = len(counts) + np.arange(len(new))
        sums = np.concatenate([sums, np.zeros((len(new), 3))])
        counts = np.concatenate([counts, np.zeros(len(new))])
        np.add.at(sums, index[rows], vectors[rows])
        np.add.at(counts, index[rows], 1)
    return index


def _match(vectors: F64, sums: F64, counts: F64, reach: float) -> I64:
    """Return the mutually nearest object of each source within reach, -1 if there is none."""
    found = np.full(len(vectors), -1, dtype=np.int64)
    if not len(counts) or not len(vectors):
        return found
    centres = sums / np.linalg.norm(sums, axis=1, keepdims=True)
    distance, nearest = cKDTree(centres).query(vectors)
    _, back = cKDTree(vectors).query(centres)
    mutual = (back[nearest] == np.arange(len(vectors))) & (distance <= reach)
    found[mutual] = nearest[mutual]
    return found
