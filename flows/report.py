"""The flow `render-report`: a report becomes a file and an artifact; and the task that compares two datasets.

Every query that a chart waits for is a task run, and so is every chart. A query's task run only waits: the query cache
runs it, on the slots that its source allows, and joins queries that are the same. A chart's task run waits for the rows
of its own query only. A query that fails has a failed task run; its chart is an error panel.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
from prefect import State, allow_failure, task, unmapped
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.exceptions import PrefectException
from prefect.futures import PrefectFuture
from prefect.task_runners import ThreadPoolTaskRunner
from pydantic import BaseModel, ConfigDict, Field

from prefect_datagen.blocks.query_source import load_query_source
from prefect_datagen.flows.ending import completed, keep_result
from prefect_datagen.flows.events import materialized
from prefect_datagen.flows.log import run_log
from prefect_datagen.flows.quick_flow import flow
from prefect_datagen.reports.auto import auto_report
from prefect_datagen.reports.diff import DatasetDiff, diff_datasets
from prefect_datagen.reports.diff_text import diff_markdown
from prefect_datagen.reports.duckdb_sources import DatasetSource
from prefect_datagen.reports.errors import DifferenceError, QueryError
from prefect_datagen.reports.fail_on import Condition, violations
from prefect_datagen.reports.picture import PictureMaker
from prefect_datagen.reports.query import Query
from prefect_datagen.reports.query_cache import QueryCache
from prefect_datagen.reports.render import Format, render, write_file
from prefect_datagen.reports.report import Report
from prefect_datagen.reports.views import ChartView, error_view, render_chart

_TROUBLE = (httpx.HTTPError, PrefectException)


class OnFailure(StrEnum):
    """What the flow's state is where a chart's query failed."""

    FAIL = "fail"
    PARTIAL = "partial"


class RenderedReport(BaseModel):
    """What `render_report` made. `failed` says what went wrong, by chart."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Path
    title: str
    charts: list[str]
    failed: dict[str, str] = Field(default_factory=dict)


@dataclass(frozen=True)
class _Session:
    """What the tasks of one flow run share. They run in threads of one process, so nothing of it is pickled."""

    report: Report
    cache: QueryCache
    queries: dict[str, Query]


@flow(
    name="render-report",
    task_runner=ThreadPoolTaskRunner(),
    retries=0,
    on_completion=[keep_result],
)
def render_report(
    report: Path,
    *,
    output: Path = Path("report.html"),
    data: list[Path] = [],  # noqa: B006 - Prefect copies parameters
    variables: dict[str, Any] = {},  # noqa: B006 - Prefect copies parameters
    on_failure: OnFailure = OnFailure.PARTIAL,
) -> RenderedReport | State[RenderedReport]:
    """Run a report's queries, draw its charts and write it.

    Args:
        report: the report's YAML file, or a dataset directory for the report that every dataset has.
        output: the file to write: .html, .png, .pdf, .svg or .json.
        data: dataset directories for the report's dataset sources, in order.
        variables: values of the report's variables.
        on_failure: whether failed queries make this run `Failed` or a completed run named `Partial`.

    Returns:
        What was made; as a state named Partial where a chart failed.

    Raises:
        ConfigError: the report, a path or a value is wrong; nothing was done.
        SinkError: the file cannot be written.
        QueryError: a chart failed and `on_failure` is `fail`; the file is written all the same.
    """
    format_ = Format.of(output)
    with ExitStack() as stack:
        opened = auto_report(report) if report.is_dir() else _open(report, data)
        stack.callback(opened.close)
        cache = stack.enter_context(QueryCache())
        session = _Session(opened, cache, opened.queries(variables))
        needs_maker = format_ in {Format.PNG, Format.PDF, Format.SVG}
        maker = stack.enter_context(PictureMaker()) if needs_maker else None
        views = _draw_all(session)
        write_file(output, render(opened.spec, views, format_, maker=maker, values=opened.spec.values(variables)))
    materialized(
        str(output),
        [str(each.files.path) for each in opened.sources.values() if isinstance(each, DatasetSource)],
        name=opened.spec.title,
    )
    failed = {name: view.error for name, view in views.items() if view.error is not None}
    result = RenderedReport(path=output.resolve(), title=opened.spec.title, charts=list(views), failed=failed)
    _show(result, key=f"report-{_slug(opened.name)}")
    if not failed:
        return result
    message = f"{len(failed)} of {len(views)} charts failed: " + "; ".join(
        f"{name}: {why}" for name, why in failed.items()
    )
    if on_failure is OnFailure.FAIL:
        raise QueryError(message)
    return completed(name="Partial", message=message, data=result)


