"""Many point source images at once: the PSF's own rendering as a series in position and sub-pixel phase."""

from __future__ import annotations

__all__ = ["BlockStamps"]

import dataclasses
import itertools

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from ..psf import Box, chebyshev_terms
from ..seeding import generator
from .drawing import StampMaker

type F64 = NDArray[np.float64]
type I64 = NDArray[np.int64]

_DEGREES = ((1, 6), (2, 8), (3, 10), (4, 12))
"""Degrees in field position and phase, tried in turn."""

_CHECKS = 24
"""Positions at which the series is compared with the PSF itself."""

_BATCH = 256
"""Rows of one matrix product; always this many, so that a row does not depend on the others."""

_GRID = 2.0**40
"""Pixels are rounded to one part in this, which hides in which row of the product they were made."""


@dataclasses.dataclass(frozen=True)
class BlockStamps:
    """Unit point source images whose every pixel is a Chebyshev series in four variables.

    They are the integer position of the pixel that a source is nearest to, over the image, and its sub-pixel
    phase in x and y from -0.5 to 0.5. Whatever the PSF class does between pixels is thus kept, its
    interpolant included.

    Parameters
    ----------
    coefficients : `numpy.ndarray`, (T, S * S), float64
        T terms: those of the field times those of the two phases.
    field_degree, phase_degree : `int`
        Total degree in the field, degree in each phase.
    size : `int`
        Side S of a stamp, pixels.
    first : `tuple` [`int`, `int`]
        Column and row of a stamp's first pixel, minus the nearest pixel's.
    box : `tuple`
        (x_min, x_max, y_min, y_max) of the field, pixels.
    error : `float`
        Largest deviation from the PSF itself at positions that were not fitted, in units of the peak.
    """

    coefficients: F64
    field_degree: int
    phase_degree: int
    size: int
    first: tuple[int, int]
    box: Box
    error: float

    @classmethod
    def fit(cls, stamps: StampMaker, shape: tuple[int, int], tolerance: float) -> BlockStamps | None:
        """Fit the series to a PSF.

        Parameters
        ----------
        stamps : `~dia_vetting.injection.drawing.StampMaker`
            The PSF's own images, in the frame of the array.
        shape : `tuple` [`int`, `int`]
            Rows and columns of the image.
        tolerance : `float`
            Largest allowed ``error``.

        Returns
        -------
        series : `BlockStamps` or `None`
            Of the lowest degrees that keep the tolerance; `None` where none does, or where the PSF cannot
            be evaluated, or is not finite, at a position that is fitted or checked.
        """
        try:
            checks = _check_positions(shape)
            exact = [stamps(x, y) for x, y in checks]
            if not all(np.isfinite(unit).all() for unit, _, _ in exact):
                return None
            for field_degree, phase_degree in _DEGREES:
                series = _fitted(stamps, shape, field_degree, phase_degree)
                error = _largest_error(series, checks, exact)
                if error <= tolerance:
                    return dataclasses.replace(series, error=error)
        except (ValueError, RuntimeError):  # the PSF is not known somewhere: BoundsError, and GalSim's
            return None
        return None

    def images(self, x: F64, y: F64) -> tuple[F64, I64, I64]:
        """Return the unit images of point sources.

        Parameters
        ----------
        x, y : `numpy.ndarray`, (N,), float64
            Positions; one outside the image has the PSF of the nearest place inside.

        Returns
        -------
        images : `numpy.ndarray`, (N, S, S), float64
            Each of unit sum. A row does not depend on what other rows there are: sums that differ in the last
            bit are rounded to the same 1e-12.
        x_first, y_first : `numpy.ndarray`, (N,), int64
            Columns and rows of their first pixels.
        """
        ix, iy = np.rint(x), np.rint(y)
        field = chebyshev_terms(
            np.clip(ix, self.box[0], self.box[1]),
            np.clip(iy, self.box[2], self.box[3]),
            self.field_degree,
            self.box,
        )
        phase = _phase_terms(x - ix, y - iy, self.phase_degree)
        terms = (field[:, :, None] * phase[:, None, :]).reshape(len(x), -1)
        images = np.empty((len(x), self.size * self.size))
        with threadpool_limits(1):
            for start in range(0, len(x), _BATCH):
                block = np.zeros((_BATCH, terms.shape[1]))
                rows = terms[start : start + _BATCH]
                block[: len(rows)] = rows
                product = np.rint((block @ self.coefficients)[: len(rows)] * _GRID) / _GRID
                images[start : start + _BATCH] = product
        images /= images.sum(axis=1, keepdims=True)
        corner = ix.astype(np.int64) + self.first[0], iy.astype(np.int64) + self.first[1]
        return images.reshape(-1, self.size, self.size), *corner


