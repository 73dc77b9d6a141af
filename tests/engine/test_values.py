"""A value fits its column's type or is refused; nothing is retyped."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any

import numpy as np
import orjson
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefect_datagen.engine.errors import CellError
from prefect_datagen.engine.values import fit, json_text, python_values


class Colour(StrEnum):
    RED = "red"


NESTED = pa.struct([("name", pa.string()), ("tags", pa.list_(pa.string())), ("size", pa.float64())])

FITS: list[tuple[Any, pa.DataType, Any]] = [
    (None, pa.int64(), None),
    ("0E8", pa.string(), "0E8"),
    ("true", pa.large_string(), "true"),
    (Colour.RED, pa.string(), "red"),
    ({"a": [1, None]}, pa.string(), '{"a":[1,null]}'),
    (["x"], pa.string(), '["x"]'),
    (True, pa.bool_(), True),
    (np.bool_(True), pa.bool_(), True),
    (5, pa.int64(), 5),
    (np.int32(5), pa.int64(), 5),
    (255, pa.uint8(), 255),
    (5, pa.float64(), 5.0),
    (2**70, pa.float64(), float(2**70)),
    (np.float32(0.5), pa.float32(), 0.5),
    (b"\x00", pa.binary(), b"\x00"),
    (date(2024, 2, 29), pa.date32(), date(2024, 2, 29)),
    (datetime(2024, 1, 1), pa.timestamp("us"), datetime(2024, 1, 1)),
    (datetime(2024, 1, 1, tzinfo=UTC), pa.timestamp("us", tz="UTC"), datetime(2024, 1, 1, tzinfo=UTC)),
    (np.datetime64("2024-01-01"), pa.timestamp("us"), datetime(2024, 1, 1)),
    (pd.NaT, pa.timestamp("us"), None),
    (time(1, 2), pa.time64("us"), time(1, 2)),
    (timedelta(1), pa.duration("us"), timedelta(1)),
    (Decimal("1.50"), pa.decimal128(5, 2), Decimal("1.50")),
    ("a", pa.dictionary(pa.int32(), pa.string()), "a"),
    ((1, None), pa.list_(pa.int64()), [1, None]),
    (np.array([1.0, 2.0]), pa.list_(pa.float32(), 2), [1.0, 2.0]),
    ({"name": "x", "size": 1}, NESTED, {"name": "x", "tags": None, "size": 1.0}),
]

REFUSED: list[tuple[Any, pa.DataType, str]] = [
    (5, pa.string(), "5 is not text"),
    (1.5, pa.string(), "1.5 is not text"),
    (True, pa.string(), "True is not text"),
    ("\ud800", pa.string(), "not valid Unicode"),
    ({"a": object()}, pa.string(), "cannot be written as JSON"),
    ("12", pa.int64(), "'12' is not an integer"),
    (True, pa.int64(), "True is not an integer"),
    (1.0, pa.int64(), "1.0 is not an integer"),
    (2**63, pa.int64(), "outside"),
    (-1, pa.uint8(), "outside 0 to 255"),
    ("1.5", pa.float64(), "'1.5' is not a number"),
    (True, pa.float64(), "True is not a number"),
    (2**53 + 1, pa.float64(), "more digits"),
    (10**400, pa.float64(), "more digits"),
    ("true", pa.bool_(), "not true or false"),
    (1, pa.bool_(), "not true or false"),
    ("text", pa.binary(), "not bytes"),
    (datetime(2024, 1, 1), pa.date32(), "not a date"),
    ("2024-01-01", pa.date32(), "not a date"),
    (date(2024, 1, 1), pa.timestamp("us"), "not a date and time"),
    (datetime(2024, 1, 1, tzinfo=UTC), pa.timestamp("us"), "has a time zone"),
    (datetime(2024, 1, 1), pa.timestamp("us", tz="UTC"), "has no time zone"),
    (Decimal("1.555"), pa.decimal128(5, 2), "does not fit"),
    ("abc", pa.list_(pa.string()), "not a list"),
    ([1], pa.list_(pa.float32(), 2), "a list of 1 values where 2 are wanted"),
    ([1, "2"], pa.list_(pa.int64()), "'2' is not an integer at [1]"),
    ({"name": "x", "nick": 1}, NESTED, "'nick' is not a field"),
    ({"tags": ["a", 2]}, NESTED, "2 is not text at tags[1]"),
    ([], NESTED, "not a mapping"),
]


@pytest.mark.parametrize(("value", "type_", "stored"), FITS)
def test_what_fits_is_stored_as_it_is(value: Any, type_: pa.DataType, stored: Any) -> None:
    taken = fit(value, type_)
    assert (taken, type(taken)) == (stored, type(stored))
    assert pa.array([taken], type=type_).to_pylist() == pa.array([stored], type=type_).to_pylist()


@pytest.mark.parametrize(("value", "type_", "message"), REFUSED)
def test_what_does_not_fit_is_refused_with_value_place_and_type(value: Any, type_: pa.DataType, message: str) -> None:
    with pytest.raises(CellError) as caught:
        fit(value, type_)
    assert message in caught.value.message
    assert str(type_) in caught.value.message
    assert caught.value.reason == "type"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
TYPES = st.recursive(
    st.sampled_from([pa.string(), pa.int64(), pa.float64(), pa.bool_(), pa.int8()]),
    lambda inner: inner.map(pa.list_) | st.dictionaries(st.text(max_size=3), inner, max_size=3).map(pa.struct),
    max_leaves=5,
)


@settings(deadline=None)
@given(value=JSON, type_=TYPES)
def test_whatever_is_said_to_fit_arrow_takes_and_gives_back(value: Any, type_: pa.DataType) -> None:
    try:
        taken = fit(value, type_)
    except CellError:
        return
    assert pa.array([taken], type=type_).to_pylist() == [taken]


@settings(deadline=None)
@given(value=JSON)
def test_json_text_is_json_of_the_same_value(value: Any) -> None:
    assert json.loads(json_text(value)) == value


def test_json_text_holds_what_orjson_does_not() -> None:
    assert json_text({"n": 2**80}) == f'{{"n":{2**80}}}'
    assert json_text("\ud800") == '"\\ud800"'
    assert json_text({"x": np.float64(1.5), 1: "é"}) == '{"x":1.5,"1":"é"}'
    assert orjson.loads(json_text([True, None])) == [True, None]


ARRAYS = [
    pa.array(["0E8", None, ""]),
    pa.array(["x"], pa.large_string()),
    pa.array([1, 2**53 + 1]),
    pa.array([1, None]),
    pa.array([0.5, float("inf")]),
    pa.array([True, False]),
    pa.array([True, None]),
    pa.array([datetime(2024, 1, 1), None]),
    pa.array([{"a": 1}, None]),
    pa.array([], pa.string()),
    pa.array(["a", "b", "c"]).slice(1, 1),
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: str(array.type))
def test_python_values_are_those_of_to_pylist(array: pa.Array) -> None:
    values = python_values(array)
    assert values == array.to_pylist()
    assert [type(value) for value in values] == [type(value) for value in array.to_pylist()]
