"""Errors where people look for them."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import UUID

import pytest
import yaml
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

from prefect_datagen.flows.events import DatasetEvent, asset_key
from tests.flows.configs import samplers
from tests.prefect.runs import artifacts, client, events, logs
from tests.prefect.server import PrefectServer, wait_for

pytestmark = pytest.mark.usefixtures("prefect_api")


def events_of(path: Path, event: DatasetEvent) -> list[dict[str, object]]:
    """Events of a dataset, when there is one."""
    found: list[dict[str, object]] = wait_for(lambda: events(asset_key(str(path)), event.value), what=event.value)
    return found


def test_every_place_tells_the_same_story(server: PrefectServer, tmp_path: Path) -> None:
    """State of the flow run and of the task run, log, card, record, event, last line and exit code."""
    cut = {"name": "cut", "processor_type": "filter", "condition": "mood <> 'sad'", "stage": "pre_batch"}
    file = tmp_path / "dataset.yaml"
    file.write_text(yaml.safe_dump(samplers(processors=[cut])))
    out = tmp_path / "out"
    words = ("-n", "20", "-o", str(out), "--seed", "7", "--row-group-size", "20")
    failed = server.run("build", str(file), *words, code=1)

    metadata = json.loads((out / "metadata.json").read_text())
    run = UUID(metadata["flow_run_id"])
    story = "pre_batch, row group 0: processor 'cut': 20 rows went in"
    assert story in failed.stderr.splitlines()[-1], failed.stderr
    assert metadata["status"] == "failed"
    assert story in metadata["reasons"][0]
    (event,) = events_of(out, DatasetEvent.FAILED)
    assert story in str(event["payload"])
    with client() as api:
        state = api.read_flow_run(run).state

        def failed_tasks() -> dict[str, str]:
            only = FlowRunFilter(id=FlowRunFilterId(any_=[run]))
            tasks = api.read_task_runs(flow_run_filter=only)
            return {task.name: task.state.message or "" for task in tasks if task.state and task.state.is_failed()}

        tasks = wait_for(lambda: len(found := failed_tasks()) == 2 and found, what="the failed task runs")
    assert state is not None
    assert state.is_failed()
    assert story in (state.message or "")
    assert set(tasks) == {"process-row-group-00000", "rg-00000/pre_batch"}
    assert all(story in message for message in tasks.values()), tasks
    shown = wait_for(lambda: "markdown" in (found := artifacts(run)) and found, what="the artifacts")
    assert story in shown["markdown"].replace("\\", "")
    assert story in shown["table"]
    wait_for(lambda: story in logs(run), what="the log")
