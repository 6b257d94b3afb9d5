"""Pictures of the detection efficiency: against magnitude, and against the light of the host."""

from __future__ import annotations

__all__ = ["plot_efficiency", "plot_hosts"]

import itertools
from typing import TYPE_CHECKING

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from .efficiency import Injections, MagnitudeModel
from .efficiency_fits import Fitted
from .injection_curve import EDGES, PHOTOMETRY_SNR
from .injection_plots import rows_of_curve
from .product_model import ProductModel
from .recovery import completeness

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

type F64 = NDArray[np.float64]

_SNR_BINS = ((4.0, 6.0), (6.0, 10.0), (10.0, 30.0))
_MARKERS = ("o", "s", "^")
_COLORS = ("#33658a", "#f26419", "#2f7d4f", "#8a3366", "#b58900", "#444444")
_LABELS = {
    "host_surface_brightness": "surface brightness of the host there [mag / arcsec$^2$]",
    "separation": "separation from the host's centre [arcsec]",
}
_TICKS = (0.0, 0.25, 0.5, 1.0, 2.0, 5.0)
_LEAST = 10
"""Injections below which a bin is not drawn."""


def plot_efficiency(curve: Table, fitted: Fitted[MagnitudeModel] | None) -> Figure:
    """Draw the recovered fraction against magnitude for each band, with the fits.

    Parameters
    ----------
    curve : `astropy.table.Table`
        In `~dia_vetting.injection.schemas.INJECTION_CURVE`.
    fitted : `~dia_vetting.injection.efficiency_fits.Fitted` or `None`
        The logistic forms of all injections.

    Returns
    -------
    figure : `matplotlib.figure.Figure`
        Points with Wilson's intervals, lines with 95 % bands of the bootstrap over sky cells.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, 4.6), layout="constrained")
    axes = figure.add_subplot()
    bands = sorted(set(np.asarray(curve["band"]).astype(str)) - {"all"}, key="ugrizy".find)
    shown = []
    for band, color in zip(bands, itertools.cycle(_COLORS), strict=False):
        rows = _filled(rows_of_curve(curve, "all", "mag", band), "n_injected")
        value = np.asarray(rows["completeness"])
        ends = np.abs(np.stack([rows["completeness_low"], rows["completeness_high"]]) - value)
        axes.errorbar(rows["median"], value, yerr=ends, fmt="o", ms=4, lw=1, color=color)
        shown.extend(np.asarray(rows["median"]).tolist())
        axes.plot([], [], "o-", ms=4, color=color, label=_fit_label(band, fitted))
    if fitted is not None and shown:
        grid = np.linspace(min(shown), max(shown), 200)
        for band, color in zip(bands, itertools.cycle(_COLORS), strict=False):
            _draw_fit(axes, grid, band, fitted, color)
    axes.axhline(0.5, color="0.8", lw=0.8, zorder=0)
    axes.set(xlabel="AB magnitude of the injected flux", ylabel="recovered fraction", ylim=(-0.03, 1.03))
    axes.set_title("Detection efficiency, all injections")
    axes.legend(frameon=False, loc="lower left")
    return figure


def _fit_label(band: str, fitted: Fitted[MagnitudeModel] | None) -> str:
    if fitted is None or band not in fitted.model.bands:
        return f"{band} (no fit)"
    low, high = fitted.interval((band, "m50"))
    return f"{band}: m50 = {fitted.model.bands[band].m50:.2f} [{low:.2f}, {high:.2f}]"


def _draw_fit(axes: Axes, grid: F64, band: str, fitted: Fitted[MagnitudeModel], color: str) -> None:
    if band not in fitted.model.bands:
        return
    lines = [model.bands[band](grid) for model in fitted.replicates if band in model.bands]
    if lines:
        axes.fill_between(grid, *np.quantile(lines, [0.025, 0.975], axis=0), color=color, alpha=0.25, lw=0)
    axes.plot(grid, fitted.model.bands[band](grid), color=color, lw=1.2)


def plot_hosts(outcomes: Table, curve: Table, fitted: Fitted[ProductModel] | None) -> Figure:
    """Draw completeness, flux bias and pull width against the host's light there and the separation.

    Parameters
    ----------
    outcomes : `astropy.table.Table`
        In `~dia_vetting.injection.schemas.INJECTION_OUTCOME`.
    curve : `astropy.table.Table`
        In `~dia_vetting.injection.schemas.INJECTION_CURVE`.
    fitted : `~dia_vetting.injection.efficiency_fits.Fitted` or `None`
        The product model of all injections: dashed lines, its mean over the injections of each bin.

    Returns
    -------
    figure : `matplotlib.figure.Figure`
        A row of three panels for each of the two quantities.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13.0, 7.6), layout="constrained")
    grid = figure.subplots(2, 3)
    injections = Injections.of(outcomes)
    for variable, (left, middle, right) in zip(_LABELS, grid, strict=True):
        _draw_completeness(left, injections, variable, fitted)
        rows = _filled(rows_of_curve(curve, "all", variable), "n_measured")
        _draw_bias(middle, rows)
        _draw_pulls(right, rows)
        for axes in (left, middle, right):
            axes.set_xlabel(_LABELS[variable])
            if variable == "separation":
                axes.set_xscale("symlog", linthresh=0.5, linscale=1.0)
                axes.set_xlim(left=0.0)
                axes.set_xticks(_TICKS, [f"{tick:g}" for tick in _TICKS])
                axes.minorticks_off()
    return figure


