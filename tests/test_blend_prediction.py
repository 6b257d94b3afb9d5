"""Answers for stamps of any content: one per stamp, in order, and never a silent score."""

import dataclasses

import numpy as np
import pytest
from blend_samples import make_stamps, small_model
from dia_vetting.blends.flags import BlendFlag, unscored
from dia_vetting.blends.methods import BlendMethod, get_method
from dia_vetting.blends.model_io import BlendModel
from dia_vetting.blends.prediction import BlendPrediction, Calibration
from dia_vetting.blends.stamps import BlendStamps


def method(name: str) -> BlendMethod:
    return get_method(name, None if name.startswith("sextractor") else small_model(name))


def bad_stamps() -> BlendStamps:
    stamps, _ = make_stamps(8)
    images = stamps.images.copy()
    images[0] = np.nan
    images[1] = 0
    images[2] = 3
    images[3, :, :8] = np.nan
    images[4, 14:19, 14:19] = 65535
    images[5, 2, 2] = np.inf
    images[6] *= 1e30
    return dataclasses.replace(stamps, images=images)


@pytest.mark.parametrize("name", ["ours", "vgg16", "one_class", "siamese", "sextractor"])
def test_bad_stamps_are_flagged_rows(name: str) -> None:
    answer = method(name).predict(bad_stamps())
    assert len(answer) == 8
    without = unscored(answer.flags)
    assert without.tolist() == [True, True, True, False, False, False, False, False]
    np.testing.assert_array_equal(np.isnan(answer.p_blend), without)
    np.testing.assert_array_equal(np.isnan(answer.p_companion), without)
    assert (answer.flags[:7] != 0).tolist() == [True] * 7
    good = answer.p_blend[~without]
    assert ((good >= 0) & (good <= 1)).all()


@pytest.mark.parametrize("name", ["ours", "sextractor"])
def test_answers_are_in_the_order_of_the_stamps(name: str) -> None:
    stamps, _ = make_stamps(200, seed=2)
    answer = method(name).predict(stamps)
    order = np.random.default_rng(0).permutation(200)
    again = method(name).predict(stamps.where(order))
    np.testing.assert_allclose(again.p_blend, answer.p_blend[order], atol=1e-5)
    np.testing.assert_array_equal(again.n_sources, answer.n_sources[order])
    np.testing.assert_array_equal(again.flags, answer.flags[order])


@pytest.mark.parametrize("name", ["ours", "vgg16", "one_class", "siamese", "sextractor"])
@pytest.mark.parametrize("side", [25, 51, 128])
def test_any_size_within_the_range_has_answers(name: str, side: int) -> None:
    stamps, _ = make_stamps(6, size=max(side, 33))
    cut = slice((stamps.images.shape[1] - side) // 2, (stamps.images.shape[1] + side) // 2)
    answer = method(name).predict(dataclasses.replace(stamps, images=stamps.images[:, cut, cut]))
    assert np.isfinite(answer.p_blend).all()
    cropped = (answer.flags & BlendFlag.CROPPED) != 0
    assert cropped.all() == (side > 33 and name != "sextractor")


@pytest.mark.parametrize("side", [0, 24, 129])
def test_any_other_size_is_flagged_rows(side: int) -> None:
    ones = np.ones(3, np.float32)
    answer = method("ours").predict(BlendStamps(np.ones((3, side, side), np.float32), ones, ones))
    assert (answer.flags & BlendFlag.SIZE).all()
    assert np.isnan([answer.p_blend, answer.p_companion, answer.n_sources, answer.overlap_area]).all()


def test_no_stamps_have_no_answers() -> None:
    stamps, _ = make_stamps(3)
    for name in ("ours", "sextractor"):
        assert len(method(name).predict(stamps.where(slice(0)))) == 0


def test_psfs_far_from_those_trained_with_are_flagged() -> None:
    stamps, _ = make_stamps(4)
    psf = np.array([3.5, 3.6, 2.0, 9.0], np.float32)
    answer = method("ours").predict(dataclasses.replace(stamps, psf_fwhm=psf))
    assert ((answer.flags & BlendFlag.PSF_UNTRAINED) != 0).tolist() == [False, False, True, True]
    assert np.isfinite(answer.p_blend).all()


def test_a_network_without_an_answer_is_flagged() -> None:
    model = small_model()
    weights = dict(model.networks[0]) | {"kinds.bias": np.array([0, np.nan, 0], np.float32)}
    answer = get_method("ours", BlendModel(model.card, [weights])).predict(make_stamps(3)[0])
    assert (answer.flags & BlendFlag.NO_ANSWER).all()
    assert np.isnan(answer.p_blend).all()


def test_maps_of_stamps_of_other_sizes_are_at_their_place() -> None:
    stamps, _ = make_stamps(3, size=45)
    maps = method("ours").predict_maps(stamps)
    assert maps.source.shape == (3, 45, 45)
    assert np.isnan(maps.source[:, :6]).all()
    assert np.isfinite(maps.source[:, 6:39, 6:39]).all()
    small = dataclasses.replace(stamps, images=stamps.images[:, 9:36, 9:36])
    assert np.isfinite(method("ours").predict_maps(small).overlap).all()


def test_calibration_and_empty_rows() -> None:
    log_p = Calibration(2.0, 1.0).log_probabilities(np.array([[0.0, 0.5], [1.0, 1.0]]))
    np.testing.assert_allclose(np.exp(log_p[:, 1]), 1 / (1 + np.exp([-2.0, -1.0])))
    unknown = BlendPrediction.unknown(np.array([1, 2]))
    assert np.isnan(unknown.overlap_area).all()
    assert unknown.flags.tolist() == [1, 2]
