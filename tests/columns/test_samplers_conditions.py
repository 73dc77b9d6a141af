"""Conditions: for every row what Python says of that row, and errors where Python would compare unlike things."""

from __future__ import annotations

from datetime import datetime

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefect_datagen.columns.samplers.conditions import Condition
from prefect_datagen.engine.errors import ConfigError

ROWS = [
    {"n": 1, "x": 0.5, "c": "a", "b": True, "e": ""},
    {"n": 4, "x": 2.0, "c": "b", "b": False, "e": "abc"},
    {"n": -3, "x": -7.25, "c": "ab", "b": True, "e": "b"},
    {"n": 0, "x": 0.0, "c": "", "b": False, "e": "0"},
    {"n": 7, "x": 7.0, "c": "null", "b": True, "e": "x"},
]
COLUMNS = {name: pa.array([row[name] for row in ROWS]) for name in ROWS[0]}


def holds(text: str, columns: dict[str, pa.Array] | None = None) -> list[bool]:
    chosen = COLUMNS if columns is None else columns
    condition = Condition(text)
    rows = len(next(iter(chosen.values())))
    mask = condition.holds({name: chosen[name] for name in condition.references}, rows)
    return [bool(value) for value in mask]


@pytest.mark.parametrize(
    "text",
    [
        "n > 1",
        "n >= 1 and c == 'a'",
        "n > 3 or c == 'a' or not b",
        "not (n > 3 or b)",
        "0 < n < 5 <= x + 5",
        "c in ['a', 'b']",
        "c not in ('a', 'b')",
        "n in [1, 7.0, 9]",
        "c in []",
        "'b' in c",
        "'b' not in e",
        "n * 2 + 1 == 9",
        "n / 2 == 2",
        "n // 2 == 3",
        "n % 3 == 1",
        "x % 2 == 0.75",
        "-n == 3",
        "+n == 4",
        "n - x > 0.25",
        "b == True",
        "b == 1",
        "n == True",
        "n",
        "x and b",
        "c or e",
        "not e",
        "c < 'b'",
        "c != 'a'",
        "c == e",
        "n == x",
        "1 < 2",
        "'a' == 'a' and n > 0",
        "True",
        "not n is None",
        "n is not None",
        "n == None",
        "c != None",
        "c == 'null'",
        "n > 0 and 'b' in 'abc'",
        "e == '0'",
    ],
)
def test_a_condition_holds_for_the_rows_that_python_says(text: str) -> None:
    assert holds(text) == [bool(eval(text, {"__builtins__": {}}, dict(row))) for row in ROWS]


NUMBERS = st.sampled_from(["n", "x", "2", "0.5", "n + 1", "x * 2", "(n - x)", "n % 4", "x / 2", "-n"])
TEXTS = st.sampled_from(["c", "e", "'a'", "'b'", "''"])
COMPARISONS = st.one_of(
    st.builds("{} {} {}".format, NUMBERS, st.sampled_from(["<", "<=", "==", "!=", ">", ">="]), NUMBERS),
    st.builds("{} {} {}".format, TEXTS, st.sampled_from(["<", "==", "!=", ">="]), TEXTS),
    st.builds("{} in [{}, {}]".format, NUMBERS, NUMBERS, NUMBERS),
    st.builds("{} not in [{}, {}]".format, TEXTS, TEXTS, TEXTS),
    st.sampled_from(["b", "n", "True"]),
)
CONDITIONS = st.recursive(
    COMPARISONS,
    lambda inner: st.one_of(
        st.builds("({} and {})".format, inner, inner),
        st.builds("({} or {})".format, inner, inner),
        st.builds("(not {})".format, inner),
    ),
    max_leaves=6,
)


@settings(max_examples=200, deadline=None)
@given(CONDITIONS)
def test_any_condition_holds_for_the_rows_that_python_says(text: str) -> None:
    assert holds(text) == [bool(eval(text, {"__builtins__": {}}, dict(row))) for row in ROWS]


