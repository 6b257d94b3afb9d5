"""Pictures of injected light curves and of how well they are measured."""

from __future__ import annotations

__all__ = ["plot_light_curve_fits", "plot_light_curves"]

from typing import TYPE_CHECKING

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from .light_curve_recovery import ALL_BANDS
from .light_curves.base import EFFECTIVE_WAVELENGTH

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLORS = {"u": "#0c71ff", "g": "#2f9e4f", "r": "#c61c00", "i": "#d99a00", "z": "#c23a8a", "y": "#5d0000"}
_MARKERS = {"u": "v", "g": "o", "r": "s", "i": "D", "z": "^", "y": "P"}
_EACH = 6


def _whole(fits: Table, least: int) -> Table:
    rows = fits[
        (np.asarray(fits["band"]).astype(str) == ALL_BANDS) & (np.asarray(fits["n_detections"]) >= least)
    ]
    return rows[np.argsort(np.asarray(rows["chi2"], float) / np.asarray(rows["n_points"], float))]


def _bands(table: Table) -> list[str]:
    names = set(np.asarray(table["band"]).astype(str).tolist()) - {ALL_BANDS}
    return sorted(names, key=EFFECTIVE_WAVELENGTH.__getitem__)


def plot_light_curves(points: Table, fits: Table, min_detections: int) -> Figure:
    """Draw the light curves that agree best and worst with what was injected.

    Parameters
    ----------
    points : `astropy.table.Table`
        In `~dia_vetting.injection.schemas.INJECTION_LIGHT_CURVE`.
    fits : `astropy.table.Table`
        In `~dia_vetting.injection.schemas.INJECTION_LIGHT_CURVE_FIT`.
    min_detections : `int`
        Others have fewer DIA sources and are not drawn.

    Returns
    -------
    figure : `matplotlib.figure.Figure`
        Two rows of six: the least chi2 per point, and the largest, the worst first.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(16.0, 6.4), layout="constrained")
    panels = figure.subplots(2, _EACH, sharex=True)
    order = _whole(fits, min_detections)
    for axes_row, rows, title in (
        (panels[0], order[:_EACH], "best"),
        (panels[1], order[::-1][:_EACH], "worst"),
    ):
        for axes in axes_row[len(rows) :]:
            axes.set_axis_off()
        for axes, fit in zip(axes_row, rows):
            _draw(axes, points[np.asarray(points["injection_id"]) == fit["injection_id"]])
            axes.set_title(
                f"{title}: chi2 {fit['chi2']:.1f} / {fit['n_points']}\n{fit['injection_id']}", fontsize=9
            )
    for axes in panels[:, 0]:
        axes.set_ylabel("flux in the difference [µJy]")
    for axes in panels[1]:
        axes.set_xlabel("MJD (TAI) [d]")
    if len(order):
        panels[0, 0].legend(frameon=False, fontsize=8)
    figure.suptitle("Measured light curves (points; filled where detected) and injected ones (lines)")
    return figure


def _draw(axes: Axes, points: Table) -> None:
    for band in _bands(points):
        rows = points[np.asarray(points["band"]).astype(str) == band]
        time = np.asarray(rows["midpointMjdTai"], float)
        axes.plot(time, np.asarray(rows["flux"], float) / 1e3, "-", color=_COLORS[band], lw=1, alpha=0.7)
        used, detected = (np.asarray(rows[name], bool) for name in ("used", "detected"))
        for chosen, fill in ((used & detected, _COLORS[band]), (used & ~detected, "white")):
            axes.errorbar(
                time[chosen],
                np.asarray(rows["psfDiffFlux"], float)[chosen] / 1e3,
                yerr=np.asarray(rows["psfDiffFluxErr"], float)[chosen] / 1e3,
                fmt=_MARKERS[band],
                ms=4,
                mfc=fill,
                color=_COLORS[band],
                lw=0.8,
                label=band if fill != "white" else None,
            )
    axes.axhline(0.0, color="0.7", lw=0.8, zorder=0)


def plot_light_curve_fits(fits: Table, min_detections: int) -> Figure:
    """Draw chi2 per point, and the amplitudes against the signal-to-noise ratio of the light curves.

    Parameters
    ----------
    fits : `astropy.table.Table`
        In `~dia_vetting.injection.schemas.INJECTION_LIGHT_CURVE_FIT`.
    min_detections : `int`
        Others have fewer DIA sources and are not drawn.

    Returns
    -------
    figure : `matplotlib.figure.Figure`
        Three panels.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14.0, 4.2), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    whole = _whole(fits, min_detections)
    _draw_chi2(left, whole)
    rows = fits[np.isin(fits["injection_id"], whole["injection_id"])]
    rows = rows[np.isfinite(np.asarray(rows["amplitude"], float))]
    names = np.asarray(rows["band"]).astype(str)
    for band in _bands(rows):
        mine = rows[names == band]
        offset = np.asarray(mine["amplitude"], float) - 1.0
        style = {"marker": _MARKERS[band], "ls": "", "ms": 3, "color": _COLORS[band], "label": band}
        middle.plot(mine["snr"], 100.0 * offset, **style)
        pull = np.clip(offset / np.asarray(mine["amplitude_err"], float), -6, 6)
        right.hist(
            pull, list(np.linspace(-6, 6, 41)), histtype="step", density=True, color=_COLORS[band], label=band
        )
    middle.set(xscale="log", ylim=(-20, 20), xlabel="SNR of the light curve", ylabel="amplitude bias [%]")
    grid = np.linspace(-6, 6, 200)
    right.plot(grid, np.exp(-0.5 * grid**2) / np.sqrt(2 * np.pi), color="k", lw=1, label="normal")
    right.set(xlabel="(amplitude - 1) / error", ylabel="density", title="Pulls of the amplitude")
    middle.axhline(0, color="k", lw=0.8)
    middle.set_title("Measured over injected light curve")
    if len(rows):
        middle.legend(frameon=False)
        right.legend(frameon=False)
    return figure


def _draw_chi2(axes: Axes, whole: Table) -> None:
    """Draw chi2 per point and of the fits, beside what normal errors give of as many points."""
    from scipy.stats import chi2

    points: NDArray[np.float64] = np.asarray(whole["n_points"], float)
    ratio = np.clip(np.asarray(whole["chi2"], float) / np.maximum(points, 1.0), 0.0, 4.0)
    edges = np.linspace(0.0, 4.0, 41)
    axes.hist(ratio, edges.tolist(), color="0.75", label=f"{len(whole)} transients, all points")
    degrees = np.asarray(whole["n_degrees"], float)
    shape = np.clip(np.asarray(whole["chi2_shape"], float) / np.maximum(degrees, 1.0), 0.0, 4.0)[degrees > 0]
    axes.hist(shape, edges.tolist(), histtype="step", color="#33658a", label="fit, per degree of freedom")
    if len(whole):
        expected = np.diff(chi2.cdf(edges[:, None] * points[None, :], points[None, :]).sum(axis=1))
        axes.stairs(expected, edges, color="k", label="normal errors")
    axes.set(
        xlabel="chi2 per point (4: and above)", ylabel="transients", title="About the injected light curve"
    )
    axes.legend(frameon=False)
