"""From a JSON schema to an Arrow type, and from a JSON value to what such a column stores.

An object with named properties is a struct, an array a list, scalars are scalars. Whatever a schema leaves open (no
type, several types, properties without names, recursion) is stored as JSON text, always: text within it keeps its
quotes, so that `"5"` and `5` stay two things.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from prefect_datagen.engine.arrays import pa
from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.engine.values import json_text

Schema = Mapping[str, Any] | bool


@dataclass(frozen=True)
class Shape:
    """How values of a schema are kept.

    Attributes:
        type: their Arrow type, which `make_type` gives when it is first asked for.
        store: takes a value that fits the schema and gives what Arrow stores; drops properties without a field.
    """

    make_type: Callable[[], pa.DataType]
    store: Callable[[Any], Any]

    @cached_property
    def type(self) -> pa.DataType:
        return self.make_type()


def shape_of_schema(schema: Schema) -> Shape:
    """The shape of a schema's values.

    Raises:
        ConfigError: a `$ref` in it leads nowhere, or out of the schema.
    """
    return _Shaper(schema).shape(schema)


def arrow_type_of_schema(schema: Schema) -> pa.DataType:
    """The Arrow type of a schema's values."""
    return shape_of_schema(schema).type


class _RecursiveError(Exception):
    """A definition is used within itself."""

    def __init__(self, reference: str) -> None:
        super().__init__(reference)
        self.reference = reference


def _keep(value: Any) -> Any:
    return value


def _as_text(value: Any) -> str | None:
    return None if value is None else json_text(value)


def _as_integer(value: Any) -> Any:
    """JSON schema counts 3.0 as an integer."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


FREE = Shape(lambda: pa.string(), _as_text)
TEXT = Shape(lambda: pa.string(), _keep)
_SCALARS = {
    "string": TEXT,
    "integer": Shape(lambda: pa.int64(), _as_integer),
    "number": Shape(lambda: pa.float64(), _keep),
    "boolean": Shape(lambda: pa.bool_(), _keep),
    "null": Shape(lambda: pa.null(), _keep),
}


class _Shaper:
    """Walks one schema. `_open` are the definitions on the way to where it is."""

    def __init__(self, root: Schema) -> None:
        self._root = root
        self._open: list[str] = []

    def shape(self, schema: Schema) -> Shape:
        if not isinstance(schema, Mapping):
            return FREE
        if "$ref" in schema:
            return self._referred(schema["$ref"])
        if "const" in schema or "enum" in schema:
            return _shape_of_values(schema.get("enum", [schema.get("const")]))
        if "allOf" in schema:
            return self.shape(schema["allOf"][0]) if len(schema["allOf"]) == 1 else FREE
        if "anyOf" in schema or "oneOf" in schema:
            return self._one_of([*schema.get("anyOf", []), *schema.get("oneOf", [])])
        return self._of_type(schema)

    def _referred(self, reference: str) -> Shape:
        if reference in self._open:
            raise _RecursiveError(reference)
        self._open.append(reference)
        try:
            return self.shape(self._resolve(reference))
        except _RecursiveError as error:
            if error.reference != reference:
                raise
            return FREE
        finally:
            self._open.pop()

    def _resolve(self, reference: str) -> Schema:
        found: Any = self._root
        if not reference.startswith("#"):
            raise ConfigError(
                f"$ref {reference!r} leads out of the schema; only references such as '#/$defs/Name' work"
            )
        for step in filter(None, reference[1:].split("/")):
            name = step.replace("~1", "/").replace("~0", "~")
            if not isinstance(found, Mapping) or name not in found:
                raise ConfigError(f"$ref {reference!r} leads nowhere: there is no {name!r}")
            found = found[name]
        return found  # type: ignore[no-any-return]

    def _one_of(self, members: Sequence[Schema]) -> Shape:
        real = [member for member in members if not (isinstance(member, Mapping) and member.get("type") == "null")]
        shapes = [self.shape(member) for member in real]
        if len(shapes) == 1:
            return shapes[0]
        same = len({shape.type for shape in shapes}) == 1 and not any(shape is FREE for shape in shapes)
        return shapes[0] if same and not pa.types.is_nested(shapes[0].type) else FREE

    def _of_type(self, schema: Mapping[str, Any]) -> Shape:
        kind = schema.get("type")
        if isinstance(kind, list):
            kinds = [each for each in kind if each != "null"]
            kind = kinds[0] if len(kinds) == 1 else "number" if set(kinds) == {"integer", "number"} else None
        if kind == "object" or (kind is None and "properties" in schema):
            return self._object(schema)
        if kind == "array" or (kind is None and "items" in schema):
            return self._array(schema)
        return _SCALARS.get(str(kind), FREE)

    def _object(self, schema: Mapping[str, Any]) -> Shape:
        open_ended = schema.get("additionalProperties", False) is not False or "patternProperties" in schema
        if open_ended or not schema.get("properties"):
            return FREE
        fields = {name: self.shape(inner) for name, inner in schema["properties"].items()}

        def store(value: Any) -> Any:
            if value is None:
                return None
            return {name: shape.store(value.get(name)) for name, shape in fields.items()}

        return Shape(lambda: pa.struct([(name, shape.type) for name, shape in fields.items()]), store)

    def _array(self, schema: Mapping[str, Any]) -> Shape:
        if "items" not in schema or "prefixItems" in schema or isinstance(schema["items"], list):
            return FREE
        item = self.shape(schema["items"])

        def store(value: Any) -> Any:
            return None if value is None else [item.store(each) for each in value]

        return Shape(lambda: pa.list_(item.type), store)


def _shape_of_values(values: Sequence[Any]) -> Shape:
    """The shape of an enumeration: that of its values, where they are of one type."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {str}:
        return TEXT
    if kinds == {bool}:
        return _SCALARS["boolean"]
    if kinds == {int}:
        return _SCALARS["integer"]
    if kinds and kinds <= {int, float}:
        return _SCALARS["number"]
    return FREE
