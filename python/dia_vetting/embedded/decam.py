"""Reading DECam exposures as the NOIRLab Community Pipeline writes them.

An exposure is three files with the same extensions, one per CCD: image (``ooi``, ADU), data quality (``ood``)
and inverse variance (``oow``, ADU^-2).
"""

from __future__ import annotations

__all__ = ["DecamFileError", "DecamImage", "Triple", "find_triples", "mask_from_quality", "read_triple"]

import dataclasses
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.time import Time
from astropy.wcs import WCS, FITSFixedWarning
from numpy.typing import NDArray
from scipy import ndimage

from ..errors import BadInputError
from ..masks import MaskBit
from ..planes import Planes
from .instruments import DECam

_MEMBERS = {"ooi": "image", "ood": "data quality", "oow": "inverse variance"}
_NAME = re.compile(r"^(?P<stem>.+)_(?P<member>oo[idw])(?P<rest>(_.+)?\.fits(\.fz|\.gz)?)$")
_FIRST_VERSION_WITH_CODES = (3, 5, 0)
"""From this version of the pipeline on, data quality is an integer code; before, it was bits."""

_QUALITY_CODES = {
    1: MaskBit.BAD,
    2: MaskBit.NO_DATA,
    3: MaskBit.SAT,
    4: MaskBit.SAT,  # bleed trail
    5: MaskBit.CR,
    6: MaskBit.BAD,  # low weight
    7: MaskBit(0),  # differs from other exposures: what we are looking for, so no reason to mask
    8: MaskBit.STREAK,
}
_QUALITY_BITS = {
    0: MaskBit.BAD,
    1: MaskBit.SAT,
    2: MaskBit.INTRP,
    4: MaskBit.CR,
    6: MaskBit.SAT,  # bleed trail
    7: MaskBit(0),  # differs from other exposures
}


class DecamFileError(BadInputError):
    """A file that is not, or not wholly, a DECam exposure of the Community Pipeline."""


@dataclasses.dataclass(frozen=True)
class Triple:
    """The three files of an exposure.

    Parameters
    ----------
    image, quality, weight
        Files.
    """

    image: Path
    quality: Path
    weight: Path


@dataclasses.dataclass(frozen=True)
class DecamImage:
    """One CCD of one exposure, sky-subtracted, in ADU.

    Parameters
    ----------
    source
        File and extension, for messages.
    visit, detector
        EXPNUM and CCDNUM.
    physical_filter, band
        As the instrument registers them.
    planes
        Image (ADU), variance (ADU^2; finite also where the weight is 0, unless there is no data), mask.
    wcs
        TPV.
    mjd_begin, mjd_end
        MJD, TAI.
    exposure_time
        Seconds.
    ra, dec
        Telescope pointing, deg.
    airmass
        From the header.
    gain
        Electrons per ADU.
    zero_point
        AB magnitude of 1 ADU in the whole exposure; `None` if the header has none.
    fwhm
        Of the stars by the header, pixels; `None` if it has none.
    target, program, version
        Words of the header; version is that of the pipeline.
    """

    source: str
    visit: int
    detector: int
    physical_filter: str
    band: str
    planes: Planes
    wcs: WCS
    mjd_begin: float
    mjd_end: float
    exposure_time: float
    ra: float
    dec: float
    airmass: float
    gain: float
    zero_point: float | None
    fwhm: float | None
    target: str
    program: str
    version: str


def find_triples(folder: Path) -> tuple[list[Triple], list[DecamFileError]]:
    """Sort the FITS files of a folder into exposures.

    Parameters
    ----------
    folder
        Searched without its subfolders.

    Returns
    -------
    triples
        Complete ones, in order of their names.
    errors
        One for each FITS file with another name, and for each exposure that lacks a member.

    Raises
    ------
    BadInputError
        If the folder does not exist or has no FITS file.
    """
    if not folder.is_dir():
        raise BadInputError(str(folder), "a folder of DECam exposures", "no folder")
    files = sorted(p for p in folder.iterdir() if re.search(r"\.fits(\.fz|\.gz)?$", p.name))
    if not files:
        raise BadInputError(str(folder), "FITS files (.fits, .fits.fz, .fits.gz)", "none")
    found: dict[str, dict[str, Path]] = {}
    errors = []
    for path in files:
        match = _NAME.match(path.name)
        if match is None:
            errors.append(DecamFileError(str(path), "a name with _ooi_, _ood_ or _oow_", "another"))
            continue
        rest = re.sub(r"\.(fz|gz)$", "", match["rest"])
        found.setdefault(match["stem"] + rest, {})[match["member"]] = path
    triples = []
    for members in found.values():
        absent = [f"{name} ({what})" for name, what in _MEMBERS.items() if name not in members]
        if absent:
            first = next(iter(members.values()))
            errors.append(DecamFileError(str(first), "all of ooi, ood and oow", f"no {', '.join(absent)}"))
        else:
            triples.append(Triple(members["ooi"], members["ood"], members["oow"]))
    return triples, errors


