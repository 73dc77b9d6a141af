"""Numbers, tables and text: as HTML, and as pictures for PNG and PDF."""

from __future__ import annotations

import re
from typing import Any

import pyarrow as pa

from prefect_datagen.columns.template import Template, TemplateError
from prefect_datagen.reports.drawing import Drawing
from prefect_datagen.reports.errors import QueryError
from prefect_datagen.reports.formats import MISSING, show
from prefect_datagen.reports.spec import KpiConfig, TableConfig, TextConfig
from prefect_datagen.reports.svg import element, escape, shortened, text, text_width
from prefect_datagen.reports.values import Scale, columns

MAX_DATA_ROWS = 100
"""Rows in the table below a chart that says the same in words."""

LONG_TEXT = 240
"""Characters of a cell that are shown before it has to be opened."""

_PICTURE_ROWS = 15


# ---- one number


def kpi_html(config: KpiConfig, table: pa.Table) -> str:
    """A large number, with how much it differs from another one, and a line of small print."""
    value, change, tone, note = _kpi(config, table)
    parts = [element("div", escape(value), class_="kpi-value")]
    if change:
        parts.append(element("div", escape(change), class_=f"kpi-change {tone}"))
    if note:
        parts.append(element("div", escape(note), class_="kpi-note"))
    return element("div", "".join(parts), class_="kpi")


def kpi_picture(config: KpiConfig, table: pa.Table, *, width: float) -> Drawing:
    """The same for a picture."""
    value, change, tone, note = _kpi(config, table)
    size = 30.0
    content = text(shortened(value, width, size=size), 0, 34, class_="kpi")
    small = " · ".join(each for each in (change, note) if each)
    if small:
        content += text(shortened(small, width), 0, 58, class_=tone)
    return Drawing(content, width, 66 if small else 44)


def _kpi(config: KpiConfig, table: pa.Table) -> tuple[str, str, str, str]:
    """The value, how it changed, whether that is good, bad or neither ("muted"), and the small print."""
    names = [name for name in (config.value, config.compare, config.note) if name]
    first = {column.name: column.values[0] if column.values else None for column in columns(table, names)}
    value = first[config.value]
    note = show(first[config.note]) if config.note and first[config.note] is not None else ""
    if config.compare is None or first[config.compare] is None or value is None:
        return show(value, config.format), "", "muted", note
    before = float(first[config.compare])  # type: ignore[arg-type]
    difference = float(value) - before
    share = f" ({difference / abs(before):+.1%})" if before else ""
    sign = "+" if difference >= 0 else "−"
    change = f"{sign}{show(abs(difference), config.format)}{share}"
    tone = "muted"
    if config.better is not None and difference:
        tone = "good" if (difference > 0) == (config.better == "higher") else "bad"
    return show(value, config.format), change, tone, note


# ---- tables


def table_html(config: TableConfig, table: pa.Table) -> str:
    """Rows as they are. Long text is cut and can be opened; nothing is lost."""
    names = config.columns or table.column_names
    found = columns(table.slice(0, config.rows), names)
    head = "".join(
        element("th", escape(config.labels.get(each.name, each.name)), scope="col", class_=_alignment(each.scale))
        for each in found
    )
    rows = []
    for values in zip(*(each.values for each in found), strict=True):
        cells = [
            element("td", _cell(value, config.formats.get(each.name)), class_=_alignment(each.scale))
            for each, value in zip(found, values, strict=True)
        ]
        rows.append(element("tr", "".join(cells)))
    caption = element("caption", escape(config.title or "Rows"), class_="visually-hidden")
    body = caption + element("thead", element("tr", head)) + element("tbody", "".join(rows))
    # A region that can be focused can be scrolled with the keyboard.
    scroll = element(
        "div",
        element("table", body),
        class_="table-scroll",
        tabindex=0,
        role="region",
        aria_label=config.title or "Rows",
    )
    return scroll + _remainder(table.num_rows, config.rows)


def table_picture(config: TableConfig, table: pa.Table, *, width: float) -> Drawing:
    """The first rows for a picture, each cell cut to its column."""
    limit = min(config.rows, _PICTURE_ROWS)
    found = columns(table.slice(0, limit), config.columns or table.column_names)
    if not found:
        return Drawing("", width, 0)
    shown = [[_shown(value, config.formats.get(each.name)) for value in each.values] for each in found]
    heads = [config.labels.get(each.name, each.name) for each in found]
    rooms = _rooms([max(map(text_width, [head, *cells])) + 18 for head, cells in zip(heads, shown, strict=True)], width)
    parts = []
    left = 0.0
    for head, cells, room, each in zip(heads, shown, rooms, found, strict=True):
        number = each.scale is Scale.NUMBER
        x, anchor = (left + room - 10, "end") if number else (left, None)
        parts.append(text(shortened(head, room - 12), x, 14, class_="muted", anchor=anchor))
        for row, cell in enumerate(cells):
            parts.append(text(shortened(cell, room - 12), x, 38 + row * 22, anchor=anchor))
        left += room
    for row in range(len(shown[0]) + 1):
        y = 22 + row * 22
        parts.append(element("line", x1=0, x2=width, y1=y, y2=y, class_="grid"))
    height = 30 + 22 * len(shown[0])
    if table.num_rows > limit:
        parts.append(text(f"{table.num_rows - limit:,} more rows", 0, height + 12, class_="muted"))
        height += 22
    return Drawing("".join(parts), width, height)


