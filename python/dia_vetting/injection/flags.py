"""Why a source was not injected: the bits of ``injection_flag``, the same as in lsst.source.injection."""

from __future__ import annotations

__all__ = ["InjectionFlag", "count_flags"]

import enum

import numpy as np
from numpy.typing import ArrayLike


class InjectionFlag(enum.IntFlag):
    """Bits of ``injection_flag``; 0 means that the source was injected.

    SERSIC_EXTREME is kept for tables that come from lsst.source.injection: here only point sources are drawn.
    """

    MAG_BAD = 1 << 0
    TYPE_UNKNOWN = 1 << 1
    SERSIC_EXTREME = 1 << 2
    NO_OVERLAP = 1 << 3
    FFT_SIZE_ERROR = 1 << 4
    PSF_COMPUTE_ERROR = 1 << 5


def count_flags(flags: ArrayLike) -> dict[str, int]:
    """Return how many rows have each bit set, by name; bits that none has are left out.

    Parameters
    ----------
    flags : array_like, (N,)
        Column ``injection_flag``.

    Returns
    -------
    counts : `dict` [`str`, `int`]
        Number of rows by `InjectionFlag` name.
    """
    values = np.asarray(flags, np.int64)
    counts = {str(bit.name): int(np.count_nonzero(values & int(bit))) for bit in InjectionFlag}
    return {name: count for name, count in counts.items() if count}
