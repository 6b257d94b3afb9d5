"""FITS cutouts from untrusted bytes: what is read, and that nothing that lies is."""

import gzip
import math
import tracemalloc
import zlib

import numpy as np
import pytest
from alert_samples import DEC, RA, SCALE, SIGMA, gaussian, rubin_fits, ztf_fits
from astropy.io import fits
from dia_vetting.alerts.stamps import StampError, gunzip, make_planes, psf_fwhm, read_stamp
from dia_vetting.masks import MaskBit
from dia_vetting.psf import PolynomialPsf
from hypothesis import given, settings
from hypothesis import strategies as st

IMAGE = np.arange(30 * 31, dtype=np.float32).reshape(30, 31)
PSF = gaussian((41, 41), 20, 20)
STAMP = rubin_fits(IMAGE, IMAGE + 1, PSF, (15.3, 14.8), (100, 200))


def replaced(data: bytes, old: bytes, new: bytes) -> bytes:
    assert data.count(old) >= 1
    assert len(old) == len(new)
    return data.replace(old, new, 1)


def card(keyword: str, value: object) -> bytes:
    return fits.Card(keyword, value).image.encode()


def test_all_of_a_cutout_is_read() -> None:
    stamp = read_stamp(STAMP, "stamp")
    np.testing.assert_array_equal(stamp.image, IMAGE)
    assert stamp.image.dtype == np.dtype("=f4")
    assert stamp.variance is not None
    np.testing.assert_array_equal(stamp.variance, IMAGE + 1)
    assert stamp.psf is not None
    np.testing.assert_array_equal(stamp.psf, PSF)
    assert stamp.corner() == (100, 200)
    assert stamp.position(RA, DEC, "stamp") == pytest.approx((15.3, 14.8), abs=1e-6)


def test_a_place_beside_the_reference_point_follows_the_tangent_plane() -> None:
    stamp = read_stamp(STAMP, "stamp")
    east = RA + 5 * SCALE / math.cos(math.radians(DEC))  # x runs to the west
    x, y = stamp.position(east, DEC + 3 * SCALE, "stamp") or (0.0, 0.0)
    assert (x, y) == pytest.approx((10.3, 17.8), abs=1e-3)
    with pytest.raises(StampError, match="the source on its 31 x 30 pixels"):
        stamp.position(RA + 40 * SCALE, DEC, "stamp")
    with pytest.raises(StampError):
        stamp.position(math.nan, DEC, "stamp")


def test_a_cutout_may_lack_all_but_pixels() -> None:
    stamp = read_stamp(rubin_fits(IMAGE, None, None, None, None), "stamp")
    assert stamp.variance is None
    assert stamp.psf is None
    assert stamp.corner() is None
    assert stamp.position(RA, DEC, "stamp") is None


def test_a_cd_matrix_is_as_good() -> None:
    cd = {"CD1_1": -SCALE, "CD2_2": SCALE, "CRPIX1": 11.0, "CRPIX2": 12.0, "CRVAL1": RA, "CRVAL2": DEC}
    stamp = read_stamp(rubin_fits(IMAGE, None, None, None, None, **cd), "stamp")
    assert stamp.position(RA, DEC + SCALE, "stamp") == pytest.approx((10.0, 12.0), abs=1e-5)


@pytest.mark.parametrize(
    ("keyword", "value", "other", "words"),
    [
        ("NAXIS1", 31, 30, "zeros behind the pixels"),
        ("NAXIS1", 31, 32, "UNCERT of the image's shape"),
        ("NAXIS1", 31, 10**9, "1 to 512 pixels"),
        ("NAXIS2", 30, 0, "1 to 512 pixels"),
        ("NAXIS2", 30, -30, "1 to 512 pixels"),
        ("NAXIS2", 30, 500, "as its header says"),
        ("NAXIS2", 30, "30", "1 to 512 pixels"),
        ("NAXIS", 2, 999, "two dimensions"),
        ("NAXIS", 2, 3, "two dimensions"),
        ("BITPIX", -32, 32, "floating-point"),
        ("BITPIX", -32, -64, "zeros behind the pixels"),
        ("BITPIX", -32, True, "floating-point"),
        ("SIMPLE", True, False, "a FITS image"),
    ],
)
def test_a_header_that_lies_is_refused(keyword: str, value: object, other: object, words: str) -> None:
    index = STAMP.index(card(keyword, value)[:30])
    spoiled = STAMP[:index] + card(keyword, other)[:30].ljust(80) + STAMP[index + 80 :]
    with pytest.raises(StampError, match=words):
        read_stamp(spoiled, "stamp")


def test_a_side_that_is_one_too_small_leaves_pixels_in_the_padding() -> None:
    data = rubin_fits(IMAGE + 1, None, None, None, None)
    with pytest.raises(StampError, match="zeros behind the pixels"):
        read_stamp(replaced(data, card("NAXIS1", 31)[:30], card("NAXIS1", 30)[:30]), "stamp")


def test_scaled_pixels_and_odd_characters_are_refused() -> None:
    unit = card("BUNIT", "nJy")
    with pytest.raises(StampError, match="floating-point"):
        read_stamp(replaced(STAMP, unit, card("BZERO", 7.0)), "stamp")
    with pytest.raises(StampError, match="not printable"):
        read_stamp(replaced(STAMP, unit, unit.replace(b"J", b"\x80")), "stamp")


def test_bytes_behind_the_last_extension_are_refused() -> None:
    with pytest.raises(StampError, match="a FITS header"):
        read_stamp(STAMP + bytes(2880), "stamp")
    with pytest.raises(StampError, match="a FITS header"):
        read_stamp(STAMP + b"x", "stamp")


