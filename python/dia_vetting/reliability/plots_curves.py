"""Figures of an evaluation: confusion matrices, score histograms, ROC and precision-recall curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from astropy.table import Table
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .evaluation_rows import usable
from .labels import State
from .plots_style import BLUE, GREEN, GREY, ORANGE, STYLES, interval_text, new_figure

__all__ = ["confusion_figure", "roc_pr_figure", "score_histogram_figure"]

CLASSES = {
    "injected_vs_unlabelled": ("labels", "injected", "unlabelled"),
    "real_vs_artefact": ("truth", "real", "artefact"),
}
"""Where the classes of a confusion matrix come from, and what they are called."""

OSS_REQ_0353 = (0.90, 0.95)
"""Completeness and purity that are required at SNR >= 6."""

_SELECTIONS = {"all": "All sources", "snr6": "SNR ≥ 6"}
_STAR: dict[str, Any] = {
    "marker": "*",
    "markersize": 13,
    "linestyle": "none",
    "markerfacecolor": "black",
    "markeredgecolor": "white",
    "zorder": 5,
}

RATE_NAMES = {
    "precision": "purity",
    "sensitivity": "completeness",
    "specificity": "specificity",
    "npv": "NPV",
    "accuracy": "accuracy",
}


def confusion_figure(metrics: Mapping[str, Any]) -> Figure:
    """Draw the confusion matrices, by comparison (rows) and selection (columns), at the first threshold.

    Parameters
    ----------
    metrics : `~collections.abc.Mapping`
        From `~.evaluation.evaluate`.

    Returns
    -------
    figure : `matplotlib.figure.Figure`
        Cells give counts and the fraction of their row.
    """
    name, threshold = next(iter(metrics["thresholds"].items()))
    comparisons = [c for c in CLASSES if c in metrics["comparisons"]]
    selections = (("all", "all"), ("snr8", "SNR ≥ 8"))
    figure = new_figure(8.4, 0.5 + 4.0 * len(comparisons))
    axes = figure.subplots(len(comparisons), len(selections), squeeze=False)
    for row, comparison in zip(axes, comparisons, strict=True):
        source, *classes = CLASSES[comparison]
        for axis, (selection, title) in zip(row, selections, strict=True):
            rates = metrics["comparisons"][comparison][selection]["at_threshold"][name]
            _draw_confusion(axis, rates["confusion"], classes)
            lines = [f"{text} {interval_text(rates[rate])}" for rate, text in RATE_NAMES.items()]
            axis.set_title(f"By the {source}, {title}", fontsize=11)
            axis.set_xlabel("\n".join(lines), fontsize=9)
    figure.suptitle(f"A score of {threshold:.3g} or more is called real; percentages are of the row")
    return figure


def _draw_confusion(axis: Axes, cell: Mapping[str, int], classes: Sequence[str]) -> None:
    counts = np.array([[cell["tp"], cell["fn"]], [cell["fp"], cell["tn"]]], dtype=float)
    total = counts.sum(axis=1, keepdims=True)
    fraction = np.divide(counts, total, out=np.zeros_like(counts), where=total > 0)
    axis.imshow(fraction, vmin=0, vmax=1, cmap="Blues")
    for (i, j), count in np.ndenumerate(counts):
        share = f"{fraction[i, j]:.1%}" if total[i, 0] else "none"
        colour = "white" if fraction[i, j] > 0.6 else "black"
        axis.text(j, i, f"{count:.0f}\n{share}", ha="center", va="center", color=colour, fontsize=12)
    axis.set_xticks([0, 1], ["called real", "called bogus"])
    axis.set_yticks([0, 1], classes, rotation=90, va="center")
    axis.tick_params(length=0)


def score_histogram_figure(rows: Table, thresholds: Mapping[str, float]) -> Figure:
    """Draw the scores of injected and of unlabelled sources, on a linear and on a logarithmic axis.

    Parameters
    ----------
    rows : `astropy.table.Table`
        From `~.evaluation_rows.join_rows`; where it has a truth, the real ones among the unlabelled are
        drawn as well.
    thresholds : `~collections.abc.Mapping` [`str`, `float`]
        Drawn as vertical lines.

    Returns
    -------
    figure : `matplotlib.figure.Figure`
        Two panels.
    """
    kept = rows[usable(rows)]
    score, state = np.asarray(kept["reliability"], dtype=float), np.asarray(kept["state"])
    unlabelled = state == State.UNLABELLED
    sets = [
        ("unlabelled", score[unlabelled], {"color": ORANGE, "alpha": 0.35, "histtype": "stepfilled"}),
        ("injected", score[state == State.INJECTED], {"color": BLUE, "histtype": "step", "linewidth": 2}),
    ]
    if "truth_class" in kept.colnames:
        real = unlabelled & (np.asarray(kept["truth_class"]) != "artefact")
        style = {"color": GREEN, "histtype": "step", "linewidth": 1.6, "linestyle": "--"}
        sets.append(("unlabelled, not artefact (truth)", score[real], style))
    figure = new_figure(10, 4)
    for axis, scale in zip(figure.subplots(1, 2), ("linear", "log"), strict=True):
        for label, values, style in sets:
            axis.hist(values, bins=np.linspace(0, 1, 41), label=f"{label} ({len(values)})", **style)
        for index, (name, threshold) in enumerate(thresholds.items()):
            axis.axvline(threshold, color=GREY, linestyle=":", linewidth=1.2)
            axis.annotate(
                f" {name} ",
                (threshold, 0.98 - 0.055 * index),  # one below the other: thresholds may be all but equal
                xycoords=("data", "axes fraction"),
                va="top",
                ha="right" if threshold > 0.5 else "left",
                fontsize=8,
                bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0.5},
            )
        axis.set(yscale=scale, xlim=(0, 1), xlabel="reliability (out of fold)", ylabel="DIA sources per bin")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), fontsize=9)
    return figure


def roc_pr_figure(curves: Table, metrics: Mapping[str, Any]) -> Figure:
    """Draw ROC and precision-recall curves of all comparisons, with 95 % bands over sky groups.

    Parameters
    ----------
    curves : `astropy.table.Table`
        `RELIABILITY_CURVE`.
    metrics : `~collections.abc.Mapping`
        From `~.evaluation.evaluate`, for the areas in the legends.

    Returns
    -------
    figure : `matplotlib.figure.Figure`
        Two rows of two panels: all sources, and SNR >= 6, which OSS-REQ-0353 is about. Its point
        (completeness 0.90, purity 0.95) is a star; a purity is a point of a ROC curve only at the prevalence
        of a sample, so that every comparison has its own star there.
    """
    figure = new_figure(11, 11.4)
    for row, (subset, title) in zip(figure.subplots(2, 2), _SELECTIONS.items(), strict=True):
        for comparison in metrics["comparisons"]:
            figures = metrics["comparisons"][comparison][subset]
            _draw_curves(row, curves, comparison, subset, figures)
        _finish_roc(row[0], title)
        _finish_precision_recall(row[1], title)
        if subset != "all":
            _enlarge(row)
        for axis, area in zip(row, ("area under the curve", "average precision"), strict=True):
            axis.legend(
                loc="upper center", bbox_to_anchor=(0.5, -0.13), fontsize=8, title=area, title_fontsize=8
            )
            axis.grid(alpha=0.25)
    return figure


def _draw_curves(
    row: Sequence[Axes], curves: Table, comparison: str, subset: str, figures: Mapping[str, Any]
) -> None:
    label, colour, line = STYLES[comparison]
    mine = curves[(curves["comparison"] == comparison) & (curves["subset"] == subset)]
    names = (("roc", "auc"), ("precision_recall", "average_precision"))
    for axis, (curve, area) in zip(row, names, strict=True):
        kept = mine[mine["curve"] == curve]
        text = f"{label}: {figures[area]['value']:.4f}"
        axis.plot(kept["x"], kept["y"], color=colour, linestyle=line, linewidth=1.8, label=text)
        axis.fill_between(kept["x"], kept["y_low"], kept["y_high"], color=colour, alpha=0.15, linewidth=0)
    prevalence = figures["prevalence"]
    if 0 < prevalence < 1:
        completeness, purity = OSS_REQ_0353
        fpr = completeness * prevalence / (1 - prevalence) * (1 - purity) / purity
        row[0].plot([fpr], [completeness], **_STAR | {"markerfacecolor": colour})


def _enlarge(row: Sequence[Axes]) -> None:
    """Show the upper part of both panels, as far down as the curves are of interest."""
    for axis, where in zip(row, (0.01, OSS_REQ_0353[0]), strict=True):
        drawn = [np.asarray(line.get_data(), np.float64) for line in axis.lines]
        heights = [float(np.interp(where, *data)) for data in drawn if data.shape[1] > 1]
        lowest = min([0.7, *(height for height in heights if np.isfinite(height))])
        axis.set_ylim(max(np.floor(10 * lowest - 1) / 10, 0.0), 1.005)
    row[1].set_xlim(0.6, 1.0)


def _finish_roc(axis: Axes, title: str) -> None:
    axis.set(
        xscale="log",
        xlim=(1e-4, 1),
        ylim=(0, 1.01),
        xlabel="false-positive rate",
        ylabel="true-positive rate (completeness)",
        title=f"{title}; stars: OSS-REQ-0353 at each prevalence",
    )


def _finish_precision_recall(axis: Axes, title: str) -> None:
    axis.set(xlim=(0, 1), ylim=(0, 1.01), xlabel="completeness (recall)", ylabel="purity (precision)")
    axis.set_title(f"{title}; star: OSS-REQ-0353")
    axis.plot(*([value] for value in OSS_REQ_0353), **_STAR)
