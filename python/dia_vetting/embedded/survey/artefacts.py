"""What a defect adds to an image, and its rows in the truth table."""

from __future__ import annotations

__all__ = ["ImageContext", "Patch", "artefact_table", "count_artefacts"]

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from ...masks import MaskBit
from ...seeding import generator
from ..schemas import SIM_TRUTH_ARTEFACT
from .config import DefectConfig, SurveyConfig
from .psf_model import VisitPsf
from .visits import Visit

type F64 = NDArray[np.float64]
type I64 = NDArray[np.int64]

_UNKNOWN = MaskBit(0)

CELL = 16
"""Side of the cells that extended defects are cut into in the truth table, pixel."""


@dataclasses.dataclass(frozen=True)
class ImageContext:
    """What the makers of defects need to know of an image.

    Parameters
    ----------
    config, seed, visit, detector
        Which image of which survey.
    noise
        Rms of a blank pixel, electron.
    psf
        Of the image.
    """

    config: SurveyConfig
    seed: int
    visit: Visit
    detector: int
    noise: float
    psf: VisitPsf

    @property
    def defects(self) -> DefectConfig:
        """Rates."""
        return self.config.defects

    @property
    def shape(self) -> tuple[int, int]:
        """(ny, nx)."""
        return self.config.shape

    def rng(self, purpose: str) -> np.random.Generator:
        """Return a generator of this image alone."""
        return generator(self.seed, self.config.instrument, purpose, self.visit.visit, self.detector)

    def detector_rng(self, purpose: str) -> np.random.Generator:
        """Return a generator of this detector, the same in all visits."""
        return generator(self.seed, self.config.instrument, purpose, "detector", self.detector)

    def count(self, rng: np.random.Generator, rate: float) -> int:
        """Draw how many there are of something; ``rate`` is per megapixel of a science exposure."""
        factor = self.defects.template_factor if self.visit.is_template else 1.0
        return int(rng.poisson(rate * factor * self.config.megapixels))


