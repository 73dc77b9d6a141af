"""Rows of a database driver as Arrow tables. The types are those of the values; text is never read as anything else."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

import pyarrow as pa

from prefect_datagen.reports.errors import QueryError

# Sets of Python types that fit one Arrow type, the narrowest first.
_ARROW_TYPES: tuple[tuple[frozenset[type], pa.DataType | None], ...] = (
    (frozenset({bool}), pa.bool_()),
    (frozenset({int}), pa.int64()),
    (frozenset({int, float}), pa.float64()),
    (frozenset({int, float, Decimal}), pa.float64()),
    (frozenset({str}), pa.string()),
    (frozenset({bytes}), pa.binary()),
    (frozenset({date}), pa.date32()),
    (frozenset({datetime}), None),  # with or without a time zone: Arrow sees which
    (frozenset({time}), pa.time64("us")),
)


def table_from_rows(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> pa.Table:
    """A table of `(len(rows), len(names))`. A column that mixes kinds of values becomes text, value by value.

    Raises:
        QueryError: two columns have one name.
    """
    twice = sorted({name for name in names if list(names).count(name) > 1})
    if twice:
        raise QueryError(f"the query returns column {twice[0]!r} twice; give one of them an alias")
    columns = [_array([row[position] for row in rows]) for position in range(len(names))]
    return pa.Table.from_arrays(columns, names=list(names))


def _array(values: list[Any]) -> pa.Array:
    kinds = {type(value) for value in values if value is not None}
    if not kinds:
        return pa.nulls(len(values), pa.string())
    for fitting, arrow_type in _ARROW_TYPES:
        if kinds <= fitting:
            if arrow_type == pa.float64():
                values = [None if value is None else float(value) for value in values]
            if arrow_type == pa.int64() and any(
                value is not None and not -(2**63) <= value < 2**63 for value in values
            ):
                break
            return pa.array(values, arrow_type)
    return pa.array([None if value is None else _text(value) for value in values], pa.string())


def _text(value: Any) -> str:
    if isinstance(value, (bytes, memoryview)):
        return bytes(value).hex()
    if isinstance(value, UUID):
        return str(value)
    return value if isinstance(value, str) else str(value)
