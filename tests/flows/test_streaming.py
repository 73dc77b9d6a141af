"""Stages that begin while the stage before them is still being built."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from prefect import State

from prefect_datagen.blocks import ParquetRowGroupSink
from prefect_datagen.flows.chain import ChainResult, chain_datasets
from prefect_datagen.storage import DatasetReader
from tests.flows.stream_code import GATE
from tests.flows.workflows import numbers, opened, workflow, written
from tests.mock_server import MockServer
from tests.prefect_api import task_run_states

pytestmark = pytest.mark.usefixtures("prefect_api")


@pytest.fixture
def gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A closed gate: the third row group of `numbers` waits until it is opened."""
    folder = tmp_path / "gate"
    folder.mkdir()
    monkeypatch.setenv(GATE, str(folder))
    return folder


def run(config: dict[str, Any], **arguments: Any) -> tuple[State[Any], dict[str, str]]:
    """Run a workflow: its final state, and the outcome of each stage."""
    state: State[Any] = chain_datasets(config, **arguments, return_state=True)
    result = state.result(raise_on_failure=False)
    outcomes = result.stages.items() if isinstance(result, ChainResult) else ()
    return state, {name: stage.outcome.value for name, stage in outcomes}


def parts(path: Path) -> list[tuple[int, int, int, str | None]]:
    """Begin, size, rows and content of each row group."""
    manifests = DatasetReader(path).committed().values()
    return [(each.start_row, each.planned, each.written, each.part_sha256) for each in manifests]


def load(path: Path) -> pd.DataFrame:
    """A dataset."""
    return ParquetRowGroupSink(path=path).reader().load()


def test_a_stage_begins_with_the_row_groups_that_are_there(tmp_path: Path, gate: Path) -> None:
    """The first stage cannot end before the second one has made a row; the datasets are those of a run without streams."""
    streamed = workflow(tmp_path / "streamed", numbers(), opened())
    state, outcomes = run(streamed)
    assert state.name == "Completed"
    assert outcomes == {"numbers": "built", "opened": "built"}

    state, _ = run(workflow(tmp_path / "whole", numbers(hand_off="whole"), opened()))
    assert state.name == "Completed"
    for stage in ("numbers", "opened"):
        assert parts(tmp_path / "streamed" / stage) == parts(tmp_path / "whole" / stage)
    assert list(load(tmp_path / "streamed" / "opened")["text"]) == [f"<{number}>" for number in range(18)]

    state, outcomes = run(streamed)
    assert (state.name, outcomes) == ("Cached", {"numbers": "cached", "opened": "cached"})


def test_a_third_stage_follows_the_second_one(tmp_path: Path, gate: Path) -> None:
    """All three are at work at once: the last one opens the gate of the first."""
    between = opened(name="between", config={"columns": [_expression("twice", "{{ number * 2 }}")]})
    state, _ = run(workflow(tmp_path, numbers(), between, opened(seeds_from="between")))
    assert state.name == "Completed"
    last = load(tmp_path / "opened")
    assert list(last["text"]) == [f"<{number}>" for number in range(18)]
    assert list(last["twice"].astype(int)) == [number * 2 for number in range(18)]


def test_rows_that_the_earlier_stage_lost_are_not_waited_for(tmp_path: Path, gate: Path) -> None:
    """The number of rows is that of the rows that are there in the end, and row groups are cut as if it had been known."""
    (gate / "rejecting").touch()
    settings = {"run": {"on_shortfall": "warn", "max_retries": 0, "salvage_rounds": 0}}
    state, _ = run(workflow(tmp_path, numbers(), opened(), **settings))
    assert state.name == "Partial"
    assert list(load(tmp_path / "opened")["number"]) == [number for number in range(18) if number != 3]
    assert [planned for _, planned, _, _ in parts(tmp_path / "opened")] == [5, 5, 5, 2]


def test_no_row_is_handed_on_once_it_is_sure_that_the_stage_fails(tmp_path: Path, gate: Path) -> None:
    """The second stage, which might cost something, does not begin."""
    for name in ("rejecting", "open"):
        (gate / name).touch()
    state, _ = run(workflow(tmp_path, numbers(), opened(), run={"max_retries": 0, "salvage_rounds": 0}))
    assert state.is_failed()
    states = task_run_states(state, count=2, settled={"NotReady"})
    assert states == {"stage-numbers": "Failed", "stage-opened": "NotReady"}
    assert not (tmp_path / "opened").exists()


def test_where_the_earlier_stage_fails_the_later_one_keeps_what_it_made(
    tmp_path: Path, gate: Path, mock_server: MockServer
) -> None:
    (gate / "broken").touch()
    config = workflow(tmp_path, numbers(), opened(), written(mock_server.url))
    state, _ = run(config)
    assert state.is_failed()
    assert "chain stage numbers: " in str(state.message)
    states = task_run_states(state, count=3)
    assert states == {"stage-numbers": "Failed", "stage-opened": "Aborted", "stage-written": "Aborted"}
    kept = parts(tmp_path / "opened")
    assert len(kept) in (1, 2)

    (gate / "broken").unlink()
    state, outcomes = run(config)
    assert (state.name, outcomes) == ("Completed", dict.fromkeys(("numbers", "opened", "written"), "built"))
    assert parts(tmp_path / "opened")[: len(kept)] == kept
    assert load(tmp_path / "written")["number"].tolist() == list(range(18))
    assert mock_server.stats().repeated_requests == 0


def test_more_rows_of_the_earlier_stage_extend_the_later_one(
    tmp_path: Path, gate: Path, mock_server: MockServer
) -> None:
    (gate / "open").touch()
    run(workflow(tmp_path, numbers(10), written(mock_server.url)))
    before = parts(tmp_path / "written")
    mock_server.become()
    state, _ = run(workflow(tmp_path, numbers(20), written(mock_server.url)))
    assert state.name == "Completed"
    assert parts(tmp_path / "written")[:2] == before
    assert load(tmp_path / "written")["number"].tolist() == list(range(20))
    assert mock_server.stats().calls == 10


def test_other_rows_of_the_earlier_stage_set_the_later_one_aside(tmp_path: Path, gate: Path) -> None:
    (gate / "open").touch()
    run(workflow(tmp_path, numbers(10), opened()))
    seed = {"source": {"seed_type": "duckdb", "query": "SELECT 100 - range AS number FROM range(100)"}}
    other = numbers(10)
    other["config"]["seed_config"] = seed
    _, outcomes = run(workflow(tmp_path, other, opened()))
    assert outcomes == {"numbers": "built", "opened": "built"}
    assert load(tmp_path / "opened")["number"].tolist() == list(range(100, 90, -1))


def test_rows_beyond_the_last_seed_row_begin_anew_and_are_made_again_where_there_are_more(
    tmp_path: Path, gate: Path
) -> None:
    """What was the first seed row again is another one, once the earlier stage has more rows."""
    (gate / "open").touch()
    later = opened(num_records=12)
    run(workflow(tmp_path, numbers(8), later))
    assert load(tmp_path / "opened")["number"].tolist() == [*range(8), *range(4)]
    _, outcomes = run(workflow(tmp_path, numbers(8), later))
    assert outcomes["opened"] == "cached"
    _, outcomes = run(workflow(tmp_path, numbers(16), later))
    assert outcomes["opened"] == "built"
    assert load(tmp_path / "opened")["number"].tolist() == list(range(12))


def _expression(name: str, text: str) -> dict[str, Any]:
    return {"name": name, "column_type": "expression", "expr": text}
