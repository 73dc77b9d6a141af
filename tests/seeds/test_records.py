"""Column types out of records: as the values are, whatever the chunks; mixed columns become text."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.seeds.records import records_table


def column(values: list[Any], *, chunk: int = 2) -> pa.ChunkedArray:
    records = [{"a": value} for value in values]
    table = records_table([records[at : at + chunk] for at in range(0, len(records), chunk)], origin="test")
    return table.take(np.arange(table.num_rows)).column("a")


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["0E8", "true", "null", "1.10"], pa.string()),
        ([1, None, 3], pa.int64()),
        ([1, 2, 1.5], pa.float64()),
        ([True, False, None], pa.bool_()),
        ([Decimal("1.10"), Decimal("2"), Decimal("100.125")], pa.decimal128(6, 3)),
        ([date(2020, 1, 1)], pa.date32()),
        ([datetime(2020, 1, 1, tzinfo=UTC)], pa.timestamp("us", tz="UTC")),
        ([b"\x00"], pa.binary()),
        ([["a"], [], None, ["b"]], pa.list_(pa.string())),
        ([{"x": 1}, None, {"y": "t"}], pa.struct([("x", pa.int64()), ("y", pa.string())])),
        ([None, None, None, 5], pa.int64()),
    ],
)
@pytest.mark.parametrize("chunk", [1, 2, 10])
def test_the_type_is_that_of_the_values(values: list[Any], kind: pa.DataType, chunk: int) -> None:
    found = column(values, chunk=chunk)
    assert found.type == kind
    expected = [{**dict.fromkeys(["x", "y"]), **v} if isinstance(v, dict) else v for v in values]
    assert found.to_pylist() == expected


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([1, "0E8", None, 1.5, True], ["1", "0E8", None, "1.5", "true"]),
        ([{"a": 1}, {"a": "x"}, {"b": "é"}], ['{"a": 1}', '{"a": "x"}', '{"b": "é"}']),
        ([[1], ["a"]], ["[1]", '["a"]']),
        ([{}, None, {}], ["{}", None, "{}"]),
        ([2**63, 1], ["9223372036854775808", "1"]),
        ([True, 1], ["true", "1"]),
        ([date(2020, 1, 1), datetime(2020, 1, 1, 5)], ['"2020-01-01"', '"2020-01-01 05:00:00"']),
    ],
)
@pytest.mark.parametrize("chunk", [1, 2, 10])
def test_values_of_different_kinds_become_text_whatever_the_chunks(
    values: list[Any], texts: list[str | None], chunk: int
) -> None:
    found = column(values, chunk=chunk)
    assert (found.type, found.to_pylist()) == (pa.string(), texts)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(alphabet=st.characters(codec="utf-8")) | st.none(), min_size=1))
def test_any_text_survives(values: list[str | None]) -> None:
    assert column(values).to_pylist() == values


def test_names_stand_in_the_order_of_first_appearance_and_missing_ones_are_null() -> None:
    table = records_table([[{"b": 1}], [{"a": "x", "b": 2}]], origin="test")
    assert table.schema == pa.schema([("b", pa.int64()), ("a", pa.string())])


def test_the_fingerprint_is_that_of_the_values() -> None:
    def fingerprint(values: list[Any], size: int) -> str:
        chunks = [[{"a": v} for v in values[at : at + size]] for at in range(0, len(values), size)]
        return records_table(chunks, origin="test").fingerprint

    values = ["x", None, "", "y"] * 10
    assert fingerprint(values, 1) == fingerprint(values, 7) == fingerprint(values, 100)
    assert fingerprint(values, 7) != fingerprint(values[:-1], 7)
    assert fingerprint(["", None], 7) != fingerprint([None, ""], 7)


def test_a_value_that_cannot_be_stored_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="test: column 'a' cannot be stored as string"):
        column(["\ud800"])
