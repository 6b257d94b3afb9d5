"""Completeness and purity of detection, and how many objects are blends, by treatment."""

from __future__ import annotations

__all__ = ["detection_rows"]

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .catalog import CatalogObjects
from .matches import Matches
from .resampling import Resampling
from .rows import TREATMENTS, bins, impact_rows
from .truth import TrueSources

type I64 = NDArray[np.int64]
type Bool = NDArray[np.bool_]


def detection_rows(
    objects: CatalogObjects,
    truth: TrueSources,
    matches: Matches,
    groups: tuple[I64, I64],
    resampling: Resampling,
    min_snr: float,
    counted: Bool,
) -> list[dict[str, Any]]:
    """Return the figures of detection.

    Parameters
    ----------
    objects, truth, matches
        N objects, M true sources, and which is which.
    groups : `tuple` of two `numpy.ndarray`, int64
        Index of the group of each object (N,) and of each true source (M,).
    resampling : `Resampling`
        The groups.
    min_snr : `float`
        True sources with at least this expected signal-to-noise ratio are asked for.
    counted : `numpy.ndarray`, (M,), bool
        True sources that are on covered sky; the others are there to be matched only.

    Returns
    -------
    rows : `list` of `dict`
        ``completeness``: true sources that an object is left for. ``purity``: objects left that are a true
        source. ``blends_left``, ``unrecognised_left``: objects left, and matched, that are blends in truth,
        and that are with a companion that has no object. ``blends_dropped``, ``others_dropped``: matched
        blends, and matched others, that the treatment drops.
    """
    kept = {name: ~objects.dropped[name] for name in TREATMENTS}
    rows = []
    quantities = {n: getattr(truth, n) for n in ("snr", "blendedness", "separation", "flux_ratio")}
    asked = (truth.snr >= min_snr) & counted
    for chosen in bins(len(truth), quantities):
        found = {name: np.append(kept[name], False)[matches.object_of] for name in TREATMENTS}
        values = {n: resampling.rate(groups[1], found[n], asked & chosen.rows) for n in TREATMENTS}
        rows += impact_rows("completeness", chosen, values)
    matched = matches.source_of >= 0
    for chosen in bins(len(objects), {"snr": objects.snr}):
        within = {n: kept[n] & chosen.rows for n in TREATMENTS}
        of = {"purity": (matched, np.ones_like(matched))}
        of |= {"blends_left": (matches.blend, matched), "unrecognised_left": (matches.unrecognised, matched)}
        for figure, (good, among) in of.items():
            values = {n: resampling.rate(groups[0], good, within[n] & among) for n in TREATMENTS}
            rows += impact_rows(figure, chosen, values)
        rows += _dropped(objects.dropped, matched & chosen.rows, matches.blend, groups[0], resampling, chosen)
    return rows


def _dropped(
    dropped: Mapping[str, Bool], among: Bool, blend: Bool, group: I64, resampling: Resampling, chosen: Any
) -> list[dict[str, Any]]:
    rows = []
    for figure, of in (("blends_dropped", blend), ("others_dropped", ~blend)):
        values = {n: resampling.rate(group, dropped[n], among & of) for n in TREATMENTS if n != "all"}
        rows += impact_rows(figure, chosen, values)
    return rows
