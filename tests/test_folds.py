"""Splits by sky cell."""

import numpy as np
import pytest
from dia_vetting.reliability.folds import (
    Split,
    SplitLeakError,
    TooFewExamplesError,
    TooFewSkyCellsError,
    check_disjoint,
    check_separated,
    check_unseen,
    fold_splits,
)
from dia_vetting.skycells import sky_fold


@pytest.fixture
def rows():
    rng = np.random.default_rng(1)
    return rng.integers(1000, 1040, 3000), rng.random(3000) < 0.2


def _splits(cells, injected, **changes):
    settings = {"n_folds": 4, "seed": 5, "validation_fraction": 0.15, "min_examples": 50} | changes
    return fold_splits(cells, injected, **settings)


def test_no_cell_is_shared_and_each_row_is_tested_once(rows):
    cells, injected = rows
    splits = _splits(cells, injected)
    for split in splits:
        parts = [set(cells[part]) for part in (split.train, split.validation, split.test)]
        assert len(set.union(*parts)) == sum(len(part) for part in parts)
        everything = np.concatenate([split.train, split.validation, split.test])
        np.testing.assert_array_equal(np.sort(everything), np.arange(len(cells)))
        assert 0.15 <= len(split.validation) / (len(split.train) + len(split.validation)) < 0.25
        np.testing.assert_array_equal(sky_fold(cells[split.test], 4, 5), split.fold)
    np.testing.assert_array_equal(np.sort(np.concatenate([s.test for s in splits])), np.arange(len(cells)))


def test_splits_do_not_depend_on_the_order_of_rows(rows):
    cells, injected = rows
    order = np.random.default_rng(2).permutation(len(cells))
    for split, again in zip(_splits(cells, injected), _splits(cells[order], injected[order]), strict=True):
        assert set(order[again.train]) == set(split.train)
        assert set(order[again.validation]) == set(split.validation)


def test_another_seed_is_another_split(rows):
    first, second = (_splits(*rows, seed=seed)[0] for seed in (1, 2))
    assert set(first.test) != set(second.test)


def test_validation_waits_for_both_classes():
    cells = np.repeat(np.arange(40), 50)
    injected = np.zeros(len(cells), dtype=bool)
    injected[:1000:5] = True  # in half of the cells only
    for split in _splits(cells, injected, validation_fraction=0.01):
        assert injected[split.validation].sum() >= 5
        assert (~injected[split.validation]).sum() >= 5


def test_too_little_sky(rows):
    _, injected = rows
    with pytest.raises(TooFewSkyCellsError, match="3 sky cells") as caught:
        _splits(np.arange(3000) % 3, injected)
    assert caught.value.metadata == {"sky_cells": 3, "folds": 4}


def test_one_cell_left_to_train_and_validate():
    seed = next(s for s in range(99) if len(set(sky_fold(np.array([1, 2]), 2, s))) == 2)
    cells = np.repeat([1, 2], 500)
    with pytest.raises(TooFewSkyCellsError, match="no sky cell is left"):
        _splits(cells, np.arange(1000) % 2 == 0, n_folds=2, seed=seed)


def test_too_few_of_a_class(rows):
    cells, injected = rows
    few = injected.copy()
    few[np.flatnonzero(few)[40:]] = False
    with pytest.raises(TooFewExamplesError, match=r"injected and .* at least 50 of each"):
        _splits(cells, few)
    with pytest.raises(TooFewExamplesError, match="0 unlabelled"):
        _splits(cells, np.ones_like(injected))


@pytest.mark.parametrize("part", ["train", "validation"])
def test_the_guard_sees_a_leak(rows, part):
    cells, injected = rows
    split = _splits(cells, injected)[2]
    check_disjoint(split, cells)
    parts = {"train": split.train, "validation": split.validation, "test": split.test}
    parts[part] = np.append(parts[part], split.test[0])
    with pytest.raises(
        SplitLeakError, match=f"1 sky cells, {cells[split.test[0]]} .* the {part} and the test"
    ):
        check_disjoint(Split(2, **parts), cells)


