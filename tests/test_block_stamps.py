"""Injected pixels against the PSF's own evaluation and against GalSim; many at once against one by one."""

import galsim
import numpy as np
import pytest
from dia_vetting.injection.block_stamps import BlockStamps, _check_positions
from dia_vetting.injection.drawing import draw_sources, polynomial_stamps, trail_image
from dia_vetting.injection.image_stamps import image_stamps
from dia_vetting.piff_psf import piff_from_polynomial
from dia_vetting.planes import Planes
from injection_images import moffat_psf, noisy_planes, visit_image
from lsst.images import Box
from lsst.images.psfs import GaussianPointSpreadFunction

SHAPE = (300, 260)
RNG = np.random.default_rng(7)


def blank(shape=SHAPE) -> Planes:
    return Planes(np.zeros(shape, np.float32), np.ones(shape, np.float32), np.zeros(shape, np.uint32))


def gaussian(sigma: float = 2.0):
    return GaussianPointSpreadFunction(sigma, stamp_size=33, bounds=Box.from_shape(SHAPE))


def piff():
    return piff_from_polynomial(moffat_psf(SHAPE), Box.from_shape(SHAPE))


PSFS = {"Gaussian": gaussian, "Piff": piff}


def stamps_of(psf):
    return image_stamps(visit_image(noisy_planes(SHAPE, 2.0), psf))


def positions(count: int, margin: float = 0.0):
    x = RNG.uniform(-margin, SHAPE[1] - 1 + margin, count)
    return x, RNG.uniform(-margin, SHAPE[0] - 1 + margin, count)


@pytest.mark.parametrize("many", [False, True], ids=["one by one", "block"])
@pytest.mark.parametrize("psf", PSFS.values(), ids=PSFS.keys())
def test_injected_minus_original_is_flux_times_the_psf_itself(psf, many):
    """Noise off: at sub-pixel positions, over edges and over NaN, within 1e-3 of the peak everywhere."""
    model = psf()
    stamps = stamps_of(model)
    block = BlockStamps.fit(stamps, SHAPE, 5e-4) if many else None
    assert not many or block is not None
    planes = blank()
    planes.image[100:104, 50:60] = np.nan
    x = np.array([50.3, 55.47, 130.27, 0.2, 259.4, 130.0, 200.49, 200.51, 20.0])
    y = np.array([101.7, 103.2, 150.61, 0.4, 299.3, 250.47, 30.47, 60.49, 299.0])
    for k in range(len(x)):
        drawn = draw_sources(
            planes, stamps, x[k : k + 1], y[k : k + 1], np.array([1e4]), 1.0, None, block=block
        )
        stamp = model.compute_stellar_image(x=x[k], y=y[k])
        full = np.zeros((SHAPE[0] + 200, SHAPE[1] + 200))
        full[
            stamp.bbox.y.start + 100 : stamp.bbox.y.stop + 100,
            stamp.bbox.x.start + 100 : stamp.bbox.x.stop + 100,
        ] = stamp.array / stamp.array.sum()
        expected = 1e4 * full[100:-100, 100:-100]
        added = drawn.planes.image - planes.image
        assert np.isnan(added[100:104, 50:60]).all()
        assert np.nanmax(np.abs(added - expected)) < 1e-3 * 1e4 * stamp.array.max() / stamp.array.sum()


def test_galsim_draws_the_same_for_an_analytic_psf():
    stamps = stamps_of(gaussian(2.0))
    for x, y in zip(*positions(20, margin=-20), strict=True):
        unit, x_first, y_first = stamps(x, y)
        size = unit.shape[0]
        offset = galsim.PositionD(x - x_first - (size - 1) / 2, y - y_first - (size - 1) / 2)
        drawn = galsim.Gaussian(sigma=2.0).drawImage(
            nx=size, ny=size, scale=1.0, offset=offset, method="no_pixel"
        ).array  # fmt: skip
        assert np.abs(unit - drawn).max() < 1e-3 * drawn.max()


