"""Detection and measurement of static objects on aligned coadds of several bands.

Detection is on the chi image (root of the summed squares of the bands' signal-to-noise images; Szalay,
Connolly & Szokoly 1999, AJ 117, 68), position and shape in the reference band, fluxes in every band.
"""

__all__ = [
    "ObjectDetectionConfig",
    "Shapes",
    "adaptive_moments",
    "detect_objects",
    "measure_band",
    "psf_moments",
]

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..masks import UNUSABLE_BITS, MaskBit
from ..planes import Planes
from ..psf import PolynomialPsf
from .photometry import forced_psf_flux

type F64 = NDArray[np.float64]

_LEAST_AXIS = 0.01
"""Least rms semi-axis of an aperture, pixels."""
_RIGHT_ANGLE = float(np.nextafter(0.5 * np.pi, 0.0))


@dataclasses.dataclass(frozen=True)
class ObjectDetectionConfig:
    """Settings of the detection of static objects.

    Parameters
    ----------
    threshold : `float`
        Detection threshold, in units of the noise of the smoothed chi image.
    min_area : `int`
        Fewest connected pixels above it.
    kron_factor : `float`
        Kron aperture in units of the Kron radius.
    extended_size : `float`
        Smallest excess of the trace of an object's moments over the PSF's, as a fraction of the latter, at
        which a bright object counts as extended. Where exposures of other seeing overlap, the PSF of a coadd
        differs from the fitted one by up to this much.
    """

    threshold: float = 4.0
    min_area: int = 5
    kron_factor: float = 2.5
    extended_size: float = 0.3


@dataclasses.dataclass(frozen=True)
class Shapes:
    """Adaptive second moments, in pixels squared; NaN where they did not converge.

    Parameters
    ----------
    xx, yy, xy : `numpy.ndarray`, (N,), float64
        Moments, PSF included.
    """

    xx: F64
    yy: F64
    xy: F64

    def trace(self) -> F64:
        """Return xx + yy, (N,)."""
        return self.xx + self.yy


