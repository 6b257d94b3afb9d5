"""Figures of ``blending_impact``: treatments side by side."""

from __future__ import annotations

__all__ = ["clustering_figure", "detection_figure", "photometry_figure", "residual_figure", "shear_figure"]

from collections.abc import Mapping, Sequence

import numpy as np
from astropy.table import Table
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ...reliability.plots_style import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    legend_below,
    new_figure,
    say_nothing_to_draw,
)
from .rows import TREATMENTS, UNITS

type F64 = NDArray[np.float64]

_STYLES = {
    "all": ("all sources", GREY, "o"),
    "sextractor": ("without SExtractor's blends", ORANGE, "s"),
    "ours": ("without ours", BLUE, "D"),
    "truth": ("true sources", GREEN, "^"),
    "true_blends": ("without true blends", GREEN, "^"),
}
_NAMES = {
    "blendedness": "blendedness",
    "separation": "distance of the nearest companion",
    "snr": "signal-to-noise ratio",
    "flux_ratio": "flux ratio of the pair",
    "angle": "angle",
    "magnitude": "magnitude",
}
_DROPPED = {"sextractor": "sextractor", "ours": "ours", "truth": "true_blends"}
"""Style of each treatment that drops objects."""

_DODGE = 0.13
"""Shift of neighbouring treatments, in units of the width of a bin."""


def detection_figure(table: Table, title: str) -> Figure:
    """Return completeness by four quantities, purity, and blends left and dropped, by SNR."""
    figure = new_figure(13, 7)
    axes = figure.subplots(2, 4)
    for axis, by in zip(axes[0], ("snr", "blendedness", "separation", "flux_ratio"), strict=True):
        draw(axis, table, "completeness", by, TREATMENTS, "completeness")
        axis.set_ylim(-0.03, 1.03)
    draw(axes[1, 0], table, "purity", "snr", TREATMENTS, "purity")
    draw(axes[1, 1], table, "unrecognised_left", "snr", TREATMENTS, "unrecognised blends among those left")
    draw(axes[1, 2], table, "blends_dropped", "snr", TREATMENTS[1:], "fraction of blends dropped")
    draw(axes[1, 3], table, "others_dropped", "snr", TREATMENTS[1:], "fraction of others dropped")
    return _finished(figure, axes, title)


def photometry_figure(table: Table, title: str) -> Figure:
    """Return errors of fluxes and positions by SNR, blendedness, separation and flux ratio."""
    figure = new_figure(13, 9)
    axes = figure.subplots(3, 4)
    shown = (
        ("flux_bias", "median of (f - true) / true"),
        ("flux_outliers", "fraction of flux outliers"),
        ("centroid_towards_companion", "shift towards companion, arcsec"),
    )
    for row, (name, label) in zip(axes, shown, strict=True):
        for axis, by in zip(row, ("snr", "blendedness", "separation", "flux_ratio"), strict=True):
            draw(axis, table, name, by, TREATMENTS, label)
            if name != "flux_outliers":
                axis.axhline(0.0, color="black", lw=0.6)
    return _finished(figure, axes, title)


def clustering_figure(table: Table, title: str) -> Figure:
    """Return number densities, and the angular correlation function."""
    figure = new_figure(11, 4.6)
    axes = figure.subplots(1, 2, width_ratios=(1, 2))
    names = (*TREATMENTS, "truth")
    rows = table[table["figure"] == "number_density"]
    for place, name in enumerate(names):
        row = rows[rows["treatment"] == name]
        _points(axes[0], np.array([float(place)]), row, name)
    axes[0].set_xticks(range(len(names)), ["all", "without\nSExtractor's", "without\nours", "true"])
    axes[0].set_ylabel("number per arcmin$^2$")
    draw(axes[1], table, "two_point", "angle", names, "w(angle), Landy & Szalay")
    axes[1].axhline(0.0, color="black", lw=0.6)
    return _finished(figure, axes, title)


def residual_figure(table: Table, title: str) -> Figure:
    """Return DIA sources per object by magnitude, and of dropped objects beside others as bright."""
    classes = [n for n in ("artefacts", "real", "sources") if f"{n}_per_object" in set(table["figure"])]
    figure = new_figure(5 * len(classes) + 1, 7)
    axes = figure.subplots(2, max(len(classes), 1), squeeze=False)
    for column, name in enumerate(classes):
        draw(
            axes[0, column],
            table,
            f"{name}_per_object",
            "magnitude",
            (*TREATMENTS, "truth"),
            f"{name} per object left",
            {"truth": "true_blends"},
        )
        _like_for_like(axes[1, column], table, name)
    if not classes:
        for axis in axes.flat:
            say_nothing_to_draw(axis, "no difference images")
    return _finished(figure, axes, title)