def _open(report: Path, data: Sequence[Path]) -> Report:
    return Report.open(report, data=list(data), load_block=load_query_source)


def _draw_all(session: _Session) -> dict[str, ChartView]:
    """Every chart, in the order of the report."""
    spec = session.report.spec
    wanted = {chart: spec.query_of(chart) for chart in spec.charts}
    names = list(dict.fromkeys(query for query in wanted.values() if query is not None))
    rows: dict[str, PrefectFuture[pa.Table]] = dict(zip(names, run_query.map(names, unmapped(session)), strict=True))
    drawn = {
        chart: draw_chart.submit(chart, session, None if query is None else allow_failure(rows[query]))
        for chart, query in wanted.items()
    }
    return {chart: future.result() for chart, future in drawn.items()}


@task(task_run_name="query/{name}", cache_policy=NO_CACHE, persist_result=False)
def run_query(name: str, session: _Session) -> pa.Table:
    """The rows of one query of the report, as soon as its source has run it.

    Raises:
        QueryError: the query, or its source, failed.
    """
    with session.cache.submit(session.queries[name]) as handle:
        return handle.result()


@task(task_run_name="chart/{name}", cache_policy=NO_CACHE, persist_result=False)
def draw_chart(name: str, session: _Session, rows: pa.Table | BaseException | None) -> ChartView:
    """One chart with its rows; an error panel where the query failed."""
    config = session.report.spec.charts[name]
    if isinstance(rows, BaseException):
        return error_view(name, config, rows)
    return render_chart(name, config, rows)


@task(task_run_name="compare/{current}", cache_policy=NO_CACHE, persist_result=False)
def compare_datasets(
    base: Path,
    current: Path,
    *,
    key: Sequence[str] = (),
    fail_on: Sequence[str] = (),
    artifact_key: str = "dataset-diff",
) -> DatasetDiff:
    """Compare two datasets and keep the comparison as an artifact.

    Args:
        key: columns that tell rows apart.
        fail_on: conditions such as `schema` or `rows>5%`, see `reports/fail_on.py`.

    Raises:
        ConfigError: a path, the key or a condition is wrong.
        DifferenceError: a condition holds; the artifact is there all the same.
    """
    conditions = [Condition.parse(text) for text in fail_on]
    diff = diff_datasets(base, current, key=key)
    violated = violations(diff, conditions)
    _keep(
        key=artifact_key,
        markdown=diff_markdown(diff, violations=violated),
        description=f"{base.name} and {current.name}",
    )
    if violated:
        raise DifferenceError("the datasets differ: " + "; ".join(violated), violations=violated)
    return diff


def _show(result: RenderedReport, *, key: str) -> None:
    lines = [f"# {result.title}", "", f"{len(result.charts)} charts in `{result.path}`"]
    if result.failed:
        lines += ["", "| chart | error |", "|---|---|"]
        lines += [f"| {name} | {_cell(why)} |" for name, why in result.failed.items()]
    _keep(key=key, markdown="\n".join(lines), description=result.title)


def _keep(*, key: str, markdown: str, description: str) -> None:
    """Artifacts are for people: a server that does not take one is noted in the log, and the run goes on."""
    try:
        create_markdown_artifact(markdown, key=key, description=description)
    except _TROUBLE as error:
        run_log().warning("artifact %s was not kept: %s", key, error)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _slug(name: str) -> str:
    """The name as keys of artifacts are written: small letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "report"
