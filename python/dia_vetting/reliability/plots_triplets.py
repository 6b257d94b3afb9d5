"""A figure of science, template and difference stamps with the highest and the lowest scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import AsinhNorm, Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from .examples import Example
from .plots_style import new_figure

__all__ = ["triplets_figure"]

_NO_DATA = "#F0E442"


def triplets_figure(examples: Mapping[str, Sequence[Example]]) -> Figure:
    """Draw triplets, one block per kind.

    Parameters
    ----------
    examples : `~collections.abc.Mapping` [`str`, `~collections.abc.Sequence` [`Example`]]
        From `~.examples.gather_examples`.

    Returns
    -------
    figure : `matplotlib.figure.Figure`
        Science and template share an asinh stretch, each above its own lower quartile, since their skies may
        differ; the difference runs from -6 (blue) to 6 (red) sigma.
        Pixels without data are yellow.
    """
    columns = max(max((len(of_kind) for of_kind in examples.values()), default=0), 1)
    figure = new_figure(2.9 * columns, 1.6 * max(len(examples), 1) + 0.4)
    axes = figure.subplots(max(len(examples), 1), columns, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for row, (kind, of_kind) in zip(axes, examples.items(), strict=False):
        row[0].set_title(kind, fontsize=10, loc="left", fontweight="bold")
        for axis, example in zip(row, of_kind, strict=False):
            axis.imshow(_side_by_side(example), interpolation="nearest")
            axis.text(
                0.5, -0.06, example.caption, transform=axis.transAxes, ha="center", va="top", fontsize=8
            )
    figure.suptitle("science | template | difference (-6 to 6 sigma)", fontsize=10)
    return figure


def _side_by_side(example: Example) -> NDArray[np.float64]:
    """Return the three stamps in colour, with gaps, rows from top to bottom, RGBA [S, 3 S + gaps, 4]."""
    sigma = _positive_median(np.sqrt(np.abs(example.variance)))
    science, template = (_above_sky(stamp) for stamp in (example.science, example.template))
    stretch = _shared_stretch(np.stack([science, template]), sigma)
    panels = [
        _coloured(science, "gray", stretch),
        _coloured(template, "gray", stretch),
        _coloured(example.difference, "RdBu_r", Normalize(-6 * sigma, 6 * sigma)),
    ]
    gap = np.ones((panels[0].shape[0], max(panels[0].shape[1] // 15, 1), 4))
    return np.concatenate([panels[0], gap, panels[1], gap, panels[2]], axis=1)[::-1]


def _coloured(stamp: NDArray[np.float32], colours: str, norm: Normalize) -> NDArray[np.float64]:
    colour_map = colormaps[colours].with_extremes(bad=_NO_DATA)
    return np.asarray(colour_map(norm(np.ma.masked_invalid(stamp))))


def _above_sky(stamp: NDArray[np.float32]) -> NDArray[np.float32]:
    pixels = stamp[np.isfinite(stamp)]
    return stamp - np.float32(np.quantile(pixels, 0.25)) if pixels.size else stamp


def _shared_stretch(stamps: NDArray[np.float32], sigma: float) -> Normalize:
    pixels = stamps[np.isfinite(stamps)]
    if not pixels.size:
        return Normalize(0, 1)
    low, high = np.quantile(pixels, [0.02, 0.998])
    return AsinhNorm(linear_width=3 * sigma, vmin=low, vmax=max(high, low + 6 * sigma))


def _positive_median(values: NDArray[np.float32]) -> float:
    values = values[np.isfinite(values) & (values > 0)]
    return float(np.median(values)) if values.size else 1.0
