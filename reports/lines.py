"""Lines and areas as SVG."""

from __future__ import annotations

import math
from typing import Any

import pyarrow as pa

from prefect_datagen.reports.drawing import (
    MAX_SERIES,
    Drawing,
    Frame,
    Series,
    axis_along,
    axis_up,
    chart_height,
    frame_of,
    grouped,
    legend,
    nothing,
    x_text,
)
from prefect_datagen.reports.errors import QueryError
from prefect_datagen.reports.formats import show
from prefect_datagen.reports.scales import Axis, exact_axis, number_axis
from prefect_datagen.reports.spec import AreaConfig, LineConfig
from prefect_datagen.reports.svg import element, shortened, title
from prefect_datagen.reports.values import Column, Scale, columns


def draw_line(config: LineConfig, table: pa.Table, *, width: float) -> Drawing:
    """A line for each series; where a value is missing the line has a gap."""
    return _draw_lines(config, table, width=width, filled=False)


def draw_area(config: AreaConfig, table: pa.Table, *, width: float) -> Drawing:
    """Filled lines, each standing on the one before."""
    return _draw_lines(config, table, width=width, filled=True)


# ---- lines and areas


def _draw_lines(config: LineConfig | AreaConfig, table: pa.Table, *, width: float, filled: bool) -> Drawing:
    along_column, series = _line_series(config, table)
    points = [(x, y) for each in series for x, y in each.points if y is not None]
    if not points:
        return nothing(width)
    if filled:
        series = _piled(series)
    head, top = legend([each.name for each in series], width) if len(series) > 1 else ("", 8.0)
    height = chart_height(width) + top - 8
    heights = [y for each in series for _, y in each.points if y is not None]
    up = number_axis(heights, count=4, zero=filled or min(heights) >= 0, format_=config.format)
    frame = frame_of(up, width, top, height)
    count = max(3, int(width / 110))
    xs = [x for x, _ in points]
    if along_column.scale is Scale.NAME:
        along = _name_axis(along_column.values, count)
    else:
        along = exact_axis(min(xs), max(xs), count=count, scale=along_column.scale)
    parts = [axis_up(up, frame), axis_along(along, frame)]
    floor: list[tuple[Any, float | None]] = []
    for number, each in enumerate(series):
        if filled:
            parts.append(_area(each.points, floor, along, up, frame, number))
            floor = each.points
        parts.append(_line(each, along, up, frame, number))
    parts.append(_hints(config, along_column, series, along, up, frame))
    return Drawing(head + "".join(parts), width, height)


def _line_series(config: LineConfig | AreaConfig, table: pa.Table) -> tuple[Column, list[Series]]:
    names = [config.y] if isinstance(config.y, str) else config.y
    found = columns(table, [config.x, *names] + ([config.color] if config.color else []))
    x = found[0]
    if x.scale is Scale.NAME:
        order = {value: number for number, value in enumerate(dict.fromkeys(map(show, x.values)))}
        x = Column(x.name, Scale.NAME, list(order))
        places: list[float | None] = [float(order[show(value)]) for value in found[0].values]
    else:
        places = x.numbers()
    rows = [number for number, place in enumerate(places) if place is not None]
    if x.scale is not Scale.NAME:
        rows.sort(key=lambda number: places[number] or 0.0)
    xs = [places[number] for number in rows]
    if config.color and len(names) == 1:
        ys, groups = found[1].numbers(), found[-1].values
        return x, grouped(xs, [ys[number] for number in rows], [show(groups[number]) for number in rows])
    if config.color:
        raise QueryError("give either several columns as y or a column as color, not both")
    series = []
    for column in found[1:]:
        ys = column.numbers()
        series.append(Series(column.name, [(place, ys[number]) for place, number in zip(xs, rows, strict=True)]))
    return x, series


def _piled(series: list[Series]) -> list[Series]:
    """Each series on top of the one before; all get the same places, and a missing value is nothing."""
    places = sorted({x for each in series for x, _ in each.points})
    total = dict.fromkeys(places, 0.0)
    piled = []
    for each in series:
        for x, y in each.points:
            total[x] += y or 0.0
        piled.append(Series(each.name, [(x, total[x]) for x in places]))
    return piled


def _line(series: Series, along: Axis, up: Axis, frame: Frame, number: int) -> str:
    path, pen_up = [], True
    for x, y in series.points:
        if y is None:
            pen_up = True
            continue
        place = f"{along.place(x, frame.left, frame.right):.1f} {up.place(y, frame.bottom, frame.top):.1f}"
        path.append(f"{'M' if pen_up else 'L'}{place}")
        pen_up = False
    return element("path", d="".join(path), class_=f"l{number % MAX_SERIES + 1}", stroke_linejoin="round")


def _area(
    points: list[tuple[Any, float | None]],
    floor: list[tuple[Any, float | None]],
    along: Axis,
    up: Axis,
    frame: Frame,
    number: int,
) -> str:
    floor = floor or [(x, 0.0) for x, _ in points]
    edge = [*points, *reversed(floor)]
    path = [
        f"{along.place(x, frame.left, frame.right):.1f} {up.place(y or 0.0, frame.bottom, frame.top):.1f}"
        for x, y in edge
    ]
    return element("path", d=f"M{'L'.join(path)}Z", class_=f"a{number % MAX_SERIES + 1}")


def _hints(
    config: LineConfig | AreaConfig, column: Column, series: list[Series], along: Axis, up: Axis, frame: Frame
) -> str:
    """Points to rest the pointer on, where they are far enough from each other; drawn where there are few."""
    most = max(len(each.points) for each in series)
    if most > (frame.right - frame.left) / 6:
        return ""
    radius = 3.0 if most <= 24 else 1.5
    parts = []
    for number, each in enumerate(series):
        for x, y in each.points:
            if y is None:
                continue
            where = column.values[int(x)] if column.scale is Scale.NAME else x_text(x, column.scale)
            name = f"{each.name}, " if len(series) > 1 else ""
            hint = title(f"{name}{where}: {show(y, config.format)}")
            place = {"cx": along.place(x, frame.left, frame.right), "cy": up.place(y, frame.bottom, frame.top)}
            parts.append(element("circle", hint, r=radius, class_=f"f{number % MAX_SERIES + 1}", **place))
    return "".join(parts)


def _name_axis(names: list[Any], count: int) -> Axis:
    every = max(1, math.ceil(len(names) / count))
    ticks = tuple(
        (float(number), shortened(str(name), 110)) for number, name in enumerate(names) if number % every == 0
    )
    return Axis(0.0, float(max(1, len(names) - 1)), ticks)
