"""A figure of completeness and false-positive rate by part of the sample, and of pairs of parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .plots_intervals import Interval, draw_intervals
from .plots_style import STYLES, legend_below, new_figure

__all__ = ["subset_figure"]

_NAMES = {
    "all": "all",
    "snr_5_to_6": "5 ≤ SNR < 6",
    "snr_6_to_8": "6 ≤ SNR < 8",
    "snr_8_to_15": "8 ≤ SNR < 15",
    "snr_above_15": "SNR ≥ 15",
    "positive_flux": "positive flux",
    "negative_flux": "negative flux",
    "whole_stamp": "all pixels valid",
    "invalid_pixels": "invalid pixels",
    "appearing": "appearing",
    "varying": "varying",
}
_RATES = {"sensitivity": "completeness", "false_positive_rate": "false-positive rate"}
_SHOWN = ("injected_vs_unlabelled", "real_vs_artefact", "transient_vs_artefact")


def subset_figure(metrics: Mapping[str, Any]) -> Figure:
    """Draw completeness and false-positive rate of each subset, and how pairs of subsets differ.

    Parameters
    ----------
    metrics : `~collections.abc.Mapping`
        From `~.evaluation.evaluate`.

    Returns
    -------
    figure : `matplotlib.figure.Figure`
        Three panels, at the first threshold. Differences are those between sources alike in SNR; the shaded
        band is 2 points.
    """
    threshold, score = next(iter(metrics["thresholds"].items()))
    shown = {name: metrics["comparisons"][name] for name in _SHOWN if name in metrics["comparisons"]}
    figure = new_figure(14, 6.0)
    axes = list(figure.subplots(1, 3, width_ratios=(1, 1, 0.9)))
    first = next(iter(shown.values()))
    numbers = {"all": first["all"], **first["subsets"]}
    names = [f"{text} ({numbers[name]['n_positive']:,})" for name, text in _NAMES.items()]
    for axis, (rate, label) in zip(axes, _RATES.items(), strict=False):
        series = {
            STYLES[name][0]: (STYLES[name][1], _by_subset(figures, threshold, rate))
            for name, figures in shown.items()
        }
        draw_intervals(axis, names, series, log=rate == "false_positive_rate")
        axis.set_xlabel(label)
    axes[1].tick_params(labelleft=False)
    _draw_pairs(axes[2], shown, threshold)
    legend_below(figure, axes, 3)
    figure.suptitle(
        f"A score of {score:.3g} or more is called real; bars 95 % intervals; in brackets, injected sources"
    )
    return figure


def _by_subset(figures: Mapping[str, Any], threshold: str, rate: str) -> list[Interval]:
    parts = {"all": figures["all"], **figures["subsets"]}
    return [parts[name]["at_threshold"][threshold].get(rate) for name in _NAMES]


def _draw_pairs(axis: Axes, shown: Mapping[str, Any], threshold: str) -> None:
    pairs = next(iter(shown.values()))["pairs"]
    names = [f"{_NAMES[part]}\nminus {_NAMES[pair['compared_with']]}" for part, pair in pairs.items()]
    series = {
        STYLES[name][0]: (
            STYLES[name][1],
            [
                pair[threshold]["completeness"]["difference_alike_in_snr"]
                for pair in figures["pairs"].values()
            ],
        )
        for name, figures in shown.items()
    }
    axis.axvspan(-0.02, 0.02, color="0.92", zorder=0)
    axis.axvline(0, color="0.5", linewidth=0.8)
    draw_intervals(axis, names, series)
    axis.set_xlabel("difference in completeness, alike in SNR")
