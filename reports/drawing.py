"""What every drawn chart shares: its size, its axes, its legend, and rows taken apart into series.

Bars, lines, areas and histograms are drawn here as SVG, so that the first chart needs no JavaScript engine. Each is
drawn for several widths, so that text stays readable on a phone and in a column of a row.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from prefect_datagen.reports.formats import show
from prefect_datagen.reports.scales import Axis
from prefect_datagen.reports.svg import element, shortened, text, text_width, title
from prefect_datagen.reports.values import Scale

MAX_SERIES = 8
OTHER = "other"

_LINE = 18  # pixels between two lines of text


@dataclass(frozen=True)
class Drawing:
    """The inside of an SVG, and its size in pixels."""

    content: str
    width: float
    height: float
    note: str = ""


@dataclass(frozen=True)
class Series:
    name: str
    points: list[tuple[Any, float | None]]  # (x as in the column, value)


@dataclass(frozen=True)
class Frame:
    """The rectangle of the marks inside a picture."""

    left: float
    top: float
    right: float
    bottom: float


def grouped(xs: Sequence[Any], ys: Sequence[float | None], groups: Sequence[str]) -> list[Series]:
    """Points by series, in the order of their first rows; what comes after the eighth series is one more."""
    order = list(dict.fromkeys(groups))
    kept = order if len(order) <= MAX_SERIES else order[: MAX_SERIES - 1]
    series: dict[str, list[tuple[Any, float | None]]] = {name: [] for name in kept}
    rest: dict[Any, float | None] = {}
    for x, y, group in zip(xs, ys, groups, strict=True):
        if group in series:
            series[group].append((x, y))
        elif y is not None:
            rest[x] = (rest.get(x) or 0.0) + y
    if rest:
        series[OTHER] = list(rest.items())
    return [Series(name, points) for name, points in series.items()]


def chart_height(width: float) -> float:
    return 230.0 if width < 480 else 270.0 if width < 800 else 320.0


def frame_of(up: Axis, width: float, top: float, height: float) -> Frame:
    left = max(text_width(label) for _, label in up.ticks) + 12
    return Frame(left, top + 6, width - 14, height - 26)


def axis_up(axis: Axis, frame: Frame) -> str:
    parts = []
    for value, label in axis.ticks:
        y = axis.place(value, frame.bottom, frame.top)
        parts.append(element("line", x1=frame.left, x2=frame.right, y1=y, y2=y, class_="grid"))
        parts.append(text(label, frame.left - 8, y + 4, class_="muted", anchor="end"))
    return "".join(parts)


def axis_along(axis: Axis, frame: Frame) -> str:
    parts = [element("line", x1=frame.left, x2=frame.right, y1=frame.bottom, y2=frame.bottom, class_="axis")]
    free = -math.inf
    for value, label in axis.ticks:
        x = axis.place(value, frame.left, frame.right)
        half = text_width(label) / 2
        middle = min(x, frame.right + 12 - half)  # the last label moves to the left rather than out of the picture
        if middle - half < free:
            continue
        free = middle + half + 8
        parts.append(element("line", x1=x, x2=x, y1=frame.bottom, y2=frame.bottom + 4, class_="axis"))
        parts.append(text(label, middle, frame.bottom + 18, class_="muted", anchor="middle"))
    return "".join(parts)


def grid_down(axis: Axis, left: float, right: float, top: float, bottom: float) -> str:
    parts = []
    for value, label in axis.ticks:
        x = axis.place(value, left, right)
        parts.append(element("line", x1=x, x2=x, y1=top, y2=bottom, class_="grid"))
        parts.append(text(label, x, bottom + 16, class_="muted", anchor="middle"))
    return "".join(parts)


def legend(names: list[str], width: float) -> tuple[str, float]:
    """Coloured squares with names, in as many lines as they need; returned with where the chart begins."""
    parts = []
    x, y = 0.0, 14.0
    for number, name in enumerate(names):
        label = shortened(name, 160)
        wide = text_width(label) + 32
        if x and x + wide > width:
            x, y = 0.0, y + _LINE
        square = element("rect", x=x, y=y - 9, width=10, height=10, rx=2, class_=f"f{number % MAX_SERIES + 1}")
        parts.append(element("g", square + text(label, x + 15, y) + title(name)))
        x += wide
    return "".join(parts), y + 14


def nothing(width: float) -> Drawing:
    return Drawing(text("No rows", width / 2, 60, class_="muted", anchor="middle"), width, 120)


def x_text(value: float, scale: Scale) -> str:
    return time_text(value) if scale is Scale.TIME else show(value)


def time_text(value: float) -> str:
    return datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%d %H:%M:%S").removesuffix(" 00:00:00")
