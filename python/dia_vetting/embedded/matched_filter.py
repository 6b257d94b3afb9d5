"""Matched filtering of a difference image, and what errors of the subtracted sky do to it.

The filtered image is the PSF flux at every pixel: f(x) = sum_u P(u) D(x + u) / sum P^2. An error of the
registration moves the whole subtracted source, so that its effect on f is coherent over a PSF: it is
delta . grad(m), with m the filtered static sky. Its variance enters the significance as in the
astrometric-noise term of Zackay, Ofek & Gal-Yam (2016, ApJ 830, 27, section 3.3), but with the size of
the errors measured on the bright constant sources of the image itself.
"""

from __future__ import annotations

__all__ = ["Filtered", "StaticErrors", "filter_response", "match_filter", "measure_static_errors"]

import dataclasses

import numpy as np
from numpy.typing import NDArray

from ..masks import MaskBit
from ..planes import Planes, cutouts
from ..psf import Box, PolynomialPsf
from .halos import halo_inflation
from .spatial import FourierImage, SpatialKernel

type F32 = NDArray[np.float32]
type F64 = NDArray[np.float64]

WITHOUT_VALUE = (
    MaskBit.NO_DATA | MaskBit.BAD | MaskBit.SAT | MaskBit.CR
    | MaskBit.SAT_TEMPLATE | MaskBit.BAD_TEMPLATE | MaskBit.NO_DATA_TEMPLATE
)  # fmt: skip
"""Bits of the pixels of a difference image that get no weight."""

HALO_REACH = 2
"""Extent of the halos of saturated stars, in half-widths of the matched filter."""


@dataclasses.dataclass(frozen=True)
class StaticErrors:
    """Scatter of the subtracted sources about the model that was subtracted.

    Parameters
    ----------
    jitter
        Position error per axis, pixels.
    fraction
        Flux error, as a fraction.
    curvature
        Width error: coefficient of the Laplacian, pixel^2.
    count
        Number of sources they were measured on; 0 if they are defaults.
    """

    jitter: float
    fraction: float
    curvature: float
    count: int


@dataclasses.dataclass(frozen=True)
class Filtered:
    """PSF fluxes of every pixel.

    Parameters
    ----------
    flux
        float32 [ny, nx], nJy.
    sigma
        Its noise, float32 [ny, nx], nJy.
    systematic
        Error that the subtraction of constant sources adds, float32 [ny, nx], nJy.
    """

    flux: F32
    sigma: F32
    systematic: F32

    @property
    def snr(self) -> F32:
        """Flux over noise, float32 [ny, nx]."""
        return self.flux / self.sigma

    @property
    def significance(self) -> F32:
        """Flux over noise and systematic error, float32 [ny, nx]."""
        return np.asarray(self.flux / np.hypot(self.sigma, self.systematic), np.float32)


def _nodes(box: Box) -> tuple[F64, F64]:
    x, y = np.meshgrid(np.linspace(box[0], box[1], 5), np.linspace(box[2], box[3], 5))
    return x.ravel(), y.ravel()


def _filters(psf: PolynomialPsf, size: int, box: Box) -> tuple[SpatialKernel, SpatialKernel]:
    """Kernels that give the flux and its variance: P / sum P^2 and its square."""
    x, y = _nodes(box)
    stamps = psf.kernel_images(x, y, size)
    unit = stamps / (stamps**2).sum(axis=(1, 2), keepdims=True)
    flux = SpatialKernel.from_nodes(x, y, unit, 3, box, 1e-3)
    return flux, SpatialKernel.from_nodes(x, y, unit**2, 2, box, 3e-3)


def _static_basis(static: F32) -> tuple[F32, F32, F32, F32]:
    gy, gx = (np.asarray(slope, np.float32) for slope in np.gradient(static))
    laplacian = np.gradient(gx, axis=1) + np.gradient(gy, axis=0)
    return static, gx, gy, np.asarray(laplacian, np.float32)


def filter_response(psf: PolynomialPsf, size: int) -> F64:
    """Return the response of the matched filter to a point source, which is also its noise correlation.

    Parameters
    ----------
    psf
        Taken at the middle of its box.
    size
        Odd side of the filter, pixels.

    Returns
    -------
    response
        float64 [2 size - 1, 2 size - 1], centred, 1 at the centre.
    """
    box = psf.box
    stamp = psf.kernel_images((box[0] + box[1]) / 2, (box[2] + box[3]) / 2, min(size, psf.size))[0]
    full = 2 * stamp.shape[0] - 1
    power = np.abs(np.fft.rfft2(stamp, (full, full))) ** 2
    response = np.fft.fftshift(np.fft.irfft2(power, (full, full)))
    return np.asarray(response / response.max(), np.float64)


def _noise_correlation(response: F64, side: int) -> F64:
    """Correlation matrix of the filtered noise in a square of ``side`` pixels, [side^2, side^2]."""
    rows, columns = (v.ravel() for v in np.mgrid[:side, :side])
    centre = response.shape[0] // 2
    lag_y, lag_x = rows[:, None] - rows[None, :], columns[:, None] - columns[None, :]
    return np.asarray(response[centre + lag_y, centre + lag_x])


