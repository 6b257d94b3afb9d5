"""Where on the detectors injections are recovered, and how well their flux is measured there."""

from __future__ import annotations

__all__ = ["detector_mosaic", "plot_focal_plane"]

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


def detector_mosaic(
    detector: NDArray[np.int64],
    x: F64,
    y: F64,
    values: F64,
    statistic: Callable[[F64], float],
    detectors: NDArray[np.int64],
    size: tuple[float, float],
    cells: int,
) -> F64:
    """Return a statistic in cells of each detector's pixels, the detectors side by side.

    Parameters
    ----------
    detector : `numpy.ndarray`, (N,), int64
        Detector of each injection.
    x, y, values : `numpy.ndarray`, (N,), float64
        Its position in the parent frame, pixels, and what the statistic is of.
    statistic : `~collections.abc.Callable`
        Mean, median or the like of the values in a cell.
    detectors : `numpy.ndarray`, (D,), int64
        Detectors in the order in which they are laid out: rows from the bottom, each from the left.
    size : `tuple` of `float`
        Width and height of a detector, pixels.
    cells : `int`
        Cells along each side of a detector.

    Returns
    -------
    mosaic : `numpy.ndarray`, (rows (cells + 1) - 1, columns (cells + 1) - 1), float64
        As [y, x], a blank line between detectors; NaN where a cell has fewer than five injections.
    """
    columns = _columns(len(detectors))
    rows = -(-len(detectors) // columns)
    mosaic = np.full((rows * (cells + 1), columns * (cells + 1)), np.nan)
    place = np.searchsorted(detectors, detector)
    column, row = (
        np.clip((position / side * cells).astype(np.int64), 0, cells - 1)
        for position, side in zip((x, y), size, strict=True)
    )
    where = np.ravel_multi_index(
        ((place // columns) * (cells + 1) + row, (place % columns) * (cells + 1) + column), mosaic.shape
    )
    for cell in np.unique(where):
        mine = values[where == cell]
        if len(mine) >= _LEAST:
            mosaic.flat[cell] = statistic(mine)
    return mosaic[:-1, :-1]


def _columns(count: int) -> int:
    return int(np.ceil(np.sqrt(count)))


def plot_focal_plane(outcomes: Table) -> Figure:
    """Draw recovered fraction and median flux residual over the pixels of every detector.

    The detectors are in the order of their ids, row by row from the lower left: their places in the camera
    are not in the tables. All are drawn in the size of the largest pixel position there is.

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

    figure = Figure(figsize=(11.0, 5.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    snr, recovered = np.asarray(outcomes["expected_snr"], float), np.asarray(outcomes["recovered"], bool)
    near = (snr >= _SNR[0]) & (snr < _SNR[1])
    bright = recovered & (snr >= PHOTOMETRY_SNR)
    residual = 100.0 * (np.asarray(outcomes["psfFlux"], float) / np.asarray(outcomes["flux"], float) - 1.0)
    _panel(left, outcomes, near, recovered.astype(float), np.mean, "viridis", (0.0, 1.0))
    left.set_title(f"Recovered fraction at expected SNR {_SNR[0]:.0f} to {_SNR[1]:.0f}")
    _panel(right, outcomes, bright, residual, np.median, "RdBu_r", None)
    right.set_title(f"Median of psfFlux / flux - 1 [%], SNR >= {PHOTOMETRY_SNR:.0f}")
    figure.supxlabel("detectors by id, each with its own x", fontsize=9)
    figure.supylabel("y", fontsize=9)
    return figure


def _panel(
    axes: Axes,
    outcomes: Table,
    keep: NDArray[np.bool_],
    values: F64,
    statistic: Callable[[F64], float],
    colors: str,
    limits: tuple[float, float] | None,
) -> None:
    from matplotlib.patches import Rectangle

    detector = np.asarray(outcomes["detector"], np.int64)
    x, y = (np.asarray(outcomes[name], float) for name in "xy")
    detectors = np.unique(detector)
    cells = int(np.clip(np.sqrt(keep.sum() / len(detectors) / _PER_CELL), 1, _MOST_CELLS))
    size = (float(x.max()) + 1.0, float(y.max()) + 1.0)
    mosaic = detector_mosaic(
        detector[keep], x[keep], y[keep], values[keep], statistic, detectors, size, cells
    )
    if limits is None:
        top = float(np.nanquantile(np.abs(mosaic), 0.98)) if np.isfinite(mosaic).any() else 1.0
        limits = (-max(top, 0.1), max(top, 0.1))
    step, columns = cells + 1, _columns(len(detectors))
    image = axes.imshow(mosaic, origin="lower", cmap=colors, vmin=limits[0], vmax=limits[1])
    for k, name in enumerate(detectors):
        corner = ((k % columns) * step - 0.5, (k // columns) * step - 0.5)
        axes.add_patch(Rectangle(corner, cells, cells, fill=False, color="0.5", lw=0.8))
        axes.annotate(
            str(name), corner, (3, 3), textcoords="offset points", fontsize=8 if len(detectors) < 50 else 5
        )
    axes.set(xlim=(-0.7, mosaic.shape[1] - 0.3), ylim=(-0.7, mosaic.shape[0] - 0.3), xticks=[], yticks=[])
    axes.set_frame_on(False)
    axes.figure.colorbar(image, ax=axes, shrink=0.8)
