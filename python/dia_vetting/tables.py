"""Table schemas: what each column is called, holds and means, and the check that a table keeps to it."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import astropy.units as u
import numpy as np
from astropy.table import Column as AstropyColumn
from astropy.table import Table, vstack

from .errors import TableSchemaError

__all__ = ["Column", "TableSchema", "stack_tables"]


@dataclasses.dataclass(frozen=True)
class Column:
    """One column of a table schema.

    Parameters
    ----------
    name : `str`
        Column name, in DPDD spelling where there is one.
    dtype : `str`
        NumPy dtype; "U" stands for strings of any length.
    description : `str`
        What the column means.
    unit : `str`, optional
        Unit in astropy's notation; empty for none.
    shape : `tuple` of `int`, optional
        Shape of one cell; -1 for an extent that may vary between tables.
    """

    name: str
    dtype: str
    description: str
    unit: str = ""
    shape: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True)
class TableSchema:
    """The columns of one dataset type.

    Parameters
    ----------
    name : `str`
        The dataset type that has this schema.
    columns : `tuple` of `Column`
        In the order in which they are written.
    """

    name: str
    columns: tuple[Column, ...]

    def names(self) -> list[str]:
        """Return the column names in order."""
        return [column.name for column in self.columns]

    def build(self, values: Mapping[str, Any], meta: Mapping[str, Any] | None = None) -> Table:
        """Make a table from columns of values; dtypes, units and descriptions come from the schema.

        Parameters
        ----------
        values : `~collections.abc.Mapping`
            Arrays (or quantities) by column name, exactly the schema's columns.
        meta : `~collections.abc.Mapping`, optional
            Table metadata.

        Returns
        -------
        table : `astropy.table.Table`
            One row per element.

        Raises
        ------
        TableSchemaError
            If a column is missing or unknown, or has another unit or shape.
        """
        unknown = sorted(set(values) - set(self.names()))
        if unknown:
            raise TableSchemaError(self.name, unknown[0], "no such column", "a value")
        table = Table(meta=dict(meta or {}))
        for column in self.columns:
            if column.name not in values:
                raise TableSchemaError(self.name, column.name, _describe(column), "no such column")
            table[column.name] = _cast(self.name, column, values[column.name])
        return table

    def empty(self, meta: Mapping[str, Any] | None = None) -> Table:
        """Make a table of no rows; cells of varying extent get extent 0."""
        cells = {c.name: np.zeros((0, *(max(n, 0) for n in c.shape)), dtype=c.dtype) for c in self.columns}
        return self.build(cells, meta)

    def check(self, table: Table, source: str = "", columns: Iterable[str] | None = None) -> Table:
        """Check a table that was read: the schema's columns are there, of the right kind and unit.

        Parameters
        ----------
        table : `astropy.table.Table`
            What was read. Extra columns are allowed.
        source : `str`, optional
            Where it comes from (dataset type and data ID, or file), for the message.
        columns : `~collections.abc.Iterable` of `str`, optional
            Check only these; all by default.

        Returns
        -------
        table : `astropy.table.Table`
            The same table.

        Raises
        ------
        TableSchemaError
            If a column is missing, or its unit, kind or shape is another.
        """
        wanted = set(self.names() if columns is None else columns)
        for column in self.columns:
            if column.name in wanted:
                _check_column(source or self.name, column, table)
        return table

    def describe(self) -> Table:
        """Return the schema as a table (name, dtype, unit, shape, description), to be kept as a dataset."""
        rows = [(c.name, c.dtype, c.unit, str(list(c.shape)), c.description) for c in self.columns]
        return Table(rows=rows, names=["name", "dtype", "unit", "shape", "description"])


def stack_tables(tables: Iterable[Table], schema: TableSchema) -> Table:
    """Concatenate tables of one schema; butler provenance in their metadata is dropped without a word.

    Parameters
    ----------
    tables : `~collections.abc.Iterable` of `astropy.table.Table`
        May be empty.
    schema : `TableSchema`
        Their schema, used when there is none to stack.

    Returns
    -------
    table : `astropy.table.Table`
        All rows, in the order given. Tables of no rows are left out, since their cells have no extent.
    """
    filled = [table for table in tables if len(table)]
    return vstack(filled, metadata_conflicts="silent") if filled else schema.empty()


def _describe(column: Column) -> str:
    return f"{column.dtype} [{column.unit or 'no unit'}]"


def _cast(schema: str, column: Column, values: Any) -> Any:
    if isinstance(values, u.Quantity):
        try:
            values = values.to_value(column.unit)
        except u.UnitConversionError:
            raise TableSchemaError(schema, column.name, _describe(column), f"unit {values.unit}") from None
    array = np.asarray(values)
    if column.dtype != "U":
        array = array.astype(column.dtype, copy=False)
    elif array.dtype.kind not in "UO" or not array.size:
        array = array.astype(str)
    if not _shape_fits(array.shape[1:], column.shape):
        raise TableSchemaError(schema, column.name, f"cells of shape {column.shape}", str(array.shape[1:]))
    return AstropyColumn(array, unit=column.unit or None, description=column.description)


def _shape_fits(found: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    return len(found) == len(wanted) and all(w in (-1, f) for f, w in zip(found, wanted, strict=True))


def _check_column(source: str, column: Column, table: Table) -> None:
    if column.name not in table.colnames:
        raise TableSchemaError(source, column.name, _describe(column), "no such column")
    found = table[column.name]
    if column.unit and found.unit is not None and u.Unit(found.unit) != u.Unit(column.unit):
        raise TableSchemaError(source, column.name, f"unit {column.unit}", f"unit {found.unit}")
    if column.unit and found.unit is None and len(table):
        raise TableSchemaError(source, column.name, f"unit {column.unit}", "no unit")
    kinds = {"i": "iu", "u": "iu", "f": "fiu", "b": "b", "U": "UOS"}[np.dtype(column.dtype).kind]
    if len(table) and found.dtype.kind not in kinds:
        raise TableSchemaError(source, column.name, _describe(column), f"dtype {found.dtype}")
    if len(table) and not _shape_fits(found.shape[1:], column.shape):
        raise TableSchemaError(source, column.name, f"cells of shape {column.shape}", str(found.shape[1:]))