def detect_objects(
    planes: Mapping[str, Planes], psfs: Mapping[str, PolynomialPsf], config: ObjectDetectionConfig
) -> NDArray[Any]:
    """Detect and deblend objects on the chi image of all bands.

    Parameters
    ----------
    planes : `~collections.abc.Mapping` of `str` to `Planes`
        Coadd of each band, on one pixel grid.
    psfs : `~collections.abc.Mapping` of `str` to `PolynomialPsf`
        Their PSFs.
    config : `ObjectDetectionConfig`
        Settings.

    Returns
    -------
    objects : `numpy.ndarray`
        sep's structured array, one row per object (``x``, ``y``, ``a``, ``b``, ``theta``, ...), local frame.
    """
    import sep
    from scipy.signal import fftconvolve

    chi2 = np.zeros(next(iter(planes.values())).shape)
    for band, plane in planes.items():
        psf = psfs[band].kernel_images(plane.shape[1] / 2, plane.shape[0] / 2)[0]
        bad = _bad(plane)
        weight = np.where(bad, 0.0, 1.0 / np.where(bad, 1.0, plane.variance))
        signal = fftconvolve(np.where(bad, 0.0, plane.image) * weight, psf[::-1, ::-1], mode="same")
        power = fftconvolve(weight, psf[::-1, ::-1] ** 2, mode="same")
        snr = np.where(power > 1e-6 * power.max(), signal / np.sqrt(np.maximum(power, 1e-30)), 0.0)
        chi2 += np.where(plane.has(MaskBit.NO_DATA) | ~np.isfinite(plane.image), 0.0, np.sign(snr) * snr**2)
    chi = np.sign(chi2) * np.sqrt(np.abs(chi2) / len(planes))
    sep.set_extract_pixstack(max(1_000_000, chi.size // 2))
    return np.asarray(
        sep.extract(
            np.ascontiguousarray(chi, dtype=np.float32),
            config.threshold,
            err=1.0,
            minarea=config.min_area,
            filter_kernel=None,
            clean=False,
            deblend_cont=0.005,
        )
    )


def adaptive_moments(planes: Planes, x: F64, y: F64, sigma: float, half_width: int = 20) -> Shapes:
    """Measure adaptive Gaussian-weighted second moments (Hirata & Seljak 2003, by GalSim's HSM).

    Parameters
    ----------
    planes : `Planes`
        Image.
    x, y : `numpy.ndarray`, (N,), float64
        Positions in the local frame.
    sigma : `float`
        First guess of the size, pixels.
    half_width : `int`, optional
        Half-width of the stamps.

    Returns
    -------
    shapes : `Shapes`
        One row per position.
    """
    image = np.where(_bad(planes), np.float32(0), planes.image)
    shapes = np.full((3, len(x)), np.nan)
    ny, nx = planes.shape
    for i, (cx, cy) in enumerate(zip(x, y, strict=True)):
        if 0 <= cx < nx and 0 <= cy < ny:
            column, row = round(float(cx)), round(float(cy))
            x0, y0 = max(column - half_width, 0), max(row - half_width, 0)
            stamp = image[y0 : row + half_width + 1, x0 : column + half_width + 1]
            shapes[:, i] = _adaptive(stamp, float(cx) - x0, float(cy) - y0, sigma)
    return Shapes(*shapes)


def psf_moments(psf: PolynomialPsf, x: F64, y: F64) -> Shapes:
    """Measure the same moments of the PSF at positions.

    Parameters
    ----------
    psf : `PolynomialPsf`
        PSF.
    x, y : `numpy.ndarray`, (N,), float64
        Positions in the local frame.

    Returns
    -------
    shapes : `Shapes`
        One row per position.
    """
    half = psf.size // 2
    sigma = float(psf.fwhm(np.mean(psf.box[:2]), np.mean(psf.box[2:]))[0]) / 2.355
    stamps = psf.kernel_images(x, y)
    return Shapes(*np.array([_adaptive(s, half, half, sigma) for s in stamps]).reshape(-1, 3).T)


def _adaptive(stamp: NDArray[Any], x: float, y: float, sigma: float) -> tuple[float, float, float]:
    import galsim

    found = galsim.hsm.FindAdaptiveMom(
        galsim.Image(np.ascontiguousarray(stamp), xmin=0, ymin=0),
        guess_sig=sigma,
        guess_centroid=galsim.PositionD(x, y),
        strict=False,
    )
    if found.error_message:
        return np.nan, np.nan, np.nan
    return _moments(found.moments_sigma, found.observed_e1, found.observed_e2)


def _moments(sigma: float, e1: float, e2: float) -> tuple[float, float, float]:
    """Turn HSM's size (fourth root of the determinant) and distortion into moments xx, yy, xy."""
    half_trace = sigma**2 / np.sqrt(max(1 - e1**2 - e2**2, 1e-6))
    return half_trace * (1 + e1), half_trace * (1 - e1), half_trace * e2


def measure_band(
    planes: Planes, psf: PolynomialPsf, objects: NDArray[Any], shapes: Shapes, config: ObjectDetectionConfig
) -> dict[str, NDArray[Any]]:
    """Measure fluxes and extendedness of detected objects in one band.

    Parameters
    ----------
    planes : `Planes`
        Coadd of the band.
    psf : `PolynomialPsf`
        Its PSF.
    objects : `numpy.ndarray`
        From `detect_objects`.
    shapes : `Shapes`
        Their adaptive moments in this band.
    config : `ObjectDetectionConfig`
        Settings.

    Returns
    -------
    columns : `dict` [`str`, `numpy.ndarray`]
        ``psfFlux``, ``psfFluxErr``, ``kronFlux``, ``kronFluxErr`` (nJy), ``kronFlux_flag``,
        ``extendedness``, ``ixxPSF``, ``iyyPSF``, ``ixyPSF`` (pix2).
    """
    x, y = objects["x"].astype(float), objects["y"].astype(float)
    forced = forced_psf_flux(planes, psf, x, y)
    kron, kron_err, flag = _kron_flux(planes, objects, config.kron_factor)
    point = psf_moments(psf, x, y)
    excess = shapes.trace() / point.trace() - 1
    # The relative error of a trace of moments is about 2 / SNR for a Gaussian-weighted estimate.
    noise = 2.0 / np.maximum(np.abs(forced.flux) / forced.err, 1e-3)
    extended = np.where(excess > np.hypot(config.extended_size, 2 * noise), 1.0, 0.0)
    return {
        "psfFlux": forced.flux,
        "psfFluxErr": forced.err,
        "kronFlux": kron,
        "kronFluxErr": kron_err,
        "kronFlux_flag": flag,
        "extendedness": np.where(np.isfinite(excess), extended, np.nan),
        "ixxPSF": point.xx,
        "iyyPSF": point.yy,
        "ixyPSF": point.xy,
    }


def _kron_flux(planes: Planes, objects: NDArray[Any], factor: float) -> tuple[F64, F64, NDArray[np.bool_]]:
    import sep

    bad = _bad(planes)
    image = np.ascontiguousarray(np.where(bad, 0, planes.image), dtype=np.float32)
    variance = np.ascontiguousarray(np.where(bad, 0, planes.variance), dtype=np.float32)
    shape = _ellipses(objects)
    radius, flag = sep.kron_radius(image, *shape, 6.0, mask=bad)
    radius = np.where(radius > 0, radius, 1.0)
    # No aperture smaller than two pixels across: sep's moments of faint objects may vanish.
    radius = np.maximum(radius, 2.0 / (factor * np.sqrt(shape[2] * shape[3])))
    flux, err, flag2 = sep.sum_ellipse(image, *shape, factor * radius, var=variance, mask=bad, subpix=5)
    return flux, err, ((flag | flag2) & sep.APER_TRUNC != 0) | ~np.isfinite(flux)


def _ellipses(objects: NDArray[Any]) -> tuple[F64, F64, F64, F64, F64]:
    """Return x, y, a, b and theta within what sep takes: its own moments may miss it, or be NaN."""
    x, y, a, b, theta = (np.asarray(objects[name], np.float64) for name in ("x", "y", "a", "b", "theta"))
    a = np.where(np.isfinite(a), np.maximum(a, _LEAST_AXIS), _LEAST_AXIS)
    b = np.where(np.isfinite(b), np.clip(b, _LEAST_AXIS, a), _LEAST_AXIS)
    return x, y, a, b, np.clip(np.nan_to_num(theta), -_RIGHT_ANGLE, _RIGHT_ANGLE)


def _bad(planes: Planes) -> NDArray[np.bool_]:
    return np.asarray(planes.has(UNUSABLE_BITS) | ~np.isfinite(planes.image) | ~(planes.variance > 0))
