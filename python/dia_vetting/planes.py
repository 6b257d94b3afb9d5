"""Image, variance and mask of one exposure, as plain arrays."""

from __future__ import annotations

__all__ = ["Planes", "blank_sky", "cutouts", "fill_masked", "robust_sigma"]

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .masks import UNUSABLE_BITS, MaskBit

type F32 = NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class Planes:
    """One exposure as arrays on the same pixel grid.

    Parameters
    ----------
    image
        float32 [ny, nx], nJy; NaN where NO_DATA.
    variance
        float32 [ny, nx], nJy^2.
    mask
        uint32 [ny, nx], bits of `MaskBit`.

    Raises
    ------
    ValueError
        If the shapes differ.
    """

    image: F32
    variance: F32
    mask: NDArray[np.uint32]

    def __post_init__(self) -> None:
        object.__setattr__(self, "image", np.asarray(self.image, np.float32))
        object.__setattr__(self, "variance", np.asarray(self.variance, np.float32))
        object.__setattr__(self, "mask", np.asarray(self.mask, np.uint32))
        if self.image.ndim != 2 or not self.image.shape == self.variance.shape == self.mask.shape:
            raise ValueError(
                f"Image {self.image.shape}, variance {self.variance.shape} and mask {self.mask.shape} differ."
            )

    @property
    def shape(self) -> tuple[int, int]:
        """(ny, nx)."""
        return self.image.shape[0], self.image.shape[1]

    def has(self, bits: MaskBit) -> NDArray[np.bool_]:
        """Return where any of ``bits`` is set, bool [ny, nx]."""
        return np.asarray((self.mask & np.uint32(bits)) != 0)

    def unusable(self) -> NDArray[np.bool_]:
        """Return where the pixel carries no information, bool [ny, nx]."""
        finite = np.isfinite(self.image) & np.isfinite(self.variance) & (self.variance > 0)
        return self.has(UNUSABLE_BITS) | ~finite

    def interpolated(self) -> Planes:
        """Return a copy with the unusable pixels filled from their neighbours and INTRP set there.

        Image and variance are finite everywhere afterwards; no other mask bit changes, except that
        pixels that were not finite get NO_DATA.
        """
        bad = self.unusable()
        if not bad.any():
            return self
        mask = self.mask.copy()
        mask[bad] |= np.uint32(MaskBit.INTRP)
        mask[~(np.isfinite(self.image) & np.isfinite(self.variance))] |= np.uint32(MaskBit.NO_DATA)
        good_variance = self.variance[~bad]
        level = np.float32(np.median(good_variance)) if good_variance.size else np.float32(1.0)
        variance = np.where(bad & ~(self.variance > 0), level, self.variance).astype(np.float32)
        variance[~np.isfinite(variance)] = level
        return Planes(fill_masked(self.image, bad), variance, mask)


def robust_sigma(values: NDArray[Any]) -> float:
    """Return 1.4826 times the median absolute deviation of the finite values (NaN if none)."""
    values = values[np.isfinite(values)]
    if not values.size:
        return float("nan")
    return float(1.4826 * np.median(np.abs(values - np.median(values))))


