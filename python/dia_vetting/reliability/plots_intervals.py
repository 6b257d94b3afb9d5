"""Horizontal interval plots: one line per name, a point and its interval for each series."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from .plots_style import MARKERS

__all__ = ["LOG_FLOOR", "Interval", "draw_intervals"]

type Interval = Mapping[str, float] | None
"""``value``, ``low`` and ``high``; `None` where there is no such figure."""

LOG_FLOOR = 1e-4
"""Where a logarithmic axis ends; what is 0 is an arrow that starts at the upper end of its interval."""


def draw_intervals(
    axis: Axes,
    names: Sequence[str],
    series: Mapping[str, tuple[str, Sequence[Interval]]],
    log: bool = False,
) -> None:
    """Draw figures with intervals, names from top to bottom.

    Parameters
    ----------
    axis : `matplotlib.axes.Axes`
        The panel.
    names : `~collections.abc.Sequence` of `str`
        K names.
    series : `~collections.abc.Mapping`
        By label: colour, and K figures, some of which may be `None` or NaN.
    log : `bool`, optional
        Make the axis logarithmic, from `LOG_FLOOR` at the least.
    """
    step = 0.62 / max(len(series), 1)
    for index, (label, (colour, figures)) in enumerate(series.items()):
        shift = (index - 0.5 * (len(series) - 1)) * step
        drawn = [(k, f) for k, f in enumerate(figures) if f is not None and np.isfinite(f["value"])]
        if not drawn:
            continue
        place = np.array([k + shift for k, _ in drawn])
        value, low, high = (np.array([f[end] for _, f in drawn]) for end in ("value", "low", "high"))
        low, high = np.where(np.isfinite(low), low, value), np.where(np.isfinite(high), high, value)
        if log:
            zero = value < LOG_FLOOR
            axis.plot(high[zero], place[zero], "<", color=colour, markersize=5)
            axis.hlines(place[zero], LOG_FLOOR, high[zero], color=colour, linewidth=1.1)
            value, low, high, place = (a[~zero] for a in (value, np.maximum(low, LOG_FLOOR), high, place))
        axis.errorbar(
            value,
            place,
            xerr=np.maximum([value - low, high - value], 0),
            fmt=MARKERS[index % len(MARKERS)],
            markersize=4.5,
            color=colour,
            elinewidth=1.3,
            label=label,
        )
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(len(names) - 0.5, -0.5)
    for edge in range(1, len(names)):
        axis.axhline(edge - 0.5, color="0.9", linewidth=0.8, zorder=0)
    axis.tick_params(axis="y", length=0)
    axis.grid(axis="x", alpha=0.25)
    if log:
        axis.set_xscale("log")
        axis.set_xlim(LOG_FLOOR, 1.0)
