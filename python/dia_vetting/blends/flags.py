"""What is wrong with a stamp, or was not known of it: the bits of ``flags``."""

from __future__ import annotations

__all__ = ["UNSCORED", "BlendFlag", "flag_names", "unscored"]

import enum

import numpy as np
from numpy.typing import ArrayLike, NDArray


class BlendFlag(enum.IntFlag):
    """Bits of ``flags``; 0 means that nothing was missing. Rows with a bit of `UNSCORED` have NaN scores."""

    NAN = 1 << 0
    """Pixels are NaN or infinite; they are left out."""
    OFF_EDGE = 1 << 1
    """Whole rows or columns at an edge are NaN or exactly 0; they are left out."""
    SATURATED = 1 << 2
    """Four pixels or more, well above the noise, have exactly the value of the brightest, or 1e6 times the
    noise."""
    BACKGROUND = 1 << 3
    """Even the darker pixels near the edges are above 0: a sky that is left, or a source that fills the
    stamp."""
    FAINT = 1 << 4
    """No pixel near the centre is more than three times the noise."""
    NOISE_ESTIMATED = 1 << 5
    """The noise was not given, or was no positive number; `.estimates.estimate_noise` gave it."""
    PSF_ESTIMATED = 1 << 6
    """The FWHM of the PSF was not given; `.estimates.estimate_psf` gave it."""
    PSF_UNKNOWN = 1 << 7
    """It was not given and could not be estimated."""
    PSF_UNTRAINED = 1 << 8
    """It is far from those that the model was trained with."""
    CROPPED = 1 << 9
    """The stamp is larger than those that the model was trained with: only its middle was looked at."""
    SIZE = 1 << 10
    """The side is outside the range of the methods."""
    ALL_ZERO = 1 << 11
    """All pixels are 0."""
    CONSTANT = 1 << 12
    """All pixels that are finite have the same value, which is not 0."""
    TOO_FEW_PIXELS = 1 << 13
    """Less than half of the pixels can be used."""
    NO_CENTRE = 1 << 14
    """One of the central 3 x 3 pixels cannot be used."""
    NO_NOISE = 1 << 15
    """The noise is not known and could not be estimated."""
    NO_ANSWER = 1 << 16
    """The network's answer is not finite."""


UNSCORED = (
    BlendFlag.SIZE
    | BlendFlag.ALL_ZERO
    | BlendFlag.CONSTANT
    | BlendFlag.TOO_FEW_PIXELS
    | BlendFlag.NO_CENTRE
    | BlendFlag.NO_NOISE
    | BlendFlag.NO_ANSWER
)
"""Bits that make a score meaningless."""


def unscored(flags: ArrayLike) -> NDArray[np.bool_]:
    """Return where a bit of `UNSCORED` is set.

    Parameters
    ----------
    flags : array_like, (N,)
        Column ``flags``.
    """
    return np.asarray((np.asarray(flags, np.int64) & int(UNSCORED)) != 0)


def flag_names(flags: int) -> list[str]:
    """Return the names of the bits that are set, lowest first.

    Parameters
    ----------
    flags : `int`
        A value of the column ``flags``.

    Raises
    ------
    ValueError
        If a bit is set that has no name.
    """
    unknown = int(flags) & ~sum(int(bit) for bit in BlendFlag)
    if unknown:
        raise ValueError(f"{flags} has the bits {unknown:#x}, which are no flags of blends.")
    return [str(bit.name) for bit in BlendFlag if int(flags) & int(bit)]
