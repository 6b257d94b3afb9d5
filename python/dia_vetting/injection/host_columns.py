"""What is known of the host of each injection: how far away it is, and how bright at that place."""

from __future__ import annotations

__all__ = ["host_columns"]

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from ..reliability.evaluation_hosts import host_relation
from ..reliability.ids import positions_of
from .placement import sersic_surface_brightness
from .schemas import TRANSIENT_TRUTH

type F64 = NDArray[np.float64]

_COLUMNS = ("injection_id", "host_a", "host_b", "host_pa", "host_mag", "delta_ra", "delta_dec")


def host_columns(injected: Table, transients: Table, source: str = "transient_truth") -> dict[str, F64]:
    """Relate injections to their hosts.

    Parameters
    ----------
    injected : `astropy.table.Table`
        N rows with ``injection_id`` and ``host_mag`` (that of the image's band).
    transients : `astropy.table.Table`
        Rows of `~dia_vetting.injection.schemas.TRANSIENT_TRUTH` in any order, with the position on the host
        and its shape.
    source : `str`, optional
        Where these come from, for messages.

    Returns
    -------
    columns : `dict` [`str`, `numpy.ndarray`], (N,), float64
        ``host_mag``, ``separation`` (arcsec) and ``host_surface_brightness`` (mag / arcsec^2, of a Sersic
        profile with the host's moments, see `.placement.sersic_surface_brightness`). NaN for host-less ones
        and, but for ``host_mag``, for those that are not among the transients.

    Raises
    ------
    TableSchemaError
        If a column of the transients is missing or has another unit.
    MissingIdError
        If an id stands twice among the transients.
    """
    TRANSIENT_TRUTH.check(transients, source, _COLUMNS)
    at = positions_of(injected["injection_id"], transients["injection_id"], source)
    relation = host_relation(transients)
    a, b, separation, radius = (
        np.append(np.asarray(values, np.float64), np.nan)[at]
        for values in (transients["host_a"], transients["host_b"], relation.offset, relation.offset_radii)
    )
    mag = np.asarray(injected["host_mag"], np.float64)
    return {
        "host_mag": mag,
        "separation": separation,
        "host_surface_brightness": sersic_surface_brightness(mag, a, b, radius),
    }
