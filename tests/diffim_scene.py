"""A small simulated science and template pair for the tests of the differencing engines (GalSim, seeded)."""

import dataclasses
import functools

import galsim
import numpy as np
from dia_vetting.planes import Planes
from dia_vetting.psf import PolynomialPsf

SCALE = 0.2
SKY = {"science": 320.0, "template": 32.0}


@dataclasses.dataclass(frozen=True)
class Pair:
    science: Planes
    template: Planes
    science_psf: PolynomialPsf
    template_psf: PolynomialPsf
    x: np.ndarray
    y: np.ndarray
    flux: np.ndarray
    star_x: np.ndarray
    star_y: np.ndarray


def profile(fwhm: float) -> galsim.GSObject:
    return galsim.Moffat(beta=3.5, fwhm=fwhm).shear(g1=0.02, g2=-0.01)


def stamp(fwhm: float, size: int = 41, dx: float = 0.0, dy: float = 0.0) -> np.ndarray:
    return np.asarray(profile(fwhm).drawImage(nx=size, ny=size, scale=SCALE, offset=(dx, dy)).array, float)


@functools.cache
def psf(fwhm: float, shape: tuple[int, int]) -> PolynomialPsf:
    box = (0.0, shape[1] - 1.0, 0.0, shape[0] - 1.0)
    return PolynomialPsf.from_nodes([shape[1] / 2], [shape[0] / 2], stamp(fwhm)[None], 0, box)


def draw(shape: tuple[int, int], fwhm: float, x: np.ndarray, y: np.ndarray, flux: np.ndarray) -> np.ndarray:
    """Point sources by GalSim, which does not share code with the engines."""
    full = galsim.ImageD(shape[1], shape[0], scale=SCALE, xmin=0, ymin=0)
    for xk, yk, fk in zip(x, y, flux, strict=True):
        ix, iy = int(np.rint(xk)), int(np.rint(yk))
        image = galsim.ImageD(galsim.BoundsI(ix - 25, ix + 25, iy - 25, iy + 25), scale=SCALE)
        (profile(fwhm) * fk).drawImage(image, center=galsim.PositionD(xk, yk))
        bounds = image.bounds & full.bounds
        if bounds.isDefined():
            full[bounds] += image[bounds]
    return np.asarray(full.array)


def spread(
    random: np.random.Generator, count: int, shape: tuple[int, int], margin: int
) -> tuple[np.ndarray, ...]:
    """Positions on a jittered lattice, so that sources do not blend."""
    ny, nx = shape
    side = int(np.ceil(np.sqrt(count)))
    gx, gy = np.meshgrid(np.linspace(margin, nx - margin, side), np.linspace(margin, ny - margin, side))
    order = random.permutation(side * side)[:count]
    jitter = random.uniform(-4, 4, (2, count))
    return gx.ravel()[order] + jitter[0], gy.ravel()[order] + jitter[1]


@functools.cache
def make_pair(
    seed: int = 1,
    science_fwhm: float = 0.9,
    template_fwhm: float = 0.75,
    shape: tuple[int, int] = (360, 360),
    transient_snr: float = 30.0,
    n_transients: int = 36,
    n_stars: int = 40,
    template_scale: float = 1.0,
) -> Pair:
    """Stars in both images and transients in the science image, sky noise and a gain of 1.5 e-/nJy."""
    random = np.random.default_rng(seed)
    every = spread(random, n_transients + n_stars, shape, 26)
    sx, sy = (v[:n_stars] for v in every)
    x, y = (v[n_stars:] for v in every)
    star_flux = 10 ** random.uniform(3.8, 5.0, n_stars)
    area = float(psf(science_fwhm, shape).effective_area(0, 0)[0])
    flux = np.full(n_transients, transient_snr * np.sqrt((SKY["science"] + SKY["template"]) * area))
    stars = {"science": draw(shape, science_fwhm, sx, sy, star_flux)}
    stars["template"] = template_scale * draw(shape, template_fwhm, sx, sy, star_flux)
    stars["science"] = stars["science"] + draw(shape, science_fwhm, x, y, flux)
    planes = {}
    for name, gain in (("science", 1.5), ("template", 15.0)):
        variance = SKY[name] + np.maximum(stars[name], 0) / gain
        image = stars[name] + random.normal(0, np.sqrt(variance))
        planes[name] = Planes(image, variance, np.zeros(shape, np.uint32))
    psfs = psf(science_fwhm, shape), psf(template_fwhm, shape)
    return Pair(planes["science"], planes["template"], *psfs, x, y, flux, sx, sy)
