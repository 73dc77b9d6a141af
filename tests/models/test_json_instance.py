"""Values made for JSON schemas fit them, judged by the jsonschema package."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import AnyUrl, BaseModel, ConfigDict, Field, TypeAdapter

from prefect_datagen.models.json_instance import SchemaError, json_instance


def check(schema: Any, seeds: range = range(30)) -> list[Any]:
    validator = Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)
    values = [json_instance(schema, seed=seed) for seed in seeds]
    for value in values:
        validator.validate(value)
    return values


@pytest.mark.parametrize(
    "schema",
    [
        True,
        {},
        {"type": "null"},
        {"const": {"a": [1]}},
        {"enum": [None, "x", 3.5]},
        {"type": ["string", "null"]},
        {"type": "integer", "minimum": -5, "maximum": -3},
        {"type": "integer", "exclusiveMinimum": 0, "exclusiveMaximum": 2},
        {"type": "integer", "minimum": 1, "multipleOf": 7},
        {"type": "integer", "multipleOf": 2.5},
        {"type": "integer", "maximum": -1000},
        {"type": "number", "minimum": 0, "maximum": 1},
        {"type": "number", "exclusiveMinimum": 0.001, "exclusiveMaximum": 0.002},
        {"type": "number", "minimum": 0.5, "maximum": 0.5},
        {"type": "number", "multipleOf": 0.01, "maximum": 2},
        {"minimum": 3},
        {"type": "string", "minLength": 300},
        {"type": "string", "maxLength": 3},
        {"type": "string", "minLength": 12, "maxLength": 12},
        {"type": "string", "maxLength": 0},
        {"type": "string", "pattern": "^[A-Z]{3}$", "examples": ["JFK", 7, "nope"], "default": "LAX"},
        {"type": "string", "pattern": "\\w"},
        {"type": "array"},
        {"items": {"type": "integer"}, "minItems": 2, "maxItems": 2},
        {"type": "array", "items": {"enum": ["a", "b", "c"]}, "uniqueItems": True, "minItems": 3},
        {"type": "array", "items": {"enum": ["a"]}, "uniqueItems": True},
        {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}], "items": False},
        {"type": "array", "prefixItems": [{"type": "integer"}], "items": {"type": "boolean"}, "maxItems": 1},
        {"type": "array", "items": False},
        {"properties": {"a": {"type": "integer"}}, "required": ["a", "b"]},
        {"type": "object", "additionalProperties": {"type": "integer"}, "minProperties": 4},
        {"type": "object", "additionalProperties": {"type": "integer"}},
        {"type": "object", "propertyNames": {"enum": ["x", "y"]}, "additionalProperties": {"type": "integer"}},
        {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": False},
        {"anyOf": [{"type": "integer"}, {"type": "string"}]},
        {"anyOf": [False, {"type": "integer"}, True]},
        {"allOf": [True, {"type": "integer"}]},
        {"oneOf": [{"type": "integer", "maximum": 5}, {"type": "integer", "minimum": 6}]},
        {"anyOf": [{"type": "string", "pattern": "^x{3}$"}, {"type": "number"}]},
        {"type": "object", "allOf": [{"properties": {"a": {"const": 1}}, "required": ["a"]}, {"required": ["b"]}]},
        {"allOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/b"}], "$defs": {"a": {"minimum": 3}, "b": {"maximum": 4}}},
        {"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"type": "integer"}}, "minimum": 5},
        *(
            {"type": "string", "format": name}
            for name in ("date", "time", "date-time", "duration", "email", "hostname")
        ),
        *({"type": "string", "format": name} for name in ("ipv4", "ipv6", "uri", "uuid", "no-such-format")),
    ],
    ids=str,
)
def test_values_fit(schema: Any) -> None:
    check(schema)


def test_values_vary_with_the_seed_and_are_the_same_for_the_same_seed() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "string"}}}
    assert check(schema) == check(schema)
    assert len({str(value) for value in check(schema)}) > 20


def test_recursive_schemas_end() -> None:
    tree = {
        "$defs": {"node": {"type": "object", "properties": {"children": {"items": {"$ref": "#/$defs/node"}}}}},
        "$ref": "#/$defs/node",
    }
    linked = {
        "type": "object",
        "required": ["next"],
        "properties": {"next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}},
    }
    check(tree)
    check(linked)


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        (False, "`false` allows no value"),
        ({"enum": []}, "empty `enum`"),
        ({"anyOf": []}, "empty `anyOf`"),
        ({"$ref": "#/$defs/x"}, "points to nothing"),
        ({"$ref": "http://host/schema"}, "leaves the schema"),
        ({"$ref": "#"}, "in a circle"),
        ({"type": "object", "required": ["a"], "properties": {"a": {"$ref": "#"}}}, "levels deep"),
        ({"type": "integer", "minimum": 5, "maximum": 4}, "lower bound 5 is above the upper bound 4"),
        ({"type": "integer", "minimum": 5, "maximum": 6, "multipleOf": 7}, "no integer fits"),
        ({"type": "number", "exclusiveMinimum": 1, "exclusiveMaximum": 1}, "no number fits"),
        ({"type": "string", "minLength": 5, "maxLength": 4}, "minLength 5 is above maxLength 4"),
        ({"type": "string", "pattern": "^[A-Z]{3}$"}, "put some fitting `examples`"),
        ({"type": "array", "minItems": 5, "maxItems": 4}, "minItems 5 is above maxItems 4"),
        ({"items": {"const": 1}, "uniqueItems": True, "minItems": 2}, "no 2 different items"),
        ({"type": "text"}, "type 'text' is not one of"),
        ({"allOf": [True, False]}, "`false` among `allOf`"),
        ({"anyOf": [False]}, "empty `anyOf`"),
        ({"properties": ["a"]}, "not a JSON schema"),
        ({"type": "string", "pattern": "("}, "not a JSON schema"),
        ({"type": "array", "minItems": "two"}, "not a JSON schema"),
    ],
    ids=str,
)
def test_schemas_that_no_value_is_made_for(schema: Any, told: str) -> None:
    with pytest.raises(SchemaError, match=told):
        json_instance(schema, seed=1)


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")
    score: Annotated[int, Field(ge=1, le=5)]
    note: Annotated[str, Field(max_length=40)] | None = None


class Outer(BaseModel):
    kind: Literal["outer"] = "outer"
    colour: Colour
    inner: Inner
    many: list[Inner] = Field(min_length=1, max_length=3)
    by_name: dict[str, float]
    by_colour: dict[Colour, int]
    pair: tuple[int, str]
    unique: set[Literal["a", "b"]]
    price: Decimal
    day: date
    moment: datetime
    identity: UUID
    link: AnyUrl
    parent: Outer | None = None


def test_schemas_of_pydantic_models_give_values_that_pydantic_takes() -> None:
    schema = TypeAdapter(Outer).json_schema()
    for value in check(schema):
        Outer.model_validate(value)


def schemas() -> st.SearchStrategy[dict[str, Any]]:
    bounds = st.integers(-1000, 1000)
    leaves = st.one_of(
        st.builds(lambda a, b: {"type": "integer", "minimum": min(a, b), "maximum": max(a, b)}, bounds, bounds),
        st.builds(lambda a, b: {"type": "number", "minimum": min(a, b) / 7, "maximum": max(a, b) / 7}, bounds, bounds),
        st.builds(
            lambda a, b: {"type": "string", "minLength": min(a, b), "maxLength": max(a, b)},
            st.integers(0, 80),
            st.integers(0, 80),
        ),
        st.builds(lambda values: {"enum": values}, st.lists(st.text(), min_size=1)),
        st.sampled_from([{"type": "boolean"}, {"type": "null"}, {}, {"type": "string", "format": "date"}]),
    )

    def nest(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
        objects = st.dictionaries(st.text(max_size=5), inner, max_size=4)
        return st.one_of(
            st.builds(lambda items, low: {"type": "array", "items": items, "minItems": low}, inner, st.integers(0, 4)),
            st.builds(lambda parts: {"type": "object", "properties": parts, "required": sorted(parts)[::2]}, objects),
            st.builds(lambda parts: {"anyOf": parts}, st.lists(inner, min_size=1, max_size=3)),
        )

    return st.recursive(leaves, nest, max_leaves=12)


@given(schema=schemas(), seed=st.integers(0, 2**64 - 1))
def test_values_fit_random_schemas(schema: dict[str, Any], seed: int) -> None:
    Draft202012Validator(schema).validate(json_instance(schema, seed=seed))
