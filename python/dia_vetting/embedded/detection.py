"""Sources of a difference image: peaks of the significance, deblended, with dipoles joined."""

from __future__ import annotations

__all__ = ["DetectionConfig", "Peaks", "detect_peaks"]

import dataclasses

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.sparse import linalg as sparse_linalg
from scipy.spatial import cKDTree

from ..masks import MaskBit
from ..planes import Planes
from ..psf import PolynomialPsf
from .matched_filter import Filtered, StaticErrors, filter_response, match_filter
from .subtraction_types import StaticSky

type F32 = NDArray[np.float32]
type F64 = NDArray[np.float64]
type I64 = NDArray[np.int64]

DROPPED_FLAGS = (
    "pixelFlags_saturatedCenter",
    "pixelFlags_interpolatedCenter",
    "pixelFlags_saturated_templateCenter",
    "pixelFlags_edgeCenter",
    "pixelFlags_nodataCenter",
)


@dataclasses.dataclass(frozen=True)
class DetectionConfig:
    """Settings of detection and measurement; lengths in pixels.

    Parameters
    ----------
    threshold
        Smallest significance of a source, standard deviations.
    filter_size, fit_size
        Odd sides of the matched filter and of the stamps that are measured.
    neighbour_fraction
        Error of a neighbour's profile at a peak, as a fraction of its flux there.
    dipole_separation
        Largest distance of the lobes of a dipole, in FWHM.
    dipole_ratio
        Smallest ratio of the fainter to the brighter lobe.
    default_errors
        Errors of the static sky where they cannot be measured.
    aperture_radius
        Of the aperture flux.
    local_background
        Fit a constant together with the PSF flux.
    drop_flags
        Sources with any of these flags are left out, and counted.
    """

    threshold: float = 5.0
    filter_size: int = 31
    fit_size: int = 31
    neighbour_fraction: float = 0.03
    dipole_separation: float = 1.6
    dipole_ratio: float = 0.3
    default_errors: StaticErrors = dataclasses.field(
        default_factory=lambda: StaticErrors(0.03, 0.005, 0.0, 0)
    )
    aperture_radius: float = 12.0
    local_background: bool = False
    drop_flags: tuple[str, ...] = DROPPED_FLAGS


@dataclasses.dataclass(frozen=True)
class Peaks:
    """Detected sources before their measurement.

    Parameters
    ----------
    x, y
        Positions, pixels, float64 [N].
    flux
        Deblended matched-filter flux, nJy, float64 [N].
    significance
        Flux over noise and systematic error, signed, float64 [N].
    is_pair
        Whether the source was joined from a positive and a negative peak, bool [N].
    """

    x: F64
    y: F64
    flux: F64
    significance: F64
    is_pair: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.x)

    def where(self, keep: NDArray[np.bool_]) -> Peaks:
        """Return the sources for which ``keep`` holds."""
        return Peaks(self.x[keep], self.y[keep], self.flux[keep], self.significance[keep], self.is_pair[keep])


def _local_maxima(image: F32, threshold: float, radius: int) -> tuple[I64, I64]:
    """Pixels that are the largest within ``radius`` and above the threshold: (rows, columns)."""
    above = image > threshold
    if not above.any():
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    top = ndimage.maximum_filter(image, size=2 * radius + 1)
    rows, columns = np.nonzero(above & (image == top))
    return rows.astype(np.int64), columns.astype(np.int64)


def _refine(image: F32, rows: I64, columns: I64) -> tuple[F64, F64]:
    """Move peaks to the vertex of the parabola through their neighbours, at most half a pixel."""
    ny, nx = image.shape
    r, c = np.clip(rows, 1, ny - 2), np.clip(columns, 1, nx - 2)

    def vertex(before: F32, centre: F32, after: F32) -> F64:
        curvature = 2.0 * centre - before - after
        step = 0.5 * (after - before) / np.where(np.abs(curvature) > 1e-30, curvature, np.inf)
        return np.clip(np.nan_to_num(step.astype(np.float64)), -0.5, 0.5)

    centre = image[r, c]
    x = columns + vertex(image[r, c - 1], centre, image[r, c + 1])
    return x, rows + vertex(image[r - 1, c], centre, image[r + 1, c])


def _coupling(x: F64, y: F64, response: F64) -> sparse.csr_matrix:
    """Sparse matrix of the responses of every peak to every other, unit diagonal."""
    reach = response.shape[0] // 2
    pairs = cKDTree(np.column_stack([x, y])).query_pairs(0.7 * reach, output_type="ndarray")
    i, j = pairs[:, 0], pairs[:, 1]
    values = ndimage.map_coordinates(response, [reach + y[i] - y[j], reach + x[i] - x[j]], order=3)
    n = len(x)
    upper = sparse.coo_matrix((values, (i, j)), shape=(n, n))
    return sparse.csr_matrix(upper + upper.T + sparse.identity(n))


