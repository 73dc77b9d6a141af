"""The filter language: what it means to DuckDB, what it refuses, and that no text in it becomes SQL."""

from __future__ import annotations

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_datagen.server.filters import (
    MAX_DEPTH,
    MAX_LENGTH,
    FilterError,
    ValueKind,
    kind_of,
    parse_filter,
    parse_sort,
)

COLUMNS = {
    "age": "BIGINT",
    "price": "DECIMAL(9,2)",
    "score": "DOUBLE",
    "city": "VARCHAR",
    'my `odd" column': "VARCHAR",
    "born": "DATE",
    "ok": "BOOLEAN",
    "tags": "VARCHAR[]",
    "not": "INTEGER",
}
ROWS = """
    SELECT * FROM (VALUES
        (1, 1.10, 0.5, 'Oslo', 'a', DATE '2020-01-01', true, ['x'], 1),
        (2, 2.00, 'nan'::DOUBLE, 'O''Hara "x"', '50 %', DATE '2021-06-01', false, ['y'], 2),
        (3, NULL, NULL, NULL, 'null', NULL, NULL, NULL, NULL),
        (4, 9.99, -1.0, '', '0E8', DATE '1999-12-31', true, [], 4)
    ) AS t(age, price, score, city, "my `odd"" column", born, ok, tags, "not")
"""


def found(text: str) -> list[int]:
    """The ages of the rows that a filter leaves."""
    condition = parse_filter(text, COLUMNS)
    with duckdb.connect() as connection:
        rows = connection.execute(f"SELECT age FROM ({ROWS}) WHERE {condition.sql} ORDER BY age", condition.parameters)
        return [row[0] for row in rows.fetchall()]


@pytest.mark.parametrize(
    ("text", "ages"),
    [
        ("", [1, 2, 3, 4]),
        ("age = 2", [2]),
        ("age != 2 and age < 4", [1, 3]),
        ("age >= 2 AND (city = 'Oslo' OR ok = true)", [4]),
        ("age = 1 or age = 2 and ok = true", [1]),
        ("not age in (1, 2)", [3, 4]),
        ("age not in (1, 2)", [3, 4]),
        ("price = 1.10", [1]),
        ("price > 1.5", [2, 4]),
        ("score is nan", [2]),
        ("score is not nan", [1, 4]),
        ("city is null", [3]),
        ("tags is not null", [1, 2, 4]),
        ("city = ''", [4]),
        ("city = 'O''Hara \"x\"'", [2]),
        ('city = "O\'Hara ""x"""', [2]),
        ("`my ``odd\" column` contains '%'", [2]),
        ("`my ``odd\" column` = 'null'", [3]),
        ("`my ``odd\" column` = '0E8'", [4]),
        ("city starts with 'Os' or city ends with '\"'", [1, 2]),
        ("born > '2000-01-01'", [1, 2]),
        ("ok = false", [2]),
        ("`not` = 4", [4]),
        ("age = 4.0e0", [4]),
        ("age = -1 or age = +1", [1]),
    ],
)
def test_a_filter_finds_the_rows_it_describes(text: str, ages: list[int]) -> None:
    assert found(text) == ages


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nothing = 1", "there is no column 'nothing'"),
        ("age = '1'", "write a number without quotes"),
        ("city = 1", "write the value between quotes"),
        ("ok = 'true'", "write true or false"),
        ("tags = 'x'", "it can only be asked whether it is null"),
        ("tags contains 'x'", "only text can be searched"),
        ("age is nan", "holds no floating-point numbers"),
        ("age = 1; DROP TABLE data", "is not understood"),
        ("age = 1 -- comment", "is not understood"),
        ("age = 1 age = 2", "expected 'and', 'or' or the end"),
        ("age =", "expected a value, found the end"),
        ("age", "expected a comparison"),
        ("(age = 1", "expected ')'"),
        ("age in ()", "expected a value"),
        ("age not 1", "expected 'in'"),
        ("city = 'open", "is not understood"),
        ("age = 1abc", "is not understood"),
        ("age = age", "does not fit"),
        ("1 = age", "expected a column"),
        ("'city' = 'x'", "expected a column"),
        ("age = 1" + " or age = 1" * 500, f"{MAX_LENGTH:,} is the limit"),
        ("(" * (MAX_DEPTH + 1) + "age = 1" + ")" * (MAX_DEPTH + 1), "levels deep"),
        ("not " * (MAX_DEPTH + 2) + "age = 1", "levels deep"),
    ],
)
def test_what_is_no_filter_is_refused_with_the_reason(text: str, message: str) -> None:
    with pytest.raises(FilterError) as refused:
        parse_filter(text, COLUMNS)
    assert message in str(refused.value)


@given(st.text(max_size=60))
def test_any_text_is_either_refused_or_a_condition_that_runs(text: str) -> None:
    """Whatever is typed, DuckDB never sees a syntax error, an unknown name or a second statement."""
    try:
        ages = found(text)
    except FilterError:
        return
    except duckdb.ConversionException:  # a quoted value that is no date
        return
    assert set(ages) <= {1, 2, 3, 4}


@given(st.text(max_size=40))
def test_quoted_text_is_compared_as_it_is(value: str) -> None:
    condition = parse_filter("city = '" + value.replace("'", "''") + "'", COLUMNS)
    assert condition.parameters == {"filter_0": value}
    assert condition.sql == '("city" = $filter_0)'


def test_a_sort_order_names_columns_only() -> None:
    columns = {"a": "BIGINT", "-a": "BIGINT", 'b"; DROP': "VARCHAR"}
    assert parse_sort("a,--a", columns) == ['"a" ASC NULLS LAST', '"-a" DESC NULLS LAST']
    assert parse_sort("-a", columns) == ['"-a" ASC NULLS LAST']
    assert parse_sort('-b"; DROP', columns) == ['"b""; DROP" DESC NULLS LAST']
    with pytest.raises(FilterError, match="there is no column"):
        parse_sort("a, 1", columns)


@pytest.mark.parametrize(
    ("column_type", "kind"),
    [
        ("VARCHAR", ValueKind.TEXT),
        ("UUID", ValueKind.TEXT),
        ("ENUM('a', 'b')", ValueKind.TEXT),
        ("HUGEINT", ValueKind.NUMBER),
        ("DECIMAL(38,4)", ValueKind.NUMBER),
        ("TIMESTAMP WITH TIME ZONE", ValueKind.TIME),
        ("TIMESTAMP_NS", ValueKind.TIME),
        ("STRUCT(a INTEGER)", ValueKind.OTHER),
        ("MAP(VARCHAR, INTEGER)", ValueKind.OTHER),
        ("INTEGER[3]", ValueKind.OTHER),
        ("BLOB", ValueKind.OTHER),
    ],
)
def test_kinds_of_types(column_type: str, kind: ValueKind) -> None:
    assert kind_of(column_type) is kind
