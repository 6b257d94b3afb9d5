"""How many electrons a nanojansky is, from the way an image's variance grows with its flux."""

from __future__ import annotations

__all__ = ["GainError", "fit_gain"]

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..errors import ScienceError
from ..masks import MaskBit
from ..planes import Planes

_UNFIT_BITS = (
    MaskBit.BAD
    | MaskBit.CR
    | MaskBit.CROSSTALK
    | MaskBit.INTRP
    | MaskBit.NO_DATA
    | MaskBit.SAT
    | MaskBit.SUSPECT
    | MaskBit.STREAK
)
"""Planes whose pixels do not follow the relation of flux and variance."""

_MIN_PIXELS = 100
_MIN_SIGNIFICANCE = 5.0
_MIN_CORRELATION = 0.5


class GainError(ScienceError):
    """An image whose variance does not grow with its flux, so that its gain cannot be known."""


def fit_gain(planes: Planes, source: str = "image") -> float:
    """Return the gain of an image, electrons per nJy, from a straight line of variance on flux.

    A least-squares line is right only if the variance was made from the noisy pixels themselves; if it was
    made from a model, the noise of the image pulls the slope to zero. So the mean of the eight neighbours,
    whose noise is another, serves as an instrumental variable (Wright 1928; slope = cov(z, V) / cov(z, I)),
    which is right in both cases. Where the image has too little light for that, the line is used, if the two
    are so well correlated that the variance must have come from the pixels.

    Parameters
    ----------
    planes : `~dia_vetting.planes.Planes`
        Image and variance; masked pixels and their neighbours are left out.
    source : `str`, optional
        Dataset type and data ID, for the message.

    Returns
    -------
    gain : `float`
        Electrons per nJy: 1 / slope.

    Raises
    ------
    GainError
        If there are too few pixels, or the variance does not grow with the flux.
    """
    image, variance, around = _fit_pixels(planes)
    if len(image) < _MIN_PIXELS:
        raise GainError(f"{source}: only {len(image)} pixels to infer a gain from.", pixels=len(image))
    slope, error = _instrumental_slope(around, image, variance)
    if not slope > _MIN_SIGNIFICANCE * error:
        slope = _line_slope(image, variance, source)
    return 1.0 / slope


def _fit_pixels(planes: Planes) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return flux, variance and mean flux of the eight neighbours of usable pixels, about their means."""
    bad = planes.has(_UNFIT_BITS) | ~np.isfinite(planes.image) | ~np.isfinite(planes.variance)
    good = ~ndimage.maximum_filter(bad, size=3, mode="constant", cval=True)
    flux = np.where(bad, 0.0, planes.image).astype(np.float64)
    around = (9.0 * ndimage.uniform_filter(flux, 3) - flux) / 8.0
    columns = (flux[good], planes.variance[good].astype(np.float64), around[good])
    centred = [column - column.mean() if column.size else column for column in columns]
    return centred[0], centred[1], centred[2]


def _instrumental_slope(
    around: NDArray[np.float64], image: NDArray[np.float64], variance: NDArray[np.float64]
) -> tuple[float, float]:
    covariance = float(around @ image)
    if not covariance > 0:
        return 0.0, np.inf
    slope = float(around @ variance) / covariance
    scatter = around * (variance - slope * image)
    return slope, float(np.sqrt(scatter @ scatter)) / covariance


def _line_slope(image: NDArray[np.float64], variance: NDArray[np.float64], source: str) -> float:
    power, product = float(image @ image), float(image @ variance)
    norm = np.sqrt(power * float(variance @ variance))
    correlation = product / norm if norm > 0 else 0.0
    if not correlation > _MIN_CORRELATION:
        raise GainError(
            f"{source}: the variance does not grow with the flux, so the photon noise of an injected source "
            "is not known; give the image a photometric scaling in nJy per electron.",
            correlation=correlation,
        )
    return product / power
