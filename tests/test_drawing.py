"""Point sources in pixels: flux, noise, variance, masks and edges; and the gain of an image."""

import numpy as np
import pytest
from dia_vetting.injection.drawing import border_fraction, draw_sources, polynomial_stamps
from dia_vetting.injection.flags import InjectionFlag, count_flags
from dia_vetting.injection.gain import GainError, fit_gain
from dia_vetting.masks import MaskBit
from dia_vetting.planes import Planes
from injection_images import moffat_psf, noisy_planes

SHAPE = (120, 140)
PSF = moffat_psf(SHAPE)


def blank(value: float = 0.0) -> Planes:
    return Planes(np.full(SHAPE, value), np.ones(SHAPE), np.zeros(SHAPE, np.uint32))


def draw(x, y, flux, planes=None, rngs=None, stamps=None, gain=2.0):
    columns = (np.atleast_1d(np.asarray(a, float)) for a in (x, y, flux))
    return draw_sources(planes or blank(), stamps or polynomial_stamps(PSF), *columns, gain, rngs)


def test_total_flux_and_centroid():
    found = draw(60.3, 70.8, 1000.0)
    image = found.planes.image.astype(float)
    assert image.sum() == pytest.approx(1000.0, rel=1e-6)
    assert found.on_image[0] == pytest.approx(1000.0, rel=1e-6)
    rows, columns = np.indices(SHAPE)
    # A stamp cut off around floor(x) biases its first moment slightly.
    assert (image * columns).sum() / 1000 == pytest.approx(60.3, abs=0.02)
    assert (image * rows).sum() / 1000 == pytest.approx(70.8, abs=0.02)
    np.testing.assert_allclose(found.planes.variance, 1 + np.maximum(image, 0) / 2.0, rtol=1e-5)


def test_whole_pixel_shift_moves_the_image_exactly():
    psf = moffat_psf(SHAPE)
    constant = polynomial_stamps(psf.from_nodes([0.0], [0.0], psf.kernel_images(50, 50), 0))
    one, other = (draw(x, y, 10.0, stamps=constant) for x, y in ((50.25, 60.4), (57.25, 55.4)))
    np.testing.assert_allclose(
        one.planes.image[40:80, 30:70], other.planes.image[35:75, 37:77], atol=1e-7 * 10
    )


def test_mask_planes_are_the_stamp_and_its_core():
    mask = draw(60.3, 70.8, 5.0).planes.mask
    stamp, core = (np.argwhere(mask & bit) for bit in (MaskBit.INJECTED, MaskBit.INJECTED_CORE))
    assert stamp.min(axis=0).tolist() == [71 - 15, 60 - 15]
    assert stamp.max(axis=0).tolist() == [
        71 + 15,
        60 + 15,
    ]
    assert len(stamp) == 31**2
    assert core.min(axis=0).tolist() == [70, 59]
    assert len(core) == 9


def test_sources_beyond_the_edge_leave_their_wings():
    found = draw([-6.4, 60.0, 200.0, 60.0], [50.0, -15.2, 50.0, 119.4], [1e4, 1e4, 1e4, 1e4])
    assert found.flag.tolist() == [0, 0, InjectionFlag.NO_OVERLAP, 0]
    # The PSF is that of the nearest place inside, with the same sub-pixel phase.
    unit, x_first, _ = polynomial_stamps(PSF)(-0.4, 50.0)
    outside = 6 - x_first
    np.testing.assert_allclose(found.on_image[0], 1e4 * unit[:, outside:].sum(), rtol=1e-6)
    assert 0 < found.on_image[1] < 0.01 * 1e4
    assert 0.5e4 < found.on_image[3] < 0.75e4
    assert found.draw_size.tolist() == [31] * 4
    core = found.planes.mask & np.uint32(MaskBit.INJECTED_CORE)
    assert np.argwhere(core)[:, 0].min() == 118


def test_photon_noise_has_the_variance_that_is_added():
    gain, flux, many = 1.6, 3000.0, 600
    stamps = polynomial_stamps(PSF)
    images, variances = [], []
    for i in range(many):
        found = draw(60.3, 70.8, flux, stamps=stamps, rngs=[np.random.default_rng(i)], gain=gain)
        images.append(found.planes.image[65:77, 55:67])
        variances.append(found.planes.variance[65:77, 55:67] - 1)
    expected = draw(60.3, 70.8, flux, stamps=stamps).planes.image[65:77, 55:67]
    scatter = np.var(images, axis=0)
    assert np.mean(scatter / expected) == pytest.approx(1 / gain, rel=0.02)
    np.testing.assert_allclose(np.mean(variances, axis=0), expected / gain, rtol=0.15)
    total = np.array([image.sum() for image in images])
    assert total.mean() == pytest.approx(expected.sum(), abs=4 * total.std() / np.sqrt(many))
    # As in a real variance plane, the noise of the pixel is in its variance.
    np.testing.assert_allclose(variances[0], images[0] / gain, rtol=1e-4, atol=1e-4)


