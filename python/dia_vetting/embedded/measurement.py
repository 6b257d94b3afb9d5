"""Detection and measurement of the sources of a difference image, as a table."""

from __future__ import annotations

__all__ = ["Detections", "detect_and_measure", "pixel_flags"]

import dataclasses
from collections.abc import Mapping

import astropy.units as u
import numpy as np
import sep
from astropy.table import Table
from numpy.typing import NDArray

from ..masks import MaskBit
from ..planes import Planes, cutouts
from ..psf import PolynomialPsf
from .detection import DetectionConfig, Peaks, detect_peaks
from .matched_filter import Filtered, StaticErrors
from .photometry import PsfFit, fit_positions, forced_psf_flux, profile_flux, scene, usable_stamps
from .shapes import fit_dipoles, measure_moments, trails_from_moments
from .subtraction_types import StaticSky

type F32 = NDArray[np.float32]
type F64 = NDArray[np.float64]

FLAG_BITS: dict[str, MaskBit] = {
    "bad": MaskBit.BAD,
    "cr": MaskBit.CR,
    "crosstalk": MaskBit.CROSSTALK,
    "edge": MaskBit.EDGE,
    "interpolated": MaskBit.INTRP,
    "nodata": MaskBit.NO_DATA | MaskBit.NO_DATA_TEMPLATE,
    "saturated": MaskBit.SAT,
    "saturated_template": MaskBit.SAT_TEMPLATE,
    "bad_template": MaskBit.BAD_TEMPLATE,
    "nodata_template": MaskBit.NO_DATA_TEMPLATE,
    "streak": MaskBit.STREAK,
    "suspect": MaskBit.SUSPECT,
    "injected": MaskBit.INJECTED,
    "injected_core": MaskBit.INJECTED_CORE,
}
"""Names of the pixel flags (``pixelFlags_<name>`` and ``pixelFlags_<name>Center``) and their mask bits."""


@dataclasses.dataclass(frozen=True)
class Detections:
    """What `detect_and_measure` returns.

    Parameters
    ----------
    table
        One row per DIA source.
    dropped
        Sources left out for each flag of the configuration (one source can count for several).
    n_dropped
        Sources left out.
    errors
        The errors of the static sky that entered the significance.
    mask
        Mask of the difference with DETECTED and DETECTED_NEGATIVE, uint32 [ny, nx].
    """

    table: Table
    dropped: dict[str, int]
    n_dropped: int
    errors: StaticErrors
    mask: NDArray[np.uint32]


def pixel_flags(mask: NDArray[np.uint32], x: F64, y: F64, radius: int) -> dict[str, NDArray[np.bool_]]:
    """Summarise the mask planes around positions.

    Parameters
    ----------
    mask
        uint32 [ny, nx] of `MaskBit`.
    x, y
        Positions, pixels, [N].
    radius
        Half-width of the square that stands for the footprint; the centre is 3 x 3 pixels.

    Returns
    -------
    flags
        bool [N] by column name. Pixels outside the image are EDGE.
    """
    ix, iy = np.rint(x).astype(np.int64), np.rint(y).astype(np.int64)
    wide = np.bitwise_or.reduce(
        cutouts(mask, ix - radius, iy - radius, 2 * radius + 1, np.uint32(MaskBit.EDGE)), axis=(1, 2)
    )
    core = np.bitwise_or.reduce(cutouts(mask, ix - 1, iy - 1, 3, np.uint32(MaskBit.EDGE)), axis=(1, 2))
    flags = {}
    for name, bit in FLAG_BITS.items():
        flags[f"pixelFlags_{name}"] = (wide & np.uint32(bit)) != 0
        flags[f"pixelFlags_{name}Center"] = (core & np.uint32(bit)) != 0
    return flags


def _detected_mask(difference: Planes, filtered: Filtered, threshold: float) -> NDArray[np.uint32]:
    mask = difference.mask & ~np.uint32(MaskBit.DETECTED | MaskBit.DETECTED_NEGATIVE)
    significance = filtered.significance
    mask[significance > threshold] |= np.uint32(MaskBit.DETECTED)
    mask[significance < -threshold] |= np.uint32(MaskBit.DETECTED_NEGATIVE)
    return mask


def _own_stamps(
    image: F32, fit: PsfFit, psf: PolynomialPsf, model: F32, size: int
) -> tuple[F64, NDArray[np.int64], NDArray[np.int64]]:
    """Stamps of each source with all other sources subtracted: (stamps, x_first, y_first)."""
    own, x0, y0 = psf.stellar_images(fit.x, fit.y, size)
    stamps = cutouts(image - model, x0, y0, own.shape[1]).astype(np.float64)
    return stamps + fit.flux[:, None, None] * own, x0, y0


def _aperture(image: F32, variance: F32, x: F64, y: F64, radius: float) -> tuple[F64, F64]:
    bad = ~(np.isfinite(image) & np.isfinite(variance))
    flux, err, _ = sep.sum_circle(
        np.nan_to_num(image), x, y, radius, err=np.sqrt(np.nan_to_num(variance)), mask=bad, subpix=5
    )
    return np.asarray(flux, np.float64), np.asarray(err, np.float64)


