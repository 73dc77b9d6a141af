"""Charts as Vega-Lite. Every chart that has marks gets a specification; some are only drawn that way."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pyarrow as pa

from prefect_datagen.reports.formats import show
from prefect_datagen.reports.spec import (
    AreaConfig,
    BarConfig,
    BoxConfig,
    ChartConfig,
    HeatmapConfig,
    HistogramConfig,
    LineConfig,
    PointConfig,
    Stack,
    VegaConfig,
)
from prefect_datagen.reports.values import Column, Scale, as_json, columns

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
"""Says which Vega-Lite is meant. A name only: nothing is fetched from there."""

MAX_ROWS = 20_000
"""Rows that a chart's specification holds at most."""

Spec = dict[str, Any]


def vega_spec(config: ChartConfig, table: pa.Table) -> Spec | None:
    """The chart with its rows, or None for a number, a table or text.

    Raises:
        QueryError: the query lacks a column that the chart needs.
    """
    spec = _spec(config, table.slice(0, MAX_ROWS))
    if spec is None:
        return None
    return {"$schema": SCHEMA, "width": "container", "height": _HEIGHT, "description": config.description, **spec}


_HEIGHT = 280


def _spec(config: ChartConfig, table: pa.Table) -> Spec | None:
    match config:
        case BarConfig():
            return _bar(config, table)
        case LineConfig() | AreaConfig():
            return _lines(config, table)
        case HistogramConfig():
            return _histogram(config, table)
        case PointConfig():
            return _points(config, table)
        case HeatmapConfig():
            return _heatmap(config, table)
        case BoxConfig():
            return _box(config, table)
        case VegaConfig():
            return {**copy.deepcopy(config.spec), "data": _data(table, table.column_names)}
    return None


def _bar(config: BarConfig, table: pa.Table) -> Spec:
    x, y, *series = columns(table, [config.x, config.y] + ([config.color] if config.color else []))
    encoding: Spec = {
        "x": _field(x, kind="nominal", sort=None, axis={"labelAngle": 0, "labelLimit": 160}),
        "y": _field(y, stack={Stack.SHARE: "normalize", Stack.GROUPED: None}.get(config.stack, "zero")),
    }
    if series:
        encoding["color"] = _field(series[0], kind="nominal", sort=None)
        if config.stack is Stack.GROUPED:
            encoding["xOffset"] = {"field": _path(series[0].name)}
    if config.horizontal:
        encoding = {**encoding, "x": encoding["y"], "y": {**encoding["x"], "axis": {"labelLimit": 160}}}
    return {
        "data": _data(table, [x.name, y.name, *(each.name for each in series)]),
        "mark": _mark("bar"),
        "encoding": encoding,
    }


def _lines(config: LineConfig | AreaConfig, table: pa.Table) -> Spec:
    names = [config.y] if isinstance(config.y, str) else config.y
    x, *found = columns(table, [config.x, *names] + ([config.color] if config.color else []))
    encoding: Spec = {"x": _field(x, sort=None), "y": _field(found[0])}
    spec: Spec = {
        "data": _data(table, [x.name, *(each.name for each in found)]),
        "mark": _mark(config.type),
        "encoding": encoding,
    }
    if config.color:
        encoding["color"] = _field(found[-1], kind="nominal", sort=None)
    elif len(names) > 1:
        spec["transform"] = [{"fold": names, "as": ["series", "value"]}]
        encoding["y"] = {"field": "value", "type": "quantitative", "title": None}
        encoding["color"] = {"field": "series", "type": "nominal", "title": None, "sort": None}
    return spec


def _histogram(config: HistogramConfig, table: pa.Table) -> Spec:
    if config.x_end is not None and config.y is not None:
        x, x_end, y = columns(table, [config.x, config.x_end, config.y])
        encoding = {"x": _field(x, bin="binned"), "x2": {"field": _path(x_end.name)}, "y": _field(y)}
        return {"data": _data(table, [x.name, x_end.name, y.name]), "mark": _mark("bar"), "encoding": encoding}
    (x,) = columns(table, [config.x])
    counted = {"aggregate": "count", "type": "quantitative", "title": "rows"}
    encoding = {"x": _field(x, bin={"maxbins": config.bins}), "y": counted}
    return {"data": _data(table, [x.name]), "mark": _mark("bar"), "encoding": encoding}


