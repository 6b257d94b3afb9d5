"""Which drawn transients may stay: not two within a PSF, none on something known to vary."""

from __future__ import annotations

__all__ = ["far_enough", "on_sphere"]

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

type F64 = NDArray[np.float64]


def on_sphere(ra: ArrayLike, dec: ArrayLike) -> F64:
    """Return unit vectors to positions in degrees, [N, 3]."""
    lon, lat = np.deg2rad(np.asarray(ra, np.float64)), np.deg2rad(np.asarray(dec, np.float64))
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)


def _chord(angle: float) -> float:
    return float(2.0 * np.sin(0.5 * np.deg2rad(angle / 3600.0)))


def far_enough(
    ra: F64, dec: F64, separation: float, avoid_ra: F64, avoid_dec: F64, avoid_radius: float
) -> tuple[NDArray[np.bool_], dict[str, int]]:
    """Tell which transients keep their distance from one another and from positions to avoid.

    Parameters
    ----------
    ra, dec : `numpy.ndarray`, (N,), float64
        Positions, finite, degrees. Of two that are too close the earlier row stays.
    separation : `float`
        Least distance between two that stay, arcsec; 0 for none.
    avoid_ra, avoid_dec : `numpy.ndarray`, (M,), float64
        Known variables, Solar System objects; may be empty.
    avoid_radius : `float`
        Least distance from these, arcsec.

    Returns
    -------
    keep : `numpy.ndarray`, (N,), bool
        What stays.
    rejected : `dict` [`str`, `int`]
        Number by reason: ``avoided``, ``too_close``.
    """
    points = on_sphere(ra, dec)
    keep = np.ones(len(ra), bool)
    if len(avoid_ra) and len(ra):
        known = cKDTree(on_sphere(avoid_ra, avoid_dec))
        keep = known.query(points)[0] > _chord(avoid_radius)
    avoided = int(np.count_nonzero(~keep))
    rows = np.flatnonzero(keep)
    if separation > 0 and len(rows) > 1:
        pairs = cKDTree(points[rows]).query_pairs(_chord(separation), output_type="ndarray")
        # query_pairs has i < j; by rising j, an earlier row is settled before a later one looks at it.
        for first, second in pairs[np.lexsort((pairs[:, 0], pairs[:, 1]))]:
            if keep[rows[first]]:
                keep[rows[second]] = False
    too_close = len(ra) - avoided - int(np.count_nonzero(keep))
    return keep, {"avoided": avoided, "too_close": too_close}
