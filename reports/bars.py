"""Bars and histograms as SVG."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from prefect_datagen.reports.drawing import (
    MAX_SERIES,
    Drawing,
    Series,
    axis_along,
    axis_up,
    chart_height,
    frame_of,
    grid_down,
    grouped,
    legend,
    nothing,
    time_text,
)
from prefect_datagen.reports.formats import show
from prefect_datagen.reports.scales import Axis, exact_axis, number_axis
from prefect_datagen.reports.spec import BarConfig, HistogramConfig, Stack
from prefect_datagen.reports.svg import element, shortened, text, text_width, title
from prefect_datagen.reports.values import Scale, columns

MAX_BARS = 60


def draw_bar(config: BarConfig, table: pa.Table, *, width: float) -> Drawing:
    """Vertical bars, or horizontal ones where the names are long."""
    bars, note = _bars(config, table)
    if not bars.names:
        return nothing(width)
    across = config.horizontal
    if across is None:
        across = max(text_width(name) for name in bars.names) > 0.9 * (width - 60) / len(bars.names)
    head, top = legend(bars.series, width) if len(bars.series) > 1 else ("", 8.0)
    content, height = (_bars_across if across else _bars_up)(bars, width, top)
    return Drawing(head + content, width, height, note)


@dataclass(frozen=True)
class _Segment:
    """A part of a bar: its series, where it begins and ends on the axis, and the value it stands for."""

    series: int
    low: float
    high: float
    value: float


@dataclass(frozen=True)
class _Bars:
    names: list[str]
    series: list[str]
    segments: list[list[_Segment]]  # by name
    stack: Stack
    format_: str | None

    @property
    def axis_values(self) -> list[float]:
        return [end for bar in self.segments for segment in bar for end in (segment.low, segment.high)]

    @property
    def axis_format(self) -> str | None:
        return ".0%" if self.stack is Stack.SHARE else self.format_

    def rectangle(self, at: int, segment: _Segment, *, x: float, y: float, width: float, height: float) -> str:
        """A segment of the bar `at`, with its value as a hint."""
        series = f", {self.series[segment.series]}" if len(self.series) > 1 else ""
        hint = title(f"{self.names[at]}{series}: {show(segment.value, self.format_)}")
        colour = f"f{segment.series % MAX_SERIES + 1}"
        return element("rect", hint, x=x, y=y, width=max(width, 0.0), height=max(height, 0.0), rx=2, class_=colour)


def _bars(config: BarConfig, table: pa.Table) -> tuple[_Bars, str]:
    wanted = [config.x, config.y] + ([config.color] if config.color else [])
    found = columns(table, wanted)
    groups = [show(value) for value in found[2].values] if config.color else [""] * len(found[0].values)
    series = grouped([show(value) for value in found[0].values], found[1].numbers(), groups)
    names = list(dict.fromkeys(x for each in series for x, _ in each.points))
    note = f"The first {MAX_BARS} of {len(names):,} bars are shown." if len(names) > MAX_BARS else ""
    names = names[:MAX_BARS]
    stack = config.stack if len(series) > 1 else Stack.STACKED
    segments = _segments(series, names, stack)
    return _Bars(names, [each.name for each in series], segments, stack, config.format), note


def _segments(series: list[Series], names: list[str], stack: Stack) -> list[list[_Segment]]:
    """The segments of each name's bar. Negative values are stacked downwards; a name that comes twice is added up."""
    values: dict[str, dict[int, float]] = {name: {} for name in names}
    for number, each in enumerate(series):
        for x, y in each.points:
            if x in values and y is not None:
                values[x][number] = values[x].get(number, 0.0) + y
    bars = []
    for name in names:
        total = sum(map(abs, values[name].values())) if stack is Stack.SHARE else 1.0
        ends = {True: 0.0, False: 0.0}  # of what is stacked upwards and downwards so far
        bar = []
        for number, value in values[name].items():
            size = value / total if total else 0.0
            begin = 0.0 if stack is Stack.GROUPED else ends[size >= 0]
            ends[size >= 0] = begin + size
            bar.append(_Segment(number, begin, begin + size, value))
        bars.append(bar)
    return bars


