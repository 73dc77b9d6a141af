"""SQL expressions: DuckDB's values and types, row by row, whatever the row group."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import date
from typing import Any

import pyarrow as pa
import pytest
from pydantic import ValidationError

from prefect_datagen.columns.base import SkipConfig
from prefect_datagen.columns.sql import SqlColumnConfig
from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.engine.node import ColumnNode, FullColumn, Strategy
from tests.columns.fakes import context, make_batch, problems

TYPES = {
    "a": pa.int64(),
    "b": pa.string(),
    "f": pa.float64(),
    "l": pa.list_(pa.int64()),
    "s": pa.struct([("x", pa.string())]),
}


def node(expr: str, **fields: Any) -> ColumnNode:
    return SqlColumnConfig(name="made", expr=expr, **fields).build(context(TYPES))


def made(expr: str, *, dtype: str | None = None, **columns: Any) -> FullColumn:
    arrays = {name: pa.array(values, TYPES[name]) for name, values in columns.items()}
    return make_batch(node(expr, dtype=dtype), **arrays)


def reads(expr: str) -> list[str]:
    return [reference.column for reference in SqlColumnConfig(name="made", expr=expr).references()]


@pytest.mark.parametrize(
    ("expr", "columns"),
    [
        ("a * 2 + f", ["a", "f"]),
        ('"a" || b -- and a comment', ["a", "b"]),
        ("s.x || s['x']", ["s"]),
        ("list_transform(l, lambda q: q + a)", ["a", "l"]),
        ("[q * 2 for q in l]", ["l"]),
        ("CASE WHEN a > 1 THEN 'a' ELSE b END", ["a", "b"]),
        ("1 + 1", []),
    ],
)
def test_the_columns_that_it_reads_are_known_from_its_text(expr: str, columns: list[str]) -> None:
    assert reads(expr) == columns
    assert node(expr).inputs == tuple(columns)


@pytest.mark.parametrize(
    ("expr", "dtype", "type_"),
    [
        ("a * 2", None, pa.int64()),
        ("a / 2", None, pa.float64()),
        ("b || '!'", None, pa.string()),
        ("a > 1", None, pa.bool_()),
        ("DATE '2024-01-01' + a::INT", None, pa.date32()),
        ("{'k': a}", None, pa.struct([("k", pa.int64())])),
        ("b::ENUM('x', 'y')", None, pa.string()),
        ("a", "str", pa.string()),
        ("a", "float", pa.float64()),
        ("b", "int", pa.int64()),
        ("a", "bool", pa.bool_()),
    ],
)
def test_its_type_is_known_before_the_first_row(expr: str, dtype: Any, type_: pa.DataType) -> None:
    config = SqlColumnConfig(name="made", expr=expr, dtype=dtype)
    assert config.types(TYPES) == (type_,)
    built = config.build(context(TYPES))
    assert (built.types, built.strategy) == ((type_,), Strategy.FULL_COLUMN)
    empty = make_batch(built, **{name: pa.array([], TYPES[name]) for name in built.inputs})
    assert empty.arrays["made"].type == type_


def test_values_are_those_of_their_rows_in_order() -> None:
    rows = 10_000
    doubled = made("a * 2", a=range(rows))
    assert doubled.arrays["made"].to_pylist() == [2 * row for row in range(rows)]
    assert made("b || '!'", b=["0E8", None, "00M"]).arrays["made"].to_pylist() == ["0E8!", None, "00M!"]
    assert made("DATE '2024-01-01' + a::INT", a=[1]).arrays["made"].to_pylist() == [date(2024, 1, 2)]
    assert made("s.x", s=[{"x": "1.10"}, None]).arrays["made"].to_pylist() == ["1.10", None]


def test_an_expression_that_reads_nothing_has_a_value_for_each_row() -> None:
    assert make_batch(node("1 + 1"), a=[5, 6, 7]).arrays["made"].to_pylist() == [2, 2, 2]


def test_only_the_rows_that_fail_are_rejected() -> None:
    result = made("b", dtype="int", b=["1", "x", "3", None, "y"])
    assert result.arrays["made"].to_pylist() == [1, None, 3, None, None]
    assert {position: error.reason for position, error in result.rejected.items()} == {1: "sql", 4: "sql"}
    assert "Could not convert string 'x'" in result.rejected[1].message
    overflow = made("a * 9223372036854775807", a=[1, 2, 0])
    assert (overflow.arrays["made"].to_pylist(), list(overflow.rejected)) == ([9223372036854775807, None, 0], [1])


def test_many_threads_may_use_one_generator() -> None:
    built = node("a * 2")
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda start: make_batch(built, a=range(start, start + 100)), range(0, 800, 100)))
    values = [value for result in results for value in result.arrays["made"].to_pylist()]
    assert values == [2 * row for row in range(800)]


@pytest.mark.parametrize(
    ("expr", "message"),
    [
        ("a +", "does not parse"),
        ("a, b", "must be one expression"),
        ("a AS q", "must be one expression"),
        ("a) , (b", "does not parse"),
        ("a FROM t", "does not parse"),
        ("a WHERE b", "does not parse"),
        ("1; DROP TABLE t", "does not parse"),
        ("sum(a)", "sum() aggregates rows"),
        ("row_number() OVER ()", "window functions"),
        ("(SELECT 1)", "subqueries are refused"),
        ("*", "name the columns"),
        ("?", "parameters are refused"),
        ("random() + a", "another value each time"),
        ("now()", "another value each time"),
        ("uuid()", "another value each time"),
        ("A + a", "the same name to SQL"),
    ],
)
def test_what_is_not_one_value_of_one_row_is_refused(expr: str, message: str) -> None:
    assert message in problems(SqlColumnConfig(name="made", expr=expr))["expr"]


@pytest.mark.parametrize(
    ("expr", "message"),
    [
        ("nosuch(a)", "nosuch does not exist"),
        ("a > b", "Cannot compare"),
        ("s.y", "y"),
        ("geometric_mean(a)", "aggregates rows"),
    ],
)
def test_what_duckdb_refuses_for_these_types_is_a_config_error(expr: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        SqlColumnConfig(name="made", expr=expr).types(TYPES)
    assert message in caught.value.message
    assert "column 'made'" in caught.value.message


@pytest.mark.parametrize("expr", ["read_text(b)", "getenv('HOME')", "read_csv('/etc/passwd')"])
def test_files_and_the_environment_are_out_of_reach(expr: str) -> None:
    with pytest.raises(ConfigError):
        SqlColumnConfig(name="made", expr=expr).types(TYPES)


def test_a_skip_value_of_another_type_is_found() -> None:
    skip = SkipConfig(when="{{ a }}", value="none")
    assert "skip.value" in problems(SqlColumnConfig(name="made", expr="a", dtype="int", skip=skip))
    with pytest.raises(ConfigError, match=r"skip\.value"):
        SqlColumnConfig(name="made", expr="a", skip=skip).build(context(TYPES))
    with pytest.raises(ValidationError, match="must not be empty"):
        SqlColumnConfig(name="made", expr="")
