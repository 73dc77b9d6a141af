"""The page in a real browser: clicked through, typed into, at phone width, in the dark, by keyboard."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


def _load_driver() -> ModuleType:
    """`browser.py` beside this file; pytest's import mode puts no test folder on the path."""
    spec = importlib.util.spec_from_file_location("datagen_test_browser", Path(__file__).with_name("browser.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


driver = _load_driver()

pytestmark = pytest.mark.skipif(driver.chromium() is None, reason="no Chromium: install Debian's package `chromium`")

TOKEN = "a-long-enough-token"

REPORT = """
title: Cities
variables:
  least: {type: integer, label: Least number, default: 0}
  most: {type: integer, label: Largest number, default: 1000, minimum: 0, maximum: 1000, widget: slider}
  half: {type: text, label: Which rows, choices: [all, even, odd], default: all, widget: radio}
charts:
  rows:
    type: kpi
    title: Number of rows
    value: n
    sql: |
      SELECT count(*) AS n FROM data WHERE id BETWEEN {{ variables.least }} AND {{ variables.most }}
      AND ({{ variables.half }} = 'all' OR ({{ variables.half }} = 'odd') = (id % 2 = 1))
  cities:
    type: bar
    title: Rows by city
    sql: "SELECT coalesce(city, 'none') AS city, count(*) AS n FROM data GROUP BY 1 ORDER BY 1"
    x: city
    y: n
  points: {type: point, title: Scores, sql: "SELECT id, score FROM data WHERE NOT isnan(score)", x: id, y: score}
  evil: {type: table, title: Text, sql: "SELECT '<img src=x onerror=alert(1)><script>alert(2)</script>' AS text"}
  wrong: {type: bar, title: Broken, sql: "SELECT nothing FROM data", x: a, y: b}
layout:
  - row: [rows, cities]
  - tabs: {Points: [points], Others: [evil, wrong]}
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with driver.Browser() as opened:
        yield opened


@pytest.fixture
def page(browser: Any) -> Any:
    """The browser as it is at first, with nothing to complain about."""
    browser.open("about:blank")
    browser.wait("location.href === 'about:blank'")
    browser.resize(1280, 900)
    browser.prefer("light")
    browser.problems.clear()
    return browser


@pytest.fixture(scope="module")
def server(module_serve: Any, module_dataset: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    report = tmp_path_factory.mktemp("report") / "cities.yaml"
    report.write_text(REPORT)
    base = module_dataset("base", row_groups=2)
    dataset = module_dataset("current", row_groups=5)
    dataset.commit(rejected=3)
    dataset.finish()
    server = module_serve(dataset.path, "--base", base.path, "--report", report)
    server.wait_ready()
    return server


def fits(page: Any) -> bool:
    """Whether nothing makes the whole page scroll sideways."""
    return bool(page.run("document.documentElement.scrollWidth <= innerWidth"))


def test_a_report_fills_itself(page: Any, server: Any) -> None:
    page.open(server.url)
    page.wait("document.querySelector('.report-note')?.textContent.includes('5 of 5 charts, 1 failed, in')")
    assert page.text("#title") == "current"
    assert page.text("#chip") == "complete"
    assert page.text("#facts").startswith("117 rows · 6 row groups · 3 rows rejected")
    assert page.text("#chart-rows").split() == ["Number", "of", "rows", "117"]
    assert page.run("document.querySelectorAll('#chart-cities svg.drawing').length") == 3
    assert page.text("nav a[aria-current=page]") == "Cities"
    assert page.problems == []


def test_an_interactive_chart_is_drawn_under_the_policy(page: Any, server: Any) -> None:
    """Vega runs without `eval`; the content security policy allows none."""
    page.open(server.url)
    page.wait("document.querySelectorAll('#chart-points svg .mark-symbol path').length > 50")
    assert page.problems == []


def test_markup_in_data_is_text(page: Any, server: Any) -> None:
    page.open(server.url)
    page.wait("document.querySelector('#chart-evil table')")
    page.click(".tab-list button:nth-child(2)")
    assert "<img src=x onerror=alert(1)>" in page.text("#chart-evil")
    assert page.run("document.querySelectorAll('#chart-evil img, #chart-evil td script').length") == 0
    assert "could not be drawn" in page.text("#chart-wrong")
    assert page.problems == []


def test_a_variable_is_changed(page: Any, server: Any) -> None:
    page.open(server.url)
    page.wait("document.querySelector('#chart-rows .kpi-value')?.textContent === '117'")
    page.run("document.querySelector('#variable-least').select()")
    page.click("#variable-least")
    page.run("document.querySelector('#variable-least').select()")
    page.type("100")
    page.press("Enter")
    page.wait("document.querySelector('#chart-rows .kpi-value')?.textContent === '17'")
    assert page.problems == []


def test_a_slider_tells_its_value_and_a_choice_is_a_button(page: Any, server: Any) -> None:
    page.open(server.url)
    page.wait("document.querySelector('#chart-rows .kpi-value')?.textContent === '117'")
    assert page.text("output[for=variable-most]") == "1000"
    assert page.text("#variable-half legend") == "Which rows"
    page.click("#variable-half label:nth-of-type(3) input")
    page.wait("document.querySelector('#chart-rows .kpi-value')?.textContent === '58'")
    page.run(
        "(() => { const slider = document.querySelector('#variable-most'); slider.value = 9; "
        "for (const kind of ['input', 'change']) slider.dispatchEvent(new Event(kind)); })()"
    )
    page.wait("document.querySelector('#chart-rows .kpi-value')?.textContent === '5'")
    assert page.text("output[for=variable-most]") == "9"
    assert page.problems == []


def test_rows_are_filtered_sorted_and_paged(page: Any, server: Any) -> None:
    page.open(server.url)
    page.click('nav a[href="#/rows/data"]')
    page.wait("document.querySelectorAll('table.grid tbody tr').length === 50")
    assert page.text("#where") == "1–50 of 117 rows"
    page.click('[data-column="id"]')
    page.wait("document.querySelector('th[aria-sort=ascending]')")
    page.click('[data-column="id"]')
    page.wait("document.querySelector('th[aria-sort=descending]')")
    assert page.text("table.grid tbody td") == "116"
    page.click(".pager button:nth-child(2)")
    page.wait("document.querySelector('#where').textContent === '51–100 of 117 rows'")
    page.click("#filter")
    page.type("city = 'Oslo' and id < 20")
    page.press("Enter")
    page.wait("document.querySelector('#where').textContent === '1–5 of 5 rows'")
    assert "filter=city" in page.run("location.hash")
    page.run("location.reload()")
    page.wait("document.querySelector('#where')?.textContent === '1–5 of 5 rows'")
    assert page.problems == []


def test_text_is_shown_as_it_is_and_nothing_is_no_text(page: Any, server: Any) -> None:
    page.open(f"{server.url}#/rows/data")
    page.wait("document.querySelectorAll('table.grid tbody tr').length === 50")
    cells = "[...document.querySelectorAll('table.grid tbody tr')].slice(0, 7).map((row) => row.cells[1])"
    assert page.run(f"{cells}.map((cell) => cell.innerText)") == ["0E8", "00M", "1.10", "null", "true", "NA", "empty"]
    missing = [False, False, False, False, False, False, True]
    assert page.run(f"{cells}.map((cell) => cell.querySelector('.missing') !== null)") == missing
    city = "document.querySelectorAll('table.grid tbody tr')[3].cells[2]"
    assert page.run(f"{city}.querySelector('.missing').innerText") == "null"


def test_a_wrong_filter_says_what_is_wrong(page: Any, server: Any) -> None:
    page.open(f"{server.url}#/rows/data")
    page.wait("document.querySelectorAll('table.grid tbody tr').length === 50")
    page.click("#filter")
    page.type("nothing = 1")
    page.press("Enter")
    page.wait("document.querySelector('#filter-problem').textContent")
    assert "there is no column 'nothing'" in page.text("#filter-problem")
    assert page.run("document.querySelectorAll('table.grid tbody tr').length") == 50


def test_columns_rejects_and_comparison_are_shown(page: Any, server: Any) -> None:
    page.open(f"{server.url}#/columns")
    page.wait("document.querySelectorAll('table.grid tbody tr').length === 7")
    page.click("details.long summary")
    page.wait("document.querySelectorAll('.top tr').length > 3")
    page.click('nav a[href="#/rows/rejects"]')
    page.wait("document.querySelectorAll('table.grid tbody tr').length === 3")
    page.click('nav a[href="#/compare"]')
    page.wait("document.querySelectorAll('.cards .card').length === 3")
    page.run(
        "(() => { const k = document.querySelector('#key'); k.value = 'id'; k.dispatchEvent(new Event('change')); })()"
    )
    page.wait("document.querySelector('.figure.added')?.textContent === '77'")
    assert page.text(".figure.removed") == "0"
    assert page.problems == []


@pytest.mark.parametrize("view", ["report/cities", "report/dataset", "rows/data", "columns", "compare"])
def test_a_phone_shows_every_view_without_scrolling_sideways(page: Any, server: Any, view: str) -> None:
    page.resize(360, 740, phone=True)
    page.open(f"{server.url}#/{view}")
    page.wait("document.querySelector('#view figure, #view table')")
    page.wait("!document.querySelector('[aria-busy]')")
    assert fits(page)
    assert page.problems == []


def test_colours_follow_the_system_and_the_button(page: Any, server: Any) -> None:
    page.open(server.url)
    page.wait("document.querySelector('nav a')")
    background = "getComputedStyle(document.body).backgroundColor"
    light = page.run(background)
    page.prefer("dark")
    page.wait(f"{background} !== {light!r}")
    dark = page.run(background)
    for expected in (light, dark):  # the button: light, then dark, whatever the system prefers
        page.click("#theme")
        page.wait(f"{background} === {expected!r}")
    page.click("#theme")
    assert page.run("document.querySelector('#theme').getAttribute('aria-label')") == "Colours: as the system"


def test_everything_can_be_reached_by_keyboard(page: Any, server: Any) -> None:
    page.open(server.url)
    page.wait("document.querySelector('.report-note')?.textContent.includes(' s')")
    page.press("Tab")
    assert page.run("document.activeElement.className") == "skip"
    page.press("Enter")
    assert page.run("document.activeElement.id") == "content"
    page.run("document.querySelector('nav a[href=\"#/rows/data\"]').focus()")
    page.press("Enter")
    page.wait("document.querySelector('table.grid')")
    page.run("document.querySelector('[data-column=score]').focus()")
    page.press("Enter")
    page.wait("document.querySelector('th[aria-sort=ascending]')")
    assert page.run("document.activeElement.dataset.column") == "score"


def test_everything_has_a_name_for_screen_readers(page: Any, server: Any) -> None:
    """Buttons, links, fields, regions and pictures, as the browser's accessibility tree has them."""
    for view in ("report/cities", "rows/data", "columns", "compare"):
        page.open("about:blank")
        page.open(f"{server.url}#/{view}")
        page.wait("document.querySelector('#view figure, #view table')")
        page.wait("!document.querySelector('[aria-busy]')")
        nodes = page.send("Accessibility.getFullAXTree")["nodes"]
        named = {"button", "link", "textbox", "combobox", "region", "image", "img", "figure", "table"}
        for node in nodes:
            role = node.get("role", {}).get("value")
            if role in named and not node.get("ignored"):
                assert node.get("name", {}).get("value"), (view, role, node)
        assert {"main", "navigation", "heading", "status"} <= {node.get("role", {}).get("value") for node in nodes}


def test_the_page_asks_this_server_only(page: Any, server: Any) -> None:
    page.open(server.url)
    page.wait("document.querySelector('.report-note')?.textContent.includes(' s')")
    asked = page.run("performance.getEntriesByType('resource').map((each) => new URL(each.name).origin)")
    assert set(asked) == {server.url.rstrip("/")}


def test_the_page_is_there_before_the_data_and_shows_the_phase(page: Any, serve: Any, tmp_path: Path) -> None:
    (tmp_path / "manifests").mkdir()
    os.mkfifo(tmp_path / "metadata.json")
    server = serve(tmp_path, "--startup-timeout", "3")
    page.open(server.url)
    page.wait("document.querySelector('#phases')?.textContent.includes('current.records')")
    page.wait("document.querySelector('#startup-text').textContent.includes('longer than start-up may')")


def test_a_failed_load_and_its_repair_are_seen(page: Any, serve: Any, new_dataset: Any) -> None:
    dataset = new_dataset(row_groups=1)
    manifest = dataset.path / "manifests" / "part-00000.json"
    good = manifest.read_bytes()
    manifest.write_bytes(b"{}")
    server = serve(dataset.path)
    page.open(server.url)
    page.wait("document.querySelector('#startup-text').textContent.includes('Loading failed (SinkError)')")
    manifest.write_bytes(good)
    page.wait("document.querySelector('#facts').textContent.startsWith('20 rows')")


def test_a_watched_dataset_changes_under_the_readers_eyes(page: Any, serve: Any, new_dataset: Any) -> None:
    dataset = new_dataset(row_groups=1)
    server = serve(dataset.path, "--watch")
    page.open(server.url)
    page.wait("document.querySelector('.report-note')?.textContent.includes(' s')")
    dataset.commit()
    page.wait("document.querySelector('#facts').textContent.startsWith('40 rows')")
    page.wait("[...document.querySelectorAll('.kpi-value')].some((value) => value.textContent === '40')")
    assert page.problems == []


def test_a_token_in_the_address_opens_the_page_and_vanishes_from_it(page: Any, serve: Any, new_dataset: Any) -> None:
    server = serve(new_dataset(row_groups=1).path, "--token", TOKEN)
    page.open(server.url)
    page.wait("document.querySelector('#facts').textContent.startsWith('20 rows')")
    assert TOKEN not in page.run("location.href")
    assert page.problems == []


def test_without_the_token_the_page_asks_for_it(page: Any, serve: Any, new_dataset: Any) -> None:
    server = serve(new_dataset(row_groups=1).path, "--token", TOKEN)
    page.open(server.url.partition("#")[0])
    page.wait("!document.querySelector('#login').hidden && document.activeElement.id === 'token'")
    page.type("wrong")
    page.press("Enter")
    page.wait("document.querySelector('#login-error').textContent")
    page.run("document.querySelector('#token').value = ''")
    page.type(TOKEN)
    page.press("Enter")
    page.wait("document.querySelector('#facts').textContent.startsWith('20 rows')")