def _bars_up(bars: _Bars, width: float, top: float) -> tuple[str, float]:
    height = chart_height(width) + top - 8
    up = number_axis(bars.axis_values, count=4, zero=True, format_=bars.axis_format)
    frame = frame_of(up, width, top, height)
    band = (frame.right - frame.left) / len(bars.names)
    slots = len(bars.series) if bars.stack is Stack.GROUPED else 1
    slot = min(band * 0.8, 90.0 * slots) / slots
    every = math.ceil(max(text_width(name) for name in bars.names) / (band * 1.4))
    parts = [axis_up(up, frame)]
    for at, name in enumerate(bars.names):
        middle = frame.left + band * (at + 0.5)
        for segment in bars.segments[at]:
            x = middle - slot * slots / 2 + (slot * segment.series if slots > 1 else 0.0)
            ends = (up.place(segment.low, frame.bottom, frame.top), up.place(segment.high, frame.bottom, frame.top))
            y = min(ends)
            parts.append(bars.rectangle(at, segment, x=x, y=y, width=slot, height=max(ends) - y))
        if at % every == 0:
            label = shortened(name, band * every - 4)
            parts.append(text(label, middle, frame.bottom + 16, class_="muted", anchor="middle"))
    zero = up.place(0.0, frame.bottom, frame.top)
    parts.append(element("line", x1=frame.left, x2=frame.right, y1=zero, y2=zero, class_="axis"))
    return "".join(parts), height


def _bars_across(bars: _Bars, width: float, top: float) -> tuple[str, float]:
    slots = len(bars.series) if bars.stack is Stack.GROUPED else 1
    thick = 20.0 if slots == 1 else 11.0
    gap = 6.0
    single = len(bars.series) == 1
    left = min(max(text_width(name) for name in bars.names) + 10, width * 0.4)
    # A single series carries its values at the ends of the bars and needs no ticks.
    shown = [show(segment.value, bars.format_) for bar in bars.segments for segment in bar] if single else []
    right = width - max(map(text_width, shown), default=0.0) - 10
    ticked = number_axis(bars.axis_values, count=4, zero=True, format_=bars.axis_format)
    low, high = min(0.0, *bars.axis_values, 0.0), max(0.0, *bars.axis_values, 0.0)
    axis = Axis(low, high if high > low else low + 1.0, ()) if single else ticked
    bottom = top + len(bars.names) * (thick * slots + gap)
    parts = [] if single else [grid_down(ticked, left, right, top, bottom)]
    for at, name in enumerate(bars.names):
        y = top + at * (thick * slots + gap)
        middle = y + thick * slots / 2 + 4
        parts.append(element("g", text(shortened(name, left - 10), left - 8, middle, anchor="end") + title(name)))
        for segment in bars.segments[at]:
            ends = (axis.place(segment.low, left, right), axis.place(segment.high, left, right))
            place = y + (thick * segment.series if slots > 1 else 0.0)
            long = max(ends) - min(ends)
            parts.append(bars.rectangle(at, segment, x=min(ends), y=place, width=long, height=thick))
            if single:
                parts.append(text(show(segment.value, bars.format_), max(ends) + 6, middle, class_="muted"))
    return "".join(parts), bottom + (6 if single else 26)


def draw_histogram(config: HistogramConfig, table: pa.Table, *, width: float) -> Drawing:
    """Bars that touch each other over a straight axis."""
    edges, counts, scale = _bins(config, table)
    if not counts:
        return nothing(width)
    height = chart_height(width)
    up = number_axis(counts, count=4, zero=True)
    frame = frame_of(up, width, 8.0, height)
    along = exact_axis(edges[0][0], edges[-1][1], count=max(3, int(width / 80)), scale=scale, format_=config.format)
    parts = [axis_up(up, frame), axis_along(along, frame)]
    for (low, high), count in zip(edges, counts, strict=True):
        left, right = along.place(low, frame.left, frame.right), along.place(high, frame.left, frame.right)
        y = up.place(count, frame.bottom, frame.top)
        hint = title(f"{_bin_text(low, high, scale, config.format)}: {show(count)}")
        gap = 1.0 if right - left > 4 else 0.0
        parts.append(
            element("rect", hint, x=left, y=y, width=max(0.5, right - left - gap), height=frame.bottom - y, class_="f1")
        )
    return Drawing("".join(parts), width, height)


def _bin_text(low: float, high: float, scale: Scale, format_: str | None) -> str:
    if scale is Scale.TIME:
        return f"{time_text(low)} to {time_text(high)}"
    if high - low == 1 and low % 1 == 0.5:  # the bin of one whole number
        return show(low + 0.5, format_)
    return f"{show(low, format_)} to {show(high, format_)}"


def _bins(config: HistogramConfig, table: pa.Table) -> tuple[list[tuple[float, float]], list[float], Scale]:
    """(low, high) and count of each bin, from low to high; without gaps between raw values."""
    if config.y is not None and config.x_end is not None:
        start, end, count = columns(table, [config.x, config.x_end, config.y])
        found = zip(start.numbers(), end.numbers(), count.numbers(), strict=True)
        bins = sorted((low, high, number or 0.0) for low, high, number in found if low is not None and high is not None)
        return [(low, high) for low, high, _ in bins], [number for *_, number in bins], start.scale
    (column,) = columns(table, [config.x])
    values = [value for value in column.numbers() if value is not None]
    if not values:
        return [], [], column.scale
    counts, edges = np.histogram(np.asarray(values), bins=config.bins)
    return list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)), counts.astype(float).tolist(), column.scale