def test_rows_without_a_group_do_not_leak():
    split = Split(0, np.array([0]), np.array([1]), np.array([2]))
    check_disjoint(split, np.array([-1, -1, -1]), "object")
    with pytest.raises(SplitLeakError, match="objects, 7 "):
        check_disjoint(split, np.array([7, -1, 7]), "object")


def _patchwork(seed=3, n=3000):
    """Return rows on a square of sky with cells of an arcminute, objects of several rows, and labels."""
    rng = np.random.default_rng(seed)
    centre = rng.uniform(0, 8, (2, n // 3))
    offset = rng.normal(0, 0.3 / 60, (2, n // 3, 3))
    x, y = (centre[:, :, None] + offset).reshape(2, n)
    objects = np.repeat(np.arange(1, n // 3 + 1), 3)
    objects[rng.random(n) < 0.3] = 0
    cells = np.floor(y).astype(int) * 100 + np.floor(x).astype(int) + 1000
    return (150 + x / 60, y / 60), cells, objects, rng.random(n) < 0.3


def _distance(positions, first, second):
    """Return the distance of each of the first to the nearest of the second, arcsec, by brute force."""
    ra, dec = positions
    dx = (ra[first, None] - ra[None, second]) * np.cos(np.deg2rad(dec[first, None]))
    return np.hypot(dx, dec[first, None] - dec[None, second]).min(axis=1) * 3600


def test_no_object_and_no_patch_of_the_template_is_shared():
    positions, cells, objects, injected = _patchwork()
    splits = _splits(cells, injected, positions=positions, objects={"object": objects}, buffer_arcsec=6.0)
    for split in splits:
        everything = np.concatenate([split.train, split.validation, split.test, split.dropped])
        np.testing.assert_array_equal(np.sort(everything), np.arange(len(cells)))
        kept_away = np.concatenate([split.validation, split.test])
        assert _distance(positions, split.train, kept_away).min() > 6.0
        assert _distance(positions, split.validation, split.test).min() > 6.0
        assert not set(objects[split.train]) & set(objects[kept_away]) - {0}
        assert 10 < len(split.dropped) < 0.4 * len(cells)
    np.testing.assert_array_equal(np.sort(np.concatenate([s.test for s in splits])), np.arange(len(cells)))


def test_nothing_far_away_is_dropped():
    positions, cells, objects, injected = _patchwork()
    for split in _splits(cells, injected, positions=positions, buffer_arcsec=6.0):
        kept = np.concatenate([split.train, split.validation, split.test])
        assert (_distance(positions, split.dropped, kept) <= 6.0).all()
    for split in _splits(cells, injected, objects={"object": objects}):
        assert (objects[split.dropped] > 0).all()
    assert not any(len(split.dropped) for split in _splits(cells, injected, positions=positions))


@pytest.mark.parametrize("part", ["train", "validation"])
def test_the_guard_sees_a_shared_patch_of_the_template(part):
    positions, cells, _, injected = _patchwork()
    split = _splits(cells, injected, positions=positions, buffer_arcsec=6.0)[1]
    check_separated(split, positions, 6.0)
    planted = positions[0].copy(), positions[1].copy()
    row = getattr(split, part)[0]
    planted[0][row], planted[1][row] = planted[0][split.test[7]], planted[1][split.test[7]] + 5.9 / 3600
    with pytest.raises(SplitLeakError, match=f"of the {part} side lie within 6 arcsec of the test side"):
        check_separated(split, planted, 6.0)
    planted[1][row] = np.nan
    check_separated(split, planted, 6.0)


def test_a_start_that_knows_the_test_sky_is_a_leak(rows):
    cells, injected = rows
    split = _splits(cells, injected)[0]
    check_unseen(split, cells, np.unique(cells[split.train]))
    for part in ("test", "validation"):
        with pytest.raises(SplitLeakError, match=f"1 sky cells of the {part} side"):
            check_unseen(split, cells, np.append(cells[split.train], cells[getattr(split, part)[0]]))
