"""The colours of every chart, in light and dark. Each series colour has a contrast of 3:1 or more to its background.

SVG carries classes, not colours: a page brings both themes as CSS variables, a picture one of them as a style sheet.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', 'Liberation Sans', sans-serif"


@dataclass(frozen=True)
class Theme:
    """Colours of one theme. `low` and `high` are the ends of a scale of values."""

    background: str
    surface: str
    text: str
    muted: str
    line: str
    series: tuple[str, ...]
    low: str
    high: str
    good: str
    bad: str


LIGHT = Theme(
    background="#f6f7f9",
    surface="#ffffff",
    text="#1b2330",
    muted="#5c6675",
    line="#e1e5eb",
    series=("#2f6fde", "#c8601f", "#1f8a63", "#a6409a", "#977200", "#6a55c8", "#c93f55", "#54697c"),
    low="#e9f0fd",
    high="#143f91",
    good="#1a7a56",
    bad="#b3273f",
)

DARK = Theme(
    background="#11151b",
    surface="#1a2029",
    text="#e8ecf2",
    muted="#9ba7b6",
    line="#2c3542",
    series=("#6ea0ff", "#f2a067", "#55c79d", "#d98ac8", "#dcbd4f", "#a79bf2", "#f2808f", "#9db1c4"),
    low="#1d2b45",
    high="#9dc0ff",
    good="#55c79d",
    bad="#f2808f",
)


def variables(theme: Theme) -> str:
    """The theme as CSS variables."""
    named = {
        "background": theme.background,
        "surface": theme.surface,
        "text": theme.text,
        "muted": theme.muted,
        "line": theme.line,
        "low": theme.low,
        "high": theme.high,
        "good": theme.good,
        "bad": theme.bad,
        **{f"s{number}": colour for number, colour in enumerate(theme.series, start=1)},
    }
    return "".join(f"--{name}:{colour};" for name, colour in named.items())


def picture_styles(theme: Theme) -> str:
    """The style sheet of an SVG that stands alone. `own` is what is drawn here; what Vega drew has its own colours."""
    rules = [
        f".page{{fill:{theme.background}}}.card{{fill:{theme.surface};stroke:{theme.line}}}",
        f".own text{{font-family:{FONT};font-size:12px;fill:{theme.text}}}",
        f".own .muted{{fill:{theme.muted}}}.own .good{{fill:{theme.good}}}.own .bad{{fill:{theme.bad}}}",
        ".own .strong{font-weight:600}.own .title{font-size:15px;font-weight:600}",
        ".own .heading{font-size:18px;font-weight:600}.own .report-title{font-size:24px;font-weight:700}",
        ".own .kpi{font-size:30px;font-weight:700}",
        f".grid{{stroke:{theme.line};stroke-width:1}}.axis{{stroke:{theme.muted};stroke-width:1}}",
        f".error{{fill:none;stroke:{theme.bad}}}",
    ]
    for number, colour in enumerate(theme.series, start=1):
        rules.append(f".f{number}{{fill:{colour}}}.l{number}{{stroke:{colour};fill:none;stroke-width:2}}")
        rules.append(f".a{number}{{fill:{colour};fill-opacity:0.25}}")
    return "".join(rules)


def vega_config(theme: Theme) -> dict[str, Any]:
    """The theme as a Vega-Lite config, so that both kinds of chart look alike."""
    axis = {
        "gridColor": theme.line,
        "domainColor": theme.muted,
        "tickColor": theme.muted,
        "labelColor": theme.muted,
        "titleColor": theme.muted,
        "titleFontWeight": "normal",
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titlePadding": 8,
    }
    return {
        "background": "transparent",
        "font": FONT,
        "view": {"stroke": "transparent"},
        "axis": axis,
        "axisX": {"grid": False},
        "axisY": {"domain": False, "ticks": False},
        "legend": {"labelColor": theme.text, "titleColor": theme.muted, "orient": "top", "titleFontWeight": "normal"},
        "title": {"color": theme.text, "anchor": "start"},
        "range": {"category": list(theme.series), "heatmap": [theme.low, theme.high], "ramp": [theme.low, theme.high]},
        "point": {"filled": True, "color": theme.series[0], "opacity": 0.75},
        "bar": {"color": theme.series[0]},
        "line": {"color": theme.series[0], "strokeWidth": 2},
        "area": {"color": theme.series[0], "opacity": 0.5},
        "boxplot": {"box": {"color": theme.series[0]}, "median": {"color": theme.surface}},
        "rule": {"color": theme.muted},
        "text": {"color": theme.text},
    }
