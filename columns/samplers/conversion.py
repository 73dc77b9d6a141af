"""`convert_to`: drawn numbers to int, float or text, drawn times to text.

A number is converted in two steps, because constraints and other samplers read numbers, not their text: `as_number`
belongs to the drawing, `as_text` to the finished column.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

from prefect_datagen.columns import compute as pc
from prefect_datagen.columns.samplers.base import Conversion, Kind, kind_of
from prefect_datagen.engine.arrays import pa

# Directives that Arrow writes as Python does; it does so some twenty times faster.
_SAME_IN_ARROW = re.compile(r"(?:[^%]|%[YmdHMSyjaAbBpI%])*")


def conversion_mistake(conversion: Conversion, convert_to: str | None) -> str | None:
    """What is wrong with `convert_to` for a sampler that converts so, or None."""
    if convert_to is None:
        return None
    if conversion is Conversion.TIME:
        if "%" not in convert_to:
            return f"{convert_to!r} is no strftime format, such as %Y-%m-%d"
        try:
            datetime(2012, 12, 21).strftime(convert_to)
        except ValueError as error:
            return f"{convert_to!r} is no strftime format: {error}"
        return None
    allowed = {Conversion.NUMBER: ("int", "float", "str"), Conversion.TEXT: ("str",)}.get(conversion, ())
    if convert_to in allowed:
        return None
    way_out = f"it can be {', '.join(allowed)}" if allowed else "leave it out"
    return f"{convert_to!r} is nothing that this sampler converts to; {way_out}"


def number_type(drawn: pa.DataType, convert_to: str | None) -> pa.DataType:
    """Arrow type after `as_number`."""
    return {"int": pa.int64(), "float": pa.float64()}.get(convert_to or "", drawn)


def text_type(drawn: pa.DataType, convert_to: str | None) -> pa.DataType:
    """Arrow type after `as_text`, given that after `as_number`."""
    return drawn if convert_to in (None, "int", "float") else pa.string()


def as_number(array: pa.Array, convert_to: str | None) -> pa.Array:
    """Integers (half to even) or floats, where that is asked for. Text must be a number already."""
    wanted = number_type(array.type, convert_to)
    if wanted == array.type:
        return array
    if pa.types.is_floating(array.type):
        array = pc.round(array, round_mode="half_to_even")
    return array.cast(wanted)


def as_text(array: pa.Array, convert_to: str | None) -> pa.Array:
    """Text, where that is asked for: numbers as Python writes them, times by their strftime format."""
    if text_type(array.type, convert_to) == array.type:
        return array
    if kind_of(array.type) is Kind.TIME:
        return _formatted(array, convert_to or "")
    if pa.types.is_integer(array.type):
        return array.cast(pa.string())
    return _each(array, str)


def _formatted(times: pa.Array, pattern: str) -> pa.Array:
    if _SAME_IN_ARROW.fullmatch(pattern):
        # Arrow writes fractions of a second for %S unless the type has none.
        return pc.strftime(times.cast(pa.timestamp("s"), safe=False), format=pattern)
    distinct = times.dictionary_encode()
    texts = _each(distinct.dictionary, lambda moment: moment.strftime(pattern))
    return texts.take(distinct.indices)


def _each(array: pa.Array, text: Callable[[Any], str]) -> pa.Array:
    return pa.array([None if value is None else text(value) for value in array.to_pylist()], pa.string())
