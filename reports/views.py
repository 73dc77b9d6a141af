"""One chart with its rows: as a piece of HTML, as a picture, as a Vega-Lite specification, as JSON."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson
import pyarrow as pa

from prefect_datagen.engine.errors import DatagenError
from prefect_datagen.reports.bars import draw_bar, draw_histogram
from prefect_datagen.reports.drawing import Drawing
from prefect_datagen.reports.errors import QueryError
from prefect_datagen.reports.lines import draw_area, draw_line
from prefect_datagen.reports.plain import (
    data_table,
    kpi_html,
    kpi_picture,
    table_html,
    table_picture,
    text_html,
    text_picture,
)
from prefect_datagen.reports.spec import (
    AreaConfig,
    BarConfig,
    ChartConfig,
    HistogramConfig,
    KpiConfig,
    LineConfig,
    TableConfig,
    TextConfig,
)
from prefect_datagen.reports.svg import element, escape, shortened, text
from prefect_datagen.reports.values import records
from prefect_datagen.reports.vega import MAX_ROWS, vega_spec

WIDTHS = {"narrow": 360.0, "middle": 600.0, "wide": 1_000.0}
"""Widths that a drawing is made for; the page shows the one that fits the room there is."""

MAX_JSON_ROWS = 1_000

Draw = Callable[[float], Drawing]


@dataclass(frozen=True)
class ChartView:
    """A chart that can be shown.

    Attributes:
        html: a `<figure>` that needs `page.stylesheet()`, and `page.script()` where `needs_vega`.
        draw: draws it for a width in pixels, or None where only Vega can.
        spec: Vega-Lite with the rows inside, or None for numbers, tables and text.
        data: columns and the first rows, as JSON.
        error: what went wrong, for people; the chart is then an error panel.
    """

    id: str
    type: str
    title: str
    description: str
    html: str
    draw: Draw | None = None
    spec: dict[str, Any] | None = None
    data: dict[str, Any] = field(default_factory=dict)
    error: str | None = None

    @property
    def needs_vega(self) -> bool:
        """Whether a browser needs the Vega bundle to show it."""
        return self.error is None and self.draw is None

    def as_json(self) -> dict[str, Any]:
        """The chart as JSON: identity, rows, specification, error."""
        return {
            "id": self.id,
            "type": self.type,
            "title": self.title,
            "description": self.description,
            "error": self.error,
            **self.data,
            "spec": self.spec,
        }


def render_chart(name: str, config: ChartConfig, table: pa.Table | None) -> ChartView:
    """The chart `name` with the rows of its query; `table` is None for text without a query.

    A chart that does not fit its rows becomes an error panel, like one whose query failed.
    """
    try:
        return _view(name, config, table)
    except (QueryError, ValueError) as error:
        return error_view(name, config, error)


def error_view(name: str, config: ChartConfig, error: BaseException, *, message: str | None = None) -> ChartView:
    """The panel in place of a chart; `message` replaces the error's own words where those are not for everybody."""
    said = message or (str(error) if isinstance(error, (DatagenError, ValueError)) else type(error).__name__)
    body = element(
        "div",
        element("p", "This chart could not be drawn.", class_="error-title") + element("p", escape(said)),
        class_="error-panel",
        role="alert",
    )
    return ChartView(
        id=name,
        type=config.type,
        title=_title(name, config),
        description=config.description,
        html=_figure(name, config, body),
        draw=lambda width: error_picture(said, width),
        error=said,
    )


def pending_html(name: str, config: ChartConfig) -> str:
    """What stands in a chart's place until its rows are there."""
    waiting = element("span", "Loading…", class_="visually-hidden")
    body = element("div", waiting, class_=f"pending pending-{config.type}", role="status")
    return _figure(name, config, body)


