"""Truth that is measured on the light of each source alone."""

from __future__ import annotations

__all__ = ["SEGMENTATION_THRESHOLD", "blendedness", "central_snr", "nearest_pair", "segmentation"]

import numpy as np
from numpy.typing import NDArray

type F32 = NDArray[np.float32]
type F64 = NDArray[np.float64]

SEGMENTATION_THRESHOLD = 1.5
"""Light of a source in a pixel, over the rms of the noise, from which the pixel belongs to it."""


def segmentation(light: F32, sigma: F32) -> NDArray[np.uint8]:
    """Return the pixels of each source as bits.

    Parameters
    ----------
    light : `numpy.ndarray`, (N, M, S, S), float32
        Light of each source alone, M at most 8.
    sigma : `numpy.ndarray`, (N,), float32
        Rms of the noise.

    Returns
    -------
    bits : `numpy.ndarray`, (N, S, S), uint8
        Bit ``k`` where source ``k`` is above `SEGMENTATION_THRESHOLD`.
    """
    above = light > SEGMENTATION_THRESHOLD * sigma[:, None, None, None]
    return np.packbits(above, axis=1, bitorder="little")[:, 0]


def blendedness(light: F32) -> F64:
    """Return the share of others in the light of the central source (see `.stamps.BlendTruth`)."""
    central, total = light[:, 0].astype(np.float64), light.sum(axis=1, dtype=np.float64)
    return np.asarray(1.0 - np.sum(central**2, axis=(1, 2)) / np.sum(central * total, axis=(1, 2)))


def central_snr(light: F32, sigma: F32) -> F64:
    """Return the signal-to-noise ratio of the central source (see `.stamps.BlendTruth`)."""
    return np.asarray(np.sqrt(np.sum(light[:, 0].astype(np.float64) ** 2, axis=(1, 2))) / sigma)


def nearest_pair(x: F64, y: F64, flux: F64) -> tuple[F64, F64]:
    """Return distance and flux ratio of the central source and the one nearest to it.

    Parameters
    ----------
    x, y, flux : `numpy.ndarray`, (N, M), float64
        NaN where there is no source.

    Returns
    -------
    separation, ratio : `numpy.ndarray`, (N,), float64
        Pixels, and the fainter over the brighter flux; NaN for single sources.
    """
    distance = np.hypot(x[:, 1:] - x[:, :1], y[:, 1:] - y[:, :1])
    distance = np.where(np.isnan(distance), np.inf, distance)
    nearest = np.argmin(distance, axis=1)
    rows = np.arange(len(x))
    separation = distance[rows, nearest]
    ratio = flux[rows, 1 + nearest] / flux[:, 0]
    single = np.isinf(separation)
    return np.where(single, np.nan, separation), np.where(single, np.nan, np.minimum(ratio, 1.0 / ratio))
