"""Zero points of DECam exposures, on one scale per band: from their headers and the stars that they share."""

from __future__ import annotations

__all__ = ["NoZeroPointError", "ZeroPoint", "ZeroPointSource", "calibrate"]

import dataclasses
import enum
from collections.abc import Sequence

import numpy as np
from astropy.coordinates import SkyCoord
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from ..errors import BadInputError
from .decam import DecamImage
from .psf_fitting import PsfFit

type F64 = NDArray[np.float64]
type I64 = NDArray[np.int64]

_MATCH_ARCSEC = 1.0
_STAR_FLOOR = 0.01
"""Error of a star's magnitude that no exposure is better than: flat fields, light outside the aperture."""
_APERTURE = 3.0
"""Radius of the aperture in units of the band's median FWHM; PSF fluxes depend on how the PSF was found."""
_HEADER_ERROR = 0.05
"""Error of a zero point in a header: exposures of one field, none of them photometric, differ by this."""


class ZeroPointSource(enum.StrEnum):
    """Where a zero point comes from."""

    HEADER = "header"
    """The header alone, for want of stars in common."""
    BOTH = "header and common stars"
    """All headers of the band, brought to one scale by common stars."""
    STARS = "common stars"
    """Stars in common with exposures whose headers have one."""


class NoZeroPointError(BadInputError):
    """An exposure without a zero point in its header, nor a star in common with one that has it."""


@dataclasses.dataclass(frozen=True)
class ZeroPoint:
    """The calibration of one image.

    Parameters
    ----------
    magnitude
        AB magnitude of 1 ADU in the whole exposure.
    source
        Where it comes from.
    n_stars
        Stars in common with other exposures of the band.
    error
        Error relative to the other exposures of the band that share its stars, mag; that of the scale of
        them all is 0.05 mag over the square root of the number of headers. NaN from a header alone.
    offset
        It minus that in the header, mag; NaN without one.
    """

    magnitude: float
    source: ZeroPointSource
    n_stars: int
    error: float
    offset: float


@dataclasses.dataclass(frozen=True)
class _Stars:
    """Measurements of stars of one band: index of image and star, instrumental magnitude and error, [N]."""

    image: I64
    star: I64
    magnitude: F64
    error: F64


def calibrate(images: Sequence[tuple[DecamImage, PsfFit]]) -> list[ZeroPoint | NoZeroPointError]:
    """Find the zero point of each image.

    Parameters
    ----------
    images
        With the stars of their PSF fits; of all bands.

    Returns
    -------
    zero_points
        In the order of ``images``; an error for one that cannot be calibrated. In each band, the aperture
        magnitudes of stars within 1 arcsec of each other and the zero points in the headers are fitted
        together by robust least squares, so that all images have the same stars at the same magnitudes,
        but for those that vary.
    """
    found: dict[int, ZeroPoint | NoZeroPointError] = {}
    for band in sorted({image.band for image, _ in images}):
        index = [i for i, (image, _) in enumerate(images) if image.band == band]
        found |= dict(zip(index, _calibrate_band([images[i] for i in index]), strict=True))
    return [found[i] for i in range(len(images))]


def _calibrate_band(images: Sequence[tuple[DecamImage, PsfFit]]) -> list[ZeroPoint | NoZeroPointError]:
    stars = _common_stars(images)
    header = np.array([np.nan if image.zero_point is None else image.zero_point for image, _ in images])
    tied = _tied_to_header(len(images), stars, header)
    solution, error = _solve(header, stars)
    results: list[ZeroPoint | NoZeroPointError] = []
    for i, (image, _) in enumerate(images):
        n_stars = int((stars.image == i).sum())
        if not tied[i]:
            found = f"neither, with {int(np.isfinite(header).sum())} such exposures"
            wanted = f"MAGZERO, or a star in common with a {image.band}-band exposure that has it"
            results.append(NoZeroPointError(image.source, wanted, found))
        elif n_stars == 0:
            results.append(ZeroPoint(float(header[i]), ZeroPointSource.HEADER, 0, float("nan"), 0.0))
        else:
            source = ZeroPointSource.BOTH if np.isfinite(header[i]) else ZeroPointSource.STARS
            offset = float(solution[i] - header[i])
            results.append(ZeroPoint(float(solution[i]), source, n_stars, float(error[i]), offset))
    return results


