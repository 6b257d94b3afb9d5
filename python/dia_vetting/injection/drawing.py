"""Putting point sources into pixels: flux, photon noise, variance and mask planes."""

from __future__ import annotations

__all__ = [
    "Drawing",
    "StampMaker",
    "Stamps",
    "border_fraction",
    "draw_sources",
    "polynomial_stamps",
    "trail_image",
]

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..masks import MaskBit
from ..planes import Planes
from ..psf import PolynomialPsf
from .flags import InjectionFlag

type F64 = NDArray[np.float64]

type StampMaker = Callable[[float, float], tuple[F64, int, int]]
"""Returns the image [S, S] of a unit point source at (x, y), and the column and row of its first pixel."""

_TRAIL_STEP = 0.5
"""Largest distance between the points that a trail is made of, pixels."""

_BATCH = 2048
"""Sources whose images are in memory at a time."""

_CORE = 1
"""Half-width of the box of INJECTED_CORE."""


class Stamps(Protocol):
    """What makes many point source images at once."""

    def images(self, x: F64, y: F64) -> tuple[F64, NDArray[np.int64], NDArray[np.int64]]:
        """Return unit images [N, S, S], and columns and rows of their first pixels."""
        ...


@dataclasses.dataclass(frozen=True)
class Drawing:
    """Pixels with sources in them, and what became of each source.

    Parameters
    ----------
    planes : `~dia_vetting.planes.Planes`
        New pixels.
    flag : `numpy.ndarray`, (N,), int64
        Bits of `InjectionFlag`.
    draw_size : `numpy.ndarray`, (N,), int64
        Side of the stamp, pixels; 0 if none was made.
    on_image : `numpy.ndarray`, (N,), float64
        Flux that was added to pixels that are finite, with its noise, nJy.
    """

    planes: Planes
    flag: NDArray[np.int64]
    draw_size: NDArray[np.int64]
    on_image: F64


def draw_sources(
    planes: Planes,
    stamps: StampMaker,
    x: F64,
    y: F64,
    flux: F64,
    gain: float,
    rngs: Sequence[np.random.Generator] | None,
    trail: tuple[F64, F64] | None = None,
    block: Stamps | None = None,
) -> Drawing:
    """Add point sources, and sources that move during the exposure, to an image.

    A pixel that expects f nJy of a source receives n / gain, n ~ Poisson(f gain) electrons, and its variance
    grows by n / gain^2: as in lsst.source.injection, and as in a real variance plane, which is made from the
    noisy pixels. Where the PSF is negative (ringing of an interpolant), f is added without noise, so that
    the sum over the stamp stays the flux. NaN pixels stay NaN. Sources are added in the order of their rows,
    in float32, so that where they overlap the last bit depends on it: sort them for pixels that do not.

    Parameters
    ----------
    planes : `~dia_vetting.planes.Planes`
        Is not changed.
    stamps : `StampMaker`
        Point source images, of unit sum, in the frame of the array.
    x, y : `numpy.ndarray`, (N,), float64
        Positions in the frame of the array; they may lie outside.
    flux : `numpy.ndarray`, (N,), float64
        Fluxes, nJy; finite.
    gain : `float`
        Electrons per nJy.
    rngs : `~collections.abc.Sequence` of `numpy.random.Generator` or `None`
        One for each source; without them there is no noise and the variance grows by f / gain.
    trail : `tuple` of `numpy.ndarray`, (N,), float64, optional
        Path of each source during the exposure along x and y, pixels; its middle is at (x, y).
    block : `Stamps`, optional
        Makes the images of the sources that do not move, many at once, in place of ``stamps``.

    Returns
    -------
    drawing : `Drawing`
        Pixels and what became of each source.
    """
    image, variance, mask = planes.image.copy(), planes.variance.copy(), planes.mask.copy()
    flag, size, on_image = np.zeros(len(x), np.int64), np.zeros(len(x), np.int64), np.zeros(len(x))
    path_x, path_y = trail if trail is not None else (np.zeros(len(x)), np.zeros(len(x)))
    for i, made in _unit_images(stamps, block, x, y, path_x, path_y, planes.shape):
        unit, x_first, y_first, flag[i] = made
        if flag[i]:
            continue
        size[i] = max(unit.shape)
        target, part = _overlap(planes.shape, unit.shape, x_first, y_first)
        if not image[target].size:
            flag[i] = InjectionFlag.NO_OVERLAP
            continue
        added, grown = _photons(flux[i] * unit[part], gain, rngs[i] if rngs is not None else None)
        on_image[i] = added[np.isfinite(image[target])].sum()
        image[target] += added.astype(np.float32)
        variance[target] += grown.astype(np.float32)
        mask[target] |= np.uint32(MaskBit.INJECTED)
        mask[_core(planes.shape, x[i], y[i])] |= np.uint32(MaskBit.INJECTED_CORE)
    return Drawing(Planes(image, variance, mask), flag, size, on_image)


type _Made = tuple[F64, int, int, int]


def _unit_images(
    stamps: StampMaker, block: Stamps | None, x: F64, y: F64, path_x: F64, path_y: F64, shape: tuple[int, int]
) -> Iterator[tuple[int, _Made]]:
    """Yield the row of each source, in order, and what `_unit_stamp` returns of it."""
    for start in range(0, len(x), _BATCH):
        rows = slice(start, min(start + _BATCH, len(x)))
        made = block.images(x[rows], y[rows]) if block is not None else None
        for i in range(rows.start, rows.stop):
            if path_x[i] or path_y[i]:
                vector = (float(path_x[i]), float(path_y[i]))
                yield i, _unit_stamp(_trailed(stamps, *vector), float(x[i]), float(y[i]), shape)
            elif made is None:
                yield i, _unit_stamp(stamps, float(x[i]), float(y[i]), shape)
            else:
                k = i - start
                yield i, (made[0][k], int(made[1][k]), int(made[2][k]), 0)


