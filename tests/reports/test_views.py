"""Every chart type is a picture, a piece of HTML and JSON; what cannot be drawn is an error panel."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import orjson
import pyarrow as pa
import pytest
from pydantic import TypeAdapter

from prefect_datagen.reports.errors import CircuitOpenError
from prefect_datagen.reports.spec import ChartConfig
from prefect_datagen.reports.views import ChartView, error_view, pending_html, render_chart

TABLE = pa.table(
    {
        "name": ["a", "b", "a", "b"],
        "n": [1, 2, 3, 4],
        "x": [1.5, 2.5, 3.5, None],
        "odd.name[0]": [1, 2, 3, 4],
        "evil": ["<script>alert(1)</script>", "</script><b>", "'\"&", "{{ x }}"],
    }
)

CHARTS: dict[str, dict[str, Any]] = {
    "bar": {"type": "bar", "x": "evil", "y": "n"},
    "line": {"type": "line", "x": "n", "y": ["x", "odd.name[0]"]},
    "area": {"type": "area", "x": "n", "y": "x", "color": "evil"},
    "histogram": {"type": "histogram", "x": "x"},
    "point": {"type": "point", "x": "x", "y": "odd.name[0]", "color": "evil", "size": "n"},
    "heatmap": {"type": "heatmap", "x": "name", "y": "evil", "color": "n"},
    "box": {"type": "box", "x": "evil", "y": "n"},
    "kpi": {"type": "kpi", "value": "evil", "note": "evil"},
    "table": {"type": "table"},
    "vega": {"type": "vega", "spec": {"mark": "bar", "encoding": {"x": {"field": "evil", "type": "nominal"}}}},
    "text": {"type": "text", "markdown": "**{{ evil }}** `{{ n }}`", "query": "q"},
}


def config(fields: dict[str, Any]) -> ChartConfig:
    sql = {} if fields["type"] == "text" else {"sql": "-"}
    adapter: TypeAdapter[Any] = TypeAdapter(ChartConfig)
    return adapter.validate_python({"title": "<i>title</i>", "description": "a & b", **sql, **fields})


def view(fields: dict[str, Any], table: pa.Table | None = TABLE) -> ChartView:
    return render_chart("chart_1", config(fields), table)


class Tags(HTMLParser):
    """Tags and inline handlers of a piece of HTML."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.scripts: list[dict[str, str | None]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag == "script":
            self.scripts.append(dict(attrs))


@pytest.mark.parametrize("kind", CHARTS)
class TestEveryChart:
    def test_it_is_drawn_without_an_error(self, kind):
        drawn = view(CHARTS[kind])
        assert drawn.error is None
        assert drawn.needs_vega == (kind in {"point", "heatmap", "box", "vega"})
        assert orjson.loads(orjson.dumps(drawn.as_json()))["id"] == "chart_1"

    def test_nothing_from_data_becomes_markup(self, kind):
        found = Tags(view(CHARTS[kind]).html)
        assert "b" not in found.tags
        assert "i" not in found.tags
        assert all(script == {"type": "application/json", "class": "vega-spec"} for script in found.scripts)

    def test_it_needs_no_inline_style_or_handler(self, kind):
        found = Tags(view(CHARTS[kind]).html)
        assert not [name for name, _ in found.attributes if name == "style" or name.startswith("on")]

    def test_its_rows_are_there_for_those_who_do_not_see_it(self, kind):
        drawn = view(CHARTS[kind])
        assert "<table>" in drawn.html or kind in {"kpi", "text"}
        assert 'aria-labelledby="title-chart_1"' in drawn.html

    def test_no_rows_are_no_error(self, kind):
        empty = view(CHARTS[kind], TABLE.slice(0, 0))
        if kind != "text":
            assert empty.error is None

    def test_a_missing_column_is_an_error_panel_that_names_it(self, kind):
        if kind in {"table", "vega", "text"}:
            pytest.skip("takes the columns there are")
        broken = view(CHARTS[kind], pa.table({"other": [1]}))
        assert "it returns other" in broken.error
        assert 'role="alert"' in broken.html

    def test_its_picture_is_well_formed(self, kind):
        drawn = view(CHARTS[kind])
        if drawn.draw is not None:
            drawing = drawn.draw(500.0)
            assert ElementTree.fromstring(f"<svg>{drawing.content}</svg>") is not None
            assert drawing.height > 0


def test_a_screen_reader_meets_one_picture_with_a_name():
    html = view(CHARTS["bar"]).html
    names = re.findall(r'<svg [^>]*role="img" aria-label="([^"]+)"', html)
    assert names == ["&lt;i&gt;title&lt;/i&gt;. a &amp; b"] * 3  # of which the style sheet shows one


def test_an_error_panel_says_what_went_wrong_or_what_it_is_told_to_say():
    chart = config(CHARTS["bar"])
    error = CircuitOpenError("source 'x' is left alone for 9 s")
    assert "left alone for 9 s" in error_view("c", chart, error).html
    assert "left alone" not in error_view("c", chart, error, message="not available").html
    assert error_view("c", chart, RuntimeError("secret")).error == "RuntimeError"


def test_a_chart_that_is_not_there_yet_has_its_place():
    html = pending_html("chart_1", config(CHARTS["bar"]))
    assert 'id="chart-chart_1"' in html
    assert 'role="status"' in html


def test_a_change_is_good_or_bad_only_where_the_report_says_so():
    table = pa.table({"v": [110], "b": [100]})
    kpi = {"type": "kpi", "value": "v", "compare": "b"}
    assert "kpi-change muted" in view(kpi, table).html
    assert "kpi-change good" in view({**kpi, "better": "higher"}, table).html
    assert "kpi-change bad" in view({**kpi, "better": "lower"}, table).html
    assert "+10 (+10.0%)" in view(kpi, table).html


def test_numbers_in_tables_are_as_they_are_and_text_is_whole():
    text = "word " * 200
    html = view({"type": "table"}, pa.table({"year": [2024], "x": [0.1 + 0.2], "code": ["1.10"], "t": [text]})).html
    assert ">2024<" in html
    assert ">0.3<" in html
    assert ">1.10<" in html
    assert text in html


def test_a_table_says_how_many_rows_it_leaves_out():
    html = view({"type": "table", "rows": 2}).html
    assert "The first 2 of 4 rows are shown." in html


def test_box_plots_send_five_numbers_for_each_group():
    table = pa.table({"g": ["a"] * 9, "v": [1, 2, 3, 4, 5, 6, 7, 8, 1000]})
    (row,) = view({"type": "box", "x": "g", "y": "v"}, table).spec["data"]["values"]
    assert (row["low"], row["q1"], row["median"], row["q3"], row["high"], row["rows"]) == (1, 3, 5, 7, 8, 9)
