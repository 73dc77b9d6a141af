"""What several column families ask of their own config: columns of a template, a skip value that fits, a function."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

from prefect_datagen.columns.base import ColumnConfig, Reference
from prefect_datagen.columns.template import Template, TemplateError
from prefect_datagen.engine.arrays import pa
from prefect_datagen.engine.errors import CellError
from prefect_datagen.engine.values import fit


def template_references(text: str | None, field: str) -> Iterator[Reference]:
    """Columns that a template reads. None for one that does not parse: that is reported with the templates."""
    if text is not None:
        yield from (Reference(column, field) for column in _known(text)[0])


def template_mistake(text: str) -> str | None:
    """Why a template does not parse."""
    return _known(text)[1]


def skip_value_problems(config: ColumnConfig, type_: Callable[[], pa.DataType]) -> Iterator[tuple[str, str]]:
    """(field, message) where `skip.value` could not stand in the column; `type_` tells its type, if it is asked."""
    if config.skip is None:
        return
    try:
        fit(config.skip.value, type_())
    except CellError as error:
        yield "skip.value", f"{error.message}; null fits any type"


@lru_cache(maxsize=4096)
def _known(text: str) -> tuple[tuple[str, ...], str | None]:
    try:
        return Template(text).references, None
    except TemplateError as error:
        return (), error.message


def name_of_function(function: str | Callable[..., Any]) -> str:
    """How a config writes a function: the reference it was named by, or `module:name` of a function given in Python."""
    if isinstance(function, str):
        return function
    named: Any = function if hasattr(function, "__qualname__") else type(function)  # an object with __call__: its class
    return f"{named.__module__}:{named.__qualname__}"
