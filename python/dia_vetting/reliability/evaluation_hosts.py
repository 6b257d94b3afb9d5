"""Where on its host each injected source lies, and how bright the host is there."""

from __future__ import annotations

import dataclasses

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from ..injection.schemas import TRANSIENT_TRUTH
from .ids import positions_of

__all__ = ["HostRelation", "add_hosts", "host_relation"]

type F64 = NDArray[np.float64]

_SHAPE = ("host_a", "host_b", "host_pa", "host_mag", "delta_ra", "delta_dec")
_COLUMNS = ("injection_id", "kind", *_SHAPE)


@dataclasses.dataclass(frozen=True)
class HostRelation:
    """N injections and their hosts; NaN without a host.

    Parameters
    ----------
    surface_brightness : `numpy.ndarray`, (N,), float64
        Mean surface brightness of the host, AB mag / arcsec^2.
    offset : `numpy.ndarray`, (N,), float64
        Distance from the host's centre, arcsec.
    offset_radii : `numpy.ndarray`, (N,), float64
        The same over the host's radius in the direction of the transient: 1 is on its ellipse.
    """

    surface_brightness: F64
    offset: F64
    offset_radii: F64


def host_relation(truth: Table) -> HostRelation:
    """Relate transients to their hosts.

    The mean surface brightness is m + 2.5 log10(2 pi a b), half of the light over the area of the half-light
    ellipse (Graham & Driver 2005, PASA 22, 118, arXiv:astro-ph/0503176). The semi-axes are the rms ones, for
    an exponential disc 1.03 times those of the half-light ellipse; the PSF is in them.
    The offset in radii is the directional light radius of Sullivan et al. (2006, ApJ 648, 868,
    arXiv:astro-ph/0605455), with the same semi-axes.

    Parameters
    ----------
    truth : `astropy.table.Table`
        N rows of `~dia_vetting.injection.schemas.TRANSIENT_TRUTH`.

    Returns
    -------
    relation : `HostRelation`
        In the order of the rows.
    """
    a, b, pa, mag, east, north = (np.asarray(truth[name], np.float64) for name in _SHAPE)
    angle = np.deg2rad(pa)
    major = (east * np.sin(angle) + north * np.cos(angle)) / a
    minor = (east * np.cos(angle) - north * np.sin(angle)) / b
    with np.errstate(invalid="ignore", divide="ignore"):
        brightness = mag + 2.5 * np.log10(2.0 * np.pi * a * b)
    return HostRelation(brightness, np.hypot(east, north), np.hypot(major, minor))


def add_hosts(rows: Table, transients: Table | None, source: str = "transient_truth") -> None:
    """Add to each source what is known of its injection, in place.

    Parameters
    ----------
    rows : `astropy.table.Table`
        N rows with ``injection_id``, 0 for what is no injection. Gets ``injection_kind``,
        ``host_surface_brightness``, ``host_offset`` and ``host_offset_radii``.
    transients : `astropy.table.Table` or `None`
        Rows of `~dia_vetting.injection.schemas.TRANSIENT_TRUTH` in any order. An injection that is not among
        them was made by other means, and nothing is known of it.
    source : `str`, optional
        Where they come from, for messages.

    Raises
    ------
    TableSchemaError
        If a column is missing or has another unit.
    MissingIdError
        If an id stands twice among the transients.
    """
    transients = TRANSIENT_TRUTH.empty() if transients is None else transients
    TRANSIENT_TRUTH.check(transients, source, _COLUMNS)
    at = positions_of(rows["injection_id"], transients["injection_id"], source)
    kind = np.append(np.asarray(transients["kind"], str), "")
    rows["injection_kind"] = kind[at]
    for name, values in dataclasses.asdict(host_relation(transients)).items():
        rows[f"host_{name}"] = np.append(values, np.nan)[at]