def _points(config: PointConfig, table: pa.Table) -> Spec:
    names = [config.x, config.y, *(name for name in (config.color, config.size) if name), *config.tooltip]
    found = {column.name: column for column in columns(table, list(dict.fromkeys(names)))}
    encoding: Spec = {
        "x": _field(found[config.x], title=config.x, scale={"zero": False}),
        "y": _field(found[config.y], title=config.y, scale={"zero": False}),
        "tooltip": [{"field": _path(name), "type": found[name].scale.value, "title": name} for name in found],
    }
    if config.color:
        encoding["color"] = _field(found[config.color], title=config.color)
    if config.size:
        encoding["size"] = _field(found[config.size], title=config.size)
    zoom = {"name": "zoom", "select": "interval", "bind": "scales"}
    return {"data": _data(table, list(found)), "mark": {"type": "point"}, "encoding": encoding, "params": [zoom]}


def _heatmap(config: HeatmapConfig, table: pa.Table) -> Spec:
    x, y, value = columns(table, [config.x, config.y, config.color])
    encoding = {
        "x": _field(x, kind="ordinal", sort=None, axis={"labelAngle": 0, "labelLimit": 120, "labelOverlap": True}),
        "y": _field(y, kind="ordinal", sort=None, axis={"labelLimit": 160}),
        "color": _field(value, title=config.color),
    }
    height = max(120, min(600, 28 * len(set(map(show, y.values)))))
    data = _data(table, [x.name, y.name, value.name])
    return {"data": data, "mark": _mark("rect"), "encoding": encoding, "height": height}


def _box(config: BoxConfig, table: pa.Table) -> Spec:
    """Five numbers for each group: sent instead of all values. Whiskers end at the extremes within 1.5 IQR (Tukey)."""
    x, y = columns(table, [config.x, config.y])
    groups: dict[str, list[float]] = {}
    for name, value in zip(x.values, y.numbers(), strict=True):
        if value is not None:
            groups.setdefault(show(name), []).append(value)
    rows = [{"group": name, **_five_numbers(np.asarray(values))} for name, values in groups.items()]
    group = {"field": "group", "type": "nominal", "sort": None, "title": None, "axis": {"labelAngle": 0}}

    def layer(mark: Spec, low: str, high: str | None = None) -> Spec:
        up: Spec = {"y": {"field": low, "type": "quantitative", "title": config.y, "scale": {"zero": False}}}
        return {"mark": mark, "encoding": {**up, **({"y2": {"field": high}} if high else {})}}

    hints = [
        {"field": each, "type": "quantitative", "format": ",.4~g"}
        for each in ("high", "q3", "median", "q1", "low", "rows")
    ]
    return {
        "data": {"values": rows},
        "encoding": {"x": group, "tooltip": [{"field": "group", "type": "nominal"}, *hints]},
        "layer": [
            layer({"type": "rule"}, "low", "high"),
            layer({"type": "bar", "size": 28}, "q1", "q3"),
            layer({"type": "tick", "size": 28, "thickness": 2, "color": "white"}, "median"),
        ],
    }


def _five_numbers(values: np.ndarray[Any, np.dtype[np.float64]]) -> dict[str, float | int]:
    q1, median, q3 = (float(each) for each in np.quantile(values, [0.25, 0.5, 0.75]))
    reach = 1.5 * (q3 - q1)
    inside = values[(values >= q1 - reach) & (values <= q3 + reach)]
    low, high = float(inside.min()), float(inside.max())
    return {"low": low, "q1": q1, "median": median, "q3": q3, "high": high, "rows": len(values)}


def _field(column: Column, *, kind: str | None = None, title: str | None = None, **more: Any) -> Spec:
    return {"field": _path(column.name), "type": kind or column.scale.value, "title": title, **more}


def _mark(kind: str) -> Spec:
    return {"type": kind, "tooltip": True}


def _path(name: str) -> str:
    """A column's name as Vega-Lite takes it: dots and brackets would lead into objects."""
    return name.replace("\\", "\\\\").replace(".", "\\.").replace("[", "\\[").replace("]", "\\]")


def _data(table: pa.Table, names: list[str]) -> Spec:
    """Rows inline. Times are milliseconds since 1970, which every Vega reads alike; numbers are exact to 2^53."""
    found = columns(table, list(dict.fromkeys(names)))
    lists = [_sent(column) for column in found]
    rows = [dict(zip((column.name for column in found), row, strict=True)) for row in zip(*lists, strict=True)]
    return {"values": rows}


def _sent(column: Column) -> list[Any]:
    if column.scale is Scale.TIME:
        return [None if number is None else number * 1000 for number in column.numbers()]
    return [as_json(value) for value in column.values]