@pytest.mark.parametrize(
    "data", [b"", b"\x00", b"SIMPLE  =                    T", b" " * 2880 * 40, STAMP[2880:]]
)
def test_what_is_no_fits_file_is_refused(data: bytes) -> None:
    with pytest.raises(StampError):
        read_stamp(data, "stamp")


def test_compressed_bytes_are_not_unpacked_unasked() -> None:
    with pytest.raises(StampError, match="a FITS header"):
        read_stamp(gzip.compress(STAMP), "stamp")


def test_a_binary_table_is_refused() -> None:
    table = fits.BinTableHDU.from_columns([fits.Column("a", "D", array=np.zeros(3))])
    wanted = rubin_fits(IMAGE, None, None, None, None)
    header = table.header.tostring().encode()
    with pytest.raises(StampError, match="of the kind 'BINTABLE'"):
        read_stamp(wanted + header + bytes(2880), "stamp")


@settings(max_examples=60, deadline=None)
@given(st.integers(0, len(STAMP) - 1))
def test_no_truncation_is_read(length: int) -> None:
    whole = {2880 * 3, 2880 * 6}  # the image alone, or with its variance, is a cutout of its own
    if length in whole:
        assert read_stamp(STAMP[:length], "stamp").psf is None
    else:
        with pytest.raises(StampError):
            read_stamp(STAMP[:length], "stamp")


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 8 * len(STAMP) - 1))
def test_a_flipped_bit_is_noticed_or_changes_one_pixel_or_keyword(bit: int) -> None:
    data = bytearray(STAMP)
    data[bit // 8] ^= 1 << (bit % 8)
    try:
        stamp = read_stamp(bytes(data), "stamp")
    except StampError:
        return
    assert stamp.image.shape == IMAGE.shape
    changed = (stamp.image.view(np.uint32) != IMAGE.view(np.uint32)).sum()
    assert changed <= 1


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=6000), st.integers(0, 3))
def test_random_bytes_are_refused(data: bytes, prefix: int) -> None:
    start = [b"", b"SIMPLE  =                    T", STAMP[:240], STAMP[:2880]][prefix]
    with pytest.raises(StampError):
        read_stamp(start + data, "stamp")


def test_memory_is_bounded_by_the_bytes_that_are_there() -> None:
    huge = replaced(STAMP, card("NAXIS1", 31)[:30], card("NAXIS1", 512)[:30])
    huge = replaced(huge, card("NAXIS2", 30)[:30], card("NAXIS2", 512)[:30])
    tracemalloc.start()
    with pytest.raises(StampError, match="as its header says"):
        read_stamp(huge, "stamp")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 300_000


def test_gunzip_checks_length_checksum_and_end() -> None:
    packed = ztf_fits(IMAGE)
    assert read_stamp(gunzip(packed, 10**6, "stamp"), "stamp").image.shape == IMAGE.shape
    for wrong in (packed[:-1], packed + b"\x00", packed[:200] + b"\x55" + packed[201:], b"", b"no gzip"):
        with pytest.raises(StampError):
            gunzip(wrong, 10**6, "stamp")
    bomb = gzip.compress(bytes(50_000_000))
    tracemalloc.start()
    with pytest.raises(StampError, match="at most 1000000 bytes"):
        gunzip(bomb, 10**6, "stamp")
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()
    damaged = bytearray(packed)
    damaged[-8] ^= 1  # of the checksum
    with pytest.raises(StampError, match="incorrect data check"):
        gunzip(bytes(damaged), 10**6, "stamp")
    assert zlib.decompress(packed, wbits=31)


def test_pixels_that_were_not_measured_have_no_data() -> None:
    image = np.array([[1.0, np.nan, np.inf], [-3.4e38, 2.0, -5.0]], np.float32)
    planes = make_planes(image, np.full_like(image, 4.0), -10.0)
    np.testing.assert_array_equal(planes.image, [[-10.0, np.nan, np.nan], [np.nan, -20.0, 50.0]])
    np.testing.assert_array_equal(planes.has(MaskBit.NO_DATA), [[0, 1, 1], [1, 0, 0]])
    assert (planes.variance == 400.0).all()


@pytest.mark.parametrize("size", [21, 25, 41, 101])
def test_psf_width_is_that_of_the_package(size: int) -> None:
    psf = gaussian((size, size), size // 2, size // 2)
    assert psf_fwhm(psf) == pytest.approx(2.3548 * SIGMA, rel=0.02)
    model = PolynomialPsf.from_nodes([0.0], [0.0], psf[None])
    assert psf_fwhm(psf) == pytest.approx(float(model.fwhm([0.0], [0.0])[0]), rel=1e-9)


def test_width_of_a_donut_and_of_an_ellipse() -> None:
    rows, columns = np.mgrid[-20:21, -20:21]
    ring = np.exp(-0.5 * ((np.hypot(rows, columns) - 5.0) / 1.2) ** 2)
    half = 1.2 * math.sqrt(2 * math.log(2))
    assert psf_fwhm(ring) == pytest.approx(2 * math.sqrt((5 + half) ** 2 - (5 - half) ** 2), rel=0.03)
    ellipse = np.exp(-0.5 * ((columns / 3.0) ** 2 + (rows / 1.5) ** 2))
    assert psf_fwhm(ellipse) == pytest.approx(2.3548 * math.sqrt(4.5), rel=0.03)


@pytest.mark.parametrize(
    "psf",
    [
        None,
        np.zeros((41, 41)),
        np.full((41, 41), np.nan),
        -PSF,
        PSF[:-1],
        PSF[:-1, :-1],
        np.ones((103, 103)),
    ],
)
def test_what_is_no_psf_has_no_width(psf: np.ndarray | None) -> None:
    assert math.isnan(psf_fwhm(psf))
