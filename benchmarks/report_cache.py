"""What the query cache is worth: the report lines of the results server's table, and synchronous against progressive.

A query pauses for a given time and then asks DuckDB, so that the figures are those of the cache and not of a machine's
disks. While it pauses, its slot and its thread are taken as by any slow query. Every figure is the median of the runs.

    python benchmarks/report_cache.py [--runs 5]
"""

from __future__ import annotations

import argparse
import statistics
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa

from prefect_datagen.reports.duckdb_files import TablesSource
from prefect_datagen.reports.page import layout_html
from prefect_datagen.reports.query_cache import Cancellation, Query, QueryCache, SourceLimits
from prefect_datagen.reports.report import Report
from prefect_datagen.reports.spec import ReportSpec
from prefect_datagen.reports.views import pending_html

ROWS = pa.table({"name": [f"category {n}" for n in range(12)], "rows": list(range(12))})

# Ten charts over three sources; seconds that the query of each takes.
SECONDS = {
    "a": [0.05, 0.3, 0.8, 2.0],
    "b": [0.1, 0.4, 1.2],
    "c": [0.2, 0.6, 1.6],
}


class SlowSource(TablesSource):
    """DuckDB tables whose queries begin with a pause: as long as their parameter `seconds` says."""

    def __init__(self, name: str, *, max_running: int = 4) -> None:
        super().__init__(f"benchmark:{name}", {"t": ROWS}, limits=SourceLimits(max_running=max_running))
        self.executions = 0
        self._lock = threading.Lock()

    def execute(
        self, text: str, parameters: Mapping[str, Any], *, relations: Mapping[str, pa.Table], cancel: Cancellation
    ) -> pa.Table:
        """Pause, then ask DuckDB."""
        with self._lock:
            self.executions += 1
        cancel.wait(float(parameters["seconds"]))
        cancel.check()
        return super().execute(text, parameters, relations=relations, cancel=cancel)


def query(source: SlowSource, seconds: float, *, number: int = 0, name: str = "") -> Query:
    """A query that takes `seconds`; `number` makes it different work."""
    text = f"SELECT name, rows + {number} AS rows, $seconds AS seconds FROM t"
    return Query(source, text, parameters={"seconds": seconds}, name=name)


def ten_charts() -> Report:
    """The report of the table: ten bar charts over three sources."""
    charts: dict[str, Any] = {}
    for name, times in SECONDS.items():
        for number in range(len(times)):
            charts[f"{name}{number}"] = {
                "type": "bar",
                "x": "name",
                "y": "rows",
                "source": name,
                "sql": f"SELECT {number}",
            }
    spec = ReportSpec.model_validate({"sources": {name: {"type": "dataset"} for name in SECONDS}, "charts": charts})
    return _TenCharts(spec, {name: SlowSource(name) for name in SECONDS})


class _TenCharts(Report):
    def queries(self, values: Mapping[str, object] | None = None) -> dict[str, Query]:
        """The queries with the times of `SECONDS`, in place of those in the specification."""
        return {
            f"{name}{number}": query(self.sources[name], seconds, number=number)  # type: ignore[arg-type]
            for name, times in SECONDS.items()
            for number, seconds in enumerate(times)
        }


def progressive() -> dict[str, float]:
    """Seconds until the shell, the first chart and all charts are there, each chart drawn as its rows arrive."""
    with ten_charts() as report, QueryCache() as cache:
        began = time.perf_counter()
        run = report.start(cache)
        layout_html(report.spec, {name: pending_html(name, chart) for name, chart in report.spec.charts.items()})
        shell = time.perf_counter() - began
        moments = [time.perf_counter() - began for _ in run.as_ready()]
        assert len(moments) == 10
        return {"shell": shell, "first chart": moments[0], "all": moments[-1]}


def prefetched() -> dict[str, float]:
    """The same, but all rows are waited for before the first chart is drawn: the command line."""
    with ten_charts() as report, QueryCache() as cache:
        began = time.perf_counter()
        views = report.start(cache).views()
        assert len(views) == 10
        done = time.perf_counter() - began
        return {"first chart": done, "all": done}


