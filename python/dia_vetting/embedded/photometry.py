"""PSF photometry of many sources at once."""

from __future__ import annotations

__all__ = [
    "ForcedFlux",
    "PsfFit",
    "fit_positions",
    "forced_psf_flux",
    "profile_flux",
    "scene",
    "usable_stamps",
]

import dataclasses
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..planes import Planes, cutouts
from ..psf import PolynomialPsf
from .matched_filter import WITHOUT_VALUE

type F32 = NDArray[np.float32]
type F64 = NDArray[np.float64]

_CHUNK = 1000


class ForcedFlux(NamedTuple):
    """PSF fluxes at fixed positions, each array float64 [N] (npix int64)."""

    flux: F64
    err: F64
    chi2: F64
    npix: NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class PsfFit:
    """Positions, fluxes and their errors, each float64 [N]; pixels and nJy."""

    x: F64
    y: F64
    flux: F64
    x_err: F64
    y_err: F64
    converged: NDArray[np.bool_]


def usable_stamps(
    planes: Planes, x0: NDArray[np.int64], y0: NDArray[np.int64], size: int
) -> NDArray[np.bool_]:
    """Return the pixels of stamps that carry a value, bool [N, size, size]."""
    mask = cutouts(planes.mask, x0, y0, size, np.uint32(WITHOUT_VALUE))
    return np.asarray((mask & np.uint32(WITHOUT_VALUE)) == 0)