def _common_stars(images: Sequence[tuple[DecamImage, PsfFit]]) -> _Stars:
    """Measure and match the stars of all images of a band; those of one image only are left out."""
    radius = _APERTURE * float(np.median([fit.fwhm for _, fit in images]))
    measured = [_measured(data, fit, radius) for data, fit in images]
    which = np.repeat(np.arange(len(images)), [len(magnitude) for _, magnitude, _ in measured])
    place, magnitude, error = (np.concatenate([m[k] for m in measured]) for k in range(3))
    reach = np.deg2rad(_MATCH_ARCSEC / 3600.0)
    label = _groups(len(place), cKDTree(place).query_pairs(reach, output_type="ndarray"))
    several = np.array([len(set(which[label == star])) > 1 for star in label], bool)
    return _Stars(which[several], label[several], magnitude[several], error[several])


def _measured(image: DecamImage, fit: PsfFit, radius: float) -> tuple[F64, F64, F64]:
    """Return the stars of an image: unit vectors to them [N, 3], aperture magnitudes and errors [N]."""
    import sep

    planes, nothing = image.planes, np.zeros(0)
    if not fit.n_stars:
        return np.zeros((0, 3)), nothing, nothing
    bad = planes.unusable()
    flux, error, flag = sep.sum_circle(
        np.where(bad, np.float32(0), planes.image),
        fit.x,
        fit.y,
        radius,
        err=np.sqrt(np.where(bad, np.float32(1), planes.variance)),
        mask=bad,
    )
    use = (flux > 0) & (flag == 0)
    ra, dec = image.wcs.all_pix2world(fit.x[use], fit.y[use], 0) if use.any() else (nothing, nothing)
    place = SkyCoord(ra, dec, unit="deg").cartesian.xyz.value.T.reshape(-1, 3)
    return place, -2.5 * np.log10(flux[use]), np.hypot(1.0857 * error[use] / flux[use], _STAR_FLOOR)


def _groups(count: int, pairs: NDArray[np.int64]) -> I64:
    links = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    return np.asarray(connected_components(links, directed=False)[1], np.int64)


def _tied_to_header(count: int, stars: _Stars, header: F64) -> NDArray[np.bool_]:
    """Tell which images have a zero point, or a chain of common stars to one that has."""
    nodes = count + (int(stars.star.max()) + 1 if stars.star.size else 0)
    label = _groups(nodes, np.column_stack([stars.image, stars.star + count]))[:count]
    return np.isin(label, label[np.isfinite(header)])


def _solve(header: F64, stars: _Stars) -> tuple[F64, F64]:
    """Return the zero points of all images, and their errors relative to the mean of the headers."""
    count, star = len(header), np.unique(stars.star, return_inverse=True)[1]
    size = count + (int(star.max()) + 1 if star.size else 0)
    rows, known = np.arange(len(star)), np.flatnonzero(np.isfinite(header))
    design = np.zeros((len(star) + len(known), size))
    design[rows, stars.image] = 1.0
    design[rows, count + star] = -1.0
    design[len(star) + np.arange(len(known)), known] = 1.0
    wanted = np.concatenate([-stars.magnitude, header[known]])
    error = np.concatenate([stars.error, np.full(len(known), _HEADER_ERROR)])
    weight = 1.0 / error**2
    for _ in range(10):
        inverse = np.linalg.pinv((design * weight[:, None]).T @ design)
        solution = inverse @ (design.T @ (weight * wanted))
        # Cauchy weights: a star that varies loses its say.
        weight = 1.0 / (error**2 * (1.0 + ((wanted - design @ solution) / (2.0 * error)) ** 2))
    mean = np.zeros(size)
    mean[known] = 1.0 / max(len(known), 1)
    relative = np.eye(size)[:count] - mean
    spread = np.sqrt(np.maximum(np.einsum("ij,jk,ik->i", relative, inverse, relative), 0.0))
    return solution[:count], spread
