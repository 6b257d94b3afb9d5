"""A spatially varying PSF from the stars of one image, and nothing else.

The PSF's pixels are polynomials of position (Jarvis et al. 2021, MNRAS 501, 1282: the ``PixelGrid`` model of
Piff). Stars are compared with the model where they are, and only the *residuals* are moved to the centre of
the pixel grid (Anderson & King 2000, PASP 112, 1360), so that interpolation errors are of second order.
Where the stars say little, in the wings, the coefficients are then smoothed (`_denoised`), which keeps noise
out of the model without changing its sum.
"""

from __future__ import annotations

__all__ = ["PsfFit", "PsfFitConfig", "PsfKind", "fit_psf"]

import dataclasses
import enum

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..planes import Planes, cutouts
from ..psf import Box, PolynomialPsf, chebyshev_terms, n_chebyshev_terms, shift_matrices
from .psf_prior import fit_moffat, moffat_stamp
from .star_selection import Stars, select_stars

type F64 = NDArray[np.float64]

_GAUSS_FWHM = 2.3548
_MODEL_ERROR = 0.02
"""Assumed relative error of a model pixel, so that the brightest star does not outvote all others."""
_ITERATIONS = 6
_SCALES = ((1.2, 1.0 / (4.0 * np.pi * 1.2**2)), (3.0, 1.0 / (4.0 * np.pi * (1.2**2 + 3.0**2))))
"""Widths of the smoothing kernels, pixels, and the part of white noise that each leaves."""


class PsfKind(enum.StrEnum):
    """How a PSF was found, the best first."""

    PIXELS = "pixels"
    """Free pixels from three stars or more."""
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
        psf = _constant(moffat_stamp(size, config.default_fwhm), box)
        nothing = np.zeros(0)
        fwhm = float(psf.fwhm(box[1] / 2, box[3] / 2)[0])
        return PsfFit(psf, PsfKind.DEFAULT, nothing, nothing, nothing, nothing, 0, fwhm, 0.0)
    samples = _samples(planes, stars, size)
    moffat = fit_moffat(_stack(samples), samples.sigma)
    if len(stars) < 3:
        psf = _constant(moffat / moffat.sum(), box)
        return _finished(psf, PsfKind.MOFFAT, _measured(samples, psf))
    psf, samples = _iterate(samples, moffat, config.order, box)
    return _finished(psf, PsfKind.PIXELS, samples)


def _finished(psf: PolynomialPsf, kind: PsfKind, samples: _Samples) -> PsfFit:
    good = samples.good
    x, y, flux = samples.x[good], samples.y[good], samples.flux[good]
    model = _images(samples, psf)[0]
    error = 1.0 / np.sqrt(np.maximum((samples.weight * model**2).sum(axis=(1, 2)), 1e-300))[good]
    fwhm = float(psf.fwhm(psf.box[1] / 2.0, psf.box[3] / 2.0)[0])
    return PsfFit(psf, kind, x, y, flux, error, len(good), fwhm, _residual(samples, psf))


def _constant(stamp: F64, box: Box) -> PolynomialPsf:
    return PolynomialPsf.from_nodes([box[1] / 2], [box[3] / 2], stamp[None], 0, box)


def _stamp_size(stars: Stars, config: PsfFitConfig) -> int:
    fwhm = 2.0 * float(np.median(stars.radius)) if len(stars) else config.default_fwhm
    return 2 * int(np.clip(np.ceil(3.5 * fwhm), 10, 25)) + 1


@dataclasses.dataclass(frozen=True)
class _Samples:
    """Stars as stamps: data and inverse variance [N, S, S]; middle pixel, offset, flux [N]."""

    data: F64
    weight: F64
    middle_x: F64
    middle_y: F64
    dx: F64
    dy: F64
    flux: F64
    good: NDArray[np.bool_]
    sigma: float

    @property
    def x(self) -> F64:
        return self.middle_x + self.dx

    @property
    def y(self) -> F64:
        return self.middle_y + self.dy


