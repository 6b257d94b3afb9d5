"""Which drawn transients may stay: not two within a PSF, none on something known to vary."""

from __future__ import annotations

__all__ = ["far_enough"]

import numpy as np
from numpy.typing import NDArray

from ..reliability.matching import find_pairs

type F64 = NDArray[np.float64]


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
    places, keep = (ra, dec), np.ones(len(ra), bool)
    keep[find_pairs(places, (avoid_ra, avoid_dec), avoid_radius).first] = False
    avoided = int(np.count_nonzero(~keep))
    if separation > 0:
        pairs = find_pairs(places, places, separation)
        pairs = pairs.where(pairs.first < pairs.second)
        # By rising second, an earlier row is settled before a later one looks at it.
        for k in np.lexsort((pairs.first, pairs.second)):
            if keep[pairs.first[k]]:
                keep[pairs.second[k]] = False
    too_close = len(ra) - avoided - int(np.count_nonzero(keep))
    return keep, {"avoided": avoided, "too_close": too_close}
