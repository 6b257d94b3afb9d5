"""What part of the injections is recovered on hosts that are blended, and on others."""

from __future__ import annotations

__all__ = ["blend_efficiency", "host_blends"]

from collections.abc import Sequence
from typing import Any

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from ..blends.schemas import OBJECT_BLEND
from ..reliability.ids import positions_of
from ..tables import stack_tables
from .injection_metrics import figure_of
from .recovery import completeness

type F64 = NDArray[np.float64]


def host_blends(outcomes: Table, blends: Sequence[Table], source: str = "object_blend") -> F64:
    """Return the probability that the host of each injection is a blend, in the band of the injection.

    It is a property of the sky, known of missed injections as well; that of a DIA source is not.

    Parameters
    ----------
    outcomes : `astropy.table.Table`
        In `~dia_vetting.injection.schemas.INJECTION_OUTCOME`.
    blends : `~collections.abc.Sequence` of `astropy.table.Table`
        In `~dia_vetting.blends.schemas.OBJECT_BLEND`, of any patches and bands.
    source : `str`, optional
        Where they come from, for messages.

    Returns
    -------
    p_blend : `numpy.ndarray`, (N,), float64
        NaN without a host, or where nothing is known of it.

    Raises
    ------
    TableSchemaError
        If a column is missing.
    MissingIdError
        If an object has two rows in one band.
    """
    columns = ("objectId", "band", "p_blend")
    known = stack_tables((OBJECT_BLEND.check(table, source, columns) for table in blends), OBJECT_BLEND)
    p_blend = np.full(len(outcomes), np.nan)
    for band in np.unique(np.asarray(outcomes["band"], str)):
        rows = np.flatnonzero((np.asarray(outcomes["band"], str) == band) & (outcomes["host_id"] != 0))
        mine = known[np.asarray(known["band"], str) == band]
        at = positions_of(outcomes["host_id"][rows], mine["objectId"], f"{source} in {band}")
        p_blend[rows] = np.append(np.asarray(mine["p_blend"], np.float64), np.nan)[at]
    return p_blend


def blend_efficiency(outcomes: Table, p_blend: F64, least: float) -> dict[str, Any]:
    """Return completeness on blended hosts, on other hosts, on hosts of which it is not known, and on none.

    Parameters
    ----------
    outcomes : `astropy.table.Table`
        N rows in `~dia_vetting.injection.schemas.INJECTION_OUTCOME`.
    p_blend : `numpy.ndarray`, (N,), float64
        From `host_blends`.
    least : `float`
        Probability from which on a host is taken for a blend.

    Returns
    -------
    figures : `dict`
        By part ``blended``, ``not_blended``, ``not_flagged`` and ``no_host``, and in each for ``all`` and for
        two ranges of expected signal-to-noise ratio: value, low, high (95 %) and n.
    """
    hosted = np.asarray(outcomes["host_id"]) != 0
    snr, recovered = np.asarray(outcomes["expected_snr"], float), np.asarray(outcomes["recovered"], bool)
    parts = {
        "blended": p_blend >= least,
        "not_blended": p_blend < least,
        "not_flagged": hosted & np.isnan(p_blend),
        "no_host": ~hosted,
    }
    bins = {"all": (-np.inf, np.inf), "snr_5_to_8": (5.0, 8.0), "snr_8_to_20": (8.0, 20.0)}
    return {
        part: {
            name: figure_of(completeness(recovered[keep]), int(keep.sum()))
            for name, keep in (
                (name, rows & (snr >= low) & (snr < high)) for name, (low, high) in bins.items()
            )
        }
        for part, rows in parts.items()
    }
