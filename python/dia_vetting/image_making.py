"""Making images of `lsst.images` from arrays; `images` offers these names too."""

from __future__ import annotations

__all__ = [
    "detector_projection",
    "make_difference_image",
    "make_patch_image",
    "make_visit_image",
    "replace_planes",
    "tract_projection",
]

from collections.abc import Mapping

import astropy.units as u
import astropy.wcs
import numpy as np
from astro_metadata_translator import ObservationInfo
from lsst.images import (
    Box,
    DetectorFrame,
    DifferenceImage,
    Image,
    MaskedImage,
    SkyProjection,
    TractFrame,
    VisitImage,
)
from lsst.images.cameras import Detector
from lsst.images.fields import ChebyshevField
from lsst.images.psfs import PointSpreadFunction
from lsst.images.serialization import MetadataValue
from numpy.typing import NDArray

from .image_masks import mask_from_bits
from .piff_psf import piff_from_polynomial
from .planes import Planes
from .psf import PolynomialPsf

type Metadata = Mapping[str, MetadataValue]


def detector_projection(
    wcs: astropy.wcs.WCS, instrument: str, visit: int, detector: int, bbox: Box
) -> SkyProjection[DetectorFrame]:
    """Return the projection of a detector image from the FITS WCS of its array."""
    frame = DetectorFrame(instrument=instrument, visit=visit, detector=detector, bbox=bbox)
    return SkyProjection.from_fits_wcs(wcs, frame, pixel_bounds=bbox, x0=bbox.x.start, y0=bbox.y.start)


def tract_projection(wcs: astropy.wcs.WCS, skymap: str, tract: int, bbox: Box) -> SkyProjection[TractFrame]:
    """Return the projection of a tract from its FITS WCS; ``bbox`` is the box of the whole tract."""
    frame = TractFrame(skymap=skymap, tract=tract, bbox=bbox)
    return SkyProjection.from_fits_wcs(wcs, frame, pixel_bounds=bbox, x0=bbox.x.start, y0=bbox.y.start)


def _image(array: NDArray[np.float32], bbox: Box, unit: u.UnitBase) -> Image:
    return Image(np.ascontiguousarray(array, np.float32), bbox=bbox, unit=unit)


def make_visit_image(
    planes: Planes,
    *,
    sky_projection: SkyProjection[DetectorFrame],
    psf: PolynomialPsf | PointSpreadFunction,
    detector: Detector,
    obs_info: ObservationInfo,
    band: str,
    flux_per_electron: float | None = None,
    metadata: Metadata | None = None,
) -> VisitImage:
    """Make a calibrated image.

    Parameters
    ----------
    planes : `Planes`
        Pixels.
    sky_projection : `lsst.images.SkyProjection`
        From `detector_projection`; the box of its frame, which must have the shape of ``planes``, becomes
        the image's.
    psf : `PolynomialPsf` or `lsst.images.psfs.PointSpreadFunction`
        In the frame of the array if it is a polynomial one; that is kept as a Piff PSF.
    detector : `lsst.images.cameras.Detector`
        Of the camera.
    obs_info : `astro_metadata_translator.ObservationInfo`
        Of the visit.
    band : `str`
        Short name of the passband.
    flux_per_electron : `float`, optional
        nJy of one electron, kept as the photometric scaling.
    metadata : `~collections.abc.Mapping`, optional
        Kept with the image.

    Returns
    -------
    image : `lsst.images.VisitImage`
        In nJy; the mask has every plane of `MaskBit`, under the names that lsst.images gives them.
    """
    bbox = sky_projection.pixel_frame.bbox
    scaling = None
    if flux_per_electron is not None:
        scaling = ChebyshevField(bbox, np.array([[flux_per_electron]]), unit=u.nJy / u.electron)
    return VisitImage(
        _image(planes.image, bbox, u.nJy),
        mask=mask_from_bits(planes.mask, bbox),
        variance=_image(planes.variance, bbox, u.nJy**2),
        sky_projection=sky_projection,
        obs_info=obs_info,
        psf=piff_from_polynomial(psf, bbox) if isinstance(psf, PolynomialPsf) else psf,
        detector=detector,
        band=band,
        photometric_scaling=scaling,
        metadata=dict(metadata or {}),
    )


def make_patch_image(
    planes: Planes,
    *,
    sky_projection: SkyProjection[TractFrame],
    x0: int,
    y0: int,
    metadata: Metadata | None = None,
) -> MaskedImage:
    """Make a coadd of a patch, whose first pixel is (x0, y0) of the tract; its projection is the tract's."""
    bbox = Box.from_shape(planes.shape, start=(y0, x0))
    return MaskedImage(
        _image(planes.image, bbox, u.nJy),
        mask=mask_from_bits(planes.mask, bbox),
        variance=_image(planes.variance, bbox, u.nJy**2),
        sky_projection=sky_projection,
        metadata=dict(metadata or {}),
    )


def replace_planes(
    image: VisitImage,
    planes: Planes,
    *,
    psf: PolynomialPsf | PointSpreadFunction | None = None,
    metadata: Metadata | None = None,
) -> VisitImage:
    """Return a copy of an image with other pixels, and the same everything else.

    Parameters
    ----------
    image : `lsst.images.VisitImage`
        Is not changed.
    planes : `Planes`
        Of the same shape, in nJy. Mask planes that `MaskBit` does not know are kept as they were.
    psf : `PolynomialPsf` or `lsst.images.psfs.PointSpreadFunction`, optional
        Another PSF, in the frame of the array if it is a polynomial one.
    metadata : `~collections.abc.Mapping`, optional
        Added to the image's.

    Returns
    -------
    image : `lsst.images.VisitImage`
        In nJy, of the class of ``image``.
    """
    copy = image.convert_unit(u.nJy, copy=True)
    copy.image.array[...] = planes.image
    copy.variance.array[...] = planes.variance
    copy.mask = mask_from_bits(planes.mask, image.bbox, keep=image.mask).view(
        sky_projection=copy.sky_projection
    )
    if psf is not None:
        copy.psf = piff_from_polynomial(psf, image.bbox) if isinstance(psf, PolynomialPsf) else psf
    for key, value in (metadata or {}).items():
        copy.metadata[key] = value
    return copy


def make_difference_image(
    science: VisitImage,
    planes: Planes,
    psf: PolynomialPsf | PointSpreadFunction,
    metadata: Metadata | None = None,
) -> DifferenceImage:
    """Make the difference of a visit image and its matched template.

    Parameters
    ----------
    science : `lsst.images.VisitImage`
        Gives WCS, visit, detector and scaling.
    planes : `Planes`
        The difference, on the pixel grid of ``science``.
    psf : `PolynomialPsf` or `lsst.images.psfs.PointSpreadFunction`
        That goes with the difference, in the frame of the array if it is a polynomial one.
    metadata : `~collections.abc.Mapping`, optional
        Added to that of ``science`` (INJECTED among it).

    Returns
    -------
    difference : `lsst.images.DifferenceImage`
        In nJy.
    """
    bbox = science.bbox
    return DifferenceImage(
        _image(planes.image, bbox, u.nJy),
        mask=mask_from_bits(planes.mask, bbox),
        variance=_image(planes.variance, bbox, u.nJy**2),
        sky_projection=science.sky_projection,
        bounds=science.bounds,
        obs_info=science.obs_info,
        summary_stats=science.summary_stats,
        photometric_scaling=science.photometric_scaling,
        psf=piff_from_polynomial(psf, bbox) if isinstance(psf, PolynomialPsf) else psf,
        detector=science.detector,
        band=science.band,
        metadata={**science.metadata.native, **(metadata or {})},
    )
