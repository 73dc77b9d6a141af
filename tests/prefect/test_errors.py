"""Errors where people look for them, what a run leaves behind however it ends, and that no key is left anywhere."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from uuid import UUID

import pytest
import yaml
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.states import Cancelling

from prefect_datagen.blocks import ModelEndpoint
from prefect_datagen.engine.outcomes import Verdict
from prefect_datagen.flows.events import DatasetEvent, asset_key
from tests.flows.configs import feedback, samplers
from tests.mock_server import MockServer
from tests.prefect.runs import POOL, artifacts, client, ended, events, logs, start
from tests.prefect.server import PrefectServer, wait_for
from tests.prefect_api import deploy

pytestmark = pytest.mark.usefixtures("prefect_api")

CANARY = "sk-canary-51c0ffee93ab"
ONE_BY_ONE = ["run.row_group_size=4", "run.max_concurrent_row_groups=1", "run.seed=7"]


def events_of(path: Path, event: DatasetEvent) -> list[dict[str, object]]:
    """Events of a dataset, when there is one."""
    found: list[dict[str, object]] = wait_for(lambda: events(asset_key(str(path)), event.value), what=event.value)
    return found


def process_of(run: UUID) -> int:
    """The process that a worker runs a flow run in."""

    def pid() -> int | None:
        with client() as api:
            found = api.read_flow_run(run).infrastructure_pid
        return None if found is None else int(found.rpartition(":")[2])

    found: int = wait_for(pid, what="the process of the flow run")
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


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("how", ["cancelled", "killed"])
def test_a_run_that_is_ended_from_outside_leaves_a_dataset_that_a_second_run_finishes(
    mock_server: MockServer, tmp_path: Path, how: str
) -> None:
    """Cancelled as the UI does it, or its process killed; the hook tells what there is."""
    file = tmp_path / "dataset.yaml"
    file.write_text(yaml.safe_dump(feedback(mock_server.url)))
    out = tmp_path / "out"
    deploy(file, name=how, num_records=12, output=str(out), work_pool=POOL, settings=ONE_BY_ONE)
    mock_server.become()
    first = start(f"build-dataset/{how}", num_records=4)
    assert ended(first).state_name == "Completed"
    mock_server.control(hold=True)
    second = start(f"build-dataset/{how}")
    mock_server.wait_until(lambda stats: stats.in_flight > 0, timeout=120)
    if how == "cancelled":
        with client() as api:
            api.set_flow_run_state(second, Cancelling(), force=True)
    else:
        os.kill(process_of(second), signal.SIGKILL)
    state = ended(second).state
    assert state is not None
    assert state.type.value == {"cancelled": "CANCELLED", "killed": "CRASHED"}[how]

    def is_settled() -> bool:
        return bool(json.loads((out / "metadata.json").read_text())["status"] == Verdict.INTERRUPTED.value)

    wait_for(is_settled, what="the record of the run that was ended")
    if how == "killed":
        assert events_of(out, DatasetEvent.FAILED)
        wait_for(lambda: f"4 rows are committed in {out}" in logs(second), what="the hook's line in the log")
    mock_server.control(hold=False)
    third = ended(start(f"build-dataset/{how}"))
    assert third.state_name == "Completed"
    assert json.loads((out / "metadata.json").read_text())["actual_num_records"] == 12


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("fails", [False, True])
def test_a_key_in_a_block_is_nowhere_to_be_found(
    server: PrefectServer, mock_server: MockServer, tmp_path: Path, fails: bool
) -> None:
    """Neither in the server's database and log, nor in what a worker's run writes: dataset, journal, traces, results."""
    name = f"canary-{fails}".lower()
    ModelEndpoint(provider="endpoint", base_url=mock_server.url, api_key=CANARY).save(name, overwrite=True)
    file = tmp_path / "dataset.yaml"
    file.write_text(yaml.safe_dump(feedback(mock_server.url)))
    out = tmp_path / "out"
    settings = [*ONE_BY_ONE, "run.trace=true"]
    block = [f"model-endpoint/{name}"]
    deploy(file, name=name, num_records=8, output=str(out), work_pool=POOL, settings=settings, endpoint_block=block)
    wrong = {"fail_prompt_regex": ".", "fail_prompt_code": "401"} if fails else {}
    mock_server.become(require_key=CANARY, **wrong)
    run = start(f"build-dataset/{name}")
    state = ended(run).state
    assert state is not None
    assert state.is_failed() is fails, state.message
    assert mock_server.stats().calls > 0
    wait_for(lambda: logs(run), what="the run's log")
    written = [path for path in out.rglob("*") if path.is_file()]
    assert written
    places = [*written, server.home / "server.log", *(server.home / "storage").rglob("*"), *server.home.rglob("*.log")]
    assert not [path for path in places if path.is_file() and CANARY.encode() in path.read_bytes()]
    assert CANARY not in (state.message or "") + logs(run) + str(artifacts(run)) + str(events(asset_key(str(out))))
    assert CANARY.encode() not in server.stored_bytes()
