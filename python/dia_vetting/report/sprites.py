"""Triplets of stamps as pictures of a few hundred each, small enough for a page."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterable

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray
from PIL import Image

from ..masks import MaskBit

__all__ = ["SpriteSheets", "StampBytes", "compress_stamps", "make_sheets", "tile_size"]

type F32 = NDArray[np.float32]
type U8 = NDArray[np.uint8]
type Bool = NDArray[np.bool_]

_BLOCK = 16  # pixels that WebP compresses together
_COLUMNS, _ROWS = 10, 40
_QUALITY = 50  # 0.9 kB per triplet of 30 pixels; rms error 7 of 255 levels, a quarter of the noise
_SOFTENING = 3.0
_LEAST_RANGE = 6.0
_NO_DATA = MaskBit.NO_DATA | MaskBit.NO_DATA_TEMPLATE


@dataclasses.dataclass(frozen=True)
class StampBytes:
    """Triplets of N sources in grey levels.

    Parameters
    ----------
    ids : `numpy.ndarray`, (N,), int64
        diaSourceId.
    pixels : `numpy.ndarray`, (N, 3, S, S), uint8
        Science, template, difference as [n, image, y, x], y upwards. Science and template share an asinh
        stretch above the lower quartile of each, from the darkest 2 % to the brightest pixel (but one in
        500); the difference is 128 at zero and runs to its largest absolute pixel at either end.
    invalid : `numpy.ndarray`, (N, S, S), bool
        Pixels that are not known in one of the three images.
    reach : `numpy.ndarray`, (N,), float32
        Difference at the ends of its scale, in units of its noise.
    """

    ids: NDArray[np.int64]
    pixels: U8
    invalid: Bool
    reach: F32


@dataclasses.dataclass(frozen=True)
class SpriteSheets:
    """Sheets of triplets.

    Parameters
    ----------
    sheets : `list` [`bytes`]
        WebP files, grey. Each holds ``columns`` x ``rows`` triplets in reading order, each 3 tiles wide.
    size, tile : `int`
        Side of a stamp and of its tile, pixels: a multiple of 16, so that stamps hardly shine into each
        other.
    columns, rows : `int`
        Triplets per row and rows per sheet.
    ids : `numpy.ndarray`, (N,), int64
        diaSourceId of each triplet, over all sheets.
    reach : `numpy.ndarray`, (N,), float32
        As in `StampBytes`.
    mask_row : `numpy.ndarray`, (N,), int32
        Row of ``masks``; -1 where all pixels are known.
    masks : `numpy.ndarray`, (K, B), uint8
        Pixels that are not known, 8 to the byte, first pixel in the highest bit.
    """

    sheets: list[bytes]
    size: int
    tile: int
    columns: int
    rows: int
    ids: NDArray[np.int64]
    reach: F32
    mask_row: NDArray[np.int32]
    masks: U8


def tile_size(size: int) -> int:
    """Return the side of the tile of a stamp: the next multiple of what WebP compresses together."""
    return -(-size // _BLOCK) * _BLOCK


def compress_stamps(cutouts: Table) -> StampBytes:
    """Turn pixels into grey levels.

    Parameters
    ----------
    cutouts : `astropy.table.Table`
        N rows with ``diaSourceId``, ``science``, ``template``, ``difference``, ``variance`` (N, S, S) and
        ``mask``.

    Returns
    -------
    stamps : `StampBytes`
        In the order of the rows.
    """
    planes = {name: np.asarray(cutouts[name], np.float32) for name in ("science", "template", "difference")}
    variance = np.asarray(cutouts["variance"], np.float32)
    known = (
        np.isfinite(variance) & (variance > 0) & ((np.asarray(cutouts["mask"]) & np.uint32(_NO_DATA)) == 0)
    )
    invalid = ~(known & np.isfinite(list(planes.values())).all(axis=0))
    sigma = _noise(variance, invalid)
    science, template = (_above_sky(planes[name], invalid) for name in ("science", "template"))
    pixels = np.empty((len(cutouts), 3, *invalid.shape[1:]), dtype=np.uint8)
    pixels[:, 0], pixels[:, 1] = _shared_stretch(science, template, invalid, sigma)
    pixels[:, 2], reach = _signed(planes["difference"], invalid, sigma)
    return StampBytes(np.asarray(cutouts["diaSourceId"], np.int64), pixels, invalid, reach)


def _quantile(values: F32, invalid: Bool, fraction: float) -> F32:
    """Return a quantile of the valid values of each row, (N,); 0 where there is none."""
    flat = np.where(invalid, np.inf, values).reshape(len(values), -1)
    flat.sort(axis=1)
    count = np.isfinite(flat).sum(axis=1)
    at = np.clip(np.round(fraction * (count - 1)).astype(int), 0, None)
    found = flat[np.arange(len(flat)), at]
    return np.where(count > 0, found, np.float32(0)).astype(np.float32)


def _noise(variance: F32, invalid: Bool) -> F32:
    sigma = np.sqrt(_quantile(np.where(invalid, 0, variance), invalid, 0.5))
    return np.where(sigma > 0, sigma, np.float32(1))[:, None, None]


def _above_sky(plane: F32, invalid: Bool) -> F32:
    sky = _quantile(np.where(invalid, 0, plane), invalid, 0.25)[:, None, None]
    return np.where(invalid, np.float32(0), plane - sky)


def _shared_stretch(science: F32, template: F32, invalid: Bool, sigma: F32) -> tuple[U8, U8]:
    both, without = np.concatenate([science, template], axis=1), np.concatenate([invalid, invalid], axis=1)
    low = _quantile(both, without, 0.02)[:, None, None]
    high = np.maximum(_quantile(both, without, 0.998)[:, None, None], low + 6 * sigma)
    width = _SOFTENING * sigma
    bottom, top = np.arcsinh(low / width), np.arcsinh(high / width)
    levels = (np.arcsinh(both / width) - bottom) / (top - bottom)
    grey = np.clip(np.round(255 * levels), 0, 255).astype(np.uint8)
    return grey[:, : science.shape[1]], grey[:, science.shape[1] :]


def _signed(difference: F32, invalid: Bool, sigma: F32) -> tuple[U8, F32]:
    value = np.where(invalid, np.float32(0), difference) / sigma
    reach = np.maximum(np.abs(value).max(axis=(1, 2)), np.float32(_LEAST_RANGE))
    levels = np.arcsinh(value / _SOFTENING) / np.arcsinh(reach / _SOFTENING)[:, None, None]
    return np.clip(np.round(128 + 127 * levels), 0, 255).astype(np.uint8), reach


def make_sheets(parts: Iterable[StampBytes], order: NDArray[np.int64]) -> SpriteSheets | None:
    """Put triplets onto sheets.

    Parameters
    ----------
    parts : `~collections.abc.Iterable` of `StampBytes`
        Triplets of one size, in any order; those that are not wanted are passed over.
    order : `numpy.ndarray`, (N,), int64
        diaSourceId of those that are wanted, in the order of the sheets: stamps that are looked at together
        should be neighbours.

    Returns
    -------
    sheets : `SpriteSheets` or `None`
        Those that were found; `None` if none was.
    """
    kept = [_wanted(part, order) for part in parts]
    kept = [part for part in kept if len(part.ids)]
    if not kept:
        return None
    ids = np.concatenate([part.ids for part in kept])
    sizes = {part.pixels.shape[-1] for part in kept}
    if len(sizes) > 1:
        raise ValueError(f"Stamps of one size go onto a page, not {sorted(sizes)}.")
    place = np.argsort(order, kind="stable")
    at = place[np.searchsorted(order, ids, sorter=place)]
    by_order = np.argsort(at, kind="stable")
    pixels = np.concatenate([part.pixels for part in kept])[by_order]
    invalid = np.concatenate([part.invalid for part in kept])[by_order]
    reach = np.concatenate([part.reach for part in kept])[by_order]
    masked = invalid.any(axis=(1, 2))
    mask_row = np.where(masked, np.cumsum(masked) - 1, -1).astype(np.int32)
    size = pixels.shape[-1]
    masks = np.packbits(invalid[masked].reshape(-1, size * size), axis=1)
    per_sheet = _COLUMNS * _ROWS
    sheets = [_picture(pixels[i : i + per_sheet]) for i in range(0, len(pixels), per_sheet)]
    tile = tile_size(size)
    return SpriteSheets(sheets, size, tile, _COLUMNS, _ROWS, ids[by_order], reach, mask_row, masks)


def _wanted(part: StampBytes, order: NDArray[np.int64]) -> StampBytes:
    keep = np.isin(part.ids, order)
    return StampBytes(part.ids[keep], part.pixels[keep], part.invalid[keep], part.reach[keep])


def _picture(pixels: U8) -> bytes:
    """Draw triplets into one grey picture, rows of pixels from top to bottom."""
    size, tile = pixels.shape[-1], tile_size(pixels.shape[-1])
    rows = -(-len(pixels) // _COLUMNS)
    padding = ((0, rows * _COLUMNS - len(pixels)), (0, 0), (0, tile - size), (0, tile - size))
    tiles = np.pad(pixels[:, :, ::-1], padding, mode="edge")
    grid = tiles.reshape(rows, _COLUMNS, 3, tile, tile).transpose(0, 3, 1, 2, 4)
    image = Image.fromarray(np.ascontiguousarray(grid.reshape(rows * tile, _COLUMNS * 3 * tile)))
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=_QUALITY, method=4)
    return buffer.getvalue()
