"""Expressions: text as Jinja2 gives it, strict conversion, and the same values cell by cell and all at once."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from prefect_datagen.columns.base import SkipConfig
from prefect_datagen.columns.expression import ExpressionColumnConfig
from prefect_datagen.engine.errors import CellError
from prefect_datagen.engine.node import INLINE, ColumnNode, Strategy
from tests.columns.fakes import context, make_batch, problems

TYPES = {"a": pa.string(), "b": pa.int64(), "f": pa.float64(), "s": pa.struct([("x", pa.list_(pa.string()))])}


def node(expr: str, *, dtype: Any = "str", full: bool = False, types: dict[str, pa.DataType] = TYPES) -> ColumnNode:
    config = ExpressionColumnConfig(name="made", expr=expr, dtype=dtype)
    return config.build(context(types, full=list(types) if full else []))


def now(built: ColumnNode, **inputs: Any) -> Any:
    (value,) = built.generator.generate_now(inputs)  # type: ignore[union-attr]
    return value


def test_it_is_a_full_column_where_all_inputs_are_and_inline_cells_otherwise() -> None:
    config = ExpressionColumnConfig(name="made", expr="{{ a }}{{ b }}")
    whole = config.build(context(TYPES, full=["a", "b"]))
    cells = config.build(context(TYPES, full=["a"]))
    assert (whole.strategy, cells.strategy, cells.resource) == (Strategy.FULL_COLUMN, Strategy.CELL, INLINE)
    assert (whole.inputs, whole.produces, whole.types) == (("a", "b"), ("made",), (pa.string(),))


@pytest.mark.parametrize("text", ["0E8", "00M", "1.10", "null", "true", "NA", " x\n", ""])
def test_text_stays_the_text_that_it_is(text: str) -> None:
    assert now(node("{{ a }}"), a=text) == text
    assert make_batch(node("{{ a }}", full=True), a=[text]).arrays["made"].to_pylist() == [text]


@pytest.mark.parametrize(
    ("expr", "dtype", "text", "value"),
    [
        ("{{ a }}", "int", "12", 12),
        ("{{ a }}", "int", " -12.0 ", -12),
        ("{{ a }}", "int", "1e3", 1000),
        ("{{ a }}", "int", "9223372036854775807", 2**63 - 1),
        ("{{ a }}", "float", "12", 12.0),
        ("{{ a }}", "float", "1e-3", 0.001),
        ("{{ a }}", "bool", "True", True),
        ("{{ a }}", "bool", "no", False),
        ("{{ a }}", "bool", "0", False),
    ],
)
def test_rendered_text_becomes_the_type(expr: str, dtype: str, text: str, value: Any) -> None:
    made = now(node(expr, dtype=dtype), a=text)
    assert (made, type(made)) == (value, type(value))


@pytest.mark.parametrize(
    ("dtype", "text"),
    [
        ("int", "1.5"),
        ("int", ""),
        ("int", "None"),
        ("int", "True"),
        ("int", "9223372036854775808"),
        ("int", "9" * 5000),
        ("int", "inf"),
        ("float", ""),
        ("float", "1,5"),
        ("bool", "2"),
        ("bool", ""),
        ("bool", "0.0"),
    ],
)
def test_text_that_is_not_of_the_type_loses_the_row_and_is_shown(dtype: str, text: str) -> None:
    with pytest.raises(CellError) as caught:
        now(node("{{ a }}", dtype=dtype), a=text)
    assert caught.value.reason == "type"
    assert repr(text[:20])[:-1] in caught.value.message


def test_in_a_full_column_only_the_bad_rows_are_rejected() -> None:
    made = make_batch(node("{{ 6 // b }}", dtype="int", full=True), b=[2, 0, 3])
    assert made.arrays["made"].to_pylist() == [3, None, 2]
    assert {position: error.reason for position, error in made.rejected.items()} == {1: "template"}
    made = make_batch(node("{{ a }}", dtype="int", full=True), a=["1", "x", ""])
    assert made.arrays["made"].to_pylist() == [1, None, None]
    assert {position: error.reason for position, error in made.rejected.items()} == {1: "type", 2: "type"}


def test_nested_values_look_like_json_and_missing_ones_like_none() -> None:
    assert now(node("{{ s }} {{ a }}"), s={"x": ["é", "0E8"]}, a=None) == '{"x":["é","0E8"]} None'
    assert now(node("{{ s.x | join('+') }} {{ s.x }}"), s={"x": ["p", "q"]}) == 'p+q ["p","q"]'
    assert now(node("{{ a or 'unknown' }}"), a=None) == "unknown"


def test_a_field_that_is_not_there_loses_the_row() -> None:
    with pytest.raises(CellError, match="has no attribute 'y'"):
        now(node("{{ s.y }}"), s={"x": []})


ROWS = st.fixed_dictionaries(
    {
        "a": st.none() | st.text(),
        "b": st.none() | st.integers(-(2**63), 2**63 - 1),
        "f": st.none() | st.floats(),
        "t": st.none() | st.booleans(),
        "w": st.none() | st.datetimes(min_value=datetime(1900, 1, 1), max_value=datetime(2200, 1, 1)),
        "s": st.none() | st.fixed_dictionaries({"x": st.lists(st.text(max_size=3), max_size=2)}),
    }
)
ALL_TYPES = {**TYPES, "t": pa.bool_(), "w": pa.timestamp("us")}


@pytest.mark.parametrize(
    ("expr", "dtype"),
    [
        ("{{ a }} is {{ b }}, {{ f }}; {{ t }} {{ w }} {{ s }}", "str"),
        ("{{ b * 2 }}", "int"),
        ("{{ f }}", "float"),
        ("{{ t }}", "bool"),
        ("{% if t %}{{ a }}{% endif %}", "str"),
        ("{{ s.x | length }}", "int"),
    ],
)
@settings(deadline=None, max_examples=25)
@given(rows=st.lists(ROWS, max_size=4))
def test_all_at_once_and_cell_by_cell_give_the_same(expr: str, dtype: str, rows: list[dict[str, Any]]) -> None:
    cells, whole = (node(expr, dtype=dtype, full=full, types=ALL_TYPES) for full in (False, True))
    arrays = {name: pa.array([row[name] for row in rows], ALL_TYPES[name]) for name in whole.inputs}
    made = make_batch(whole, **arrays)
    for position, value in enumerate(made.arrays["made"].to_pylist()):
        inputs = {name: array[position].as_py() for name, array in arrays.items()}
        if position in made.rejected:
            with pytest.raises(CellError) as caught:
                now(cells, **inputs)
            assert caught.value.reason == made.rejected[position].reason
        else:
            assert repr(now(cells, **inputs)) == repr(value)


def test_mistakes_are_found_before_any_row() -> None:
    with pytest.raises(ValidationError, match="must not be empty"):
        ExpressionColumnConfig(name="made", expr=" ")
    with pytest.raises(ValidationError, match="dtype"):
        ExpressionColumnConfig.model_validate({"name": "made", "expr": "x", "dtype": "date"})
    skipping = ExpressionColumnConfig(name="made", expr="{{ a }}", skip=SkipConfig(when="{{ b }}", value=0))
    assert problems(skipping) == {"skip.value": "0 is not text (the column's type is string); null fits any type"}
    broken = ExpressionColumnConfig(name="made", expr="{{ a ")
    assert (list(broken.references()), list(broken.templates())) == ([], [("expr", "{{ a ")])
