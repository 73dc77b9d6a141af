"""Columns of a query's rows as a chart sees them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any

import pyarrow as pa

from prefect_datagen.reports.errors import QueryError

_STEP = 200
"""Values that are made Python objects at a time."""


class Scale(StrEnum):
    """What kind of axis fits a column; the values are Vega-Lite's types."""

    NUMBER = "quantitative"
    TIME = "temporal"
    NAME = "nominal"


@dataclass(frozen=True)
class Column:
    """A column with plain Python values: numbers are int or float, times without an offset are taken as UTC."""

    name: str
    scale: Scale
    values: list[Any]

    def numbers(self) -> list[float | None]:
        """Values as floats, times as seconds since 1970; None where there is no finite number.

        Raises:
            QueryError: the column holds neither numbers nor times.
        """
        if self.scale is Scale.NAME:
            raise QueryError(f"column {self.name!r} holds no numbers")
        return [_float(value) for value in self.values]


def columns(table: pa.Table, names: Sequence[str]) -> list[Column]:
    """Columns of a table by name.

    Raises:
        QueryError: there is no such column.
    """
    for name in names:
        if name not in table.column_names:
            raise QueryError(f"the query returns no column {name!r}; it returns {', '.join(table.column_names)}")
    return [column(table, name) for name in names]


def column(table: pa.Table, name: str) -> Column:
    """One column, which must be there."""
    array = table.column(name)
    kind = array.type
    if pa.types.is_dictionary(kind):
        array, kind = array.cast(kind.value_type), kind.value_type
    # In steps: one call holds Python's lock to its end, 10,000 times for 200 ms, and nothing else is answered meanwhile.
    values = [value for at in range(0, len(array), _STEP) for value in array.slice(at, _STEP).to_pylist()]
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return Column(name, Scale.NUMBER, values)
    if pa.types.is_decimal(kind):
        return Column(name, Scale.NUMBER, [_undecimal(value) for value in values])
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return Column(name, Scale.TIME, values)
    return Column(name, Scale.NAME, values)


def seconds(value: date | datetime) -> float:
    """Seconds since 1970 in UTC."""
    if not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day)
    return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()


def as_json(value: Any) -> Any:
    """A value as JSON can hold it: times as ISO text, bytes as hexadecimal, what is no number as null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, Decimal):
        return as_json(_undecimal(value))
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {str(key): as_json(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_json(each) for each in value]
    return str(value)


def records(table: pa.Table, *, limit: int) -> list[dict[str, Any]]:
    """The first rows as JSON objects."""
    return [{name: as_json(value) for name, value in row.items()} for row in table.slice(0, limit).to_pylist()]


def _undecimal(value: Decimal | None) -> int | float | None:
    if value is None:
        return None
    return int(value) if value == value.to_integral_value() else float(value)


def _float(value: Any) -> float | None:
    if value is None:
        return None
    number = seconds(value) if isinstance(value, (date, datetime)) else float(value)
    return number if math.isfinite(number) else None
