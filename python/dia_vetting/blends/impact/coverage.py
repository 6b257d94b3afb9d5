"""The sky that coadds cover, as small HEALPix cells, and random positions on it."""

from __future__ import annotations

__all__ = ["Coverage", "covered_cells"]

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import hpgeom
import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...images import origin, pixel_to_sky, planes_from_image, sky_to_pixel
from ...skycells import sky_cell

if TYPE_CHECKING:
    from lsst.images import MaskedImage

type F64 = NDArray[np.float64]
type I64 = NDArray[np.int64]

_DEEPER = 12
"""Orders by which a random position is finer than a cell: a part in 4096 of its side."""


@dataclasses.dataclass(frozen=True)
class Coverage:
    """Cells of one resolution.

    Parameters
    ----------
    nside : `int`
        HEALPix resolution.
    cells : `numpy.ndarray`, (C,), int64
        Nested cells, sorted, each once.
    """

    nside: int
    cells: I64

    @classmethod
    def joined(cls, nside: int, parts: Sequence[I64]) -> Coverage:
        """Return the union of the cells of patches, which may overlap."""
        return cls(nside, np.unique(np.concatenate([np.zeros(0, np.int64), *parts])))

    @property
    def cell_area(self) -> float:
        """Area of a cell, arcmin^2."""
        return float(hpgeom.nside_to_pixel_area(self.nside, degrees=True)) * 3600.0

    def holds(self, ra: ArrayLike, dec: ArrayLike) -> NDArray[np.bool_]:
        """Return which positions (N,), degrees, are covered."""
        return np.isin(sky_cell(ra, dec, self.nside), self.cells)

    def coarse(self, nside: int) -> I64:
        """Return the cell of a coarser resolution that holds each cell, (C,)."""
        return self.cells // (self.nside // nside) ** 2

    def random_positions(self, count: int, rng: np.random.Generator) -> tuple[F64, F64]:
        """Return positions (N,), degrees, uniform on the covered sky: small children of random cells."""
        children = 4**_DEEPER
        cell = self.cells[rng.integers(len(self.cells), size=count)]
        child = cell * children + rng.integers(children, size=count)
        ra, dec = hpgeom.pixel_to_angle(self.nside << _DEEPER, child)
        return np.asarray(ra, np.float64), np.asarray(dec, np.float64)


def covered_cells(coadd: MaskedImage, nside: int, source: str = "coadd") -> I64:
    """Return the cells whose centres are on usable pixels of a coadd.

    Parameters
    ----------
    coadd : `lsst.images.MaskedImage`
        Coadd of a patch.
    nside : `int`
        HEALPix resolution; cells should be no smaller than pixels and no larger than objects.
    source : `str`, optional
        Dataset type, for messages.

    Returns
    -------
    cells : `numpy.ndarray`, (C,), int64
        Nested, sorted.

    Raises
    ------
    NoUsablePixelsError, MissingImageComponentError
        If no pixel is finite, or there is no WCS.
    """
    usable = ~planes_from_image(coadd, source).unusable()
    (ny, nx), (x0, y0) = usable.shape, origin(coadd)
    corner_x = x0 + np.array([0.5 * (nx - 1), 0, nx - 1, 0, nx - 1])
    corner_y = y0 + np.array([0.5 * (ny - 1), 0, 0, ny - 1, ny - 1])
    ra, dec = pixel_to_sky(coadd, corner_x, corner_y, source)
    vectors = hpgeom.angle_to_vector(ra, dec)
    reach = float(np.degrees(2.0 * np.arcsin(0.5 * np.linalg.norm(vectors[1:] - vectors[0], axis=1).max())))
    cells = np.asarray(hpgeom.query_circle(nside, ra[0], dec[0], reach), np.int64)
    centre_ra, centre_dec = hpgeom.pixel_to_angle(nside, cells)
    x, y = sky_to_pixel(coadd, centre_ra, centre_dec, source)
    column, row = np.rint(x - x0).astype(np.int64), np.rint(y - y0).astype(np.int64)
    inside = (column >= 0) & (column < nx) & (row >= 0) & (row < ny)
    inside[inside] = usable[row[inside], column[inside]]
    return np.sort(cells[inside])
