"""Stamps of sources on an image, and what our network and SExtractor say of them."""

from __future__ import annotations

__all__ = ["cut_stamps", "flag_sources", "flags_metadata"]

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..cutouts import PlacedPlanes, cut_plane, stamp_corners
from ..planes import Planes
from .flags import BlendFlag
from .methods.learned import Learned
from .methods.sextractor import PUBLISHED, SExtractor
from .model_io import BlendModel
from .preparation import prepare
from .stamps import BlendStamps

type F32 = NDArray[np.float32]
type F64 = NDArray[np.float64]

_BLOCK = 1024
"""Stamps at a time: 0.1 GB of them at 51 pixels, with what is made of them on the way."""


def cut_stamps(image: PlacedPlanes, x: F64, y: F64, size: int, psf_fwhm: F64) -> BlendStamps:
    """Cut stamps out of an image.

    Parameters
    ----------
    image : `~dia_vetting.cutouts.PlacedPlanes`
        Sky-subtracted image.
    x, y : `numpy.ndarray`, (N,), float64
        Positions in the parent frame, pixels.
    size : `int`
        Side S of the stamps.
    psf_fwhm : `numpy.ndarray`, (N,), float64
        FWHM of the PSF there, pixels; NaN where it is not known.

    Returns
    -------
    stamps : `~.stamps.BlendStamps`
        N stamps. Pixels off the edge, or unusable by the mask (`~dia_vetting.masks.UNUSABLE_BITS`), are NaN.
        The noise is the square root of the median variance of the stamp.
    """
    return _cut(_without_unusable(image.planes), (image.x_origin, image.y_origin), x, y, size, psf_fwhm)


def flag_sources(
    image: PlacedPlanes, x: F64, y: F64, size: int, psf_fwhm: F64, model: BlendModel
) -> dict[str, NDArray[Any]]:
    """Tell which sources on an image are blended.

    Parameters
    ----------
    image, x, y, size, psf_fwhm
        As for `cut_stamps`.
    model : `~.model_io.BlendModel`
        Of any method that has a network.

    Returns
    -------
    answers : `dict` [`str`, `numpy.ndarray`]
        The columns `~.schemas.ANSWER`, one row per position, in their order. Rows with a bit of
        `~.flags.UNSCORED` have no score: NaN, 0 or false.
    """
    learned, sextractor = Learned(model), SExtractor(PUBLISHED)
    planes, origin = _without_unusable(image.planes), (image.x_origin, image.y_origin)
    blocks = [
        _answers(_cut(planes, origin, x[rows], y[rows], size, psf_fwhm[rows]), learned, sextractor)
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


def _without_unusable(planes: Planes) -> tuple[F32, F32]:
    """Return image and variance, NaN where a pixel says nothing."""
    bad = planes.unusable()
    nan = np.float32(np.nan)
    return np.where(bad, nan, planes.image), np.where(bad, nan, planes.variance)


def _cut(
    planes: tuple[F32, F32], origin: tuple[int, int], x: F64, y: F64, size: int, psf_fwhm: F64
) -> BlendStamps:
    x_first, y_first = stamp_corners(x, size) - origin[0], stamp_corners(y, size) - origin[1]
    images, variance = (cut_plane(plane, x_first, y_first, size, np.nan) for plane in planes)
    return BlendStamps(images, _noise(variance), psf_fwhm.astype(np.float32))


def _noise(variance: F32) -> F32:
    noise = np.full(len(variance), np.nan, np.float32)
    known = np.isfinite(variance).any(axis=(1, 2))
    noise[known] = np.sqrt(np.nanmedian(variance[known], axis=(1, 2)))
    return noise


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
