"""Which rows train, select and test: split by sky cell, never by row, with a guard that sees to it."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ..errors import ScienceError
from ..seeding import hash63
from ..skycells import sky_fold
from .matching import unit_vectors

__all__ = [
    "Split",
    "SplitLeakError",
    "TooFewExamplesError",
    "TooFewSkyCellsError",
    "check_disjoint",
    "check_separated",
    "check_unseen",
    "fold_splits",
]

_LOG = logging.getLogger(__name__)

type I64 = NDArray[np.int64]
type Positions = tuple[NDArray[np.float64], NDArray[np.float64]]

_ARCSEC = np.pi / 180.0 / 3600.0


class TooFewSkyCellsError(ScienceError):
    """The training sources cover too little sky to be split into folds."""


class TooFewExamplesError(ScienceError):
    """Too few injected or too few unlabelled sources to train with."""


class SplitLeakError(ScienceError):
    """Sources of one sky group, of one object or of one patch of the template on both sides of a split."""


@dataclasses.dataclass(frozen=True)
class Split:
    """Row indices of one fold's parts, which share no sky.

    Parameters
    ----------
    fold : `int`
        Number of the fold.
    train, validation, test : `numpy.ndarray`, int64
        Rows that are trained on, that select the model, and that it never sees.
    dropped : `numpy.ndarray`, int64, optional
        Rows outside the fold that are neither trained on nor select the model, since they share an object or
        a patch of the template with another part. They are test rows of another fold.
    """

    fold: int
    train: I64
    validation: I64
    test: I64
    dropped: I64 = dataclasses.field(default_factory=lambda: np.zeros(0, dtype=np.int64))


def fold_splits(
    cells: I64,
    injected: NDArray[np.bool_],
    n_folds: int,
    seed: int,
    validation_fraction: float,
    min_examples: int,
    positions: Positions | None = None,
    objects: Mapping[str, I64] | None = None,
    buffer_arcsec: float = 0.0,
) -> list[Split]:
    """Split rows into folds by sky cell.

    The fold of a cell is a hash of seed and cell (`~dia_vetting.skycells.sky_fold`). Of the cells outside the
    fold, some whole ones are set apart to select the model. Cells do not end where stamps do: rows of the
    training side that share an object with the test or the validation side, or come nearer to it than the
    buffer, are dropped, and so are rows of the validation side that do so with the test side. The guards
    `check_disjoint` and `check_separated` then see to it that nothing was missed.

    Parameters
    ----------
    cells : `numpy.ndarray`, (N,), int64
        Sky cell of each row.
    injected : `numpy.ndarray`, (N,), bool
        Whether a row is an injection; all others are unlabelled.
    n_folds : `int`
        Number of folds, at least 2.
    seed : `int`
        Seed of the hash.
    validation_fraction : `float`
        Fraction of the rows outside a fold that select the model, reached or just exceeded by whole cells.
    min_examples : `int`
        Smallest number of injected and of unlabelled rows to train a fold with; a tenth of it to validate.
    positions : `tuple` of `numpy.ndarray`, optional
        Right ascension and declination of each row, (N,) float64 each, ICRS, degrees.
    objects : `~collections.abc.Mapping`, optional
        Object of each row, (N,) int64, by what kind of object it is: ``diaObjectId``, ``injection_id``. Rows
        with 0 or less belong to none.
    buffer_arcsec : `float`, optional
        Distance below which two stamps show the same host and template: the side of a stamp, arcsec. Nothing
        is dropped for its distance at 0, or without positions.

    Returns
    -------
    splits : `list` of `Split`
        One per fold.

    Raises
    ------
    TooFewSkyCellsError
        If a fold would be empty, or nothing would be left to train with beside the validation.
    TooFewExamplesError
        If a fold's training or validation part has too few rows of a class.
    SplitLeakError
        If a part shares a cell, an object or a patch of the template with another; it would be a bug.
    """
    groups = {name: np.where(ids > 0, ids, -1) for name, ids in (objects or {}).items()}
    vectors = None if positions is None or buffer_arcsec <= 0 else unit_vectors(*positions)
    folds = sky_fold(cells, n_folds, seed)
    n_cells = len(np.unique(cells))
    if n_cells < n_folds or len(np.unique(folds)) < n_folds:
        raise TooFewSkyCellsError(
            f"The training sources lie in {n_cells} sky cells, which leaves one of {n_folds} folds "
            "empty: use fewer folds or a larger nside.",
            sky_cells=n_cells,
            folds=n_folds,
        )
    splits = []
    for fold in range(n_folds):
        others = np.flatnonzero(folds != fold)
        chosen = _validation_rows(
            cells[others], injected[others], validation_fraction, seed, min_examples // 10
        )
        split = Split(fold, others[~chosen], others[chosen], np.flatnonzero(folds == fold))
        split = _separate(split, groups, vectors, buffer_arcsec)
        _check_examples(split, injected, min_examples)
        check_disjoint(split, cells)
        for name, ids in groups.items():
            check_disjoint(split, ids, name)
        if positions is not None and buffer_arcsec > 0:
            check_separated(split, positions, buffer_arcsec)
        splits.append(split)
    return splits


def check_disjoint(split: Split, groups: I64, name: str = "sky cell") -> None:
    """Fail if a group stands on both sides of a split.

    Parameters
    ----------
    split : `Split`
        The three parts.
    groups : `numpy.ndarray`, (N,), int64
        Group of each row, a sky cell for example; negative ones belong to no group.
    name : `str`, optional
        What the groups are, for the message.

    Raises
    ------
    SplitLeakError
        If two of the three parts share a group.
    """
    parts = {"train": split.train, "validation": split.validation, "test": split.test}
    members = {part: np.unique(groups[rows]) for part, rows in parts.items()}
    for first, second in (("train", "test"), ("validation", "test"), ("train", "validation")):
        shared = np.intersect1d(members[first], members[second])
        shared = shared[shared >= 0]
        if shared.size:
            raise SplitLeakError(
                f"Fold {split.fold}: {shared.size} {name}s, {int(shared[0])} for one, stand on both "
                f"the {first} and the {second} side.",
                fold=split.fold,
                shared=int(shared.size),
            )


def check_separated(split: Split, positions: Positions, buffer_arcsec: float) -> None:
    """Fail if rows of two parts of a split are so near that their stamps show the same patch of the template.

    Parameters
    ----------
    split : `Split`
        The three parts.
    positions : `tuple` of `numpy.ndarray`
        Right ascension and declination of each row, (N,) float64 each, ICRS, degrees. Rows whose position is
        not finite are near to none.
    buffer_arcsec : `float`
        Smallest distance between two parts, arcsec.

    Raises
    ------
    SplitLeakError
        If two rows of two parts are nearer to each other.
    """
    vectors = unit_vectors(*positions)
    parts = {"train": split.train, "validation": split.validation, "test": split.test}
    for first, second in (("train", "test"), ("validation", "test"), ("train", "validation")):
        count = int(_near(vectors, parts[first], parts[second], buffer_arcsec).sum())
        if count:
            raise SplitLeakError(
                f"Fold {split.fold}: {count} rows of the {first} side lie within {buffer_arcsec:g} arcsec of "
                f"the {second} side: their stamps show the same patch of the template.",
                fold=split.fold,
                shared=count,
            )


def check_unseen(split: Split, cells: I64, trained_cells: I64) -> None:
    """Fail if a network that training starts from was itself trained on the fold's test sky.

    Parameters
    ----------
    split : `Split`
        The fold.
    cells : `numpy.ndarray`, (N,), int64
        Sky cell of each row, at the resolution of ``trained_cells``.
    trained_cells : `numpy.ndarray`, (M,), int64
        Sky cells that the network was trained on.

    Raises
    ------
    SplitLeakError
        If a test or a validation row lies in one of them.
    """
    for part, rows in (("test", split.test), ("validation", split.validation)):
        shared = np.intersect1d(cells[rows], trained_cells)
        if shared.size:
            raise SplitLeakError(
                f"Fold {split.fold}: {shared.size} sky cells of the {part} side, {int(shared[0])} for one, "
                "were trained on by the network that training starts from.",
                fold=split.fold,
                shared=int(shared.size),
            )


def _separate(
    split: Split, groups: Mapping[str, I64], vectors: NDArray[np.float64] | None, buffer_arcsec: float
) -> Split:
    """Drop rows that share an object or a patch of the template with a part that is to be kept whole."""

    def clear(rows: I64, others: I64) -> I64:
        near = np.zeros(len(rows), dtype=bool)
        for ids in groups.values():
            near |= np.isin(ids[rows], ids[others]) & (ids[rows] >= 0)
        if vectors is not None:
            near |= _near(vectors, rows, others, buffer_arcsec)
        return rows[~near]

    validation = clear(split.validation, split.test)
    train = clear(split.train, np.concatenate([validation, split.test]))
    dropped = np.setdiff1d(
        np.concatenate([split.train, split.validation]), np.concatenate([train, validation])
    )
    if len(dropped):
        _LOG.info(
            "Fold %d: %d of %d rows outside the fold are dropped, since they share objects or template.",
            split.fold,
            len(dropped),
            len(split.train) + len(split.validation),
        )
    return Split(split.fold, train, validation, split.test, dropped)


def _near(vectors: NDArray[np.float64], rows: I64, others: I64, radius: float) -> NDArray[np.bool_]:
    """Return which rows lie within a radius (arcsec) of any of the others."""
    near = np.zeros(len(rows), dtype=bool)
    finite = np.isfinite(vectors).all(axis=1)
    some, others = np.flatnonzero(finite[rows]), others[finite[others]]
    if len(some) and len(others):
        chord = 2.0 * np.sin(0.5 * radius * _ARCSEC)
        distance, _ = cKDTree(vectors[others]).query(
            vectors[rows[some]], distance_upper_bound=np.nextafter(chord, np.inf)
        )
        near[some] = np.isfinite(distance)
    return near


def _validation_rows(
    cells: I64, injected: NDArray[np.bool_], fraction: float, seed: int, min_examples: int
) -> NDArray[np.bool_]:
    """Take whole cells in the order of their hashes until there are enough rows of both classes."""
    unique, inverse = np.unique(cells, return_inverse=True)
    order = np.argsort([hash63(seed, "validation", int(cell)) for cell in unique], kind="stable")
    positives = np.cumsum(np.bincount(inverse, weights=injected, minlength=len(unique))[order])
    negatives = np.cumsum(np.bincount(inverse, weights=~injected, minlength=len(unique))[order])
    need = max(min_examples, 1)
    large = positives + negatives >= fraction * len(cells)
    enough = large & (positives >= need) & (negatives >= need)
    count = int(np.argmax(enough if enough.any() else large)) + 1
    return np.isin(inverse, order[:count])


def _check_examples(split: Split, injected: NDArray[np.bool_], min_examples: int) -> None:
    if not len(split.train):
        raise TooFewSkyCellsError(
            f"Fold {split.fold}: no sky cell is left to train with beside those that select the model.",
            fold=split.fold,
        )
    for part, rows, need in (
        ("train", split.train, min_examples),
        ("validate", split.validation, min_examples // 10),
    ):
        n_injected = int(injected[rows].sum())
        n_unlabelled = len(rows) - n_injected
        if min(n_injected, n_unlabelled) < max(need, 1):
            raise TooFewExamplesError(
                f"Fold {split.fold}: {n_injected} injected and {n_unlabelled} unlabelled DIA sources to "
                f"{part} with; at least {max(need, 1)} of each are needed.",
                fold=split.fold,
                injected=n_injected,
                unlabelled=n_unlabelled,
            )
