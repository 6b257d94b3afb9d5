"""Square stamps around many positions at once, from the planes of science, template and difference."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

from .masks import INJECTION_BITS, MaskBit
from .planes import Planes

__all__ = ["CENTRE_CONVENTION", "PlacedPlanes", "Triplets", "cut_plane", "cut_triplets", "stamp_corners"]

type I64 = NDArray[np.int64]

CENTRE_CONVENTION = "x0 = ceil(x - S/2): the source is within half a pixel of stamp pixel (S - 1)/2"
"""Where a source lies in its stamp, for odd and even S alike; in the metadata of every cutout table."""

_FAR = 2**30


@dataclasses.dataclass(frozen=True)
class PlacedPlanes:
    """One exposure and where its array lies in the parent frame.

    Parameters
    ----------
    planes : `~dia_vetting.planes.Planes`
        Image, variance and mask, [ny, nx].
    x_origin, y_origin : `int`
        Parent-frame pixel of array element [0, 0].
    """

    planes: Planes
    x_origin: int = 0
    y_origin: int = 0


@dataclasses.dataclass(frozen=True)
class Triplets:
    """Stamps of N sources, rows in the order of the positions.

    Parameters
    ----------
    science, template, difference : `numpy.ndarray`, (N, S, S), float32
        Pixels as [n, y, x], nJy; NaN off the edge of the detector.
    variance : `numpy.ndarray`, (N, S, S), float32
        Variance of the difference, nJy^2; NaN off the edge.
    mask : `numpy.ndarray`, (N, S, S), uint32
        `~dia_vetting.masks.MaskBit` of difference or science, NO_DATA off the edge; never an injection plane.
    x_first, y_first : `numpy.ndarray`, (N,), int64
        Parent-frame pixel of stamp element [0, 0].
    valid_fraction : `numpy.ndarray`, (N,), float32
        Fraction of the S * S pixels that are finite in all three images.
    """

    science: NDArray[np.float32]
    template: NDArray[np.float32]
    difference: NDArray[np.float32]
    variance: NDArray[np.float32]
    mask: NDArray[np.uint32]
    x_first: I64
    y_first: I64
    valid_fraction: NDArray[np.float32]


def stamp_corners(position: ArrayLike, size: int) -> I64:
    """Return the first pixel of the stamps of given positions, along one axis.

    ``ceil(x - S/2)`` puts the source within half a pixel of the geometric centre (S - 1)/2 of the stamp, so
    that flips and rotations of stamps leave no trace of the size's parity. It is the rule of
    `astropy.nddata.Cutout2D`, and of ``lsst.geom.Box2I.makeCenteredBox`` up to ties. A source exactly on
    a pixel centre falls on index S // 2.

    Parameters
    ----------
    position : array_like, (N,)
        Pixel positions, centre of the first pixel at 0.
    size : `int`
        Side S of the stamps.

    Returns
    -------
    first : `numpy.ndarray`, (N,), int64
        First pixel; positions that are not finite get one that is off every image.
    """
    position = np.nan_to_num(np.asarray(position, dtype=float), nan=-_FAR, posinf=_FAR, neginf=-_FAR)
    return np.ceil(np.clip(position, -_FAR, _FAR) - size / 2).astype(np.int64)


def cut_plane(plane: NDArray[Any], x_first: I64, y_first: I64, size: int, fill: float) -> NDArray[Any]:
    """Cut square stamps out of one plane.

    Parameters
    ----------
    plane : `numpy.ndarray`, (ny, nx)
        Pixels.
    x_first, y_first : `numpy.ndarray`, (N,), int64
        Array element that stamp element [0, 0] falls on; may lie outside.
    size : `int`
        Side S >= 1 of the stamps; may exceed ny or nx.
    fill : `float`
        Value of stamp pixels outside the plane.

    Returns
    -------
    stamps : `numpy.ndarray`, (N, S, S)
        Stamps as [n, y, x], of the plane's dtype.
    """
    if size < 1:
        raise ValueError(f"The side of a stamp must be at least 1 pixel, not {size}.")
    ny, nx = plane.shape
    x, y = np.clip(x_first, -size, nx), np.clip(y_first, -size, ny)
    if min(ny, nx) >= size:
        stamps = _gather(plane, np.clip(x, 0, nx - size), np.clip(y, 0, ny - size), size)
    else:
        stamps = np.empty((len(x), size, size), plane.dtype)
    # Only stamps that cross an edge need padding, so only strips along the four edges are ever copied.
    left, right = x < 0, x + size > nx
    for crosses, x_start, x_stop in ((left, -size, size), (right, nx - size, nx + size)):
        _cut_strip(plane, stamps, crosses, (x, y), (x_start, x_stop), (-size, ny + size), fill)
    below, above = y < 0, y + size > ny
    for crosses, y_start, y_stop in ((below, -size, size), (above, ny - size, ny + size)):
        _cut_strip(plane, stamps, crosses, (x, y), (-size, nx + size), (y_start, y_stop), fill)
    return stamps


def _gather(plane: NDArray[Any], x: I64, y: I64, size: int) -> NDArray[Any]:
    stamps: NDArray[Any] = sliding_window_view(plane, (size, size))[y, x]
    return stamps


def _cut_strip(
    plane: NDArray[Any],
    stamps: NDArray[Any],
    rows: NDArray[np.bool_],
    first: tuple[I64, I64],
    x_range: tuple[int, int],
    y_range: tuple[int, int],
    fill: float,
) -> None:
    """Cut the selected stamps out of a padded copy of part of the plane, in place."""
    if not rows.any():
        return
    (x_start, x_stop), (y_start, y_stop) = x_range, y_range
    ny, nx = plane.shape
    strip = np.full((y_stop - y_start, x_stop - x_start), fill, plane.dtype)
    inner = plane[max(y_start, 0) : min(y_stop, ny), max(x_start, 0) : min(x_stop, nx)]
    top, left = max(-y_start, 0), max(-x_start, 0)
    strip[top : top + inner.shape[0], left : left + inner.shape[1]] = inner
    stamps[rows] = _gather(strip, first[0][rows] - x_start, first[1][rows] - y_start, stamps.shape[1])


def cut_triplets(
    science: PlacedPlanes,
    template: PlacedPlanes,
    difference: PlacedPlanes,
    x: ArrayLike,
    y: ArrayLike,
    size: int,
) -> Triplets:
    """Cut science, template and difference stamps around positions.

    Pixels are copied as they are: no normalisation, no interpolation. No source is left out, however far off
    the edge; its flags say so.

    Parameters
    ----------
    science, template, difference : `PlacedPlanes`
        The three exposures on one pixel grid; their boxes may differ.
    x, y : array_like, (N,)
        Positions in the parent frame, pixels. A position that is not finite gives a stamp without data.
    size : `int`
        Side S >= 1 of the stamps, odd or even.

    Returns
    -------
    triplets : `Triplets`
        N stamps.
    """
    x_first, y_first = stamp_corners(x, size), stamp_corners(y, size)

    def cut(placed: PlacedPlanes, plane: str, fill: float) -> NDArray[Any]:
        pixels = getattr(placed.planes, plane)
        return cut_plane(pixels, x_first - placed.x_origin, y_first - placed.y_origin, size, fill)

    images = {"science": science, "template": template, "difference": difference}
    stamps = {name: cut(placed, "image", np.nan) for name, placed in images.items()}
    mask = cut(difference, "mask", MaskBit.NO_DATA)
    mask |= cut(science, "mask", MaskBit.NO_DATA)
    mask &= np.uint32(~int(INJECTION_BITS) & 0xFFFFFFFF)
    valid = np.logical_and.reduce([np.isfinite(stamp) for stamp in stamps.values()])
    return Triplets(
        science=stamps["science"],
        template=stamps["template"],
        difference=stamps["difference"],
        variance=cut(difference, "variance", np.nan),
        mask=mask,
        x_first=x_first,
        y_first=y_first,
        valid_fraction=valid.mean(axis=(1, 2), dtype=np.float32),
    )
