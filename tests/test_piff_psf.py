"""The Piff PSF against the polynomial one that it is made from, and GalSim's own sub-pixel drawing."""

import time
from pathlib import Path

import galsim
import numpy as np
import pytest
from astro_metadata_translator import makeObservationInfo
from astropy.wcs import WCS
from dia_vetting.embedded.camera import make_detector
from dia_vetting.images import detector_projection, make_visit_image
from dia_vetting.piff_psf import piff_from_polynomial
from dia_vetting.planes import Planes
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


@pytest.mark.parametrize(("fwhm", "tolerance"), [(2.2, 2e-2), (3.5, 2e-3), (5.0, 2e-3)])
def test_stellar_images_agree_with_the_polynomial_ones_and_with_galsim(fwhm: float, tolerance: float) -> None:
    draw = {"nx": SIZE, "ny": SIZE, "scale": 1.0, "method": "no_pixel"}
    star = profile(500.0, 400.0, fwhm)
    psf = PolynomialPsf.from_nodes(0.0, 0.0, star.drawImage(**draw).array[None], 0, BOX)
    x, y = 400.3, 300.45
    drawn = piff_from_polynomial(psf, BBOX).compute_stellar_image(x=x + 12000, y=y + 5000)
    ours, x_first, y_first = psf.stellar_images(x, y)
    assert (drawn.bbox.x.start - 12000, drawn.bbox.y.start - 5000) == (x_first[0], y_first[0])
    assert np.abs(drawn.array - ours[0]).max() < tolerance * ours.max()
    true = star.drawImage(**draw, offset=(0.3, 0.45)).array
    assert np.abs(drawn.array - true / true.sum()).max() < tolerance * ours.max()


def test_survives_the_butler_as_a_component_of_its_image(tmp_path: Path) -> None:
    psf, bbox = polynomial(2), Box.factory[5000:5040, 12000:12050]
    wcs = WCS({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CDELT1": -1e-4, "CDELT2": 1e-4})
    image = make_visit_image(
        Planes(np.zeros(bbox.shape), np.ones(bbox.shape), np.zeros(bbox.shape, np.uint32)),
        sky_projection=detector_projection(wcs, "SimLSST", 1, 0, bbox),
        psf=psf,
        detector=make_detector("SimLSST", 0, "D00", bbox, visit=1, pixel_scale=0.36),
        obs_info=makeObservationInfo(instrument="SimLSST", physical_filter="r"),
        band="r",
    )
    Butler.makeRepo(str(tmp_path / "repo"))
    butler = Butler.from_config(str(tmp_path / "repo"), writeable=True, run="run")
    butler.registry.registerDatasetType(DatasetType("image", (), "VisitImage", universe=butler.dimensions))
    butler.put(image, "image")
    back = butler.get("image.psf")
    assert isinstance(back, PiffWrapper)
    expected = psf.kernel_images(900.0, 100.0)[0]
    drawn = back.compute_kernel_image(x=12900.0, y=5100.0).array
    np.testing.assert_allclose(drawn, expected, atol=1e-10 * expected.max())
    assert back.bounds.bbox == bbox


def test_drawing_takes_about_a_millisecond_or_less() -> None:
    piff = piff_from_polynomial(polynomial(2), BBOX)
    piff.compute_stellar_image(x=12100.2, y=5100.3)
    start = time.process_time()
    for step in range(100):
        piff.compute_stellar_image(x=12100.2 + step, y=5100.3)
    assert (time.process_time() - start) / 100 < 2e-3  # 0.3 ms on an idle core
