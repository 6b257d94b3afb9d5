"""Cutouts as network inputs."""

import numpy as np
import pytest
from dia_vetting.errors import TableSchemaError
from dia_vetting.masks import MaskBit
from dia_vetting.reliability.inputs import (
    CHANNELS,
    CUTOUT_COLUMNS,
    METADATA,
    SIZES,
    InjectionLeakError,
    NetworkInputs,
    StampSizeError,
    concatenate_inputs,
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
    inputs = network_inputs(cutouts).stamps
    assert inputs.shape == (20, len(CHANNELS), 30, 30)
    assert inputs.dtype == np.float16
    np.testing.assert_allclose(inputs[:, DIFFERENCE], np.arcsinh(3), rtol=1e-3)
    np.testing.assert_allclose(inputs[:, SCIENCE, 12:18, 12:18], np.arcsinh(50), rtol=1e-3)
    assert not inputs[:, SCIENCE, :12].any()
    assert (inputs[:, VALID] == 1).all()
    assert not inputs[:, FLAGGED].any()


def test_difference_is_in_units_of_each_pixels_own_noise(cutouts):
    cutouts["variance"][:, 10, 10] *= 100
    expected = np.arcsinh(cutouts["difference"][:, 10, 10] / (10 * NOISE))
    found = network_inputs(cutouts).stamps[:, DIFFERENCE, 10, 10]
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_gain_and_sky_level_do_not_matter(cutouts):
    before = network_inputs(cutouts).stamps.astype(float)
    for name in ("science", "template", "difference"):
        cutouts[name] *= np.float32(7)
    cutouts["variance"] *= np.float32(49)
    cutouts["science"] += np.float32(1e4)
    cutouts["template"] -= np.float32(300)
    np.testing.assert_allclose(network_inputs(cutouts).stamps, before, atol=5e-3)


def test_only_pixels_and_three_numbers_enter(cutouts):
    before = network_inputs(cutouts)
    for name in set(cutouts.colnames) - {*CUTOUT_COLUMNS}:
        cutouts[name] = np.asarray(cutouts[name])[::-1] if name == "band" else cutouts[name][::-1] * 2 + 1
    cutouts["mask"] = np.asarray(cutouts["mask"]) & ~np.uint32(MaskBit.DETECTED)
    again = network_inputs(cutouts[list(CUTOUT_COLUMNS)])
    np.testing.assert_array_equal(again.stamps, before.stamps)
    np.testing.assert_array_equal(again.metadata, before.metadata)


def test_metadata_in_closed_form(cutouts):
    cutouts["psf_fwhm"][:6] = [4.0, 8.0, 2.0, 4.0, 4.0, 4e6]
    cutouts["snr"][:6] = [10.0, 10.0, 10.0, 1000.0, 5.0, 1e9]
    cutouts["band"][:6] = list("rrugyi")
    expected = [
        [0, 0, -0.15],
        [1, 0, -0.15],
        [-1, 0, -1.4],
        [0, 2, -0.85],
        [0, np.log10(0.5), 1.6],
        [4, 4, 0.5],
    ]
    metadata = network_inputs(cutouts).metadata
    assert metadata.dtype == np.float32
    assert metadata.shape == (20, len(METADATA))
    np.testing.assert_allclose(metadata[:6], expected, atol=1e-6)


def test_what_is_not_known_is_zero(cutouts):
    """Each number on its own: the others of the row stay."""
    cutouts["psf_fwhm"], cutouts["snr"] = np.float32(8.0), 100.0
    cutouts["band"] = np.full(20, "z", dtype="U2")
    cutouts["psf_fwhm"][:4] = [np.nan, 0.0, -3.0, np.inf]
    cutouts["snr"][4:7] = [np.nan, 0.0, np.inf]
    cutouts["band"][7:9] = ["", "VR"]
    known = np.ones((20, 3), dtype=bool)
    known[:4, 0] = known[4:7, 1] = known[7:9, 2] = False
    expected = np.where(known, [1.0, 1.0, 1.1], 0.0)
    np.testing.assert_allclose(network_inputs(cutouts).metadata, expected, atol=1e-6)


def test_the_sign_of_a_source_is_not_told_beside_the_stamp(cutouts):
    before = network_inputs(cutouts).metadata
    cutouts["snr"] *= -1
    np.testing.assert_array_equal(network_inputs(cutouts).metadata, before)


@pytest.mark.parametrize("bit", [MaskBit.INJECTED, MaskBit.INJECTED_CORE])
def test_an_injection_plane_is_refused(cutouts, bit):
    cutouts["mask"][3, 2, 1] |= np.uint32(bit)
    with pytest.raises(InjectionLeakError, match="without injection planes"):
        network_inputs(cutouts)


@pytest.mark.parametrize("name", ["science", "template", "difference", "variance"])
def test_nan_is_zero_and_not_valid_in_all_channels(cutouts, name):
    clean = network_inputs(cutouts).stamps
    cutouts[name][:, :, :4] = np.nan
    inputs = network_inputs(cutouts).stamps
    assert np.isfinite(inputs).all()
    assert not inputs[:, :VALID, :, :4].any()
    assert (inputs[:, VALID].mean(axis=(1, 2)) == np.float16(26 / 30)).all()
    np.testing.assert_allclose(inputs[:, :VALID, :, 4:], clean[:, :VALID, :, 4:], atol=0.2)


def test_no_data_and_bad_variance_are_not_valid(cutouts):
    cutouts["mask"][:, 0, 0] |= np.uint32(MaskBit.NO_DATA)
    cutouts["mask"][:, 0, 1] |= np.uint32(MaskBit.NO_DATA_TEMPLATE)
    cutouts["variance"][:, 0, 2] = 0
    cutouts["variance"][:, 0, 3] = np.inf
    inputs = network_inputs(cutouts).stamps
    assert not inputs[:, :FLAGGED, 0, :4].any()
    assert inputs[:, VALID, 0, 4].all()


def test_defects_are_flagged_but_kept(cutouts):
    cutouts["mask"][:, 5, 5] |= np.uint32(MaskBit.CR)
    inputs = network_inputs(cutouts).stamps
    assert inputs[:, FLAGGED].sum() == len(cutouts)
    assert inputs[:, DIFFERENCE, 5, 5].any()
    assert inputs[:, VALID].all()


def test_stamps_of_nan_are_zero(cutouts):
    for name in ("science", "template", "difference", "variance"):
        cutouts[name] = np.nan
    assert not network_inputs(cutouts).stamps.any()
    assert set(unscorable_reasons(network_inputs(cutouts), 0.2)) == {"too few valid pixels"}


def test_background_without_a_valid_border(cutouts):
    clean = network_inputs(cutouts).stamps
    valid = np.zeros((30, 30), dtype=bool)
    valid[3:27, 3:27] = True
    cutouts["science"][:, ~valid] = np.nan
    inputs = network_inputs(cutouts).stamps
    assert np.abs(inputs[:, SCIENCE, 3:27, 3:27] - clean[:, SCIENCE, 3:27, 3:27]).mean() < 0.5


def _with_spike(size, pixel):
    """Return cutouts whose difference is empty but for one pixel, [pixel, pixel]."""
    cutouts, _, _ = make_cutouts(3, size=size)
    cutouts["difference"] = np.float32(0)
    cutouts["difference"][:, pixel, pixel] = np.float32(100 * NOISE)
    return cutouts


SIDES = [(51, 30), (30, 51), (31, 21), (30, 22), (31, 51), (30, 30), (30, 21), (33, 30), (21, 22), (74, 51)]


@pytest.mark.parametrize(("found", "wanted"), SIDES)
def test_the_source_stays_where_it_was_from_the_centre(found, wanted):
    """A source within half a pixel of the centre falls on pixel (S - 1) // 2 or S // 2 of its stamp."""
    for pixel in {(found - 1) // 2, found // 2}:
        inputs = network_inputs(_with_spike(found, pixel), wanted)
        assert inputs.size == inputs.stamps.shape[2] == wanted + (found - wanted) % 2
        (y,), (x,) = np.nonzero(inputs.stamps[0, DIFFERENCE])
        assert x - (inputs.size - 1) / 2 == y - (inputs.size - 1) / 2 == pixel - (found - 1) / 2
        assert inputs.stamps[0, VALID].sum() == min(found, inputs.size) ** 2


def test_padding_is_not_valid_and_cropping_keeps_the_pixels():
    cutouts, _, _ = make_cutouts(5, size=31)
    whole, cropped, padded = (network_inputs(cutouts, side).stamps for side in (31, 21, 41))
    np.testing.assert_array_equal(cropped[:, DIFFERENCE], whole[:, DIFFERENCE, 5:26, 5:26])
    np.testing.assert_array_equal(padded[:, :, 5:36, 5:36], whole)
    padded[:, :, 5:36, 5:36] = 0
    assert not padded.any()


@pytest.mark.parametrize("size", [20, 102])
def test_size_limits(size, cutouts):
    assert SIZES == (21, 101)
    with pytest.raises(StampSizeError, match=f"21 to 101 pixels, found {size}"):
        network_inputs(make_cutouts(2, size=size)[0])
    with pytest.raises(StampSizeError, match=f"21 to 101 pixels, found {size}"):
        network_inputs(cutouts, size)


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
    inputs = network_inputs(cutouts[:0], 30)
    assert inputs.stamps.shape == (0, 5, 30, 30)
    assert inputs.metadata.shape == (0, 3)


def test_rows_stay_together(cutouts):
    cutouts["snr"] = np.arange(1.0, 21.0)
    inputs = network_inputs(cutouts)
    assert len(inputs) == 20
    for rows in (slice(3, 7), np.array([9, 2, 9]), np.arange(20) % 3 == 0):
        part = inputs[rows]
        np.testing.assert_array_equal(part.stamps, inputs.stamps[rows])
        np.testing.assert_array_equal(part.metadata, inputs.metadata[rows])
    whole = concatenate_inputs([inputs[:4], inputs[4:]])
    np.testing.assert_array_equal(whole.stamps, inputs.stamps)
    np.testing.assert_array_equal(whole.metadata, inputs.metadata)
    with pytest.raises(ValueError, match="20 stamps and 19 rows"):
        NetworkInputs(inputs.stamps, inputs.metadata[:19])
