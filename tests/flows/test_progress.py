"""What a run shows while it goes on: snapshots, and lines in Prefect's logs about what it waits for."""

from __future__ import annotations

import dataclasses
import re
import threading
import time
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect import State
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId

from prefect_datagen import progress_to
from prefect_datagen.blocks import ParquetRowGroupSink
from prefect_datagen.config.run import RunConfig
from prefect_datagen.flows import artifacts
from prefect_datagen.flows.build import build_dataset
from prefect_datagen.flows.progress import ProgressSnapshot
from tests.flows.configs import feedback, samplers
from tests.mock_server import MockServer

pytestmark = pytest.mark.usefixtures("prefect_api")


def build(config: Any, path: Path, rows: int, **run: Any) -> tuple[UUID, State[Any], list[ProgressSnapshot]]:
    """Build; the flow run's id, its state, and the snapshots that were told."""
    seen: list[ProgressSnapshot] = []
    with progress_to(seen.append):
        state: State[Any] = build_dataset(
            config,
            num_records=rows,
            sink=ParquetRowGroupSink(path=path),
            run=RunConfig.model_validate({"seed": 7, **run}),
            return_state=True,
        )
    run_id = state.state_details.flow_run_id
    assert run_id is not None
    return run_id, state, seen


def logged(run_id: UUID, *wanted: str) -> list[str]:
    """Messages in Prefect's logs of this run, once they hold all that are wanted; the client sends them in its own time."""
    of_run = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run_id]))
    deadline = time.monotonic() + 60
    while True:
        with get_client(sync_client=True) as client:
            lines = [line.message for line in client.read_logs(of_run, limit=200, offset=0)]
        if all(any(want in line for line in lines) for want in wanted):
            return lines
        assert time.monotonic() < deadline, lines
        time.sleep(0.1)


def test_a_snapshot_is_frozen_and_adds_up(tmp_path: Path) -> None:
    _, _, seen = build(feedback(), tmp_path / "d", 20, row_group_size=5)
    last = seen[-1]
    with pytest.raises(dataclasses.FrozenInstanceError):
        last.rows_done = 3  # type: ignore[misc]
    assert (last.rows_done, last.rows_rejected, last.rows_filtered, last.rows_total) == (20, 0, 0, 20)
    assert (last.row_groups_done, last.row_groups_total, last.cells_in_flight, last.fraction) == (4, 4, 0, 1.0)
    assert [snapshot.rows_done for snapshot in seen] == sorted(snapshot.rows_done for snapshot in seen)


def test_a_call_that_takes_long_and_a_run_that_stands_still_are_in_prefects_logs(
    tmp_path: Path, mock_server: MockServer
) -> None:
    """Each call with its age, model, column and row; the run with what is in flight, ready, deferred, and why."""
    mock_server.become(latency_ms=1_500)
    config = feedback(mock_server.url)
    config["model_configs"][0]["model"] = "slow-progress"  # limits that other runs of this process lead to are kept
    run_id, state, _ = build(config, tmp_path / "d", 10, slow_call_seconds=0.4, progress_interval=0.1)
    assert state.is_completed()
    lines = logged(run_id, "waiting for 'writer'", "nothing finished for")
    waiting = next(line for line in lines if line.startswith("waiting for 'writer' since "))
    assert " s: column 'text', row " in waiting
    still = next(line for line in lines if line.startswith("nothing finished for "))
    assert "in flight 8, ready 2, deferred 0; writer: circuit closed, limit 8" in still


def shown(run_id: UUID, wanted: str) -> str:
    """What the UI shows of a run's progress, once it holds what is wanted: the text of its artifact on the server."""
    of_run = {"artifacts": {"flow_run_id": {"any_": [str(run_id)]}, "type": {"any_": ["progress"]}}}
    deadline = time.monotonic() + 60
    while True:
        with get_client(sync_client=True) as client:
            (artifact,) = client._client.post("/artifacts/filter", json=of_run).raise_for_status().json()
        text: str = artifact["description"]
        if wanted in text:
            return text
        assert time.monotonic() < deadline, text
        time.sleep(0.1)


def test_push_backs_and_the_limit_they_lead_to_are_shown(tmp_path: Path, mock_server: MockServer) -> None:
    mock_server.become(max_in_flight=2, latency_ms=20)
    config = feedback(mock_server.url)
    config["model_configs"][0]["model"] = "narrow-progress"
    run_id, state, seen = build(config, tmp_path / "d", 20, progress_interval=0.05)
    assert state.is_completed()
    refused = mock_server.stats().by_status["429"]
    assert seen[-1].throttled == {"writer": refused}
    limited = f"writer limited to {seen[-1].limits['writer']} at a time after {refused} push-backs"
    assert limited in seen[-1].line()
    assert limited in shown(run_id, limited)


def test_a_circuit_that_is_not_closed_is_shown(tmp_path: Path, mock_server: MockServer) -> None:
    mock_server.become(errors=["500"])
    config = feedback(mock_server.url)
    run = {"shutdown_error_window": 4, "retry_deadline_seconds": 2.0, "progress_interval": 0.05}
    run_id, state, seen = build(config, tmp_path / "d", 30, **run)
    assert state.is_failed()
    assert {snapshot.circuits["writer"] for snapshot in seen} >= {"closed", "half-open", "open"}
    assert "writer circuit open" in seen[-1].line()
    assert "(stopping: stopped early: " in seen[-1].line()
    assert shown(run_id, "writer circuit open") == seen[-1].line()


def test_the_acceptance_of_constraints_is_in_the_log(tmp_path: Path) -> None:
    """Of two independent uniforms half are in order: as it was drawn, once for the run."""
    config = {
        "columns": [
            {"name": name, "column_type": "sampler", "sampler_type": "uniform", "params": {"low": 0, "high": 1}}
            for name in ("low", "high")
        ],
        "constraints": [
            {"constraint_type": "column_inequality", "target_column": "low", "operator": "lt", "rhs": "high"}
        ],
    }
    run_id, state, _ = build(config, tmp_path / "d", 4_000, row_group_size=2_000)
    assert state.is_completed()
    lines = [line for line in logged(run_id, "constraints low < high") if line.startswith("constraints ")]
    assert len(lines) == 1
    told = re.fullmatch(r"constraints low < high: (0\.\d+) of the drawn rows are accepted", lines[0])
    assert told is not None, lines
    assert float(told[1]) == pytest.approx(0.5, abs=0.05)


def test_a_picture_that_comes_after_the_runs_end_is_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread that draws may outlive the flow, and the flow's client; warnings of threads are errors here."""
    real, over = artifacts.create_progress_artifact, threading.Event()

    def late(*args: Any, **options: Any) -> Any:
        over.wait()
        return real(*args, **options)

    monkeypatch.setattr(artifacts, "create_progress_artifact", late)
    monkeypatch.setattr(artifacts, "_PATIENCE", 0.0)
    _, state, _ = build(samplers(), tmp_path, 3)
    assert state.is_completed()
    (drawing,) = (thread for thread in threading.enumerate() if thread.name == "progress-artifact")
    over.set()
    drawing.join()