def test_galsim_draws_the_same_for_a_sampled_psf():
    model = moffat_psf(SHAPE)
    stamps = stamps_of(piff_from_polynomial(model, Box.from_shape(SHAPE)))
    for x, y in zip(*positions(20, margin=-20), strict=True):
        kernel = galsim.Image(np.asarray(model.kernel_images([x], [y])[0]), scale=1.0)
        profile = galsim.InterpolatedImage(kernel, x_interpolant="lanczos15", flux=1.0)
        unit, x_first, y_first = stamps(x, y)
        size = unit.shape[0]
        offset = galsim.PositionD(x - x_first - (size - 1) / 2, y - y_first - (size - 1) / 2)
        drawn = profile.drawImage(nx=size, ny=size, scale=1.0, offset=offset, method="no_pixel").array
        assert np.abs(unit - drawn).max() < 5e-3 * drawn.max()


@pytest.mark.parametrize("psf", PSFS.values(), ids=PSFS.keys())
def test_block_keeps_its_tolerance_everywhere(psf):
    stamps = stamps_of(psf())
    block = BlockStamps.fit(stamps, SHAPE, 2e-4)
    assert block is not None
    assert block.error <= 2e-4
    x, y = positions(60, margin=0.0)
    images, x_first, y_first = block.images(x, y)
    np.testing.assert_allclose(images.sum(axis=(1, 2)), 1.0, rtol=1e-12)
    for k in range(len(x)):
        unit, column, line = stamps(x[k], y[k])
        difference = images[k].copy()
        rows, columns = line - y_first[k], column - x_first[k]
        difference[rows : rows + unit.shape[0], columns : columns + unit.shape[1]] -= unit
        assert np.abs(difference).max() < 4e-4 * unit.max()  # twice the tolerance: other positions


def test_a_row_is_the_same_to_the_bit_alone_and_among_others():
    block = BlockStamps.fit(stamps_of(piff()), SHAPE, 2e-4)
    assert block is not None
    x, y = positions(700)
    images = block.images(x, y)[0]
    for k in (0, 255, 256, 699):
        np.testing.assert_array_equal(block.images(x[k : k + 1], y[k : k + 1])[0][0], images[k])
    np.testing.assert_array_equal(block.images(x[::-1], y[::-1])[0][::-1], images)


def test_a_psf_that_jumps_is_not_interpolated():
    def stamps(x, y):
        unit, x_first, y_first = polynomial_stamps(moffat_psf(SHAPE))(round(x), round(y))
        return (unit if x % 1.0 < 0.2 else np.roll(unit, 1, axis=0)), x_first, y_first

    assert BlockStamps.fit(stamps, SHAPE, 1e-3) is None


def test_a_psf_that_is_not_known_somewhere_is_not_interpolated():
    def stamps(x, y):
        if x > 0.9 * SHAPE[1]:
            raise ValueError("not there")
        return polynomial_stamps(moffat_psf(SHAPE))(x, y)

    assert BlockStamps.fit(stamps, SHAPE, 1e-3) is None


@pytest.mark.parametrize("share", [0.0, 0.5], ids=["everywhere", "on a side"])
def test_a_psf_that_is_not_finite_somewhere_is_not_interpolated(share):
    def stamps(x, y):
        unit, x_first, y_first = polynomial_stamps(moffat_psf(SHAPE))(x, y)
        return np.where(x > share * SHAPE[1], np.nan, unit), x_first, y_first

    assert BlockStamps.fit(stamps, SHAPE, 1e-3) is None


def test_a_psf_that_is_not_finite_at_a_fitted_position_is_not_interpolated():
    checked = set(_check_positions(SHAPE))

    def stamps(x, y):
        unit, x_first, y_first = polynomial_stamps(moffat_psf(SHAPE))(x, y)
        return unit if (x, y) in checked else np.full_like(unit, np.nan), x_first, y_first

    assert BlockStamps.fit(stamps, SHAPE, 1e-3) is None


