"""What a row group costs at Prefect's server, in numbers of requests and events, and how small what passes through it is."""

from __future__ import annotations

import logging
import os
import pickle
import subprocess
import sys
from pathlib import Path
from uuid import UUID

import pandas as pd
import pyarrow as pa
import pytest
from prefect import flow, task
from prefect.client.orchestration import get_client

from benchmarks.orchestration import EVENT, build
from prefect_datagen.blocks import ParquetRowGroupSink
from prefect_datagen.config.dataset import DatasetConfig
from prefect_datagen.config.run import RunConfig
from prefect_datagen.flows.build import build_dataset
from prefect_datagen.storage import DatasetReader
from prefect_datagen.tasks.process_row_group import process_row_group
from prefect_datagen.tasks.ticket import RunTicket
from tests.flows.configs import samplers
from tests.prefect.server import PrefectServer
from tests.prefect_api import task_run_states

pytestmark = pytest.mark.usefixtures("prefect_api")

EVENTS_OF_A_TASK_RUN = 3  # pending, running, completed
ROOT = Path(__file__).parents[2]
OF_TASK_RUNS = f"{EVENT}prefect.task-run."


@pytest.mark.parametrize(("stages", "task_runs"), [("inline", 1), ("tasks", 4)])
def test_a_row_group_is_so_many_task_runs_and_asks_the_server_nothing(
    stages: str, task_runs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[Path] = []
    fsync = os.fsync

    def note(descriptor: int) -> None:
        flushed.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")))
        fsync(descriptor)

    def of_row_groups(size: str) -> int:
        # What two row groups do at once, such as making the first folder, and what comes with time is not counted.
        folders = [tmp_path / size / name for name in ("data", "manifests", ".results")]
        return sum(any(path.is_relative_to(folder) for folder in folders) for path in flushed)

    monkeypatch.setattr(os, "fsync", note)
    _, few = build(tmp_path / "few", row_groups=2, stages=stages)
    _, many = build(tmp_path / "many", row_groups=12, stages=stages)
    # Part, manifest and Prefect's record of it: the file and its folder each.
    assert of_row_groups("few") == 2 * 6
    assert of_row_groups("many") == 12 * 6
    more = many - few  # what runs cost whatever their size is gone
    assert sum(more[name] for name in more if name.startswith(OF_TASK_RUNS)) == 10 * task_runs * EVENTS_OF_A_TASK_RUN
    # Updates of the progress artifact and batches of logs come with time, not with row groups; so do heartbeats.
    by_time = ("POST /api/logs/", "PATCH /api/artifacts/ID")
    requests = {name: count for name, count in more.items() if not name.startswith(EVENT) and name not in by_time}
    # A request is sent again where a busy server did not answer in time: a few more, and fewer than one a row group.
    assert sum(requests.values()) < 10, requests


def test_a_process_that_built_has_told_the_server_all_and_exits_by_itself(
    prefect_api: PrefectServer, tmp_path: Path
) -> None:
    """With the counts of a process of its own: what is sent at its end, after the flow, is seen by the server."""
    script = (
        "import sys; from benchmarks.orchestration import build; from pathlib import Path\n"
        "print(build(Path(sys.argv[1]), row_groups=5, stages='tasks')[1])"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "out")]
    done = subprocess.run(
        command, env=prefect_api.env(), cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert f"'{OF_TASK_RUNS}Completed': 20" in done.stdout
    metadata = DatasetReader(tmp_path / "out").metadata()
    assert metadata is not None
    assert metadata.flow_run_id is not None
    with get_client(sync_client=True) as client:
        state = client.read_flow_run(UUID(metadata.flow_run_id)).state
    assert state is not None
    assert len(task_run_states(state, count=20, timeout=300)) == 20


def test_results_and_parameters_stay_small_whatever_the_rows(tmp_path: Path) -> None:
    build_dataset(
        samplers(),
        num_records=20_000,
        sink=ParquetRowGroupSink(path=str(tmp_path)),
        run=RunConfig(row_group_size=10_000, stages="tasks"),  # type: ignore[arg-type]
    )
    part = (tmp_path / "data" / "part-00000.parquet").stat().st_size
    results = [file.stat().st_size for file in (tmp_path / ".results").rglob("*") if file.is_file()]
    assert len(results) >= 2
    assert max(results) < 16_384 < part


def test_what_a_task_of_a_row_group_is_given_and_returns_holds_no_table(tmp_path: Path) -> None:
    ticket = RunTicket(
        run_id="run",
        config=DatasetConfig.load(samplers()),
        run=RunConfig(),
        seed=1,
        fingerprint="",
        sink=ParquetRowGroupSink(path=str(tmp_path)),
        endpoints=(),
        inline=True,
        writer="",
    )
    assert len(pickle.dumps(ticket)) < 16_384
    names = process_row_group.fn.__annotations__
    assert set(names) == {"ticket", "index", "start", "rows", "label", "return"}
    held = [getattr(ticket, name) for name in RunTicket.__slots__]
    assert not any(isinstance(each, (pd.DataFrame, pa.Table)) for each in held)


def test_the_end_of_a_task_run_is_logged_where_it_is_news(tmp_path: Path) -> None:
    @task
    def seed() -> None:
        """A task of the user's own, of the name of one of ours."""

    @flow
    def others() -> None:
        seed()

    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    log = logging.getLogger("prefect.task_runs")
    log.addHandler(handler)
    try:
        sink, run = ParquetRowGroupSink(path=str(tmp_path)), RunConfig(row_group_size=5, stages="tasks", seed=1)  # type: ignore[arg-type]
        build_dataset(samplers(), num_records=10, sink=sink, run=run)
        assert lines == []
        build_dataset(samplers(), num_records=10, sink=sink, run=run)
        assert len(lines) == 2
        assert all(line.startswith("Finished in state Cached") for line in lines)
        others()
        assert lines[2:] == ["Finished in state Completed()"]
    finally:
        log.removeHandler(handler)
