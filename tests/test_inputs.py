"""Cutouts as network inputs."""

import numpy as np
import pytest
from dia_vetting.errors import TableSchemaError
from dia_vetting.masks import MaskBit
from dia_vetting.reliability.inputs import (
    CHANNELS,
    InjectionLeakError,
    StampSizeError,
    network_inputs,
    unscorable_reasons,
)
from reliability_samples import NOISE, make_cutouts

SCIENCE, TEMPLATE, DIFFERENCE, VALID, FLAGGED = range(5)


@pytest.fixture
def cutouts():
    return make_cutouts(20, seed=3)[0]


def test_channels_in_closed_form(cutouts):
    cutouts["difference"] = np.float32(3 * NOISE)
    cutouts["science"] = np.float32(700)
    cutouts["science"][:, 12:18, 12:18] = np.float32(700 + 50 * NOISE)
    inputs = network_inputs(cutouts)
    assert inputs.shape == (20, len(CHANNELS), 30, 30)
    np.testing.assert_allclose(inputs[:, DIFFERENCE], np.arcsinh(3), rtol=1e-3)
    np.testing.assert_allclose(inputs[:, SCIENCE, 12:18, 12:18], np.arcsinh(50), rtol=1e-3)
    assert not inputs[:, SCIENCE, :12].any()
    assert (inputs[:, VALID] == 1).all()
    assert not inputs[:, FLAGGED].any()


def test_difference_is_in_units_of_each_pixels_own_noise(cutouts):
    cutouts["variance"][:, 10, 10] *= 100
    expected = np.arcsinh(cutouts["difference"][:, 10, 10] / (10 * NOISE))
    np.testing.assert_allclose(network_inputs(cutouts)[:, DIFFERENCE, 10, 10], expected, atol=2e-3)


def test_gain_and_sky_level_do_not_matter(cutouts):
    before = network_inputs(cutouts).astype(float)
    for name in ("science", "template", "difference"):
        cutouts[name] *= np.float32(7)
    cutouts["variance"] *= np.float32(49)
    cutouts["science"] += np.float32(1e4)
    cutouts["template"] -= np.float32(300)
    np.testing.assert_allclose(network_inputs(cutouts), before, atol=5e-3)


def test_only_pixels_enter(cutouts):
    before = network_inputs(cutouts)
    for name in set(cutouts.colnames) - {"science", "template", "difference", "variance", "mask", "band"}:
        cutouts[name] = np.asarray(cutouts[name])[::-1] * 2 + 1
    cutouts["mask"] = np.asarray(cutouts["mask"]) & ~np.uint32(MaskBit.DETECTED)
    again = network_inputs(cutouts["science", "template", "difference", "variance", "mask"])
    np.testing.assert_array_equal(again, before)


@pytest.mark.parametrize("bit", [MaskBit.INJECTED, MaskBit.INJECTED_CORE])
def test_an_injection_plane_is_refused(cutouts, bit):
    cutouts["mask"][3, 2, 1] |= np.uint32(bit)
    with pytest.raises(InjectionLeakError, match="without injection planes"):
        network_inputs(cutouts)


@pytest.mark.parametrize("name", ["science", "template", "difference", "variance"])
def test_nan_is_zero_and_not_valid_in_all_channels(cutouts, name):
    clean = network_inputs(cutouts)
    cutouts[name][:, :, :4] = np.nan
    inputs = network_inputs(cutouts)
    assert np.isfinite(inputs).all()
    assert not inputs[:, :VALID, :, :4].any()
    assert (inputs[:, VALID].mean(axis=(1, 2)) == np.float16(26 / 30)).all()
    np.testing.assert_allclose(inputs[:, :VALID, :, 4:], clean[:, :VALID, :, 4:], atol=0.2)


def test_no_data_and_bad_variance_are_not_valid(cutouts):
    cutouts["mask"][:, 0, 0] |= np.uint32(MaskBit.NO_DATA)
    cutouts["mask"][:, 0, 1] |= np.uint32(MaskBit.NO_DATA_TEMPLATE)
    cutouts["variance"][:, 0, 2] = 0
    cutouts["variance"][:, 0, 3] = np.inf
    inputs = network_inputs(cutouts)
    assert not inputs[:, :FLAGGED, 0, :4].any()
    assert inputs[:, VALID, 0, 4].all()


def test_defects_are_flagged_but_kept(cutouts):
    cutouts["mask"][:, 5, 5] |= np.uint32(MaskBit.CR)
    inputs = network_inputs(cutouts)
    assert inputs[:, FLAGGED].sum() == len(cutouts)
    assert inputs[:, DIFFERENCE, 5, 5].any()
    assert inputs[:, VALID].all()


def test_all_nan_stamps_are_zero(cutouts):
    for name in ("science", "template", "difference", "variance"):
        cutouts[name] = np.nan
    assert not network_inputs(cutouts).any()
    assert set(unscorable_reasons(network_inputs(cutouts), 0.2)) == {"too few valid pixels"}


def test_background_without_a_valid_border(cutouts):
    clean = network_inputs(cutouts)
    valid = np.zeros((30, 30), dtype=bool)
    valid[3:27, 3:27] = True
    cutouts["science"][:, ~valid] = np.nan
    inputs = network_inputs(cutouts)
    assert np.abs(inputs[:, SCIENCE, 3:27, 3:27] - clean[:, SCIENCE, 3:27, 3:27]).mean() < 0.5


@pytest.mark.parametrize(("found", "wanted"), [(51, 30), (30, 51), (31, 21), (30, 30)])
def test_other_sizes_keep_the_centre(found, wanted):
    cutouts, _, _ = make_cutouts(5, size=found)
    cutouts["difference"] = np.float32(0)
    middle = slice((found - 1) // 2, found // 2 + 1)
    cutouts["difference"][:, middle, middle] = np.float32(100 * NOISE)
    inputs = network_inputs(cutouts, wanted)
    assert inputs.shape[2:] == (wanted, wanted)
    y, x = np.nonzero(inputs[0, DIFFERENCE])
    assert abs(y.mean() - (wanted - 1) / 2) <= 0.5
    assert abs(x.mean() - (wanted - 1) / 2) <= 0.5
    assert inputs[0, VALID].sum() == min(found, wanted) ** 2


@pytest.mark.parametrize("size", [20, 102])
def test_size_limits(size):
    with pytest.raises(StampSizeError, match=f"21 to 101 pixels, found {size}"):
        network_inputs(make_cutouts(2, size=size)[0])


def test_unscorable_reasons(cutouts):
    cutouts["science"][0] = np.nan
    cutouts["science"][0, :, :6] = 0
    cutouts["science"][1, :, :15] = np.nan
    cutouts["science"][2, 10:20, 10:20] = np.nan
    reasons = unscorable_reasons(network_inputs(cutouts), 0.25)
    assert list(reasons[:4]) == ["too few valid pixels", "", "no valid pixel at the centre", ""]


def test_missing_column_is_named(cutouts):
    del cutouts["variance"]
    with pytest.raises(TableSchemaError, match=r"visit 7.*'variance'"):
        network_inputs(cutouts, source="dia_source_cutout of visit 7")


def test_no_rows(cutouts):
    assert network_inputs(cutouts[:0], 30).shape == (0, 5, 30, 30)