def shear_figure(table: Table, title: str) -> Figure:
    """Return m of both components, and the fraction of the scenes that is left, by four quantities."""
    figure = new_figure(13, 9)
    axes = figure.subplots(3, 4)
    shown = (("shear_m1", "m$_1$"), ("shear_m2", "m$_2$"), ("shear_left", "fraction left"))
    for row, (name, label) in zip(axes, shown, strict=True):
        for axis, by in zip(row, ("snr", "blendedness", "separation", "flux_ratio"), strict=True):
            draw(axis, table, name, by, TREATMENTS, label)
            if name != "shear_left":
                axis.axhline(0.0, color="black", lw=0.6)
                axis.set_ylim(-0.4, 0.2)
    return _finished(figure, axes, title)


def draw(
    axis: Axes,
    table: Table,
    figure: str,
    by: str,
    treatments: Sequence[str],
    label: str,
    styles: Mapping[str, str] | None = None,
) -> None:
    """Draw one figure in bins, a point with its 95 % interval for each treatment.

    Parameters
    ----------
    axis : `matplotlib.axes.Axes`
        Panel.
    table : `astropy.table.Table`
        ``blending_impact``.
    figure, by : `str`
        Which rows.
    treatments : `~collections.abc.Sequence` [`str`]
        In the order in which they stand beside one another.
    label : `str`
        Of the ordinate.
    styles : `~collections.abc.Mapping` [`str`, `str`], optional
        Other styles of treatments than those of their names.
    """
    chosen = table[(table["figure"] == figure) & (table["by"] == by)]
    axis.set_ylabel(label)
    axis.set_xlabel(f"{_NAMES[by]}, {UNITS[by]}" if by in UNITS else _NAMES[by])
    edges: list[float] = []
    for k, name in enumerate(treatments):
        rows = chosen[chosen["treatment"] == name]
        edges = [*rows["bin_low"].tolist(), *rows["bin_high"][-1:].tolist()]
        place = np.asarray(np.arange(len(rows)) + (k - 0.5 * (len(treatments) - 1)) * _DODGE, np.float64)
        _points(axis, place, rows, (styles or {}).get(name, name))
    axis.set_xticks(np.arange(len(edges)) - 0.5, [f"{edge:g}".replace("inf", "∞") for edge in edges])
    axis.tick_params(axis="x", labelsize=7)
    axis.set_xlim(-0.6, max(len(edges) - 1.4, 0.6))
    if not np.isfinite(np.asarray(chosen["value"], float)).any():
        say_nothing_to_draw(axis, "too few rows")


def _points(axis: Axes, place: F64, rows: Table, treatment: str) -> None:
    label, colour, marker = _STYLES[treatment]
    value, low, high = (np.asarray(rows[name], float) for name in ("value", "low", "high"))
    good = np.isfinite(value)
    bars = np.nan_to_num(np.abs(np.stack([value - low, high - value])[:, good]))
    axis.errorbar(
        place[good], value[good], bars, fmt=marker, color=colour, label=label, ms=4, lw=1.2, capsize=0
    )


def _like_for_like(axis: Axes, table: Table, name: str) -> None:
    """Draw the rate at dropped objects beside that of others of the same magnitudes."""
    ticks = []
    for k, (suffix, said) in enumerate((("", "dropped"), ("_expected", "others\nas bright"))):
        rows = table[(table["figure"] == f"{name}_per_dropped{suffix}") & (table["by"] == "")]
        for j, (treatment, style) in enumerate(_DROPPED.items()):
            _points(axis, np.array([2.0 * j + 0.8 * k]), rows[rows["treatment"] == treatment], style)
            ticks.append((2.0 * j + 0.8 * k, said))
    axis.set_xticks(*(list(part) for part in zip(*ticks, strict=True)))
    axis.set_xlim(-0.6, 5.4)
    axis.set_ylabel(f"{name} per object")


def _finished(figure: Figure, axes: NDArray[np.object_], title: str) -> Figure:
    figure.suptitle(title)
    legend_below(figure, list(np.ravel(axes)), 4)
    return figure
