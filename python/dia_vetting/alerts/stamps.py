"""FITS cutouts from untrusted bytes: what they say of themselves is checked before it is used.

A cutout is small and its layout simple, so that every byte of it can be accounted for: headers are printable
ASCII, images are floating-point and of two dimensions, the padding of each block is zero, and the last block
ends where the bytes do (FITS standard 4.0, sections 3.3, 4.2 and 4.4). Memory is never larger than the bytes
that are there.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import re
import warnings
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from numpy.typing import NDArray

from ..masks import MaskBit
from ..planes import Planes
from ..psf import shift_matrices
from .packets import AlertError

__all__ = ["MAX_SIDE", "Stamp", "StampError", "gunzip", "make_planes", "psf_fwhm", "read_stamp"]

type F32 = NDArray[np.float32]
type F64 = NDArray[np.float64]
type Header = Mapping[str, Any]

MAX_SIDE = 512
"""Largest side of an image that is read, pixels; Rubin's largest cutouts have some 100."""

_BLOCK, _CARD = 2880, 80
_MAX_HEADER_BLOCKS = 32
_MAX_HDUS = 8
_DTYPES: dict[int, np.dtype[Any]] = {-32: np.dtype(">f4"), -64: np.dtype(">f8")}
_PRINTABLE = re.compile(rb"[ -~]*")

_MAX_PIXEL = 1e15
"""Pixels beyond this, nJy, were not measured: ZTF marks gaps by -3.4e38, and sums of such overflow."""

_FINE = 8
_HALF_WIDTH = 12
_MAX_PSF = 101


class StampError(AlertError):
    """A cutout that cannot be read fully."""


@dataclasses.dataclass(frozen=True)
class Stamp:
    """One cutout.

    Parameters
    ----------
    image : `numpy.ndarray`, (ny, nx), float32
        Pixels as [y, x] in the unit of the file.
    variance : `numpy.ndarray`, (ny, nx), float32, or `None`
        The extension UNCERT, which in Rubin's alerts is the variance.
    psf : `numpy.ndarray`, (S, S), float64, or `None`
        The extension PSFIMAGE.
    header : `~collections.abc.Mapping`
        FITS keywords of the image.
    extensions : `tuple` of `str`
        Names of all extensions in order, PRIMARY among them.
    """

    image: F32
    variance: F32 | None
    psf: F64 | None
    header: Header
    extensions: tuple[str, ...]

    def position(self, ra: float, dec: float, source: str) -> tuple[float, float] | None:
        """Return where a place on the sky is in the image, centre of the first pixel at 0.

        Rubin's alerts have no CTYPE: their WCS is linear in the tangent plane, so that it is read as TAN
        (Calabretta & Greisen 2002, astro-ph/0207413), which is exact at its reference point, the source.

        Parameters
        ----------
        ra, dec : `float`
            ICRS, deg.
        source : `str`
            Where the cutout comes from, for messages.

        Returns
        -------
        x, y : `tuple` of `float`, or `None`
            Pixels; none without a WCS.

        Raises
        ------
        StampError
            If the WCS cannot be used, or the place is not in the image.
        """
        if "CRPIX1" not in self.header:
            return None
        try:
            x, y = (float(v) for v in _tangent_wcs(*_wcs_values(self.header)).wcs_world2pix(ra, dec, 0))
        except Exception as error:  # wcslib and astropy raise what they like for what is no WCS
            raise StampError(source, "a WCS", _brief(error)) from None
        ny, nx = self.image.shape
        if not (-0.5 <= x <= nx - 0.5 and -0.5 <= y <= ny - 0.5):
            raise StampError(source, f"the source on its {nx} x {ny} pixels", f"it at ({x:.1f}, {y:.1f})")
        return x, y

    def corner(self) -> tuple[int, int] | None:
        """Return the parent-frame pixel of the first one, where the header has Rubin's CUTMINX and CUTMINY.

        These are one less than the corner, so that adding a FITS pixel number gives a parent-frame pixel.
        """
        x, y = self.header.get("CUTMINX"), self.header.get("CUTMINY")
        if not (type(x) is int and type(y) is int and max(abs(x), abs(y)) < 2**31):
            return None
        return x + 1, y + 1