@dataclasses.dataclass(frozen=True)
class Patch:
    """The pixels of one defect.

    Parameters
    ----------
    cause
        What it is.
    x, y
        Columns and rows, int64 [P], inside the image, each pixel once.
    electrons
        What is added to each, float64 [P].
    bit
        The plane that is set in these pixels; 0 if the mask does not know.
    floor
        It is set only in those that got more than this, electron.
    """

    cause: str
    x: I64
    y: I64
    electrons: F64
    bit: MaskBit = _UNKNOWN
    floor: float = 0.0

    @classmethod
    def from_points(cls, cause: str, x: F64, y: F64, electrons: F64, shape: tuple[int, int]) -> Patch:
        """Collect charges at positions into pixels; those outside the image are lost."""
        ny, nx = shape
        column, row = np.rint(x).astype(np.int64), np.rint(y).astype(np.int64)
        inside = (column >= 0) & (column < nx) & (row >= 0) & (row < ny)
        pixel, inverse = np.unique(row[inside] * nx + column[inside], return_inverse=True)
        charge = np.bincount(inverse, np.asarray(electrons, float)[inside], len(pixel))
        return cls(cause, pixel % nx, pixel // nx, charge)

    @classmethod
    def from_box(
        cls, cause: str, image: NDArray[np.floating], x0: int, y0: int, shape: tuple[int, int], floor: float
    ) -> Patch:
        """Take the pixels over ``floor`` of a small image whose first pixel is (x0, y0)."""
        rows, columns = np.nonzero(np.abs(image) > floor)
        x, y = columns + x0, rows + y0
        inside = (x >= 0) & (x < shape[1]) & (y >= 0) & (y < shape[0])
        values = image[rows, columns].astype(float)
        return cls(cause, x[inside].astype(np.int64), y[inside].astype(np.int64), values[inside])

    def masked_by(self, bit: MaskBit, floor: float = 0.0) -> Patch:
        """Return the same pixels with a mask plane, set where they got more than ``floor`` electrons."""
        return dataclasses.replace(self, bit=bit, floor=floor)

    def apply(self, electrons: NDArray[np.float32]) -> None:
        """Add the charge to an image, in place."""
        electrons[self.y, self.x] += self.electrons.astype(np.float32)

    def mark(self, mask: NDArray[np.uint32]) -> None:
        """Set the plane, in place."""
        if self.bit:
            chosen = np.abs(self.electrons) >= self.floor
            mask[self.y[chosen], self.x[chosen]] |= np.uint32(self.bit)

    def __len__(self) -> int:
        return len(self.x)


def _rows(patch: Patch, number: int, noise: float, per_njy: float) -> dict[str, NDArray[Any]]:
    """Return the columns of one row per cell of a patch wider than a cell and a half, else of one row."""
    if max(np.ptp(patch.x), np.ptp(patch.y)) > 1.5 * CELL:
        _, piece = np.unique((patch.y // CELL) * 100_000 + patch.x // CELL, return_inverse=True)
    else:
        piece = np.zeros(len(patch), np.int64)
    n = int(piece.max()) + 1
    order = np.argsort(piece, kind="stable")
    starts = np.searchsorted(piece[order], np.arange(n))
    x, y, charge = patch.x[order], patch.y[order], patch.electrons[order]
    weight = np.abs(charge) + 1e-12
    total = np.add.reduceat(weight, starts)
    return {
        "artefact_id": np.full(n, number),
        "cause": np.full(n, patch.cause),
        "x_min": np.minimum.reduceat(x, starts),
        "x_max": np.maximum.reduceat(x, starts),
        "y_min": np.minimum.reduceat(y, starts),
        "y_max": np.maximum.reduceat(y, starts),
        "x": np.add.reduceat(x * weight, starts) / total,
        "y": np.add.reduceat(y * weight, starts) / total,
        "flux": np.add.reduceat(charge, starts) / per_njy,
        "peak": np.maximum.reduceat(np.abs(charge), starts) / noise,
        "masked": np.full(n, bool(patch.bit)),
    }


def artefact_table(patches: Iterable[Patch], noise: float, per_njy: float) -> Table:
    """Make the truth table of an image's defects.

    Parameters
    ----------
    patches : iterable of `Patch`
        Those without pixels are left out.
    noise : `float`
        Rms of a blank pixel, electron.
    per_njy : `float`
        Electrons that 1 nJy gives.

    Returns
    -------
    table : `astropy.table.Table`
        Schema `SIM_TRUTH_ARTEFACT`; what is larger than 24 pixels has a row for each cell of 16
        pixels that it touches, with one ``artefact_id``.
    """
    filled = [patch for patch in patches if len(patch)]
    parts = [_rows(patch, number, noise, per_njy) for number, patch in enumerate(filled, start=1)]
    if not parts:
        return SIM_TRUTH_ARTEFACT.empty()
    return SIM_TRUTH_ARTEFACT.build({name: np.concatenate([p[name] for p in parts]) for name in parts[0]})


def count_artefacts(tables: Iterable[Table]) -> Table:
    """Count the defects of many images by their cause.

    Parameters
    ----------
    tables : iterable of `astropy.table.Table`
        Truth tables of the schema `SIM_TRUTH_ARTEFACT`, one for each image.

    Returns
    -------
    counts : `astropy.table.Table`
        One row per cause, in alphabetical order: ``cause``, ``n_images`` (images that have any), ``n_masked``
        and ``n_unmasked`` (defects, however many pieces each has).
    """
    total: dict[str, list[int]] = {}
    for table in tables:
        first = np.unique(np.asarray(table["artefact_id"]), return_index=True)[1]
        cause, masked = np.asarray(table["cause"])[first], np.asarray(table["masked"])[first]
        for name in np.unique(cause):
            of_it = masked[cause == name]
            row = total.setdefault(str(name), [0, 0, 0])
            row[0] += 1
            row[1] += int(of_it.sum())
            row[2] += int((~of_it).sum())
    rows = [(name, *total[name]) for name in sorted(total)]
    return Table(
        rows=rows or None,
        names=["cause", "n_images", "n_masked", "n_unmasked"],
        dtype=["U16", "i8", "i8", "i8"],
    )