def _check_positions(shape: tuple[int, int]) -> list[tuple[float, float]]:
    rng = generator("block stamps", *shape)
    places = rng.uniform(0.0, 1.0, (_CHECKS, 2)) * [shape[1] - 1.0, shape[0] - 1.0]
    return [(float(x), float(y)) for x, y in places]


def _nodes(degree: int) -> F64:
    """Return the Chebyshev nodes of the first kind on [-1, 1]."""
    return np.asarray(np.cos(np.pi * (np.arange(degree + 1) + 0.5) / (degree + 1)), np.float64)


def _phase_terms(x: F64, y: F64, degree: int) -> F64:
    """Return the products T_i(2 x) T_j(2 y), (N, (degree + 1)^2)."""
    tx = np.polynomial.chebyshev.chebvander(2.0 * x, degree)
    ty = np.polynomial.chebyshev.chebvander(2.0 * y, degree)
    return np.asarray((tx[:, :, None] * ty[:, None, :]).reshape(len(x), -1), np.float64)


def _fitted(stamps: StampMaker, shape: tuple[int, int], field_degree: int, phase_degree: int) -> BlockStamps:
    """Fit the series at the nodes; its error is not known yet."""
    box = (0.0, shape[1] - 1.0, 0.0, shape[0] - 1.0)
    along = 0.5 + 0.5 * _nodes(field_degree)
    field = [(round(u * box[1]), round(v * box[3])) for u, v in itertools.product(along, along)]
    phase = list(itertools.product(0.5 * _nodes(phase_degree), repeat=2))
    made = [[stamps(ix + px, iy + py) for px, py in phase] for ix, iy in field]
    corners = [
        (x_first - ix, y_first - iy, *unit.shape[::-1])
        for (ix, iy), row in zip(field, made, strict=True)
        for unit, x_first, y_first in row
    ]
    left, bottom = min(c[0] for c in corners), min(c[1] for c in corners)
    size = max(max(c[0] + c[2] - left, c[1] + c[3] - bottom) for c in corners)
    values = np.zeros((len(field), len(phase), size, size))
    for (i, (ix, iy)), row in zip(enumerate(field), made, strict=True):
        for j, (unit, x_first, y_first) in enumerate(row):
            column, line = x_first - ix - left, y_first - iy - bottom
            values[i, j, line : line + unit.shape[0], column : column + unit.shape[1]] = unit
    field_x, field_y = np.array(field, np.float64).T
    in_field = np.asarray(np.linalg.pinv(chebyshev_terms(field_x, field_y, field_degree, box)))
    phase_x, phase_y = np.array(phase, np.float64).T
    in_phase = np.asarray(np.linalg.inv(_phase_terms(phase_x, phase_y, phase_degree)))
    coefficients = np.einsum(
        "tf,up,fpk->tuk", in_field, in_phase, values.reshape(*values.shape[:2], -1), optimize=True
    )
    return BlockStamps(
        coefficients.reshape(-1, size * size), field_degree, phase_degree, size, (left, bottom), box, np.inf
    )


def _largest_error(
    series: BlockStamps, places: list[tuple[float, float]], exact: list[tuple[F64, int, int]]
) -> float:
    """Return the largest deviation from exact images, in units of their peaks; NaN if the series is."""
    x, y = np.array(places).T
    images, x_first, y_first = series.images(x, y)
    errors = []
    for k, (unit, column, line) in enumerate(exact):
        left, bottom = int(x_first[k]) - column, int(y_first[k]) - line
        height, width = unit.shape
        if left > 0 or bottom > 0 or left + series.size < width or bottom + series.size < height:
            return np.inf
        deviation = images[k].copy()
        deviation[-bottom : -bottom + height, -left : -left + width] -= unit
        errors.append(np.abs(deviation).max() / unit.max())
    return float(np.max(errors))  # unlike max(), keeps NaN, which is within no tolerance
