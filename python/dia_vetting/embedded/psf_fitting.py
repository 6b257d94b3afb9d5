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
from .moffat import Moffat, fit_moffat
from .psf_series import PsfSeries, degrees
from .psf_stars import StarStamps, core_pixels, star_stamps
from .star_selection import Stars, select_stars

type F64 = NDArray[np.float64]

_GAUSS_FWHM = 2.3548
_BETA = 2.5
"""Exponent of the series' Moffat profile: between the wings of seeing discs and those of long exposures."""
_DEGREE = 10
_TOLERANCE = (0.5, 0.15, 0.15, 0.15)
"""Part of the model by which a pixel may miss it before it is a neighbour's, per iteration."""
_ITERATIONS = len(_TOLERANCE)
_FIRST_SPREAD = 0.1
"""Standard deviation of the coefficients before the stars are heard."""
_PINNED = 1e8
"""Weight of the equation that keeps the amplitude of the series; far over that of any star."""


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
    min_snr: float = 20.0
    max_stars: int = 60
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
        return _default(config.default_fwhm, size, box)
    stamps = star_stamps(planes, stars, size)
    stack = np.nan_to_num(np.nanmedian(stamps.centred(), axis=0))
    if len(stars) < 3:
        return _few(fit_moffat(stack, stamps.sigma), stamps, box)
    series = PsfSeries(fit_moffat(stack, stamps.sigma, _BETA), _DEGREE)
    return _fit_series(series, stamps, config.order, box)


def _default(fwhm: float, size: int, box: Box) -> PsfFit:
    psf, none = _constant(Moffat.round(fwhm).stamp(size), box), np.zeros(0)
    return PsfFit(psf, PsfKind.DEFAULT, none, none, none, none, 0, _fwhm(psf), 0.0)


def _finished(
    series: _Series, kind: PsfKind, stamps: StarStamps, good: NDArray[np.bool_], tried: int
) -> PsfFit:
    psf, stamps = _evaluated(series, stamps), stamps[good]
    model = series.seen(stamps)
    total = model.sum(axis=(1, 2))
    information = (stamps.usable * model**2 / stamps.noise_variance(model)).sum(axis=(1, 2))
    error = total / np.sqrt(np.maximum(information, 1e-300))
    residual = _residual(stamps, model)
    return PsfFit(psf, kind, stamps.x, stamps.y, stamps.flux * total, error, tried, _fwhm(psf), residual)


def _fwhm(psf: PolynomialPsf) -> float:
    return float(psf.fwhm(psf.box[1] / 2.0, psf.box[3] / 2.0)[0])


def _constant(stamp: F64, box: Box) -> PolynomialPsf:
    return PolynomialPsf.from_nodes([box[1] / 2], [box[3] / 2], stamp[None], 0, box)


def _stamp_size(stars: Stars, config: PsfFitConfig) -> int:
    fwhm = 2.0 * float(np.median(stars.radius)) if len(stars) else config.default_fwhm
    return 2 * int(np.clip(np.ceil(3.5 * fwhm), 10, 25)) + 1


def _few(moffat: Moffat, stamps: StarStamps, box: Box) -> PsfFit:
    series = _Series(PsfSeries(moffat, 0), np.ones((1, 1)), 0, box)
    for _ in range(3):
        stamps = _measured(stamps, series.seen(stamps))
    return _finished(series, PsfKind.MOFFAT, stamps, np.ones(len(stamps), bool), len(stamps))


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

    def seen(self, stamps: StarStamps) -> F64:
        """Return the stars of unit flux, [N, S, S]."""
        return self.model(stamps, self.basis.images(stamps.size, stamps.dx, stamps.dy))


def _equations(stamps: StarStamps, model: F64, images: F64) -> tuple[F64, F64]:
    """Return the normal equations of the series at each star: matrix [N, K, K] and right-hand side [N, K].

    The star's own four unknowns are eliminated (Schur complement).
    """
    n = len(stamps)
    weight = stamps.weight(model).reshape(n, 1, -1)
    images = images * stamps.flux[:, None, None]
    own, residual = stamps.nuisance(model), stamps.residual(model).reshape(n, -1, 1)
    heavy, own_heavy = images * weight, own.transpose(0, 2, 1) * weight
    inverse, mixed = _inverse(own_heavy @ own), heavy @ own
    matrix = heavy @ images.transpose(0, 2, 1) - mixed @ inverse @ mixed.transpose(0, 2, 1)
    right = heavy @ residual - mixed @ inverse @ (own_heavy @ residual)
    return matrix, right[:, :, 0]


def _inverse(matrix: F64) -> F64:
    """Invert symmetric positive matrices, [N, 4, 4], after scaling them to a unit diagonal."""
    scale = np.sqrt(np.maximum(np.einsum("nii->ni", matrix), 1e-60))
    outer = scale[:, :, None] * scale[:, None, :]
    return np.asarray(np.linalg.inv(matrix / outer + 1e-9 * np.eye(matrix.shape[-1])) / outer)