def read_stamp(data: bytes, source: str) -> Stamp:
    """Read a cutout.

    Parameters
    ----------
    data : `bytes`
        A FITS file, not compressed.
    source : `str`
        Where it comes from, for messages.

    Returns
    -------
    stamp : `Stamp`
        Copies, in native byte order.

    Raises
    ------
    StampError
        If any byte of it is not what it must be.
    """
    hdus: dict[str, tuple[Header, NDArray[Any]]] = {}
    offset = 0
    while offset < len(data) or not hdus:
        if len(hdus) == _MAX_HDUS:
            raise StampError(source, f"at most {_MAX_HDUS} FITS extensions", "more")
        name, header, pixels, offset = _read_hdu(data, offset, source)
        if name in hdus:
            raise StampError(source, "FITS extensions of different names", f"two called {name!r}")
        hdus[name] = header, pixels
    header, image = hdus["PRIMARY"]
    variance = hdus["UNCERT"][1] if "UNCERT" in hdus else None
    if variance is not None and variance.shape != image.shape:
        raise StampError(source, f"UNCERT of the image's shape {image.shape}", str(variance.shape))
    psf = hdus["PSFIMAGE"][1] if "PSFIMAGE" in hdus else None
    with np.errstate(over="ignore", invalid="ignore"):
        return Stamp(
            image.astype(np.float32),
            None if variance is None else variance.astype(np.float32),
            None if psf is None else psf.astype(np.float64),
            header,
            tuple(hdus),
        )


def _read_hdu(data: bytes, offset: int, source: str) -> tuple[str, Header, NDArray[Any], int]:
    """Return the name, header and pixels of one FITS extension, and where the next one begins."""
    header, start = _read_header(data, offset, source)
    name = str(header.get("EXTNAME", "")).strip() if offset else "PRIMARY"
    kind = header.get("XTENSION") if offset else header.get("SIMPLE")
    if kind is not True and kind != "IMAGE":
        raise StampError(source, "a FITS image", f"a FITS extension of the kind {kind!r:.40}")
    bits, sides = header.get("BITPIX"), (header.get("NAXIS2"), header.get("NAXIS1"))
    plain = (header.get("NAXIS"), header.get("PCOUNT", 0), header.get("GCOUNT", 1)) == (2, 0, 1)
    plain &= (header.get("BSCALE", 1), header.get("BZERO", 0)) == (1, 0)
    if not plain or type(bits) is not int or bits not in _DTYPES:
        raise StampError(source, "a FITS image of floating-point pixels in two dimensions", "another")
    ny, nx = (n if type(n) is int else 0 for n in sides)
    if not (0 < nx <= MAX_SIDE and 0 < ny <= MAX_SIDE):
        raise StampError(source, f"images of 1 to {MAX_SIDE} pixels a side", f"{nx} x {ny}")
    dtype = _DTYPES[bits]
    stop = start + ny * nx * dtype.itemsize
    end = start - (start - stop) // _BLOCK * _BLOCK
    if end > len(data):
        raise StampError(source, f"at least {end} bytes, as its header says", f"{len(data)}")
    if data[stop:end].strip(b"\x00"):
        raise StampError(source, "zeros behind the pixels, up to the end of the FITS block", "other bytes")
    return name, header, np.frombuffer(data[start:stop], dtype).reshape(ny, nx), end


def _read_header(data: bytes, offset: int, source: str) -> tuple[Header, int]:
    for end in range(offset + _BLOCK, offset + (_MAX_HEADER_BLOCKS + 1) * _BLOCK, _BLOCK):
        if end > len(data):
            break
        cards = [data[i : i + 8] for i in range(end - _BLOCK, end, _CARD)]
        if b"END     " in cards:
            try:
                return _parse_header(data[offset:end]), end
            except Exception as error:  # astropy raises several kinds for what is no header
                raise StampError(source, "a FITS header", _brief(error)) from None
    raise StampError(source, "a FITS header", f"none in {len(data) - offset} bytes")


@functools.lru_cache(maxsize=256)
def _parse_header(words: bytes) -> Header:
    """Return all keywords of a header; most headers of a stream are the same, and to parse one takes long."""
    if not _PRINTABLE.fullmatch(words):
        raise ValueError("characters that are not printable")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return dict(fits.Header.fromstring(words).items())


