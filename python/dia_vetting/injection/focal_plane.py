"""Where on the detectors injections are recovered, and how well their flux is measured there."""

from __future__ import annotations

__all__ = ["detector_cells", "plot_focal_plane"]

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from .injection_curve import PHOTOMETRY_SNR

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

type F64 = NDArray[np.float64]

_SNR = (5.0, 8.0)
"""Expected signal-to-noise ratios at which the recovered fraction tells most."""
_PER_CELL, _MOST_CELLS, _LEAST = 20, 8, 5
"""Injections that a cell should have, most cells along a side, and injections below which a cell is blank."""
_GAP = 1.06
"""Distance of the detectors in the picture, in their own size."""


def detector_cells(
    place: NDArray[np.int64], row: NDArray[np.int64], column: NDArray[np.int64], values: F64,
    statistic: Callable[[F64], float], shape: tuple[int, int, int],
) -> F64:  # fmt: skip
    """Return a statistic of the values in each cell of each detector.

    Parameters
    ----------
    place, row, column : `numpy.ndarray`, (N,), int64
        Index of the detector, and cell on it.
    values : `numpy.ndarray`, (N,), float64
        What the statistic is of.
    statistic : `~collections.abc.Callable`
        Mean, median or the like of an array.
    shape : `tuple` of `int`
        Detectors, rows and columns.

    Returns
    -------
    cells : `numpy.ndarray`, (detectors, rows, columns), float64
        NaN where a cell has fewer than five values.
    """
    cells = np.full(shape, np.nan)
    where = np.ravel_multi_index((place, row, column), shape)
    order = np.argsort(where, kind="stable")
    filled, first = np.unique(where[order], return_index=True)
    for cell, part in zip(filled, np.split(values[order], first)[1:], strict=True):
        if len(part) >= _LEAST:
            cells.flat[cell] = statistic(part)
    return cells


def plot_focal_plane(outcomes: Table) -> Figure:
    """Draw recovered fraction and median flux residual over the pixels of every detector.

    The detectors are in the order of their ids, row by row from the lower left: their places in the camera
    are not in the tables. All are drawn in the size of the largest pixel position that there is.

    Parameters
    ----------
    outcomes : `astropy.table.Table`
        In `~dia_vetting.injection.schemas.INJECTION_OUTCOME`.

    Returns
    -------
    figure : `matplotlib.figure.Figure`
        Two panels.
    """
    from matplotlib.figure import Figure

    count = len(np.unique(np.asarray(outcomes["detector"])))
    rows = -(-count // _columns(count))
    figure = Figure(figsize=(11.0, 1.4 + 4.8 * rows / _columns(count)), layout="constrained")
    left, right = figure.subplots(1, 2)
    snr, recovered = np.asarray(outcomes["expected_snr"], float), np.asarray(outcomes["recovered"], bool)
    near = (snr >= _SNR[0]) & (snr < _SNR[1])
    bright = recovered & (snr >= PHOTOMETRY_SNR)
    with np.errstate(invalid="ignore", divide="ignore"):
        residual = 100.0 * (
            np.asarray(outcomes["psfFlux"], float) / np.asarray(outcomes["flux"], float) - 1.0
        )
    _panel(left, outcomes, near, recovered.astype(float), np.mean, "viridis", (0.0, 1.0))
    left.set_title(f"Recovered fraction, expected SNR {_SNR[0]:.0f} to {_SNR[1]:.0f}", fontsize=11)
    _panel(right, outcomes, bright, residual, np.median, "RdBu_r", None)
    right.set_title(f"Median of psfFlux / flux - 1 [%], expected SNR >= {PHOTOMETRY_SNR:.0f}", fontsize=11)
    figure.supxlabel("detectors in the order of their ids; x to the right, y upwards", fontsize=9)
    return figure


def _columns(count: int) -> int:
    return int(np.ceil(np.sqrt(count)))


def _panel(
    axes: Axes,
    outcomes: Table,
    keep: NDArray[np.bool_],
    values: F64,
    statistic: Callable[[F64], float],
    colors: str,
    limits: tuple[float, float] | None,
) -> None:
    """Draw one panel; without limits the colours are symmetric about 0."""
    detectors, place = np.unique(np.asarray(outcomes["detector"], np.int64), return_inverse=True)
    along = int(np.clip(np.sqrt(keep.sum() / len(detectors) / _PER_CELL), 1, _MOST_CELLS))
    (column, width), (row, height) = (_cell_of(np.asarray(outcomes[name], float), along) for name in "xy")
    shape = (len(detectors), along, along)
    cells = detector_cells(place[keep], row[keep], column[keep], values[keep], statistic, shape)
    if limits is None:
        top = float(np.nanquantile(np.abs(cells), 0.98)) if np.isfinite(cells).any() else 1.0
        limits = (-max(top, 0.1), max(top, 0.1))
    columns, tall = _columns(len(detectors)), height / width
    for k, (name, picture) in enumerate(zip(detectors, cells, strict=True)):
        x, y = (k % columns) * _GAP, (k // columns) * _GAP * tall
        image = axes.imshow(
            picture,
            origin="lower",
            cmap=colors,
            vmin=limits[0],
            vmax=limits[1],
            extent=(x, x + 1, y, y + tall),
        )
        axes.plot([x, x + 1, x + 1, x, x], [y, y, y + tall, y + tall, y], color="0.6", lw=0.6)
        size = 8 if len(detectors) < 50 else 5
        axes.annotate(str(name), (x, y), (2, 2), textcoords="offset points", fontsize=size)
    axes.set(xlim=(-0.03, columns * _GAP), ylim=(-0.03, -(-len(detectors) // columns) * _GAP * tall))
    axes.set_axis_off()
    axes.figure.colorbar(image, ax=axes, fraction=0.046)


def _cell_of(position: F64, along: int) -> tuple[NDArray[np.int64], float]:
    """Return the cell of each pixel position, and how many pixels there are."""
    size = float(position.max()) + 0.5
    return np.clip((position / size * along).astype(np.int64), 0, along - 1), size
