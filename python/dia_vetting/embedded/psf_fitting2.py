"""A spatially varying PSF from the stars of one image, and nothing else.

The PSF is a series (`PsfSeries`) whose coefficients are polynomials of position. It is evaluated where a star
is and compared with its pixels, so nothing is interpolated (the effective PSF of Anderson & King 2000, PASP
112, 1360). Flux, position and local background of each star are eliminated from the equations; coefficients
which the stars do not show are shrunk by the evidence for them (MacKay 1992, Neural Computation 4, 415).
"""

from __future__ import annotations

__all__ = ["PsfFit", "PsfFitConfig", "PsfKind", "fit_psf"]

import dataclasses
import enum

import numpy as np
from numpy.typing import NDArray

from ..planes import Planes
from ..psf import Box, PolynomialPsf, chebyshev_terms, n_chebyshev_terms
from .moffat import Moffat, fit_profile as fit_moffat
from .psf_series import PsfSeries, degrees
from .psf_stars import StarStamps, core_pixels, star_stamps
from .star_selection import Stars, select_stars

type F64 = NDArray[np.float64]

_GAUSS_FWHM = 2.3548
_BETA = 2.5
"""Exponent of the series' Moffat profile: between the wings of seeing discs and those of long exposures."""
_DEGREE = 10
_ITERATIONS = 4
_FIRST_SPREAD = 0.1
"""Standard deviation of the coefficients before the stars are heard."""


class PsfKind(enum.StrEnum):
    """How a PSF was found, the best first."""

    PIXELS = "pixels"
    """A series with free coefficients, from three stars or more."""
    MOFFAT = "moffat"
    """An elliptical Moffat profile from one or two stars, constant over the image."""
    DEFAULT = "default"
    """No star: a round Moffat profile of the width that was expected."""


@dataclasses.dataclass(frozen=True)
class PsfFitConfig:
    """Settings of `fit_psf`.

    Parameters
    ----------
    order
        Largest total degree in position; lowered where there are fewer than 2.5 stars per term.
    stamp_size
        Odd side of the stamps, pixels; by default about seven times the FWHM, within [21, 51].
    min_snr
        Smallest signal-to-noise ratio of a star.
    max_stars
        Use the brightest so many.
    default_fwhm
        Width that is taken if there is no star, pixels.
    """

    order: int = 2
    stamp_size: int | None = None
    min_snr: float = 25.0
    max_stars: int = 80
    default_fwhm: float = 4.0


@dataclasses.dataclass(frozen=True)
class PsfFit:
    """A PSF and where it comes from.

    Parameters
    ----------
    psf
        In the frame of the array.
    kind
        How it was found; anything but ``PIXELS`` is a fall-back that the caller should flag.
    x, y
        Stars that were used, pixels, [n_stars].
    flux, flux_error
        Their PSF fluxes and errors, in the unit of the image, [n_stars].
    n_candidates
        Stars that were tried.
    fwhm
        In the middle of the image, pixels.
    residual
        Standard deviation of the stars' core residuals over what their noise explains, relative to the
        peak; 0 without stars.
    """

    psf: PolynomialPsf
    kind: PsfKind
    x: F64
    y: F64
    flux: F64
    flux_error: F64
    n_candidates: int
    fwhm: float
    residual: float

    @property
    def n_stars(self) -> int:
        """Number of stars that were used."""
        return len(self.x)


def fit_psf(planes: Planes, config: PsfFitConfig | None = None) -> PsfFit:
    """Fit the PSF of an image to its own stars.

    Parameters
    ----------
    planes
        The exposure; a smooth background may be left in it.
    config
        Settings.

    Returns
    -------
    fit
        The PSF has unit sum at every position and a Gaussian-weighted centroid at the middle of its stamp.
        There is always one: see `PsfKind` for what is done without enough stars. Nothing is random.
    """
    config = config or PsfFitConfig()
    stars = select_stars(planes, config.min_snr, config.max_stars)
    box = (0.0, planes.shape[1] - 1.0, 0.0, planes.shape[0] - 1.0)
    size = config.stamp_size or _stamp_size(stars, config)
    if not len(stars):
        psf = _constant(Moffat.round(config.default_fwhm).stamp(size), box)
        return _finished(psf, PsfKind.DEFAULT, stars, np.zeros(0, bool), 0.0)
    stamps = star_stamps(planes, stars, size)
    stack = np.nan_to_num(np.nanmedian(stamps.centred(), axis=0))
    if len(stars) < 3:
        return _few(stamps, stars, fit_moffat(stack, stamps.sigma), box)
    series = PsfSeries(fit_moffat(stack, stamps.sigma, _BETA), _DEGREE)
    return _fit_series(series, stamps, stars, config.order, box)


