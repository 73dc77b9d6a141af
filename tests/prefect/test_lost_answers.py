"""Answers of Prefect's API are lost on their way: what was built, or went wrong, reaches the caller all the same.

The client repeats such a request, and the server, which has done it, answers with the state as it has stored it: without
its result.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect import State, flow
from prefect.events import emit_event
from prefect.exceptions import MissingResult
from prefect.settings import PREFECT_API_URL, temporary_settings

from prefect_datagen.blocks import ParquetRowGroupSink
from prefect_datagen.engine.errors import DatagenError, EarlyShutdownError
from prefect_datagen.flows.build import build_dataset
from prefect_datagen.flows.chain import ChainPreview, chain_datasets
from prefect_datagen.flows.partitions import backfill_dataset
from prefect_datagen.flows.preview import preview_dataset
from tests.flows.configs import feedback, samplers
from tests.flows.workflows import lines, notes, people, workflow
from tests.mock_server import MockServer
from tests.prefect.lossy import CUT, LossyProxy
from tests.prefect.runs import ended, start
from tests.prefect.server import PrefectServer, wait_for
from tests.prefect_api import deploy


@pytest.fixture
def proxy(server: PrefectServer) -> Iterator[LossyProxy]:
    """Between this process and the server."""
    emit_event("tests.began", {"prefect.resource.id": "tests"})  # events have a connection of their own, made once
    with LossyProxy(server.port) as proxy, temporary_settings({PREFECT_API_URL: proxy.url}):
        yield proxy


def test_prefect_loses_the_result_of_a_flow_whose_last_answer_is_lost(proxy: LossyProxy) -> None:
    """What the flows of this package are guarded against. When this fails, Prefect does it: `flows/ending.py` may go."""

    @flow
    def plain() -> State[int]:
        from prefect.states import Completed

        return Completed(data=1)

    with pytest.raises(MissingResult):
        plain()
    assert proxy.lost == ["COMPLETED"]


def test_a_build_keeps_its_result_and_its_state_its_name(proxy: LossyProxy, tmp_path: Path) -> None:
    result = build_dataset(samplers(), num_records=3, sink=ParquetRowGroupSink(path=tmp_path / "a"))
    assert result.metadata.actual_num_records == 3
    state = build_dataset(samplers(), num_records=3, sink=ParquetRowGroupSink(path=tmp_path / "b"), return_state=True)
    assert state.is_completed()
    assert state.result().metadata.actual_num_records == 3
    assert proxy.lost == ["COMPLETED", "COMPLETED"]


def test_a_failed_build_keeps_its_error(proxy: LossyProxy, mock_server: MockServer, tmp_path: Path) -> None:
    """The error itself, not only its text: it tells stage and row group, and the command line its exit code."""
    mock_server.become(errors=["400:1"])
    words: dict[str, Any] = {"num_records": 40, "sink": ParquetRowGroupSink(path=tmp_path)}
    config = feedback(mock_server.url)
    with pytest.raises(EarlyShutdownError) as raised:
        build_dataset(config, **words)
    state = build_dataset(config, **words, return_state=True)
    error = state.result(raise_on_failure=False)
    assert isinstance(error, EarlyShutdownError)
    assert error.context().keys() == raised.value.context().keys()
    assert proxy.lost == ["FAILED", "FAILED"]


def test_previews_keep_their_rows(proxy: LossyProxy, tmp_path: Path) -> None:
    assert len(preview_dataset(samplers(), num_records=3).dataset) == 3
    chained = chain_datasets(workflow(tmp_path / "out", people(), notes()), preview=2)
    assert isinstance(chained, ChainPreview)
    assert {name: len(stage.dataset) for name, stage in chained.stages.items()} == {"people": 2, "notes": 2}
    assert proxy.lost == ["COMPLETED"] * 4


def test_a_chain_goes_on_after_each_stage_and_names_the_one_that_failed(
    proxy: LossyProxy, mock_server: MockServer, tmp_path: Path
) -> None:
    quick = {"retry_deadline_seconds": 0.5}
    stages = workflow(tmp_path / "out", people(), notes(mock_server.url), lines(), run=quick)
    mock_server.become(down_after=7, down_code="503", retry_after=0)
    failed = chain_datasets(stages, return_state=True)
    assert failed.is_failed()
    error = failed.result(raise_on_failure=False)
    assert isinstance(error, DatagenError)
    assert error.context()["chain_stage"] == "notes"
    mock_server.become()
    built = chain_datasets(stages)
    assert {name: stage.outcome for name, stage in built.stages.items()} == {
        "people": "cached",
        "notes": "built",
        "lines": "built",
    }
    assert sorted(proxy.lost) == ["COMPLETED"] * 4 + ["FAILED"] * 2
    assert mock_server.stats().repeated_requests == 0


def test_partitions_are_built_and_told_one_after_another(proxy: LossyProxy, tmp_path: Path) -> None:
    records = backfill_dataset(
        {"columns": [{"name": "day", "column_type": "expression", "expr": "${date}"}]},
        num_records=2,
        sink=ParquetRowGroupSink(path=tmp_path),
        partitions={"date": ["2026-01-01", "2026-01-02"]},
    )
    assert [(record.partition["date"], record.rows) for record in records] == [("2026-01-01", 2), ("2026-01-02", 2)]
    assert proxy.lost == ["COMPLETED"] * 3


def test_commands_end_as_ever(server: PrefectServer, tmp_path: Path) -> None:
    """Here the connections are cut, and the client waits for a while before it asks again."""
    file = tmp_path / "dataset.yaml"
    file.write_text(yaml.safe_dump(samplers()))
    with LossyProxy(server.port, instead=CUT) as proxy:
        told = server.run("build", str(file), "-n", "3", "-o", str(tmp_path / "out"), PREFECT_API_URL=proxy.url)
    assert "3 of 3 rows written" in told.stdout
    assert proxy.lost == ["COMPLETED"]


def test_the_process_of_a_run_under_a_worker_ends_well(server: PrefectServer, tmp_path: Path) -> None:
    """Nobody asks there for the result, but the engine does, at the end."""
    file = tmp_path / "dataset.yaml"
    file.write_text(yaml.safe_dump(samplers()))
    deploy(file, name="lossy", num_records=3, output=str(tmp_path / "out"), work_pool="lossy")
    with (
        LossyProxy(server.port) as proxy,
        server.worker("lossy", log=tmp_path / "worker.log", PREFECT_API_URL=proxy.url) as worker,
    ):
        run = ended(start("build-dataset/lossy"))
        assert run.state_name == "Completed"
        wait_for(lambda: not is_alive(int((run.infrastructure_pid or "").rpartition(":")[2])), what="its process's end")
    assert "Finished in state Completed" in worker.output
    assert "MissingResult" not in worker.output
    assert "exited" not in worker.output  # which a worker says of processes that ended badly
    assert "COMPLETED" in proxy.lost


def is_alive(pid: int) -> bool:
    """Whether there is such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
