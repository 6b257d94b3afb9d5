"""Changes to training stamps."""

import dataclasses

import numpy as np
import torch
from blend_samples import make_stamps
from dia_vetting.blends.augmentation import Augmentation, augment
from dia_vetting.blends.training_rows import Batch, TrainingTensors, training_rows

NOTHING = Augmentation(dihedral=False, noise=0.0, edge=0.0, blind=0.0, psf_error=0.0)


def batch(count: int = 60) -> Batch:
    tensors = TrainingTensors(training_rows(*make_stamps(count)), torch.device("cpu"))
    return tensors.batch(np.arange(count))


def changed(**settings: object) -> tuple[Batch, Batch]:
    before = batch()
    after = augment(before, dataclasses.replace(NOTHING, **settings), torch.Generator().manual_seed(3))
    return before, after


def test_nothing_is_done_unless_asked() -> None:
    before, after = changed()
    assert torch.equal(after.pixels, before.pixels)
    assert torch.equal(after.psf_fwhm, before.psf_fwhm)
    assert torch.equal(after.targets.maps, before.targets.maps)


def test_stamps_and_maps_are_turned_alike() -> None:
    before, after = changed(dihedral=True)
    assert torch.equal(after.pixels.flatten(1).sort(1)[0], before.pixels.flatten(1).sort(1)[0])
    moved = [not torch.equal(a, b) for a, b in zip(after.pixels, before.pixels, strict=True)]
    assert 40 < sum(moved) < 60  # seven of eight
    sources = after.targets.maps[:, 0] > 0
    inside = torch.stack([p[0][s].mean() for p, s in zip(after.pixels, sources, strict=True)])
    same = torch.stack(
        [p[0][s].mean() for p, s in zip(before.pixels, before.targets.maps[:, 0] > 0, strict=True)]
    )
    torch.testing.assert_close(inside, same)


def test_added_noise_keeps_the_unit_and_takes_the_maps_out() -> None:
    before, after = changed(noise=1.0)
    corner = after.pixels[:, 0, :6, :6]
    assert abs(float(corner.std()) - 1) < 0.1
    assert (after.pixels.amax((1, 2, 3)) < before.pixels.amax((1, 2, 3)) + 3).all()
    assert after.pixels.amax((1, 2, 3)).median() < 0.9 * before.pixels.amax((1, 2, 3)).median()
    assert (after.pixels.amax((1, 2, 3)) > 2).all()
    assert after.targets.map_weight.sum() == 0
    assert torch.equal(after.targets.kind, before.targets.kind)


def test_lost_edges_have_no_source_in_them() -> None:
    before, after = changed(edge=1.0)
    lost = after.valid == 0
    assert 0.1 < lost.float().mean() < 0.6
    assert (after.pixels[lost] == 0).all()
    assert (after.targets.map_weight[lost[:, 0]] == 0).all()
    place = before.reach.round().long()
    rows = torch.arange(len(place))
    for x, y in ((0, 2), (0, 3), (1, 2), (1, 3)):
        assert (after.valid[rows, 0, place[:, y], place[:, x]] == 1).all()


def test_psfs_are_unknown_or_in_error() -> None:
    _, after = changed(blind=0.5, psf_error=0.1)
    known = torch.isfinite(after.psf_fwhm)
    assert 15 < int(known.sum()) < 45
    error = torch.log(after.psf_fwhm[known] / 3.5)
    assert 0.05 < float(error.std()) < 0.15


def test_the_same_seed_gives_the_same_stamps() -> None:
    first, second = (augment(batch(), Augmentation(), torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(first.pixels, second.pixels)
    assert torch.equal(first.psf_fwhm.nan_to_num(), second.psf_fwhm.nan_to_num())
