"""The reliability diagram: observed against predicted probability."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from astropy.table import Table
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .plots_style import (
    BLUE,
    CYAN,
    GREEN,
    MARKERS,
    ORANGE,
    PURPLE,
    STYLES,
    new_figure,
    say_nothing_to_draw,
)

__all__ = ["calibration_figure"]

_SNR = {
    "snr_5_to_6": ("5 ≤ SNR < 6", PURPLE),
    "snr_6_to_8": ("6 ≤ SNR < 8", ORANGE),
    "snr_8_to_15": ("8 ≤ SNR < 15", GREEN),
    "snr_above_15": ("SNR ≥ 15", BLUE),
}
_SIGN = {"positive_flux": ("positive flux", ORANGE), "negative_flux": ("negative flux", CYAN)}

type _Series = Sequence[tuple[str, str, str, str]]
"""Comparison, subset, label and colour."""


def calibration_figure(curves: Table, metrics: Mapping[str, Any]) -> Figure:
    """Draw observed against predicted fractions: all comparisons, then by SNR and by sign of the flux.

    Parameters
    ----------
    curves : `astropy.table.Table`
        `RELIABILITY_CURVE`.
    metrics : `~collections.abc.Mapping`
        From `~.evaluation.evaluate`, for the errors in the legends.

    Returns
    -------
    figure : `matplotlib.figure.Figure`
        Three panels, with the numbers of sources under each. The last two are of the truth where there is
        one. Both axes are at the prevalence of the sample.
    """
    figure = new_figure(14, 7.2)
    axes = figure.subplots(2, 3, sharex=True, sharey="row", height_ratios=(3, 1))
    comparisons = metrics["comparisons"]
    one = "real_vs_artefact" if "real_vs_artefact" in comparisons else "injected_vs_unlabelled"
    every = [(name, "all", STYLES[name][0], STYLES[name][1]) for name in comparisons]
    by_snr = [(one, subset, *style) for subset, style in _SNR.items()]
    by_sign = [(one, subset, *style) for subset, style in _SIGN.items()]
    about = STYLES[one][0]
    for column, series, title in zip(
        axes.T,
        (every, by_snr, by_sign),
        ("All sources", f"By SNR: {about}", f"By sign: {about}"),
        strict=True,
    ):
        _draw(column, series, curves, comparisons)
        column[0].set_title(title, fontsize=11)
        column[1].set(xlabel="predicted probability", yscale="log")
    axes[0, 0].set_ylabel("observed fraction")
    axes[1, 0].set_ylabel("sources")
    figure.suptitle("Prediction and sample, both at the prevalence of the sample; bars 95 % intervals")
    return figure


def _draw(column: Sequence[Axes], series: _Series, curves: Table, comparisons: Mapping[str, Any]) -> None:
    diagram, numbers = column
    diagram.plot([0, 1], [0, 1], color="0.6", linewidth=1)
    diagram.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    numbers.grid(alpha=0.25)
    diagram.grid(alpha=0.25)
    drawn = False
    for index, (comparison, subset, label, colour) in enumerate(series):
        mine = (curves["curve"] == "calibration") & (curves["comparison"] == comparison)
        kept = curves[mine & (curves["subset"] == subset)]
        kept = kept[np.asarray(kept["n"]) > 0]
        if not len(kept):
            continue
        drawn = True
        error = comparisons[comparison]["calibration"][subset]["expected_calibration_error"]["value"]
        x, y = np.asarray(kept["x"], float), np.asarray(kept["y"], float)
        style: dict[str, Any] = {"color": colour, "marker": MARKERS[index % len(MARKERS)], "markersize": 4.5}
        bars = np.maximum([y - kept["y_low"], kept["y_high"] - y], 0)
        diagram.errorbar(
            x, y, yerr=bars, elinewidth=1.1, linewidth=1, label=f"{label}: ECE {error:.4f}", **style
        )
        numbers.plot(x, kept["n"], linewidth=1, **style)
    if drawn:
        handles, labels = diagram.get_legend_handles_labels()
        numbers.legend(handles, labels, loc="upper center", bbox_to_anchor=(0.5, -0.38), fontsize=8)
    else:
        say_nothing_to_draw(diagram, "at which prevalence the scores\nare probabilities is not known")