def measure_static_errors(
    flux: F32, sigma: F32, static: F32, x: NDArray[np.int64], y: NDArray[np.int64], response: F64,
    default: StaticErrors, min_snr: float = 40.0, min_count: int = 10,
) -> StaticErrors:  # fmt: skip
    """Measure how well bright constant sources were subtracted.

    Around each source the filtered difference is fitted by the filtered static sky, its gradient and
    its Laplacian. The scatter of the coefficients, freed of the noise, gives the errors; medians keep
    variables and transients out.

    Parameters
    ----------
    flux, sigma, static
        Filtered difference, its noise, and filtered static sky, float32 [ny, nx], nJy.
    x, y
        Pixels of the sources, [N].
    response
        From `filter_response`.
    default
        Returned if there are too few sources.
    min_snr, min_count
        Smallest signal-to-noise ratio of a source, and number of them.

    Returns
    -------
    errors
        See `StaticErrors`.
    """
    if len(x):
        bright = static[y, x] > min_snr * sigma[y, x]
        x, y = x[bright], y[bright]
    if len(x) < min_count:
        return default
    half = 3
    side = 2 * half + 1

    def stamps(image: F32) -> F64:
        return cutouts(image, x - half, y - half, side, 0.0).reshape(len(x), -1).astype(np.float64)

    basis = np.stack([stamps(b) for b in _static_basis(static)], axis=2)
    scale = np.linalg.norm(basis, axis=1, keepdims=True)
    operator = np.linalg.pinv(basis / np.maximum(scale, 1e-30), rcond=1e-4) / scale.transpose(0, 2, 1)
    value = (operator @ stamps(flux)[:, :, None])[:, :, 0]
    correlation = _noise_correlation(response, side)
    noise = np.einsum("nip,pq,niq->ni", operator, correlation, operator) * sigma[y, x][:, None] ** 2
    variance = [_excess_variance(value[:, k], noise[:, k]) for k in range(4)]
    jitter, fraction, curvature = np.sqrt([0.5 * (variance[1] + variance[2]), variance[0], variance[3]])
    return StaticErrors(float(jitter), float(fraction), float(curvature), len(x))


def _excess_variance(value: F64, noise: F64) -> float:
    """Robust mean square of values beyond their known noise variances.

    Solves median(value^2 / (noise + v)) = 0.4549, the median of a chi-square of one degree, for v.
    """
    low, high = 0.0, 4.0 * float(np.median(value**2)) + 1e-30
    if np.median(value**2 / np.maximum(noise, 1e-30)) < 0.4549:
        return 0.0
    for _ in range(40):
        middle = 0.5 * (low + high)
        above = np.median(value**2 / (noise + middle)) > 0.4549
        low, high = (middle, high) if above else (low, middle)
    return 0.5 * (low + high)


def _systematic(static: F32, errors: StaticErrors) -> F32:
    value, gx, gy, laplacian = _static_basis(static)
    variance = errors.jitter**2 * (gx**2 + gy**2) + errors.fraction**2 * value**2
    return np.asarray(np.sqrt(variance + errors.curvature**2 * laplacian**2), np.float32)


def _filter_valid(
    difference: Planes, by_flux: SpatialKernel, by_variance: SpatialKernel, margin: int
) -> tuple[F32, F32]:
    """PSF flux and noise from the pixels that have a value; 0 where too little of the PSF is left."""
    valid = ~difference.has(WITHOUT_VALUE) & np.isfinite(difference.image) & np.isfinite(difference.variance)
    image = np.where(valid, difference.image, np.float32(0))
    variance = np.where(valid, difference.variance, np.float32(0))
    flux = by_flux.correlate(FourierImage(image, margin, mirror=False))
    noise = by_variance.correlate(FourierImage(variance, margin, mirror=False))
    # by_variance is P^2 / (sum P^2)^2: its response to the valid pixels is what is left of 1 / sum P^2.
    left = by_variance.correlate(FourierImage(valid.astype(np.float32), margin, mirror=False))
    left /= by_variance.total(left.shape)
    poor = left < 0.25
    np.maximum(left, np.float32(0.1), out=left)
    flux /= left
    noise /= left**2
    flux[poor] = 0.0
    floor = np.float32(0.02 * np.median(noise[::5, ::5]) + 1e-30)
    return flux, np.sqrt(np.maximum(noise, floor))


def match_filter(
    difference: Planes, psf: PolynomialPsf, size: int, static: F32 | None = None,
    x: NDArray[np.int64] | None = None, y: NDArray[np.int64] | None = None,
    default: StaticErrors | None = None,
) -> tuple[Filtered, StaticErrors]:  # fmt: skip
    """Filter a difference image by its PSF.

    Parameters
    ----------
    difference
        Pixels that are flagged as without value, or NaN, have no weight.
    psf
        Its PSF.
    size
        Odd side of the filter, pixels.
    static
        Subtracted static sky, float32 [ny, nx], nJy; None for no systematic error.
    x, y
        Pixels of bright constant sources, on which the errors are measured.
    default
        Errors to assume where too few sources are there.

    Returns
    -------
    filtered, errors
        The filtered image, and the errors that were assumed or measured.
    """
    size = min(size, psf.size)
    ny, nx = difference.shape
    box = (0.0, float(nx - 1), 0.0, float(ny - 1))
    by_flux, by_variance = _filters(psf, size, box)
    flux, sigma = _filter_valid(difference, by_flux, by_variance, size // 2)
    errors = default or StaticErrors(0.0, 0.0, 0.0, 0)
    if static is None:
        return Filtered(flux, sigma, np.zeros_like(flux)), errors
    smooth = by_flux.correlate(FourierImage(np.nan_to_num(static), size // 2))
    if x is not None and y is not None:
        errors = measure_static_errors(flux, sigma, smooth, x, y, filter_response(psf, size), errors)
    systematic = _systematic(smooth, errors)
    saturated = difference.has(MaskBit.SAT | MaskBit.SAT_TEMPLATE)
    total = np.asarray(np.hypot(sigma, systematic), np.float32)
    factor = halo_inflation(flux / total, saturated, HALO_REACH * size // 2)
    return Filtered(flux, sigma, np.sqrt((factor * total) ** 2 - sigma**2)), errors
