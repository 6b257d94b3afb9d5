"""Drawing of many stars and galaxies at once, in Fourier space, through a PSF that varies over the image.

A source is the product of the transfer function at its position, the transform of its profile and a phase;
stamps of one size are transformed back together. Sersic profiles have n = 1 (disc, analytic) and n = 4
(bulge, tabulated).
"""

from __future__ import annotations

__all__ = ["SourceList", "draw_sources"]

import dataclasses
import functools
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from ...psf import chebyshev_terms
from .psf_model import POLYNOMIAL_ORDER, VisitPsf, frequencies

type F32 = NDArray[np.float32]
type F64 = NDArray[np.float64]

STAMP_SIZES = (24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768)
_EXACT_FROM = 192  # from this size on, the PSF is evaluated at the source itself, in double precision
_BATCH_SAMPLES = 1_500_000
_DISC_SCALE = 1.6783469900166605  # half-light radius over scale length of an exponential disc
_SERSIC_B = {1: 1.6783469900166605, 4: 7.669249443219044}


@dataclasses.dataclass(frozen=True)
class SourceList:
    """What is to be drawn; arrays of length N.

    Parameters
    ----------
    x, y
        Position, pixel.
    flux
        Total, any unit (the unit of the image).
    bulge_fraction
        Of the flux, in the n = 4 component.
    disc_radius, bulge_radius
        Half-light radii along the major axis, pixel; 0 for a point.
    disc_axis_ratio, bulge_axis_ratio
        Minor over major axis.
    angle
        Of the major axis from +x towards +y, radian.
    trail_x, trail_y
        Vector from the start to the end of a trail centred on the position, pixel.
    """

    x: F64
    y: F64
    flux: F64
    bulge_fraction: F64
    disc_radius: F64
    bulge_radius: F64
    disc_axis_ratio: F64
    bulge_axis_ratio: F64
    angle: F64
    trail_x: F64
    trail_y: F64

    def __len__(self) -> int:
        return len(self.x)

    @classmethod
    def points(cls, x: Any, y: Any, flux: Any, trail_x: Any = 0.0, trail_y: Any = 0.0) -> SourceList:
        """Return a list of point sources; trails may be scalar."""
        x = np.atleast_1d(np.asarray(x, float))
        zero, one = np.zeros(len(x)), np.ones(len(x))
        trails = [np.broadcast_to(np.asarray(t, float), x.shape) for t in (trail_x, trail_y)]
        y, flux = np.atleast_1d(np.asarray(y, float)), np.atleast_1d(np.asarray(flux, float))
        return cls(x, y, flux, zero, zero, zero, one, one, zero, *trails)

    def __getitem__(self, index: Any) -> SourceList:
        return SourceList(*(getattr(self, field.name)[index] for field in dataclasses.fields(self)))


@functools.cache
def _bulge_table() -> tuple[F64, F64]:
    """Return (k, transform) of a de Vaucouleurs profile of half-light radius 1."""
    import galsim

    profile = galsim.DeVaucouleurs(half_light_radius=1.0)
    k = np.concatenate([[0.0], np.geomspace(1e-3, 300.0, 600)])
    return k, np.array([profile.kValue(value, 0.0).real for value in k])


def _elliptical_k2(ky: F64, kx: F64, axis_ratio: F64, angle: F64) -> F32:
    """Return |k|^2 in the frame where the ellipse of major axis 1 is a circle, float32 [N, n, m]."""
    c, s = np.cos(angle), np.sin(angle)
    xx = (c**2 + (axis_ratio * s) ** 2)[:, None, None].astype(np.float32)
    yy = (s**2 + (axis_ratio * c) ** 2)[:, None, None].astype(np.float32)
    xy = (2.0 * c * s * (1.0 - axis_ratio**2))[:, None, None].astype(np.float32)
    kx32, ky32 = kx.astype(np.float32)[None], ky.astype(np.float32)[None]
    return np.asarray(xx * kx32**2 + yy * ky32**2 + xy * (kx32 * ky32), np.float32)


def _profile(sources: SourceList, ky: F64, kx: F64) -> F32:
    """Return the transform of the galaxies' profiles, float32 [N, n, m]."""
    fraction = sources.bulge_fraction[:, None, None].astype(np.float32)
    scale = (sources.disc_radius / _DISC_SCALE)[:, None, None].astype(np.float32)
    k2 = _elliptical_k2(ky, kx, sources.disc_axis_ratio, sources.angle)
    base = 1.0 + scale**2 * k2
    result = (1.0 - fraction) / (base * np.sqrt(base))
    has = np.flatnonzero(sources.bulge_fraction > 0)
    if has.size:
        k2 = _elliptical_k2(ky, kx, sources.bulge_axis_ratio[has], sources.angle[has])
        k = np.sqrt(k2) * sources.bulge_radius[has, None, None].astype(np.float32)
        result[has] += fraction[has] * np.interp(k, *_bulge_table()).astype(np.float32)
    return np.asarray(result, np.float32)


def _surface_radius(flux: F64, radius: F64, axis_ratio: F64, n: int, limit: float) -> F64:
    """Return the major axis at which a Sersic profile falls to ``limit`` per pixel."""
    b = _SERSIC_B[n]
    norm = n * math.gamma(2 * n) / b ** (2 * n)
    with np.errstate(divide="ignore", invalid="ignore"):
        center = flux / (2.0 * np.pi * norm * np.maximum(radius, 1e-3) ** 2 * axis_ratio)
        reach = radius * (np.log(np.maximum(center / limit, 1.0)) / b) ** n
    return np.where(radius > 0, reach, 0.0)


