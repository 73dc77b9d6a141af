"""`schema_transform`: rows of another shape, written as templates over the columns."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Literal

import pyarrow as pa
from pydantic import Field, field_validator

from prefect_datagen.columns.template import Template, TemplateError
from prefect_datagen.engine.errors import ConfigError, ProcessorError
from prefect_datagen.processors.base import ROW_ID, ProcessorConfig, ProcessorContext, unknown_columns

_Render = Callable[[Mapping[str, Any]], Any]


class SchemaTransformProcessorConfig(ProcessorConfig):
    """Make each row anew: every key of `template` becomes a column.

    A value is a Jinja2 template, or lists and objects of templates; every rendered text stays text. Numbers, booleans
    and null in it stand for themselves.

    NVIDIA NeMo Data Designer writes such rows to a second dataset beside the first. Here a dataset has one schema, and
    these rows *are* the dataset. Keep the other columns with `keep_columns: true`, or keep the first dataset and make
    the second one a stage that is seeded from it.

    Example:
        ```yaml
        - name: chat
          processor_type: schema_transform
          template:
            messages:
              - {role: user, content: "{{ question }}"}
              - {role: assistant, content: "{{ answer }}"}
        ```
    """

    processor_type: Literal["schema_transform"] = "schema_transform"
    template: dict[str, Any] = Field(
        min_length=1, description="Template by column name: text, list or object of texts."
    )
    keep_columns: bool = Field(
        default=False, description="Keep the other columns, too. A column of the template replaces one of its name."
    )

    @field_validator("template")
    @classmethod
    def _is_json(cls, value: dict[str, Any]) -> dict[str, Any]:
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ValueError(f"the template must be JSON: {error}") from error
        return value

    def check(self, known: Collection[str]) -> Iterator[tuple[str, str]]:
        """Whether the templates parse, read columns that are defined, and give each column one type."""
        for path, text in _texts(self.template, "template"):
            try:
                for message in unknown_columns(Template(text).references, known):
                    yield path, message
            except TemplateError as error:
                yield path, f"the template does not parse: {error.message}"
        for name, value in self.template.items():
            try:
                _type_of(value, f"template.{name}")
            except ConfigError as error:
                yield f"template.{name}", error.message

    def adds(self) -> Iterable[str]:
        """The template's keys."""
        return self.template

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        """The template's columns, after those that are kept.

        Raises:
            ConfigError: a template reads a column that is not there.
        """
        for path, text in _texts(self.template, "template"):
            for message in unknown_columns(Template(text).references, schema.names):
                raise ConfigError(f"processor {self.name!r} at {self.stage.value}, {path}: {message}")
        made = pa.schema([(name, _type_of(value, name)) for name, value in self.template.items()])
        kept = [field for field in schema if self.keep_columns and field.name not in self.template]
        return pa.schema([*kept, *made])

    def apply(self, table: pa.Table, context: ProcessorContext) -> pa.Table:
        """Render the templates for each row; rows and their order stay."""
        del context
        parts = _compiled(json.dumps(self.template))
        read = sorted({name for part in parts.values() for name in part.references})
        rows = table.select(read).to_pylist() if read else [{}] * table.num_rows
        made: dict[str, pa.Array] = {}
        for name, part in parts.items():
            made[name] = pa.array([self._render(part, row, at) for at, row in enumerate(rows)], type=part.type)
        hidden = [ROW_ID] if ROW_ID in table.column_names else []
        kept = table.column_names if self.keep_columns else hidden
        return pa.table({**{name: table.column(name) for name in kept}, **made})

    def _render(self, part: _Part, row: Mapping[str, Any], at: int) -> Any:
        try:
            return part.render(row)
        except TemplateError as error:
            raise ProcessorError(f"template, row {at} of the row group: {error.message}", row=at) from error


class _Part:
    """A value of the template: what it reads, what it renders to, and the type of that."""

    def __init__(self, value: Any) -> None:
        self.type = _type_of(value, "template")
        self.references: set[str] = set()
        self.render = self._compile(value)

    def _compile(self, value: Any) -> _Render:
        if isinstance(value, str):
            template = Template(value)
            self.references.update(template.references)
            return template.render
        if isinstance(value, dict):
            fields = {name: self._compile(item) for name, item in value.items()}
            return lambda row: {name: render(row) for name, render in fields.items()}
        if isinstance(value, list):
            items = [self._compile(item) for item in value]
            return lambda row: [render(row) for render in items]
        return lambda row: value


@lru_cache(maxsize=64)
def _compiled(template: str) -> dict[str, _Part]:
    """The parts of a template, which is given as JSON. Kept here: a config is pickled, and these cannot be."""
    return {name: _Part(value) for name, value in json.loads(template).items()}


def _texts(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Every template in a value, with its path."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from _texts(item, f"{path}.{name}")
    elif isinstance(value, list):
        for at, item in enumerate(value):
            yield from _texts(item, f"{path}[{at}]")


def _type_of(value: Any, path: str) -> pa.DataType:
    """The Arrow type that a template renders to. Text is text: what it looks like once rendered makes no difference."""
    if isinstance(value, str):
        return pa.string()
    if isinstance(value, dict):
        if not value:
            raise ConfigError(f"{path}: an object without keys")
        return pa.struct([(name, _type_of(item, f"{path}.{name}")) for name, item in value.items()])
    if isinstance(value, list):
        kinds = [_type_of(item, f"{path}[{at}]") for at, item in enumerate(value)]
        return pa.list_(_common(kinds, path))
    return pa.scalar(value).type


def _common(kinds: list[pa.DataType], path: str) -> pa.DataType:
    """The type of all items of a list; objects may lack keys."""
    real = [kind for kind in kinds if not pa.types.is_null(kind)]
    if all(kind == real[0] for kind in real):
        return real[0] if real else pa.null()
    if all(pa.types.is_struct(kind) for kind in real):
        names = dict.fromkeys(field.name for kind in real for field in kind)
        parts = {name: [kind.field(name).type for kind in real if kind.get_field_index(name) >= 0] for name in names}
        return pa.struct([(name, _common(found, f"{path}.{name}")) for name, found in parts.items()])
    if set(real) == {pa.int64(), pa.float64()}:
        return pa.float64()
    raise ConfigError(f"{path}: items of different types ({', '.join(map(str, kinds))}); write them all as text")
