"""A report that can be drawn: its specification, its open sources, and the ways to get its charts.

with Report.open("quality.yaml", data=["out/reviews"]) as report, QueryCache() as cache:
    run = report.start(cache)                 # every query is under way; nothing waits
    for name, handle in run.handles.items():  # each chart waits for its own query only
        view = run.view(name)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from prefect_datagen.reports.linking import link
from prefect_datagen.reports.open_sources import BlockLoader, open_sources
from prefect_datagen.reports.query import Query, Source
from prefect_datagen.reports.query_cache import QueryCache, QueryHandle
from prefect_datagen.reports.spec import ReportSpec
from prefect_datagen.reports.spec_file import load_report
from prefect_datagen.reports.views import ChartView, error_view, render_chart

if TYPE_CHECKING:
    import pyarrow as pa


class Report:
    """A specification with open sources. Closing it closes the sources."""

    def __init__(self, spec: ReportSpec, sources: Mapping[str, Source], *, name: str = "report") -> None:
        self.spec = spec
        self.sources = dict(sources)
        self.name = name

    @classmethod
    def open(
        cls,
        spec: ReportSpec | Path | str,
        *,
        data: Sequence[Path | str] | Mapping[str, Path | str] = (),
        base_dir: Path | None = None,
        load_block: BlockLoader | None = None,
    ) -> Self:
        """A report from its file or specification. Paths in a file start from its folder.

        Raises:
            ConfigError: the file has problems, or a source cannot be opened.
        """
        name = "report"
        if not isinstance(spec, ReportSpec):
            name = Path(spec).stem
            base_dir = base_dir or Path(spec).resolve().parent
            spec = load_report(spec)
        return cls(spec, open_sources(spec, base_dir=base_dir, data=data, load_block=load_block), name=name)

    def queries(self, values: Mapping[str, object] | None = None) -> dict[str, Query]:
        """The queries that charts wait for, directly or through others, ready to run at the sources' present versions.

        Raises:
            ConfigError: a value does not fit its variable, or a query is wrong.
        """
        versions = {name: source.version() for name, source in self.sources.items()}
        return link(self.spec, sources=self.sources, values=self.spec.values(dict(values or {})), versions=versions)

    def start(self, cache: QueryCache, values: Mapping[str, object] | None = None, *, fresh: bool = False) -> ReportRun:
        """Put every chart's query under way; returns at once.

        Raises:
            ConfigError: as `queries`.
        """
        queries = self.queries(values)
        handles: dict[str, QueryHandle | None] = {}
        for chart in self.spec.charts:
            query = self.spec.query_of(chart)
            handles[chart] = None if query is None else cache.submit(queries[query], fresh=fresh)
        return ReportRun(self.spec, handles, self.spec.values(dict(values or {})), datetime.now(UTC))

    def close(self) -> None:
        """Close the sources."""
        for source in self.sources.values():
            source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True)
class ReportRun:
    """One drawing of a report. `handles` holds the waiter of each chart, or None for a text without a query."""

    spec: ReportSpec
    handles: dict[str, QueryHandle | None]
    values: dict[str, Any]
    started: datetime

    def view(self, chart: str, *, timeout: float | None = None) -> ChartView:
        """The chart, when its rows are there; a failed query gives an error panel.

        Raises:
            TimeoutError: the rows are not there after `timeout` seconds.
            concurrent.futures.CancelledError: this run was left.
        """
        handle = self.handles[chart]
        config = self.spec.charts[chart]
        if handle is None:
            return render_chart(chart, config, None)
        try:
            table = handle.result(timeout)
        except (TimeoutError, CancelledError):
            raise
        except Exception as error:  # noqa: BLE001 - whatever a source raised is what this one chart shows
            return error_view(chart, config, error)
        return render_chart(chart, config, table)

    def as_ready(self) -> Iterator[ChartView]:
        """The charts, each as soon as its rows are there; those without a query first."""
        waiting: dict[Future[pa.Table], list[str]] = {}
        for chart, handle in self.handles.items():
            if handle is None:
                yield self.view(chart)
            else:
                waiting.setdefault(handle.future, []).append(chart)
        while waiting:
            for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                for chart in waiting.pop(future):
                    yield self.view(chart)

    def views(self) -> dict[str, ChartView]:
        """All charts, in the order of the report."""
        ready = {view.id: view for view in self.as_ready()}
        return {name: ready[name] for name in self.spec.charts}

    def leave(self) -> None:
        """Wait for nothing any more; what nobody else waits for is cancelled at its source."""
        for handle in self.handles.values():
            if handle is not None:
                handle.leave()


def failed(views: Mapping[str, ChartView]) -> dict[str, str]:
    """What went wrong, by chart."""
    return {name: view.error for name, view in views.items() if view.error is not None}
