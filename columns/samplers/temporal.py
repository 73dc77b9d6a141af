"""Datetime and timedelta samplers. All times are UTC without a zone, at microseconds."""

from __future__ import annotations

import calendar
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, field_validator

from prefect_datagen.columns import compute as pc
from prefect_datagen.columns.base import Reference
from prefect_datagen.columns.samplers.base import (
    Conversion,
    Kind,
    Plan,
    Rows,
    SamplerParams,
    Target,
    TimeText,
    as_times,
    kind_of,
    parse_time,
    pick,
    time_type,
)
from prefect_datagen.engine.arrays import np, pa
from prefect_datagen.engine.values import from_numpy

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from prefect_datagen.columns.sampler import SamplerColumnConfig

_EPOCH = datetime(1970, 1, 1)
_MICROSECOND = timedelta(microseconds=1)
_LONGEST = datetime.max - datetime.min
_SECONDS = {"D": 86_400, "h": 3_600, "m": 60, "s": 1}
_MONTHS = {"Y": 12, "M": 1}


class DatetimeSamplerParams(SamplerParams):
    """Times from `start` on, in whole steps of a unit, before `end`; each step evenly.

    A month or year later is the same day of the month, or the month's last day where it is shorter.
    """

    conversion: ClassVar[Conversion] = Conversion.TIME

    sampler_type: Literal["datetime"] = "datetime"
    start: TimeText = Field(description="Earliest time, inclusive, such as 2024-01-31 or 2024-01-31T09:30:00.")
    end: TimeText = Field(description="Latest time, exclusive.")
    unit: Literal["Y", "M", "D", "h", "m", "s"] = Field(
        default="D", description="Step between neighbouring times: year, month, day, hour, minute or second."
    )

    @field_validator("start", "end")
    @classmethod
    def _is_a_time(cls, text: str) -> str:
        parse_time(text)
        return text

    def check(self, convert_to: str | None) -> Iterable[tuple[str, str]]:
        """Start before end."""
        if parse_time(self.start) >= parse_time(self.end):
            yield "end", f"end {self.end!r} must be later than start {self.start!r}"

    def drawn_type(self) -> pa.DataType:
        """Timestamps."""
        return time_type()

    def plan(self, target: Target) -> Plan:
        """One word per row."""
        start, end = parse_time(self.start), parse_time(self.end)
        if self.unit in _MONTHS:
            times = np.array([_micros(moment) for moment in _calendar_steps(start, end, _MONTHS[self.unit])])
            return Plan(1, lambda rows: _times(times[pick(rows.words[:, 0], len(times))]))
        step, first = _SECONDS[self.unit] * 1_000_000, _micros(start)
        count = -(-(_micros(end) - first) // step)
        return Plan(1, lambda rows: _times(first + pick(rows.words[:, 0], count) * step))


class TimeDeltaSamplerParams(SamplerParams):
    """The time of another column plus a random number of units."""

    conversion: ClassVar[Conversion] = Conversion.TIME

    sampler_type: Literal["timedelta"] = "timedelta"
    dt_min: int = Field(ge=0, description="Least number of units, inclusive.")
    dt_max: int = Field(gt=0, description="Largest number of units, exclusive.")
    reference_column_name: str = Field(description="Column with the times that the units are added to.")
    unit: Literal["D", "h", "m", "s"] = Field(default="D", description="Day, hour, minute or second.")

    def references(self) -> Iterable[Reference]:
        """The reference column."""
        yield Reference(self.reference_column_name, "reference_column_name")

    def check(self, convert_to: str | None) -> Iterable[tuple[str, str]]:
        """Bounds in order, and not beyond what a timestamp can hold."""
        if self.dt_min >= self.dt_max:
            yield "dt_max", f"dt_max {self.dt_max!r} must be above dt_min {self.dt_min!r}"
        elif self.dt_max * _SECONDS[self.unit] > _LONGEST.total_seconds():
            yield "dt_max", f"dt_max {self.dt_max!r} {self.unit} is longer than all time from year 1 to 9999"

    def check_read(self, samplers: Mapping[str, SamplerColumnConfig]) -> Iterable[tuple[str, str]]:
        """Whether the reference column holds times."""
        if self.reference_column_name in samplers:
            found = samplers[self.reference_column_name].compared_type()
            if kind_of(found) not in (Kind.TIME, Kind.TEXT):
                yield "reference_column_name", f"column {self.reference_column_name!r} holds {found}, which is no time"

    def drawn_type(self) -> pa.DataType:
        """Timestamps."""
        return time_type()

    def plan(self, target: Target) -> Plan:
        """One word per row."""
        step, span = _SECONDS[self.unit] * 1_000_000, self.dt_max - self.dt_min

        def draw(rows: Rows) -> pa.Array:
            deltas = (self.dt_min + pick(rows.words[:, 0], span)) * step
            return pc.add(
                as_times(rows.columns[self.reference_column_name]), from_numpy(deltas.view("timedelta64[us]"))
            )

        return Plan(1, draw)


def _micros(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND


def _calendar_steps(start: datetime, end: datetime, months: int) -> Iterator[datetime]:
    for first_month in range(start.year * 12 + start.month - 1, 9999 * 12 + 12, months):
        year, month = first_month // 12, first_month % 12 + 1
        moment = start.replace(year=year, month=month, day=min(start.day, calendar.monthrange(year, month)[1]))
        if moment >= end:
            return
        yield moment


def _times(micros: NDArray[np.int64]) -> pa.Array:
    """Times from microseconds since 1970."""
    return from_numpy(micros.view("datetime64[us]"))
