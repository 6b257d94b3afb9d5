"""Reading a DRP `object` table, whatever names and units a camera's pipeline gave its columns."""

from __future__ import annotations

__all__ = ["ObjectTableNames", "read_column", "read_flag", "read_id", "read_length", "read_objects"]

import dataclasses

import astropy.units as u
import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from ..errors import TableSchemaError
from .hosts import MeasuredObjects

type F64 = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class ObjectTableNames:
    """Names of the columns; ``{band}`` in a name stands for the reference band.

    Parameters
    ----------
    ra, dec, x, y, xx, yy, xy, extendedness, flux : `str`
        Columns; the uncertainty of the flux is ``<flux>Err``.
    true_flags, false_flags : `tuple` of `str`
        Flags that must be set, and that must not be.
    """

    ra: str
    dec: str
    x: str
    y: str
    xx: str
    yy: str
    xy: str
    extendedness: str
    flux: str
    true_flags: tuple[str, ...]
    false_flags: tuple[str, ...]


def read_objects(table: Table, names: ObjectTableNames, band: str, source: str) -> MeasuredObjects:
    """Read an object table.

    Parameters
    ----------
    table : `astropy.table.Table`
        A column without a unit is taken to be in the unit of Rubin's data products (DPDD): positions in
        degrees, fluxes in nJy, moments in pixel^2. Another unit that can be converted is.
    names : `ObjectTableNames`
        Names of its columns.
    band : `str`
        Reference band.
    source : `str`
        Dataset type and data ID, for the messages.

    Returns
    -------
    objects : `~dia_vetting.injection.hosts.MeasuredObjects`
        One row per row of the table.

    Raises
    ------
    TableSchemaError
        If a column is missing, is no number, or has a unit that cannot be converted.
    """

    def get(name: str, unit: u.UnitBase) -> F64:
        return read_column(table, name.format(band=band), unit, source)

    flux = names.flux.format(band=band)
    in_arcsec = _is_angle_squared(table, names.xx.format(band=band), source)
    moment_unit = u.arcsec**2 if in_arcsec else u.pix**2
    true_flags = [name.format(band=band) for name in names.true_flags]
    false_flags = [name.format(band=band) for name in names.false_flags]
    passes = {name: read_flag(table, name, source, missing=False) for name in true_flags}
    passes |= {name: ~read_flag(table, name, source, missing=True) for name in false_flags}
    return MeasuredObjects(
        ra=get(names.ra, u.deg),
        dec=get(names.dec, u.deg),
        x=get(names.x, u.pix),
        y=get(names.y, u.pix),
        xx=get(names.xx, moment_unit),
        yy=get(names.yy, moment_unit),
        xy=get(names.xy, moment_unit),
        moments_in_arcsec=in_arcsec,
        extendedness=get(names.extendedness, u.dimensionless_unscaled),
        flux=read_column(table, flux, u.nJy, source),
        flux_err=read_column(table, f"{flux}Err", u.nJy, source),
        passes=passes,
    )


def read_column(table: Table, name: str, unit: u.UnitBase, source: str) -> F64:
    """Return a column as float64 (N,) in a unit; a masked cell is NaN, no unit means this one."""
    found = _column(table, name, str(unit) or "number", source)
    values = np.ma.filled(np.ma.asarray(found).astype(float), np.nan)
    if found.unit is None:
        return np.asarray(values, np.float64)
    try:
        factor = u.Unit(found.unit).to(unit)
    except u.UnitConversionError:
        raise TableSchemaError(source, name, f"unit {unit}", f"unit {found.unit}") from None
    return np.asarray(values * factor, np.float64)


def read_length(table: Table, name: str, pixel_scale: float, source: str) -> F64:
    """Return a column of lengths as float64 (N,), arcsec, also without a unit; pixels are multiplied."""
    unit = _column(table, name, "arcsec or pix", source).unit
    if unit is not None and u.Unit(unit).is_equivalent(u.pix):
        return read_column(table, name, u.pix, source) * pixel_scale
    return read_column(table, name, u.arcsec, source)


def read_flag(table: Table, name: str, source: str, missing: bool) -> NDArray[np.bool_]:
    """Return a flag as bool (N,); a masked cell is ``missing``."""
    found = np.ma.asarray(_column(table, name, "bool", source))
    return np.asarray(np.ma.filled(found.astype(bool), missing), dtype=bool)


def read_id(table: Table, name: str, source: str) -> NDArray[np.int64]:
    """Return a column of ids as int64 (N,)."""
    found = _column(table, name, "integer", source)
    if found.dtype.kind not in "iu" and len(table):
        raise TableSchemaError(source, name, "integer", f"dtype {found.dtype}")
    return np.asarray(found, np.int64)


def _column(table: Table, name: str, expected: str, source: str) -> Table.Column:
    if name not in table.colnames:
        raise TableSchemaError(source, name, expected, "no such column")
    found = table[name]
    if found.dtype.kind not in "biuf" or found.ndim != 1:
        raise TableSchemaError(source, name, expected, f"dtype {found.dtype}, shape {found.shape}")
    return found


def _is_angle_squared(table: Table, name: str, source: str) -> bool:
    unit = _column(table, name, "pix2 or arcsec2", source).unit
    return unit is not None and u.Unit(unit).is_equivalent(u.arcsec**2)