@pytest.mark.parametrize("many", [False, True], ids=["one by one", "block"])
def test_the_noise_of_pixels_is_poisson_for_the_gain(many):
    """Within 2 %: noise adds in quadrature where sources overlap, so that every pixel is a sample."""
    stamps = stamps_of(piff())
    block = BlockStamps.fit(stamps, SHAPE, 2e-4) if many else None
    count, gain = 4000, 1.7
    rng = np.random.default_rng(11)
    place = rng.uniform(0, SHAPE[1] - 1, count), rng.uniform(0, SHAPE[0] - 1, count)
    rngs = [np.random.default_rng(k) for k in range(count)]
    flux = np.full(count, 200.0)
    noisy, quiet = (draw_sources(blank(), stamps, *place, flux, gain, r, block=block) for r in (rngs, None))
    squares = (noisy.planes.image.astype(float) - quiet.planes.image) ** 2
    assert squares.sum() == pytest.approx(quiet.planes.image.sum(dtype=float) / gain, rel=0.02)


@pytest.mark.parametrize("many", [False, True], ids=["one by one", "block"])
def test_flux_and_photon_noise(many):
    """Sum of the flux within 0.1 %, variance of the sums within the scatter of so many sources."""
    stamps = stamps_of(piff())
    block = BlockStamps.fit(stamps, SHAPE, 2e-4) if many else None
    count, flux, gain = 20_000, 200.0, 1.7
    x, y = positions(count, margin=-25)
    rngs = [np.random.default_rng(k) for k in range(count)]
    drawn = draw_sources(blank(), stamps, x, y, np.full(count, flux), gain, rngs, block=block)
    assert drawn.on_image.mean() == pytest.approx(flux, rel=1e-3)
    assert drawn.on_image.var() == pytest.approx(flux / gain, rel=0.02 + 2 * np.sqrt(2 / count))
    quiet = draw_sources(blank(), stamps, x[:50], y[:50], np.full(50, flux), gain, None, block=block)
    np.testing.assert_allclose(quiet.on_image, flux, rtol=1e-3)
    assert quiet.planes.image.sum() == pytest.approx(50 * flux, rel=1e-3)


def test_trail_has_unit_sum_and_the_length_in_its_moments():
    stamps = stamps_of(gaussian(2.0))
    dx, dy = 12.0, 5.0
    image, x_first, y_first = trail_image(stamps, 120.3, 140.7, dx, dy)
    assert image.sum() == pytest.approx(1.0, rel=1e-6)
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    assert ((x + x_first) * image).sum() == pytest.approx(120.3, abs=0.01)
    assert ((y + y_first) * image).sum() == pytest.approx(140.7, abs=0.01)
    cx, cy = 120.3 - x_first, 140.7 - y_first
    xx, yy, xy = (
        ((x - cx) ** 2 * image).sum(),
        ((y - cy) ** 2 * image).sum(),
        ((x - cx) * (y - cy) * image).sum(),
    )
    np.testing.assert_allclose([xx, yy, xy], [4 + dx**2 / 12, 4 + dy**2 / 12, dx * dy / 12], rtol=0.01)
    line = galsim.Box(float(np.hypot(dx, dy)), 1e-3).rotate(np.arctan2(dy, dx) * galsim.radians)
    smeared = galsim.Convolve(galsim.Gaussian(sigma=2.0), line)
    ny, nx = image.shape
    offset = galsim.PositionD(cx - (nx - 1) / 2, cy - (ny - 1) / 2)
    drawn = smeared.drawImage(nx=nx, ny=ny, scale=1.0, offset=offset, method="no_pixel").array
    assert np.abs(image - drawn).max() < 2e-3 * drawn.max()


def test_moving_sources_among_points():
    stamps = stamps_of(piff())
    block = BlockStamps.fit(stamps, SHAPE, 2e-4)
    x, y, flux = np.array([60.2, 160.0]), np.array([100.4, 200.0]), np.array([1e3, 1e3])
    trail = (np.array([0.0, 15.0]), np.array([0.0, 0.0]))
    drawn = draw_sources(blank(), stamps, x, y, flux, 1.0, None, trail=trail, block=block)
    np.testing.assert_allclose(drawn.on_image, 1e3, rtol=1e-3)
    peak = [drawn.planes.image[100, 60], drawn.planes.image[200, 160]]
    assert peak[1] < 0.5 * peak[0]
    assert drawn.draw_size[1] > drawn.draw_size[0]
