"""Reports as files."""

from __future__ import annotations

import base64
import hashlib
import io
import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import orjson
import pyarrow as pa
import pytest
from PIL import Image

from prefect_datagen.engine.errors import ConfigError, SinkError
from prefect_datagen.reports.page import layout_html
from prefect_datagen.reports.picture import PictureMaker
from prefect_datagen.reports.query_cache import QueryCache
from prefect_datagen.reports.render import Format, Rendered, render, write_file, write_report
from prefect_datagen.reports.report import Report
from prefect_datagen.reports.spec_file import parse_report
from prefect_datagen.reports.views import ChartView, pending_html, render_chart
from tests.reports.datasets import write_dataset

EXAMPLE = Path(__file__).parents[2] / "examples" / "reports" / "reviews.yaml"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("render") / "ds", groups=3, size=40)


@pytest.fixture(scope="module")
def drawn(dataset) -> tuple[Report, dict[str, ChartView]]:
    with Report.open(EXAMPLE, data=[dataset]) as report, QueryCache() as cache:
        return report, report.start(cache).views()


def page(drawn: tuple[Report, dict[str, ChartView]]) -> str:
    report, views = drawn
    return render(report.spec, views, Format.HTML, values=report.spec.values()).decode()


def test_every_chart_of_the_example_is_drawn(drawn):
    assert {name: view.error for name, view in drawn[1].items() if view.error} == {}


def test_the_page_reaches_nothing_and_allows_exactly_its_own_scripts(drawn):
    html = page(drawn)
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', html)[1]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert "http" not in policy
    inline = re.findall(r"<script>(.*?)</script>", html, re.DOTALL) + re.findall(
        r"<style>(.*?)</style>", html, re.DOTALL
    )
    hashes = {base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in inline}
    assert hashes == set(re.findall(r"'sha256-([^']+)'", policy))
    markup = re.sub(r"<script.*?</script>", "", html, flags=re.DOTALL)
    assert re.findall(r'\b(?:src|href)="([^"]*)"', markup) == ["#charts"]


def test_a_page_without_vega_charts_is_small(dataset):
    spec = EXAMPLE.read_text().split("charts:")[0]
    with QueryCache() as cache:
        small = parse_report(spec + "charts:\n  c: {type: bar, query: by_category, x: category, y: rows}\n")
        with Report.open(small, data=[dataset]) as report:
            views = report.start(cache).views()
    assert len(render(small, views, Format.HTML)) < 60_000


def test_every_chart_has_its_place_once(drawn):
    html = page(drawn)
    for name in drawn[0].spec.charts:
        assert html.count(f'id="chart-{name}"') == 1
    assert html.index('id="chart-rows"') < html.index('id="chart-categories"') < html.index('id="chart-rejected"')


def test_the_layout_holds_places_for_charts_that_are_not_there_yet(drawn):
    spec = drawn[0].spec
    html = layout_html(spec, {name: pending_html(name, chart) for name, chart in spec.charts.items()})
    assert html.count('role="status"') == len(spec.charts)
    assert html.count('role="tab"') == 4


def test_json_holds_the_rows_of_every_chart(drawn, dataset):
    report, views = drawn
    content = orjson.loads(render(report.spec, views, Format.JSON, values=report.spec.values()))
    charts = {chart["id"]: chart for chart in content["charts"]}
    assert content["variables"] == {"least_score": 1}
    assert charts["rows"]["rows"] == [{"rows": 114, "requested": 120}]
    assert charts["longest"]["rows"][0]["code"] == "2E0" or isinstance(charts["longest"]["rows"][0]["code"], str)
    assert charts["categories"]["spec"]["mark"]["type"] == "bar"


@pytest.fixture(scope="module")
def maker() -> Iterator[PictureMaker]:
    with PictureMaker() as maker:
        yield maker


class TestPictures:
    def test_svg_is_one_document_with_all_charts(self, drawn, maker):
        report, views = drawn
        svg = render(report.spec, views, Format.SVG, maker=maker)
        root = ElementTree.fromstring(svg)
        said = {text for each in root.iter("{http://www.w3.org/2000/svg}text") if (text := each.text)}
        assert {"Product reviews", "Reviews by category", "Overview", "Rejected rows by reason"} <= said
        assert not re.search(rb'(?:href|src)="http', svg)

    def test_png_and_pdf_are_what_their_names_say(self, drawn, maker):
        report, views = drawn
        image = Image.open(io.BytesIO(render(report.spec, views, Format.PNG, maker=maker, dark=True)))
        assert image.width == 2_200
        assert image.getpixel((4, 4))[:3] == (0x11, 0x15, 0x1B)
        assert render(report.spec, views, Format.PDF, maker=maker).startswith(b"%PDF-")

    def test_a_specification_that_is_none_is_a_panel_in_the_picture(self, maker):
        spec = parse_report(
            "charts:\n  v: {type: vega, sql: SELECT 1 AS a, spec: {mark: {type: nonsense}, encoding: 7}}\n"
            "  t: {type: text, markdown: Beside}\n"
        )
        table = pa.table({"a": [1]})
        views = {name: render_chart(name, chart, table if name == "v" else None) for name, chart in spec.charts.items()}
        svg = render(spec, views, Format.SVG, maker=maker).decode()
        assert "This chart could not be drawn." in svg
        assert ">Beside<" in svg

    def test_names_inside_vega_charts_do_not_meet(self, drawn, maker):
        report, views = drawn
        svg = render(report.spec, views, Format.SVG, maker=maker).decode()
        ids = re.findall(r'\bid="([^"]+)"', svg)
        assert len(ids) == len(set(ids))


class TestFiles:
    def test_the_name_of_the_file_tells_the_format(self):
        assert Format.of(Path("a/b.PDF")) is Format.PDF
        with pytest.raises(ConfigError, match=r"must end in one of \.html"):
            Format.of(Path("a/b.docx"))

    def test_a_report_is_written_with_the_charts_that_failed(self, dataset, tmp_path):
        spec = tmp_path / "r.yaml"
        spec.write_text(
            "charts:\n  good: {type: kpi, value: n, sql: SELECT 1 AS n}\n  bad: {type: kpi, value: n, sql: SELECT nope}\n"
        )
        out = tmp_path / "deep" / "r.html"
        with Report.open(spec, data=[dataset]) as report, QueryCache() as cache:
            written = write_report(report, out, cache=cache)
        assert isinstance(written, Rendered)
        assert list(written.failed) == ["bad"]
        assert "could not be drawn" in out.read_text()

    def test_a_file_is_replaced_whole_or_not_at_all(self, tmp_path):
        target = tmp_path / "report.html"
        write_file(target, b"old")
        write_file(target, b"new")
        assert target.read_bytes() == b"new"
        assert [each.name for each in tmp_path.iterdir()] == ["report.html"]

    def test_a_disk_that_is_full_is_an_error_and_leaves_nothing(self):
        with pytest.raises(SinkError, match="cannot write report"):
            write_file(Path("/dev/full/report.html"), b"x")
