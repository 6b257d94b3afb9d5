"""The one place that touches `lsst.images`: reading arrays out of its images, and making new ones.

Positions are in the image's parent frame (0-based, the centre of pixel (0, 0) is (0, 0)), whose first array
pixel is `origin`; a `PolynomialPsf` is in the frame of the array.
"""

from __future__ import annotations

__all__ = [
    "MissingImageComponentError",
    "NoUsablePixelsError",
    "detector_projection",
    "has_injections",
    "local_psf",
    "make_difference_image",
    "make_patch_image",
    "make_visit_image",
    "mid_time",
    "nanojansky_per_electron",
    "origin",
    "pixel_to_sky",
    "planes_from_image",
    "replace_planes",
    "sky_to_pixel",
    "tract_projection",
]

from typing import Any

import astropy.units as u
import numpy as np
from lsst.images import MaskedImage, SkyProjection, VisitImage
from lsst.images.psfs import PointSpreadFunction
from lsst.images.serialization import ArchiveReadError
from numpy.typing import ArrayLike, NDArray

from .errors import BadInputError, ScienceError
from .image_making import (
    detector_projection,
    make_difference_image,
    make_patch_image,
    make_visit_image,
    replace_planes,
    tract_projection,
)
from .image_masks import bits_from_mask
from .planes import Planes
from .psf import PolynomialPsf

type F64 = NDArray[np.float64]

_NANOJANSKY_PER_ELECTRON = u.nJy / u.electron


class MissingImageComponentError(ScienceError):
    """An image without the component (PSF, WCS) that is needed of it."""


class NoUsablePixelsError(ScienceError):
    """An image in which no pixel is finite and unmasked."""


def origin(image: MaskedImage) -> tuple[int, int]:
    """Return the parent-frame position (x0, y0) of the first pixel of the array."""
    return image.bbox.x.start, image.bbox.y.start


def planes_from_image(image: MaskedImage, source: str = "image") -> Planes:
    """Return an image's arrays, with the mask in the package's own bits.

    Parameters
    ----------
    image : `lsst.images.MaskedImage`
        Or any subclass. Mask planes are known by their short (SAT) or long (SATURATED) name, and ones
        that `MaskBit` does not know are left out.
    source : `str`, optional
        Dataset type and data ID, for the messages.

    Returns
    -------
    planes : `Planes`
        float32 nJy, nJy^2 and uint32 [ny, nx]; image and variance may share memory with ``image``.

    Raises
    ------
    BadInputError
        If the pixels are not in a unit of spectral flux density.
    NoUsablePixelsError
        If no pixel is finite.
    """
    factor = _to_nanojansky(image, source)
    values = np.asarray(image.image.array, np.float32)
    variance = np.asarray(image.variance.array, np.float32)
    if not (np.isfinite(values) & np.isfinite(variance)).any():
        raise NoUsablePixelsError(f"{source}: no pixel is finite.", pixels=int(values.size))
    mask = bits_from_mask(image.mask)
    if factor == 1.0:
        return Planes(values, variance, mask)
    return Planes(values * np.float32(factor), variance * np.float32(factor**2), mask)


def _to_nanojansky(image: MaskedImage, source: str) -> float:
    unit = image.unit or u.dimensionless_unscaled
    if not unit.is_equivalent(u.nJy):
        raise BadInputError(source, "pixels in nJy", f"pixels in {image.unit or 'no unit'}")
    return float(unit.to(u.nJy))


def pixel_to_sky(image: MaskedImage, x: ArrayLike, y: ArrayLike, source: str = "image") -> tuple[F64, F64]:
    """Return the ICRS position of pixels.

    Parameters
    ----------
    image : `lsst.images.MaskedImage`
        Its sky projection is used.
    x, y : array_like, (N,)
        Parent-frame position, pixels.
    source : `str`, optional
        Dataset type and data ID, for the message.

    Returns
    -------
    ra, dec : `numpy.ndarray`, (N,), float64
        Degrees, right ascension in [0, 360).

    Raises
    ------
    MissingImageComponentError
        If the image has no sky projection.
    """
    x, y = np.atleast_1d(np.asarray(x, float)), np.atleast_1d(np.asarray(y, float))
    projection = _projection(image, source)
    if not x.size:  # AST refuses to transform nothing
        return np.empty(0), np.empty(0)
    sky = projection.pixel_to_sky_transform.apply_forward(x=x, y=y)
    return np.rad2deg(sky.x) % 360.0, np.rad2deg(sky.y)


