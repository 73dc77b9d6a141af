"""The flow `render-report` and the task that compares datasets, against Prefect's API."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from prefect import flow, task
from prefect.client.orchestration import get_client
from prefect.futures import PrefectFuture
from prefect.task_runners import ThreadPoolTaskRunner

from prefect_datagen.blocks.query_source import QuerySource, load_query_source
from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.flows.report import OnFailure, compare_datasets, render_report
from prefect_datagen.reports.diff import diff_datasets
from prefect_datagen.reports.diff_text import diff_markdown
from prefect_datagen.reports.duckdb_sources import DatasetSource
from prefect_datagen.reports.errors import DifferenceError, QueryError
from prefect_datagen.reports.query import Query
from prefect_datagen.reports.query_cache import QueryCache, QueryHandle
from tests.reports.datasets import write_dataset

pytestmark = [pytest.mark.prefect, pytest.mark.usefixtures("prefect_api")]

REPORT = """
title: Small
queries:
  rows: {sql: SELECT * FROM data}
  counted: {sql: "SELECT count(*) AS n FROM {{ queries.rows }} AS r"}
charts:
  one: {type: kpi, query: counted, value: n}
  two: {type: table, query: counted}
  words: {type: text, markdown: Hello}
"""
BAD = REPORT + "  bad: {type: kpi, value: n, sql: SELECT nope AS n FROM data}\n"


@pytest.fixture
def folder(tmp_path) -> Path:
    write_dataset(tmp_path / "ds", groups=1, size=20)
    (tmp_path / "good.yaml").write_text(REPORT)
    (tmp_path / "bad.yaml").write_text(BAD)
    return tmp_path


def arguments(folder: Path, name: str, **more: Any) -> dict[str, Any]:
    return {"report": folder / name, "output": folder / "out.json", "data": [folder / "ds"], **more}


def artifacts(*, flow_run: Any) -> list[dict[str, Any]]:
    """What a flow run kept for people, and its task runs, as Prefect's API has it; results are artifacts, too."""
    with get_client(sync_client=True) as api:
        answer = api._client.post("/artifacts/filter", json={"artifacts": {"flow_run_id": {"any_": [str(flow_run)]}}})
    answer.raise_for_status()
    return [each for each in answer.json() if each["key"] is not None]


def test_a_report_becomes_a_file_and_a_result(folder):
    state = render_report(**arguments(folder, "good.yaml"), return_state=True)
    result = state.result()
    assert state.name == "Completed"
    assert (result.title, result.charts, result.failed) == ("Small", ["one", "two", "words"], {})
    [kept] = artifacts(flow_run=state.state_details.flow_run_id)
    assert (kept["key"], kept["type"], kept["description"]) == ("report-good", "markdown", "Small")
    assert kept["data"] == f"# Small\n\n3 charts in `{folder / 'out.json'}`"
    content = json.loads((folder / "out.json").read_text())
    assert content["charts"][0]["rows"] == [{"n": 18}]


def test_a_failed_query_gives_a_panel_and_the_state_that_was_asked_for(folder):
    state = render_report(**arguments(folder, "bad.yaml"), return_state=True)
    assert (state.type.value, state.name) == ("COMPLETED", "Partial")
    assert list(state.result().failed) == ["bad"]
    [kept] = artifacts(flow_run=state.state_details.flow_run_id)
    assert "| bad | " in kept["data"]
    assert json.loads((folder / "out.json").read_text())["charts"][3]["error"]
    failed = render_report(**arguments(folder, "bad.yaml", on_failure=OnFailure.FAIL), return_state=True)
    assert failed.name == "Failed"
    with pytest.raises(QueryError, match="1 of 4 charts failed: bad"):
        failed.result()


def test_a_wrong_report_fails_before_any_query(folder):
    (folder / "wrong.yaml").write_text("charts: {}\n")
    with pytest.raises(ConfigError, match=r"wrong\.yaml:1"):
        render_report(**arguments(folder, "wrong.yaml"))
    assert not (folder / "out.json").exists()


