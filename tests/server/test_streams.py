"""Reports as streams: order, sharing, leaving, failing, stopping; and the comparison of two datasets."""

from __future__ import annotations

import http.client
import json
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest


def write_report(path: Path, charts: dict[str, str], **more: Any) -> Path:
    """A report file of tables, one for each query."""
    spec = {
        "title": path.stem,
        "charts": {name: {"type": "table", "sql": sql} for name, sql in charts.items()},
        **more,
    }
    path.write_text(json.dumps(spec))  # JSON is YAML
    return path


def slow(milliseconds: int, value: str = "1") -> str:
    """A query that takes its time and can be interrupted."""
    return f"SELECT sleep_ms({milliseconds}) AS slept, {value} AS value"


class Stream:
    """One client of a report."""

    def __init__(self, server: Any, report: str, **variables: str) -> None:
        query = urlencode({f"var.{name}": value for name, value in variables.items()})
        self._connection: http.client.HTTPConnection = server.connect()
        self._connection.request("GET", f"/api/report/{report}/stream?{query}")
        self.answer = self._connection.getresponse()
        self._events = self._read()

    def _read(self) -> Iterator[tuple[str, Any]]:
        event = ""
        for raw in self.answer:
            line = raw.decode().rstrip("\n")
            if line.startswith("event: "):
                event = line.removeprefix("event: ")
            elif line.startswith("data: "):
                yield event, json.loads(line.removeprefix("data: "))

    def next(self) -> tuple[str, Any]:
        return next(self._events)

    def rest(self) -> list[tuple[str, Any]]:
        """All events that are left; the connection is closed after the last."""
        events = list(self._events)
        self.leave()
        return events

    def leave(self) -> None:
        self.answer.close()
        self._connection.close()


def cache_of(server: Any) -> Any:
    return server.get("/api/statistics").json["cache"]


@pytest.fixture
def start(serve: Any, new_dataset: Any, tmp_path: Path) -> Callable[..., Any]:
    """Starts a server with one report called `report`."""

    def with_charts(charts: dict[str, str], *options: str, **more: Any) -> Any:
        report = write_report(tmp_path / "report.yaml", charts, **more)
        server = serve(new_dataset(row_groups=1).path, "--report", report, *options)
        server.wait_ready()
        return server

    return with_charts


def test_charts_come_in_the_order_in_which_they_are_ready(start: Any) -> None:
    """The page's shell first, with a place for each chart; then no chart waits for another one's query."""
    server = start({"last": slow(1500), "middle": slow(600), "first": "SELECT 42 AS answer"})
    stream = Stream(server, "report")
    assert stream.answer.headers["content-type"].startswith("text/event-stream")
    kind, shell = stream.next()
    assert (kind, shell["charts"]) == ("shell", 3)
    assert all(f'id="chart-{name}"' in shell["html"] for name in ("first", "middle", "last"))
    events = stream.rest()
    assert [chart["id"] for kind, chart in events if kind == "chart"] == ["first", "middle", "last"]
    assert "42" in events[0][1]["html"]
    assert events[-1] == ("done", {"charts": 3, "failed": 0})


def test_one_query_under_three_names_runs_once(start: Any) -> None:
    server = start({name: slow(100) for name in ("a", "b", "c")})
    assert [kind for kind, _ in Stream(server, "report").rest()] == ["shell", "chart", "chart", "chart", "done"]
    assert cache_of(server)["executions"] == 1


def test_clients_share_one_execution(start: Any) -> None:
    server = start({"a": slow(1000)})
    streams = [Stream(server, "report") for _ in range(8)]
    for stream in streams:
        assert [kind for kind, _ in stream.rest()] == ["shell", "chart", "done"]
    cache = cache_of(server)
    assert (cache["executions"], cache["joins"] + cache["hits"]) == (1, 7)


