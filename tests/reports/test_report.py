"""A report gets its charts one by one, each as soon as its own rows are there."""

from __future__ import annotations

import asyncio
from concurrent.futures import CancelledError
from typing import Any

import pyarrow as pa
import pytest

from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.reports.errors import QueryError
from prefect_datagen.reports.query_cache import QueryCache
from prefect_datagen.reports.report import Report
from prefect_datagen.reports.spec import ReportSpec
from tests.reports.datasets import write_dataset

DEADLINE = 20.0


def report(make_source, charts: dict[str, Any]) -> tuple[Report, Any]:
    source = make_source()
    for word in ("one", "two", "three"):
        source.answer(word, pa.table({"v": [word]}))
    spec = ReportSpec.model_validate({"sources": {"s": {"type": "dataset"}}, "charts": charts})
    return Report(spec, {"s": source}), source


def kpi(sql: str) -> dict[str, Any]:
    return {"type": "kpi", "value": "v", "sql": sql}


def test_a_chart_waits_for_its_own_query_only(make_source):
    made, source = report(make_source, {"slow": kpi("one"), "quick": kpi("two")})
    gate = source.gate("one")
    with QueryCache() as cache:
        run = made.start(cache)
        ready = run.as_ready()
        assert next(ready).id == "quick"
        gate.open()
        assert next(ready).id == "slow"


def test_the_same_query_under_three_names_runs_once(make_source):
    made, _ = report(make_source, {"a": kpi("one"), "b": kpi("one -- again"), "c": kpi("ONE".lower())})
    with QueryCache() as cache:
        assert list(made.start(cache).views()) == ["a", "b", "c"]
        assert cache.statistics().executions == 1


def test_a_failed_query_is_the_error_panel_of_its_chart_only(make_source):
    made, source = report(make_source, {"bad": kpi("one"), "good": kpi("two")})
    source.fail("one", QueryError("no such column"))
    with QueryCache() as cache:
        views = made.start(cache).views()
    assert {name: view.error for name, view in views.items()} == {"bad": "no such column", "good": None}


def test_leaving_a_run_cancels_what_nobody_else_waits_for(make_source):
    made, source = report(make_source, {"a": kpi("one"), "b": kpi("two")})
    first, second = source.gate("one"), source.gate("two")
    with QueryCache() as cache:
        run, other = made.start(cache), cache.submit(made.queries()["b"])
        assert first.entered.wait(DEADLINE)
        assert second.entered.wait(DEADLINE)
        run.leave()
        assert first.interrupted.wait(DEADLINE)
        with pytest.raises(CancelledError):
            run.view("a")
        assert not second.interrupted.is_set()
        second.open()
        assert other.result(DEADLINE).num_rows == 1


def test_charts_can_be_awaited(make_source):
    made, _ = report(make_source, {"a": kpi("one")})

    async def first() -> pa.Table:
        handle = made.start(cache).handles["a"]
        assert handle is not None
        return await handle

    with QueryCache() as cache:
        assert asyncio.run(first())["v"].to_pylist() == ["one"]


def test_values_reach_the_queries(tmp_path):
    spec = ReportSpec.model_validate(
        {
            "variables": {
                "categories": {"type": "text", "multiple": True, "default": ["books"]},
                "least": {"type": "integer", "default": 1},
            },
            "charts": {
                "n": {
                    "type": "kpi",
                    "value": "n",
                    "sql": "SELECT count(*) AS n FROM data WHERE category IN {{ variables.categories }} AND score >= :least",
                }
            },
        }
    )
    path = write_dataset(tmp_path / "ds", groups=2, size=40)
    with Report.open(spec, data=[path]) as made, QueryCache() as cache:

        def count(**values: object) -> int:
            view = made.start(cache, values).view("n", timeout=DEADLINE)
            assert view.error is None
            return int(view.data["rows"][0]["n"])

        everything = count(categories=["books", "garden", "kitchen", "music", "toys"])
        assert everything == 76
        assert 0 < count() < everything
        assert count(categories=[]) == 0
        assert count(categories=["books' OR '1'='1"]) == 0
        assert count(least=5) <= count()
        with pytest.raises(ConfigError, match="no whole number"):
            made.start(cache, {"least": "x"})


class TestOpening:
    SPEC = ReportSpec.model_validate({"charts": {"n": {"type": "kpi", "value": "n", "sql": "SELECT 1 AS n"}}})

    def test_a_report_needs_a_dataset_for_its_source(self):
        with pytest.raises(ConfigError, match="source 'data' has no dataset"):
            Report.open(self.SPEC)

    def test_more_datasets_than_sources_are_refused(self, tmp_path):
        path = write_dataset(tmp_path / "ds", groups=1, size=10)
        with pytest.raises(ConfigError, match="has room for 1"):
            Report.open(self.SPEC, data=[path, path])

    def test_datasets_can_be_given_by_name(self, tmp_path):
        path = write_dataset(tmp_path / "ds", groups=1, size=10)
        with Report.open(self.SPEC, data={"data": path}) as made:
            assert made.sources["data"].identity.endswith("/ds")
        with pytest.raises(ConfigError, match="'other' is no dataset source"):
            Report.open(self.SPEC, data={"other": path})

    def test_a_password_comes_from_the_environment(self):
        spec = self.SPEC.model_copy(
            update={"sources": ReportSpec.model_validate(
                {"charts": {"t": {"type": "text", "markdown": "x"}},
                 "sources": {"db": {"type": "sqlalchemy", "url": "sqlite:///${NO_SUCH_VARIABLE_HERE}"}}}
            ).sources}
        )  # fmt: skip
        with pytest.raises(ConfigError, match="NO_SUCH_VARIABLE_HERE, which is not set"):
            Report.open(spec)

    def test_a_block_needs_somebody_who_loads_it(self, make_source):
        spec = ReportSpec.model_validate(
            {
                "sources": {"w": {"type": "block", "block": "warehouse"}},
                "charts": {"n": {"type": "kpi", "value": "v", "sql": "one"}},
            }
        )
        with pytest.raises(ConfigError, match="is a Prefect block"):
            Report.open(spec)
        source = make_source("warehouse")
        source.answer("one", pa.table({"v": [1]}))
        with Report.open(spec, load_block=lambda name, limits: source) as made, QueryCache() as cache:
            assert made.start(cache).view("n").error is None
