"""Figures of how good answers are: confusion, accuracy and true positive rates, transfer between presets."""

from __future__ import annotations

__all__ = ["confusion_figure", "noise_figure", "tpr_figure", "transfer_figure"]

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter
from numpy.typing import NDArray

from ..reliability.bootstrap import Estimate
from ..reliability.plots_style import (
    BLUE,
    CYAN,
    GREEN,
    GREY,
    MARKERS,
    ORANGE,
    PURPLE,
    legend_below,
    new_figure,
    say_nothing_to_draw,
)
from .evaluation import PREDICTED
from .layout import KINDS

_COLOURS = (BLUE, ORANGE, GREEN, PURPLE, CYAN, "#E69F00", GREY, "#000000")
_PANEL = 2.9
_FEW = 10
"""Bins with fewer stamps are not drawn."""

_AXES = {
    "separation": "separation from the nearest source [pixel]",
    "snr": "signal-to-noise ratio of the central source",
    "flux_ratio": "flux ratio, fainter over brighter",
}


def confusion_figure(matrices: Mapping[str, NDArray[np.int64]], title: str) -> Figure:
    """Draw confusion matrices, each row in fractions of the stamps of a kind.

    Parameters
    ----------
    matrices : `~collections.abc.Mapping`
        From `~.evaluation.confusion_matrix`, by what is written above them.
    title : `str`
        Of the figure.

    Returns
    -------
    figure : `matplotlib.figure.Figure`
        At most four panels in a row. Kinds of which there is no stamp, and the column of stamps without a
        score where all have one, are left out.
    """
    whole = sum(matrices.values())
    assert not isinstance(whole, int)
    rows, columns = whole.sum(axis=1) > 0, np.ones(len(PREDICTED), bool)
    columns[-1] = whole[:, -1].any()
    columns[KINDS.index("separated")] = whole[:, KINDS.index("separated")].any()
    down = -(-len(matrices) // 4)
    across = -(-len(matrices) // down)
    lines = max(name.count("\n") for name in matrices)
    height = 0.62 * int(rows.sum()) + 0.75 + 0.17 * lines
    figure = new_figure(_PANEL * across + 0.5, height * down + 0.5)
    axes = figure.subplots(down, across, squeeze=False)
    for index, axis in enumerate(axes.flat):
        if index >= len(matrices):
            axis.set_axis_off()
            continue
        name, matrix = list(matrices.items())[index]
        _draw_matrix(axis, matrix[rows][:, columns])
        axis.set_title(name, fontsize=9)
        axis.set_xticks(range(int(columns.sum())), np.array(PREDICTED)[columns], fontsize=8)
        axis.set_yticks(range(int(rows.sum())), np.array(KINDS)[rows] if index % across == 0 else [])
        axis.tick_params(length=0, labelsize=8)
    figure.supxlabel("called", fontsize=9)
    figure.supylabel("truth", fontsize=9)
    figure.suptitle(title, fontsize=10)
    return figure


def _draw_matrix(axis: Axes, counts: NDArray[np.int64]) -> None:
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axis.imshow(share, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (row, column), count in np.ndenumerate(counts):
        ink = "white" if share[row, column] > 0.55 else "black"
        text = f"{share[row, column]:.3f}\n{count:,}"
        axis.text(column, row, text, ha="center", va="center", fontsize=7.5, color=ink)


def noise_figure(
    curves: Mapping[str, Mapping[float, Estimate]],
    published: Mapping[str, Mapping[float, float]],
    title: str,
) -> Figure:
    """Draw the accuracy of each method against the noise.

    Parameters
    ----------
    curves : `~collections.abc.Mapping`
        Accuracy by noise, by method.
    published : `~collections.abc.Mapping`
        Published accuracy by noise, by what it is of; crosses.
    title : `str`
        Of the figure.

    Returns
    -------
    figure : `matplotlib.figure.Figure`
        One panel with 95 % intervals.
    """
    figure = new_figure(7.5, 5.2)
    axis = figure.subplots()
    for index, (name, curve) in enumerate(curves.items()):
        value, low, high = (np.array([getattr(e, end) for e in curve.values()]) for end in _ENDS)
        axis.errorbar(
            list(curve),
            value,
            yerr=np.maximum([value - low, high - value], 0),
            **_style(index),
            label=name,
        )
    for index, (name, points) in enumerate(published.items()):
        axis.plot(
            list(points), list(points.values()), ("x", "+")[index % 2], ms=9, mew=2, c="black", label=name
        )
    axis.set(xlabel="noise [unit of the pixels]", ylabel="accuracy")
    axis.grid(alpha=0.25)
    axis.set_title(title, fontsize=10)
    legend_below(figure, [axis], 3)
    return figure


_ENDS = ("value", "low", "high")


def _style(index: int) -> dict[str, Any]:
    colour, marker = _COLOURS[index % len(_COLOURS)], MARKERS[index % len(MARKERS)]
    return {"color": colour, "marker": marker, "ms": 4.5, "lw": 1.3, "elinewidth": 1.2, "capsize": 2}


def tpr_figure(bins: Mapping[str, Mapping[str, Mapping[str, Any]]], title: str) -> Figure:
    """Draw true positive rates against separation, signal-to-noise ratio and flux ratio.

    Parameters
    ----------
    bins : `~collections.abc.Mapping`
        From `~.evaluation.tpr_in_bins`, by method and then by quantity.
    title : `str`
        Of the figure; it should say what the true negative rate is.

    Returns
    -------
    figure : `matplotlib.figure.Figure`
        A panel for each quantity; bins with fewer than 10 stamps are left out.
    """
    figure = new_figure(13.0, 4.9)
    axes = list(figure.subplots(1, len(_AXES), sharey=True))
    for axis, (quantity, label) in zip(axes, _AXES.items(), strict=True):
        _draw_quantity(axis, {name: of_method[quantity] for name, of_method in bins.items()})
        axis.set_xlabel(label)
        axis.grid(alpha=0.25)
        axis.set_ylim(-0.03, 1.03)
    if axes[1].lines:
        axes[1].set_xscale("log")
        axes[1].xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes[1].xaxis.set_major_formatter(ScalarFormatter())
        axes[1].xaxis.set_minor_formatter(NullFormatter())
    axes[0].set_ylabel("true positive rate")
    legend_below(figure, axes, 4)
    figure.suptitle(title, fontsize=10)
    return figure


def _draw_quantity(axis: Axes, bins: Mapping[str, Mapping[str, Any]]) -> None:
    """Draw all methods, each a little to the right of the one before, so that all intervals are seen."""
    drawn = np.asarray(next(iter(bins.values()))["n"]) >= _FEW
    if not drawn.any():
        say_nothing_to_draw(axis, "no such stamps")
        return
    for index, (name, of_method) in enumerate(bins.items()):
        place, shift = of_method["median"][drawn], index - 0.5 * (len(bins) - 1)
        place = place + 0.05 * shift * np.gradient(place) if len(place) > 1 else place
        value, low, high = (getattr(of_method["rate"], end)[drawn] for end in _ENDS)
        error = np.maximum([value - low, high - value], 0)
        axis.errorbar(place, value, yerr=error, **_style(index), label=name)


def transfer_figure(
    values: Mapping[str, Mapping[str, Estimate]], trained_on: Mapping[str, Sequence[str]], title: str
) -> Figure:
    """Draw the accuracy of models on presets they were trained on and on others.

    Parameters
    ----------
    values : `~collections.abc.Mapping`
        Accuracy by model and test stamps.
    trained_on : `~collections.abc.Mapping`
        Names of the test stamps whose preset each model was trained on; these cells are framed.
    title : `str`
        Of the figure.

    Returns
    -------
    figure : `matplotlib.figure.Figure`
        A matrix, models from top to bottom, with the half width of the 95 % interval.
    """
    presets = list(dict.fromkeys(preset for of_model in values.values() for preset in of_model))
    grid = np.array([[float(of[p].value) if p in of else np.nan for p in presets] for of in values.values()])
    figure = new_figure(1.5 * len(presets) + 3.6, 0.62 * len(values) + 1.7)
    axis = figure.subplots()
    colours = colormaps["viridis"]
    low = float(np.nanmin(grid)) - 0.02
    axis.imshow(grid, cmap=colours, vmin=low, vmax=1.0, aspect="auto")
    for row, (name, of_model) in enumerate(values.items()):
        for column, preset in enumerate(presets):
            if preset in of_model:
                _draw_cell(axis, (row, column), of_model[preset], low)
            if preset in trained_on[name]:
                place = (column - 0.47, row - 0.46)
                axis.add_patch(Rectangle(place, 0.94, 0.92, fill=False, edgecolor=ORANGE, linewidth=2.5))
    axis.set_xticks(range(len(presets)), [preset.replace(", ", "\n") for preset in presets])
    axis.set_yticks(range(len(values)), list(values))
    axis.tick_params(length=0)
    axis.set_xlabel("tested on (framed: trained on it too)")
    axis.set_title(title, fontsize=10)
    return figure


def _draw_cell(axis: Axes, place: tuple[int, int], value: Estimate, low: float) -> None:
    ink = "white" if float(value.value) < low + 0.6 * (1.0 - low) else "black"
    text = f"{float(value.value):.3f}\n± {float(value.high - value.low) / 2:.3f}"
    axis.text(place[1], place[0], text, ha="center", va="center", fontsize=8.5, color=ink)