def one_by_one() -> dict[str, float]:
    """The same without prefetch: each chart's query is run when its turn comes."""
    with ten_charts() as report, QueryCache() as cache:
        began = time.perf_counter()
        moments = []
        for each in report.queries().values():
            cache.submit(each).result()
            moments.append(time.perf_counter() - began)
        return {"first chart": moments[0], "all": moments[-1]}


def three_names() -> dict[str, float]:
    """Three charts whose queries differ in name and layout only."""
    source = SlowSource("names")
    texts = [
        "SELECT name, $seconds AS s FROM t",
        "select name, $seconds as s\nfrom t",
        "SELECT name, $seconds AS s FROM t -- c",
    ]
    with QueryCache() as cache:
        handles = cache.prefetch(
            Query(source, text, parameters={"seconds": 0.2}, name=f"name {n}") for n, text in enumerate(texts)
        )
        for handle in handles:
            handle.result()
    return {"executions": source.executions}


def fifty_clients() -> dict[str, float]:
    """Fifty threads ask for one query of a second at the same time."""
    source = SlowSource("clients")
    moments: list[float] = []
    barrier = threading.Barrier(51)
    with QueryCache() as cache:

        def client() -> None:
            barrier.wait()
            cache.submit(query(source, 1.0)).result()
            moments.append(time.perf_counter() - began)

        clients = [threading.Thread(target=client) for _ in range(50)]
        for each in clients:
            each.start()
        began = time.perf_counter()
        barrier.wait()
        for each in clients:
            each.join()
    return {"last answer": max(moments), "executions": source.executions}


def ten_distinct() -> dict[str, float]:
    """Ten different queries of a second on a source with ten slots."""
    source = SlowSource("distinct", max_running=10)
    with QueryCache() as cache:
        began = time.perf_counter()
        for handle in cache.prefetch(query(source, 1.0, number=number) for number in range(10)):
            handle.result()
        return {"all": time.perf_counter() - began, "executions": source.executions}


def coming_and_going() -> dict[str, float]:
    """Clients come, and leave while the query runs: what one costs, and what is left of five hundred of them."""
    source = SlowSource("going")
    with QueryCache() as cache:
        threads = threading.active_count()
        began = time.perf_counter()
        for number in range(500):
            cache.submit(query(source, 30.0, number=number)).leave()
        seconds = (time.perf_counter() - began) / 500
        while any(each.stopping for each in cache.statistics().sources) or threading.active_count() > threads:
            time.sleep(0.001)
        found = cache.statistics()
        return {"seconds for each": seconds, "in flight": found.in_flight, "waiters": found.waiters}


def hits() -> dict[str, float]:
    """Rows that are there already: seconds for one lookup."""
    source = SlowSource("hits")
    with QueryCache() as cache:
        wanted = query(source, 0.0)
        cache.submit(wanted).result()
        began = time.perf_counter()
        for _ in range(20_000):
            cache.submit(wanted)
        return {"seconds for each": (time.perf_counter() - began) / 20_000}


BENCHMARKS: dict[str, Callable[[], dict[str, float]]] = {
    "10 charts, 3 sources: progressive": progressive,
    "10 charts, 3 sources: prefetched, then drawn": prefetched,
    "10 charts, 3 sources: one by one": one_by_one,
    "one query under three names": three_names,
    "50 clients, one query of 1 s": fifty_clients,
    "10 queries of 1 s, 10 slots": ten_distinct,
    "500 clients that leave": coming_and_going,
    "a hit": hits,
}


def main() -> None:
    """Run all and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3, help="how often each is run; the median is printed")
    runs = parser.parse_args().runs
    print("| what | figures (median) |\n|---|---|")
    for name, benchmark in BENCHMARKS.items():
        found = [benchmark() for _ in range(runs)]
        medians = {key: statistics.median(each[key] for each in found) for key in found[0]}
        shown = ", ".join(f"{key} {_figure(key, value)}" for key, value in medians.items())
        print(f"| {name} | {shown} |", flush=True)


def _figure(key: str, value: float) -> str:
    if key in {"executions", "in flight", "waiters"}:
        return f"{value:.0f}"
    return f"{value * 1e6:.0f} µs" if value < 1e-3 else f"{value:.3f} s"


if __name__ == "__main__":
    main()
