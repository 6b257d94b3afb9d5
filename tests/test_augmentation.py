"""Augmentation: what it may change, what it must not, and how often."""

import dataclasses

import numpy as np
import pytest
import torch
from dia_vetting.reliability.augmentation import Augmentation, augment, hide, rearrange

OFF = Augmentation(**dict.fromkeys((field.name for field in dataclasses.fields(Augmentation)), 0.0))
SIZE = 30


def _batch(n=2000, size=SIZE):
    rng = np.random.default_rng(1)
    stamps = torch.from_numpy(rng.normal(5, 1, (n, 5, size, size)).astype(np.float32))
    stamps[:, 3:] = 1
    return stamps, torch.ones(n, 3)


def _only(**changes):
    stamps, metadata = _batch()
    return stamps, *augment(
        stamps.clone(), metadata, dataclasses.replace(OFF, **changes), np.random.default_rng(2)
    )


def _about(fraction, expected, n=2000):
    assert abs(fraction - expected) < 5 * np.sqrt(expected * (1 - expected) / n)


def test_off_means_untouched():
    stamps, changed, metadata = _only()
    assert torch.equal(stamps, changed)
    assert (metadata == 1).all()


def test_inputs_are_not_changed():
    stamps, metadata = _batch(64)
    before = stamps.clone()
    augment(stamps, metadata, Augmentation(), np.random.default_rng(1))
    assert torch.equal(stamps, before)
    assert (metadata == 1).all()


def test_the_generator_decides():
    stamps, metadata = _batch(64)
    first, again, other = (
        augment(stamps, metadata, Augmentation(), np.random.default_rng(seed)) for seed in (3, 3, 4)
    )
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])


def test_dihedral_is_the_symmetry_group_of_the_square():
    stamp = torch.arange(9.0).reshape(1, 1, 3, 3)
    images = rearrange(stamp.repeat(8, 1, 1, 1), np.arange(8), np.zeros((8, 2), dtype=int))
    assert len({tuple(image.flatten().tolist()) for image in images}) == 8
    assert (images[:, 0, 1, 1] == 4).all()
    assert torch.equal(images[0], stamp[0])
    assert torch.equal(images[4, 0], torch.fliplr(stamp[0, 0]))
    assert torch.equal(images.sum(dim=(1, 2, 3)), torch.full((8,), 36.0))


def test_all_eight_turns_are_alike():
    stamps, changed, _ = _only(dihedral=1.0)
    same = (changed == stamps).all(dim=(1, 2, 3)).numpy()
    _about(same.mean(), 1 / 8)


def test_flags_are_emptied_and_nothing_else():
    stamps, changed, _ = _only(unflagged=0.3)
    assert torch.equal(stamps[:, :4], changed[:, :4])
    emptied = (changed[:, 4] == 0).all(dim=(1, 2)).numpy()
    assert ((changed[:, 4] == 1).all(dim=(1, 2)).numpy() | emptied).all()
    _about(emptied.mean(), 0.3)


@pytest.mark.parametrize("size", [21, 30, 51])
@pytest.mark.parametrize("kind", ["edge", "hole"])
def test_hidden_pixels_are_those_of_a_measurement_that_failed(kind, size):
    stamps, metadata = _batch(600, size)
    changed, _ = augment(stamps, metadata, dataclasses.replace(OFF, **{kind: 1.0}), np.random.default_rng(5))
    valid = changed[:, 3] == 1
    assert torch.equal(
        changed[:, :3][valid[:, None].expand(-1, 3, -1, -1)],
        stamps[:, :3][valid[:, None].expand(-1, 3, -1, -1)],
    )
    assert (changed[~valid[:, None].expand(-1, 5, -1, -1)] == 0).all()
    centre = slice((size - 1) // 2 - 1, size // 2 + 2)
    assert valid[:, centre, centre].all()
    lost = 1 - valid.float().mean(dim=(1, 2)).numpy()
    assert lost.mean() > 0.03
    assert lost.max() < (0.5 if kind == "edge" else 0.21)


def test_an_edge_is_straight():
    _, changed, _ = _only(edge=1.0)
    lost = (changed[:, 3] == 0).numpy()
    y, x = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    for stamp in lost[:200]:
        if stamp.any():
            direction = np.array([y[stamp].mean(), x[stamp].mean()])
            along = direction[0] * y + direction[1] * x
            # The mean of what is lost is not quite normal to the line: allow two pixels.
            assert along[stamp].min() > along[~stamp].max() - 12 * np.hypot(*direction)
    straight = (lost.all(axis=1) | ~lost.any(axis=1)).all(axis=1) | (
        lost.all(axis=2) | ~lost.any(axis=2)
    ).all(axis=1)
    assert 0.45 < straight.mean() < 0.65


def test_how_often_stamps_lose_pixels():
    for kind in ("edge", "hole"):
        _, changed, _ = _only(**{kind: 0.1})
        share = (changed[:, 3] == 0).any(dim=(1, 2)).numpy().mean()
        assert 0.07 < share < 0.13


def test_shift():
    stamps = torch.arange(1.0, 10.0).reshape(1, 1, 3, 3).repeat(3, 1, 1, 1)
    moved = rearrange(stamps, np.zeros(3, dtype=int), np.array([[0, 0], [1, 0], [0, -1]]))
    assert torch.equal(moved[0], stamps[0])
    assert moved[1, 0].tolist() == [[0, 0, 0], [1, 2, 3], [4, 5, 6]]
    assert moved[2, 0].tolist() == [[2, 3, 0], [5, 6, 0], [8, 9, 0]]
    both = rearrange(stamps, np.array([0, 1, 4]), np.array([[-1, 1]] * 3))
    assert both[0, 0].tolist() == [[0, 4, 5], [0, 7, 8], [0, 0, 0]]
    assert both[1, 0].tolist() == [[0, 2, 5], [0, 1, 4], [0, 0, 0]]
    assert both[2, 0].tolist() == [[0, 6, 5], [0, 9, 8], [0, 0, 0]]


def test_how_often_stamps_are_shifted():
    stamps, changed, _ = _only(shift=0.2)
    share = (changed != stamps).any(dim=(1, 2, 3)).numpy().mean()
    _about(share, 0.2 * 8 / 9)


def test_numbers_are_unknown_independently():
    _, _, metadata = _only(blind=0.2)
    unknown = (metadata == 0).numpy()
    for column in unknown.T:
        _about(column.mean(), 0.2)
    _about(unknown.all(axis=1).mean(), 0.2**3)


def test_the_centre_cannot_be_hidden():
    stamps, _ = _batch(2, 21)
    changed = hide(stamps, np.ones((2, 21, 21), dtype=bool))
    assert (changed[:, 3].sum(dim=(1, 2)) == 9).all()
    assert (changed[:, 3, 9:12, 9:12] == 1).all()


@pytest.mark.parametrize("value", [-0.1, 1.1, "often", None])
def test_a_probability_out_of_range(value):
    with pytest.raises(ValueError, match="edge must be a probability"):
        Augmentation(edge=value)
