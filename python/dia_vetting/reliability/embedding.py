"""Sources on a plane by what a network sees in them, and which others look most like each.

The map is UMAP (McInnes, Healy & Melville 2018, arXiv:1802.03426) of the last hidden layer of one network, so
that the distance of two sources means the same all over it. It is for looking: distances between clusters,
and their sizes, mean little, and nothing is computed from it. Neighbours are those in the features
themselves, not on the map.
"""

from __future__ import annotations

import dataclasses
import warnings

import numpy as np
from numpy.typing import NDArray

from ..extras import optional_import
from ..seeding import generator, hash63

__all__ = ["MIN_ROWS", "Embedding", "EmbeddingSettings", "embed_features", "standardise"]

type F32 = NDArray[np.float32]

MIN_ROWS = 10
"""With fewer rows there is no map."""

_EPOCHS = 200
"""What UMAP takes for more than 10,000 rows; its 500 for fewer change little."""
_PLACED_BY = 3


@dataclasses.dataclass(frozen=True)
class EmbeddingSettings:
    """How to make a map.

    Parameters
    ----------
    n_neighbours : `int`
        Rows that a row is held to by UMAP: more of them show more of the whole and less of its parts.
    min_dist : `float`
        Least distance of points on the map, in its units.
    max_fitted : `int`
        The map is fitted to a random draw of no more rows than this; each of the others is put between the
        three of these that are nearest to it.
    kept : `int`
        Nearest rows K that are kept of each row.
    seed : `int`
        Seed of the draw and of UMAP.
    """

    n_neighbours: int = 15
    min_dist: float = 0.1
    max_fitted: int = 20_000
    kept: int = 8
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class Embedding:
    """A map of N rows.

    Parameters
    ----------
    position : `numpy.ndarray`, (N, 2), float32
        On the map, in its own units.
    fitted : `numpy.ndarray`, (N,), bool
        Whether the map was fitted to the row.
    neighbours : `numpy.ndarray`, (N, K), int64
        Rows nearest in the features, of those that the map was fitted to, nearest first; -1 where there are
        fewer.
    distances : `numpy.ndarray`, (N, K), float32
        Their Euclidean distances, in standard deviations of a feature; NaN where there are fewer.
    """

    position: F32
    fitted: NDArray[np.bool_]
    neighbours: NDArray[np.int64]
    distances: F32


def standardise(features: F32) -> F32:
    """Give every feature mean 0 and standard deviation 1; those that never vary are left out.

    Parameters
    ----------
    features : `numpy.ndarray`, (N, F), float32
        Finite.

    Returns
    -------
    standardised : `numpy.ndarray`, (N, G), float32
        G <= F.
    """
    spread = features.std(axis=0, dtype=np.float64)
    varies = spread > 1e-6 * max(float(spread.max(initial=0.0)), 1e-12)
    centred = features[:, varies] - features[:, varies].mean(axis=0, dtype=np.float64)
    return np.ascontiguousarray(centred / spread[varies], dtype=np.float32)


def embed_features(features: F32, settings: EmbeddingSettings) -> Embedding:
    """Make a map of rows, and find the nearest ones of each.

    Parameters
    ----------
    features : `numpy.ndarray`, (N, F), float32
        Last hidden layer of one network; finite.
    settings : `EmbeddingSettings`
        How.

    Returns
    -------
    embedding : `Embedding`
        The same for the same features, settings, machine and package versions.

    Raises
    ------
    ValueError
        If there are fewer rows than `MIN_ROWS`, or a feature is not finite.
    MissingPackageError
        If umap-learn is not installed.
    """
    if len(features) < MIN_ROWS or not np.isfinite(features).all():
        raise ValueError(f"A map needs at least {MIN_ROWS} rows of finite features.")
    points = standardise(features)
    fitted = np.zeros(len(points), dtype=bool)
    chosen = generator(settings.seed, "embedding").permutation(len(points))[: settings.max_fitted]
    fitted[chosen] = True
    wanted = min(max(settings.n_neighbours, settings.kept), int(fitted.sum()) - 1)
    rows, distances = _nearest(points, fitted, wanted)
    position = np.empty((len(points), 2), dtype=np.float32)
    position[fitted] = _fit(points[fitted], _among(rows[fitted], fitted), distances[fitted], settings)
    others = ~fitted
    position[others] = _place(position, rows[others], distances[others])
    return Embedding(position, fitted, *_padded(rows, distances, settings.kept))


def _nearest(points: F32, fitted: NDArray[np.bool_], wanted: int) -> tuple[NDArray[np.int64], F32]:
    """Return the nearest fitted rows (N, K) that are not the row itself, and their distances."""
    where = np.flatnonzero(fitted)
    search = optional_import("sklearn.neighbors", "embedding").NearestNeighbors(algorithm="brute")
    search.fit(points[where])
    rows = np.empty((len(points), wanted), dtype=np.int64)
    distances = np.empty((len(points), wanted), dtype=np.float32)
    # Asked for no points, sklearn leaves out the row itself.
    apart, found = search.kneighbors(n_neighbors=wanted)
    rows[where], distances[where] = where[found], apart
    others = np.flatnonzero(~fitted)
    if len(others):
        apart, found = search.kneighbors(points[others], n_neighbors=wanted)
        rows[others], distances[others] = where[found], apart
    return rows, distances


def _among(rows: NDArray[np.int64], chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return indices of rows as indices of the chosen ones alone."""
    return (np.cumsum(chosen) - 1)[rows]


def _fit(points: F32, rows: NDArray[np.int64], distances: F32, settings: EmbeddingSettings) -> F32:
    """Return the position (M, 2) of the M rows that the map is made of."""
    count = min(settings.n_neighbours, rows.shape[1] + 1)
    own = np.arange(len(points))[:, None]  # UMAP counts a row among its neighbours
    found = np.concatenate([own, rows], axis=1)[:, :count]
    apart = np.concatenate([np.zeros_like(distances[:, :1]), distances], axis=1)[:, :count]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that tensorflow is not there, and that no row can be added
        reducer = optional_import("umap", "embedding").UMAP(
            n_neighbors=count,
            min_dist=settings.min_dist,
            n_epochs=_EPOCHS,
            random_state=hash63(settings.seed, "umap") % 2**31,
            n_jobs=1,
            precomputed_knn=(found, apart, None),
            force_approximation_algorithm=True,
        )
        return np.asarray(reducer.fit_transform(points), np.float32)


def _place(position: F32, rows: NDArray[np.int64], distances: F32) -> F32:
    """Return the mean position of the rows nearest to others, weighted by the inverse of their distance."""
    weight = 1.0 / np.maximum(distances[:, :_PLACED_BY], 1e-6)
    weight /= weight.sum(axis=1, keepdims=True)
    return np.asarray((position[rows[:, :_PLACED_BY]] * weight[:, :, None]).sum(axis=1), np.float32)


def _padded(rows: NDArray[np.int64], distances: F32, kept: int) -> tuple[NDArray[np.int64], F32]:
    missing = ((0, 0), (0, max(kept - rows.shape[1], 0)))
    return (
        np.pad(rows[:, :kept], missing, constant_values=-1),
        np.pad(distances[:, :kept], missing, constant_values=np.nan),
    )