def _draw_completeness(
    axes: Axes, injections: Injections, variable: str, fitted: Fitted[ProductModel] | None
) -> None:
    values = getattr(injections, variable)
    model = np.full(len(injections), np.nan) if fitted is None else fitted.model(injections)
    for (low, high), color in zip(_SNR_BINS, _COLORS, strict=False):
        inside = np.isfinite(values) & (injections.snr >= low) & (injections.snr < high)
        points = []
        for first, last in itertools.pairwise(EDGES[variable]):
            mine = inside & (values >= first) & (values < last)
            if mine.sum() >= _LEAST:
                found = completeness(injections.recovered[mine])
                points.append([np.median(values[mine]), *found.summary().values(), model[mine].mean()])
        if points:
            x, value, bottom, top, predicted = np.array(points).T
            ends = np.abs(np.stack([bottom, top]) - value)
            axes.errorbar(x, value, yerr=ends, fmt="o", ms=4, color=color, label=f"{low:.0f} to {high:.0f}")
            axes.plot(x, predicted, "--", lw=1, color=color)
    axes.set(ylabel="recovered fraction", ylim=(-0.03, 1.2))
    axes.set_title("Completeness by SNR (dashed: product model)", fontsize=11)
    _legend(axes)


def _filled(rows: Table, count: str) -> Table:
    return rows[np.asarray(rows[count]) >= _LEAST]


def _draw_bias(axes: Axes, rows: Table) -> None:
    value = 100.0 * np.asarray(rows["flux_bias"])
    ends = np.abs(100.0 * np.stack([rows["flux_bias_low"], rows["flux_bias_high"]]) - value)
    axes.errorbar(rows["median"], value, yerr=ends, fmt="o", ms=4, color=_COLORS[0])
    axes.axhline(0, color="k", lw=0.8)
    axes.set_ylabel("flux bias [%]")
    axes.set_title(f"Weighted flux bias, expected SNR >= {PHOTOMETRY_SNR:.0f}", fontsize=11)


def _draw_pulls(axes: Axes, rows: Table) -> None:
    labels = {"pull_std": "std", "pull_static": "std with staticFluxErr", "pull_width": "robust"}
    for k, (name, label) in enumerate(labels.items()):
        value = np.asarray(rows[name])
        if np.isfinite(value).any():
            ends = np.abs(np.stack([rows[f"{name}_low"], rows[f"{name}_high"]]) - value)
            axes.errorbar(
                rows["median"], value, yerr=ends, fmt=_MARKERS[k], ms=4, color=_COLORS[k], label=label
            )
    axes.axhline(1, color="k", lw=0.8)
    axes.set_ylabel("width of (psfFlux - flux) / psfFluxErr")
    axes.set_title(f"Pulls, expected SNR >= {PHOTOMETRY_SNR:.0f}", fontsize=11)
    axes.set_ylim(0.0, 1.15 * axes.get_ylim()[1])
    _legend(axes)


def _legend(axes: Axes) -> None:
    if axes.get_legend_handles_labels()[0]:
        axes.legend(
            frameon=False, loc="upper center", ncols=3, fontsize=9, columnspacing=1.0, handletextpad=0.2
        )
