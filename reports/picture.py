"""A report as one picture: SVG put together here, PNG and PDF made of it by vl-convert in a process of its own.

The process is started, and warmed up with a first conversion, while the queries are still running. Only charts that
nothing but Vega can draw need its JavaScript engine; the rest is drawn in this process.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from types import TracebackType
from typing import Any, Self

from prefect_datagen.reports.drawing import Drawing
from prefect_datagen.reports.palette import DARK, LIGHT, Theme, picture_styles, vega_config
from prefect_datagen.reports.spec import Column, Heading, LayoutNode, ReportSpec, Row, Tabs
from prefect_datagen.reports.svg import element, escape, shortened, text
from prefect_datagen.reports.views import ChartView, error_picture

WIDTH = 1_100.0
MARGIN = 28.0
GAP = 16.0
PADDING = 18.0
MAX_IN_ROW = 4

ToSvg = Callable[[dict[str, Any]], str]
"""Makes SVG of a Vega-Lite specification."""


@dataclass(frozen=True)
class _Box:
    content: str
    height: float
    card: bool = False  # stands on a card, which fills the height of its row


class PictureMaker:
    """Converts in a process of its own; used by one thread at a time. Starting it does not wait for it."""

    def __init__(self) -> None:
        self._process = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
        self._process.submit(_warm_up)

    def vega_svg(self, spec: dict[str, Any]) -> str:
        """A Vega-Lite specification as SVG."""
        return self._process.submit(_vega_svg, spec).result()

    def png(self, svg: str, *, scale: float = 2.0) -> bytes:
        """A picture of pixels; `scale` pixels for each of the SVG's."""
        return self._process.submit(_png, svg, scale).result()

    def pdf(self, svg: str) -> bytes:
        """A page of the size of the SVG."""
        return self._process.submit(_pdf, svg).result()

    def close(self) -> None:
        """End the process."""
        self._process.shutdown(cancel_futures=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def report_svg(spec: ReportSpec, views: Mapping[str, ChartView], *, to_svg: ToSvg, dark: bool = False) -> str:
    """The whole report as one SVG. Tabs stand one below the other, each under its title."""
    return _Painter(spec, views, to_svg, DARK if dark else LIGHT).paint()


class _Painter:
    def __init__(self, spec: ReportSpec, views: Mapping[str, ChartView], to_svg: ToSvg, theme: Theme) -> None:
        self._spec = spec
        self._views = views
        self._to_svg = to_svg
        self._theme = theme

    def paint(self) -> str:
        head = text(self._spec.title, MARGIN, MARGIN + 24, class_="report-title")
        top = MARGIN + 42
        if self._spec.description:
            said = shortened(self._spec.description, WIDTH - 2 * MARGIN)
            head += text(said, MARGIN, top + 8, class_="muted")
            top += 22
        body = self._stack(self._spec.layout or list(self._spec.charts), WIDTH - 2 * MARGIN)
        height = top + body.height + MARGIN
        background = element("rect", width=WIDTH, height=height, class_="page")
        content = background + _own(head) + _moved(body.content, MARGIN, top)
        return element(
            "svg",
            element("style", picture_styles(self._theme)) + content,
            xmlns="http://www.w3.org/2000/svg",
            width=WIDTH,
            height=height,
            viewBox=f"0 0 {WIDTH:.0f} {height:.0f}",
        )

    def _stack(self, nodes: list[LayoutNode], width: float) -> _Box:
        parts = []
        y = 0.0
        for node in nodes:
            box = self._node(node, width)
            parts.append(_moved(_on_card(box, width, box.height), 0, y))
            y += box.height + GAP
        return _Box("".join(parts), max(0.0, y - GAP))

    def _node(self, node: LayoutNode, width: float) -> _Box:
        if isinstance(node, Row):
            lines = [node.row[at : at + MAX_IN_ROW] for at in range(0, len(node.row), MAX_IN_ROW)]
            boxes = [self._beside(line, width) for line in lines]
            y = 0.0
            parts = []
            for box in boxes:
                parts.append(_moved(box.content, 0, y))
                y += box.height + GAP
            return _Box("".join(parts), y - GAP)
        if isinstance(node, Column):
            return self._stack(node.column, width)
        if isinstance(node, Heading):
            return _Box(_own(text(node.heading, 0, 24, class_="heading")), 30)
        if isinstance(node, Tabs):
            nodes: list[LayoutNode] = []
            for title, inside in node.tabs.items():
                nodes += [Heading(heading=title), *inside]
            return self._stack(nodes, width)
        return self._card(self._views[node], width)

    def _beside(self, nodes: list[LayoutNode], width: float) -> _Box:
        each = (width - GAP * (len(nodes) - 1)) / len(nodes)
        boxes = [self._node(node, each) for node in nodes]
        height = max(box.height for box in boxes)
        placed = [_moved(_on_card(box, each, height), at * (each + GAP), 0) for at, box in enumerate(boxes)]
        return _Box("".join(placed), height)

    def _card(self, view: ChartView, width: float) -> _Box:
        inner = width - 2 * PADDING
        y = PADDING
        parts = []
        if view.title and view.type != "text":
            y += 14
            parts.append(text(shortened(view.title, inner, size=15), PADDING, y, class_="title"))
            y += 10
        if view.description:
            y += 12
            parts.append(text(shortened(view.description, inner), PADDING, y, class_="muted"))
            y += 6
        drawing = view.draw(inner) if view.draw is not None else self._vega(view, inner)
        drawn = _moved(drawing.content, PADDING, y + 4)
        content = _own("".join(parts)) + (_own(drawn) if view.draw is not None else drawn)
        return _Box(content, y + 4 + drawing.height + PADDING, card=view.type != "text")

    def _vega(self, view: ChartView, width: float) -> Drawing:
        spec = copy.deepcopy(view.spec or {})
        spec |= {"width": width - 10, "autosize": {"type": "fit-x", "contains": "padding"}}
        spec["config"] = {**vega_config(self._theme), **spec.get("config", {})}
        try:
            found = self._to_svg(spec)
        except ValueError as error:  # a specification of the user's that is no Vega-Lite
            return error_picture(str(error).strip().splitlines()[0], width)
        size = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', found)
        height = float(size[2]) if size else 300.0
        # Every chart has its own `clip0`: in one document their names must differ.
        named = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{escape(view.id)}-", found)
        return Drawing(named, width, height)


def _on_card(box: _Box, width: float, height: float) -> str:
    if not box.card:
        return box.content
    return element("rect", x=0.5, y=0.5, width=width - 1, height=height - 1, rx=10, class_="card") + box.content


def _own(content: str) -> str:
    return element("g", content, class_="own")


def _moved(content: str, x: float, y: float) -> str:
    return element("g", content, transform=f"translate({x:.1f} {y:.1f})")


# ---- in the other process


def _warm_up() -> None:
    _vega_svg(
        {"data": {"values": [{"x": 1}]}, "mark": "point", "encoding": {"x": {"field": "x", "type": "quantitative"}}}
    )


def _vega_svg(spec: dict[str, Any]) -> str:
    import vl_convert

    # No base URL is allowed, so a specification can load nothing.
    return vl_convert.vegalite_to_svg(spec, allowed_base_urls=[])


def _png(svg: str, scale: float) -> bytes:
    import vl_convert

    return vl_convert.svg_to_png(svg, scale=scale)


def _pdf(svg: str) -> bytes:
    import vl_convert

    return vl_convert.svg_to_pdf(svg)