def _samples(planes: Planes, stars: Stars, size: int) -> _Samples:
    middle_x, middle_y = np.rint(stars.x), np.rint(stars.y)
    first_x, first_y = middle_x.astype(np.int64) - size // 2, middle_y.astype(np.int64) - size // 2
    data = cutouts(planes.image - stars.background, first_x, first_y, size).astype(np.float64)
    variance = cutouts(planes.variance, first_x, first_y, size).astype(np.float64)
    bad = cutouts(planes.unusable(), first_x, first_y, size, fill=True)
    bad |= ~(np.isfinite(data) & (variance > 0))
    data[bad] = 0.0
    weight = np.where(bad, 0.0, 1.0 / np.where(bad, 1.0, variance))
    return _Samples(
        data=data,
        weight=weight,
        middle_x=middle_x,
        middle_y=middle_y,
        dx=stars.x - middle_x,
        dy=stars.y - middle_y,
        flux=stars.flux,
        good=np.ones(len(stars), bool),
        sigma=float(np.median(stars.radius)) / 1.1774,
    )


def _shifted(stamps: F64, dx: F64, dy: F64) -> F64:
    """Move stamps [N, S, S] by (dx, dy) pixels."""
    size = stamps.shape[-1]
    return np.asarray(shift_matrices(size, dy) @ stamps @ shift_matrices(size, dx).transpose(0, 2, 1))


def _stack(samples: _Samples) -> F64:
    """Return the median of the centred stars, each of unit flux."""
    centred = _shifted(samples.data, -samples.dx, -samples.dy) / samples.flux[:, None, None]
    stack = np.nanmedian(np.where(samples.weight > 0, centred, np.nan), axis=0)
    return np.nan_to_num(stack)


def _images(samples: _Samples, psf: PolynomialPsf) -> tuple[F64, F64, F64]:
    """Return the unit-flux model of each star and its derivatives with x and y, [N, S, S] each."""
    kernels, size = psf.kernel_images(samples.x, samples.y), psf.size
    in_x, in_y = shift_matrices(size, samples.dx), shift_matrices(size, samples.dy)
    by_x, by_y = shift_matrices(size, samples.dx, True), shift_matrices(size, samples.dy, True)
    across, along = kernels @ in_x.transpose(0, 2, 1), kernels @ by_x.transpose(0, 2, 1)
    return in_y @ across, in_y @ along, by_y @ across


def _measured(samples: _Samples, psf: PolynomialPsf) -> _Samples:
    """Fit flux and position of each star: two Gauss-Newton steps."""
    for _ in range(2):
        model, by_x, by_y = _images(samples, psf)
        flux = samples.flux[:, None, None]
        design = np.stack([model, flux * by_x, flux * by_y], axis=-1)
        residual = samples.data - flux * model
        weight = 1.0 / (_inverse(samples.weight) + (_MODEL_ERROR * flux * model) ** 2)
        normal = np.einsum("nyxi,nyx,nyxj->nij", design, weight, design, optimize=True)
        right = np.einsum("nyxi,nyx,nyx->ni", design, weight, residual, optimize=True)
        scale = np.sqrt(np.maximum(np.einsum("nii->ni", normal), 1e-300))
        normal = normal / (scale[:, :, None] * scale[:, None, :]) + 1e-9 * np.eye(3)
        step = np.linalg.solve(normal, (right / scale)[..., None])[..., 0] / scale
        samples = dataclasses.replace(
            samples,
            flux=samples.flux + step[:, 0],
            dx=np.clip(samples.dx + np.clip(step[:, 1], -0.5, 0.5), -2.0, 2.0),
            dy=np.clip(samples.dy + np.clip(step[:, 2], -0.5, 0.5), -2.0, 2.0),
        )
    return samples


def _inverse(weight: F64) -> F64:
    return np.where(weight > 0, 1.0 / np.where(weight > 0, weight, 1.0), 1e30)


def _residuals(samples: _Samples, psf: PolynomialPsf) -> tuple[F64, F64]:
    """Return data minus model, and the model, of each star in units of its flux, [N, S, S]."""
    model = _images(samples, psf)[0]
    flux = samples.flux[:, None, None]
    return samples.data / flux - model, model


def _iterate(samples: _Samples, moffat: F64, order: int, box: Box) -> tuple[PolynomialPsf, _Samples]:
    psf = _constant(moffat / moffat.sum(), box)
    original = samples.weight
    for iteration in range(_ITERATIONS):
        samples = _measured(samples, psf)
        samples = _without_intruders(dataclasses.replace(samples, weight=original), psf)
        if iteration == 0:
            samples = _without_sky(samples, psf)
        else:
            samples = _without_outliers(samples, psf)
        psf = _recentred(_updated(samples, psf, moffat, order))
    return psf, _measured(samples, psf)