def _wcs_values(header: Header) -> tuple[tuple[str, ...], tuple[float, ...], str]:
    """Return the axes, the numbers, and whether the matrix is PC or CD."""
    axes = tuple(str(header.get(f"CTYPE{i}", name)) for i, name in ((1, "RA---TAN"), (2, "DEC--TAN")))
    kind = "CD" if "CD1_1" in header else "PC"
    cells = [(i, j) for i in (1, 2) for j in (1, 2)]
    unit = 1.0 if kind == "PC" else 0.0
    matrix = [header.get(f"{kind}{i}_{j}", unit * (i == j)) for i, j in cells]
    steps = [header.get(f"CDELT{i}", 1.0) for i in (1, 2)]
    places = [header[f"{key}{i}"] for key in ("CRPIX", "CRVAL") for i in (1, 2)]
    return axes, tuple(float(v) for v in (*places, *matrix, *steps)), kind


@functools.lru_cache(maxsize=64)
def _tangent_wcs(axes: tuple[str, ...], values: tuple[float, ...], kind: str) -> WCS:
    """Return a WCS; the three cutouts of an alert have the same one."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = axes
    wcs.wcs.crpix, wcs.wcs.crval = values[:2], values[2:4]
    matrix = np.reshape(values[4:8], (2, 2))
    if kind == "CD":
        wcs.wcs.cd = matrix
    else:
        wcs.wcs.pc, wcs.wcs.cdelt = matrix, values[8:]
    return wcs


def make_planes(image: F32, variance: F32, scale: float = 1.0) -> Planes:
    """Return pixels in nJy, with NaN and NO_DATA where nothing was measured.

    Parameters
    ----------
    image, variance : `numpy.ndarray`, (ny, nx), float32
        Pixels, and their variance in the square of the unit.
    scale : `float`, optional
        nJy of one unit; may be negative.

    Returns
    -------
    planes : `~dia_vetting.planes.Planes`
        Pixels whose value is not finite, or beyond what a sky can show, have no data.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        pixels = image * np.float32(scale)
        measured = np.abs(pixels) < _MAX_PIXEL
        squared = variance * np.float32(scale * scale)
    pixels = np.where(measured, pixels, np.float32(np.nan))
    return Planes(pixels, squared, np.where(measured, 0, MaskBit.NO_DATA).astype(np.uint32))


def psf_fwhm(psf: F64 | None) -> float:
    """Return the full width at half maximum of a PSF image, pixels.

    As in `~dia_vetting.psf.PolynomialPsf.fwhm`, it is the diameter of the circle with the area in which the
    PSF exceeds half its maximum, on a grid eight times finer than the pixels, so that it means the same for a
    donut, and the same as in training.

    Parameters
    ----------
    psf : `numpy.ndarray`, (S, S), float64, or `None`
        S odd and at most 101, the source on the middle of the central pixel.

    Returns
    -------
    fwhm : `float`
        NaN where there is no PSF, or the array cannot be one.
    """
    if psf is None or psf.shape[0] != psf.shape[1] or psf.shape[0] % 2 == 0 or len(psf) > _MAX_PSF:
        return math.nan
    if not np.isfinite(psf).all():
        return math.nan
    peak = float(np.abs(psf).max())
    if peak == 0:
        return math.nan
    rows = _finer(len(psf))
    fine = rows @ (psf / peak) @ rows.T
    area = float((fine > 0.5 * fine.max()).sum()) / _FINE**2
    return 2.0 * math.sqrt(area / math.pi) if 0 < fine.max() and psf.sum() > 0 else math.nan


@functools.lru_cache(maxsize=16)
def _finer(size: int) -> F64:
    """Return the matrix that interpolates one axis of a PSF image about its centre."""
    half = min(size // 2, _HALF_WIDTH)
    offsets = np.arange(-half * _FINE, half * _FINE + 1) / _FINE
    return np.ascontiguousarray(shift_matrices(size, -offsets)[:, size // 2, :])


def gunzip(data: bytes, limit: int, source: str) -> bytes:
    """Unpack gzip, whose checksum is verified, up to a limit.

    Parameters
    ----------
    data : `bytes`
        One gzip member.
    limit : `int`
        Largest number of bytes to unpack.
    source : `str`
        Where it comes from, for messages.

    Returns
    -------
    unpacked : `bytes`
        Not longer than the limit.

    Raises
    ------
    StampError
        If it is damaged, truncated, larger, or followed by other bytes.
    """
    stream = zlib.decompressobj(wbits=31)
    try:
        unpacked = stream.decompress(data, limit)
    except zlib.error as error:
        raise StampError(source, "gzip", _brief(error)) from None
    if stream.unconsumed_tail:
        raise StampError(source, f"gzip of at most {limit} bytes unpacked", "more")
    if not stream.eof or stream.unused_data:
        raise StampError(source, "one whole gzip member", "an incomplete one or more behind it")
    return unpacked


def _brief(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