def read_triple(triple: Triple) -> Iterator[DecamImage]:
    """Read all CCDs of an exposure.

    Parameters
    ----------
    triple
        Its files.

    Yields
    ------
    image
        One CCD.

    Raises
    ------
    DecamFileError
        If a file is damaged, is not of DECam or not of the Community Pipeline, or lacks what is needed.
    """
    image, quality, weight = (_read(path) for path in (triple.image, triple.quality, triple.weight))
    for name, (data, header) in image.items():
        source = f"{triple.image}[{name}]"
        planes = []
        for path, other in ((triple.quality, quality), (triple.weight, weight)):
            if name not in other:
                raise DecamFileError(str(path), f"extension {name}, as {triple.image.name} has", "none")
            if other[name][0].shape != data.shape:
                raise DecamFileError(f"{path}[{name}]", f"shape {data.shape}", str(other[name][0].shape))
            planes.append(other[name][0])
        yield _decam_image(source, header, data, planes[0], planes[1])


def _read(path: Path) -> dict[str, tuple[NDArray[Any], fits.Header]]:
    """Return data and merged header of each image extension by its name."""
    found = {}
    try:
        with warnings.catch_warnings(), fits.open(path, memmap=False) as hdus:
            warnings.simplefilter("ignore")
            primary = hdus[0].header
            instrument = str(primary.get("INSTRUME", "")).strip()
            if instrument.lower() != "decam":
                raise DecamFileError(str(path), "INSTRUME = DECam", instrument or "no INSTRUME")
            for hdu in hdus:
                if hdu.is_image and hdu.header.get("NAXIS", 0) == 2:
                    header = primary.copy()
                    header.update(hdu.header)
                    found[hdu.name or "0"] = (np.asarray(hdu.data), header)
    except DecamFileError:
        raise
    except (OSError, ValueError, TypeError, IndexError, KeyError, EOFError, fits.VerifyError) as error:
        raise DecamFileError(str(path), "a whole FITS file", f"{type(error).__name__}: {error}") from error
    if not found:
        raise DecamFileError(str(path), "an image extension per CCD", "none")
    return found


def _needed[T](source: str, header: fits.Header, key: str, kind: type[T]) -> T:
    try:
        return kind(header[key])  # type: ignore[call-arg]
    except (KeyError, TypeError, ValueError):
        raise DecamFileError(source, f"header key {key} ({kind.__name__})", repr(header.get(key))) from None


def _positive(header: fits.Header, *keys: str) -> float | None:
    """Return the first of some keys that holds a positive number."""
    for key in keys:
        value = header.get(key)
        if isinstance(value, (int, float)) and np.isfinite(value) and value > 0:
            return float(value)
    return None


def _decam_image(
    source: str, header: fits.Header, data: NDArray[Any], quality: NDArray[Any], weight: NDArray[Any]
) -> DecamImage:
    version = str(header.get("PLVER", "")).strip()
    mask = mask_from_quality(quality, version, source)
    gain = _positive(header, "GAINA", "ARAWGAIN") or _needed(source, header, "ARAWGAIN", float)
    begin = Time(_needed(source, header, "DATE-OBS", str).strip(), scale="utc").tai.mjd
    exposure_time = _needed(source, header, "EXPTIME", float)
    physical_filter, band = _filter(source, header)
    ra, dec = _pointing(source, header)
    return DecamImage(
        source=source,
        visit=_needed(source, header, "EXPNUM", int),
        detector=_needed(source, header, "CCDNUM", int),
        physical_filter=physical_filter,
        band=band,
        planes=_planes(source, data, weight, mask, gain),
        wcs=_wcs(source, header),
        mjd_begin=float(begin),
        mjd_end=float(begin + exposure_time / 86400.0),
        exposure_time=exposure_time,
        ra=ra,
        dec=dec,
        airmass=_positive(header, "AIRMASS") or 1.0,
        gain=gain,
        zero_point=_positive(header, "MAGZERO"),
        fwhm=_positive(header, "FWHM"),
        target=str(header.get("OBJECT", "")),
        program=str(header.get("PROPID", "")),
        version=version,
    )