def test_negative_psf_pixels_keep_their_flux_without_noise():
    def ringing(x, y):
        unit = np.full((5, 5), -0.01)
        unit[2, 2] = 1.24
        return unit, round(x) - 2, round(y) - 2

    found = draw(60, 60, 1e4, stamps=ringing, rngs=[np.random.default_rng(0)])
    assert found.planes.image[58, 58] == pytest.approx(-100.0)
    assert found.planes.variance[58, 58] == 1.0


def test_nan_pixels_stay_nan_and_do_not_count():
    planes = blank()
    planes.image[70, 60], planes.variance[70, 60] = np.nan, np.nan
    found = draw(60.0, 70.0, 100.0, planes=planes)
    assert np.isnan(found.planes.image[70, 60])
    assert np.isfinite(found.planes.image).sum() == 120 * 140 - 1
    assert found.on_image[0] == pytest.approx(np.nansum(found.planes.image), rel=1e-5)
    assert np.isnan(planes.image).sum() == 1
    assert planes.image[71, 60] == 0


@pytest.mark.parametrize(
    ("error", "flag"),
    [
        (ValueError, InjectionFlag.PSF_COMPUTE_ERROR),
        (type("GalSimFFTSizeError", (RuntimeError,), {}), InjectionFlag.FFT_SIZE_ERROR),
        (None, InjectionFlag.PSF_COMPUTE_ERROR),
    ],
)
def test_a_psf_that_fails_is_flagged_and_leaves_the_pixels_alone(error, flag):
    def stamps(x, y):
        if error is not None:
            raise error("no PSF here")
        return np.full((5, 5), np.nan), 0, 0

    found = draw(60, 70, 100.0, stamps=stamps)
    assert found.flag.tolist() == [flag]
    assert not found.planes.image.any()
    assert not found.planes.mask.any()


def test_flags_have_the_bits_of_source_injection():
    names = ["MAG_BAD", "TYPE_UNKNOWN", "SERSIC_EXTREME", "NO_OVERLAP", "FFT_SIZE_ERROR", "PSF_COMPUTE_ERROR"]
    assert {flag.name: int(flag) for flag in InjectionFlag} == {n: 2**i for i, n in enumerate(names)}
    assert count_flags([0, 1, 9, 8, 0]) == {"MAG_BAD": 2, "NO_OVERLAP": 2}


def test_border_fraction_bounds_what_a_larger_stamp_would_add():
    half, beta, sigma = 15, 3.5, 4.0 / (2 * np.sqrt(2 ** (1 / 3.5) - 1))
    offset = np.arange(-400, 401)
    wide = (1 + (offset[:, None] ** 2 + offset**2) / sigma**2) ** -beta
    inner = wide[400 - half : 401 + half, 400 - half : 401 + half]
    lost = 1 - inner.sum() / wide.sum()
    assert border_fraction(inner / inner.sum()) * half / (2 * beta - 2) == pytest.approx(lost, rel=0.4)


def starry(gain: float, from_pixels: bool, n_stars: int = 30, sky: float = 400.0) -> Planes:
    """An image with stars, its variance from the noisy pixels or from the model, with a bad column."""
    shape = (300, 300)
    rng = np.random.default_rng(9)
    stars = Planes(np.zeros(shape), np.ones(shape), np.zeros(shape, np.uint32))
    x, y = rng.uniform(20, 280, (2, n_stars))
    model = draw_sources(
        stars, polynomial_stamps(moffat_psf(shape)), x, y, rng.uniform(1e3, 1e5, n_stars), gain, None
    ).planes.image.astype(float)
    electrons = rng.poisson(np.maximum(model, 0) * gain + sky).astype(float)
    variance = (electrons if from_pixels else np.maximum(model, 0) * gain + sky) / gain**2
    mask = np.zeros(shape, np.uint32)
    mask[:, 100] = MaskBit.SAT
    image = (electrons - sky) / gain
    image[:, 100] += 1e6
    image[5, 5] = np.nan
    return Planes(image, variance, mask)


@pytest.mark.parametrize("from_pixels", [True, False])
@pytest.mark.parametrize("gain", [0.4, 3.0])
def test_gain_is_found_whatever_the_variance_was_made_from(gain, from_pixels):
    assert fit_gain(starry(gain, from_pixels)) == pytest.approx(gain, rel=0.01)


def test_gain_of_blank_sky_comes_from_the_line():
    assert fit_gain(noisy_planes((200, 200), 1.7)) == pytest.approx(1.7, rel=1e-3)


def test_gain_that_cannot_be_known_is_an_error_that_says_so():
    rng = np.random.default_rng(3)
    constant = Planes(rng.normal(size=(90, 90)), np.ones((90, 90)), np.zeros((90, 90), np.uint32))
    with pytest.raises(GainError, match="visit_image 7: the variance does not grow"):
        fit_gain(constant, "visit_image 7")
    constant.mask[:] = MaskBit.SAT
    with pytest.raises(GainError, match="only 0 pixels"):
        fit_gain(constant)
