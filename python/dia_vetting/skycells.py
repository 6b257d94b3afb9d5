"""Sky groups: the HEALPix cell a source lies in, and the fold that its cell belongs to.

Everything that shares sky shares its host, template and static artefacts, so training, scoring and bootstrap
intervals all split by cell and never by row.
"""

import hpgeom
import numpy as np
import numpy.typing as npt

from .seeding import hash63

__all__ = ["sky_cell", "sky_fold"]


def sky_cell(
    ra: npt.ArrayLike, dec: npt.ArrayLike, nside: int
) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """Return the nested HEALPix cell of each position.

    Parameters
    ----------
    ra, dec : array_like, (N,)
        ICRS positions in degrees.
    nside : `int`
        HEALPix resolution, a power of two; 4096 gives cells of 0.86 arcmin.

    Returns
    -------
    cells : `numpy.ndarray`, (N,), int64
        Cell indices; -1 where a position is not finite.
    """
    ra, dec = np.atleast_1d(np.asarray(ra, dtype=float)), np.atleast_1d(np.asarray(dec, dtype=float))
    cells = np.full(ra.shape, -1, dtype=np.int64)
    good = np.isfinite(ra) & np.isfinite(dec)
    cells[good] = hpgeom.angle_to_pixel(nside, ra[good] % 360.0, dec[good])
    return cells


def sky_fold(
    cells: np.ndarray[tuple[int, ...], np.dtype[np.int64]], n_folds: int, seed: int
) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """Return the fold of each cell: a hash of seed and cell, so that it is the same everywhere, for ever.

    Parameters
    ----------
    cells : `numpy.ndarray`, (N,), int64
        From `sky_cell`.
    n_folds : `int`
        Number of folds.
    seed : `int`
        The campaign's seed, recorded in the model card.

    Returns
    -------
    folds : `numpy.ndarray`, (N,), int64
        In ``[0, n_folds)``.
    """
    unique, inverse = np.unique(cells, return_inverse=True)
    folds = np.array([hash63(seed, "fold", int(cell)) % n_folds for cell in unique], dtype=np.int64)
    return folds[inverse]
