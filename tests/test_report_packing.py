"""Columns as text in a page."""

import base64
import zlib

import numpy as np
import pytest
from dia_vetting.report.packing import PackedTable, pack_table


def unpack(table: PackedTable) -> dict[str, list[object]]:
    """Read what the page reads, without the code that wrote it."""
    data = zlib.decompress(base64.b64decode(table.payload))
    found = {}
    for column in table.header["columns"]:
        count = table.header["rows"] * column["width"]
        values = np.frombuffer(data, np.dtype(column["dtype"]).newbyteorder("<"), count, column["offset"])
        names = column.get("categories")
        found[column["name"]] = [names[v] for v in values] if names else values.tolist()
    return found


def test_values_come_back_exactly() -> None:
    columns = {
        "id": np.array([2**63 - 1, 0, 2**53 + 1]),
        "flag": np.array([True, False, True]),
        "kind": np.array(["b", "", "a"]),
        "pair": np.array([[1, 2], [3, 4], [5, 6]], np.int32),
        "x": np.array([0.1, np.nan, np.inf], np.float32),
    }
    table = pack_table(columns)
    found = unpack(table)
    assert table.header["rows"] == 3
    assert found["id"] == [2**63 - 1, 0, 2**53 + 1]
    assert found["flag"] == [1, 0, 1]
    assert found["kind"] == ["b", "", "a"]
    assert found["pair"] == [1, 2, 3, 4, 5, 6]
    np.testing.assert_array_equal(found["x"], columns["x"])
    assert all(column["offset"] % 8 == 0 for column in table.header["columns"])


def test_many_categories_get_wider_indices() -> None:
    names = np.array([f"n{i}" for i in range(70_000)])
    for count, dtype in ((200, "uint8"), (300, "uint16"), (70_000, "uint32")):
        table = pack_table({"name": names[:count]})
        assert table.header["columns"][0]["dtype"] == dtype
        assert unpack(table)["name"] == names[:count].tolist()


def test_empty_tables_are_tables() -> None:
    table = pack_table({"id": np.zeros(0, np.int64), "kind": np.zeros(0, "U1")})
    assert table.header["rows"] == 0
    assert unpack(table) == {"id": [], "kind": []}


@pytest.mark.parametrize("bad", [{"a": [1, 2], "b": [1]}, {"a": np.zeros(2, np.complex64)}])
def test_what_cannot_be_read_is_refused(bad: dict[str, np.ndarray]) -> None:
    with pytest.raises(ValueError, match="Column"):
        pack_table(bad)