def mask_from_quality(
    quality: NDArray[Any], version: str, source: str = "data quality"
) -> NDArray[np.uint32]:
    """Translate the pipeline's data quality by name.

    Parameters
    ----------
    quality
        Integers, [ny, nx].
    version
        PLVER of the header. From V3.5.0 on, values are codes (1 bad, 2 no value, 3 saturated, 4 bleed
        trail, 5 cosmic ray, 6 low weight, 7 differs from other exposures, 8 streak); before, bits (1 bad,
        2 saturated, 4 interpolated, 16 cosmic ray, 64 bleed trail, 128 differs from other exposures).
    source
        File and extension, for the message.

    Returns
    -------
    mask
        uint32 [ny, nx], bits of `MaskBit`. That a pixel differs from other exposures is not masked.

    Raises
    ------
    DecamFileError
        If the version has no number, or there is a code that none is known for.
    """
    number = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", version)
    if number is None:
        raise DecamFileError(source, "a pipeline version in PLVER", repr(version))
    values = np.asarray(quality).astype(np.int64)
    mask = np.zeros(values.shape, np.uint32)
    if tuple(int(part or 0) for part in number.groups()) >= _FIRST_VERSION_WITH_CODES:
        unknown = set(np.unique(values).tolist()) - {0, *_QUALITY_CODES}
        if unknown:
            raise DecamFileError(source, "data-quality codes 0 to 8", str(sorted(unknown)))
        for code, bit in _QUALITY_CODES.items():
            mask[values == code] |= np.uint32(bit)
        return mask
    for shift, bit in _QUALITY_BITS.items():
        mask[(values >> shift) & 1 == 1] |= np.uint32(bit)
    return mask


def _planes(
    source: str, data: NDArray[Any], weight: NDArray[Any], mask: NDArray[np.uint32], gain: float
) -> Planes:
    """Subtract the sky, and make variances, also where the weight is 0: such pixels are kept as they are."""
    image = np.asarray(data, np.float32)
    known = (np.asarray(weight, np.float64) > 0) & np.isfinite(image)
    if not known.any():
        raise DecamFileError(source, "pixels of positive weight", "none")
    mask = mask.copy()
    mask[~known & (mask == 0)] |= np.uint32(MaskBit.BAD)
    variance = np.zeros(image.shape, np.float32)
    variance[known] = 1.0 / np.asarray(weight, np.float64)[known]
    sky_variance = float(np.median(variance[known]))
    image = image - _sky(image, np.sqrt(sky_variance), (mask != 0) | ~known)
    unknown = ~known
    variance[unknown] = sky_variance + np.maximum(np.nan_to_num(image[unknown]), 0.0) / gain
    no_data = (mask & np.uint32(MaskBit.NO_DATA) != 0) | ~np.isfinite(image)
    mask[no_data] |= np.uint32(MaskBit.NO_DATA)
    image[no_data], variance[no_data] = np.nan, np.nan
    return Planes(image, variance, mask)


def _sky(image: NDArray[np.float32], sigma: float, bad: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return the smooth sky, from meshes of 256 pixels without the sources."""
    import sep

    clean = np.ascontiguousarray(np.where(bad, np.float32(0), image))
    first = sep.Background(clean, mask=bad, bw=256, bh=256).back()
    smooth = ndimage.gaussian_filter(np.where(bad, np.float32(0), clean - first), 2.0)
    source = ndimage.binary_dilation(smooth > 0.5 * sigma, iterations=8)
    if (source | bad).mean() > 0.9:
        return np.asarray(first, np.float32)
    return np.asarray(sep.Background(clean, mask=bad | source, bw=256, bh=256).back(), np.float32)


def _filter(source: str, header: fits.Header) -> tuple[str, str]:
    name = _needed(source, header, "FILTER", str).strip()
    for band, physical_filter in DECam.filters.items():
        if name == physical_filter or name.split(" ")[0] == band:
            return physical_filter, band.lower()
    raise DecamFileError(source, f"FILTER of one of the bands {', '.join(DECam.filters)}", repr(name))


def _pointing(source: str, header: fits.Header) -> tuple[float, float]:
    import astropy.units as u
    from astropy.coordinates import SkyCoord

    try:
        ra, dec = header.get("TELRA", header.get("RA")), header.get("TELDEC", header.get("DEC"))
        place = SkyCoord(ra, dec, unit=(u.hourangle, u.deg))
    except (KeyError, ValueError, TypeError):
        raise DecamFileError(source, "pointing in TELRA and TELDEC", repr(header.get("TELRA"))) from None
    return float(place.ra.deg), float(place.dec.deg)


def _wcs(source: str, header: fits.Header) -> WCS:
    """Return the celestial WCS; a TPV one keeps its polynomial."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FITSFixedWarning)
            wcs = WCS(header)
    except Exception as error:  # astropy and wcslib raise many kinds
        raise DecamFileError(source, "a celestial WCS", f"{type(error).__name__}: {error}") from error
    if not wcs.has_celestial:
        raise DecamFileError(source, "a celestial WCS", f"CTYPE1 = {header.get('CTYPE1')!r}")
    return wcs
