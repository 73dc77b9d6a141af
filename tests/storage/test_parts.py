"""Rejected rows keep what they had, whatever that was."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow.parquet import ParquetFile

from prefect_datagen.engine.outcomes import RejectedRow
from prefect_datagen.storage.parts import REJECTS_SCHEMA, encode, rejected_rows, rejects_table


def rejected(**changes: Any) -> RejectedRow:
    fields: dict[str, Any] = {
        "row_index": 0,
        "column": "c",
        "error_type": "CellError",
        "reason": "invalid answer",
        "message": "m",
        "attempts": 1,
        "retryable": True,
    }
    return RejectedRow(**{**fields, **changes})


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"code": "0E8", "n": 2**70, "x": 0.1, "none": None, "list": [1, {"a": "é"}], "flag": True},
        {"text": 'quotes " and \\ and \n', "empty": "", "number as text": "1.10"},
        {"surrogate": "broken \ud800 answer"},
    ],
)
def test_values_are_kept_exactly(values: dict[str, Any]) -> None:
    row = rejected(values=values)
    table = rejects_table([row])
    assert table.schema == REJECTS_SCHEMA
    assert rejected_rows(table) == [row]


def test_values_that_json_does_not_know_are_kept_as_text() -> None:
    loop: dict[str, Any] = {}
    loop["self"] = loop
    rows = [rejected(values={"when": datetime(2025, 1, 2)}), rejected(values={"n": 1, "loop": loop})]
    kept = [row.values for row in rejected_rows(rejects_table(rows))]
    assert kept == [{"when": "2025-01-02 00:00:00"}, {"n": "1", "loop": "{'self': {...}}"}]


def test_an_answer_that_utf8_cannot_hold_is_kept_with_escapes() -> None:
    [kept] = rejected_rows(rejects_table([rejected(answer="a\ud800", message="b\udfff")]))
    assert (kept.answer, kept.message) == ("a\\ud800", "b\\udfff")


def test_rejected_rows_are_stored_by_row() -> None:
    table = rejects_table([rejected(row_index=index) for index in (5, 1, 3)])
    assert table["row_index"].to_pylist() == [1, 3, 5]


def with_dictionary(table: pa.Table) -> set[str]:
    """Columns of the file whose values stand in a dictionary, by their paths."""
    with ParquetFile(pa.BufferReader(encode(table))) as file:
        assert file.read().equals(table)
        columns = [file.metadata.row_group(0).column(at) for at in range(file.metadata.num_columns)]
        return {column.path_in_schema for column in columns if column.has_dictionary_page}


def test_values_that_repeat_have_a_dictionary_and_others_none() -> None:
    number = np.arange(3000)
    table = pa.table(
        {
            "word": pa.array([f"w{each % 50}" for each in number]),
            "name": pa.array([f"name {each}" for each in number]),
            "measured": pa.array(number / 7),
            "rounded": pa.array(np.round(number / 7, 0)),
            "vector": pa.array([[each / 3, each / 5] for each in number]),
            "tags": pa.array([["x", "y"]] * 3000),
            "record": pa.array([{"id": int(each), "kind": "k", "grades": [1, 2]} for each in number]),
            "map": pa.array([[(f"key {each}", "v")] for each in number], pa.map_(pa.string(), pa.string())),
            "nothing": pa.nulls(3000, pa.int64()),
            "day": pa.array(number % 365, pa.int64()).cast(pa.timestamp("us")),
            "code": pa.array([f"c{each % 9}" for each in number]).dictionary_encode(),
        }
    )
    expected = {"word", "rounded", "tags.list.element", "record.kind", "record.grades.list.element", "nothing", "day"}
    assert with_dictionary(table) == expected | {"map.key_value.value", "code"}


def test_short_tables_are_left_to_the_encoder() -> None:
    assert with_dictionary(pa.table({"measured": pa.array(np.arange(20) / 7)})) == {"measured"}
