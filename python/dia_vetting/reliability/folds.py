"""Which rows train, select and test: split by sky cell, never by row, with a guard that sees to it."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from ..errors import ScienceError
from ..seeding import hash63
from ..skycells import sky_fold

__all__ = [
    "Split",
    "SplitLeakError",
    "TooFewExamplesError",
    "TooFewSkyCellsError",
    "check_disjoint",
    "fold_splits",
]

type I64 = NDArray[np.int64]


class TooFewSkyCellsError(ScienceError):
    """The training sources cover too little sky to be split into folds."""


class TooFewExamplesError(ScienceError):
    """Too few injected or too few unlabelled sources to train with."""


class SplitLeakError(ScienceError):
    """Sources of one sky group on both sides of a split."""


@dataclasses.dataclass(frozen=True)
class Split:
    """Row indices of one fold's three parts, which share no sky.

    Parameters
    ----------
    fold : `int`
        Number of the fold.
    train, validation, test : `numpy.ndarray`, int64
        Rows that are trained on, that select the model, and that it never sees.
    """

    fold: int
    train: I64
    validation: I64
    test: I64


def fold_splits(
    cells: I64,
    injected: NDArray[np.bool_],
    n_folds: int,
    seed: int,
    validation_fraction: float,
    min_examples: int,
) -> list[Split]:
    """Split rows into folds by sky cell.

    The fold of a cell is a hash of seed and cell (`~dia_vetting.skycells.sky_fold`). Of the cells outside the
    fold, some whole ones are set apart to select the model.

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
    """
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
        _check_examples(split, injected, min_examples)
        check_disjoint(split, cells)
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
