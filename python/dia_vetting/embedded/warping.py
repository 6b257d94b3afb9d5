"""Resampling of images onto another pixel grid, and their coaddition.

Interpolation is by cubic B-splines (Unser 1999, IEEE SPM 16, 22), positions from a map that is evaluated
on a coarse grid only. Pixels are fluxes in nJy, so that values are multiplied by the Jacobian.
"""

from __future__ import annotations

__all__ = ["PixelMap", "coadd", "noise_factor", "pixel_positions", "warp"]

import warnings
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from scipy.interpolate import RectBivariateSpline

from ..masks import UNUSABLE_BITS, MaskBit
from ..planes import Planes

type F32 = NDArray[np.float32]
type F64 = NDArray[np.float64]
type PixelMap = Callable[[F64, F64], tuple[F64, F64]]
"""Maps output pixel positions (x, y) to input pixel positions (x, y), vectorised."""

_ROWS = 512


def pixel_positions(pixel_map: PixelMap, shape: tuple[int, int], step: int = 16) -> tuple[F64, F64, F64]:
    """Evaluate a pixel map on a coarse grid and interpolate it.

    Parameters
    ----------
    pixel_map
        See `PixelMap`.
    shape
        (ny, nx) of the output.
    step
        Spacing of the coarse grid, pixels. Cubic interpolation of a TAN-SIP map at 16 pixels is good to
        1e-5 pixel.

    Returns
    -------
    x, y
        Input positions of the output pixels, float64 [ny, nx].
    jacobian
        |d(input) / d(output)|, float64 [ny, nx].
    """
    ny, nx = shape
    grid_y = np.linspace(0, ny - 1, max(4, -(-ny // step) + 1))
    grid_x = np.linspace(0, nx - 1, max(4, -(-nx // step) + 1))
    xx, yy = np.meshgrid(grid_x, grid_y)
    source_x, source_y = pixel_map(xx.ravel(), yy.ravel())
    splines = [
        RectBivariateSpline(grid_y, grid_x, np.reshape(v, xx.shape), kx=3, ky=3) for v in (source_x, source_y)
    ]
    slopes = [[s(grid_y, grid_x, dx=1), s(grid_y, grid_x, dy=1)] for s in splines]
    jacobian = np.abs(slopes[0][1] * slopes[1][0] - slopes[0][0] * slopes[1][1])
    rows, columns = np.arange(ny, dtype=float), np.arange(nx, dtype=float)
    area = RectBivariateSpline(grid_y, grid_x, jacobian, kx=1, ky=1)
    return splines[0](rows, columns), splines[1](rows, columns), area(rows, columns)


def noise_factor(x: ArrayLike, y: ArrayLike) -> F64:
    """Return the ratio of the variance of an interpolated pixel to that of white input noise.

    For the cardinal cubic spline eta the ratio is sum_k eta(x - k)^2 times the same for y. It is 1 on the
    pixels and about 0.5 per axis halfway: the noise that is missing went into correlations.

    Parameters
    ----------
    x, y
        Input positions, pixels.

    Returns
    -------
    factor
        float64, of the broadcast shape of the positions.
    """
    phase = np.linspace(0.0, 1.0, 33)
    impulse = np.zeros(33)
    impulse[16] = 1.0
    offsets = np.arange(-14, 15)
    eta = ndimage.map_coordinates(impulse, [(16 + phase[:, None] - offsets).ravel()], order=3)
    table = (eta.reshape(len(phase), -1) ** 2).sum(axis=1)
    along_x = np.interp(np.mod(np.asarray(x, float), 1.0), phase, table)
    return np.asarray(along_x * np.interp(np.mod(np.asarray(y, float), 1.0), phase, table), np.float64)


def _spread(mask: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Grow the unusable planes by one pixel: the inner footprint of the interpolation."""
    grown = mask.copy()
    for bit in MaskBit(UNUSABLE_BITS | MaskBit.INTRP):
        where = (mask & np.uint32(bit)) != 0
        if where.any():
            grown[ndimage.maximum_filter(where, size=3)] |= np.uint32(bit)
    return grown


def warp(
    planes: Planes, pixel_map: PixelMap, shape: tuple[int, int], step: int = 16, marginal: bool = False
) -> Planes:
    """Resample an exposure onto another pixel grid.

    Parameters
    ----------
    planes
        Input exposure. Unusable pixels are filled from their neighbours before the interpolation, and
        flagged after it.
    pixel_map
        Output to input pixel positions.
    shape
        (ny, nx) of the output.
    step
        Spacing of the coarse grid, pixels.
    marginal
        By default the variance is the noise power of the input times the squared Jacobian: what the
        errors of PSF fluxes need, since interpolation moves noise from the pixel into correlations with
        its neighbours without removing it. True gives the variance of single pixels instead.

    Returns
    -------
    warped
        nJy per output pixel; NaN and NO_DATA where the input has no pixel.
    """
    x, y, jacobian = pixel_positions(pixel_map, shape, step)
    filled = planes.interpolated()
    spline = ndimage.spline_filter(filled.image, order=3, output=np.float32, mode="mirror")
    image = np.empty(shape, np.float32)
    variance = np.empty(shape, np.float32)
    for start in range(0, shape[0], _ROWS):
        rows = slice(start, start + _ROWS)
        where = [y[rows], x[rows]]
        image[rows] = ndimage.map_coordinates(
            spline, where, np.float32, order=3, mode="mirror", prefilter=False
        )
        variance[rows] = ndimage.map_coordinates(filled.variance, where, np.float32, order=1, mode="nearest")
    image *= jacobian.astype(np.float32)
    variance *= (jacobian**2).astype(np.float32)
    if marginal:
        variance *= noise_factor(x, y).astype(np.float32)
    ny, nx = planes.shape
    column, row = np.rint(x).astype(np.int64), np.rint(y).astype(np.int64)
    outside = (x < 0) | (x > nx - 1) | (y < 0) | (y > ny - 1)
    mask = _spread(filled.mask)[np.clip(row, 0, ny - 1), np.clip(column, 0, nx - 1)]
    mask[outside] = np.uint32(MaskBit.NO_DATA)
    empty = (mask & np.uint32(MaskBit.NO_DATA)) != 0
    image[empty], variance[empty] = np.nan, np.nan
    return Planes(image, variance, mask)


def _clipped(
    image: F32, usable: NDArray[np.bool_], variance: F32, n_sigma: float, fraction: float
) -> NDArray[np.bool_]:
    """Return ``usable`` without outliers: pixels far above or below the median of the stack.

    The tolerance contains ``fraction`` of the median, since cores of stars differ with the seeing.
    """
    count = usable.sum(axis=0)
    middle = np.nanmedian(np.where(usable, image, np.nan), axis=0)
    tolerance = n_sigma * np.sqrt(np.where(usable, variance, 0)) + fraction * np.abs(middle)
    with np.errstate(invalid="ignore"):
        outlier = np.abs(image - middle) > tolerance
    return np.asarray(usable & ~(outlier & (count >= 3)))


def _coadd_rows(stack: Sequence[Planes], weight: F64, rows: slice, n_sigma: float, fraction: float) -> Planes:
    image = np.stack([p.image[rows] for p in stack])
    variance = np.stack([p.variance[rows] for p in stack])
    mask = np.stack([p.mask[rows] for p in stack])
    present = np.isfinite(image) & np.isfinite(variance) & ((mask & np.uint32(MaskBit.NO_DATA)) == 0)
    usable = present & ((mask & np.uint32(UNUSABLE_BITS)) == 0)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "All-NaN slice encountered", RuntimeWarning)
        kept = _clipped(image, usable, variance, n_sigma, fraction)
    # Where every exposure is masked, their interpolated values are better than a hole.
    fallback = ~kept.any(axis=0) & present.any(axis=0)
    kept |= present & fallback
    w = np.where(kept, weight[:, None, None], 0.0).astype(np.float32)
    total = w.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = (w * np.where(kept, image, 0)).sum(axis=0) / total
        noise = (w**2 * np.where(kept, variance, 0)).sum(axis=0) / total**2
    result = np.bitwise_or.reduce(np.where(kept, mask, np.uint32(0)), axis=0)
    saturated = ((mask & np.uint32(MaskBit.SAT)) != 0).sum(axis=0) * 2 > np.maximum(present.sum(axis=0), 1)
    result[saturated] |= np.uint32(MaskBit.SAT)
    result[total == 0] = np.uint32(MaskBit.NO_DATA)
    return Planes(mean, noise, result)


def coadd(
    stack: Sequence[Planes], weights: ArrayLike | None = None, n_sigma: float = 5.0, fraction: float = 0.3
) -> Planes:
    """Average exposures on one grid, leaving out cosmic rays and other outliers.

    Parameters
    ----------
    stack
        Exposures of the same shape, sky subtracted.
    weights
        One per exposure; the inverse of the median variance by default. They are the same all over an
        exposure, so that the PSF of the coadd jumps only where pixels are left out.
    n_sigma
        Outliers deviate from the median of at least three by more than this many standard deviations,
        plus ``fraction`` of the median.
    fraction
        See ``n_sigma``.

    Returns
    -------
    coadded
        Weighted mean; NO_DATA and NaN where nothing contributes; SAT where most exposures have it.

    Raises
    ------
    ValueError
        If there are no exposures, or their shapes differ.
    """
    if not stack:
        raise ValueError("Nothing to coadd.")
    shape = stack[0].shape
    if any(p.shape != shape for p in stack):
        raise ValueError(f"Shapes differ: {[p.shape for p in stack]}.")
    weight = _default_weights(stack) if weights is None else np.asarray(weights, np.float64)
    rows = max(1, 16_000_000 // (shape[1] * len(stack)))
    parts = [
        _coadd_rows(stack, weight, slice(start, start + rows), n_sigma, fraction)
        for start in range(0, shape[0], rows)
    ]
    return Planes(*(np.concatenate([getattr(p, f) for p in parts]) for f in ("image", "variance", "mask")))


def _default_weights(stack: Sequence[Planes]) -> F64:
    level = []
    for planes in stack:
        good = planes.variance[~planes.unusable()]
        level.append(float(np.median(good)) if good.size else np.inf)
    return 1.0 / np.asarray(level)
