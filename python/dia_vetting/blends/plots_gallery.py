"""A figure of the stamps about which a method is most sure and wrong."""

from __future__ import annotations

__all__ = ["gallery_figure", "worst_mistakes"]

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ..reliability.plots_style import CYAN, ORANGE, new_figure, say_nothing_to_draw
from .evaluation import EvaluationRows
from .prediction import BlendPrediction
from .stamps import BlendStamps, BlendTruth

_SHOWN = 16
_COLUMNS = 8
_HEADINGS = {"missed": "called no blend, but are one", "false": "called a blend, but are none"}


def worst_mistakes(
    rows: EvaluationRows, prediction: BlendPrediction, count: int = _SHOWN
) -> dict[str, NDArray[np.int64]]:
    """Return the rows with the largest errors of the probability.

    Parameters
    ----------
    rows : `~.evaluation.EvaluationRows`
        N rows.
    prediction : `~.prediction.BlendPrediction`
        Of the same stamps.
    count : `int`, optional
        Of each sort, at most.

    Returns
    -------
    mistakes : `dict`
        Row numbers of ``missed``, the least probable that are what is asked for, and ``false``, the most
        probable that are not, the worst first; only those on the wrong side of 0.5.
    """
    score, positive = rows.score(prediction), rows.positive
    order = np.argsort(score, kind="stable")
    missed = [row for row in order if positive[row] and score[row] <= 0.5]
    false = [row for row in order[::-1] if not positive[row] and score[row] > 0.5]
    return {"missed": np.array(missed[:count], np.int64), "false": np.array(false[:count], np.int64)}


def gallery_figure(
    stamps: BlendStamps,
    truth: BlendTruth,
    score: NDArray[np.float64],
    mistakes: Mapping[str, NDArray[np.int64]],
    title: str,
) -> Figure:
    """Draw mistakes, missed ones above false ones.

    Parameters
    ----------
    stamps, truth
        N rows.
    score : `numpy.ndarray`, (N,), float64
        Probabilities.
    mistakes : `~collections.abc.Mapping`
        From `worst_mistakes`.
    title : `str`
        Of the figure.

    Returns
    -------
    figure : `matplotlib.figure.Figure`
        Brightness is as arcsinh of the pixels over the noise. Crosses are true sources, the central one
        upright. Above each: probability, SNR, kind, number, separation and flux ratio.
    """
    lines = [max(-(-len(rows) // _COLUMNS), 1) for rows in mistakes.values()]
    figure = new_figure(1.35 * _COLUMNS, 1.85 * sum(lines) + 0.9)
    for part, (name, rows) in zip(
        figure.subfigures(len(lines), 1, height_ratios=lines, squeeze=False)[:, 0],
        mistakes.items(),
        strict=True,
    ):
        part.suptitle(_HEADINGS[name], fontsize=10, fontweight="bold")
        axes = part.subplots(max(-(-len(rows) // _COLUMNS), 1), _COLUMNS, squeeze=False)
        for axis in axes.flat:
            axis.set_axis_off()
        if not len(rows):
            say_nothing_to_draw(axes[0, _COLUMNS // 2], "none")
        for axis, row in zip(axes.flat, rows, strict=False):
            _draw(axis, stamps, truth, int(row))
            axis.set_title(_caption(truth, score, int(row)), fontsize=7)
    figure.suptitle(f"{title} (+ central source, x others; asinh of pixels over noise)", fontsize=10)
    return figure


def _draw(axis: Axes, stamps: BlendStamps, truth: BlendTruth, row: int) -> None:
    scaled = np.arcsinh(stamps.images[row] / stamps.noise_sigma[row] / 2.0)
    axis.imshow(scaled, cmap="gray", vmin=-1.0, vmax=4.0, origin="lower", interpolation="nearest")
    axis.plot(truth.x[row, 1:], truth.y[row, 1:], "x", color=ORANGE, ms=4.5, mew=0.9)
    axis.plot(truth.x[row, 0], truth.y[row, 0], "+", color=CYAN, ms=5.5, mew=0.9)


def _caption(truth: BlendTruth, score: NDArray[np.float64], row: int) -> str:
    lines = [f"p {score[row]:.3f}, SNR {truth.snr[row]:.0f}", f"{truth.kind[row]}"]
    if truth.kind[row] != "single":
        lines[1] += f", {truth.n_sources[row]}"
        lines.append(f"{truth.separation[row]:.1f} px, ratio {truth.flux_ratio[row]:.2f}")
    return "\n".join(lines)