def _measured(stamps: StarStamps, model: F64) -> StarStamps:
    """Fit flux, position and background of each star to its model of unit flux: a Gauss-Newton step."""
    own, weight = stamps.nuisance(model), stamps.weight(model).reshape(len(stamps), -1, 1)
    right = (own * weight).transpose(0, 2, 1) @ stamps.residual(model).reshape(len(stamps), -1, 1)
    inverse = _inverse((own * weight).transpose(0, 2, 1) @ own)
    return stamps.stepped((inverse @ right)[:, :, 0])


def _fit_series(basis: PsfSeries, stamps: StarStamps, order: int, box: Box) -> PsfFit:
    first = _Series(PsfSeries(basis.moffat, 0), np.ones((1, 1)), 0, box)
    for _ in range(2):
        stamps = _measured(stamps, first.seen(stamps))
    series = _start(basis, _affordable(order, len(stamps)), box)
    usable, good = stamps.usable, np.ones(len(stamps), bool)
    spread = np.full(series.coefficients.shape, _FIRST_SPREAD**2)
    for iteration in range(_ITERATIONS):
        images = basis.images(stamps.size, stamps.dx, stamps.dy)
        model = series.model(stamps, images)
        stamps = dataclasses.replace(stamps, usable=usable).without_intruders(model, _TOLERANCE[iteration])
        if iteration > 0:
            alike = stamps.alike(model)
            good = alike if alike.sum() >= 3 else good
        series, spread = _solved(series, stamps, _equations(stamps, model, images), good, spread)
        stamps = _measured(stamps, series.model(stamps, images))
    return _finished(series, PsfKind.PIXELS, stamps, good, len(good))


def _affordable(order: int, n_stars: int) -> int:
    while order > 0 and n_stars < 2.5 * n_chebyshev_terms(order):
        order -= 1
    return order


def _start(basis: PsfSeries, order: int, box: Box) -> _Series:
    """Return the series that is the Moffat profile everywhere."""
    coefficients = np.zeros((n_chebyshev_terms(order), len(degrees(basis.degree))))
    coefficients[0, 0] = 1.0
    return _Series(basis, coefficients, order, box)


def _solved(
    series: _Series, stamps: StarStamps, equations: tuple[F64, F64], good: NDArray[np.bool_], spread: F64
) -> tuple[_Series, F64]:
    """Solve for all coefficients with a Gaussian prior whose variance per group the evidence sets."""
    terms = series.terms(stamps.x, stamps.y)[good]
    n_spatial, n_series = series.coefficients.shape
    pairs = (terms[:, :, None] * terms[:, None, :]).reshape(len(terms), -1)
    blocks = pairs.T @ equations[0][good].reshape(len(terms), -1)
    blocks = blocks.reshape(n_spatial, n_spatial, n_series, n_series)
    matrix = blocks.transpose(0, 2, 1, 3).reshape(spread.size, spread.size)
    target = np.zeros(spread.shape)
    target[0, 0] = 1.0
    amplitude = _amplitude(series, stamps)
    pinned = _PINNED * np.kron(np.eye(n_spatial), np.outer(amplitude, amplitude))
    right = (terms.T @ equations[1][good]).ravel()
    right += matrix @ (series.coefficients - target).ravel()
    right += pinned @ (series.coefficients - target).ravel()
    group = _groups(series)
    flat = spread.ravel().copy()
    for _ in range(3):
        covariance = np.linalg.inv(matrix + pinned + np.diag(1.0 / flat))
        found = covariance @ right
        flat = _reweighted(found, np.diag(covariance), flat, group)
    solved = dataclasses.replace(series, coefficients=target + found.reshape(spread.shape))
    return solved, flat.reshape(spread.shape)


def _amplitude(series: _Series, stamps: StarStamps) -> F64:
    """Return by how much each term changes the matched-filter flux of the model in the middle, [K].

    The total of the coefficients and the fluxes of the stars are one unknown too many: it is pinned.
    """
    images = series.basis.images(stamps.size, np.zeros(1), np.zeros(1))[0]
    model = series.coefficients[0] @ images
    return np.asarray(images @ model / (model @ model))


def _groups(series: _Series) -> NDArray[np.int64]:
    """Return the group of each coefficient: one per spatial degree and degree of the series."""
    spatial, own = degrees(series.order), degrees(series.basis.degree)
    return np.asarray((spatial[:, None] * (series.basis.degree + 1) + own[None, :]).ravel())


def _reweighted(found: F64, variance: F64, spread: F64, group: NDArray[np.int64]) -> F64:
    """Return the prior variances that explain the coefficients (MacKay 1992)."""
    power = np.bincount(group, found**2)
    known = np.bincount(group, 1.0 - variance / spread)
    best = np.clip(power / np.maximum(known, 1e-3), 1e-9, 1.0)
    best[0] = 1.0
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


def _residual(stamps: StarStamps, model: F64) -> float:
    core = core_pixels(stamps.size, stamps.sigma) & stamps.usable
    if not core.any():
        return 0.0
    flux = stamps.flux[:, None, None]
    excess = (stamps.residual(model) / flux) ** 2 - stamps.noise_variance(model) / flux**2
    return float(np.sqrt(max(excess[core].mean(), 0.0)) / model.max())
