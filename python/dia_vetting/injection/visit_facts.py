"""What populations need to know of visit images: how deep they are, and where they are masked."""

from __future__ import annotations

__all__ = ["ids_in_the_open", "image_depth"]

from collections.abc import Sequence

import numpy as np
from astropy.table import Table
from lsst.images import VisitImage
from numpy.typing import NDArray

from ..images import local_psf, origin, pixel_to_sky, planes_from_image, sky_to_pixel
from ..masks import MaskBit
from ..planes import cutouts
from .host_geometry import project

_SNR = 5.0
_ZERO_POINT = 31.4
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
    psf = local_psf(image, order=0, nodes=1, source=source)
    variance = float(np.nanmedian(planes.variance[planes.variance > 0]))
    noise = np.sqrt(variance * float(psf.effective_area([0.0], [0.0])[0]))
    return float(_ZERO_POINT - 2.5 * np.log10(_SNR * noise))


def ids_in_the_open(
    epochs: Table, image: VisitImage, planes: Sequence[str], visit: int, source: str = "image"
) -> NDArray[np.int64]:
    """Return the ids of transients whose place on an image is not masked.

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
        Of the rows on the image that have none of the planes in the 3 x 3 pixels around them.
    """
    rows = epochs[np.asarray(epochs["visit"]) == visit]
    ra, dec = np.asarray(rows["ra"], float), np.asarray(rows["dec"], float)
    if not len(rows):
        return np.empty(0, np.int64)
    x, y = sky_to_pixel(image, ra, dec, source)
    x0, y0 = origin(image)
    ny, nx = image.bbox.shape
    on_image = (x > x0 - 0.5) & (x < x0 + nx - 0.5) & (y > y0 - 0.5) & (y < y0 + ny - 0.5)
    rows, x, y, ra, dec = rows[on_image], x[on_image], y[on_image], ra[on_image], dec[on_image]
    if not len(rows):
        return np.empty(0, np.int64)
    there = np.hypot(*project(*pixel_to_sky(image, x, y, source), ra, dec)) < _ROUND_TRIP
    bits = MaskBit(0)
    for name in planes:
        bits |= MaskBit[name]
    first_x, first_y = (np.rint(values).astype(np.int64) - 1 for values in (x - x0, y - y0))
    mask = planes_from_image(image, source).mask
    core = cutouts(mask, first_x, first_y, 3, fill=0)
    masked = ((core & np.uint32(bits)) != 0).any(axis=(1, 2))
    ids = np.asarray(rows["injection_id"], np.int64)
    return np.asarray(ids[there & ~masked], np.int64)
