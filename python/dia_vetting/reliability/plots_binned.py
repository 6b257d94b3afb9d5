"""Figures of completeness and purity against signal-to-noise ratio, magnitude and the host."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from astropy.table import Table
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from .plots_style import (
    BLUE,
    CYAN,
    GREEN,
    MARKERS,
    ORANGE,
    PURPLE,
    STYLES,
    legend_below,
    new_figure,
    say_nothing_to_draw,
)

__all__ = ["host_figure", "magnitude_figure", "snr_figure"]

_HOST_LABELS = {
    "surface_brightness": "mean surface brightness of the host [AB mag / arcsec$^2$]",
    "offset": "offset from the host [arcsec]",
    "offset_radii": "offset in radii of the host in that direction",
}
_FEW = 20
_SPREAD = 0.009
"""Shift of the points of neighbouring series, in fractions of the axis."""


def snr_figure(curves: Table, threshold: float) -> Figure:
    """Draw completeness and purity at one threshold against the signal-to-noise ratio.

    Parameters
    ----------
    curves : `astropy.table.Table`
        `RELIABILITY_CURVE`.
    threshold : `float`
        Which of its thresholds.

    Returns
    -------
    figure : `matplotlib.figure.Figure`
        Two panels; a point for each bin of `~.metrics.SNR_EDGES`, with its 95 % interval.
    """
    figure, axes = _completeness_and_purity(curves, "snr", "signal-to-noise ratio", threshold)
    for axis in axes:
        axis.set_xscale("log")
        ticks = (5, 6, 8, 10, 15, 25, 50, 100, 200)
        axis.set_xticks(ticks, [str(tick) for tick in ticks])
        axis.minorticks_off()
    return figure


def magnitude_figure(curves: Table, threshold: float) -> Figure:
    """Draw completeness and purity at one threshold against the magnitude of the difference.

    Parameters
    ----------
    curves : `astropy.table.Table`
        `RELIABILITY_CURVE`.
    threshold : `float`
        Which of its thresholds.

    Returns
    -------
    figure : `matplotlib.figure.Figure`
        Two panels; bright is on the left.
    """
    return _completeness_and_purity(curves, "magnitude", "AB magnitude of |psfFlux|", threshold)[0]


def host_figure(curves: Table, thresholds: Mapping[str, float]) -> Figure:
    """Draw the completeness of injections with a host against surface brightness and offset.

    Parameters
    ----------
    curves : `astropy.table.Table`
        `RELIABILITY_CURVE`.
    thresholds : `~collections.abc.Mapping` [`str`, `float`]
        All are drawn.

    Returns
    -------
    figure : `matplotlib.figure.Figure`
        Three panels. There is no purity: what was not injected has no known host.
    """
    figure = new_figure(13, 4.6)
    axes = list(figure.subplots(1, 3, sharey=True))
    drawn: list[Table] = []
    colours = (BLUE, ORANGE, GREEN, PURPLE, CYAN)
    for axis, (quantity, label) in zip(axes, _HOST_LABELS.items(), strict=True):
        series = []
        for (name, threshold), colour in zip(thresholds.items(), colours, strict=False):
            kept = _curve(curves, "injected_vs_unlabelled", f"completeness_{quantity}", threshold)
            series.append((f"score ≥ {threshold:.3g} ({name})", colour, kept))
        _draw_series(axis, series)
        axis.set_xlabel(label)
        axis.grid(alpha=0.25)
        drawn += [kept for _, _, kept in series]
    axes[0].set_ylim(_lower_limit(drawn), 1.02)
    axes[0].set_ylabel("completeness among detected injections")
    legend_below(figure, axes, len(thresholds))
    figure.suptitle("Injections with a host: points at the median of each bin, bars 95 % intervals")
    return figure


def _completeness_and_purity(
    curves: Table, quantity: str, label: str, threshold: float
) -> tuple[Figure, list[Axes]]:
    figure = new_figure(11, 4.8)
    axes = list(figure.subplots(1, 2))
    names = {"completeness": "completeness among detected sources", "purity": "purity"}
    for axis, (curve, text) in zip(axes, names.items(), strict=True):
        series = [
            (name, colour, _curve(curves, comparison, f"{curve}_{quantity}", threshold))
            for comparison, (name, colour, _) in STYLES.items()
        ]
        if quantity == "snr":
            axis.set_xscale("log")
        _draw_series(axis, series)
        axis.set(ylim=(_lower_limit([kept for _, _, kept in series]), 1.02), xlabel=label, ylabel=text)
        axis.grid(alpha=0.25)
    legend_below(figure, axes)
    figure.suptitle(
        f"A score of {threshold:.3g} or more is called real; points at the median of each bin, bars 95 % "
        "intervals"
    )
    return figure, axes


def _curve(curves: Table, comparison: str, curve: str, threshold: float) -> Table:
    keep = (curves["comparison"] == comparison) & (curves["curve"] == curve) & (curves["subset"] == "all")
    kept = curves[keep & np.isclose(curves["threshold"], threshold, rtol=0, atol=1e-9)]
    return kept[np.isfinite(kept["y"]) & (kept["n"] > 0)]


def _lower_limit(tables: list[Table]) -> float:
    """Return where the axis begins: bars of bins with few sources may reach below it."""
    lows = [np.asarray(kept["y_low"], float)[np.asarray(kept["n"]) >= _FEW] for kept in tables]
    values = [np.asarray(kept["y"], float) for kept in tables]
    lowest = min(np.nanmin(np.concatenate([*lows, *values, [1.0]])), 0.9)
    return float(np.floor(10 * lowest - 0.2) / 10) if lowest > 0.05 else -0.02


def _draw_series(axis: Axes, series: list[tuple[str, str, Table]]) -> None:
    """Draw points with bars; those of one bin side by side, so that none hides another."""
    filled = [entry for entry in series if len(entry[2])]
    if not filled:
        say_nothing_to_draw(axis, "no source in any bin")
        return
    x = np.concatenate([np.asarray(kept["x"], float) for _, _, kept in filled])
    log = axis.get_xscale() == "log"
    width = np.ptp(np.log(x)) if log else np.ptp(x)
    for index, (label, colour, kept) in enumerate(filled):
        shift = (index - 0.5 * (len(filled) - 1)) * _SPREAD * (width or 1.0)
        place = np.asarray(kept["x"], float)
        moved = place * np.exp(shift) if log else place + shift
        _draw_bars(axis, moved, kept, label, colour, MARKERS[index % len(MARKERS)])


def _draw_bars(axis: Axes, x: NDArray[np.float64], kept: Table, label: str, colour: str, marker: str) -> None:
    y = np.asarray(kept["y"], float)
    bars = np.maximum([y - kept["y_low"], kept["y_high"] - y], 0)
    axis.errorbar(x, y, yerr=bars, fmt=marker, markersize=4.5, color=colour, elinewidth=1.1, label=label)
