"""Arrow values as JSON that loses nothing.

JSON knows one kind of number and browsers read it as a double, so: whole numbers beyond 2^53 and all decimals are text;
NaN and the infinities are the text `NaN`, `Infinity`, `-Infinity`; dates and times are ISO text; bytes are base64 text.
The type of each column stands beside the values, so nothing has to be guessed when it is read back.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa

_EXACT = 2**53 - 1


def rows_of(data: pa.Table | pa.RecordBatch) -> list[list[Any]]:
    """Rows of a table of `(n_rows, n_columns)` as lists of JSON values, in order."""
    columns = [_column(column) for column in data.columns]
    return [list(row) for row in zip(*columns, strict=True)]


def records_of(data: pa.Table | pa.RecordBatch) -> list[dict[str, Any]]:
    """Rows as one JSON object each."""
    names = data.schema.names
    return [dict(zip(names, row, strict=True)) for row in rows_of(data)]


def is_nested(kind: pa.DataType) -> bool:
    """Whether values of this type hold other values."""
    return bool(pa.types.is_nested(kind))


def _column(column: pa.ChunkedArray | pa.Array) -> list[Any]:
    kind = column.type
    if pa.types.is_temporal(kind) and not pa.types.is_duration(kind) and not pa.types.is_interval(kind):
        # Arrow writes nanoseconds, which Python's own times cannot hold.
        return [_iso(text) for text in column.cast(pa.string()).to_pylist()]
    values: list[Any] = column.to_pylist()
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_boolean(kind):
        return values
    return [plain(value) for value in values]


def _iso(text: str | None) -> str | None:
    return None if text is None else text.replace(" ", "T", 1)


def plain(value: Any) -> Any:
    """One value as JSON; see the module's docstring."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, int):
        return value if -_EXACT <= value <= _EXACT else str(value)
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    if isinstance(value, (bytes, bytearray)):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, (Decimal, timedelta)):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    return str(value)
