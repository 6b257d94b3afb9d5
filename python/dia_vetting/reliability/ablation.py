"""Tables and pictures of one figure after another for variants of a method: what each part is worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from .plots_intervals import draw_intervals
from .plots_style import BLUE, new_figure

__all__ = ["ablation_figure", "ablation_table"]

type Figures = Mapping[str, Mapping[str, float] | float | int | str | None]
"""Figures of one variant by name: value, low and high; or a plain number or text."""


def ablation_table(
    rows: Mapping[str, Figures],
    headings: Mapping[str, str] | None = None,
    digits: int = 4,
    best: Mapping[str, str] | None = None,
) -> str:
    """Render variants and their figures as a table in Markdown.

    Parameters
    ----------
    rows : `~collections.abc.Mapping` [`str`, `~collections.abc.Mapping`]
        By variant, its figures: a mapping of ``value``, ``low`` and ``high``, a number, or a text.
    headings : `~collections.abc.Mapping` [`str`, `str`], optional
        Which figures, in which order, and what to call them; by default all, in the order in which they turn
        up, by their own names.
    digits : `int`, optional
        After the point.
    best : `~collections.abc.Mapping` [`str`, `str`], optional
        Figures of which the best is set in bold: "highest" or "lowest".

    Returns
    -------
    text : `str`
        Markdown, without a newline at the end. What is missing or NaN is a dash.

    Raises
    ------
    ValueError
        If ``best`` asks for anything else.
    """
    headings = headings or {name: name for figures in rows.values() for name in figures}
    winners = {name: _winners(rows, name, which) for name, which in (best or {}).items()}
    lines = ["| | " + " | ".join(headings.values()) + " |", "|---" * (len(headings) + 1) + "|"]
    for variant, figures in rows.items():
        cells = [
            _bold(_cell(figures.get(name), digits), variant in winners.get(name, ())) for name in headings
        ]
        lines.append(f"| {variant} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def ablation_figure(
    rows: Mapping[str, Figures], headings: Mapping[str, str], title: str = "", log: Sequence[str] = ()
) -> Figure:
    """Draw the figures of variants as points with intervals, one panel per figure.

    Parameters
    ----------
    rows : `~collections.abc.Mapping` [`str`, `~collections.abc.Mapping`]
        As for `ablation_table`.
    headings : `~collections.abc.Mapping` [`str`, `str`]
        Which figures, and the labels of their axes.
    title : `str`, optional
        Title of the whole.
    log : `~collections.abc.Sequence` of `str`, optional
        Figures with a logarithmic axis.

    Returns
    -------
    figure : `matplotlib.figure.Figure`
        Variants from top to bottom.
    """
    figure = new_figure(1.6 + 3.6 * len(headings), 1.3 + 0.32 * max(len(rows), 1) + (0.3 if title else 0.0))
    axes = figure.subplots(1, len(headings), sharey=True, squeeze=False)[0]
    for axis, (name, label) in zip(axes, headings.items(), strict=True):
        found = [_interval(figures.get(name)) for figures in rows.values()]
        draw_intervals(axis, list(rows), {label: (BLUE, found)}, log=name in log)
        axis.set_xlabel(label)
    if title:
        figure.suptitle(title)
    return figure


def _interval(figure: Any) -> Mapping[str, float] | None:
    if isinstance(figure, Mapping):
        return figure
    if isinstance(figure, int | float):
        return {"value": float(figure), "low": float(figure), "high": float(figure)}
    return None


def _cell(figure: Any, digits: int) -> str:
    if isinstance(figure, str):
        return figure
    if isinstance(figure, int):
        return f"{figure:,}"
    found = _interval(figure)
    if found is None or not np.isfinite(found["value"]):
        return "-"
    text = f"{found['value']:.{digits}f}"
    if not isinstance(figure, Mapping) or not np.isfinite([found["low"], found["high"]]).all():
        return text
    return f"{text} [{found['low']:.{digits}f}, {found['high']:.{digits}f}]"


def _winners(rows: Mapping[str, Figures], name: str, which: str) -> set[str]:
    if which not in ("highest", "lowest"):
        raise ValueError(f"The best {name} is either the highest or the lowest, not the {which}.")
    found = {variant: _interval(figures.get(name)) for variant, figures in rows.items()}
    values = {v: f["value"] for v, f in found.items() if f is not None and np.isfinite(f["value"])}
    if not values:
        return set()
    target = max(values.values()) if which == "highest" else min(values.values())
    return {variant for variant, value in values.items() if value == target}


def _bold(text: str, bold: bool) -> str:
    return f"**{text}**" if bold else text
