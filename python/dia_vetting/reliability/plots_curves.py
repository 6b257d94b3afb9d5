"""Figures of an evaluation: confusion matrices, score histograms, ROC, precision-recall and SNR curves.

Made without pyplot, so that nothing is shared between figures or threads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from astropy.table import Table
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .evaluation_rows import usable
from .labels import State

__all__ = ["confusion_figure", "new_figure", "roc_pr_figure", "score_histogram_figure", "snr_figure"]

# Colours of Okabe & Ito (2008), told apart by people with any kind of colour vision.
BLUE, ORANGE, GREEN, PURPLE, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#666666"

STYLES = {
    "injected_vs_unlabelled": ("injected / unlabelled (labels)", BLUE, "-"),
    "real_vs_artefact": ("real / artefact (truth)", ORANGE, "--"),
    "transient_vs_artefact": ("transient / artefact (truth)", GREEN, "-."),
    "uninjected_real_vs_artefact": ("real, not injected / artefact (truth)", PURPLE, ":"),
}
"""Label, colour and line of each comparison."""

CLASSES = {
    "injected_vs_unlabelled": ("labels", "injected", "unlabelled"),
    "real_vs_artefact": ("truth", "real", "artefact"),
}
"""Where the classes of a confusion matrix come from, and what they are called."""

RATE_NAMES = {
    "precision": "purity",
    "sensitivity": "completeness",
    "specificity": "specificity",
    "npv": "NPV",
    "accuracy": "accuracy",
}


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure for the Agg canvas.

    Parameters
    ----------
    width, height : `float`
        Inches.

    Returns
    -------
    figure : `matplotlib.figure.Figure`
        With constrained layout.
    """
    figure = Figure(figsize=(width, height), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


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
            lines = [f"{text} {_interval(rates[rate])}" for rate, text in RATE_NAMES.items()]
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


def _interval(figure: Mapping[str, float]) -> str:
    if not np.isfinite(figure["value"]):
        return "undefined"
    return f"{figure['value']:.3f} ({figure['low']:.3f} to {figure['high']:.3f})"


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
        for (name, threshold), side in zip(thresholds.items(), ("right", "left"), strict=False):
            axis.axvline(threshold, color=GREY, linestyle=":", linewidth=1.2)
            axis.annotate(
                name,
                (threshold, 0.99),
                xycoords=("data", "axes fraction"),
                rotation=90,
                va="top",
                ha=side,  # the two thresholds may be all but equal
                fontsize=8,
                color=GREY,
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
        Two panels.
    """
    figure = new_figure(11, 5.6)
    roc, precision_recall = figure.subplots(1, 2)
    for comparison in metrics["comparisons"]:
        label, colour, line = STYLES[comparison]
        figures = metrics["comparisons"][comparison]["all"]
        for axis, curve, area in (
            (roc, "roc", "auc"),
            (precision_recall, "precision_recall", "average_precision"),
        ):
            mine = (curves["comparison"] == comparison) & (curves["subset"] == "all")
            kept = curves[mine & (curves["curve"] == curve)]
            text = f"{label}: {figures[area]['value']:.4f}"
            axis.plot(kept["x"], kept["y"], color=colour, linestyle=line, linewidth=1.8, label=text)
            axis.fill_between(kept["x"], kept["y_low"], kept["y_high"], color=colour, alpha=0.15, linewidth=0)
    roc.set(
        xscale="log",
        xlim=(1e-4, 1),
        ylim=(0, 1.01),
        xlabel="false-positive rate",
        ylabel="true-positive rate",
    )
    precision_recall.set(
        xlim=(0, 1), ylim=(0, 1.01), xlabel="completeness (recall)", ylabel="purity (precision)"
    )
    precision_recall.plot([0.9], [0.95], marker="*", markersize=12, color="black", linestyle="none")
    precision_recall.annotate(
        "OSS-REQ-0353", (0.9, 0.95), (-6, -12), textcoords="offset points", ha="right", fontsize=8
    )
    for axis, title in ((roc, "area under the curve"), (precision_recall, "average precision")):
        axis.legend(
            loc="upper center", bbox_to_anchor=(0.5, -0.13), fontsize=8, title=title, title_fontsize=8
        )
        axis.grid(alpha=0.25)
    return figure


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
    figure = new_figure(11, 4.8)
    names = (("completeness_snr", "completeness among detected sources"), ("purity_snr", "purity"))
    for axis, (curve, label) in zip(figure.subplots(1, 2), names, strict=True):
        for index, (comparison, (text, colour, _)) in enumerate(STYLES.items()):
            keep = (curves["comparison"] == comparison) & (curves["curve"] == curve)
            kept = curves[keep & np.isclose(curves["threshold"], threshold, rtol=0, atol=1e-9)]
            kept = kept[np.isfinite(kept["y"]) & (kept["n"] > 0)]
            if len(kept):
                _draw_bins(axis, kept, 1.0 + 0.018 * (index - 1.5), text, colour, "osD^"[index])
        axis.set(xscale="log", ylim=(-0.02, 1.02), xlabel="signal-to-noise ratio", ylabel=label)
        axis.set_xticks([5, 6, 8, 10, 15, 25, 50, 100], [5, 6, 8, 10, 15, 25, 50, 100])
        axis.minorticks_off()
        axis.grid(alpha=0.25)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=8)
    figure.suptitle(
        f"A score of {threshold:.3g} or more is called real; points at median SNR, bars 95 % intervals"
    )
    return figure


def _draw_bins(axis: Axes, kept: Table, shift: float, label: str, colour: str, marker: str) -> None:
    x, y = np.asarray(kept["x"]) * shift, np.asarray(kept["y"])
    bars = np.maximum([y - kept["y_low"], kept["y_high"] - y], 0)
    axis.errorbar(x, y, yerr=bars, fmt=marker, markersize=4.5, color=colour, elinewidth=1.1, label=label)