def sky_to_pixel(image: MaskedImage, ra: ArrayLike, dec: ArrayLike, source: str = "image") -> tuple[F64, F64]:
    """Return the parent-frame pixel position of ICRS positions; the inverse of `pixel_to_sky`.

    Parameters
    ----------
    image : `lsst.images.MaskedImage`
        Its sky projection is used.
    ra, dec : array_like, (N,)
        Degrees.
    source : `str`, optional
        Dataset type and data ID, for the message.

    Returns
    -------
    x, y : `numpy.ndarray`, (N,), float64
        Pixels; meaningless far outside the image, where a distortion polynomial has no inverse.

    Raises
    ------
    MissingImageComponentError
        If the image has no sky projection.
    """
    ra, dec = np.atleast_1d(np.asarray(ra, float)), np.atleast_1d(np.asarray(dec, float))
    transform = _projection(image, source).sky_to_pixel_transform
    if not ra.size:
        return np.empty(0), np.empty(0)
    pixel = transform.apply_forward(x=np.deg2rad(ra), y=np.deg2rad(dec))
    return np.asarray(pixel.x), np.asarray(pixel.y)


def _projection(image: MaskedImage, source: str) -> SkyProjection[Any]:
    if image.sky_projection is None:
        raise MissingImageComponentError(f"{source}: the image has no WCS.", component="sky_projection")
    return image.sky_projection


def local_psf(image: MaskedImage, order: int = 2, nodes: int = 5, source: str = "image") -> PolynomialPsf:
    """Return an image's PSF as pixels that are polynomials of the position in its array.

    Parameters
    ----------
    image : `lsst.images.MaskedImage`
        A visit or difference image; whatever PSF class it has is evaluated at a grid of positions.
    order : `int`, optional
        Largest total degree of the polynomials.
    nodes : `int`, optional
        Grid positions per axis.
    source : `str`, optional
        Dataset type and data ID, for the message.

    Returns
    -------
    psf : `PolynomialPsf`
        In the frame of the array. Exact if the PSF is a polynomial of this order, as ours are.

    Raises
    ------
    MissingImageComponentError
        If the image has no PSF, it cannot be read, or it is finite nowhere.
    """
    model = _psf(image, source)
    ny, nx = image.bbox.shape
    x, y = (
        axis.ravel() for axis in np.meshgrid(np.linspace(0, nx - 1, nodes), np.linspace(0, ny - 1, nodes))
    )
    x0, y0 = origin(image)
    stamps = np.array(
        [
            model.compute_kernel_image(x=node_x + x0, y=node_y + y0).array
            for node_x, node_y in zip(x, y, strict=True)
        ],
        np.float64,
    )
    good = np.isfinite(stamps).all(axis=(1, 2))
    if not good.any():
        raise MissingImageComponentError(f"{source}: the PSF is finite nowhere.", component="psf")
    return PolynomialPsf.from_nodes(x[good], y[good], stamps[good], order, (0.0, nx - 1.0, 0.0, ny - 1.0))


def _psf(image: MaskedImage, source: str) -> PointSpreadFunction:
    try:
        model: PointSpreadFunction | None = getattr(image, "psf", None)
    except ArchiveReadError as error:
        raise MissingImageComponentError(f"{source}: cannot read the PSF: {error}", component="psf") from None
    if model is None:
        raise MissingImageComponentError(f"{source}: the image has no PSF.", component="psf")
    return model


def has_injections(image: MaskedImage) -> bool:
    """Tell whether sources were injected: by the metadata key INJECTED or the mask plane of that name.

    The name of the dataset type says nothing: conventions differ between releases (RFC-1171).
    """
    flag = image.metadata.get("INJECTED", False)
    if isinstance(flag, str):
        flag = flag.strip().lower() not in ("", "f", "false", "0")
    return bool(flag) or ("INJECTED" in image.mask.schema and bool(image.mask.get("INJECTED").any()))


def mid_time(image: VisitImage) -> float:
    """Return the middle of the exposure, MJD (TAI)."""
    begin, end = image.obs_info.datetime_begin, image.obs_info.datetime_end
    if begin is None or end is None:
        raise MissingImageComponentError("The image does not say when it was taken.", component="obs_info")
    return float((begin.tai.mjd + end.tai.mjd) / 2.0)


def nanojansky_per_electron(image: VisitImage, x: ArrayLike, y: ArrayLike) -> F64 | None:
    """Return the flux of one electron at positions, or `None` where the image does not say.

    Parameters
    ----------
    image : `lsst.images.VisitImage`
        Its photometric scaling (post-ISR electrons to calibrated pixels) is used.
    x, y : array_like, (N,)
        Parent-frame position, pixels.

    Returns
    -------
    scale : `numpy.ndarray`, (N,), float64, or `None`
        nJy per electron: the Poisson variance of a flux f is f times this.
    """
    field = image.photometric_scaling
    if field is None or field.unit is None or not field.unit.is_equivalent(_NANOJANSKY_PER_ELECTRON):
        return None
    x, y = np.atleast_1d(np.asarray(x, float)), np.atleast_1d(np.asarray(y, float))
    return np.asarray(field(x=x, y=y), np.float64) * float(field.unit.to(_NANOJANSKY_PER_ELECTRON))
