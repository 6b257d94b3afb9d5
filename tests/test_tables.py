import astropy.units as u
import numpy as np
import pytest
from astropy.table import Table
from dia_vetting.errors import TableSchemaError
from dia_vetting.tables import Column, TableSchema, stack_tables

SCHEMA = TableSchema(
    "toy",
    (
        Column("id", "i8", "Id"),
        Column("flux", "f8", "Flux", "nJy"),
        Column("band", "U", "Band"),
        Column("stamp", "f4", "Pixels", "nJy", (-1, -1)),
    ),
)
VALUES = {"id": [1, 2], "flux": [1.5, 2.5], "band": ["g", "r"], "stamp": np.zeros((2, 3, 3))}


def test_build_gives_dtypes_units_and_descriptions() -> None:
    table = SCHEMA.build(VALUES, {"seed": 1})
    assert table.colnames == SCHEMA.names()
    assert table["flux"].unit == u.nJy
    assert table["stamp"].dtype == np.float32
    assert table["id"].description == "Id"
    assert table.meta["seed"] == 1


def test_build_converts_quantities() -> None:
    table = SCHEMA.build(VALUES | {"flux": [1.0, 2.0] * u.uJy})
    np.testing.assert_allclose(table["flux"], [1000, 2000])


@pytest.mark.parametrize(
    ("change", "column"),
    [
        ({"flux": [1.0, 2.0] * u.deg}, "flux"),
        ({"colour": [1, 2]}, "colour"),
        ({"stamp": np.zeros((2, 3))}, "stamp"),
    ],
)
def test_build_refuses_what_does_not_fit(change: dict, column: str) -> None:
    with pytest.raises(TableSchemaError, match=f"toy: expected column '{column}'"):
        SCHEMA.build(VALUES | change)


def test_build_names_a_missing_column() -> None:
    with pytest.raises(TableSchemaError, match=r"'band' as U .*no such column"):
        SCHEMA.build({k: v for k, v in VALUES.items() if k != "band"})


def test_check_accepts_more_columns_and_other_widths() -> None:
    table = SCHEMA.build(VALUES)
    table["extra"] = 1
    table["flux"] = table["flux"].astype("f4")
    table["flux"].unit = u.nJy
    assert SCHEMA.check(table, "a table") is table


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda t: t.remove_column("flux"), "'flux' as f8 .nJy., found no such column"),
        (lambda t: setattr(t["flux"], "unit", u.mag), "unit nJy, found unit mag"),
        (lambda t: setattr(t["flux"], "unit", None), "unit nJy, found no unit"),
        (lambda t: t.replace_column("id", np.array([1.5, 2.5])), "'id' as i8 .no unit., found dtype float64"),
        (lambda t: t.replace_column("stamp", t["stamp"][:, 0]), "cells of shape"),
    ],
)
def test_check_names_dataset_column_expected_and_found(spoil: object, message: str) -> None:
    table = SCHEMA.build(VALUES)
    spoil(table)
    with pytest.raises(TableSchemaError, match=f"visit 7: expected column .*{message}"):
        SCHEMA.check(table, "visit 7")


def test_empty_tables_stack() -> None:
    full = SCHEMA.build(VALUES, {"LSST.BUTLER.ID": "a"})
    stacked = stack_tables([SCHEMA.empty(), full, SCHEMA.build(VALUES, {"LSST.BUTLER.ID": "b"})], SCHEMA)
    assert len(stacked) == 4
    assert stacked["stamp"].shape == (4, 3, 3)
    assert len(stack_tables([], SCHEMA)) == 0


def test_describe_has_a_row_per_column() -> None:
    description = SCHEMA.describe()
    assert isinstance(description, Table)
    assert list(description["name"]) == SCHEMA.names()
    assert description["unit"][1] == "nJy"
