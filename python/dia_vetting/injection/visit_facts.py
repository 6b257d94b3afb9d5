"""What populations need to know of visit images: how deep they are, and where they are masked."""

from __future__ import annotations

__all__ = ["image_depth", "masked_ids", "with_depths"]

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from astropy.table import Table
from lsst.daf.butler import DeferredDatasetHandle
from lsst.images import VisitImage
from numpy.typing import NDArray

from ..images import local_psf, origin, pixel_to_sky, planes_from_image, sky_to_pixel
from ..magnitudes import ab_magnitude
from ..masks import MaskBit
from ..planes import cutouts
from .host_geometry import project
from .transients import Visit

_SNR = 5.0
_ROUND_TRIP = 1.0
"""Arcsec by which a position may miss itself on the way to pixels and back."""


def image_depth(image: VisitImage, source: str = "image") -> float:
    """Return the AB magnitude of a point source that has a signal-to-noise ratio of 5 on blank sky.

    The noise of a PSF flux is sigma sqrt(n_eff) with n_eff = 1 / sum P^2, sigma^2 the median of the variance,
    and P the PSF at the middle of the image.

    Parameters
    ----------
    image : `lsst.images.VisitImage`
        Visit image.
    source : `str`, optional
        Dataset type and data ID, for messages.

    Returns
    -------
    depth : `float`
        mag.
    """
    planes = planes_from_image(image, source)
    ny, nx = planes.shape
    area = local_psf(image, source=source).effective_area([0.5 * (nx - 1)], [0.5 * (ny - 1)])
    variance = float(np.nanmedian(planes.variance[planes.variance > 0]))
    noise = np.sqrt(variance * float(area[0]))
    return float(ab_magnitude(_SNR * noise))


def with_depths(
    visits: Sequence[Visit], images: Mapping[tuple[int, int], DeferredDatasetHandle]
) -> list[Visit]:
    """Return the visits with their depth, mag: the median over the detectors of `image_depth`."""
    depths: dict[int, list[float]] = {}
    for (visit, detector), handle in sorted(images.items()):
        depths.setdefault(visit, []).append(image_depth(handle.get(), f"visit {visit}, detector {detector}"))
    return [
        dataclasses.replace(visit, depth=float(np.median(depths.get(visit.visit, [np.nan]))))
        for visit in visits
    ]


def masked_ids(
    epochs: Table, image: VisitImage, planes: Sequence[str], visit: int, source: str = "image"
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Tell which transients on an image lie on masked pixels.

    Parameters
    ----------
    epochs : `astropy.table.Table`
        In `~dia_vetting.injection.schemas.TRANSIENT_EPOCH`.
    image : `lsst.images.VisitImage`
        One detector of the visit.
    planes : `~collections.abc.Sequence` of `str`
        Names of `~dia_vetting.masks.MaskBit`.
    visit : `int`
        Whose rows count.
    source : `str`, optional
        Dataset type and data ID, for messages.

    Returns
    -------
    ids : `numpy.ndarray`, (M,), int64
        Of the rows on the image.
    masked : `numpy.ndarray`, (M,), bool
        Whether one of the planes is set in the 3 x 3 pixels around them.
    """
    rows = epochs[np.asarray(epochs["visit"]) == visit]
    ra, dec = np.asarray(rows["ra"], float), np.asarray(rows["dec"], float)
    if not len(rows):
        return np.empty(0, np.int64), np.empty(0, bool)
    x, y = sky_to_pixel(image, ra, dec, source)
    x0, y0 = origin(image)
    ny, nx = image.bbox.shape
    on_image = (x > x0 - 0.5) & (x < x0 + nx - 0.5) & (y > y0 - 0.5) & (y < y0 + ny - 0.5)
    # Far off the image the inverse of a distortion may point back into it.
    on_image &= np.hypot(*project(*pixel_to_sky(image, x, y, source), ra, dec)) < _ROUND_TRIP
    bits = MaskBit(0)
    for name in planes:
        bits |= MaskBit[name]
    first_x, first_y = (np.rint(values[on_image]).astype(np.int64) - 1 for values in (x - x0, y - y0))
    core = cutouts(planes_from_image(image, source).mask, first_x, first_y, 3, fill=0)
    masked = ((core & np.uint32(bits)) != 0).any(axis=(1, 2))
    return np.asarray(rows["injection_id"], np.int64)[on_image], np.asarray(masked)