def test_a_dataset_has_a_report_without_a_file(folder):
    result = render_report(folder / "ds", output=folder / "auto.html")
    assert result.failed == {}
    assert (folder / "auto.html").stat().st_size > 10_000


def test_a_report_asks_a_database_behind_a_block(folder, tmp_path):
    import sqlite3

    with sqlite3.connect(tmp_path / "w.sqlite") as connection:
        connection.execute("CREATE TABLE t AS SELECT 7 AS n")
    connection.close()
    QuerySource(url=f"sqlite:///{tmp_path / 'w.sqlite'}", max_running=2).save("report-tests", overwrite=True)
    (folder / "block.yaml").write_text(
        "sources: {w: {type: block, block: report-tests}}\ncharts: {n: {type: kpi, sql: SELECT n FROM t, value: n}}\n"
    )
    result = render_report(folder / "block.yaml", output=folder / "block.json")
    assert result.failed == {}
    assert json.loads((folder / "block.json").read_text())["charts"][0]["rows"] == [{"n": 7}]
    assert load_query_source("query-source/report-tests", None).limits.max_running == 2
    with pytest.raises(ConfigError, match="no QuerySource block 'nope'"):
        load_query_source("nope", None)


def test_comparing_is_a_task_that_fails_where_a_condition_holds(folder):
    write_dataset(folder / "new", groups=2, size=20)

    @flow(name="compare-tests")
    def compare(conditions: list[str]) -> int:
        return compare_datasets(folder / "ds", folder / "new", key=["id"], fail_on=conditions).keyed.added

    good = compare(["schema", "removed"], return_state=True)
    assert good.result() == 18
    failed = compare(["rows>10%"], return_state=True)
    with pytest.raises(DifferenceError, match="rows>10%"):
        failed.result()
    texts = []
    for state in (good, failed):
        [kept] = artifacts(flow_run=state.state_details.flow_run_id)
        assert (kept["key"], kept["type"], kept["description"]) == ("dataset-diff", "markdown", "ds and new")
        assert kept["task_run_id"] is not None
        texts.append(kept["data"])
    diff = diff_datasets(folder / "ds", folder / "new", key=["id"])
    assert texts[0] == diff_markdown(diff)
    assert texts[1] != texts[0]
    assert "rows>10%" in texts[1]


def test_a_future_of_prefect_fits_where_a_query_is_waited_for(folder):
    """Waiting with a limit, rows and errors are the same for both, so whoever waits need not know which it is."""
    opened = threading.Event()
    source = DatasetSource(folder / "ds")

    @task
    def count(text: str) -> pa.Table:
        assert opened.wait(60)
        with QueryCache() as cache, cache.submit(Query(source, text)) as handle:
            return handle.result()

    @flow(name="futures-tests", task_runner=ThreadPoolTaskRunner(max_workers=2))
    def both() -> list[Any]:
        good, bad = count.submit("SELECT count(*) AS n FROM data"), count.submit("SELECT nope FROM data")
        with pytest.raises(TimeoutError):
            rows_of(good, timeout=0.01)
        opened.set()
        found = [rows_of(good, timeout=60)]
        with pytest.raises(QueryError, match="nope"):
            rows_of(bad, timeout=60)
        with QueryCache() as cache:
            found.append(rows_of(cache.submit(Query(source, "SELECT count(*) AS n FROM data")), timeout=60))
            with pytest.raises(QueryError, match="nope"):
                rows_of(cache.submit(Query(source, "SELECT nope FROM data")), timeout=60)
        return found

    def rows_of(waiter: QueryHandle | PrefectFuture[pa.Table], *, timeout: float) -> Any:
        return waiter.result(timeout).to_pylist()

    try:
        assert both() == [[{"n": 18}], [{"n": 18}]]
    finally:
        source.close()
