"""A figure of what the labels say, what is left once it is corrected, and the truth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from .plots_intervals import Interval, draw_intervals
from .plots_style import BLUE, GREEN, ORANGE, legend_below, new_figure, say_nothing_to_draw

__all__ = ["contamination_figure"]

_PARTS = {
    "all": "all",
    "snr6": "SNR ≥ 6",
    "snr_5_to_6": "5 ≤ SNR < 6",
    "snr_6_to_8": "6 ≤ SNR < 8",
    "snr_8_to_15": "8 ≤ SNR < 15",
    "snr_above_15": "SNR ≥ 15",
    "positive_flux": "positive flux",
    "negative_flux": "negative flux",
}
_COLUMNS = {
    "labels": ("labels only", BLUE),
    "corrected": ("corrected, from the labels", ORANGE),
    "truth": ("truth", GREEN),
}
_PANELS = {
    "prior": "real fraction of the unlabelled",
    "false_positive_rate": "false-positive rate",
    "purity": "purity of all that are called",
    "purity_of_unlabelled": "purity of the unlabelled that are called",
}


def contamination_figure(metrics: Mapping[str, Any]) -> Figure:
    """Draw prior, false-positive rate and purities by the labels, corrected, and by the truth.

    Parameters
    ----------
    metrics : `~collections.abc.Mapping`
        From `~.evaluation.evaluate`.

    Returns
    -------
    figure : `matplotlib.figure.Figure`
        Four panels, at the first threshold.
    """
    threshold, score = next(iter(metrics["thresholds"].items()))
    figure = new_figure(15, 5.4)
    axes = list(figure.subplots(1, len(_PANELS), sharey=True))
    parts = {name: metrics["contamination"][name] for name in _PARTS}
    names = [f"{text} ({parts[name]['n_unlabelled']:,})" for name, text in _PARTS.items()]
    for axis, (panel, label) in zip(axes, _PANELS.items(), strict=True):
        series = {
            text: (colour, [_figure(part, panel, column, threshold) for part in parts.values()])
            for column, (text, colour) in _COLUMNS.items()
        }
        draw_intervals(axis, names, series, log=panel == "false_positive_rate")
        axis.set_xlabel(label)
        if not any(figure for _, figures in series.values() for figure in figures):
            say_nothing_to_draw(axis, "too few sources")
    legend_below(figure, [*axes[1:], axes[0]], 3)
    figure.suptitle(
        f"A score of {score:.3g} or more is called real; bars 95 % intervals; in brackets, unlabelled sources"
    )
    return figure


def _figure(part: Mapping[str, Any], panel: str, column: str, threshold: str) -> Interval:
    if "prior" not in part:
        return None
    if panel == "prior":
        found: Interval = part["prior"].get({"corrected": "estimated"}.get(column, column))
    else:
        found = part["at_threshold"][threshold][panel].get(column)
    return found