def profile_flux(
    data: F64, variance: F64, good: NDArray[np.bool_], model: F64, local_background: bool
) -> ForcedFlux:
    """Fit the flux of each stamp's profile with equal weights; see `forced_psf_flux`.

    Parameters
    ----------
    data, variance
        Stamps, float64 [N, S, S], nJy and nJy^2.
    good
        Pixels to use, bool [N, S, S].
    model
        Unit point sources, float64 [N, S, S].
    local_background
        Fit a constant as well.

    Returns
    -------
    result
        NaN where less than 5 % of the power of the profile is on good pixels.
    """
    good = good & np.isfinite(data) & np.isfinite(variance) & (variance > 0)
    data, variance = np.where(good, data, 0.0), np.where(good, variance, 1.0)
    axes = (1, 2)
    npix = good.sum(axis=axes)
    profile = np.where(good, model, 0.0)
    empty = (profile**2).sum(axis=axes) < 0.05 * (model**2).sum(axis=axes)
    if local_background:
        profile -= good * (profile.sum(axis=axes) / np.maximum(npix, 1))[:, None, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        norm = (profile**2).sum(axis=axes)
        flux = (profile * data).sum(axis=axes) / norm
        err = np.sqrt((profile**2 * variance).sum(axis=axes)) / norm
        residual = np.where(good, data - flux[:, None, None] * model, 0.0)
        if local_background:
            residual -= good * (residual.sum(axis=axes) / npix)[:, None, None]
        chi2 = (residual**2 / variance).sum(axis=axes)
    flux[empty], err[empty], chi2[empty] = np.nan, np.nan, np.nan
    return ForcedFlux(flux, err, chi2, npix)


def _chunk_flux(
    planes: Planes, psf: PolynomialPsf, x: F64, y: F64, size: int, local_background: bool
) -> ForcedFlux:
    model, x0, y0 = psf.stellar_images(x, y, size)
    side = model.shape[1]
    data = cutouts(planes.image, x0, y0, side).astype(np.float64)
    variance = cutouts(planes.variance, x0, y0, side).astype(np.float64)
    return profile_flux(data, variance, usable_stamps(planes, x0, y0, side), model, local_background)


def forced_psf_flux(
    planes: Planes,
    psf: PolynomialPsf,
    x: ArrayLike,
    y: ArrayLike,
    size: int = 31,
    local_background: bool = False,
) -> ForcedFlux:
    """Fit the flux of point sources at fixed positions.

    Pixels have equal weights, f = sum P D / sum P^2, so that the noise of the variance plane, which
    correlates with that of the image, cannot bias the flux. Unusable pixels have no weight.

    Parameters
    ----------
    planes
        The image; its variance gives the error: var f = sum P^2 V / (sum P^2)^2.
    psf
        Its PSF.
    x, y
        Positions, pixels, [N].
    size
        Odd side of the stamps.
    local_background
        Fit a constant as well.

    Returns
    -------
    result
        flux and err in nJy, chi2, npix; NaN where less than 5 % of the PSF is usable.
    """
    x, y = np.atleast_1d(np.asarray(x, float)), np.atleast_1d(np.asarray(y, float))
    if not len(x):
        return ForcedFlux(np.zeros(0), np.zeros(0), np.zeros(0), np.zeros(0, np.int64))
    parts = [
        _chunk_flux(planes, psf, x[k : k + _CHUNK], y[k : k + _CHUNK], size, local_background)
        for k in range(0, len(x), _CHUNK)
    ]
    return ForcedFlux(*(np.concatenate(values) for values in zip(*parts, strict=True)))


def scene(shape: tuple[int, int], psf: PolynomialPsf, x: F64, y: F64, flux: F64, size: int = 31) -> F32:
    """Return the image of many point sources, float32 [ny, nx], nJy."""
    image = np.zeros(shape, np.float32)
    for k in range(0, len(x), _CHUNK):
        part = slice(k, k + _CHUNK)
        model, x0, y0 = psf.stellar_images(x[part], y[part], size)
        _add(image, model * flux[part, None, None], x0, y0)
    return image


def _add(image: F32, stamps: NDArray[Any], x0: NDArray[np.int64], y0: NDArray[np.int64]) -> None:
    index = np.arange(stamps.shape[1])
    rows = np.broadcast_to((y0[:, None] + index)[:, :, None], stamps.shape)
    columns = np.broadcast_to((x0[:, None] + index)[:, None, :], stamps.shape)
    inside = (rows >= 0) & (rows < image.shape[0]) & (columns >= 0) & (columns < image.shape[1])
    np.add.at(image, (rows[inside], columns[inside]), stamps[inside].astype(np.float32))


def _step(
    planes: Planes, psf: PolynomialPsf, residual: F32, x: F64, y: F64, flux: F64, size: int
) -> tuple[F64, F64]:
    """One Gauss-Newton step of (flux, x, y): the increments [N, 3] and the covariances [N, 3, 3]."""
    model, x0, y0 = psf.stellar_images(x, y, size)
    d_dx, d_dy = psf.gradient_images(x, y, size)
    side = model.shape[1]
    good = usable_stamps(planes, x0, y0, side)
    data = cutouts(residual, x0, y0, side).astype(np.float64)
    good &= np.isfinite(data)
    variance = np.nan_to_num(cutouts(planes.variance, x0, y0, side, 0.0).astype(np.float64))
    design = np.stack([model, flux[:, None, None] * d_dx, flux[:, None, None] * d_dy], axis=-1)
    design = np.where(good[..., None], design, 0.0).reshape(len(x), -1, 3)
    data = np.where(good, data, 0.0).reshape(len(x), -1, 1)
    scale = np.maximum(np.linalg.norm(design, axis=1), 1e-30)
    scaled = design / scale[:, None, :]
    inverse = np.linalg.inv(scaled.transpose(0, 2, 1) @ scaled + 1e-9 * np.eye(3))
    increment = (inverse @ (scaled.transpose(0, 2, 1) @ data))[:, :, 0] / scale
    meat = scaled.transpose(0, 2, 1) @ (scaled * variance.reshape(len(x), -1, 1))
    covariance = (inverse @ meat @ inverse) / (scale[:, :, None] * scale[:, None, :])
    return increment, covariance


def fit_positions(
    planes: Planes, psf: PolynomialPsf, x: F64, y: F64, flux: F64, fixed: NDArray[np.bool_],
    size: int = 31, iterations: int = 5, max_shift: float = 1.5,
) -> PsfFit:  # fmt: skip
    """Fit position and flux of all sources together by Gauss-Newton steps on the residual scene.

    Parameters
    ----------
    planes, psf
        The image and its PSF.
    x, y, flux
        Initial values, pixels and nJy, float64 [N].
    fixed
        Sources whose position is kept, bool [N].
    size
        Odd side of the stamps.
    iterations
        Number of steps.
    max_shift
        Sources that move further than this, pixels, go back to where they began.

    Returns
    -------
    fit
        See `PsfFit`.
    """
    px, py, pf = x.copy(), y.copy(), flux.copy()
    away = np.zeros(len(x), bool)
    covariance = np.zeros((len(x), 3, 3))
    for _ in range(iterations if len(x) else 0):
        residual = planes.image - scene(planes.shape, psf, px, py, pf, size)
        steps = [
            _step(planes, psf, residual, px[k : k + _CHUNK], py[k : k + _CHUNK], pf[k : k + _CHUNK], size)
            for k in range(0, len(x), _CHUNK)
        ]
        step, covariance = (np.concatenate(v) for v in zip(*steps, strict=True))
        pf += step[:, 0]
        free = ~(fixed | away)
        px[free] += np.clip(step[free, 1], -0.5, 0.5)
        py[free] += np.clip(step[free, 2], -0.5, 0.5)
        away |= np.hypot(px - x, py - y) > max_shift
        px[away], py[away] = x[away], y[away]
    err = np.sqrt(np.maximum(np.diagonal(covariance, axis1=1, axis2=2), 0.0))
    return PsfFit(px, py, pf, err[:, 1], err[:, 2], ~away)
