"""From JSON schema to Arrow type, and what is stored."""

from __future__ import annotations

from enum import Enum
from typing import Any, Literal

import orjson
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from prefect_datagen.columns.json_shape import arrow_type_of_schema, shape_of_schema
from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.engine.values import fit


class Kind(Enum):
    A = "a"
    B = "b"


class Part(BaseModel):
    size: float
    kind: Kind


class Node(BaseModel):
    value: int
    children: list[Node]


class Thing(BaseModel):
    name: str
    count: int | None
    ok: bool
    parts: list[Part]
    main: Part | None = None
    level: Literal[1, 2, 3]
    extra: dict[str, int]
    either: int | str
    tree: Node


TEXT = pa.string()
PART = pa.struct([("size", pa.float64()), ("kind", TEXT)])


def test_a_pydantic_model_becomes_a_struct() -> None:
    assert arrow_type_of_schema(Thing.model_json_schema()) == pa.struct(
        [
            ("name", TEXT),
            ("count", pa.int64()),
            ("ok", pa.bool_()),
            ("parts", pa.list_(PART)),
            ("main", PART),
            ("level", pa.int64()),
            ("extra", TEXT),
            ("either", TEXT),
            ("tree", TEXT),
        ]
    )


@pytest.mark.parametrize(
    ("schema", "type_"),
    [
        ({}, TEXT),
        (True, TEXT),
        ({"type": "object"}, TEXT),
        ({"type": "object", "properties": {"a": {"type": "integer"}}}, pa.struct([("a", pa.int64())])),
        ({"properties": {"a": {"type": "null"}}}, pa.struct([("a", pa.null())])),
        ({"type": "object", "properties": {"a": {}}, "additionalProperties": True}, TEXT),
        ({"type": "array"}, TEXT),
        ({"type": "array", "items": {"type": "number"}}, pa.list_(pa.float64())),
        ({"type": "array", "prefixItems": [{}], "items": {"type": "string"}}, TEXT),
        ({"type": ["string", "null"]}, TEXT),
        ({"type": ["integer", "number"]}, pa.float64()),
        ({"enum": ["a", None]}, TEXT),
        ({"enum": [1, 2.5]}, pa.float64()),
        ({"enum": [True, 1]}, TEXT),
        ({"const": 3}, pa.int64()),
        ({"allOf": [{"type": "boolean"}]}, pa.bool_()),
        ({"anyOf": [{"type": "string", "format": "date"}, {"type": "string"}]}, TEXT),
        ({"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"type": "integer"}}}, pa.int64()),
    ],
)
def test_each_kind_of_schema_has_its_type(schema: Any, type_: pa.DataType) -> None:
    assert arrow_type_of_schema(schema) == type_


def test_what_the_schema_leaves_open_is_json_text_always() -> None:
    shape = shape_of_schema({"type": "object", "properties": {"x": {"type": ["integer", "string"]}, "y": {}}})
    assert shape.store({"x": 5, "y": [1]}) == {"x": "5", "y": "[1]"}
    assert shape.store({"x": "5", "y": None}) == {"x": '"5"', "y": None}


def test_properties_without_a_field_are_left_out_and_missing_ones_are_null() -> None:
    shape = shape_of_schema({"type": "object", "properties": {"a": {"type": "string"}, "n": {"type": "integer"}}})
    assert shape.store({"n": 3.0, "b": 1}) == {"a": None, "n": 3}


@pytest.mark.parametrize("reference", ["#/$defs/none", "http://example.com/x", "other.json#/a"])
def test_a_reference_that_leads_nowhere_is_a_config_error(reference: str) -> None:
    with pytest.raises(ConfigError, match="leads"):
        arrow_type_of_schema({"type": "object", "properties": {"a": {"$ref": reference}}})


@settings(deadline=None, max_examples=25)
@given(
    thing=st.builds(
        Thing,
        extra=st.dictionaries(st.text(), st.integers(-9, 9)),
        count=st.none() | st.integers(0, 2**60),
        tree=st.just(Node(value=1, children=[Node(value=2, children=[])])),
        parts=st.lists(st.builds(Part), max_size=2),
    )
)
def test_every_value_of_a_model_is_stored_and_read_back(thing: Thing) -> None:
    shape = shape_of_schema(Thing.model_json_schema())
    value = orjson.loads(thing.model_dump_json())
    stored = shape.store(value)
    assert fit(stored, shape.type) == stored
    assert pa.array([stored], type=shape.type).to_pylist() == [stored]
    assert {**stored, **{name: orjson.loads(stored[name]) for name in ("extra", "either", "tree")}} == value
