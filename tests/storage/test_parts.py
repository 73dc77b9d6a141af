"""Rejected rows keep what they had, whatever that was."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from prefect_datagen.engine.outcomes import RejectedRow
from prefect_datagen.storage.parts import REJECTS_SCHEMA, rejected_rows, rejects_table


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
