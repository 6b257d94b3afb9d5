"""Stamps, their truth, and reading them."""

from __future__ import annotations

from pathlib import Path

import astropy.io.fits
import numpy as np
import pytest
from dia_vetting.blends.stamps import BlendStamps, read_stamps
from dia_vetting.errors import BadInputError

IMAGES = np.arange(3 * 25 * 25, dtype=np.float64).reshape(3, 25, 25)


def test_npz(tmp_path: Path) -> None:
    np.savez(tmp_path / "s.npz", images=IMAGES, noise_sigma=[1.0, 2.0, 3.0], psf_fwhm=3.5)
    stamps = read_stamps(tmp_path / "s.npz")
    assert stamps.images.dtype == np.float32
    np.testing.assert_array_equal(stamps.images, IMAGES)
    np.testing.assert_array_equal(stamps.noise_sigma, [1.0, 2.0, 3.0])
    np.testing.assert_array_equal(stamps.psf_fwhm, 3 * [3.5])


def test_npy_and_fits_know_neither_noise_nor_psf(tmp_path: Path) -> None:
    np.save(tmp_path / "s.npy", IMAGES)
    hdus = [astropy.io.fits.PrimaryHDU(), astropy.io.fits.ImageHDU(IMAGES.astype(np.float32))]
    astropy.io.fits.HDUList(hdus).writeto(tmp_path / "s.fits")
    for name in ("s.npy", "s.fits"):
        stamps = read_stamps(tmp_path / name)
        np.testing.assert_array_equal(stamps.images, IMAGES)
        assert np.isnan(stamps.noise_sigma).all()
        assert np.isnan(stamps.psf_fwhm).all()
        assert stamps.images.dtype.isnative


def test_rows_in_order_and_joined() -> None:
    numbers = np.arange(3, dtype=np.float32)
    stamps = BlendStamps(IMAGES.astype(np.float32), numbers, numbers + 10)
    taken = stamps.where([2, 0])
    np.testing.assert_array_equal(taken.noise_sigma, [2, 0])
    np.testing.assert_array_equal(taken.images, IMAGES[[2, 0]])
    assert len(stamps.where(stamps.noise_sigma > 0)) == 2
    np.testing.assert_array_equal(BlendStamps.joined([taken, stamps]).psf_fwhm, [12, 10, 10, 11, 12])


@pytest.mark.parametrize(
    ("arrays", "key", "found"),
    [
        ({"images": IMAGES[:, :, :24]}, "images", "25, 24"),
        ({"images": IMAGES[0]}, "images", "25, 25"),
        ({"images": IMAGES.astype(complex)}, "images", "complex"),
        ({"pixels": IMAGES}, "images", "pixels"),
        ({"images": IMAGES, "noise_sigma": [1.0, 2.0]}, "noise_sigma", "(2,)"),
        ({"images": IMAGES, "psf_fwhm": ["a", "b", "c"]}, "psf_fwhm", "U1"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, arrays: dict, key: str, found: str) -> None:
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(BadInputError) as error:
        read_stamps(tmp_path / "bad.npz")
    for word in ("bad.npz", key, found):
        assert word in str(error.value)


@pytest.mark.parametrize("name", ["no.npz", "no.npy", "no.fits"])
def test_no_file_and_damaged_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadInputError, match=name):
        read_stamps(tmp_path / name)
    (tmp_path / name).write_bytes(b"not stamps")
    with pytest.raises(BadInputError, match=name):
        read_stamps(tmp_path / name)
