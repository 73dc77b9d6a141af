"""A report as a deployment with a schedule, run by a real worker process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from prefect.deployments.runner import RunnerDeployment
from prefect.types.entrypoint import EntrypointType

from prefect_datagen.flows.report import render_report
from tests.prefect.runs import POOL, artifacts, client, ended, start
from tests.reports.datasets import write_dataset

REPORT = """
title: Every morning
charts:
  rows: {type: kpi, title: Rows, value: n, sql: SELECT count(*) AS n FROM data}
  bad: {type: bar, title: Broken, x: a, y: b, sql: SELECT nope FROM data}
"""


@pytest.mark.usefixtures("worker")
def test_a_report_is_drawn_by_a_worker_on_a_schedule(tmp_path: Path) -> None:
    """Query and chart are task runs; the file and the artifact are there; the state is the one that was asked for."""
    dataset = write_dataset(tmp_path / "ds", groups=2, size=20)
    (tmp_path / "report.yaml").write_text(REPORT)
    RunnerDeployment.from_flow(
        render_report,
        "every-morning",
        cron="0 6 * * *",
        parameters={
            "report": str(tmp_path / "report.yaml"),
            "data": [str(dataset)],
            "output": str(tmp_path / "out.html"),
        },
        entrypoint_type=EntrypointType.MODULE_PATH,
    ).apply(work_pool_name=POOL)
    with client() as api:
        deployment = api.read_deployment_by_name("render-report/every-morning")
    assert [each.schedule.cron for each in deployment.schedules] == ["0 6 * * *"]  # type: ignore[union-attr]

    partial = start("render-report/every-morning")
    failing = start("render-report/every-morning", on_failure="fail", output=str(tmp_path / "out.json"))
    run = ended(partial)
    assert run.state is not None
    assert (run.state.type.value, run.state.name) == ("COMPLETED", "Partial"), run.state.message
    assert run.state.message is not None
    assert run.state.message.startswith("1 of 2 charts failed: bad:")
    assert "This chart could not be drawn" in (tmp_path / "out.html").read_text()
    assert "| bad |" in artifacts(partial)["markdown"]
    failed = ended(failing)
    assert failed.state is not None
    assert failed.state.is_failed()
    charts = {chart["id"]: chart for chart in json.loads((tmp_path / "out.json").read_text())["charts"]}
    assert charts["rows"]["rows"] == [{"n": 36}]
    assert charts["bad"]["error"]
