"""How strange a source is to a network: the out-of-distribution score, from its last hidden layer.

A distance of a row's features from those of rows that the network did not train on, given as the fraction of
such rows that are less far. Three distances can be chosen:

- ``mahalanobis``: to the nearer of the means of injected and unlabelled rows, with one covariance within the
  classes (Lee et al. 2018, arXiv:1807.03888), which is shrunk (Chen et al. 2010, arXiv:0907.4698).
- ``relative``: the same less the distance from the mean of all rows with the covariance of all (Ren et al.
  2021, arXiv:2106.09022); both squared.
- ``knn``: to the k-th nearest row of a bank, between features of unit length (Sun et al. 2022,
  arXiv:2204.06507).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ..errors import BadInputError
from ..seeding import generator
from .folds import TooFewExamplesError
from .prior import group_index

__all__ = ["METHODS", "OutlierModel", "fit_outliers"]

type F32 = NDArray[np.float32]
type F64 = NDArray[np.float64]
type Bool = NDArray[np.bool_]
type Statistics = Mapping[str, NDArray[np.floating]]

METHODS = ("mahalanobis", "relative", "knn")
"""Distances that can be chosen."""

_BANK_ROWS = 2000
_NEIGHBOUR = 10
_N_FOLDS = 5
_LEVELS = np.linspace(0.0, 0.99, 100)
_CHUNK = 1024  # rows of which distances to the bank are held at a time

_ARRAYS = {
    "mahalanobis": {"centre", "whitening", "means"},
    "relative": {"centre", "whitening", "means", "background"},
    "knn": {"bank"},
}
_REFERENCE = {"quantiles", "tail"}


@dataclasses.dataclass(frozen=True)
class OutlierModel:
    """What an out-of-distribution score needs.

    Parameters
    ----------
    statistics : `~collections.abc.Mapping` [`str`, `numpy.ndarray`]
        Arrays of float32. ``quantiles`` (100,) and ``tail`` (1,): distances of held-out rows below which 0 to
        99 % of them lie, and the median excess of the others. For ``mahalanobis``: ``centre`` (F,),
        ``whitening`` (F, F) and the class ``means`` (C, F), which are whitened; for ``relative`` also the
        whitening ``background`` (F, F) of all rows; for ``knn``: ``bank`` (M, F), of unit length.
    """

    statistics: Mapping[str, F32]

    def arrays(self) -> dict[str, F32]:
        """Return the arrays by name, as `from_arrays` takes them."""
        return dict(self.statistics)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, F32]) -> OutlierModel:
        """Make a model from what `arrays` returned.

        Parameters
        ----------
        arrays : `~collections.abc.Mapping` [`str`, `numpy.ndarray`]
            Arrays by name.

        Returns
        -------
        model : `OutlierModel`
            The same.

        Raises
        ------
        BadInputError
            If the arrays are not those of one of the distances.
        """
        if set(arrays) not in [names | _REFERENCE for names in _ARRAYS.values()]:
            raise BadInputError("outlier statistics", f"arrays of one of {METHODS}", str(sorted(arrays)))
        return cls(dict(arrays))

    def score(self, features: F32) -> F32:
        """Return how strange rows are.

        Parameters
        ----------
        features : `numpy.ndarray`, (N, F), float32
            Last hidden layer of the network that the model was fitted to.

        Returns
        -------
        score : `numpy.ndarray`, (N,), float32
            Fraction of held-out rows that are less strange, so that it is uniform in [0, 1] for more such
            rows. The last percent is a Pareto tail, so that rows that are stranger than all have an order
            too. NaN where a feature is.
        """
        distance = _distance(self.statistics, features)
        quantiles, tail = self.statistics["quantiles"], float(self.statistics["tail"][0])
        inside = np.interp(distance, quantiles, _LEVELS)
        excess = np.maximum(distance - quantiles[-1], 0.0)
        return np.asarray(
            np.where(excess > 0, 1.0 - (1.0 - _LEVELS[-1]) / (1.0 + excess / tail), inside), np.float32
        )


def fit_outliers(
    features: F32,
    injected: Bool,
    groups: NDArray[np.int64] | None = None,
    method: str = "mahalanobis",
    seed: int = 0,
) -> OutlierModel:
    """Learn what is not strange.

    Parameters
    ----------
    features : `numpy.ndarray`, (N, F), float32
        Last hidden layer, of rows that the network was not trained on.
    injected : `numpy.ndarray`, (N,), bool
        Whether a row is an injection; all others are unlabelled.
    groups : `numpy.ndarray`, (N,), int64, optional
        Sky cell of each row, which none of the fits and the rows that it is tried on share; rows are on their
        own by default, and where there are fewer than five cells.
    method : `str`, optional
        One of `METHODS`.
    seed : `int`, optional
        Seed of the five parts, and of the rows that are kept in the bank.

    Returns
    -------
    model : `OutlierModel`
        Fitted to all rows. The quantiles are of distances that each fifth of the rows has from a fit to the
        other four.

    Raises
    ------
    ValueError
        If the method is unknown, the lengths differ or a feature is not finite.
    TooFewExamplesError
        If there are fewer rows than five.
    """
    if method not in METHODS:
        raise ValueError(f"Unknown method {method!r}: choose one of {METHODS}.")
    if len(features) != len(injected) or not np.isfinite(features).all():
        raise ValueError("Features are finite, and as many rows as there are classes.")
    if len(features) < _N_FOLDS:
        raise TooFewExamplesError(
            f"{len(features)} held-out DIA sources; at least {_N_FOLDS} are needed to tell what is strange.",
            rows=len(features),
        )
    rng = generator(seed, "outliers")
    index, n_groups = group_index(groups, len(features))
    if n_groups < _N_FOLDS:
        index, n_groups = group_index(None, len(features))
    part = (rng.permutation(n_groups) % _N_FOLDS)[index]
    # As many as are there in every fifth, so that the bank is as dense there as in the end.
    n_bank = min(_BANK_ROWS, len(features) - int(np.bincount(part).max()))
    distance = np.empty(len(features))
    for k in range(_N_FOLDS):
        distance[part == k] = _distance(
            _fit(features[part != k], injected[part != k], method, n_bank, rng), features[part == k]
        )
    quantiles = np.quantile(distance, _LEVELS)
    tail = np.median(distance[distance >= quantiles[-1]]) - quantiles[-1]
    smallest = 1e-3 * max(float(np.ptp(quantiles)), 1e-6)
    reference = {"quantiles": quantiles, "tail": np.array([max(tail, smallest)])}
    statistics = {**_fit(features, injected, method, n_bank, rng), **reference}
    return OutlierModel({name: np.asarray(array, np.float32) for name, array in statistics.items()})


def _fit(features: F32, injected: Bool, method: str, n_bank: int, rng: np.random.Generator) -> Statistics:
    if method == "knn":
        chosen = np.sort(rng.permutation(len(features))[:n_bank])
        return {"bank": _unit(features[chosen])}
    x = features.astype(np.float64)
    centre = x.mean(axis=0)
    x -= centre
    classes = [rows for rows in (injected, ~injected) if rows.any()]
    means = np.stack([x[rows].mean(axis=0) for rows in classes])
    within = np.concatenate([x[rows] - mean for rows, mean in zip(classes, means, strict=True)])
    whitening = _whitening(within)
    statistics = {"centre": centre, "whitening": whitening, "means": means @ whitening}
    return statistics | {"background": _whitening(x)} if method == "relative" else statistics


def _whitening(centred: F64) -> F64:
    """Return W such that the length of x W is the Mahalanobis distance, with the covariance shrunk by OAS.

    Oracle approximating shrinkage (Chen et al. 2010, equation 23) mixes the covariance of n rows with one
    that is the same in all p directions; the little that is added is for features that never vary.
    """
    n, p = centred.shape
    covariance = centred.T @ centred / n
    trace, trace2 = float(np.trace(covariance)), float(np.sum(covariance**2))
    spread = (n + 1.0 - 2.0 / p) * (trace2 - trace**2 / p)
    rho = min(1.0, ((1.0 - 2.0 / p) * trace2 + trace**2) / spread) if spread > 0 else 1.0
    shrunk = (1.0 - rho) * covariance + (rho * trace / p + 1e-6 * trace / p + 1e-12) * np.eye(p)
    return np.asarray(np.linalg.inv(np.linalg.cholesky(shrunk)).T)


def _unit(features: F32) -> F32:
    length = np.linalg.norm(features, axis=1, keepdims=True)
    return np.asarray(features / np.maximum(length, np.float32(1e-12)), np.float32)


def _distance(statistics: Statistics, features: F32) -> F64:
    """Return the distance of each row, (N,); squared but for neighbours."""
    if "bank" in statistics:
        bank = np.asarray(statistics["bank"], np.float32)
        chunks = [features[i : i + _CHUNK] for i in range(0, len(features), _CHUNK)]
        return np.concatenate([_neighbour(bank, chunk) for chunk in chunks] or [np.empty(0)])
    centred = features - np.asarray(statistics["centre"], np.float32)
    white = centred @ np.asarray(statistics["whitening"], np.float32)
    means = np.asarray(statistics["means"], np.float32)
    distance = np.min([((white - mean) ** 2).sum(axis=1) for mean in means], axis=0)
    if "background" in statistics:
        distance = distance - ((centred @ np.asarray(statistics["background"], np.float32)) ** 2).sum(axis=1)
    return np.asarray(distance, np.float64)


def _neighbour(bank: F32, features: F32) -> F64:
    """Return the distance from the k-th nearest row of the bank: both have unit length."""
    similarity = _unit(features) @ bank.T
    k = min(_NEIGHBOUR, len(bank))
    nearest = -np.partition(-similarity, k - 1, axis=1)[:, k - 1]
    return np.sqrt(np.maximum(2.0 - 2.0 * nearest.astype(np.float64), 0.0))
