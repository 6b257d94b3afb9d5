"""Treatments side by side, over all rows and in bins: rows of the table ``blending_impact``."""

from __future__ import annotations

__all__ = ["EDGES", "TREATMENTS", "UNITS", "Bin", "bins", "flags_of", "impact_rows", "impact_table"]

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from ..schemas import BLENDING_IMPACT
from .resampling import Figure

type F64 = NDArray[np.float64]
type Bool = NDArray[np.bool_]

TREATMENTS = ("all", "sextractor", "ours")
"""All sources; without those that SExtractor calls blends; without those that our model does."""

UNITS = {"separation": "arcsec", "magnitude": "mag", "angle": "arcsec"}
"""Units of what is binned by, where it has one."""

EDGES: Mapping[str, tuple[float, ...]] = {
    "blendedness": (0.0, 0.001, 0.01, 0.03, 0.1, 0.3, 1.0),
    "separation": (0.0, 0.7, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0),
    "snr": (5.0, 10.0, 20.0, 40.0, 100.0, np.inf),
    "flux_ratio": (0.0, 0.1, 0.2, 0.35, 0.6, 1.0),
    "angle": (0.5, 0.8, 1.2, 1.8, 2.7, 4.0, 6.0, 10.0, 20.0, 40.0, 80.0),
    "magnitude": (0.0, 20.0, 21.0, 22.0, 23.0, 24.0, 25.0, 30.0),
}
"""Edges of the bins by what is binned by. The last bin holds its upper edge."""


@dataclasses.dataclass(frozen=True)
class Bin:
    """Rows of one bin.

    Parameters
    ----------
    by : `str`
        What is binned by; empty for all rows.
    low, high : `float`
        Edges; NaN for all rows.
    rows : `numpy.ndarray`, (N,), bool
        Which rows are in it.
    """

    by: str
    low: float
    high: float
    rows: Bool


def bins(count: int, quantities: Mapping[str, F64]) -> Iterator[Bin]:
    """Yield the bin of all rows, and those by each quantity.

    Parameters
    ----------
    count : `int`
        Number N of rows.
    quantities : `~collections.abc.Mapping` [`str`, `numpy.ndarray`]
        Each (N,), by a name of `EDGES`. A NaN is in no bin.

    Yields
    ------
    chosen : `Bin`
        One after another.
    """
    yield Bin("", np.nan, np.nan, np.ones(count, bool))
    for by, values in quantities.items():
        edges = EDGES[by]
        for low, high in itertools.pairwise(edges):
            last = high == edges[-1]
            yield Bin(by, low, high, (values >= low) & ((values < high) | (last & (values == high))))


def flags_of(p_blend: F64, sextractor_blend: Bool, threshold: float) -> dict[str, Bool]:
    """Return which rows each treatment drops; a row without a score is dropped by none.

    Parameters
    ----------
    p_blend : `numpy.ndarray`, (N,), float
        Probability of a blend; NaN if unknown.
    sextractor_blend : `numpy.ndarray`, (N,), bool
        SExtractor's answer.
    threshold : `float`
        Probability above which ours is a blend.
    """
    return {
        "all": np.zeros(len(p_blend), bool),
        "sextractor": np.asarray(sextractor_blend, bool),
        "ours": np.asarray(p_blend > threshold),
    }


def impact_rows(
    figure: str, chosen: Bin, values: Mapping[str, Figure], unit: str = ""
) -> list[dict[str, Any]]:
    """Return the rows of one figure in one bin, one for each treatment, which may be ``truth``, too.

    Parameters
    ----------
    figure : `str`
        Name of the figure.
    chosen : `Bin`
        Of what rows.
    values : `~collections.abc.Mapping` [`str`, `Figure`]
        By treatment. Where ``all`` is among them, the others get the change from it.
    unit : `str`, optional
        Unit of the figure.
    """
    return [
        {
            "figure": figure,
            "treatment": treatment,
            "by": chosen.by,
            "bin_low": chosen.low,
            "bin_high": chosen.high,
            "bin_unit": UNITS.get(chosen.by, ""),
            "n": value.n,
            "unit": unit,
            **_ends("", value.estimate().summary()),
            **_change(treatment, value, values.get("all")),
        }
        for treatment, value in values.items()
    ]


def _ends(prefix: str, ends: Mapping[str, float]) -> dict[str, float]:
    names = ("value", "low", "high") if not prefix else (prefix, f"{prefix}_low", f"{prefix}_high")
    return dict(zip(names, (ends["value"], ends["low"], ends["high"]), strict=True))


def _change(treatment: str, value: Figure, of_all: Figure | None) -> dict[str, float]:
    if of_all is None or treatment == "all":
        return dict.fromkeys(("change", "change_low", "change_high"), np.nan)
    return _ends("change", value.minus(of_all).summary())


def impact_table(rows: Sequence[Mapping[str, Any]], meta: Mapping[str, Any] | None = None) -> Table:
    """Return rows as a table of `~..schemas.BLENDING_IMPACT`, with metadata."""
    columns = {name: [row[name] for row in rows] for name in BLENDING_IMPACT.names()}
    return BLENDING_IMPACT.build(columns, meta)