def _shape_columns(
    stamps: F64, variance: F64, fit: PsfFit, flux: F64, err: F64, psf: PolynomialPsf, fwhm: float
) -> dict[str, NDArray[np.generic] | u.Quantity]:
    sigma = fwhm / 2.355
    dx, dy = fit.x - np.rint(fit.x), fit.y - np.rint(fit.y)
    sign = np.where(flux < 0, -1.0, 1.0)[:, None, None]
    moments = measure_moments(sign * stamps, dx, dy, sigma)
    zero = np.zeros(len(fit.x))
    reference = measure_moments(psf.kernel_images(fit.x, fit.y, stamps.shape[1]), zero, zero, sigma)
    trails = trails_from_moments(moments, reference)
    dipoles = fit_dipoles(stamps, variance, psf, fit.x, fit.y)
    excess = (moments.xx + moments.yy) / (reference.xx + reference.yy) - 1.0
    # The moment of a source at this signal-to-noise ratio scatters by about 2 / SNR of itself.
    extended = excess > 0.2 + 6.0 / np.maximum(np.abs(flux) / err, 1.0)
    pixel2 = u.pix**2
    return {
        "ixx": moments.xx * pixel2, "iyy": moments.yy * pixel2, "ixy": moments.xy * pixel2,
        "ixxPSF": reference.xx * pixel2, "iyyPSF": reference.yy * pixel2, "ixyPSF": reference.xy * pixel2,
        "isDipole": dipoles.is_dipole, "dipoleFluxDiff": dipoles.flux_difference * u.nJy,
        "dipoleMeanFlux": dipoles.mean_flux * u.nJy, "dipoleLength": dipoles.length * u.pix,
        "dipoleAngle": dipoles.angle * u.deg, "trailLength": trails.length * u.pix,
        "trailAngle": trails.angle * u.deg, "extendedness": extended.astype(np.float32),
    }  # fmt: skip


def _table(
    peaks: Peaks, filtered: Filtered, difference: Planes, psf: PolynomialPsf,
    exposures: dict[str, tuple[Planes, PolynomialPsf]],
    config: DetectionConfig,
) -> Table:  # fmt: skip
    size, fwhm = config.fit_size, float(np.median(psf.fwhm(np.mean(psf.box[:2]), np.mean(psf.box[2:]))))
    fit = fit_positions(difference, psf, peaks.x, peaks.y, peaks.flux, peaks.is_pair, size)
    model = scene(difference.shape, psf, fit.x, fit.y, fit.flux, size)
    stamps, x0, y0 = _own_stamps(difference.image, fit, psf, model, size)
    side = stamps.shape[1]
    variance = cutouts(difference.variance, x0, y0, side).astype(np.float64)
    own = psf.stellar_images(fit.x, fit.y, side)[0]
    good = usable_stamps(difference, x0, y0, side)
    flux, err, chi2, npix = profile_flux(stamps, variance, good, own, config.local_background)
    ap_flux, ap_err = _aperture(difference.image, difference.variance, fit.x, fit.y, config.aperture_radius)
    ny, nx = difference.shape
    column = np.clip(np.rint(fit.x).astype(int), 0, nx - 1)
    row = np.clip(np.rint(fit.y).astype(int), 0, ny - 1)
    static_error = filtered.systematic[row, column].astype(np.float64)
    columns = {
        "x": fit.x * u.pix, "y": fit.y * u.pix, "xErr": fit.x_err * u.pix, "yErr": fit.y_err * u.pix,
        "psfFlux": flux * u.nJy, "psfFluxErr": err * u.nJy, "snr": flux / err,
        "psfChi2": chi2, "psfNdata": npix.astype(np.int32),
        "significance": peaks.significance, "staticFluxErr": static_error * u.nJy,
        "apFlux": ap_flux * u.nJy, "apFluxErr": ap_err * u.nJy,
    }  # fmt: skip
    columns |= _shape_columns(stamps, variance, fit, flux, err, psf, fwhm)
    columns["isDipole"] = columns["isDipole"] | peaks.is_pair
    columns["trailFlux"] = ap_flux * u.nJy
    columns["isNegative"] = flux < 0
    columns["centroid_flag"] = ~fit.converged
    for name, (planes, own_psf) in exposures.items():
        forced = forced_psf_flux(planes, own_psf, fit.x, fit.y, size)
        columns[f"{name}Flux"], columns[f"{name}FluxErr"] = forced.flux * u.nJy, forced.err * u.nJy
    columns |= pixel_flags(difference.mask, fit.x, fit.y, max(2, round(fwhm)))
    return Table(columns)


def detect_and_measure(
    difference: Planes,
    psf: PolynomialPsf,
    static: StaticSky,
    exposures: Mapping[str, tuple[Planes, PolynomialPsf]],
    config: DetectionConfig | None = None,
) -> Detections:
    """Detect and measure the sources of a difference image.

    Parameters
    ----------
    difference, psf, static
        From `dia_vetting.embedded.subtraction.subtract`.
    exposures
        The images that it was made of and their PSFs, by the prefix of their forced fluxes' columns
        (science, template).
    config
        Settings.

    Returns
    -------
    detections
        The table has the columns of the package's DIA source schema except ids and sky coordinates:
        positions and lengths in pixels, fluxes in nJy, moments in pixel^2, angles in degrees from x
        to y. ``snr`` is psfFlux / psfFluxErr (noise only); ``significance`` is what the threshold
        applied to, with ``staticFluxErr``, the error of the subtracted constant sky, in it.
    """
    config = config or DetectionConfig()
    peaks, filtered, errors = detect_peaks(difference, psf, static, config)
    filled = {name: (planes.interpolated(), own_psf) for name, (planes, own_psf) in exposures.items()}
    table = _table(peaks, filtered, difference, psf, filled, config)
    dropped = {name: int(np.sum(table[name])) for name in config.drop_flags}
    out = np.zeros(len(table), bool)
    for name in config.drop_flags:
        out |= np.asarray(table[name])
    mask = _detected_mask(difference, filtered, config.threshold)
    return Detections(table[~out], dropped, int(out.sum()), errors, mask)