def _rooms(wanted: list[float], width: float) -> list[float]:
    """Widths of columns that fill `width`: narrow ones get what they want, wide ones share the rest."""
    rooms = [0.0] * len(wanted)
    open_ = set(range(len(wanted)))
    rest = width
    while open_:
        share = rest / len(open_)
        small = {number for number in open_ if wanted[number] <= share}
        for number in small or open_:
            rooms[number] = wanted[number] if small else share
        rest -= sum(rooms[number] for number in small or open_)
        open_ -= small or set(open_)
    return rooms


def data_table(name: str, table: pa.Table) -> str:
    """The rows behind a chart, folded away: the same for those who do not see it."""
    config = TableConfig(type="table", sql="-", rows=MAX_DATA_ROWS, title="Rows of the chart")
    summary = element("summary", "Show rows")
    return element("details", summary + table_html(config, table), class_="chart-rows")


def _shown(value: Any, format_: str | None) -> str:
    """A value in a table: as it is unless a format was asked for, because a number may be a name or a year."""
    if format_ is None and isinstance(value, (int, float)) and not isinstance(value, bool):
        return format(value, ".10g") if isinstance(value, float) else str(value)
    return show(value, format_)


def _cell(value: Any, format_: str | None) -> str:
    shown = _shown(value, format_)
    if value is None:
        return element("span", MISSING, class_="missing", aria_label="missing")
    if len(shown) <= LONG_TEXT:
        return escape(shown)
    beginning = element("summary", escape(shown[:LONG_TEXT]) + "…")
    return element("details", beginning + element("div", escape(shown), class_="whole-text"), class_="long-text")


def _alignment(scale: Scale) -> str | None:
    return {Scale.NUMBER: "number", Scale.TIME: "time"}.get(scale)


def _remainder(rows: int, shown: int) -> str:
    if rows == 0:
        return element("p", "No rows", class_="note")
    if rows <= shown:
        return ""
    return element("p", f"The first {shown:,} of {rows:,} rows are shown.", class_="note")


# ---- text


def text_html(config: TextConfig, table: pa.Table | None) -> str:
    """Markdown as HTML: headings, lists, bold, italic, code. Links are written out, not followed."""
    return element("div", markdown_html(_filled(config, table)), class_="prose")


def text_picture(config: TextConfig, table: pa.Table | None, *, width: float) -> Drawing:
    """The text for a picture, broken into lines."""
    parts = []
    y = 0.0
    for line in _filled(config, table).splitlines():
        heading = re.match(r"#{1,6}\s+", line)
        plain = re.sub(r"\*\*|`|(?<!\w)[*_]|[*_](?!\w)", "", line[heading.end() :] if heading else line)
        if not plain.strip():
            y += 8
            continue
        for piece in _broken(plain, width, size=15.0 if heading else 12.0):
            y += 22 if heading else 18
            parts.append(text(piece, 0, y, class_="title" if heading else None))
    return Drawing("".join(parts), width, y + 8)


def _filled(config: TextConfig, table: pa.Table | None) -> str:
    if table is None:
        return config.markdown
    first = {name: column.values[0] if column.values else None for name, column in _by_name(table).items()}
    try:
        return Template(config.markdown).render({name: show(value) for name, value in first.items()})
    except TemplateError as error:
        raise QueryError(f"the text cannot be filled: {error}") from error


def _by_name(table: pa.Table) -> dict[str, Any]:
    return {each.name: each for each in columns(table.slice(0, 1), table.column_names)}


def markdown_html(source: str) -> str:
    """A small part of Markdown as HTML. Everything is escaped first, so no markup of the text's own gets through."""
    blocks = []
    for block in filter(None, re.split(r"\n\s*\n", source.strip())):
        lines = block.splitlines()
        heading = re.match(r"(#{1,4})\s+(.*)", lines[0])
        if heading and len(lines) == 1:
            blocks.append(element(f"h{len(heading[1]) + 2}", _inline(heading[2])))
        elif all(re.match(r"\s*[-*]\s+", line) for line in lines):
            items = [element("li", _inline(re.sub(r"^\s*[-*]\s+", "", line))) for line in lines]
            blocks.append(element("ul", "".join(items)))
        elif all(re.match(r"\s*\d+\.\s+", line) for line in lines):
            items = [element("li", _inline(re.sub(r"^\s*\d+\.\s+", "", line))) for line in lines]
            blocks.append(element("ol", "".join(items)))
        elif lines[0].startswith("```"):
            code = "\n".join(line for line in lines if not line.startswith("```"))
            blocks.append(element("pre", element("code", escape(code))))
        else:
            blocks.append(element("p", _inline(" ".join(lines))))
    return "".join(blocks)


def _inline(line: str) -> str:
    pieces = re.split(r"(`[^`]+`)", line)
    return "".join(
        element("code", escape(piece[1:-1])) if piece.startswith("`") and len(piece) > 2 else _emphasis(escape(piece))
        for piece in pieces
    )


def _emphasis(escaped: str) -> str:
    strong = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", escaped)
    return re.sub(r"(?<![\w*])\*([^*\s][^*]*?)\*(?![\w*])", r"<em>\1</em>", strong)


def _broken(content: str, width: float, *, size: float) -> list[str]:
    lines = [""]
    for word in content.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and text_width(longer, size=size) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines
