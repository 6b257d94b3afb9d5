"""From stamps to pixels in units of the noise, validity and flags."""

import dataclasses

import numpy as np
import pytest
from blend_samples import PSF, SIGMA, make_stamps
from dia_vetting.blends.flags import BlendFlag, unscored
from dia_vetting.blends.preparation import framed, prepare
from dia_vetting.blends.stamps import BlendStamps
from dia_vetting.errors import BadInputError


def damaged(change: str) -> np.ndarray:
    image = make_stamps(1)[0].images[0].copy()
    match change:
        case "nan pixel":
            image[3, 4] = np.nan
        case "infinite pixel":
            image[3, 4] = np.inf
        case "all nan":
            image[:] = np.nan
        case "all zero":
            image[:] = 0
        case "constant":
            image[:] = 7
        case "constant beside nan":
            image[:] = 7
            image[0, 0] = np.nan
        case "zero columns":
            image[:, :6] = 0
        case "nan rows":
            image[-3:] = np.nan
        case "half lost":
            image[:, :18] = np.nan
        case "centre lost":
            image[16, 17] = np.nan
        case "saturated":
            image[15:18, 14:19] = 60_000
        case "sky":
            image += 50
        case "noise alone":
            image[:] = np.random.default_rng(1).normal(0, SIGMA / 2, image.shape)
    return image


EXPECTED = {
    "": BlendFlag(0),
    "nan pixel": BlendFlag.NAN,
    "infinite pixel": BlendFlag.NAN,
    "all nan": BlendFlag.NAN
    | BlendFlag.OFF_EDGE
    | BlendFlag.TOO_FEW_PIXELS
    | BlendFlag.NO_CENTRE
    | BlendFlag.FAINT,
    "all zero": BlendFlag.ALL_ZERO
    | BlendFlag.OFF_EDGE
    | BlendFlag.TOO_FEW_PIXELS
    | BlendFlag.NO_CENTRE
    | BlendFlag.FAINT,
    "constant": BlendFlag.CONSTANT | BlendFlag.BACKGROUND,
    "constant beside nan": BlendFlag.CONSTANT | BlendFlag.BACKGROUND | BlendFlag.NAN,
    "zero columns": BlendFlag.OFF_EDGE,
    "nan rows": BlendFlag.OFF_EDGE | BlendFlag.NAN,
    "half lost": BlendFlag.OFF_EDGE | BlendFlag.NAN | BlendFlag.TOO_FEW_PIXELS | BlendFlag.NO_CENTRE,
    "centre lost": BlendFlag.NAN | BlendFlag.NO_CENTRE,
    "saturated": BlendFlag.SATURATED,
    "sky": BlendFlag.BACKGROUND,
    "noise alone": BlendFlag.FAINT,
}


@pytest.mark.parametrize("change", EXPECTED)
def test_flags_say_what_is_wrong(change: str) -> None:
    one = np.full(1, 1.0, np.float32)
    flags = prepare(BlendStamps(damaged(change)[None], SIGMA * one, PSF * one)).flags
    assert BlendFlag(int(flags[0])) == EXPECTED[change]


def test_pixels_are_in_units_of_the_noise_and_rows_keep_their_order() -> None:
    stamps, _ = make_stamps(5)
    images = stamps.images * np.arange(1, 6, dtype=np.float32)[:, None, None]
    images[2, 0, 0] = np.nan
    scaled = BlendStamps(images, stamps.noise_sigma * np.arange(1, 6, dtype=np.float32), stamps.psf_fwhm)
    prepared = prepare(scaled)
    wanted = stamps.images / SIGMA
    wanted[2, 0, 0] = 0
    np.testing.assert_allclose(prepared.pixels, wanted, rtol=1e-5)
    assert np.flatnonzero(~prepared.valid).tolist() == [2 * 33 * 33]
    np.testing.assert_array_equal(prepared.psf_fwhm, stamps.psf_fwhm)


def test_noise_that_is_missing_is_estimated() -> None:
    stamps, _ = make_stamps(4)
    given = np.array([SIGMA, np.nan, -1, 0], np.float32)
    prepared = prepare(dataclasses.replace(stamps, noise_sigma=given))
    assert [bool(flag & BlendFlag.NOISE_ESTIMATED) for flag in prepared.flags] == [False, True, True, True]
    np.testing.assert_allclose(prepared.pixels, stamps.images / SIGMA, rtol=0.1, atol=0.5)


def test_noise_that_cannot_be_estimated_leaves_no_score() -> None:
    stamps, _ = make_stamps(2)
    unknown = BlendStamps(np.abs(stamps.images), np.full(2, np.nan, np.float32), stamps.psf_fwhm)
    prepared = prepare(unknown)
    assert (prepared.flags & BlendFlag.NO_NOISE).all()
    assert unscored(prepared.flags).all()
    assert np.isfinite(prepared.pixels).all()


def test_psf_that_is_missing_is_estimated_given_or_unknown() -> None:
    stamps, _ = make_stamps(300)
    missing = dataclasses.replace(stamps, psf_fwhm=np.full(300, np.nan, np.float32))
    estimated = prepare(missing)
    assert (estimated.flags == BlendFlag.PSF_ESTIMATED).all()
    np.testing.assert_allclose(estimated.psf_fwhm, PSF, rtol=0.12)
    few = prepare(missing.where(slice(10)))
    assert (few.flags == BlendFlag.PSF_UNKNOWN).all()
    given = prepare(missing.where(slice(10)), psf_fwhm=4.0)
    assert (given.psf_fwhm == 4).all()


@pytest.mark.parametrize("side", [24, 129])
def test_sizes_out_of_range_are_flagged_rows(side: int) -> None:
    ones = np.ones(3, np.float32)
    prepared = prepare(BlendStamps(np.ones((3, side, side), np.float32), ones, ones))
    assert (prepared.flags == BlendFlag.SIZE).all()


def test_arrays_that_do_not_fit_are_named() -> None:
    ones = np.ones(3, np.float32)
    with pytest.raises(BadInputError, match=r"\(N, S, S\), found \(3, 30, 31\)"):
        prepare(BlendStamps(np.ones((3, 30, 31), np.float32), ones, ones))
    with pytest.raises(BadInputError, match=r"noise_sigma of shape \(3,\), found \(2,\)"):
        prepare(BlendStamps(np.ones((3, 30, 30), np.float32), ones[:2], ones))


@pytest.mark.parametrize(("side", "size"), [(33, 33), (33, 51), (33, 27), (32, 51), (51, 32)])
def test_frames_keep_the_middle(side: int, size: int) -> None:
    stamps, _ = make_stamps(2, size=max(side, 33))
    images = np.random.default_rng(0).normal(0, 1, (2, side, side)).astype(np.float32)
    images[:, side // 2, side // 2] = 99
    prepared = prepare(BlendStamps(images, np.ones(2, np.float32), stamps.psf_fwhm))
    frame, offset = framed(prepared, size)
    assert frame.pixels.shape == (2, size, size)
    middle = side // 2 + offset
    assert (frame.pixels[:, middle, middle] == 99).all()
    assert abs(middle - (size - 1) / 2) <= 1.0
    assert frame.valid.sum() == 2 * min(side, size) ** 2
    assert bool(frame.flags[0] & BlendFlag.CROPPED) == (side > size)
