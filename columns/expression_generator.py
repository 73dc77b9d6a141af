"""Filling an expression column: rendering its template, and reading what comes out as a value of the column's type."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa

from prefect_datagen.columns.column_template import ColumnTemplate
from prefect_datagen.columns.dtypes import parse_dtype
from prefect_datagen.columns.expression import DType
from prefect_datagen.columns.readable import Readable
from prefect_datagen.columns.template import Template, TemplateError
from prefect_datagen.engine.errors import CellError
from prefect_datagen.engine.node import Batch, FullColumn
from prefect_datagen.engine.values import python_values

_INTEGER = re.compile(r"[+-]?[0-9]{1,30}(\.0*)?")
_TRUE = frozenset({"true", "1", "yes"})
_FALSE = frozenset({"false", "0", "no"})
_INT64 = 2**63


class ExpressionGenerator:
    """Fills an expression column, one cell or a whole row group."""

    def __init__(self, column: str, template: Template, dtype: DType, types: Mapping[str, pa.DataType]) -> None:
        self._column = column
        self._template = template
        self._dtype = dtype
        self._convert = None if dtype == "str" else _CONVERTERS[dtype]
        self._readable = Readable.of(template, types)
        self._at_once = ColumnTemplate.of(template, types) if dtype == "str" else None

    def generate_now(self, inputs: Mapping[str, Any]) -> tuple[Any]:
        """The value of one row.

        Raises:
            CellError: reason "template" where it cannot be rendered, "type" where the text is not of the type.
        """
        try:
            text = self._template.render(self._readable.row(inputs))
        except TemplateError as error:
            raise self._failed(error) from error
        return (text if self._convert is None else self._convert(text),)

    def generate_batch(self, batch: Batch) -> FullColumn:
        """The values of all rows; those that cannot be made are rejected one by one."""
        at_once = None if self._at_once is None else self._at_once.render(batch.columns)
        if at_once is not None:
            return FullColumn({self._column: at_once})
        columns = {name: self._readable.column(name, python_values(array)) for name, array in batch.columns.items()}
        texts = self._template.render_rows(columns, len(batch.rows))
        rejected: dict[int, CellError] = {}
        values: list[Any] = texts  # replaced below where some are not text yet
        if self._convert is not None or any(isinstance(text, TemplateError) for text in texts):
            values = [self._value(position, text, rejected) for position, text in enumerate(texts)]
        return FullColumn({self._column: pa.array(values, parse_dtype(self._dtype))}, rejected)

    def _value(self, position: int, text: str | TemplateError, rejected: dict[int, CellError]) -> Any:
        if isinstance(text, TemplateError):
            rejected[position] = self._failed(text)
            return None
        try:
            return text if self._convert is None else self._convert(text)
        except CellError as error:
            rejected[position] = error
            return None

    def _failed(self, error: TemplateError) -> CellError:
        return CellError(f"expr: {error.message}", reason="template")


def to_integer(text: str) -> int:
    """`"12"` and `"12.0"` are 12; anything else that is not a whole number is refused."""
    stripped = text.strip()
    if _INTEGER.fullmatch(stripped):
        value = int(stripped.partition(".")[0])
    else:
        number = _float_or_none(stripped)
        if number is None or not number.is_integer():
            raise _misfit(text, "a whole number")
        value = int(number)
    if not -_INT64 <= value < _INT64:
        raise _misfit(text, "a whole number of 64 bits")
    return value


def to_float(text: str) -> float:
    """What Python's `float` reads: `"1.5"`, `"1e3"`, `"nan"`."""
    number = _float_or_none(text)
    if number is None:
        raise _misfit(text, "a number")
    return number


def to_bool(text: str) -> bool:
    """true, 1 and yes; false, 0 and no; in upper or lower case."""
    word = text.strip().lower()
    if word not in _TRUE and word not in _FALSE:
        raise _misfit(text, "one of true, false, 1, 0, yes and no")
    return word in _TRUE


def _float_or_none(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _misfit(text: str, wanted: str) -> CellError:
    shown = repr(text) if len(text) <= 80 else f"{text[:77]!r}..."
    return CellError(f"the expression gave {shown}, which is not {wanted}", reason="type")


_CONVERTERS: Mapping[str, Callable[[str], Any]] = {"int": to_integer, "float": to_float, "bool": to_bool}