def _without_sky(samples: _Samples, psf: PolynomialPsf) -> _Samples:
    """Subtract what the stars' surroundings have in common over the model: faint unseen sources, mostly.

    Left in, it would be taken for wings of the PSF. It is done once, as wings and sky are then one.
    """
    u = np.arange(psf.size) - psf.size // 2
    ring = (np.hypot(u[:, None], u[None, :]) > 0.8 * (psf.size // 2)) & (samples.weight > 0)
    left = samples.data - samples.flux[:, None, None] * _images(samples, psf)[0]
    values = left[ring]
    for _ in range(3 if values.size else 0):
        values = values[np.abs(values - np.median(values)) < 3.0 * max(float(values.std()), 1e-30)]
    sky = float(values.mean()) if values.size else 0.0
    return dataclasses.replace(samples, data=np.where(samples.weight > 0, samples.data - sky, 0.0))


def _without_intruders(samples: _Samples, psf: PolynomialPsf) -> _Samples:
    """Give no weight to pixels of neighbours: far over the model, and those next to them."""
    residual, model = _residuals(samples, psf)
    error = np.sqrt(_inverse(samples.weight)) / samples.flux[:, None, None]
    over = np.abs(residual) > 5.0 * np.hypot(error, 0.15 * model)
    grown = ndimage.maximum_filter(over & (samples.weight > 0), size=(1, 3, 3))
    return dataclasses.replace(samples, weight=np.where(grown, 0.0, samples.weight))


def _core(size: int, sigma: float) -> NDArray[np.bool_]:
    u = np.arange(size) - size // 2
    return np.asarray(np.hypot(u[:, None], u[None, :]) <= max(2.0 * sigma, 1.5))


def _without_outliers(samples: _Samples, psf: PolynomialPsf) -> _Samples:
    """Drop stars whose core is not the model: galaxies, blends, cosmic rays, or no flux at all."""
    residual, model = _residuals(samples, psf)
    variance = _inverse(samples.weight) / samples.flux[:, None, None] ** 2 + (_MODEL_ERROR * model) ** 2
    core = _core(psf.size, samples.sigma) & (samples.weight > 0)
    pixels = np.maximum(core.sum(axis=(1, 2)), 1)
    chi2 = np.where(core, residual**2 / variance, 0.0).sum(axis=(1, 2)) / pixels
    limit = np.median(chi2) + max(5.0 * 1.4826 * float(np.median(np.abs(chi2 - np.median(chi2)))), 1.0)
    enough = pixels > 0.7 * _core(psf.size, samples.sigma).sum()
    moved = np.hypot(samples.dx, samples.dy) < 1.5
    good = (chi2 <= limit) & enough & moved & (samples.flux > 0)
    return dataclasses.replace(samples, good=good if good.sum() >= 3 else samples.good)


def _updated(samples: _Samples, psf: PolynomialPsf, moffat: F64, order: int) -> PolynomialPsf:
    """Solve each pixel's polynomial from the stars' centred residuals, and denoise it."""
    use = samples.good
    while order > 0 and use.sum() < 2.5 * n_chebyshev_terms(order):
        order -= 1
    residual, model = _residuals(samples, psf)
    residual = np.where(samples.weight > 0, residual, 0.0)
    variance = _inverse(samples.weight) / samples.flux[:, None, None] ** 2 + (_MODEL_ERROR * model) ** 2
    centred = _shifted(residual, -samples.dx, -samples.dy)[use]
    weight = 1.0 / variance[use]
    terms = chebyshev_terms(samples.x[use], samples.y[use], order, psf.box)
    normal = np.einsum("ni,nyx,nj->yxij", terms, weight, terms, optimize=True)
    right = np.einsum("ni,nyx,nyx->yxi", terms, weight, centred, optimize=True)
    ridge = 1e-6 * np.einsum("yxii->yx", normal).max()
    inverse = np.linalg.inv(normal + ridge * np.eye(terms.shape[1]))
    change = np.einsum("yxij,yxj->iyx", inverse, right)
    photons = weight**2 * (_inverse(samples.weight) / samples.flux[:, None, None] ** 2)[use]
    scatter = np.einsum("ni,nyx,nj->yxij", terms, photons, terms, optimize=True)
    noise = np.einsum("yxij,yxjk,yxki->iyx", inverse, scatter, inverse, optimize=True)
    return PolynomialPsf(
        _denoised(_raised(psf, order) + change, noise, moffat, samples.sigma), order, psf.box
    )


def _raised(psf: PolynomialPsf, order: int) -> F64:
    """Return the coefficients in a basis of another order; lower terms keep their place."""
    raised = np.zeros((n_chebyshev_terms(order), psf.size, psf.size))
    shared = min(len(raised), len(psf.coefficients))
    raised[:shared] = psf.coefficients[:shared]
    return raised


def _denoised(coefficients: F64, variance: F64, moffat: F64, sigma: float) -> F64:
    """Smooth the coefficients in the wings where they are noise, keeping their sums.

    What departs from the Moffat profile (from zero in the spatial terms) is split into three scales; outside
    the core the two finer ones are multiplied by the Wiener factor of their neighbourhood. Each spatial term
    as a whole is multiplied by that of its core, so that a term which the stars do not show is not there.
    """
    prior = np.zeros_like(coefficients)
    prior[0] = moffat / moffat.sum()
    core = _core_weight(coefficients.shape[-1], sigma)
    finer = coefficients - prior
    power = (core * finer**2 / np.maximum(variance, 1e-300)).sum(axis=(1, 2)) / core.sum()
    finer[1:] *= np.maximum(1.0 - 1.0 / np.maximum(power[1:], 1e-30), 0.0)[:, None, None]
    kept, left = prior, 1.0
    for width, passed in _SCALES:
        coarser = _smooth(finer, width)
        detail, finer = finer - coarser, coarser
        noise = _smooth((left - passed) * variance, width)
        signal = np.maximum(_smooth(detail**2, width) - noise, 0.0)
        wiener = signal / (signal + noise)
        kept, left = kept + detail * (core + (1.0 - core) * wiener), passed
    return np.asarray(kept + finer)


def _core_weight(size: int, sigma: float) -> F64:
    """Return 1 within four Gaussian widths, falling to 0 at six, [S, S]."""
    u = np.arange(size) - size // 2
    radius = np.hypot(u[:, None], u[None, :])
    return np.asarray(np.clip(3.0 - 0.5 * radius / sigma, 0.0, 1.0))


def _smooth(planes: F64, width: float) -> F64:
    return np.asarray(ndimage.gaussian_filter(planes, sigma=(0.0, width, width), mode="reflect"))


def _recentred(psf: PolynomialPsf) -> PolynomialPsf:
    """Return the PSF with unit sum and its centroid at the middle of the stamp, at every position."""
    grid = np.meshgrid(np.linspace(psf.box[0], psf.box[1], 4), np.linspace(psf.box[2], psf.box[3], 4))
    x, y = grid[0].ravel(), grid[1].ravel()
    sigma = float(np.median(psf.fwhm(x, y))) / _GAUSS_FWHM
    stamps = psf.kernel_images(x, y)
    u = np.arange(psf.size) - psf.size // 2
    window = np.exp(-0.5 * (u[:, None] ** 2 + u[None, :] ** 2) / sigma**2)
    for _ in range(6):
        total = np.einsum("nyx,yx->n", stamps, window)
        # A window as wide as the profile halves an offset, hence the factor.
        dx = -2.0 * np.einsum("nyx,yx,x->n", stamps, window, u) / total
        dy = -2.0 * np.einsum("nyx,yx,y->n", stamps, window, u) / total
        stamps = _shifted(stamps, np.clip(dx, -0.5, 0.5), np.clip(dy, -0.5, 0.5))
    return PolynomialPsf.from_nodes(x, y, stamps, psf.order, psf.box)


def _residual(samples: _Samples, psf: PolynomialPsf) -> float:
    residual, _ = _residuals(samples, psf)
    core = _core(psf.size, samples.sigma) & (samples.weight > 0) & samples.good[:, None, None]
    if not core.any():
        return 0.0
    noise = (_inverse(samples.weight) / samples.flux[:, None, None] ** 2)[core].mean()
    excess = (residual[core] ** 2).mean() - noise
    return float(np.sqrt(max(excess, 0.0)) / psf.kernel_images(samples.x, samples.y).max())