def test_a_client_that_leaves_cancels_what_nobody_else_waits_for(start: Any, eventually: Any) -> None:
    server = start({"mine": slow(60_000)})
    staying, leaving = Stream(server, "report"), Stream(server, "report")
    for stream in (staying, leaving):
        assert stream.next()[0] == "shell"
    eventually(lambda: cache_of(server)["waiters"] == 2)
    leaving.leave()
    eventually(lambda: cache_of(server)["waiters"] == 1)
    assert cache_of(server)["cancellations"] == 0
    staying.leave()
    eventually(lambda: cache_of(server)["in_flight"] == 0)
    cache = cache_of(server)
    assert (cache["cancellations"], cache["failures"]) == (1, 0)
    eventually(lambda: all(source["stopping"] == 0 for source in cache_of(server)["sources"]))
    assert "Traceback" not in server.stop()  # that readers come and go is no news for the log


def test_a_chart_that_fails_is_a_panel_and_tells_nothing_that_is_not_for_everybody(start: Any, tmp_path: Path) -> None:
    server = start(
        {
            "wrong": "SELECT secret_name FROM data",
            "outside": "SELECT * FROM read_csv('/etc/hostname')",
            "good": "SELECT count(*) AS rows FROM data",
        }
    )
    events = Stream(server, "report").rest()
    charts = {chart["id"]: chart for kind, chart in events if kind == "chart"}
    assert charts["good"]["error"] is None
    for failed in ("wrong", "outside"):
        assert 'role="alert"' in charts[failed]["html"]
        for hidden in ("secret_name", "/etc", str(tmp_path), "SELECT"):
            assert hidden not in json.dumps(charts[failed])
    assert events[-1] == ("done", {"charts": 3, "failed": 2})


def test_variables_reach_queries_as_values(start: Any) -> None:
    server = start(
        {"found": "SELECT count(*) AS n, {{ variables.city }} AS city FROM data WHERE city = {{ variables.city }}"},
        variables={"city": {"type": "text", "default": "Oslo", "choices": ["Oslo", "Roma", "x' OR 1=1 --"]}},
    )
    shell, chart, _ = Stream(server, "report").rest()
    assert shell[1]["variables"][0]["value"] == "Oslo"
    assert shell[1]["variables"][0]["widget"] == "select"
    assert ">5<" in chart[1]["html"]
    tricky = Stream(server, "report", city="x' OR 1=1 --").rest()
    assert ">0<" in tricky[1][1]["html"]
    refused = server.get("/api/report/report/stream?var.city=Paris")
    assert (refused.status, refused.error["code"]) == (400, "wrong value")
    assert server.get("/api/report/report/stream?var.nothing=1").status == 400


def test_connecting_and_leaving_leaves_nothing_behind(start: Any, eventually: Any) -> None:
    server = start({"a": slow(60_000), "b": "SELECT 1 AS one"})
    Stream(server, "report").leave()
    eventually(lambda: cache_of(server)["in_flight"] == 0)
    before = server.get("/api/statistics").json
    for _ in range(40):
        stream = Stream(server, "report")
        stream.next()
        stream.leave()

    def is_as_before() -> bool:
        now = server.get("/api/statistics").json
        in_flight = now["cache"]["in_flight"]
        return bool(in_flight == 0 and now["tasks"] <= before["tasks"] and now["threads"] <= before["threads"] + 4)

    eventually(is_as_before)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_server_that_streams(start: Any, number: int) -> None:
    server = start({"a": slow(60_000)})
    stream = Stream(server, "report")
    assert stream.next()[0] == "shell"
    assert server.end(number) == 0
    stream.leave()


def test_a_report_with_mistakes_keeps_the_server_from_being_ready_until_it_is_mended(
    serve: Any, new_dataset: Any, tmp_path: Path
) -> None:
    report = tmp_path / "report.yaml"
    report.write_text("charts: {a: {type: nothing}}")
    server = serve(new_dataset(row_groups=1).path, "--report", report)
    assert server.wait(lambda state: state["error"])["error"] == "ConfigError"
    write_report(report, {"a": "SELECT 1 AS one"})
    server.wait_ready()
    names = [each["name"] for each in server.get("/api/reports").json]
    assert names == ["report", "dataset"]


