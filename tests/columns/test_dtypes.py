"""Types by name."""

from __future__ import annotations

import pyarrow as pa
import pytest

from prefect_datagen.columns.dtypes import parse_dtype

NESTED = pa.struct([("a", pa.int64()), ("b", pa.list_(pa.struct([("c", pa.string())])))])


@pytest.mark.parametrize(
    ("text", "type_"),
    [
        ("str", pa.string()),
        ("json", pa.string()),
        (" int ", pa.int64()),
        ("float", pa.float64()),
        ("bool", pa.bool_()),
        ("datetime", pa.timestamp("us")),
        ("int32", pa.int32()),
        ("date32[day]", pa.date32()),
        ("list<str>", pa.list_(pa.string())),
        ("list<item: double>", pa.list_(pa.float64())),
        ("struct<a: int64, b: list<struct<c: str>>>", NESTED),
    ],
)
def test_names_of_types(text: str, type_: pa.DataType) -> None:
    assert parse_dtype(text) == type_


@pytest.mark.parametrize(
    "type_",
    [pa.int8(), pa.float64(), pa.list_(pa.list_(pa.bool_())), pa.struct([("a", pa.string()), ("b", pa.date32())])],
)
def test_the_name_that_arrow_gives_a_type_is_read_back(type_: pa.DataType) -> None:
    assert parse_dtype(str(type_)) == type_


@pytest.mark.parametrize("text", ["", "texty", "list<texty>", "list<str", "struct<a>", "struct<: str>", "struct<>"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no"):
        parse_dtype(text)
