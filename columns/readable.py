"""How values look in a template's text: text as it is, numbers as Python writes them, nested values as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from prefect_datagen.columns.template import Template
from prefect_datagen.engine.arrays import pa
from prefect_datagen.engine.values import json_text


class _JsonDict(dict[Any, Any]):
    """A dict that is JSON where it is turned into text: Python's own form means nothing to a model."""

    def __str__(self) -> str:
        return json_text(self)


class _JsonList(list[Any]):
    """A list that is JSON where it is turned into text."""

    def __str__(self) -> str:
        return json_text(self)


class Readable:
    """Prepares rows for a template. Does nothing, at no cost, where no column that it reads is nested."""

    def __init__(self, nested: frozenset[str]) -> None:
        self._nested = nested

    @classmethod
    def of(cls, template: Template, types: Mapping[str, pa.DataType]) -> Readable:
        """For the columns that `template` reads."""
        return cls(frozenset(name for name in template.references if name in types and pa.types.is_nested(types[name])))

    def row(self, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        """The row's values, nested ones as JSON."""
        if not self._nested:
            return inputs
        return {name: _readable(value) if name in self._nested else value for name, value in inputs.items()}

    def column(self, name: str, values: Sequence[Any]) -> Sequence[Any]:
        """A column's values, as JSON where it is nested."""
        return [_readable(value) for value in values] if name in self._nested else values


def _readable(value: Any) -> Any:
    if isinstance(value, dict):
        return _JsonDict((key, _readable(inner)) for key, inner in value.items())
    if isinstance(value, list):
        return _JsonList(_readable(inner) for inner in value)
    return value