def _psf_radius(psf: VisitPsf, flux: F64, limit: float) -> F64:
    """Return the radius at which the PSF of a star falls to ``limit`` per pixel."""
    ny, nx = psf.shape
    size = 512
    n = size * psf.oversampling
    image = fft.irfft2(psf.transfer(0.5 * nx, 0.5 * ny, size)[0], (n, n))[:: psf.oversampling]
    profile = np.abs(image[: size // 2, 0]) * psf.oversampling**2
    profile = np.maximum.accumulate(profile[::-1])[::-1]
    wanted = limit / np.maximum(flux, 1e-30)
    return np.asarray(np.searchsorted(-profile, -wanted), np.float64)


def _stamp_sizes(sources: SourceList, psf: VisitPsf, limit: float) -> NDArray[np.int64]:
    flux = np.abs(sources.flux)
    core = np.maximum(_psf_radius(psf, flux, limit), 3.0 * psf.fwhm.constant)
    bulge = flux * sources.bulge_fraction
    disc = flux - bulge
    reach = np.maximum(
        _surface_radius(disc, sources.disc_radius, sources.disc_axis_ratio, 1, limit),
        _surface_radius(bulge, sources.bulge_radius, sources.bulge_axis_ratio, 4, limit),
    )
    trail = 0.5 * np.hypot(sources.trail_x, sources.trail_y)
    donut = abs(psf.defocus.constant) + 0.5 * np.hypot(*psf.tracking)
    needed = 2.0 * (np.hypot(core, reach) + trail + donut) + 2.0
    index = np.minimum(np.searchsorted(STAMP_SIZES, needed), len(STAMP_SIZES) - 1)
    return np.asarray(np.take(STAMP_SIZES, index), np.int64)


def _draw_batch(sources: SourceList, psf: VisitPsf, size: int, components: Any) -> NDArray[Any]:
    """Return stamps [N, size, size] whose pixel (size // 2, size // 2) is the one nearest to each source."""
    exact = components is None
    ky, kx = frequencies(size, psf.oversampling)
    real: Any = np.float64 if exact else np.float32
    if exact:
        product = psf.transfer(sources.x, sources.y, size)
    else:
        terms = chebyshev_terms(sources.x, sources.y, POLYNOMIAL_ORDER, psf.box).astype(np.complex64)
        product = np.tensordot(terms, components, axes=1)
    galaxy = np.flatnonzero((sources.disc_radius > 0) | (sources.bulge_radius > 0))
    if galaxy.size == len(sources):
        product *= _profile(sources, ky, kx)
    elif galaxy.size:
        product[galaxy] *= _profile(sources[galaxy], ky, kx)
    trailed = np.flatnonzero((sources.trail_x != 0) | (sources.trail_y != 0))
    if trailed.size:
        part = sources[trailed]
        along = kx * part.trail_x[:, None, None] + ky * part.trail_y[:, None, None]
        product[trailed] *= np.sinc(along / (2.0 * np.pi)).astype(real)
    center = size // 2
    dx = sources.x - np.rint(sources.x) + center
    dy = sources.y - np.rint(sources.y) + center
    product *= np.exp(-1j * ky.T * dy[:, None]).astype(product.dtype)[:, :, None]
    product *= (np.exp(-1j * kx * dx[:, None]) * sources.flux[:, None]).astype(product.dtype)[:, None, :]
    n = size * psf.oversampling
    stamps = fft.irfft2(product, (n, n), overwrite_x=True)
    return np.asarray(stamps[:, :: psf.oversampling, :: psf.oversampling] * real(psf.oversampling**2))


def _add_stamps(image: NDArray[Any], stamps: NDArray[Any], x: F64, y: F64) -> None:
    ny, nx = image.shape
    size = stamps.shape[1]
    x0 = np.rint(x).astype(int) - size // 2
    y0 = np.rint(y).astype(int) - size // 2
    for stamp, left, low in zip(stamps, x0, y0, strict=True):
        y1, y2, x1, x2 = max(low, 0), min(low + size, ny), max(left, 0), min(left + size, nx)
        if y1 < y2 and x1 < x2:
            image[y1:y2, x1:x2] += stamp[y1 - low : y2 - low, x1 - left : x2 - left]


def draw_sources(sources: SourceList, psf: VisitPsf, limit: float) -> F32:
    """Draw sources through the PSF of an image.

    Parameters
    ----------
    sources : `SourceList`
        N sources; those whose stamp misses the image cost nothing.
    psf : `VisitPsf`
        Of the image; its shape is that of the result.
    limit : `float`
        Surface brightness, in the unit of the flux per pixel, at which stamps may end.

    Returns
    -------
    image : `numpy.ndarray`, (ny, nx), float32
        Expected flux per pixel, without noise.
    """
    ny, nx = psf.shape
    image = np.zeros((ny, nx), np.float32)
    if not len(sources):
        return image
    sizes = _stamp_sizes(sources, psf, limit)
    reach = sizes // 2 + 1
    inside = (sources.x > -reach) & (sources.x < nx + reach) & (sources.y > -reach) & (sources.y < ny + reach)
    for size in STAMP_SIZES:
        chosen = np.flatnonzero((sizes == size) & inside)
        if not chosen.size:
            continue
        exact = size >= _EXACT_FROM
        components = None if exact else psf.components(size).astype(np.complex64)
        step = max(1, _BATCH_SAMPLES // (size * psf.oversampling) ** 2)
        for first in range(0, chosen.size, step):
            part = sources[chosen[first : first + step]]
            _add_stamps(image, _draw_batch(part, psf, size, components), part.x, part.y)
    return image
