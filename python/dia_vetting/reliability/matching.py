"""Pairs of two lists of positions on the sky, and which of them are mutual nearest neighbours."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

__all__ = ["Pairs", "find_pairs", "flux_consistent", "mutual_nearest", "nearest", "unit_vectors"]

type F64 = NDArray[np.float64]
type I64 = NDArray[np.int64]

_ARCSEC = np.pi / 180.0 / 3600.0


@dataclasses.dataclass(frozen=True)
class Pairs:
    """Pairs of elements of two lists, in order of increasing distance.

    Parameters
    ----------
    first, second : `numpy.ndarray`, (P,), int64
        Index into either list.
    distance : `numpy.ndarray`, (P,), float64
        Great-circle distance, arcsec.
    """

    first: I64
    second: I64
    distance: F64

    def where(self, keep: NDArray[np.bool_]) -> Pairs:
        """Return some of the pairs; ``keep`` is bool (P,)."""
        return Pairs(self.first[keep], self.second[keep], self.distance[keep])


def unit_vectors(ra: ArrayLike, dec: ArrayLike) -> F64:
    """Return positions as unit vectors.

    Parameters
    ----------
    ra, dec : array_like, (N,)
        ICRS, degrees.

    Returns
    -------
    vectors : `numpy.ndarray`, (N, 3), float64
        Cartesian directions.
    """
    ra, dec = np.deg2rad(np.asarray(ra, dtype=float)), np.deg2rad(np.asarray(dec, dtype=float))
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1)


def find_pairs(
    first: tuple[ArrayLike, ArrayLike], second: tuple[ArrayLike, ArrayLike], radius: float
) -> Pairs:
    """Find all pairs within a radius on the sphere.

    Parameters
    ----------
    first, second : `tuple`
        (ra, dec) of either list, degrees. Positions that are not finite have no pair.
    radius : `float`
        Largest distance, arcsec.

    Returns
    -------
    pairs : `Pairs`
        Sorted by distance, then by index, so that the order never depends on the search.
    """
    (index1, vectors1), (index2, vectors2) = _finite(*first), _finite(*second)
    chord = 2.0 * np.sin(0.5 * radius * _ARCSEC)
    if not len(index1) or not len(index2):
        return Pairs(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
    found = cKDTree(vectors1).sparse_distance_matrix(cKDTree(vectors2), chord, output_type="ndarray")
    one, two = index1[found["i"]], index2[found["j"]]
    distance = 2.0 * np.arcsin(np.clip(0.5 * found["v"], 0.0, 1.0)) / _ARCSEC
    order = np.lexsort((two, one, distance))
    return Pairs(one[order], two[order], distance[order])


def _finite(ra: ArrayLike, dec: ArrayLike) -> tuple[I64, F64]:
    vectors = unit_vectors(ra, dec).reshape(-1, 3)
    index = np.flatnonzero(np.isfinite(vectors).all(axis=1))
    return index, vectors[index]


def nearest(index: I64, count: int) -> I64:
    """Return, for each element of one list, its first (nearest) pair.

    Parameters
    ----------
    index : `numpy.ndarray`, (P,), int64
        `Pairs.first` or `Pairs.second`, sorted by distance.
    count : `int`
        Length N of the list.

    Returns
    -------
    pair : `numpy.ndarray`, (N,), int64
        Index into the pairs; -1 where the element has none.
    """
    pair = np.full(count, -1, dtype=np.int64)
    element, position = np.unique(index, return_index=True)
    pair[element] = position
    return pair


def mutual_nearest(pairs: Pairs, n_first: int, n_second: int) -> NDArray[np.bool_]:
    """Return which pairs are nearest to each other from both sides.

    Parameters
    ----------
    pairs : `Pairs`
        P pairs.
    n_first, n_second : `int`
        Lengths of the two lists.

    Returns
    -------
    mutual : `numpy.ndarray`, (P,), bool
        At most one true pair for any element of either list.
    """
    position = np.arange(len(pairs.first))
    nearest_of_first = nearest(pairs.first, n_first)[pairs.first]
    nearest_of_second = nearest(pairs.second, n_second)[pairs.second]
    return np.asarray((nearest_of_first == position) & (nearest_of_second == position))


def flux_consistent(
    measured: ArrayLike, error: ArrayLike, expected: ArrayLike, n_sigma: float, fraction: float
) -> NDArray[np.bool_]:
    """Tell where a measured flux can be that of a known source.

    Parameters
    ----------
    measured, error : array_like, (P,)
        Flux and its uncertainty, nJy.
    expected : array_like, (P,)
        True flux, nJy.
    n_sigma : `float`
        Uncertainties that noise may take it away.
    fraction : `float`
        Fraction of the true flux that a wrong PSF, a wrong calibration or a neighbour may take it away.

    Returns
    -------
    consistent : `numpy.ndarray`, (P,), bool
        ``|measured - expected| <= n_sigma * error + fraction * |expected|``; false where one is not finite,
        and false where the signs differ.
    """
    measured, expected = np.asarray(measured, dtype=float), np.asarray(expected, dtype=float)
    reach = n_sigma * np.asarray(error, dtype=float) + fraction * np.abs(expected)
    with np.errstate(invalid="ignore"):
        return np.asarray((np.abs(measured - expected) <= reach) & (measured * expected > 0))