def _trailed(stamps: StampMaker, dx: float, dy: float) -> StampMaker:
    return lambda x, y: trail_image(stamps, x, y, dx, dy)


def trail_image(stamps: StampMaker, x: float, y: float, dx: float, dy: float) -> tuple[F64, int, int]:
    """Return the unit image of a source that moves at a constant rate along a straight line.

    Parameters
    ----------
    stamps : `StampMaker`
        Point source images.
    x, y : `float`
        Middle of the path.
    dx, dy : `float`
        The path, pixels: from (x - dx/2, y - dy/2) to (x + dx/2, y + dy/2).

    Returns
    -------
    image : `numpy.ndarray`, (S, S'), float64
        Mean of the point images in the middle of equal steps of at most half a pixel. All have the PSF of the
        middle of the path.
    x_first, y_first : `int`
        Column and row of the first pixel.
    """
    count = max(int(np.ceil(np.hypot(dx, dy) / _TRAIL_STEP)), 1)
    along = (np.arange(count) + 0.5) / count - 0.5
    parts = []
    for step in along:
        shift_x, shift_y = round(step * dx), round(step * dy)  # whole pixels, so that the PSF is the middle's
        unit, x_first, y_first = stamps(x + step * dx - shift_x, y + step * dy - shift_y)
        parts.append((unit, x_first + shift_x, y_first + shift_y))
    left, bottom = min(part[1] for part in parts), min(part[2] for part in parts)
    width = max(part[1] + part[0].shape[1] for part in parts) - left
    height = max(part[2] + part[0].shape[0] for part in parts) - bottom
    image = np.zeros((height, width))
    for unit, x_first, y_first in parts:
        column, line = x_first - left, y_first - bottom
        image[line : line + unit.shape[0], column : column + unit.shape[1]] += unit / count
    return image, left, bottom


def _unit_stamp(stamps: StampMaker, x: float, y: float, shape: tuple[int, int]) -> _Made:
    """Make the stamp of a source; one outside the image has the PSF of the nearest place inside."""
    inner_x, inner_y = float(np.clip(x, 0, shape[1] - 1)), float(np.clip(y, 0, shape[0] - 1))
    shift_x, shift_y = round(x - inner_x), round(y - inner_y)  # whole pixels: the sub-pixel phase stays
    empty = np.empty((0, 0))
    try:
        unit, x_first, y_first = stamps(x - shift_x, y - shift_y)
    except (ValueError, RuntimeError) as error:  # BoundsError of lsst.images, and all of GalSim's
        too_large = type(error).__name__ == "GalSimFFTSizeError"
        return empty, 0, 0, InjectionFlag.FFT_SIZE_ERROR if too_large else InjectionFlag.PSF_COMPUTE_ERROR
    if not np.isfinite(unit).all():
        return empty, 0, 0, InjectionFlag.PSF_COMPUTE_ERROR
    return unit, x_first + shift_x, y_first + shift_y, 0


def _overlap(
    shape: tuple[int, int], stamp: tuple[int, ...], x_first: int, y_first: int
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Return the slices of the image and of the stamp that fall on each other; empty if none do."""
    target, part = [], []
    for first, side, length in zip((y_first, x_first), stamp, shape, strict=True):
        low = min(max(first, 0), length)
        high = max(min(first + side, length), low)
        target.append(slice(low, high))
        part.append(slice(low - first, high - first))
    return (target[0], target[1]), (part[0], part[1])


def _photons(expected: F64, gain: float, rng: np.random.Generator | None) -> tuple[F64, F64]:
    """Return the flux and the variance to add for an expected flux per pixel."""
    positive = np.maximum(expected, 0.0)
    if rng is None:
        return expected, positive / gain
    electrons = rng.poisson(positive * gain).astype(np.float64)
    return np.where(expected > 0, electrons / gain, expected), electrons / gain**2


def _core(shape: tuple[int, int], x: float, y: float) -> tuple[slice, slice]:
    centre_x, centre_y = int(np.floor(x + 0.5)), int(np.floor(y + 0.5))
    side = 2 * _CORE + 1
    return _overlap(shape, (side, side), centre_x - _CORE, centre_y - _CORE)[0]


def polynomial_stamps(psf: PolynomialPsf) -> StampMaker:
    """Return the point source images of a polynomial PSF, divided by their sum."""

    def stamps(x: float, y: float) -> tuple[F64, int, int]:
        images, x_first, y_first = psf.stellar_images(x, y)
        return images[0] / images[0].sum(), int(x_first[0]), int(y_first[0])

    return stamps


def border_fraction(unit: F64) -> float:
    """Return the fraction of a point source's flux in the outermost pixels of its stamp.

    The stamp of a PSF model is all there is of it: light further out is neither in the model nor injected.
    What is cut off is about this fraction times R / (2 beta - 2), for a Moffat profile of power beta in a
    stamp of half-width R: the ring of one pixel at R holds a share f ~ R^(1 - 2 beta), all beyond it its
    integral.

    Parameters
    ----------
    unit : `numpy.ndarray`, (S, S), float64
        Point source image of unit sum.

    Returns
    -------
    fraction : `float`
        Sum over the outermost ring of pixels.
    """
    return float(unit.sum() - unit[1:-1, 1:-1].sum())
