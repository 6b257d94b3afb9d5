"""What all figures of the evaluation share: canvas, colours, names.

Made without pyplot, so that nothing is shared between figures or threads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

__all__ = [
    "BLUE",
    "CYAN",
    "GREEN",
    "GREY",
    "MARKERS",
    "ORANGE",
    "PURPLE",
    "STYLES",
    "interval_text",
    "legend_below",
    "new_figure",
    "say_nothing_to_draw",
]

# Colours of Okabe & Ito (2008), told apart by people with any kind of colour vision.
BLUE, ORANGE, GREEN, PURPLE, CYAN, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#666666"
MARKERS = ("o", "s", "D", "^", "v", "P")

STYLES = {
    "injected_vs_unlabelled": ("injected / unlabelled (labels)", BLUE, "-"),
    "real_vs_artefact": ("real / artefact (truth)", ORANGE, "--"),
    "transient_vs_artefact": ("transient / artefact (truth)", GREEN, "-."),
    "uninjected_real_vs_artefact": ("real, not injected / artefact (truth)", PURPLE, ":"),
}
"""Label, colour and line of each comparison."""


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure for the Agg canvas.

    Parameters
    ----------
    width, height : `float`
        Inches.

    Returns
    -------
    figure : `matplotlib.figure.Figure`
        With constrained layout.
    """
    figure = Figure(figsize=(width, height), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def interval_text(figure: Mapping[str, float], digits: int = 3) -> str:
    """Return value and interval as text.

    Parameters
    ----------
    figure : `~collections.abc.Mapping`
        ``value``, ``low``, ``high``.
    digits : `int`, optional
        After the point.

    Returns
    -------
    text : `str`
        For example "0.957 (0.926 to 0.982)"; "undefined" for NaN.
    """
    if not np.isfinite(figure["value"]):
        return "undefined"
    if not np.isfinite([figure["low"], figure["high"]]).all():
        return f"{figure['value']:.{digits}f}"
    return f"{figure['value']:.{digits}f} ({figure['low']:.{digits}f} to {figure['high']:.{digits}f})"


def legend_below(figure: Figure, axes: Sequence[Axes], columns: int = 2) -> None:
    """Put one legend for all panels under them, each name once.

    Parameters
    ----------
    figure : `matplotlib.figure.Figure`
        The figure.
    axes : `~collections.abc.Sequence` of `matplotlib.axes.Axes`
        Its panels.
    columns : `int`, optional
        Columns of the legend.
    """
    entries: dict[str, Artist] = {}
    for axis in axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    if entries:
        figure.legend(
            list(entries.values()), list(entries), loc="outside lower center", ncols=columns, fontsize=8
        )


def say_nothing_to_draw(axis: Axes, reason: str) -> None:
    """Write into an empty panel why it is empty.

    Parameters
    ----------
    axis : `matplotlib.axes.Axes`
        The panel.
    reason : `str`
        Why.
    """
    axis.text(0.5, 0.5, reason, transform=axis.transAxes, ha="center", va="center", color=GREY)
