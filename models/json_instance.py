"""A JSON value that fits a JSON schema, chosen by dice: what the offline model answers where a schema is asked for.

Understood: `type` (one or several), `enum`, `const`, `properties`, `required`, `additionalProperties`, `minProperties`,
`propertyNames` with an `enum`, `items`, `prefixItems`, `minItems`, `maxItems`, `uniqueItems`, bounds and `multipleOf`
of numbers, lengths and `format` of strings, `anyOf`, `oneOf`, `allOf`, and `$ref` within the schema. A string with a
`pattern` is taken from `examples` or `default`. What would need a solver (`not`, `if`, `contains`) is not looked at.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from prefect_datagen.engine.errors import DatagenError
from prefect_datagen.models.prose import Dice, labelled_text

_DEEP = 5  # from here on whatever may be left out is left out, so that recursive schemas end
_TOO_DEEP = 60
_TRIES = 50

Schema = dict[str, Any]


class SchemaError(DatagenError):
    """No value can be made for a schema: it refers to what is not there, contradicts itself, or is not understood."""


def json_instance(schema: Schema | bool, *, seed: int) -> Any:
    """A value that fits `schema`, the same for the same seed.

    Raises:
        SchemaError: no value can be made, or it is not a JSON schema.
    """
    try:
        return _Walk(schema, Dice(seed)).value(schema, 0)
    except (AttributeError, KeyError, TypeError, re.error) as error:  # keywords that hold values of another type
        raise SchemaError(f"not a JSON schema: {type(error).__name__}: {error}") from error


class _Walk:
    """One value being made, depth first: the dice are thrown in the order of the schema."""

    def __init__(self, root: Schema | bool, dice: Dice) -> None:
        self._root = root
        self._dice = dice

    def value(self, schema: Schema | bool, depth: int) -> Any:
        if depth > _TOO_DEEP:
            raise SchemaError(f"the schema nests more than {_TOO_DEEP} levels deep without an end")
        if isinstance(schema, bool):
            if not schema:
                raise SchemaError("the schema `false` allows no value")
            return labelled_text(self._dice)
        flat = self._flatten(schema, depth)
        if "const" in flat:
            return flat["const"]
        if "enum" in flat:
            return self._dice.pick(_not_empty(flat["enum"], "enum"))
        kind = self._type(flat, depth)
        makers: dict[str, Callable[[Schema, int], Any]] = {
            "object": self._object,
            "array": self._array,
            "string": self._string,
            "integer": self._integer,
            "number": self._number,
            "boolean": lambda *_: self._dice.below(2) == 1,
            "null": lambda *_: None,
        }
        if kind not in makers:
            raise SchemaError(f"the schema's type {kind!r} is not one of {', '.join(makers)}")
        return makers[kind](flat, depth)

    def _flatten(self, schema: Schema, depth: int) -> Schema:
        """`$ref`, `allOf`, `anyOf` and `oneOf` put into one schema; of alternatives one is chosen."""
        for _ in range(_TOO_DEEP):
            if "$ref" in schema:
                rest = {key: value for key, value in schema.items() if key != "$ref"}
                schema = _merge(self._lookup(schema["$ref"]), rest)
            elif "allOf" in schema:
                parts = schema["allOf"]
                schema = {key: value for key, value in schema.items() if key != "allOf"}
                for part in _schemas(parts, "allOf"):
                    schema = _merge(schema, self._flatten(part, depth))
            elif "anyOf" in schema or "oneOf" in schema:
                keyword = "anyOf" if "anyOf" in schema else "oneOf"
                rest = {key: value for key, value in schema.items() if key != keyword}
                schema = _merge(rest, self._alternative(_schemas(schema[keyword], keyword), depth))
            else:
                return schema
        raise SchemaError("`$ref`, `allOf`, `anyOf` and `oneOf` of the schema lead round in a circle")

    def _alternative(self, branches: list[Schema], depth: int) -> Schema:
        """Rarely null, unless that is how a recursion ends; text only where it can be made up and is meant."""
        nulls = [branch for branch in branches if branch.get("type") == "null"]
        if nulls and (depth >= _DEEP or self._dice.below(8) == 0):
            return nulls[0]
        values = [branch for branch in branches if branch.get("type") != "null"]
        if depth >= _DEEP:
            values = [branch for branch in values if not _is_nested(branch)] or values
        # `number or string` is how pydantic writes a decimal: digits are meant.
        if any(branch.get("type") in {"integer", "number"} for branch in values):
            values = [branch for branch in values if branch.get("type") != "string"]
        easy = [branch for branch in values if "pattern" not in branch]
        return self._dice.pick(easy or values or branches)

    def _lookup(self, reference: str) -> Schema:
        target: Any = self._root
        if not reference.startswith("#"):
            raise SchemaError(f"$ref {reference!r} leaves the schema; only references within it (#/...) are followed")
        for step in reference[1:].strip("/").split("/") if len(reference) > 1 else []:
            key = step.replace("~1", "/").replace("~0", "~")
            if not isinstance(target, dict) or key not in target:
                raise SchemaError(f"$ref {reference!r} points to nothing in the schema")
            target = target[key]
        if not isinstance(target, dict):
            raise SchemaError(f"$ref {reference!r} does not point to a schema")
        return target

    def _type(self, schema: Schema, depth: int) -> str:
        kind = schema.get("type")
        if isinstance(kind, list):
            return str(self._alternative([{"type": name} for name in _not_empty(kind, "type")], depth)["type"])
        if isinstance(kind, str):
            return kind
        for name, keywords in _TELLING.items():
            if keywords & schema.keys():
                return name
        return "string"

    def _object(self, schema: Schema, depth: int) -> dict[str, Any]:
        properties: Schema = schema.get("properties", {})
        required: list[str] = schema.get("required", [])
        others = schema.get("additionalProperties", True)
        made: dict[str, Any] = {}
        for name, inner in properties.items():
            if name in required or depth < _DEEP:
                made[name] = self.value(inner, depth + 1)
        for name in required:
            if name not in made:
                made[name] = self.value(others, depth + 1)
        fewest: int = schema.get("minProperties", 0)
        if isinstance(others, dict) and not properties and depth < _DEEP:
            fewest = max(fewest, 2)
        names = self._flatten(schema.get("propertyNames", {}), depth).get("enum")
        names = names or [f"item_{number + 1}" for number in range(fewest)]
        for name in names:
            if len(made) >= fewest:
                break
            if name not in made:
                made[name] = self.value(others, depth + 1)
        return made

    def _array(self, schema: Schema, depth: int) -> list[Any]:
        first: list[Schema] = schema.get("prefixItems", [])
        items: Schema | bool = schema.get("items", True)
        fewest: int = schema.get("minItems", 0)
        most: int = schema.get("maxItems", max(fewest, len(first), 1) + 2)
        if fewest > most:
            raise SchemaError(f"minItems {fewest} is above maxItems {most}")
        wanted = fewest
        if depth < _DEEP:
            usual = len(first) if items is False else max(len(first), 1)
            wanted = max(fewest, min(usual, most))
            wanted += 0 if items is False else self._dice.below(min(most - wanted, 2) + 1)
        made = [self.value(inner, depth + 1) for inner in first[:wanted]]
        if not schema.get("uniqueItems"):
            return made + [self.value(items, depth + 1) for _ in range(wanted - len(made))]
        for _ in range(_TRIES):
            if len(made) >= wanted:
                return made
            value = self.value(items, depth + 1)
            if value not in made:
                made.append(value)
        if len(made) < fewest:
            raise SchemaError(f"no {fewest} different items were found in {_TRIES} tries")
        return made

    def _string(self, schema: Schema, _: int) -> str:
        pattern = schema.get("pattern")
        if pattern is not None:
            return self._patterned(schema, pattern)
        maker = _FORMATS.get(schema.get("format", ""))
        if maker is not None:
            return maker(self._dice)
        shortest, longest = schema.get("minLength", 0), schema.get("maxLength")
        if longest is not None and shortest > longest:
            raise SchemaError(f"minLength {shortest} is above maxLength {longest}")
        return labelled_text(self._dice, shortest=shortest, longest=longest)

    def _patterned(self, schema: Schema, pattern: str) -> str:
        own = schema.get("examples", []) + ([schema["default"]] if "default" in schema else [])
        plain = labelled_text(self._dice, shortest=schema.get("minLength", 0), longest=schema.get("maxLength"))
        fitting = [text for text in [*own, plain] if isinstance(text, str) and re.search(pattern, text)]
        if not fitting:
            raise SchemaError(
                f"the offline model cannot make up text for the pattern {pattern!r}: "
                "put some fitting `examples` beside it in the schema"
            )
        return self._dice.pick(fitting[:-1] if fitting[-1] is plain and len(fitting) > 1 else fitting)

    def _integer(self, schema: Schema, _: int) -> int:
        # The integers among the multiples of p/q, in lowest terms, are the multiples of p.
        step = Fraction(str(schema.get("multipleOf", 1))).numerator
        low, high = _bounds(schema)
        first = math.ceil(low / step)
        last = math.floor(high / step)
        if first * step <= schema.get("exclusiveMinimum", -math.inf):
            first += 1
        if last * step >= schema.get("exclusiveMaximum", math.inf):
            last -= 1
        if first > last:
            raise SchemaError(f"no integer fits between {low:g} and {high:g} in steps of {step}")
        return (first + self._dice.below(last - first + 1)) * step

    def _number(self, schema: Schema, _: int) -> float:
        low, high = _bounds(schema)
        step = schema.get("multipleOf")
        for digits in (2, 2, 2, 6, 17, 17, *[17] * _TRIES):
            value = low + (high - low) * self._dice.unit()
            # Division as validators do it: 0.07 / 0.01 is not 7, so that multiple is passed over.
            value = round(value, digits) if step is None else math.floor(value / step) * step
            if _fits_number(value, schema):
                return value
        if low == high and _fits_number(low, schema):
            return low
        raise SchemaError(f"no number fits between {low:g} and {high:g}")


def _merge(base: Schema, added: Schema) -> Schema:
    """Both schemas at once: properties and required are united, other keywords of `added` win."""
    if not isinstance(added, dict):
        raise SchemaError(f"{added!r} is not a schema that can be combined")
    merged = {**base, **added}
    if "properties" in base and "properties" in added:
        merged["properties"] = {**base["properties"], **added["properties"]}
    if "required" in base and "required" in added:
        merged["required"] = list(dict.fromkeys([*base["required"], *added["required"]]))
    if "enum" in base and "enum" in added:
        merged["enum"] = [value for value in base["enum"] if value in added["enum"]]
    return merged


def _bounds(schema: Schema) -> tuple[float, float]:
    """Inclusive bounds; a range of 100 where one side is open."""
    lows = [schema[key] for key in ("minimum", "exclusiveMinimum") if key in schema]
    highs = [schema[key] for key in ("maximum", "exclusiveMaximum") if key in schema]
    low = max(lows) if lows else (min(0, min(highs) - 100) if highs else 0)
    high = min(highs) if highs else low + 100
    if low > high:
        raise SchemaError(f"the lower bound {low:g} is above the upper bound {high:g}")
    return low, high


def _fits_number(value: float, schema: Schema) -> bool:
    step = schema.get("multipleOf")
    return (
        schema.get("minimum", -math.inf) <= value <= schema.get("maximum", math.inf)
        and schema.get("exclusiveMinimum", -math.inf) < value < schema.get("exclusiveMaximum", math.inf)
        and (step is None or (value / step).is_integer())
    )


def _is_nested(branch: Schema) -> bool:
    return "$ref" in branch or branch.get("type") in {"object", "array"}


def _schemas(parts: list[Schema | bool], keyword: str) -> list[Schema]:
    """The parts as objects: `true` is the same as the empty one; `false` among alternatives is none."""
    if keyword == "allOf" and False in parts:
        raise SchemaError("`false` among `allOf` allows no value")
    objects = [{} if part is True else part for part in parts if part is not False]
    return _not_empty(objects, keyword)


def _not_empty(options: list[Any], keyword: str) -> list[Any]:
    if not options:
        raise SchemaError(f"an empty `{keyword}` allows no value")
    return options


_TELLING: dict[str, set[str]] = {
    "object": {"properties", "required", "additionalProperties", "minProperties"},
    "array": {"items", "prefixItems", "minItems", "maxItems"},
    "number": {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"},
}


def _date(dice: Dice) -> str:
    return f"20{dice.below(26):02d}-{1 + dice.below(12):02d}-{1 + dice.below(28):02d}"


def _time(dice: Dice) -> str:
    return f"{dice.below(24):02d}:{dice.below(60):02d}:{dice.below(60):02d}Z"


def _uuid(dice: Dice) -> str:
    digits = f"{dice.word():016x}{dice.word():016x}"
    variant = "89ab"[dice.below(4)]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:32]}"


_FORMATS: dict[str, Callable[[Dice], str]] = {
    "date": _date,
    "time": _time,
    "date-time": lambda dice: f"{_date(dice)}T{_time(dice)}",
    "duration": lambda dice: f"P{dice.below(30)}DT{dice.below(24)}H",
    "email": lambda dice: f"offline-{dice.below(1_000_000)}@example.org",
    "hostname": lambda dice: f"offline-{dice.below(1_000_000)}.example.org",
    "ipv4": lambda dice: f"192.0.2.{dice.below(256)}",
    "ipv6": lambda dice: f"2001:db8::{dice.below(65_536):x}",
    "uri": lambda dice: f"https://example.org/offline/{dice.below(1_000_000)}",
    "uuid": _uuid,
}
