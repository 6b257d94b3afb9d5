"""Stamps of sources on an image, and what our network and SExtractor say of them."""

from __future__ import annotations

__all__ = ["StampCutter", "flag_sources", "flags_metadata"]

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..cutouts import PlacedPlanes, cut_plane, stamp_corners
from ..planes import Planes, blank_sky, robust_sigma
from .flags import BlendFlag
from .methods.learned import Learned
from .methods.sextractor import PUBLISHED, SExtractor
from .model_io import BlendModel
from .preparation import prepare
from .stamps import BlendStamps

type F32 = NDArray[np.float32]
type F64 = NDArray[np.float64]

_BLOCK = 1024
"""Stamps at a time: 11 MB at 51 pixels, and some copies of them on the way."""
_MIN_BLANK = 1000
"""Blank pixels that are enough to tell their scatter."""


class StampCutter:
    """Cuts stamps out of an image.

    Parameters
    ----------
    image : `~dia_vetting.cutouts.PlacedPlanes`
        Sky-subtracted image. Pixels that its mask says are unusable (`~dia_vetting.masks.UNUSABLE_BITS`) are
        taken for NaN.
    size : `int`
        Side S of the stamps.
    """

    def __init__(self, image: PlacedPlanes, size: int) -> None:
        bad, nan = image.planes.unusable(), np.float32(np.nan)
        self._image: F32 = np.where(bad, nan, image.planes.image)
        sigma: F32 = np.sqrt(np.where(bad, nan, image.planes.variance))
        self._sigma: F32 = sigma * _noise_factor(image.planes, self._image / sigma)
        self._origin, self._size = (image.x_origin, image.y_origin), size

    def cut(self, x: F64, y: F64, psf_fwhm: F64) -> BlendStamps:
        """Return stamps.

        Parameters
        ----------
        x, y : `numpy.ndarray`, (N,), float64
            Positions in the parent frame, pixels.
        psf_fwhm : `numpy.ndarray`, (N,), float64
            FWHM of the PSF there, pixels; NaN where it is not known.

        Returns
        -------
        stamps : `~.stamps.BlendStamps`
            N stamps, NaN off the edge. The noise is the median of the stamp's own by the variance plane,
            times one factor for the whole image: that by which blank pixels scatter more, or less, than the
            plane says. Resampling makes them depend on each other, and scatter less.
        """
        x_first = stamp_corners(x, self._size) - self._origin[0]
        y_first = stamp_corners(y, self._size) - self._origin[1]
        images, sigma = (
            cut_plane(plane, x_first, y_first, self._size, np.nan) for plane in (self._image, self._sigma)
        )
        noise = np.full(len(sigma), np.nan, np.float32)
        known = np.isfinite(sigma).any(axis=(1, 2))
        noise[known] = np.nanmedian(sigma[known], axis=(1, 2))
        return BlendStamps(images, noise, psf_fwhm.astype(np.float32))


def flag_sources(
    image: PlacedPlanes, x: F64, y: F64, size: int, psf_fwhm: F64, model: BlendModel
) -> dict[str, NDArray[Any]]:
    """Tell which sources on an image are blended.

    Parameters
    ----------
    image : `~dia_vetting.cutouts.PlacedPlanes`
        Sky-subtracted image.
    x, y : `numpy.ndarray`, (N,), float64
        Positions in the parent frame, pixels.
    size : `int`
        Side of the stamps, pixels.
    psf_fwhm : `numpy.ndarray`, (N,), float64
        FWHM of the PSF there, pixels; NaN where it is not known.
    model : `~.model_io.BlendModel`
        Of any method that has a network.

    Returns
    -------
    answers : `dict` [`str`, `numpy.ndarray`]
        The columns `~.schemas.ANSWER`, one row per position, in their order. Rows with a bit of
        `~.flags.UNSCORED` have no score: NaN, 0 or false.
    """
    learned, sextractor = Learned(model), SExtractor(PUBLISHED)
    cutter = StampCutter(image, size)
    blocks = [
        _answers(cutter.cut(x[rows], y[rows], psf_fwhm[rows]), learned, sextractor)
        for rows in (slice(start, start + _BLOCK) for start in range(0, max(len(x), 1), _BLOCK))
    ]
    columns = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
    return columns | {"blendVersion": np.full(len(x), model.card.version)}


def flags_metadata(model: BlendModel) -> dict[str, Any]:
    """Return the metadata of a table of `flag_sources`: which model it was, and the names of the flags."""
    return {
        "method": model.card.method,
        "model_version": model.card.version,
        "model_content_hash": model.card.content_hash,
        "flags": {str(bit.name): int(bit) for bit in BlendFlag},
    }


def _noise_factor(planes: Planes, scaled: F32) -> np.float32:
    """Return the scatter of blank pixels over what the variance plane says; 1 where few are blank."""
    blank = blank_sky(planes)
    return np.float32(robust_sigma(scaled[blank]) if np.count_nonzero(blank) >= _MIN_BLANK else 1.0)


def _answers(stamps: BlendStamps, learned: Learned, sextractor: SExtractor) -> dict[str, NDArray[Any]]:
    prepared = prepare(stamps)
    ours, theirs = learned.predict_prepared(prepared), sextractor.predict_prepared(prepared)
    return {
        "p_blend": ours.p_blend,
        "n_sources": np.nan_to_num(ours.n_sources),
        "overlap_area": ours.overlap_area,
        "sextractor_blend": theirs.p_blend > 0.5,
        "flags": ours.flags,
    }
