"""The Piff PSF against the polynomial one that it is made from, and GalSim's own sub-pixel drawing."""

import time
from pathlib import Path

import galsim
import numpy as np
import pytest
from dia_vetting.piff_psf import piff_from_polynomial
from dia_vetting.psf import PolynomialPsf
from lsst.daf.butler import Butler, DatasetType
from lsst.images import Box
from lsst.images.psfs import PiffWrapper

SIZE = 35
BOX = (0.0, 999.0, 0.0, 799.0)
BBOX = Box.factory[5000:5800, 12000:13000]


def profile(x: float, y: float, fwhm: float) -> galsim.GSObject:
    shape = galsim.Moffat(beta=3.5, fwhm=fwhm * (1 + 1e-4 * x - 5e-5 * y))
    return galsim.Convolve(shape.shear(e1=1e-4 * y, e2=0.05), galsim.Pixel(1.0))


def polynomial(order: int, fwhm: float = 3.5) -> PolynomialPsf:
    grid = np.meshgrid(np.linspace(0, 999, 5), np.linspace(0, 799, 5))
    x, y = grid[0].ravel(), grid[1].ravel()
    draw = {"nx": SIZE, "ny": SIZE, "scale": 1.0, "method": "no_pixel"}
    stamps = [profile(a, b, fwhm).drawImage(**draw).array for a, b in zip(x, y, strict=True)]
    return PolynomialPsf.from_nodes(x, y, np.array(stamps), order, BOX)


@pytest.mark.parametrize("order", [0, 1, 2, 3])
def test_kernel_images_are_the_polynomial_pixels(order: int) -> None:
    psf = polynomial(order)
    piff = piff_from_polynomial(psf, BBOX)
    for x, y in [(0.0, 0.0), (500.3, 200.7), (999.0, 799.0)]:
        drawn = piff.compute_kernel_image(x=x + 12000, y=y + 5000)
        expected = psf.kernel_images(x, y)[0]
        np.testing.assert_allclose(drawn.array, expected, atol=1e-10 * expected.max())
        assert drawn.bbox == Box.factory[-17:18, -17:18]


@pytest.mark.parametrize(("fwhm", "tolerance"), [(2.2, 4e-3), (3.5, 1e-3), (5.0, 1e-3)])
def test_stellar_images_agree_between_piff_fourier_shift_and_galsim(fwhm: float, tolerance: float) -> None:
    psf = polynomial(0, fwhm)
    piff = piff_from_polynomial(psf, BBOX)
    x, y = 400.3, 300.45
    drawn = piff.compute_stellar_image(x=x + 12000, y=y + 5000)
    ours, x_first, y_first = psf.stellar_images(x, y)
    assert (drawn.bbox.x.start - 12000, drawn.bbox.y.start - 5000) == (x_first[0], y_first[0])
    peak = ours.max()
    assert np.abs(drawn.array - ours[0]).max() < tolerance * peak
    kernel = galsim.Image(psf.kernel_images(x, y)[0], scale=1.0)
    exact = galsim.InterpolatedImage(kernel, x_interpolant=galsim.SincInterpolant(), flux=1.0)
    true = exact.drawImage(nx=SIZE, ny=SIZE, scale=1.0, method="no_pixel", offset=(0.3, 0.45)).array
    assert np.abs(drawn.array - true).max() < tolerance * peak
    u = np.arange(SIZE) - SIZE // 2
    assert (drawn.array.sum(axis=0) @ u) == pytest.approx(0.3, abs=0.01)
    assert (drawn.array.sum(axis=1) @ u) == pytest.approx(0.45, abs=0.01)


def test_survives_the_butler_with_its_origin(tmp_path: Path) -> None:
    psf = polynomial(2)
    Butler.makeRepo(str(tmp_path / "repo"))
    butler = Butler.from_config(str(tmp_path / "repo"), writeable=True, run="run")
    butler.registry.registerDatasetType(
        DatasetType("psf", (), "PointSpreadFunction", universe=butler.dimensions)
    )
    butler.put(piff_from_polynomial(psf, BBOX), "psf")
    back = butler.get("psf")
    assert isinstance(back, PiffWrapper)
    expected = psf.kernel_images(900.0, 100.0)[0]
    drawn = back.compute_kernel_image(x=12900.0, y=5100.0).array
    np.testing.assert_allclose(drawn, expected, atol=1e-12)
    assert back.bounds.bbox == BBOX


def test_drawing_takes_about_a_millisecond_or_less() -> None:
    piff = piff_from_polynomial(polynomial(2), BBOX)
    piff.compute_stellar_image(x=12100.2, y=5100.3)
    start = time.process_time()
    for step in range(100):
        piff.compute_stellar_image(x=12100.2 + step, y=5100.3)
    assert (time.process_time() - start) / 100 < 2e-3  # 0.3 ms on an idle core
