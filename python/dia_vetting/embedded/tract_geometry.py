"""The geometry of an embedded tract: a tangent plane with north up, cut into a grid of patches.

Stands in for `lsst.skymap`, which is not on PyPI. It is kept as a dataset (`tract_geometry`, a
StructuredDataDict), so that every task reads the same one.
"""

__all__ = ["PatchBox", "TractGeometry"]

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import astropy.wcs
import numpy as np
from numpy.typing import ArrayLike, NDArray

type F64 = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class PatchBox:
    """Half-open pixel ranges of a patch in the tract frame.

    Parameters
    ----------
    patch : `int`
        Patch index: column + row times the number of columns.
    inner : `tuple` of `int`
        (x_start, x_stop, y_start, y_stop) of the inner region; those of all patches tile the tract.
    outer : `tuple` of `int`
        The same with a border that overlaps the neighbours, cut off at the tract's edge.
    """

    patch: int
    inner: tuple[int, int, int, int]
    outer: tuple[int, int, int, int]

    @property
    def shape(self) -> tuple[int, int]:
        """Shape (ny, nx) of the outer box."""
        x0, x1, y0, y1 = self.outer
        return y1 - y0, x1 - x0


@dataclasses.dataclass(frozen=True)
class TractGeometry:
    """A tangent-plane tract with north up and right ascension growing to the left.

    Parameters
    ----------
    skymap : `str`
        Name of the skymap.
    tract : `int`
        Tract index.
    ra, dec : `float`
        ICRS position of the tangent point, which is the centre of the tract; degrees.
    pixel_scale : `float`
        Arcseconds per pixel.
    shape : `tuple` of `int`
        (ny, nx) of the tract, pixels.
    patch_size : `int`
        Side of the inner region of a patch, pixels.
    border : `int`
        Width of the overlap of patches, pixels.
    """

    skymap: str
    tract: int
    ra: float
    dec: float
    pixel_scale: float
    shape: tuple[int, int]
    patch_size: int
    border: int

    @property
    def wcs(self) -> astropy.wcs.WCS:
        """FITS WCS of the tract frame, whose first pixel is (0, 0)."""
        wcs = astropy.wcs.WCS(naxis=2)
        wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
        wcs.wcs.crval = [self.ra, self.dec]
        wcs.wcs.crpix = [(self.shape[1] + 1) / 2, (self.shape[0] + 1) / 2]
        wcs.wcs.cdelt = [-self.pixel_scale / 3600, self.pixel_scale / 3600]
        wcs.wcs.cunit = ["deg", "deg"]
        wcs.wcs.radesys = "ICRS"
        wcs.wcs.set()
        return wcs

    @property
    def grid(self) -> tuple[int, int]:
        """Number of patches (rows, columns)."""
        return -(-self.shape[0] // self.patch_size), -(-self.shape[1] // self.patch_size)

    def patches(self) -> Iterator[PatchBox]:
        """Yield the patches in the order of their index."""
        rows, columns = self.grid
        for patch in range(rows * columns):
            yield self.patch_box(patch)

    def patch_box(self, patch: int) -> PatchBox:
        """Return the boxes of one patch.

        Parameters
        ----------
        patch : `int`
            Patch index.

        Returns
        -------
        box : `PatchBox`
            Its inner and outer box.

        Raises
        ------
        IndexError
            If the tract has no such patch.
        """
        rows, columns = self.grid
        if not 0 <= patch < rows * columns:
            raise IndexError(f"Tract {self.tract} has {rows * columns} patches, patch {patch} is not one.")
        row, column = divmod(patch, columns)
        (y0, y1, y2, y3), (x0, x1, x2, x3) = (
            self._range(row, self.shape[0]),
            self._range(column, self.shape[1]),
        )
        return PatchBox(patch, (x1, x2, y1, y2), (x0, x3, y0, y3))

    def _range(self, index: int, size: int) -> tuple[int, int, int, int]:
        start = index * self.patch_size
        stop = min(start + self.patch_size, size)
        return max(start - self.border, 0), start, stop, min(stop + self.border, size)

    def find_patch(self, x: ArrayLike, y: ArrayLike) -> NDArray[np.int64]:
        """Return the patch whose inner region holds each position; -1 outside the tract.

        Parameters
        ----------
        x, y : array_like, (N,)
            Position in the tract frame, pixels.

        Returns
        -------
        patch : `numpy.ndarray`, (N,), int64
            Patch index.
        """
        x, y = np.asarray(x, float) + 0.5, np.asarray(y, float) + 0.5
        inside = (x >= 0) & (x < self.shape[1]) & (y >= 0) & (y < self.shape[0])
        column = np.floor(x / self.patch_size).astype(np.int64)
        row = np.floor(y / self.patch_size).astype(np.int64)
        return np.where(inside, row * self.grid[1] + column, -1)

    def sky_to_pixel(self, ra: ArrayLike, dec: ArrayLike) -> tuple[F64, F64]:
        """Return the tract-frame position (pixels) of ICRS positions (degrees)."""
        x, y = self.wcs.all_world2pix(np.atleast_1d(ra), np.atleast_1d(dec), 0)
        return np.asarray(x, np.float64), np.asarray(y, np.float64)

    def pixel_to_sky(self, x: ArrayLike, y: ArrayLike) -> tuple[F64, F64]:
        """Return the ICRS position (degrees) of tract-frame positions (pixels)."""
        ra, dec = self.wcs.all_pix2world(np.atleast_1d(x), np.atleast_1d(y), 0)
        return np.asarray(ra, np.float64), np.asarray(dec, np.float64)

    def to_dict(self) -> dict[str, Any]:
        """Return what `from_dict` takes, as a StructuredDataDict holds it."""
        return {**dataclasses.asdict(self), "shape": list(self.shape)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "TractGeometry":
        """Make the geometry from a StructuredDataDict."""
        return cls(**{**values, "shape": (int(values["shape"][0]), int(values["shape"][1]))})
