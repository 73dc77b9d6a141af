"""Whether a value fits its column's type, and the value that Arrow takes: nothing is guessed, nothing is retyped.

Text stays text (`"0E8"`, `"1.10"`, `"true"`), a boolean is no number, a number is no text. The only widenings are those
that lose nothing: an integer where a float is wanted, and a dict or list as JSON text where text is wanted.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import orjson

from prefect_datagen.engine.arrays import np, pa
from prefect_datagen.engine.errors import CellError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Fitter = Callable[[Any], Any]
"""Takes a value and gives what is stored for it."""

_EXACT_INTEGERS = 2**53  # up to here every integer has a float of its own


class _MisfitError(ValueError):
    """A value does not fit. `path` leads to it within a nested value."""

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__(message)
        self.path = path


def fit(value: Any, type_: pa.DataType) -> Any:
    """The value as it is stored in a column of this type. None fits every type.

    Raises:
        CellError: reason "type"; the message has the value, the place within it, and the type.
    """
    return fitter(type_)(value)


@lru_cache(maxsize=1024)
def fitter(type_: pa.DataType) -> Fitter:
    """`fit` for one type, made once: for loops over many values."""
    convert = _converter(type_)

    def fit_value(value: Any) -> Any:
        if value is None:
            return None
        try:
            return convert(value)
        except _MisfitError as misfit:
            where = f" at {misfit.path}" if misfit.path else ""
            raise CellError(f"{misfit}{where} (the column's type is {type_})", reason="type") from misfit

    return fit_value


def json_text(value: Any) -> str:
    """A value as JSON text, compact, with text in its own characters; nan and infinities, which JSON lacks, are null.

    Raises:
        TypeError: it holds something that JSON has no form for.
    """
    try:
        return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY).decode()
    except TypeError:
        # Integers beyond 64 bits and lone surrogates: JSON can hold them, orjson does not.
        return json.dumps(value, separators=(",", ":"))


def text_array(values: Sequence[str | None]) -> pa.Array:
    """`pa.array(values)` without pandas, which that imports: a third of a second that a check of a config, or a build of
    text, needs for nothing else."""
    builder = pa.lib.StringBuilder()
    builder.append_values(values)
    return builder.finish()


def number_array(values: Sequence[float], type_: pa.DataType) -> pa.Array:
    """`pa.array(values, type_)` of whole numbers or floats of 64 bits, none missing, without pandas as well."""
    return from_numpy(np.asarray(values, np.float64 if pa.types.is_floating(type_) else np.int64))


def from_numpy(values: NDArray[Any]) -> pa.Array:
    """`pa.array(values)` of whole numbers, floats or times, shape `(n,)`, without a copy, and without pandas as well."""
    together = np.ascontiguousarray(values)
    return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(together), [None, pa.py_buffer(together)])


def int32_values(array: pa.Array) -> NDArray[np.int32]:
    """`array.to_numpy()` of an int32 array, none missing, without a copy, and without pandas as well."""
    return np.frombuffer(array.buffers()[1], np.int32, count=len(array), offset=4 * array.offset)


def text_scalar(text: str) -> pa.Scalar:
    """`pa.scalar(text)`, which imports pandas, too."""
    return text_array([text])[0]


_FEW = 10_000
"""Values that `to_pylist` makes in some milliseconds. `to_numpy` is quicker by far, but imports pandas first: a third of a
second in which the event loop does nothing else."""


def python_values(array: pa.Array) -> list[Any]:
    """`array.to_pylist()`, by a shorter way where there is one: much text, many numbers and booleans go through NumPy."""
    if len(array) <= _FEW:
        return array.to_pylist()  # type: ignore[no-any-return]
    type_ = array.type
    if pa.types.is_string(type_) or pa.types.is_large_string(type_):
        return array.to_numpy(zero_copy_only=False).tolist()  # type: ignore[no-any-return]
    if not array.null_count and (
        pa.types.is_integer(type_) or pa.types.is_floating(type_) or pa.types.is_boolean(type_)
    ):
        return array.to_numpy(zero_copy_only=False).tolist()  # type: ignore[no-any-return]
    return array.to_pylist()  # type: ignore[no-any-return]


def _converter(type_: pa.DataType) -> Fitter:
    """What `fit` does with values that are not None."""
    types = pa.types
    if types.is_string(type_) or types.is_large_string(type_):
        return _text
    if types.is_boolean(type_):
        return _boolean
    if types.is_integer(type_):
        return _integer(type_)
    if types.is_floating(type_):
        return _number
    if types.is_struct(type_):
        return _struct(type_)
    if types.is_list(type_) or types.is_large_list(type_) or types.is_fixed_size_list(type_):
        return _list(type_)
    if types.is_dictionary(type_):
        return _converter(type_.value_type)
    if types.is_timestamp(type_):
        return _timestamp(type_)
    if types.is_binary(type_) or types.is_large_binary(type_):
        return _instance("bytes", bytes, bytearray)
    if types.is_date(type_):
        return _date
    if types.is_time(type_):
        return _instance("a time of day", time)
    if types.is_duration(type_):
        return _instance("a timedelta", timedelta)
    return _as_arrow_sees_it(type_)


def _text(value: Any) -> str:
    if isinstance(value, str):
        if not value.isascii():
            _check_unicode(value)
        return value if type(value) is str else str.__str__(value)  # an enum's own text would be its name
    if isinstance(value, (dict, list, tuple)):
        try:
            return json_text(value)
        except (TypeError, ValueError) as error:
            raise _MisfitError(f"{_shown(value)} cannot be written as JSON text: {error}") from error
    raise _MisfitError(f"{_shown(value)} is not text")


def _check_unicode(value: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise _MisfitError(f"{_shown(value)} is not valid Unicode: {error.reason}") from error


def _boolean(value: Any) -> bool:
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    raise _MisfitError(f"{_shown(value)} is not true or false")


def _integer(type_: pa.DataType) -> Fitter:
    signed = pa.types.is_signed_integer(type_)
    low = -(1 << (type_.bit_width - 1)) if signed else 0
    high = (1 << (type_.bit_width - signed)) - 1

    def integer(value: Any) -> int:
        if isinstance(value, np.generic):
            value = value.item()
        if not isinstance(value, int) or isinstance(value, bool):
            raise _MisfitError(f"{_shown(value)} is not an integer")
        if not low <= value <= high:
            raise _MisfitError(f"{_shown(value)} is outside {low} to {high}")
        return int(value)

    return integer


def _number(value: Any) -> float:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value
    if not isinstance(value, int) or isinstance(value, bool):
        raise _MisfitError(f"{_shown(value)} is not a number")
    if abs(value) > _EXACT_INTEGERS and (value.bit_length() > 1023 or int(float(value)) != value):
        raise _MisfitError(f"{_shown(value)} has more digits than a float can hold")
    return float(value)


def _struct(type_: pa.DataType) -> Fitter:
    fields = {field.name: _converter(field.type) for field in type_}

    def struct(value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise _MisfitError(f"{_shown(value)} is not a mapping")
        unknown = [name for name in value if name not in fields]
        if unknown:
            raise _MisfitError(f"{unknown[0]!r} is not a field; the fields are {', '.join(map(repr, fields))}")
        return {name: _inner(convert, value.get(name), name) for name, convert in fields.items()}

    return struct


def _list(type_: pa.DataType) -> Fitter:
    convert = _converter(type_.value_type)
    size = type_.list_size if pa.types.is_fixed_size_list(type_) else None

    def items(value: Any) -> list[Any]:
        if isinstance(value, np.ndarray):
            value = value.tolist()
        if not isinstance(value, (list, tuple)):
            raise _MisfitError(f"{_shown(value)} is not a list")
        if size is not None and len(value) != size:
            raise _MisfitError(f"a list of {len(value)} values where {size} are wanted")
        return [_inner(convert, item, f"[{at}]") for at, item in enumerate(value)]

    return items


def _inner(convert: Fitter, value: Any, step: str) -> Any:
    if value is None:
        return None
    try:
        return convert(value)
    except _MisfitError as misfit:
        path = f"{step}{misfit.path}" if misfit.path.startswith("[") else ".".join(filter(None, (step, misfit.path)))
        raise _MisfitError(str(misfit), path) from misfit.__cause__


def _timestamp(type_: pa.DataType) -> Fitter:
    aware = type_.tz is not None

    def moment(value: Any) -> datetime | None:
        if isinstance(value, np.datetime64):
            value = value.astype("datetime64[us]").item()
        if not isinstance(value, datetime):
            raise _MisfitError(f"{_shown(value)} is not a date and time")
        if value != value:  # pandas' NaT, which is a datetime and says nothing
            return None
        if (value.tzinfo is not None) != aware:
            raise _MisfitError(f"{_shown(value)} has {'no' if aware else 'a'} time zone")
        return value

    return moment


def _date(value: Any) -> date:
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    raise _MisfitError(f"{_shown(value)} is not a date")


def _instance(name: str, *kinds: type) -> Fitter:
    def instance(value: Any) -> Any:
        if not isinstance(value, kinds):
            raise _MisfitError(f"{_shown(value)} is not {name}")
        return value

    return instance


def _as_arrow_sees_it(type_: pa.DataType) -> Fitter:
    """For the rare types (decimals, maps, ...): what Arrow takes, fits."""

    def take(value: Any) -> Any:
        try:
            pa.scalar(value, type=type_)
        except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
            raise _MisfitError(f"{_shown(value)} does not fit: {error}") from error
        return value

    return take


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
