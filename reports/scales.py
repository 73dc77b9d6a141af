"""Axes: nice bounds, ticks and their labels.

Ticks of numbers are 1, 2 or 5 times a power of ten apart (after P. Heckbert, "Nice numbers for graph labels", Graphics
Gems, 1990); ticks of time stand at whole seconds, minutes, hours, days, months or years.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from prefect_datagen.reports.formats import show
from prefect_datagen.reports.values import Scale

_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400
_TIME_STEPS = (
    *(1, 2, 5, 10, 15, 30),
    *(_MINUTE * n for n in (1, 2, 5, 10, 15, 30)),
    *(_HOUR * n for n in (1, 2, 3, 6, 12)),
    *(_DAY * n for n in (1, 2, 7, 14)),
)
_TINY = 1e-290  # a range that cannot be cut into steps: those would be zero
_MONTH_STEPS = (1, 2, 3, 6, 12, 24, 60, 120, 240, 600, 1_200)


@dataclass(frozen=True)
class Axis:
    """A straight axis from `low` to `high` with ticks as (position, label)."""

    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]

    def place(self, value: float, start: float, end: float) -> float:
        """Where a value stands between two positions on the paper."""
        return start + (value - self.low) / (self.high - self.low) * (end - start)


def number_axis(values: Sequence[float], *, count: int, zero: bool, format_: str | None = None) -> Axis:
    """An axis that holds all values, with about `count` ticks; with `zero` it holds zero too."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    if zero:
        low, high = min(low, 0.0), max(high, 0.0)
    if high - low < _TINY:
        low, high = (low - 0.5, high + 0.5) if abs(low) > _TINY or not zero else (0.0, 1.0)
    step = _nice_step((high - low) / count)
    first, last = math.floor(low / step), math.ceil(high / step)
    places = [number * step for number in range(first, last + 1)]
    shown = _number_label(step, format_)
    return Axis(places[0], places[-1], tuple((place, shown(place)) for place in places))


def exact_axis(low: float, high: float, *, count: int, scale: Scale, format_: str | None = None) -> Axis:
    """An axis that ends where its values do; ticks stand between."""
    if high - low < _TINY:
        low, high = low - 0.5, high + 0.5
    if scale is Scale.TIME:
        return Axis(low, high, tuple(time_ticks(low, high, count=count)))
    step = _nice_step((high - low) / count)
    shown = _number_label(step, format_)
    places = [number * step for number in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]
    return Axis(low, high, tuple((place, shown(place)) for place in places))


def time_ticks(low: float, high: float, *, count: int) -> list[tuple[float, str]]:
    """Ticks between two moments in seconds since 1970, at most about `count`."""
    wanted = (high - low) / count
    step = next((step for step in _TIME_STEPS if step >= wanted), None)
    if step is None:
        months = next((each for each in _MONTH_STEPS if each * 30 * _DAY >= wanted), _MONTH_STEPS[-1])
        return _month_ticks(low, high, months)
    begin = math.ceil(low / step) * step
    moments = [begin + number * step for number in range(int((high - begin) // step) + 1)]
    pattern = "%b %d" if step >= _DAY else "%H:%M" if step >= _MINUTE else "%H:%M:%S"
    days = {moment // _DAY for moment in moments}
    if step < _DAY and len(days) > 1:
        pattern = "%b %d " + pattern
    return [(moment, _moment(moment).strftime(pattern)) for moment in moments]


def _month_ticks(low: float, high: float, months: int) -> list[tuple[float, str]]:
    start = _moment(low)
    ticks: list[tuple[float, str]] = []
    number = (start.year * 12 + start.month - 1) // months * months
    while True:
        moment = datetime(number // 12, number % 12 + 1, 1, tzinfo=UTC)
        if moment.timestamp() > high:
            return ticks
        if moment.timestamp() >= low:
            ticks.append((moment.timestamp(), moment.strftime("%Y" if months % 12 == 0 else "%b %Y")))
        number += months


def _moment(value: float) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=value)


def _nice_step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * each for each in (1.0, 2.0, 5.0, 10.0) if power * each >= rough * 0.999)


def _number_label(step: float, format_: str | None) -> Callable[[float], str]:
    if format_ is not None:
        return lambda value: show(value, format_)
    if step >= 1:
        return lambda value: show(round(value), "si" if abs(value) >= 100_000 else None)
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    return lambda value: f"{value:,.{digits}f}" if digits <= 6 else f"{value:.3g}"