@pytest.mark.prefect
def test_a_report_asks_a_database_behind_a_block(
    serve: Any, new_dataset: Any, tmp_path: Path, prefect_api: Any
) -> None:
    """The server imports Prefect for that report only."""
    from prefect_datagen.blocks.query_source import QuerySource

    with closing(sqlite3.connect(tmp_path / "w.sqlite")) as database, database:
        database.execute("CREATE TABLE t AS SELECT 7 AS n")
    QuerySource(url=f"sqlite:///{tmp_path / 'w.sqlite'}").save("served-tests", overwrite=True)
    report = tmp_path / "block.yaml"
    report.write_text(
        "sources: {w: {type: block, block: served-tests}}\n"
        "charts: {n: {type: kpi, title: Seven, sql: SELECT n FROM t, value: n}}\n"
    )
    server = serve(new_dataset().path, "--report", report, environment={"PREFECT_API_URL": prefect_api.url})
    server.wait_ready()
    events = dict(Stream(server, "block").rest())
    assert ">7<" in events["chart"]["html"]


def test_two_reports_of_one_name_are_refused(serve: Any, new_dataset: Any, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    files = [write_report(folder / "same.yaml", {"a": "SELECT 1 AS one"}) for folder in (tmp_path, tmp_path / "other")]
    server = serve(new_dataset(row_groups=1).path, "--report", files[0], "--report", files[1])
    assert server.wait(lambda state: state["error"])["error"] == "ConfigError"


def test_the_automatic_report_draws_every_chart(serve: Any, new_dataset: Any) -> None:
    dataset = new_dataset(row_groups=1)
    dataset.commit(rejected=3)
    server = serve(dataset.path)
    events = Stream(server, "dataset").rest()
    assert [chart["id"] for kind, chart in events if kind == "chart" and chart["error"]] == []
    assert events[-1][1]["charts"] > 5


def test_a_growing_dataset_gives_its_report_new_rows(serve: Any, new_dataset: Any, tmp_path: Path) -> None:
    dataset = new_dataset(row_groups=1)
    report = write_report(tmp_path / "report.yaml", {"rows": "SELECT count(*) AS n FROM data"})
    server = serve(dataset.path, "--watch", "--report", report)
    version = server.wait_ready()["version"]
    assert ">20<" in Stream(server, "report").rest()[1][1]["html"]
    dataset.commit()
    server.wait(lambda state: state["version"] > version)
    assert ">40<" in Stream(server, "report").rest()[1][1]["html"]


class TestComparison:
    """`/api/diff`."""

    @pytest.fixture
    def server(self, serve: Any, new_dataset: Any) -> Any:
        base, current = new_dataset("base", row_groups=1), new_dataset("current", row_groups=2)
        return serve(current.path, "--base", base.path)

    def test_tells_what_differs(self, server: Any) -> None:
        diff = server.get("/api/diff?key=id").json
        assert (diff["base_rows"], diff["current_rows"]) == (20, 40)
        assert (diff["keyed"]["added"], diff["keyed"]["removed"], diff["keyed"]["changed"]) == (20, 0, 0)
        assert diff["schema_changes"] == []
        assert {"id", "code", "city"} <= {column["column"] for column in diff["columns"]}

    def test_shows_no_path(self, server: Any, tmp_path: Path) -> None:
        assert str(tmp_path) not in server.get("/api/diff").body.decode()

    def test_refuses_a_key_that_tells_no_rows_apart(self, server: Any) -> None:
        refused = server.get("/api/diff?key=city")
        assert refused.status == 400
        assert "does not tell the rows" in refused.error["message"]

    def test_needs_two_datasets(self, serve: Any, new_dataset: Any) -> None:
        assert serve(new_dataset("alone", row_groups=1).path).get("/api/diff").status == 404
