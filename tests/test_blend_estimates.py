"""Noise and PSF from stamps themselves."""

import numpy as np
import pytest
from blend_samples import PSF, SIGMA, make_stamps
from dia_vetting.blends.estimates import estimate_noise, estimate_psf


@pytest.mark.parametrize("snr", [5.0, 40.0, 1000.0])
def test_noise_does_not_depend_on_sources(snr: float) -> None:
    stamps, truth = make_stamps(300, snr=snr)
    ratio = estimate_noise(stamps.images) / SIGMA
    assert abs(np.median(ratio) - 1) < 0.02
    for kind in ("single", "blend", "separated"):
        assert abs(np.mean(ratio[truth.kind == kind]) - 1) < 0.03
    assert np.std(ratio) < 0.04


def test_noise_scales_with_the_stamps_whatever_their_unit() -> None:
    stamps, _ = make_stamps(20)
    scaled = estimate_noise(stamps.images * np.float32(1e-4))
    np.testing.assert_allclose(scaled, 1e-4 * estimate_noise(stamps.images), rtol=1e-4)


def test_pixels_that_are_not_valid_do_not_count() -> None:
    stamps, _ = make_stamps(20)
    damaged = stamps.images.copy()
    damaged[:, :5] = np.nan
    damaged[:, :, -4:] = -1e5
    valid = np.ones_like(damaged, bool)
    valid[:, :, -4:] = False
    np.testing.assert_allclose(estimate_noise(damaged, valid), SIGMA, rtol=0.15)


def test_no_noise_where_there_is_none_or_a_sky_is_left() -> None:
    stamps, _ = make_stamps(3)
    images = stamps.images.copy()
    images[0] = 0
    images[1] += 1000
    found = estimate_noise(images)
    assert np.isnan(found[:2]).all()
    assert found[2] == pytest.approx(SIGMA, rel=0.1)
    assert estimate_noise(images[:0]).shape == (0,)


def test_psf_of_stars_is_found_among_blends() -> None:
    stamps, _ = make_stamps(600)
    assert estimate_psf(stamps.images, stamps.noise_sigma) == pytest.approx(PSF, rel=0.12)


def test_psf_is_not_known_from_few_or_faint_stamps() -> None:
    stamps, _ = make_stamps(60)
    assert np.isnan(estimate_psf(stamps.images, stamps.noise_sigma))
    faint, _ = make_stamps(600, snr=5.0)
    assert np.isnan(estimate_psf(faint.images, faint.noise_sigma))