def _fill_line(line: F32, bad: NDArray[np.bool_]) -> tuple[F32, F32]:
    """Linear interpolation along the last axis and the distance to the nearest good pixel."""
    n = line.shape[-1]
    index = np.arange(n)
    left = np.maximum.accumulate(np.where(bad, -1, index), axis=-1)
    right = np.minimum.accumulate(np.where(bad, n, index)[..., ::-1], axis=-1)[..., ::-1]
    has_left, has_right = left >= 0, right < n
    value_left = np.take_along_axis(line, np.maximum(left, 0), -1)
    value_right = np.take_along_axis(line, np.minimum(right, n - 1), -1)
    gap_left = np.where(has_left, index - left, np.inf)
    gap_right = np.where(has_right, right - index, np.inf)
    weight_left = 1.0 / np.maximum(gap_left, 0.5)
    weight_right = 1.0 / np.maximum(gap_right, 0.5)
    total = weight_left + weight_right
    value = (
        np.where(has_left, value_left, 0) * weight_left + np.where(has_right, value_right, 0) * weight_right
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        return (value / total).astype(np.float32), total.astype(np.float32)


def _fill_block(image: F32, bad: NDArray[np.bool_]) -> F32:
    clean = np.where(bad, np.float32(0), image)
    along_x, weight_x = _fill_line(clean, bad)
    along_y, weight_y = _fill_line(clean.T, bad.T)
    # The cubed weights make the shorter gap win: across a bad column, never along it.
    wx, wy = weight_x**3, weight_y.T**3
    value = np.nan_to_num(along_x) * wx + np.nan_to_num(along_y.T) * wy
    with np.errstate(invalid="ignore", divide="ignore"):
        filled = np.where(wx + wy > 0, value / (wx + wy), np.float32(np.nan))
    return np.where(bad, filled, image).astype(np.float32)


def fill_masked(image: F32, bad: NDArray[np.bool_]) -> F32:
    """Interpolate linearly over bad pixels, along the axis with the shorter gap.

    Parameters
    ----------
    image
        float32 [ny, nx]; may hold NaN where ``bad``.
    bad
        bool [ny, nx].

    Returns
    -------
    filled
        float32 [ny, nx], finite wherever any good pixel shares a row or a column, else the median of
        the good pixels (0 if there are none).
    """
    result = np.array(image, np.float32)
    labels, count = ndimage.label(bad, structure=np.ones((3, 3)))
    if count == 0:
        return result
    ny, nx = image.shape
    for slices in ndimage.find_objects(labels):
        block = tuple(
            slice(max(s.start - 2, 0), min(s.stop + 2, n)) for s, n in zip(slices, (ny, nx), strict=True)
        )
        result[block] = _fill_block(image[block], bad[block])
    left = ~np.isfinite(result)
    if left.any():
        good = image[~bad]
        result[left] = np.median(good) if good.size else 0.0
    return result


def blank_sky(planes: Planes, threshold: float = 3.0, grow: int = 4) -> NDArray[np.bool_]:
    """Return the pixels that neither a mask nor a visible source covers, bool [ny, nx].

    Parameters
    ----------
    planes
        The exposure.
    threshold
        Sources are pixels of the 5 x 5 averaged image above this many standard deviations.
    grow
        Pixels by which the sources are grown.
    """
    bad = planes.unusable()
    image = np.where(bad, np.float32(0), planes.image)
    smooth = ndimage.uniform_filter(image, 5)
    good = ~bad
    if not good.any():
        return good
    level = float(np.median(smooth[good][::7]))
    sigma = robust_sigma(smooth[good][::7])
    source = np.abs(smooth - level) > threshold * max(sigma, 1e-30)
    return np.asarray(good & ~(ndimage.maximum_filter(source, size=2 * grow + 1)))


def cutouts(
    image: NDArray[Any],
    x_first: NDArray[np.int64],
    y_first: NDArray[np.int64],
    size: int,
    fill: float | np.unsignedinteger = np.nan,
) -> NDArray[Any]:
    """Cut square stamps out of an image.

    Parameters
    ----------
    image
        [ny, nx].
    x_first, y_first
        First pixel of each stamp, [N]; may lie outside.
    size
        Side S of the stamps.
    fill
        Value of the pixels outside the image.

    Returns
    -------
    stamps
        [N, S, S] of the image's dtype.
    """
    ny, nx = image.shape
    index = np.arange(size)
    rows, columns = y_first[:, None] + index, x_first[:, None] + index
    inside = ((rows >= 0) & (rows < ny))[:, :, None] & ((columns >= 0) & (columns < nx))[:, None, :]
    stamps = image[np.clip(rows, 0, ny - 1)[:, :, None], np.clip(columns, 0, nx - 1)[:, None, :]]
    return np.where(inside, stamps, np.asarray(fill, image.dtype))