def test_small_constants_are_those_of_templates() -> None:
    assert holds("b == true") == [row["b"] for row in ROWS]
    assert holds("b == false and n != none") == [not row["b"] for row in ROWS]
    assert Condition("b == true and n != none").references == ("b", "n")


def test_a_missing_value_is_below_above_and_equal_to_nothing() -> None:
    columns = {"n": pa.array([1, None, 3]), "m": pa.array([None, None, 3])}
    assert holds("n < 2", columns) == [True, False, False]
    assert holds("n >= 2", columns) == [False, False, True]
    assert holds("n == m", columns) == [False, False, True]
    assert holds("n != 1", columns) == [False, True, True]
    assert holds("n", columns) == [True, False, True]
    assert holds("not n", columns) == [False, True, False]
    assert holds("n is None", columns) == [False, True, False]
    assert holds("n in [1, None]", columns) == [True, True, False]
    assert holds("n + 1 == 4", columns) == [False, False, True]


def test_times_compare_with_iso_text_and_with_times() -> None:
    times = pa.array([datetime(2024, 1, 1), datetime(2024, 1, 2, 12), None], pa.timestamp("us"))
    dates = times.cast(pa.date32(), safe=False)
    columns = {"t": times, "d": dates, "z": times.cast(pa.timestamp("ms", "UTC"))}
    assert holds("t >= '2024-01-02'", columns) == [False, True, False]
    assert holds("'2024-01-01' <= t < '2024-01-01T00:00:01'", columns) == [True, False, False]
    assert holds("t == '2024-01-02T12:00:00'", columns) == [False, True, False]
    assert holds("t > d", columns) == [False, True, False]
    assert holds("z == t", columns) == [True, True, False]
    with pytest.raises(ConfigError, match="'noon' is no date or time"):
        holds("t > 'noon'", columns)
    with pytest.raises(ConfigError, match="compares a column of times with a column of text"):
        holds("t > c", columns | {"c": pa.array(["2024-01-01"] * 3)})
    assert holds("t", columns) == [True, True, False]


def test_fields_of_records_are_read_by_dot_and_by_name() -> None:
    people = pa.array([{"age": 17, "name": "Al"}, {"age": 40, "name": None}, None])
    assert holds("p.age >= 18", {"p": people}) == [False, True, False]
    assert holds("p['age'] < 18 and p.name == 'Al'", {"p": people}) == [True, False, False]
    with pytest.raises(ConfigError, match=r"'p.size' asks for a field that is not there; there are age, name"):
        holds("p.size > 1", {"p": people})
    with pytest.raises(ConfigError, match="asks for a field of what has no fields"):
        holds("n.real > 1")
    with pytest.raises(ConfigError, match="only a field's name in quotes"):
        holds("p[0] == 1", {"p": people})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("c == 1", "'c == 1' compares a text with a number, which never holds"),
        ("n < 'a'", "compares a number with a text"),
        ("n in ['1']", "compares a number with a text"),
        ("b == 'True'", "compares a truth value with a text"),
        ("c + 'a' == 'aa'", "computes with a text; only numbers"),
        ("n + none == 1", "computes with a missing value"),
        ("n is 3", "`is` can only ask for None"),
        ("n in c", "looks into what is neither a list nor text"),
        ("n * 9223372036854775807 > 0", "cannot be evaluated: overflow"),
        ("n == 2 ** 3", "Pow is not allowed"),
        ("n < 100000000000000000000000", "cannot be evaluated"),
    ],
)
def test_what_could_never_hold_is_an_error(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        holds(text)
    assert message in caught.value.message


def test_categories_of_dictionary_type_are_text() -> None:
    assert holds("c == 'a'", {"c": pa.array(["a", "b", None]).dictionary_encode()}) == [True, False, False]


def test_a_condition_without_columns_is_the_same_for_every_row() -> None:
    assert Condition("1 > 2").holds({}, 3).tolist() == [False, False, False]
    assert Condition("1 < 2").holds({}, 0).tolist() == []
