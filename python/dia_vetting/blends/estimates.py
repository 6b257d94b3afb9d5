"""Noise and PSF width from the stamps themselves, where nobody gives them."""

from __future__ import annotations

__all__ = ["estimate_noise", "estimate_psf"]

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

type F32 = NDArray[np.float32]
type Bool = NDArray[np.bool_]

_BOX = 5
"""Side of the box that is averaged over to tell sources from noise, pixels."""
_SOURCE = 3.0
"""Mean over the box, over its noise if that were white, from which pixels belong to sources."""
_MIN_PIXELS = 100
_ROUNDS = 3
_BRIGHT = 30.0
"""Peak over the noise from which the width of a source is measured: noise then moves it by little."""
_MIN_BRIGHT = 100
_SMALLEST = 0.01
"""Quantile of the widths that stands for the smallest source."""


def estimate_noise(images: F32, valid: Bool | None = None) -> F32:
    """Estimate the rms of a blank pixel in each stamp.

    The stamps must be sky-subtracted. The rms of the negative pixels is a first value, which sources hardly
    touch since they only add light. Pixels around which the mean over 5 x 5 pixels is three times its noise
    are then taken for sources, and the rms of the others about their median is the next value; three rounds.

    With sources over a third of a stamp the result is good to a few per cent. Where sources cover nearly all
    of it (fewer than 100 pixels are left) the first value stands, which is somewhat low. Noise that is
    correlated over more than a few pixels makes the result low, too.

    Parameters
    ----------
    images : `numpy.ndarray`, (N, S, S), float32
        Stamps, in any unit.
    valid : `numpy.ndarray`, (N, S, S), bool, optional
        Pixels to use; by default those that are finite.

    Returns
    -------
    sigma : `numpy.ndarray`, (N,), float32
        In the unit of the stamps; NaN where there are fewer than 20 negative pixels, as with a sky that is
        not subtracted or a noise of zero.
    """
    if not len(images):
        return np.zeros(0, np.float32)
    usable = np.isfinite(images) if valid is None else valid & np.isfinite(images)
    pixels = np.where(usable, images, 0.0).astype(np.float64)
    negative = usable & (pixels < 0)
    n_negative = negative.sum(axis=(1, 2))
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        first = np.sqrt((np.where(negative, pixels, 0.0) ** 2).sum(axis=(1, 2)) / n_negative)
    first = np.where((n_negative >= 20) & np.isfinite(first) & (first > 0), first, np.nan)
    smooth = uniform_filter(pixels, size=(0, _BOX, _BOX), mode="nearest")
    sigma = first
    for _ in range(_ROUNDS):
        blank = usable & (smooth < (_SOURCE / _BOX) * sigma[:, None, None])
        blank &= np.abs(pixels) < 5.0 * sigma[:, None, None]
        sigma = np.where(blank.sum(axis=(1, 2)) >= _MIN_PIXELS, _rms_about_median(pixels, blank), first)
    return np.where(sigma > 0, sigma, np.nan).astype(np.float32)


def _rms_about_median(pixels: NDArray[np.float64], keep: Bool) -> NDArray[np.float64]:
    """Return the rms of some pixels of each stamp about their median; NaN where there are none."""
    count = keep.sum(axis=(1, 2))
    ordered = np.sort(np.where(keep, pixels, np.inf).reshape(len(pixels), pixels[0].size), axis=1)
    median = ordered[np.arange(len(pixels)), np.maximum(count - 1, 0) // 2]
    with np.errstate(invalid="ignore", divide="ignore"):
        squares = np.where(keep, pixels - median[:, None, None], 0.0) ** 2
        return np.asarray(np.sqrt(squares.sum(axis=(1, 2)) / count))


def estimate_psf(images: F32, noise_sigma: F32) -> float:
    """Estimate the FWHM of the PSF that a set of stamps has in common.

    No source is narrower than the PSF, so the narrowest ones of many bound it from above, and give it where
    some of them are stars. Widths are those of circles as large as the pixels above half of the brightest
    one, of stamps whose peak is 30 times the noise; the 1 % quantile counts. The answer is too large where
    all sources are resolved, and says nothing of PSFs that differ between the stamps.

    Parameters
    ----------
    images : `numpy.ndarray`, (N, S, S), float32
        Sky-subtracted stamps.
    noise_sigma : `numpy.ndarray`, (N,), float32
        Rms of a blank pixel.

    Returns
    -------
    fwhm : `float`
        Pixels; NaN with fewer than 100 bright stamps.
    """
    pixels = np.where(np.isfinite(images), images, 0.0)
    peak = pixels.max(axis=(1, 2), initial=0.0)
    bright = np.isfinite(noise_sigma) & (peak > _BRIGHT * noise_sigma)
    if np.count_nonzero(bright) < _MIN_BRIGHT:
        return float("nan")
    above = (pixels[bright] > 0.5 * peak[bright, None, None]).sum(axis=(1, 2))
    return float(np.quantile(2.0 * np.sqrt(above / np.pi), _SMALLEST))
