"""Which training rows shape a model most, and whose labels it doubts: two opinions that need no truth.

*Self-influence* is how much training on a row changes the loss of that same row (TracIn; Pruthi et al. 2020,
arXiv:2002.08484): the squared norm of the gradient of its loss, summed over checkpoints of the training. Rows
with a wrong label are hard to fit and have a large one. The networks of a cross-fitted model are such
checkpoints: one that never saw a row stands for the first time that training meets it, one that trained on it
for the last. The last alone will not do: networks that learnt rows by heart find nothing wrong with them.

*Label quality* is confident learning's view (Northcutt et al. 2021, arXiv:1911.00068; the package cleanlab):
how much a row's label agrees with what networks say that did not train on it. For the same reason the scores
must be out of fold.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray
from scipy.special import expit

from ..extras import optional_import
from .inputs import NetworkInputs
from .networks.base import TripletNetwork
from .schemas import RELIABILITY_INFLUENCE
from .scoring import predict_features

__all__ = ["influence_table", "label_quality", "self_influence", "trained_on", "training_influence"]

type F64 = NDArray[np.float64]
type Bool = NDArray[np.bool_]

_CHUNK = 8192
"""Rows whose features are in memory at a time."""


def trained_on(rows: Iterable[NDArray[np.integer]], count: int) -> Bool:
    """Return which network trained on which row.

    Parameters
    ----------
    rows : `~collections.abc.Iterable` of `numpy.ndarray`
        For each of K networks the rows it trained on (`~.folds.Split.train`).
    count : `int`
        Number of rows N.

    Returns
    -------
    trained : `numpy.ndarray`, (K, N), bool
        Whether it did.
    """
    return np.stack([np.isin(np.arange(count), part) for part in rows])


def self_influence(
    logits: NDArray[np.floating], squared_norms: NDArray[np.floating], injected: Bool, trained: Bool
) -> F64:
    """Return the self-influence of each row, as far as the last linear layer goes.

    For the cross-entropy of a logit z = w f + b with label y, the gradient with respect to w and b is
    (sigmoid(z) - y) (f, 1), whose squared norm is ``(sigmoid(z) - y)**2 * (|f|**2 + 1)``: TracInCP of a row
    with itself (Pruthi et al. 2020, arXiv:2002.08484). The weight of a row's class in the loss is left out,
    so that rows of both classes compare.

    Parameters
    ----------
    logits : `numpy.ndarray`, (K, N)
        From K networks.
    squared_norms : `numpy.ndarray`, (K, N)
        |f|^2, the sum of the squared features of each network's last hidden layer.
    injected : `numpy.ndarray`, (N,), bool
        Label: injected or else unlabelled.
    trained : `numpy.ndarray`, (K, N), bool
        Whether the network trained on the row.

    Returns
    -------
    influence : `numpy.ndarray`, (N,), float64
        Mean of two means: over the networks that trained on the row, and over those that did not.
    """
    residual = expit(np.asarray(logits, dtype=float)) - injected
    each = residual**2 * (squared_norms + 1.0)
    parts = [_mean(each, trained), _mean(each, ~trained)]
    return _mean(np.stack(parts), np.isfinite(parts))


def _mean(values: F64, chosen: Bool) -> F64:
    """Return the mean of the chosen values of each column (K, N), NaN where there are none."""
    count = chosen.sum(axis=0)
    total = np.where(chosen, values, 0.0).sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def training_influence(
    networks: Sequence[TripletNetwork], inputs: NetworkInputs, injected: Bool, trained: Bool
) -> F64:
    """Return the self-influence of training rows (see `self_influence`).

    Parameters
    ----------
    networks : `~collections.abc.Sequence` of `~.networks.TripletNetwork`
        K trained networks, from `~.scoring.load_networks`.
    inputs : `~.inputs.NetworkInputs`
        N training rows.
    injected : `numpy.ndarray`, (N,), bool
        Their labels.
    trained : `numpy.ndarray`, (K, N), bool
        Which network trained on which row (`trained_on`).

    Returns
    -------
    influence : `numpy.ndarray`, (N,), float64
        One per row.
    """
    influence = np.empty(len(inputs))
    for start in range(0, len(inputs), _CHUNK):
        rows = slice(start, start + _CHUNK)
        logits, features = predict_features(networks, inputs[rows])
        norms = np.square(features, dtype=np.float64).sum(axis=2)
        influence[rows] = self_influence(logits, norms, injected[rows], trained[:, rows])
    return influence


def label_quality(scores: NDArray[np.floating], injected: Bool) -> tuple[F64, Bool]:
    """Return how far each label can be trusted, by confident learning.

    Parameters
    ----------
    scores : `numpy.ndarray`, (N,)
        Out-of-fold probabilities of *injected* at equal weights of the classes (sigmoid of the mean logit).
    injected : `numpy.ndarray`, (N,), bool
        Labels; both must occur.

    Returns
    -------
    quality : `numpy.ndarray`, (N,), float64
        Self-confidence in [0, 1] after the mean confidence of the class is taken off; low is doubtful.
    doubted : `numpy.ndarray`, (N,), bool
        Labels that would be thrown out: as many as the estimated noise rates say, the least trusted first.

    Raises
    ------
    MissingPackageError
        If cleanlab is not installed.
    """
    rank, filters = (optional_import(f"cleanlab.{name}", "influence") for name in ("rank", "filter"))
    labels = injected.astype(int)
    positive = np.asarray(scores, dtype=float)
    probabilities = np.stack([1.0 - positive, positive], axis=1)
    quality = rank.get_label_quality_scores(labels, probabilities, adjust_pred_probs=True)
    doubted = filters.find_label_issues(labels, probabilities, n_jobs=1)
    return np.asarray(quality, dtype=float), np.asarray(doubted, dtype=bool)


def influence_table(
    sources: Table,
    injected: Bool,
    influence: F64,
    scores: NDArray[np.floating],
    reliability: NDArray[np.floating],
    meta: Mapping[str, Any] | None = None,
) -> Table:
    """Rank training rows by both opinions.

    Parameters
    ----------
    sources : `astropy.table.Table`
        N training rows with the columns diaSourceId, visit, detector, band, ra, dec, snr and state of
        `~.schemas.DIA_SOURCE_LABEL`.
    injected : `numpy.ndarray`, (N,), bool
        Labels that were trained with.
    influence : `numpy.ndarray`, (N,)
        From `training_influence`.
    scores : `numpy.ndarray`, (N,)
        Out-of-fold probabilities of *injected* at equal weights of the classes; NaN where there is none.
    reliability : `numpy.ndarray`, (N,)
        Out-of-fold reliability, as it is published.
    meta : `~collections.abc.Mapping`, optional
        Table metadata.

    Returns
    -------
    table : `astropy.table.Table`
        In the schema `~.schemas.RELIABILITY_INFLUENCE`, rows as in ``sources``.

    Raises
    ------
    MissingPackageError
        If cleanlab is not installed.
    """
    quality, doubted = np.full(len(sources), np.nan), np.zeros(len(sources), dtype=bool)
    known = np.isfinite(scores)
    quality[known], doubted[known] = label_quality(scores[known], injected[known])
    own = {
        "self_influence": influence,
        "influence_rank": _ranks(influence),
        "label_quality": quality,
        "quality_rank": _ranks(-quality),
        "doubted": doubted,
        "reliability": reliability,
    }
    kept = {name: sources[name] for name in RELIABILITY_INFLUENCE.names() if name not in own}
    return RELIABILITY_INFLUENCE.build(kept | own, meta)


def _ranks(values: F64) -> NDArray[np.int64]:
    """Return the place of each value, 1 for the largest; 0 for NaN, the earlier row first among equals."""
    order = np.argsort(-values, kind="stable")
    ranks = np.empty(len(values), dtype=np.int64)
    ranks[order] = np.arange(1, len(values) + 1)
    return np.where(np.isnan(values), 0, ranks)