def _finished(
    psf: PolynomialPsf, kind: PsfKind, stars: Stars, good: NDArray[np.bool_], residual: float
) -> PsfFit:
    middle = (psf.box[1] / 2.0, psf.box[3] / 2.0)
    fwhm = float(psf.fwhm(*middle)[0])
    return PsfFit(psf, kind, stars.x[good], stars.y[good], len(stars), fwhm, residual)


def _constant(stamp: F64, box: Box) -> PolynomialPsf:
    return PolynomialPsf.from_nodes([box[1] / 2], [box[3] / 2], stamp[None], 0, box)


def _stamp_size(stars: Stars, config: PsfFitConfig) -> int:
    fwhm = 2.0 * float(np.median(stars.radius)) if len(stars) else config.default_fwhm
    return 2 * int(np.clip(np.ceil(3.5 * fwhm), 10, 25)) + 1


def _few(stamps: StarStamps, stars: Stars, moffat: Moffat, box: Box) -> PsfFit:
    series = _Series(PsfSeries(moffat, 0), np.ones((1, 1)), 0, box)
    for _ in range(3):
        stamps = _measured(stamps, series)
    psf = _constant(moffat.stamp(stamps.size), box)
    return _finished(psf, PsfKind.MOFFAT, stars, stamps.flux > 0, _residual(stamps, series))


@dataclasses.dataclass(frozen=True)
class _Series:
    """A series with coefficients [n_spatial_terms, n_series_terms] at some spatial order."""

    basis: PsfSeries
    coefficients: F64
    order: int
    box: Box

    def terms(self, x: F64, y: F64) -> F64:
        return chebyshev_terms(x, y, self.order, self.box)

    def model(self, stamps: StarStamps, images: F64) -> F64:
        """Return the stars of unit flux, [N, S, S], from the basis images at their places."""
        local = self.terms(stamps.x, stamps.y) @ self.coefficients
        return np.asarray((local[:, None, :] @ images).reshape(stamps.data.shape))


@dataclasses.dataclass(frozen=True)
class _Equations:
    """Normal equations of the series at each star: matrix [N, K, K], right-hand side [N, K], and how the
    star's flux, x, y, background follow from the pixels' residuals and the basis: [N, 4], [N, 4, K]."""

    matrix: F64
    right: F64
    step: F64
    response: F64


def _equations(stamps: StarStamps, model: F64, images: F64) -> _Equations:
    """Set up the least squares of each star, its own four unknowns eliminated (Schur complement)."""
    n = len(stamps)
    weight = stamps.weight(model).reshape(n, -1)
    images = images * stamps.flux[:, None, None]
    own = stamps.nuisance(model)
    weighted = (own * weight[:, :, None]).transpose(0, 2, 1)
    residual = stamps.residual(model).reshape(n, -1)
    inverse = _inverse(weighted @ own)
    response = inverse @ (weighted @ images.transpose(0, 2, 1))
    step = (inverse @ (weighted @ residual[:, :, None]))[:, :, 0]
    heavy = images * weight[:, None, :]
    matrix = heavy @ images.transpose(0, 2, 1) - (heavy @ own) @ response
    right = (heavy @ residual[:, :, None] - (heavy @ own) @ step[:, :, None])[:, :, 0]
    return _Equations(matrix, right, step, response)


def _inverse(matrix: F64) -> F64:
    """Invert symmetric positive matrices, [N, 4, 4], after scaling them to a unit diagonal."""
    scale = np.sqrt(np.maximum(np.einsum("nii->ni", matrix), 1e-300))
    outer = scale[:, :, None] * scale[:, None, :]
    return np.asarray(np.linalg.inv(matrix / outer + 1e-9 * np.eye(matrix.shape[-1])) / outer)


def _measured(stamps: StarStamps, series: _Series) -> StarStamps:
    """Fit flux, position and background of each star: one Gauss-Newton step."""
    model = series.model(stamps, series.basis.images(stamps.size, stamps.dx, stamps.dy))
    own, weight = stamps.nuisance(model), stamps.weight(model).reshape(len(stamps), -1, 1)
    right = (own * weight).transpose(0, 2, 1) @ stamps.residual(model).reshape(len(stamps), -1, 1)
    inverse = _inverse((own * weight).transpose(0, 2, 1) @ own)
    return stamps.stepped((inverse @ right)[:, :, 0])


