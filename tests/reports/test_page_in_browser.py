"""The page of a report in a real browser: it draws itself, asks nobody for anything, and can be used by everybody."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from prefect_datagen.reports.query_cache import QueryCache
from prefect_datagen.reports.render import write_report
from prefect_datagen.reports.report import Report
from tests.reports.browser import Browser
from tests.reports.datasets import write_dataset

EXAMPLE = Path(__file__).parents[2] / "examples" / "reports" / "reviews.yaml"
DRAWN = "[...document.querySelectorAll('.vega-target')].filter(each => each.querySelector('svg')).length"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("chromium is not installed")
    with Browser(program) as browser:
        yield browser


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    data = write_dataset(folder / "ds", groups=3, size=40)
    with Report.open(EXAMPLE, data=[data]) as report, QueryCache() as cache:
        assert write_report(report, folder / "report.html", cache=cache).failed == {}
    return folder / "report.html"


def open_tab(browser: Browser, number: int) -> None:
    browser.run(f"document.querySelectorAll('[role=tab]')[{number}].click()")


def test_it_asks_for_nothing_and_nothing_is_refused(browser, page):
    browser.open(page)
    open_tab(browser, 1)
    browser.wait(f"{DRAWN} === 3")
    assert browser.requests == [page.as_uri()]
    assert browser.problems == []


def test_charts_behind_a_tab_are_drawn_when_it_is_opened(browser, page):
    browser.open(page)
    assert browser.run(DRAWN) == 0
    open_tab(browser, 1)
    browser.wait(f"{DRAWN} === 3")
    assert browser.run("document.querySelectorAll('#chart-points .mark-symbol path').length") > 50


def test_tabs_are_used_with_the_keyboard(browser, page):
    browser.open(page)
    browser.run("document.querySelector('[role=tab]').focus()")
    chosen = "document.querySelector('[role=tab][aria-selected=true]').textContent"
    shown = "[...document.querySelectorAll('[role=tabpanel]')].findIndex(each => !each.hidden)"
    assert (browser.run(chosen), browser.run(shown)) == ("Overview", 0)
    browser.press("ArrowRight")
    assert (browser.run(chosen), browser.run(shown)) == ("Prices", 1)
    browser.press("End")
    assert browser.run("document.activeElement.textContent") == "Rejected"
    browser.press("ArrowRight")
    assert (browser.run(chosen), browser.run(shown)) == ("Overview", 0)


def test_the_keyboard_leads_past_the_head_to_the_charts(browser, page):
    browser.open(page)
    browser.press("Tab")
    assert browser.run("document.activeElement.textContent") == "Skip to the charts"


@pytest.mark.parametrize("width", [320, 375, 768, 1_400])
def test_nothing_is_wider_than_the_screen(browser, page, width):
    browser.open(page, width=width)
    for number in range(4):
        open_tab(browser, number)
        if number == 1:
            browser.wait(f"{DRAWN} === 3")
        assert browser.run("document.documentElement.scrollWidth") <= width


def test_text_in_pictures_is_readable_on_a_phone(browser, page):
    browser.open(page, width=360)
    sizes = browser.run(
        "[...document.querySelectorAll('.drawing')].filter(each => each.getBoundingClientRect().width > 0)"
        ".map(each => 12 * each.getBoundingClientRect().width / each.viewBox.baseVal.width)"
    )
    assert len(sizes) == 4
    assert min(sizes) >= 9.5


def test_each_chart_shows_one_picture(browser, page):
    for width in (360, 700, 1_200):
        browser.open(page, width=width)
        counts = browser.run(
            "[...document.querySelectorAll('.chart-bar')].filter(each => each.offsetParent)"
            ".map(each => [...each.querySelectorAll('.drawing')].filter(one => one.clientWidth > 0).length)"
        )
        assert counts == [1, 1]


def test_the_theme_follows_the_reader(browser, page):
    colours = []
    for dark in (False, True):
        browser.open(page, dark=dark)
        open_tab(browser, 1)
        browser.wait(f"{DRAWN} === 3")
        colours.append(Image.open(io.BytesIO(browser.picture())).convert("RGB").getpixel((2, 2)))
        labels = browser.run("getComputedStyle(document.querySelector('#chart-points text')).fill")
        colours.append(labels)
    light, light_label, dark_background, dark_label = colours
    assert sum(light) > 700
    assert sum(dark_background) < 100
    assert light_label != dark_label


def test_without_a_script_every_chart_is_on_the_page(browser, page):
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(page)
        shown = browser.call("DOM.getDocument")["root"]["nodeId"]
        panels = browser.call("DOM.querySelectorAll", nodeId=shown, selector="[role=tabpanel]:not([hidden])")
        assert len(panels["nodeIds"]) == 4
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", value=False)
