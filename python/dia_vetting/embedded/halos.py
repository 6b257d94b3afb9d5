"""Errors of the subtraction in the halos of saturated stars, measured on the halos themselves."""

from __future__ import annotations

__all__ = ["halo_inflation"]

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

type F32 = NDArray[np.float32]


def _group_median(
    key: NDArray[np.int64], value: F32
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """Median of ``value`` for every distinct key: (index of the group of each value, medians, counts)."""
    order = np.lexsort((value, key))
    _, start, count = np.unique(key[order], return_index=True, return_counts=True)
    ordered = value[order]
    median = 0.5 * (ordered[start + (count - 1) // 2] + ordered[start + count // 2])
    group = np.empty(len(key), np.int64)
    group[order] = np.repeat(np.arange(len(start)), count)
    return group, median.astype(np.float64), count


def halo_inflation(
    score: F32, saturated: NDArray[np.bool_], reach: int, min_area: int = 12, ring: float = 2.0
) -> F32:
    """Return the factor by which noise is exceeded around saturated stars.

    A kernel of finite width cannot match the far wings of the brightest stars. Around every saturated
    region the median of |score| is taken in rings of equal distance to the region, which a transient on
    the ring hardly changes, and compared with that of unit Gaussian noise, 0.6745.

    Parameters
    ----------
    score
        Filtered difference over its error, float32 [ny, nx].
    saturated
        Saturated pixels, bool [ny, nx].
    reach
        Largest distance to a saturated region, pixels.
    min_area
        Smallest number of pixels of a region that has a halo.
    ring
        Width of the rings, pixels.

    Returns
    -------
    factor
        float32 [ny, nx], at least 1, and 1 away from saturated regions.
    """
    factor = np.ones(score.shape, np.float32)
    labels, count = ndimage.label(ndimage.binary_dilation(saturated, iterations=2))
    if count == 0:
        return factor
    area = np.bincount(labels.ravel(), minlength=count + 1)
    large = area >= min_area
    large[0] = False
    core = large[labels]
    if not core.any():
        return factor
    distance, nearest = ndimage.distance_transform_edt(~core, return_indices=True)
    rows, columns = np.nonzero((distance <= reach) & ~saturated)
    owner = labels[nearest[0][rows, columns], nearest[1][rows, columns]].astype(np.int64)
    step = np.ceil(distance[rows, columns] / ring).astype(np.int64)
    group, median, size = _group_median(owner * (reach + 2) + step, np.abs(score[rows, columns]))
    # The filtered noise is correlated over a PSF: a small ring is uncertain, hence the margin of 1.3.
    excess = np.where((median > 1.3 * 0.6745) & (size >= 8), median / 0.6745, 1.0)
    factor[rows, columns] = excess[group]
    return factor
