"""A report as a stream of server-sent events: the empty page at once, then each chart the moment its rows are there.

    event: shell    title, variables, and the report's HTML with a place for each chart
    event: chart    one chart: its place, and its HTML
    event: done     how many charts there were, and how many of them failed

The queries of all charts are under way before the first event is sent. When the client leaves, its waiters leave; a
query for which nobody else waits is cancelled at its source.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import orjson
import pyarrow as pa

from prefect_datagen.reports.errors import QueryError
from prefect_datagen.reports.page import layout_html, vega_themes
from prefect_datagen.reports.query_cache import QueryCache
from prefect_datagen.reports.report import Report, ReportRun
from prefect_datagen.reports.spec import ReportSpec
from prefect_datagen.reports.views import ChartView, error_view, pending_html
from prefect_datagen.server.answers import explain
from prefect_datagen.server.asgi import server_sent_event

logger = logging.getLogger("prefect_datagen.server")

HEARTBEAT = 15.0
"""Seconds between two signs of life while no chart becomes ready."""


def shell_of(report: Report, values: Mapping[str, Any]) -> dict[str, Any]:
    """What a page needs to show a report before any of its rows are there."""
    spec = report.spec
    pending = {name: pending_html(name, config) for name, config in spec.charts.items()}
    return {
        "name": report.name,
        "title": spec.title,
        "description": spec.description,
        "charts": len(spec.charts),
        "variables": [
            {
                "name": name,
                "label": variable.label or name,
                "type": variable.type,
                "widget": variable.shown_as,
                "choices": variable.choices,
                "multiple": variable.multiple,
                "minimum": variable.minimum,
                "maximum": variable.maximum,
                "value": values[name],
            }
            for name, variable in spec.variables.items()
        ],
        "html": layout_html(spec, pending) + vega_themes(),
    }


async def report_events(report: Report, cache: QueryCache, given: Mapping[str, object]) -> AsyncGenerator[bytes, None]:
    """The events of one report for one client, with the given values of its variables.

    Raises:
        ConfigError: a value does not fit its variable; nothing was sent then.
        asyncio.CancelledError: the client left, or the server is about to stop.
    """
    run = await _start(report, cache, given)
    try:
        yield _event("shell", shell_of(report, run.values))
        failed = 0
        async for view in _as_ready(run):
            if view is None:
                yield b": still here\n\n"
                continue
            failed += view.error is not None
            yield _event("chart", {"id": view.id, "html": view.html, "vega": view.needs_vega, "error": view.error})
        yield _event("done", {"charts": len(run.handles), "failed": failed})
    finally:
        run.leave()


async def _start(report: Report, cache: QueryCache, given: Mapping[str, object]) -> ReportRun:
    """Put the queries under way, in a thread: the first look at their texts takes a moment."""
    starting = asyncio.get_running_loop().run_in_executor(None, lambda: report.start(cache, given))
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        # The client left meanwhile. What the thread starts is left as soon as it is there.
        starting.add_done_callback(_abandon)
        raise


def _abandon(started: asyncio.Future[ReportRun]) -> None:
    if not started.cancelled() and started.exception() is None:
        started.result().leave()


async def _as_ready(run: ReportRun) -> AsyncGenerator[ChartView | None, None]:
    """The charts, each when its rows are there; None where nothing happened for a while."""
    waiting: dict[asyncio.Future[pa.Table], str] = {}
    for chart, handle in run.handles.items():
        if handle is None:
            yield await asyncio.to_thread(run.view, chart)
        else:
            waiting[asyncio.wrap_future(handle.future)] = chart
    while waiting:
        ready, _ = await asyncio.wait(waiting, timeout=HEARTBEAT, return_when=asyncio.FIRST_COMPLETED)
        if not ready:
            yield None
        for future in ready:
            chart = waiting.pop(future)
            error = future.exception()
            yield await asyncio.to_thread(run.view, chart) if error is None else _error_panel(run.spec, chart, error)


def _error_panel(spec: ReportSpec, chart: str, error: BaseException) -> ChartView:
    """The panel in place of a chart. What the error says goes to the log: it may hold SQL, paths and hosts."""
    logger.warning("chart %r: %s: %s", chart, type(error).__name__, error)
    message = explain(error)[2] if isinstance(error, QueryError) else f"{type(error).__name__}; see the server's log"
    return error_view(chart, spec.charts[chart], error, message=message)


def _event(name: str, value: object) -> bytes:
    return server_sent_event(name, orjson.dumps(value).decode())
