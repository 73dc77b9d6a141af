"""JSON in a model's answer: found where it stands, checked, never half of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefect_datagen.columns.json_answer import SchemaCheck, parse_json_answer
from prefect_datagen.engine.errors import ConfigError, InvalidAnswerError

ANY_OBJECT = SchemaCheck({"type": "object"})
PERSON = SchemaCheck(
    {
        "type": "object",
        "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0}},
        "required": ["name", "age"],
    }
)


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "Ann", "age": 3}',
        '\n ```json\n{"name": "Ann", "age": 3}\n```',
        'Sure! Here it is:\n```\n{"name": "Ann", "age": 3}\n```\nAnything else?',
        'The answer is {"name": "Ann", "age": 3}. It fits.',
        'In [1], as {said}, e.g. {"name": "x"}: {"name": "Ann", "age": 3}',
        '<think>maybe {"name": "Bob", "age": 4}?</think>{"name": "Ann", "age": 3}',
        '```python\nprint({})\n```\n{"name": "Ann", "age": 3}',
        'As asked [sic], in {braces}:\n{"name": "Ann", "age": 3}',
    ],
)
def test_the_first_value_that_fits_is_found(text: str) -> None:
    assert parse_json_answer(text, PERSON) == {"name": "Ann", "age": 3}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("I cannot do that.", "no JSON"),
        ("", "no JSON"),
        ('{"name": "Ann", "age": ', "not complete"),
        ('{"name": "An', "not complete"),
        ('```json\n{"name": "Ann"', "not complete"),
        ('{"name": "Ann", "age": 3,}', "not valid JSON"),
        ('{"name": "Ann"}', '"age" is a required property'),
        ('{"name": "Ann", "age": -1}', "age: -1 is less than the minimum of 0"),
        ('{"name": 1, "age": "3"}', "name: 1 is not of type"),
        ('{"name": "Ann", "age": NaN}', "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
    ],
)
def test_what_is_wrong_is_said(text: str, message: str) -> None:
    with pytest.raises(InvalidAnswerError) as caught:
        parse_json_answer(text, PERSON)
    assert message in caught.value.message


@pytest.mark.parametrize(
    "text",
    [
        '{"items": [{"x": 1}, {"x": 2}, {"x"',
        '{"items": [{"x": 1}, oops], "more": {"x": 3}}',
        'Well: {"items": [{"x": 1} {"x": 2}]}',
        '{"text": "an object: {"x": 1}"}',
    ],
)
def test_a_part_of_a_broken_answer_is_never_taken_for_the_answer(text: str) -> None:
    with pytest.raises(InvalidAnswerError):
        parse_json_answer(text, ANY_OBJECT)


def test_text_that_looks_like_something_else_stays_text() -> None:
    answer = '{"code": "0E8", "n": "1.10", "t": "true", "z": "null"}'
    assert parse_json_answer(answer, ANY_OBJECT) == {"code": "0E8", "n": "1.10", "t": "true", "z": "null"}


def test_line_breaks_within_text_are_read() -> None:
    assert parse_json_answer('{"poem": "roses\nred"}', ANY_OBJECT) == {"poem": "roses\nred"}


def test_numbers_beyond_64_bits_are_json() -> None:
    assert parse_json_answer('{"n": 123456789012345678901234567890}', ANY_OBJECT)["n"] == 123456789012345678901234567890


def test_a_value_is_mended_before_it_is_checked() -> None:
    mended = parse_json_answer('{"name": "Ann"}', PERSON, lambda value: {**value, "age": 1})
    assert mended == {"name": "Ann", "age": 1}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None)
@given(value=st.dictionaries(st.text(), JSON), before=st.text("abc .:]\n", max_size=20), after=st.text("abc .[{\n"))
def test_json_in_prose_is_read_as_it_was_written(value: Any, before: str, after: str) -> None:
    assert parse_json_answer(f"{before}{json.dumps(value)}{after}", ANY_OBJECT) == value


def test_a_schema_that_is_none_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="not a JSON schema"):
        SchemaCheck({"type": "strin"})
    with pytest.raises(ConfigError, match="not a JSON schema"):
        SchemaCheck({"$ref": "http://127.0.0.1:9/elsewhere.json"})
