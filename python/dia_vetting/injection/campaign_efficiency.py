"""All efficiency fits of an injection campaign, and their hold-outs."""

from __future__ import annotations

__all__ = ["fit_campaign", "hold_out_campaign"]

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from ..seeding import generator
from .efficiency import Injections, MagnitudeModel
from .efficiency_fits import Fit, Fitted, fit_efficiency
from .holdout import holdout
from .injection_curve import SAMPLES, rows_of_sample
from .product_model import ProductModel

type F64 = NDArray[np.float64]

_MAG_STEP, _LN_SNR_STEP = 0.5, 0.25
"""Widths of the bins in which halves of the sky are compared."""


@dataclasses.dataclass(frozen=True)
class _Form:
    """One model: how it is fitted, to which rows and samples, and what the bins of its hold-out are of."""

    fit: Fit[Any]
    usable: Callable[[Injections], NDArray[np.bool_]]
    samples: tuple[str, ...]
    coordinate: Callable[[Injections], F64]


_FORMS = {
    "magnitude": _Form(MagnitudeModel.fit, MagnitudeModel.usable, SAMPLES, lambda rows: rows.mag / _MAG_STEP),
    "product": _Form(
        ProductModel.fit,
        ProductModel.usable,
        ("all",),  # blank sky has no hosts
        lambda rows: np.asarray(np.log(rows.snr) / _LN_SNR_STEP, np.float64),
    ),
}


def fit_campaign(outcomes: Table, seed: int) -> dict[tuple[str, str], Fitted[Any] | None]:
    """Fit every model to every sample that it is for.

    Parameters
    ----------
    outcomes : `astropy.table.Table`
        In `~dia_vetting.injection.schemas.INJECTION_OUTCOME`.
    seed : `int`
        Seed of the bootstrap over sky cells.

    Returns
    -------
    fits : `dict`
        By sample and name of the model (magnitude, product); `None` where there is nothing to fit.
    """
    fits = {}
    for name, form in _FORMS.items():
        for sample in form.samples:
            rows = Injections.of(rows_of_sample(outcomes, sample))
            rows = rows.where(form.usable(rows))
            fits[sample, name] = fit_efficiency(form.fit, rows, generator("efficiency", seed, sample, name))
    return fits


def hold_out_campaign(outcomes: Table, seed: int) -> dict[str, Any]:
    """Fit every model on half of the sky and try it on the other, all injections.

    Parameters
    ----------
    outcomes, seed
        As for `fit_campaign`; the seed also decides which half a sky cell is in.

    Returns
    -------
    figures : `dict`
        By name of the model and band (see `~dia_vetting.injection.holdout.holdout`), in bins of half a
        magnitude for the one against magnitude and of 0.25 in ln(expected SNR) for the product.
    """
    figures = {}
    rows = Injections.of(outcomes)
    for name, form in _FORMS.items():
        mine = rows.where(form.usable(rows))
        figures[name] = holdout(form.fit, mine, form.coordinate(mine), seed, name)
    return figures