def _fit_series(basis: PsfSeries, stamps: StarStamps, stars: Stars, order: int, box: Box) -> PsfFit:
    first = _Series(PsfSeries(basis.moffat, 0), np.ones((1, 1)), 0, box)
    for _ in range(2):
        stamps = _measured(stamps, first)
    while order > 0 and len(stamps) < 2.5 * n_chebyshev_terms(order):
        order -= 1
    start = np.zeros((n_chebyshev_terms(order), len(degrees(basis.degree))))
    start[0, 0] = 1.0
    series, original = _Series(basis, start, order, box), stamps.usable
    good = np.ones(len(stamps), bool)
    spread = np.full(start.shape, _FIRST_SPREAD**2)
    for iteration in range(_ITERATIONS):
        images = basis.images(stamps.size, stamps.dx, stamps.dy)
        model = series.model(stamps, images)
        stamps = dataclasses.replace(stamps, usable=original)
        stamps = stamps.without_intruders(model, 0.5 if iteration == 0 else 0.15)
        if iteration > 0:
            alike = stamps.alike(model)
            good = alike if alike.sum() >= 3 else good
        equations = _equations(stamps, model, images)
        coefficients, spread = _solved(series, stamps, equations, good, spread)
        change = series.terms(stamps.x, stamps.y) @ (coefficients - series.coefficients)
        moved = (equations.response @ change[:, :, None])[:, :, 0]
        stamps = stamps.stepped(equations.step - moved)
        series = dataclasses.replace(series, coefficients=coefficients)
    psf = _evaluated(series, stamps)
    return _finished(psf, PsfKind.PIXELS, stars, good, _residual(stamps[good], series))


def _solved(
    series: _Series, stamps: StarStamps, equations: _Equations, good: NDArray[np.bool_], spread: F64
) -> tuple[F64, F64]:
    """Solve for all coefficients with a Gaussian prior whose variance per group the evidence sets."""
    terms = series.terms(stamps.x, stamps.y)[good]
    n_spatial, n_series = series.coefficients.shape
    pairs = (terms[:, :, None] * terms[:, None, :]).reshape(len(terms), -1)
    blocks = pairs.T @ equations.matrix[good].reshape(len(terms), -1)
    blocks = blocks.reshape(n_spatial, n_spatial, n_series, n_series)
    matrix = blocks.transpose(0, 2, 1, 3).reshape(spread.size, spread.size)
    target = np.zeros(spread.shape)
    target[0, 0] = 1.0
    right = (terms.T @ equations.right[good]).ravel()
    right += matrix @ (series.coefficients - target).ravel()
    group = _groups(series)
    flat = spread.ravel().copy()
    for _ in range(3):
        covariance = np.linalg.inv(matrix + np.diag(1.0 / flat))
        found = covariance @ right
        flat = _reweighted(found, np.diag(covariance), flat, group)
    return target + found.reshape(spread.shape), flat.reshape(spread.shape)


def _groups(series: _Series) -> NDArray[np.int64]:
    """Return the group of each coefficient: one per spatial degree and degree of the series."""
    spatial, own = degrees(series.order), degrees(series.basis.degree)
    return np.asarray((spatial[:, None] * (series.basis.degree + 1) + own[None, :]).ravel())


def _reweighted(found: F64, variance: F64, spread: F64, group: NDArray[np.int64]) -> F64:
    """Return the prior variances that explain the coefficients (MacKay 1992)."""
    power = np.bincount(group, found**2)
    known = np.bincount(group, 1.0 - variance / spread)
    best = np.clip(power / np.maximum(known, 1e-3), 1e-9, 1.0)
    return np.asarray(best[group])


def _evaluated(series: _Series, stamps: StarStamps) -> PolynomialPsf:
    """Return the PSF as pixels, with its centroid at the middle of the stamp at every position."""
    box, n = series.box, series.order + 2
    grid = np.meshgrid(np.linspace(box[0], box[1], n), np.linspace(box[2], box[3], n))
    x, y = grid[0].ravel(), grid[1].ravel()
    local = (series.terms(x, y) @ series.coefficients)[:, None, :]
    size, dx, dy = stamps.size, np.zeros(len(x)), np.zeros(len(x))
    u = np.arange(size) - size // 2
    sigma = stamps.sigma
    for _ in range(8):
        pixels = (local @ series.basis.images(size, dx, dy)).reshape(-1, size, size)
        window = pixels * np.exp(-0.5 * (u[:, None] ** 2 + u[None, :] ** 2) / sigma**2)
        total = window.sum(axis=(1, 2))
        # A window as wide as the profile halves an offset, hence the factor.
        dx -= np.clip(2.0 * np.einsum("nyx,x->n", window, u) / total, -0.5, 0.5)
        dy -= np.clip(2.0 * np.einsum("nyx,y->n", window, u) / total, -0.5, 0.5)
    return PolynomialPsf.from_nodes(x, y, pixels, series.order, box)


def _residual(stamps: StarStamps, series: _Series) -> float:
    model = series.model(stamps, series.basis.images(stamps.size, stamps.dx, stamps.dy))
    core = core_pixels(stamps.size, stamps.sigma) & stamps.usable
    if not core.any():
        return 0.0
    flux = stamps.flux[:, None, None]
    excess = (stamps.residual(model) / flux) ** 2 - stamps.noise_variance(model) / flux**2
    return float(np.sqrt(max(excess[core].mean(), 0.0)) / model.max())
