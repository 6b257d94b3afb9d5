"""Point source images from the PSF of an image of `lsst.images`."""

from __future__ import annotations

__all__ = ["image_stamps"]

import numpy as np
from lsst.images import MaskedImage
from lsst.images.serialization import ArchiveReadError
from numpy.typing import NDArray

from ..images import MissingImageComponentError, origin
from .drawing import StampMaker


def image_stamps(image: MaskedImage, source: str = "image") -> StampMaker:
    """Return the point source images of an image's own PSF model, whatever class it is of.

    Parameters
    ----------
    image : `lsst.images.MaskedImage`
        Visit image.
    source : `str`, optional
        Dataset type and data ID, for the message.

    Returns
    -------
    stamps : `~dia_vetting.injection.drawing.StampMaker`
        In the frame of the array; divided by their sum.

    Raises
    ------
    MissingImageComponentError
        If the image has no PSF, or it cannot be read.
    """
    try:
        psf = getattr(image, "psf", None)
    except ArchiveReadError as error:
        raise MissingImageComponentError(f"{source}: cannot read the PSF: {error}", component="psf") from None
    if psf is None:
        raise MissingImageComponentError(f"{source}: the image has no PSF.", component="psf")
    x0, y0 = origin(image)

    def stamps(x: float, y: float) -> tuple[NDArray[np.float64], int, int]:
        stamp = psf.compute_stellar_image(x=x + x0, y=y + y0)
        unit = np.asarray(stamp.array, np.float64)
        return unit / unit.sum(), stamp.bbox.x.start - x0, stamp.bbox.y.start - y0

    return stamps