def _view(name: str, config: ChartConfig, table: pa.Table | None) -> ChartView:
    draw: Draw | None = None
    spec = None
    data: dict[str, Any] = {}
    if isinstance(config, TextConfig):
        body, draw = text_html(config, table), lambda width: text_picture(config, table, width=width)
        data = {"columns": [], "rows": []}
    else:
        assert table is not None
        data = {
            "columns": table.column_names,
            "rows": records(table, limit=MAX_JSON_ROWS),
            "row_count": table.num_rows,
        }
        if isinstance(config, KpiConfig):
            body, draw = kpi_html(config, table), lambda width: kpi_picture(config, table, width=width)
        elif isinstance(config, TableConfig):
            body, draw = table_html(config, table), lambda width: table_picture(config, table, width=width)
        else:
            spec = vega_spec(config, table)
            drawn = _drawn(config, table)
            draw = drawn
            body = _pictures(name, config, drawn) if drawn else _vega_place(name, spec)
            body += _note(table) + data_table(name, table)
    return ChartView(
        id=name,
        type=config.type,
        title=_title(name, config),
        description=config.description,
        html=_figure(name, config, body),
        draw=draw,
        spec=spec,
        data=data,
    )


def _drawn(config: ChartConfig, table: pa.Table) -> Draw | None:
    if isinstance(config, BarConfig):
        return lambda width: draw_bar(config, table, width=width)
    if isinstance(config, LineConfig):
        return lambda width: draw_line(config, table, width=width)
    if isinstance(config, AreaConfig):
        return lambda width: draw_area(config, table, width=width)
    if isinstance(config, HistogramConfig):
        return lambda width: draw_histogram(config, table, width=width)
    return None


def _pictures(name: str, config: ChartConfig, draw: Draw) -> str:
    """The drawing for every width. The style sheet shows one of them, to eyes and to screen readers."""
    pictures = []
    note = ""
    for size, width in WIDTHS.items():
        drawing = draw(width)
        note = drawing.note
        pictures.append(
            element(
                "svg",
                drawing.content,
                viewBox=f"0 0 {drawing.width:.0f} {drawing.height:.0f}",
                class_=f"drawing {size}",
                role="img",
                aria_label=_spoken(name, config),
            )
        )
    return "".join(pictures) + (element("p", escape(note), class_="note") if note else "")


def _vega_place(name: str, spec: dict[str, Any] | None) -> str:
    """Where the page's script puts a Vega chart. The specification is data, which no policy takes for a script."""
    # `</` would end the element early, whatever stands around it.
    text_ = orjson.dumps(spec).decode().replace("<", "\\u003c")
    data = element("script", text_, type="application/json", class_="vega-spec")
    return element("div", element("div", "", class_="vega-target") + data, class_="vega", data_chart=name)


def _note(table: pa.Table) -> str:
    if table.num_rows <= MAX_ROWS:
        return ""
    return element("p", f"The first {MAX_ROWS:,} of {table.num_rows:,} rows are shown.", class_="note")


def _figure(name: str, config: ChartConfig, body: str) -> str:
    heading = element("figcaption", escape(config.title), id=f"title-{name}") if config.title else ""
    told = element("p", escape(config.description), class_="description") if config.description else ""
    labelled = {"aria_labelledby": f"title-{name}"} if config.title else {"aria_label": _title(name, config)}
    return element("figure", heading + told + body, class_=f"chart chart-{config.type}", id=f"chart-{name}", **labelled)


def _title(name: str, config: ChartConfig) -> str:
    return config.title or name.replace("_", " ")


def _spoken(name: str, config: ChartConfig) -> str:
    return f"{_title(name, config)}. {config.description or f'{config.type} chart; its rows follow as a table'}"


def error_picture(said: str, width: float) -> Drawing:
    """The panel in place of a chart, in a picture."""
    frame = element("rect", x=1, y=1, width=width - 2, height=78, rx=6, class_="error")
    lines = text("This chart could not be drawn.", 16, 32, class_="strong") + text(shortened(said, width - 32), 16, 56)
    return Drawing(frame + lines, width, 80)
