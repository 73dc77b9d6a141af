"""A report as one HTML page that asks nobody for anything: styles, scripts and rows are inside it.

The page carries a content security policy that allows exactly its own style sheet and scripts, by their hashes. So no
markup that found its way into data could run or load anything, were it not escaped in the first place.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from importlib.resources import files

import orjson

from prefect_datagen.reports.formats import show
from prefect_datagen.reports.palette import DARK, LIGHT, variables, vega_config
from prefect_datagen.reports.spec import Column, Heading, KpiConfig, LayoutNode, ReportSpec, Row, Tabs
from prefect_datagen.reports.svg import element, escape
from prefect_datagen.reports.vega_bundle import vega_bundle
from prefect_datagen.reports.views import ChartView


@lru_cache(maxsize=1)
def stylesheet() -> str:
    """The style sheet of reports, in both themes. `data-theme="dark"` or `"light"` on the root element fixes one."""
    dark = variables(DARK)
    return (
        f":root{{{variables(LIGHT)}}}"
        f"@media (prefers-color-scheme:dark){{:root:not([data-theme=light]){{{dark}}}}}"
        f":root[data-theme=dark]{{{dark}}}\n" + _static("report.css")
    )


@lru_cache(maxsize=1)
def script() -> str:
    """The script of reports: defines `datagenReport` with `start(root)` for new charts and `redraw()` for a new theme.

    It needs `vega_themes()` in the page, and `vega_bundle()` before it where there are Vega charts.
    """
    return _static("report.js")


@lru_cache(maxsize=1)
def vega_themes() -> str:
    """The colours for Vega charts, as an element that the script reads."""
    themes = orjson.dumps({"light": vega_config(LIGHT), "dark": vega_config(DARK)}).decode()
    return element("script", themes.replace("<", "\\u003c"), type="application/json", id="vega-themes")


def layout_html(spec: ReportSpec, figures: Mapping[str, str]) -> str:
    """The charts in their places. `figures` is the HTML of each chart: `ChartView.html`, or `pending_html` for now."""
    nodes = spec.layout or list(spec.charts)
    return element("div", "".join(_node(node, spec, figures) for node in nodes), class_="column")


def report_page(
    spec: ReportSpec,
    views: Mapping[str, ChartView],
    *,
    generated: datetime | None = None,
    facts: Sequence[str] = (),
    values: Mapping[str, object] | None = None,
) -> str:
    """The whole page.

    Args:
        views: of every chart, by name.
        generated: when the rows were read; now by default.
        facts: short remarks for the line below the title, such as the dataset's name.
        values: of the variables, to be shown.
    """
    figures = {name: view.html for name, view in views.items()}
    moment = (generated or datetime.now(UTC)).astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
    shown = [f"{spec.variables[name].label or name}: {_value(value)}" for name, value in (values or {}).items()]
    facts_line = "".join(element("span", escape(fact)) for fact in (*facts, *shown, f"Generated {moment}"))
    head = element("h1", escape(spec.title))
    if spec.description:
        head += element("p", escape(spec.description), class_="report-description")
    head += element("p", facts_line, class_="report-facts")
    body = element("a", "Skip to the charts", href="#charts", class_="skip-link")
    charts = element("div", layout_html(spec, figures), id="charts", tabindex=-1)
    body += element("main", element("header", head, class_="report-head") + charts, class_="report")
    scripts = [vega_bundle()] if any(view.needs_vega for view in views.values()) else []
    return _document(spec.title, body + vega_themes(), [*scripts, script()])


def _document(title: str, body: str, scripts: list[str]) -> str:
    style = stylesheet()
    policy = (
        f"default-src 'none'; style-src {_hash(style)}; script-src {' '.join(map(_hash, scripts))}; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    return (
        "<!doctype html>\n"
        '<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="referrer" content="no-referrer">'
        f"<title>{escape(title)}</title><style>{style}</style></head>\n"
        f"<body>{body}\n" + "".join(f"<script>{text}</script>" for text in scripts) + "</body></html>\n"
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _node(node: LayoutNode, spec: ReportSpec, figures: Mapping[str, str]) -> str:
    if isinstance(node, Row):
        small = all(isinstance(each, str) and isinstance(spec.charts[each], KpiConfig) for each in node.row)
        inside = "".join(_node(each, spec, figures) for each in node.row)
        return element("div", inside, class_="row small" if small else "row")
    if isinstance(node, Column):
        return element("div", "".join(_node(each, spec, figures) for each in node.column), class_="column")
    if isinstance(node, Heading):
        return element("h2", escape(node.heading))
    if isinstance(node, Tabs):
        return _tabs(node, spec, figures)
    return figures[node]


def _tabs(node: Tabs, spec: ReportSpec, figures: Mapping[str, str]) -> str:
    """Without the script all panels stand one below the other, each with its title."""
    prefix = hashlib.blake2b(repr(node).encode(), digest_size=4).hexdigest()
    buttons = []
    panels = []
    for number, (title, nodes) in enumerate(node.tabs.items()):
        tab, panel = f"tab-{prefix}-{number}", f"panel-{prefix}-{number}"
        buttons.append(element("button", escape(title), type="button", role="tab", id=tab, aria_controls=panel))
        inside = element("h2", escape(title), class_="tab-title")
        inside += "".join(_node(each, spec, figures) for each in nodes)
        panels.append(
            element(
                "div", inside, class_="tab-panel column", role="tabpanel", id=panel, aria_labelledby=tab, tabindex=0
            )
        )
    return element(
        "div", element("div", "".join(buttons), class_="tab-list", role="tablist") + "".join(panels), class_="tabs"
    )


def _value(value: object) -> str:
    return ", ".join(map(show, value)) if isinstance(value, list) else show(value)


def _static(name: str) -> str:
    return files("prefect_datagen.reports").joinpath("static", name).read_text(encoding="utf-8")
