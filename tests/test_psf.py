"""The polynomial PSF against GalSim and closed forms."""

import galsim
import numpy as np
import pytest
from dia_vetting.psf import PolynomialPsf, chebyshev_grid, chebyshev_terms, shift_matrices
from diffim_scene import SCALE, stamp

BOX = (0.0, 999.0, 0.0, 499.0)


def gaussian(sigma: float, size: int = 41) -> np.ndarray:
    u = np.arange(size) - size // 2
    return np.exp(-0.5 * (u[:, None] ** 2 + u[None, :] ** 2) / sigma**2) / (2 * np.pi * sigma**2)


def constant(image: np.ndarray) -> PolynomialPsf:
    return PolynomialPsf.from_nodes([500.0], [250.0], image[None], 0, BOX)


@pytest.mark.parametrize(("dx", "dy"), [(0.0, 0.0), (0.31, -0.44), (-0.5, 0.17)])
def test_stellar_image_is_what_galsim_draws(dx: float, dy: float) -> None:
    image, x0, y0 = constant(stamp(0.75)).stellar_images([100 + dx], [50 + dy])
    ix, iy = round(100 + dx), round(50 + dy)
    assert (x0[0], y0[0]) == (ix - 20, iy - 20)
    expected = stamp(0.75, 41, 100 + dx - ix, 50 + dy - iy)
    assert np.abs(image[0] - expected).max() < 1e-3 * expected.max()
    assert np.abs(image[0] - expected)[:5].max() < 1e-4 * expected.max()


def test_from_nodes_recovers_a_quadratic_field() -> None:
    x, y = (v.ravel() for v in np.meshgrid(np.linspace(0, 999, 5), np.linspace(0, 499, 5)))
    truth = PolynomialPsf(
        np.stack([gaussian(2.0)] + [1e-2 * (gaussian(2.0 + 0.1 * k) - gaussian(2.0)) for k in range(5)]),
        2,
        BOX,
    )
    fitted = PolynomialPsf.from_nodes(x, y, truth.kernel_images(x, y), 2, BOX)
    at = ([123.4, 800.0], [400.0, 20.0])
    assert np.abs(fitted.kernel_images(*at) - truth.kernel_images(*at)).max() < 1e-6
    assert np.allclose(fitted.kernel_images(*at).sum(axis=(1, 2)), 1.0, atol=1e-12)


def test_order_is_lowered_where_nodes_are_few() -> None:
    assert PolynomialPsf.from_nodes([0.0, 10.0], [0.0, 5.0], np.stack([gaussian(2.0)] * 2), 2).order == 0


def test_fwhm_agrees_with_galsim() -> None:
    drawn = galsim.Convolve(galsim.Moffat(beta=3.5, fwhm=0.8), galsim.Pixel(SCALE))
    image = np.asarray(drawn.drawImage(nx=41, ny=41, scale=SCALE, method="no_pixel").array, float)
    assert constant(image).fwhm(10, 10)[0] * SCALE == pytest.approx(drawn.calculateFWHM(), rel=0.005)


def test_effective_area_and_moments_of_a_gaussian() -> None:
    psf = constant(gaussian(2.3))
    assert psf.effective_area(5, 5)[0] == pytest.approx(4 * np.pi * 2.3**2, rel=1e-5)
    ixx, iyy, ixy = psf.moments(5, 5, sigma=2.3)
    assert ixx[0] == pytest.approx(0.5 * 2.3**2, rel=1e-4)
    assert iyy[0] == pytest.approx(0.5 * 2.3**2, rel=1e-4)
    assert abs(ixy[0]) < 1e-9


def test_gradient_is_the_derivative_of_the_stellar_image() -> None:
    psf, h = constant(stamp(0.8)), 1e-4
    d_dx, d_dy = psf.gradient_images([10.2], [20.3])
    numeric = [
        (
            psf.stellar_images([10.2 + a * h], [20.3 + b * h])[0]
            - psf.stellar_images([10.2 - a * h], [20.3 - b * h])[0]
        )
        / (2 * h)
        for a, b in ((1, 0), (0, 1))
    ]
    assert np.abs(d_dx - numeric[0]).max() < 1e-7
    assert np.abs(d_dy - numeric[1]).max() < 1e-7


def test_cropped_stamps_keep_the_normalisation_of_the_full_one() -> None:
    psf = constant(stamp(1.2))
    small = psf.kernel_images(3, 3, 15)[0]
    assert small.shape == (15, 15)
    assert np.array_equal(small, psf.kernel_images(3, 3)[0, 13:28, 13:28])
    assert small.sum() < 1.0


def test_convolution_adds_gaussian_widths_in_quadrature() -> None:
    psf = constant(gaussian(1.8)).convolved_with([500.0], [250.0], gaussian(1.4, 31)[None], 61)
    expected = gaussian(np.hypot(1.8, 1.4), 61)
    assert np.abs(psf.kernel_images(500, 250)[0] - expected).max() < 1e-5 * expected.max()


def test_whole_pixel_shift_moves_pixels() -> None:
    line = np.arange(7.0)
    assert np.allclose(shift_matrices(7, np.array([2.0]))[0] @ line, np.roll(line, 2))


def test_grid_evaluation_is_that_of_the_terms() -> None:
    coefficients = np.random.default_rng(3).normal(size=6)
    box = (0.0, 19.0, 0.0, 9.0)
    grid = chebyshev_grid(coefficients, 2, box, (10, 20))
    yy, xx = np.mgrid[:10, :20]
    expected = chebyshev_terms(xx.ravel(), yy.ravel(), 2, box) @ coefficients
    assert np.allclose(grid.ravel(), expected, atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 10, 10), (1, 11, 9), (2, 11, 11)])
def test_bad_coefficients_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"PSF|polynomial"):
        PolynomialPsf(np.zeros(shape), 0, BOX)
