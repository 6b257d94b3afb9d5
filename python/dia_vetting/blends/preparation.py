"""From stamps in any unit to pixels in units of the noise, which of them count, and flags."""

from __future__ import annotations

__all__ = ["PreparedStamps", "framed", "prepare"]

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..bad_input import BadInputError
from .estimates import estimate_noise, estimate_psf
from .flags import BlendFlag
from .stamps import MAX_SIZE, MIN_SIZE, BlendStamps

type F32 = NDArray[np.float32]
type I64 = NDArray[np.int64]
type Bool = NDArray[np.bool_]

_LARGEST = np.float32(1e6)
"""Pixels are kept within this many times the noise."""
_MIN_VALID = 0.5
_PLATEAU = 4
_HIGH = 5.0
_FAINT = 3.0
_RING = 4
"""Width of the border whose darker pixels tell whether there is a sky left, pixels."""


@dataclasses.dataclass(frozen=True)
class PreparedStamps:
    """Stamps in units of their noise.

    Parameters
    ----------
    pixels : `numpy.ndarray`, (N, S, S), float32
        Over the rms of a blank pixel, [n, y, x]; 0 where they are not valid.
    valid : `numpy.ndarray`, (N, S, S), bool
        Pixels that can be used.
    psf_fwhm : `numpy.ndarray`, (N,), float32
        Pixels; NaN where it is not known.
    flags : `numpy.ndarray`, (N,), int64
        Bits of `.flags.BlendFlag`.
    """

    pixels: F32
    valid: Bool
    psf_fwhm: F32
    flags: I64

    def __len__(self) -> int:
        return len(self.pixels)

    def where(self, keep: Any) -> PreparedStamps:
        """Return the rows of a mask, a slice or an index array, in that order."""
        return PreparedStamps(*(getattr(self, f.name)[keep] for f in dataclasses.fields(self)))


def prepare(stamps: BlendStamps, psf_fwhm: float | None = None) -> PreparedStamps:
    """Bring stamps into units of their noise, and say what is wrong with them.

    Parameters
    ----------
    stamps : `.stamps.BlendStamps`
        Sky-subtracted stamps of one band. No content of the pixels is an error.
    psf_fwhm : `float`, optional
        For rows without one, pixels; by default that of `.estimates.estimate_psf` of these stamps.

    Returns
    -------
    prepared : `PreparedStamps`
        One row per stamp, in the same order.

    Raises
    ------
    BadInputError
        If the stamps are no cube of squares, or there are not as many noises and PSFs.
    """
    images = _cube(stamps)
    if not MIN_SIZE <= images.shape[1] <= MAX_SIZE:
        return _unusable(images)
    finite = np.isfinite(images)
    outside = _off_edge(images, finite)
    valid = finite & ~outside
    flags = _content_flags(images, finite, valid, outside)
    sigma, flags = _noise(images, valid, stamps.noise_sigma, flags)
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = np.where(valid, images, 0.0) / np.where(np.isfinite(sigma), sigma, 1.0)[:, None, None]
    pixels = np.clip(scaled, -_LARGEST, _LARGEST).astype(np.float32)
    flags = flags | _signal_flags(pixels, valid)
    fwhm, psf_flags = _psf(images, sigma, stamps.psf_fwhm, psf_fwhm)
    return PreparedStamps(pixels, valid, fwhm, flags | psf_flags)


def framed(prepared: PreparedStamps, size: int, trimmed: bool = False) -> tuple[PreparedStamps, int]:
    """Crop or pad stamps about their middle.

    Parameters
    ----------
    prepared : `PreparedStamps`
        Stamps of side S.
    size : `int`
        Side W to bring them to. What is added is not valid. Between even and odd sides the middle moves by
        half a pixel, towards smaller indices.
    trimmed : `bool`, optional
        Whether what would be added beyond the last row and column is left out.

    Returns
    -------
    prepared : `PreparedStamps`
        Stamps of side W, or less if trimmed, flagged where S is larger.
    offset : `int`
        Index along each axis of the old stamp's first pixel in the new one; negative where it was cropped.
    """
    side = prepared.pixels.shape[1]
    offset = (size - side) // 2
    if side == size:
        return prepared, 0
    old = slice(max(-offset, 0), max(-offset, 0) + min(side, size))
    new = slice(max(offset, 0), max(offset, 0) + min(side, size))
    last = new.stop if trimmed else size
    shape = (len(prepared), last, last)
    pixels, valid = np.zeros(shape, np.float32), np.zeros(shape, bool)
    pixels[:, new, new] = prepared.pixels[:, old, old]
    valid[:, new, new] = prepared.valid[:, old, old]
    flags = prepared.flags | (int(BlendFlag.CROPPED) if side > size else 0)
    return PreparedStamps(pixels, valid, prepared.psf_fwhm, flags), offset


