"""What every family of samplers shares: the params model, the plan it compiles to, and the rows a plan draws.

A plan turns random words into values by an inverse transform with a fixed number of words per row, so that a value is a
function of (run seed, column, attempt, row index) only. Values are Arrow arrays throughout; a plan never sees the block
that its rows are part of, only the rows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import BeforeValidator, Field

from prefect_datagen.columns.base import Config, Reference
from prefect_datagen.engine.arrays import np, pa
from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.engine.randomness import RowStream, unit
from prefect_datagen.engine.values import from_numpy

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from prefect_datagen.columns.sampler import SamplerColumnConfig

_MAX_GAP = 2048  # generating the words of so many rows costs about as much as one more call of the generator


class Kind(StrEnum):
    """What a value can be compared with."""

    NUMBER = "number"
    TEXT = "text"
    TIME = "time"
    TRUTH = "truth value"
    RECORD = "record"


class Conversion(StrEnum):
    """What `convert_to` means for a sampler."""

    NUMBER = "int, float or str"
    TIME = "a strftime format"
    TEXT = "str"
    NONE = "nothing"


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows that a plan draws.

    Attributes:
        index: index of each row in the dataset, shape `(n,)`.
        words: random words of each row, shape `(n, width)` with at least the plan's width.
        columns: columns that the params read, each of shape `(n,)`.
    """

    index: NDArray[np.int64]
    words: NDArray[np.uint64]
    columns: Mapping[str, pa.Array]

    def at(self, positions: NDArray[np.intp]) -> Rows:
        """The rows at these positions."""
        chosen = from_numpy(positions)
        columns = {name: array.take(chosen) for name, array in self.columns.items()}
        return Rows(self.index[positions], self.words[positions], columns)


@dataclass(frozen=True, slots=True)
class Target:
    """The column that a plan is made for: `type` is that of the drawn array, before `convert_to`."""

    column: str
    seed: int
    type: pa.DataType
    convert_to: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """Params ready to draw: `width` random words per row, and the function that makes values of them."""

    width: int
    draw: Callable[[Rows], pa.Array]


class SamplerParams(Config):
    """Base of the params of all samplers. Subclasses carry `sampler_type`."""

    conversion: ClassVar[Conversion] = Conversion.NUMBER

    def references(self) -> Iterable[Reference]:
        """Columns that these params read; fields are relative to the params."""
        return ()

    def check(self, convert_to: str | None) -> Iterable[tuple[str, str]]:
        """Mistakes beyond one field's bounds: (field, message) each; fields are relative to the params."""
        return ()

    def check_read(self, samplers: Mapping[str, SamplerColumnConfig]) -> Iterable[tuple[str, str]]:
        """Mistakes between these params and the samplers that they read, by name; told as by `check`."""
        return ()

    def listed(self) -> Sequence[bool | int | float | str]:
        """All values that can be drawn, as the config has them; empty where they are in no list."""
        return ()

    def drawn_type(self) -> pa.DataType:
        """Arrow type of the drawn values, before `convert_to`."""
        return pa.float64()

    def plan(self, target: Target) -> Plan:
        """Compile for one column. The drawn arrays have the type of `target`."""
        raise NotImplementedError


def words_of(stream: RowStream, index: NDArray[np.int64], width: int) -> NDArray[np.uint64]:
    """The words of these rows (ascending), shape `(n, width)`, whether they stand together or far apart."""
    if not len(index) or not width:
        return np.empty((len(index), width), dtype=np.uint64)
    first, last = int(index[0]), int(index[-1])
    if last - first + 1 == len(index):
        return stream.words(first, len(index), width)
    stretches = np.split(index, np.flatnonzero(np.diff(index) > _MAX_GAP) + 1)
    parts = [stream.words(int(s[0]), int(s[-1] - s[0]) + 1, width)[s - s[0]] for s in stretches]
    return np.concatenate(parts)


def open_unit(words: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Floats in (0, 1) with 52 random bits: no inverse distribution function is asked for its value at 0 or 1."""
    return ((words >> np.uint64(12)).view(np.int64).astype(np.float64) + 0.5) * 2.0**-52


def pick(words: NDArray[np.uint64], count: int | NDArray[np.int64]) -> NDArray[np.int64]:
    """Integers in [0, count), evenly; `count` is one number or one per row, at most 2**53."""
    return (unit(words) * count).astype(np.int64)


def kind_of(data_type: pa.DataType) -> Kind:
    """What values of this type can be compared with."""
    types = pa.types
    if types.is_boolean(data_type):
        return Kind.TRUTH
    if types.is_integer(data_type) or types.is_floating(data_type) or types.is_decimal(data_type):
        return Kind.NUMBER
    if types.is_timestamp(data_type) or types.is_date(data_type):
        return Kind.TIME
    if types.is_string(data_type) or types.is_large_string(data_type):
        return Kind.TEXT
    return Kind.RECORD


def time_type() -> pa.DataType:
    """Arrow type of every sampled time: microseconds, UTC, no zone."""
    return pa.timestamp("us")


def as_times(array: pa.Array) -> pa.Array:
    """Timestamps, dates or ISO 8601 text as `time_type()`; zones become UTC.

    Raises:
        ConfigError: a value is no time.
    """
    if kind_of(array.type) not in (Kind.TIME, Kind.TEXT):
        raise ConfigError(f"{array.type} is no time: a timestamp, a date or text such as '2024-01-31T09:30:00' is")
    try:
        return array.cast(time_type(), safe=False)
    except pa.ArrowInvalid as error:
        raise ConfigError(f"not a time: {error}") from error


def parse_time(text: str) -> datetime:
    """A time in UTC without a zone, from ISO 8601, `YYYY`, `YYYY-MM`, or what pandas understands of a full date.

    Raises:
        ValueError: the text is no time.
    """
    if re.fullmatch(r"\d{4}(-\d{2})?", text):
        text = f"{text}-01" if "-" in text else f"{text}-01-01"
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = _parse_loosely(text)
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment


def _parse_loosely(text: str) -> datetime:
    # Configs written for other tools hold dates such as "Jan 5, 2024" or "2024/01/05"; without a year it is a guess.
    refused = f"{text!r} is no date or time: write it as 2024-01-31 or 2024-01-31T09:30:00"
    if not re.search(r"\d{4}", text):
        raise ValueError(refused)
    import pandas as pd

    try:
        moment = pd.to_datetime(text).to_pydatetime()
    except ValueError as error:
        raise ValueError(refused) from error
    if not isinstance(moment, datetime):
        raise ValueError(refused)
    return moment


def _time_text(value: object) -> object:
    # YAML readers make dates of unquoted ISO dates.
    return value.isoformat() if isinstance(value, date) else value


Finite = Annotated[float, Field(allow_inf_nan=False)]
TimeText = Annotated[str, BeforeValidator(_time_text)]
