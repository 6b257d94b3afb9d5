"""Fits of the efficiency models with intervals over sky, and the table of their parameters."""

from __future__ import annotations

__all__ = ["EfficiencyModel", "Fit", "Fitted", "cell_weights", "efficiency_table", "fit_efficiency"]

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from ..reliability.bootstrap import draw_weights, percentile_interval
from .efficiency import Injections
from .schemas import INJECTION_EFFICIENCY

type F64 = NDArray[np.float64]
type Bool = NDArray[np.bool_]

_REPLICATES = 200
_UNITS = {("magnitude", "m50"): "mag", ("magnitude", "width"): "mag"}
_UNITS |= {("product", "host"): "arcsec2", ("product", "gradient"): "arcsec"}


class EfficiencyModel(Protocol):
    """What `MagnitudeModel` and `ProductModel` have in common."""

    def __call__(self, injections: Injections) -> F64:
        """Return the efficiency for each injection."""
        ...

    @staticmethod
    def usable(injections: Injections) -> Bool:
        """Return which injections can be fitted."""
        ...

    def parameters(self) -> dict[tuple[str, str], float]:
        """Return the parameters by band and name."""
        ...


class Fit[M](Protocol):
    """What fits a model to injections, each counted so often as its weight says."""

    def __call__(
        self, injections: Injections, weights: F64 | None = None, start: M | None = None
    ) -> M | None:
        """Return the model; `None` if it cannot be fitted."""
        ...


@dataclasses.dataclass(frozen=True)
class Fitted[M: EfficiencyModel]:
    """A fitted model.

    Parameters
    ----------
    model : `EfficiencyModel`
        Maximum of the likelihood.
    replicates : `list` of `EfficiencyModel`
        Fits to the bootstrap's samples of sky cells.
    n : `~collections.abc.Mapping` [`str`, `int`]
        Injections by band, and ``all``.
    """

    model: M
    replicates: list[M]
    n: Mapping[str, int]

    def interval(self, key: tuple[str, str]) -> tuple[float, float]:
        """Return the ends of the 95 % interval of a parameter."""
        values = np.array([fit.parameters().get(key, np.nan) for fit in self.replicates])
        low, high = percentile_interval(values) if len(values) else (np.nan, np.nan)
        return float(low), float(high)


def cell_weights(cell: NDArray[np.int64], rng: np.random.Generator) -> Iterator[F64]:
    """Draw whole sky cells with replacement, many times.

    Parameters
    ----------
    cell : `numpy.ndarray`, (N,), int64
        Cell of each row.
    rng : `numpy.random.Generator`
        Source of the draws.

    Yields
    ------
    weights : `numpy.ndarray`, (N,), float64
        How often each row is in a replicate.
    """
    cells, of_row = np.unique(cell, return_inverse=True)
    for draw in draw_weights(len(cells), _REPLICATES, rng):
        yield draw[of_row].astype(np.float64)


def fit_efficiency[M: EfficiencyModel](
    fit: Fit[M], injections: Injections, rng: np.random.Generator
) -> Fitted[M] | None:
    """Fit a model to injections and to the bootstrap's replicates of them.

    Parameters
    ----------
    fit : `Fit`
        What fits.
    injections : `~dia_vetting.injection.efficiency.Injections`
        All of them usable.
    rng : `numpy.random.Generator`
        Source of the draws of sky cells.

    Returns
    -------
    fitted : `Fitted` or `None`
        `None` if the model cannot be fitted; replicates to which it cannot are left out.
    """
    if not len(injections) or (best := fit(injections)) is None:
        return None
    tries = (fit(injections, weights, best) for weights in cell_weights(injections.cell, rng))
    bands, counts = np.unique(injections.band, return_counts=True)
    n = {"all": len(injections)} | {str(b): int(k) for b, k in zip(bands, counts, strict=True)}
    return Fitted(best, [model for model in tries if model is not None], n)


def efficiency_table(fits: Mapping[tuple[str, str], Fitted[Any] | None]) -> Table:
    """Tabulate the parameters of fitted models.

    Parameters
    ----------
    fits : `~collections.abc.Mapping`
        By sample and name of the model; `None` gives no rows.

    Returns
    -------
    table : `astropy.table.Table`
        In `~dia_vetting.injection.schemas.INJECTION_EFFICIENCY`.
    """
    rows: dict[str, list[Any]] = {name: [] for name in INJECTION_EFFICIENCY.names()}
    for (sample, model), fitted in fits.items():
        if fitted is None:
            continue
        for (band, parameter), value in fitted.model.parameters().items():
            low, high = fitted.interval((band, parameter))
            found = {"sample": sample, "model": model, "band": band, "parameter": parameter}
            found |= {"unit": _UNITS.get((model, parameter), ""), "n": fitted.n[band]}
            for name, cell in (found | {"value": value, "low": low, "high": high}).items():
                rows[name].append(cell)
    return INJECTION_EFFICIENCY.build(rows)