def _cube(stamps: BlendStamps) -> F32:
    images = np.asarray(stamps.images, np.float32)
    if images.ndim != 3 or images.shape[1] != images.shape[2]:
        raise BadInputError("stamps", "images of one band, of shape (N, S, S)", str(images.shape))
    for name in ("noise_sigma", "psf_fwhm"):
        if (found := np.shape(getattr(stamps, name))) != (len(images),):
            raise BadInputError("stamps", f"{name} of shape ({len(images)},)", str(found))
    return images


def _unusable(images: F32) -> PreparedStamps:
    """Return rows that carry nothing but the flag that their size is out of range."""
    count = len(images)
    side = MIN_SIZE
    flags = np.full(count, int(BlendFlag.SIZE), np.int64)
    shape = (count, side, side)
    return PreparedStamps(
        np.zeros(shape, np.float32), np.zeros(shape, bool), np.full(count, np.nan, np.float32), flags
    )


def _off_edge(images: F32, finite: Bool) -> Bool:
    """Return the pixels of whole rows and columns at the edges that are NaN or 0 throughout."""
    empty = ~finite | (images == 0)
    outside = np.zeros_like(empty)
    for axis in (1, 2):
        lines = empty.all(axis=axis)  # along y: columns; along x: rows
        lost = np.logical_and.accumulate(lines, axis=1)
        lost |= np.logical_and.accumulate(lines[:, ::-1], axis=1)[:, ::-1]
        outside |= np.expand_dims(lost, axis)
    return np.asarray(outside)


def _content_flags(images: F32, finite: Bool, valid: Bool, outside: Bool) -> I64:
    n_finite = finite.sum(axis=(1, 2))
    low = np.where(finite, images, np.inf).min(axis=(1, 2), initial=np.inf)
    high = np.where(finite, images, -np.inf).max(axis=(1, 2), initial=-np.inf)
    constant = (n_finite > 0) & (low == high)
    side = images.shape[1]
    centre = slice((side - 1) // 2 - 1, side // 2 + 2)
    bits = {
        BlendFlag.NAN: ~finite.all(axis=(1, 2)),
        BlendFlag.OFF_EDGE: outside.any(axis=(1, 2)),
        BlendFlag.ALL_ZERO: constant & (high == 0),
        BlendFlag.CONSTANT: constant & (high != 0),
        BlendFlag.TOO_FEW_PIXELS: valid.mean(axis=(1, 2)) < _MIN_VALID,
        BlendFlag.NO_CENTRE: ~valid[:, centre, centre].all(axis=(1, 2)),
    }
    return _combined(bits, len(images))


def _signal_flags(pixels: F32, valid: Bool) -> I64:
    """Return flags of what is judged in units of the noise."""
    side = pixels.shape[1]
    peak = np.where(valid, pixels, -np.inf).max(axis=(1, 2), initial=-np.inf)
    at_peak = (valid & (pixels == peak[:, None, None])).sum(axis=(1, 2))
    middle = slice((side - 1) // 2 - 2, side // 2 + 3)
    ring = np.ones((side, side), bool)
    ring[_RING:-_RING, _RING:-_RING] = False
    border = np.where(valid[:, ring], pixels[:, ring], -np.inf)
    dark = np.partition(border, border.shape[1] // 10, axis=1)[:, border.shape[1] // 10]
    bits = {
        BlendFlag.SATURATED: (at_peak >= _PLATEAU) & (peak > _HIGH),
        BlendFlag.FAINT: pixels[:, middle, middle].max(axis=(1, 2), initial=-np.inf) <= _FAINT,
        BlendFlag.BACKGROUND: dark > 0,
    }
    return _combined(bits, len(pixels))


def _noise(images: F32, valid: Bool, given: F32, flags: I64) -> tuple[F32, I64]:
    """Return the noise of each stamp, estimated where it was not given, and the flags with what that says."""
    sigma = np.asarray(given, np.float32).copy()
    missing = ~(np.isfinite(sigma) & (sigma > 0))
    sigma[missing] = estimate_noise(images[missing], valid[missing])
    none = np.isnan(sigma)
    bits = {BlendFlag.NOISE_ESTIMATED: missing & ~none, BlendFlag.NO_NOISE: none}
    return sigma, flags | _combined(bits, len(images))


def _psf(images: F32, sigma: F32, given: F32, default: float | None) -> tuple[F32, I64]:
    fwhm = np.asarray(given, np.float32).copy()
    missing = ~(np.isfinite(fwhm) & (fwhm > 0))
    fwhm[missing] = np.nan
    if missing.any():
        fwhm[missing] = estimate_psf(images, sigma) if default is None else default
    bits = {
        BlendFlag.PSF_ESTIMATED: missing & np.isfinite(fwhm),
        BlendFlag.PSF_UNKNOWN: missing & np.isnan(fwhm),
    }
    return fwhm, _combined(bits, len(images))


def _combined(bits: dict[BlendFlag, Bool], count: int) -> I64:
    flags = np.zeros(count, np.int64)
    for bit, rows in bits.items():
        flags[rows] |= int(bit)
    return flags
