"""A small real `lsst.images.VisitImage` for the injection tests, and a star's image to put into it."""

from typing import Any

import astropy.time
import astropy.units as u
import numpy as np
from astro_metadata_translator import makeObservationInfo
from astropy.wcs import WCS
from dia_vetting.embedded.camera import make_detector
from dia_vetting.images import detector_projection, make_visit_image
from dia_vetting.planes import Planes
from dia_vetting.psf import PolynomialPsf
from lsst.images import Box, VisitImage

SCALE = 0.2


def moffat_psf(shape: tuple[int, int], fwhm: float = 4.0, size: int = 31, beta: float = 3.5) -> PolynomialPsf:
    """A PSF whose width grows by a tenth across the image; the sum over the stamp is 1."""
    ny, nx = shape
    x, y = (a.ravel() for a in np.meshgrid(np.linspace(0, nx - 1, 4), np.linspace(0, ny - 1, 4)))
    offset = np.arange(size) - size // 2
    width = fwhm * (1 + 0.1 * x / nx) / (2 * np.sqrt(2 ** (1 / beta) - 1))
    r2 = offset[:, None] ** 2 + offset[None, :] ** 2
    stamps = (1 + r2[None] / width[:, None, None] ** 2) ** -beta
    return PolynomialPsf.from_nodes(x, y, stamps, 2, (0.0, nx - 1.0, 0.0, ny - 1.0))


def tan_wcs(ra: float = 150.0, dec: float = 2.0, crpix: float = 100.0) -> WCS:
    """A TAN projection, a little rotated."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix = [ra, dec], [crpix, crpix]
    c, s = np.cos(0.3), np.sin(0.3)
    wcs.wcs.cd = np.array([[-c, s], [s, c]]) * SCALE / 3600
    return wcs


def noisy_planes(shape: tuple[int, int], gain: float, seed: int = 1, sky: float = 200.0) -> Planes:
    """Blank sky of ``sky`` electrons, subtracted, with the variance of the noisy pixels."""
    electrons = np.random.default_rng(seed).poisson(sky, shape).astype(float)
    image = (electrons - sky) / gain
    return Planes(image, electrons / gain**2, np.zeros(shape, np.uint32))


def visit_image(
    planes: Planes,
    psf: Any = None,
    *,
    start: tuple[int, int] = (0, 0),
    flux_per_electron: float | None = None,
    visit: int = 42,
    detector: int = 3,
) -> VisitImage:
    """Wrap planes; ``start`` is the parent-frame (y, x) of the first pixel."""
    box = Box.from_shape(planes.shape, start=start)
    begin = astropy.time.Time("2026-11-01T03:00:00", scale="tai")
    info = makeObservationInfo(
        instrument="SimLSST",
        visit_id=visit,
        exposure_id=visit,
        physical_filter="r",
        datetime_begin=begin,
        datetime_end=begin + 30 * u.s,
    )
    return make_visit_image(
        planes,
        sky_projection=detector_projection(tan_wcs(), "SimLSST", visit, detector, box),
        psf=moffat_psf(planes.shape) if psf is None else psf,
        detector=make_detector("SimLSST", detector, f"D{detector}", box, visit=visit, pixel_scale=SCALE),
        obs_info=info,
        band="r",
        flux_per_electron=flux_per_electron,
    )
