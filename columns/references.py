"""What several column families ask of their own config: columns that a template reads, and a skip value that fits."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import pyarrow as pa

from prefect_datagen.columns.base import ColumnConfig, Reference
from prefect_datagen.columns.template import Template, TemplateError
from prefect_datagen.engine.errors import CellError
from prefect_datagen.engine.values import fit


def template_references(text: str | None, field: str) -> Iterator[Reference]:
    """Columns that a template reads. None for one that does not parse: that is reported with the templates."""
    if text is not None:
        yield from (Reference(column, field) for column in _columns(text))


def skip_value_problems(config: ColumnConfig, type_: pa.DataType) -> Iterator[tuple[str, str]]:
    """(field, message) where `skip.value` could not stand in the column."""
    if config.skip is None:
        return
    try:
        fit(config.skip.value, type_)
    except CellError as error:
        yield "skip.value", f"{error.message}; null fits any type"


@lru_cache(maxsize=4096)
def _columns(text: str) -> tuple[str, ...]:
    try:
        return Template(text).references
    except TemplateError:
        return ()