def _deblend(
    x: F64, y: F64, flux: F64, error: F64, response: F64, config: DetectionConfig
) -> tuple[NDArray[np.bool_], F64, F64]:
    """Fit all peaks together and keep those that are significant beside their neighbours.

    Returns (kept, fluxes, significances), the last two for the kept ones.
    """
    keep = np.ones(len(x), bool)
    amplitude, significance = flux, flux / error
    for _ in range(4):
        if not keep.any():
            break
        matrix = _coupling(x[keep], y[keep], response)
        solution = sparse_linalg.spsolve(matrix + 1e-3 * sparse.identity(matrix.shape[0]), flux[keep])
        amplitude = np.atleast_1d(solution)
        others = matrix - sparse.identity(matrix.shape[0])
        leak = config.neighbour_fraction**2 * (others.multiply(others) @ amplitude**2)
        significance = amplitude / np.sqrt(error[keep] ** 2 + leak)
        good = (np.abs(significance) >= config.threshold) & (np.sign(amplitude) == np.sign(flux[keep]))
        if good.all():
            break
        keep[np.flatnonzero(keep)[~good]] = False
        amplitude, significance = amplitude[good], significance[good]
    return keep, np.asarray(amplitude), np.asarray(significance)


def _join_dipoles(peaks: Peaks, reach: float, ratio: float) -> Peaks:
    """Join mutually nearest positive and negative peaks of comparable flux into one source."""
    positive, negative = np.flatnonzero(peaks.flux > 0), np.flatnonzero(peaks.flux < 0)
    if not len(positive) or not len(negative):
        return peaks
    xy = np.column_stack([peaks.x, peaks.y])
    distance, to_negative = cKDTree(xy[negative]).query(xy[positive])
    _, to_positive = cKDTree(xy[positive]).query(xy[negative])
    mutual = to_positive[to_negative] == np.arange(len(positive))
    i, j = positive[mutual], negative[to_negative[mutual]]
    strength = np.abs(peaks.flux[i]), np.abs(peaks.flux[j])
    alike = np.minimum(*strength) > ratio * np.maximum(*strength)
    pick = alike & (distance[mutual] < reach)
    i, j = i[pick], j[pick]
    weight_i, weight_j = np.abs(peaks.flux[i]), np.abs(peaks.flux[j])
    total = weight_i + weight_j
    x, y, is_pair = peaks.x.copy(), peaks.y.copy(), peaks.is_pair.copy()
    flux, significance = peaks.flux.copy(), peaks.significance.copy()
    x[i] = (peaks.x[i] * weight_i + peaks.x[j] * weight_j) / total
    y[i] = (peaks.y[i] * weight_i + peaks.y[j] * weight_j) / total
    flux[i] = peaks.flux[i] + peaks.flux[j]
    stronger = np.abs(peaks.significance[j]) > np.abs(peaks.significance[i])
    significance[i[stronger]] = peaks.significance[j[stronger]]
    is_pair[i] = True
    keep = np.ones(len(peaks), bool)
    keep[j] = False
    return Peaks(x, y, flux, significance, is_pair).where(keep)


def filter_difference(
    difference: Planes, psf: PolynomialPsf, static: StaticSky | None, config: DetectionConfig
) -> tuple[Filtered, StaticErrors]:
    """Filter a difference image by its PSF, with the errors of the static sky; see `.match_filter`."""
    image, x, y = (None, None, None) if static is None else (static.image, static.x, static.y)
    return match_filter(difference, psf, config.filter_size, image, x, y, config.default_errors)


def detect_peaks(
    difference: Planes,
    psf: PolynomialPsf,
    static: StaticSky | None = None,
    config: DetectionConfig | None = None,
) -> tuple[Peaks, Filtered, StaticErrors]:
    """Find the positive and negative sources of a difference image.

    Parameters
    ----------
    difference, psf
        The image and its PSF.
    static
        The subtracted constant sky, for the systematic error; None for noise only.
    config
        Settings.

    Returns
    -------
    peaks
        Sources in the order of their rows.
    filtered
        The matched-filtered image.
    errors
        The errors of the static sky that entered.
    """
    config = config or DetectionConfig()
    filtered, errors = filter_difference(difference, psf, static, config)
    significance = filtered.significance
    significance[difference.has(MaskBit.NO_DATA | MaskBit.NO_DATA_TEMPLATE)] = 0.0
    fwhm = float(np.median(psf.fwhm((psf.box[0] + psf.box[1]) / 2, (psf.box[2] + psf.box[3]) / 2)))
    radius = max(1, round(0.5 * fwhm))
    found = [_local_maxima(sign * significance, config.threshold, radius) for sign in (1.0, -1.0)]
    rows, columns = (np.concatenate([f[k] for f in found]) for k in (0, 1))
    x, y = _refine(filtered.flux, rows, columns)
    error = np.hypot(filtered.sigma, filtered.systematic)[rows, columns].astype(np.float64)
    flux = filtered.flux[rows, columns].astype(np.float64)
    keep, flux, score = _deblend(x, y, flux, error, filter_response(psf, config.filter_size), config)
    order = np.argsort(y[keep], kind="stable")
    peaks = Peaks(x[keep][order], y[keep][order], flux[order], score[order], np.zeros(len(order), bool))
    return _join_dipoles(peaks, config.dipole_separation * fwhm, config.dipole_ratio), filtered, errors
