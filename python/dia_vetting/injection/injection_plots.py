"""Pictures of an injection campaign."""

from __future__ import annotations

__all__ = ["plot_completeness", "plot_offsets", "plot_photometry", "rows_of_curve"]

from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from .injection_curve import SAMPLES, measured

if TYPE_CHECKING:
    from matplotlib.figure import Figure

type F64 = NDArray[np.float64]

_COLORS = {"all": "#33658a", "blank": "#f26419"}


def rows_of_curve(curve: Table, sample: str, variable: str, band: str = "all") -> Table:
    """Return the bins of one line of `~dia_vetting.injection.schemas.INJECTION_CURVE` that are not empty."""
    keep = np.asarray(curve["n_injected"]) > 0
    for name, value in (("sample", sample), ("variable", variable), ("band", band)):
        keep &= np.asarray(curve[name]).astype(str) == value
    return curve[keep]


def plot_completeness(curve: Table, metrics: dict[str, Any]) -> Figure:
    """Draw the recovered fraction against expected signal-to-noise ratio.

    Parameters
    ----------
    curve : `astropy.table.Table`
        From `~dia_vetting.injection.injection_curve.injection_curve`.
    metrics : `dict`
        From `~dia_vetting.injection.injection_metrics.injection_metrics`.

    Returns
    -------
    figure : `matplotlib.figure.Figure`
        With 95 % intervals, and a line where half is recovered.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.0, 4.2), layout="constrained")
    axes = figure.add_subplot()
    for sample in SAMPLES:
        rows = rows_of_curve(curve, sample, "snr")
        half = metrics[sample]["snr50"]["value"]
        label = f"{sample} ({metrics[sample]['n']})" + (f", 50 % at SNR {half:.2f}" if half else "")
        value = np.asarray(rows["completeness"])
        ends = np.abs(np.stack([rows["completeness_low"], rows["completeness_high"]]) - value)
        axes.errorbar(rows["median"], value, yerr=ends, fmt="o-", ms=4, color=_COLORS[sample], label=label)
        if half:
            axes.axvline(half, color=_COLORS[sample], ls=":", lw=1)
    axes.axhline(0.5, color="0.7", lw=0.8)
    axes.set(xscale="log", xlabel="expected signal-to-noise ratio", ylabel="recovered fraction")
    axes.set_title("Recovered injections")
    if len(curve):
        axes.legend(frameon=False)
    return figure


def plot_photometry(outcomes: Table, curve: Table) -> Figure:
    """Draw flux bias against expected signal-to-noise ratio, and the pulls.

    Parameters
    ----------
    outcomes : `astropy.table.Table`
        In `~dia_vetting.injection.schemas.INJECTION_OUTCOME`.
    curve : `astropy.table.Table`
        From `~dia_vetting.injection.injection_curve.injection_curve`.

    Returns
    -------
    figure : `matplotlib.figure.Figure`
        Two panels; the pulls beside a Gaussian of unit width.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.0, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    found = outcomes[np.asarray(outcomes["recovered"], bool)]
    sample = measured(outcomes)
    ratio = sample.flux / sample.truth - 1.0
    left.plot(found["expected_snr"], 100 * ratio, ".", ms=2, color="0.75", zorder=0)
    for name in SAMPLES:
        rows = rows_of_curve(curve, name, "snr")
        value = np.asarray(rows["flux_bias"])
        ends = np.abs(np.stack([rows["flux_bias_low"], rows["flux_bias_high"]]) - value)
        left.errorbar(
            rows["median"], 100 * value, yerr=100 * ends, fmt="o", ms=4, color=_COLORS[name], label=name
        )
    left.axhline(0, color="k", lw=0.8)
    left.set(xscale="log", ylim=(-12, 12), xlabel="expected signal-to-noise ratio", ylabel="flux bias [%]")
    left.legend(frameon=False)
    pull = (sample.flux - sample.truth) / sample.error
    right.hist(np.clip(pull, -6, 6), np.linspace(-6, 6, 61), density=True, color="0.75")
    grid = np.linspace(-6, 6, 200)
    right.plot(grid, np.exp(-0.5 * grid**2) / np.sqrt(2 * np.pi), color="k", lw=1)
    width = f"mean {pull.mean():+.3f}, standard deviation {pull.std():.3f}" if len(pull) else "none recovered"
    right.set(xlabel="(psfFlux - injected) / psfFluxErr", title=f"Pulls: {width}")
    return figure


def plot_offsets(outcomes: Table) -> Figure:
    """Draw measured minus injected positions, and their size against signal-to-noise ratio.

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

    figure = Figure(figsize=(9.0, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    found = outcomes[np.asarray(outcomes["recovered"], bool)]
    east, north = np.asarray(found["offset_east"], float), np.asarray(found["offset_north"], float)
    left.plot(east, north, ".", ms=2, color=_COLORS["all"])
    left.axhline(0, color="k", lw=0.8)
    left.axvline(0, color="k", lw=0.8)
    left.set(xlabel="east [arcsec]", ylabel="north [arcsec]", title="Measured minus injected position")
    left.set_aspect("equal", "datalim")
    distance = np.hypot(east, north)
    right.loglog(found["expected_snr"], np.maximum(distance, 1e-4), ".", ms=2, color=_COLORS["all"])
    middle = f"median {np.median(distance):.4f} arcsec" if len(distance) else "none recovered"
    right.set(xlabel="expected signal-to-noise ratio", ylabel="distance [arcsec]", title=middle)
    return figure
