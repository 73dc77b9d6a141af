"""A run of a deployment that is cancelled in the UI while calls are in flight."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import yaml
from prefect import State
from prefect.client.orchestration import get_client
from prefect.states import Cancelling, Scheduled

from prefect_datagen.blocks import ParquetRowGroupSink
from prefect_datagen.config.run import RunConfig
from prefect_datagen.engine.outcomes import Outcome, Verdict
from prefect_datagen.flows.build import build_dataset
from prefect_datagen.storage import DatasetReader
from tests.mock_server import MockServer
from tests.prefect.server import PrefectServer, wait_for
from tests.reliability.configs import reviews

BUSY = 300.0
"""Seconds after which even a busy machine has started a flow run in a process of its own."""


def test_a_cancelled_run_leaves_nothing_in_flight_and_a_resumable_dataset(
    server: PrefectServer, mock_server: MockServer, tmp_path: Path
) -> None:
    """Its state is Cancelled and its dataset says interrupted; the next run completes it."""
    config, dataset = tmp_path / "reviews.yaml", tmp_path / "dataset"
    config.write_text(yaml.safe_dump(reviews(mock_server.url)))
    server.run(
        *("deploy", str(config), "--name", "cancelled", "-n", "24", "-o", str(dataset), "--work-pool", "cancellation"),
        *("--seed", "7", "--set", "run.row_group_size=6", "--set", "run.max_concurrent_row_groups=1"),
    )
    mock_server.become(latency_ms=10)
    with (
        server.worker("cancellation", log=tmp_path / "worker.log"),
        get_client(sync_client=True) as client,
    ):
        deployment = client.read_deployment_by_name("build-dataset/cancelled")

        run = client.create_flow_run_from_deployment(deployment.id, state=Scheduled()).id

        def ended() -> State | None:
            state = client.read_flow_run(run).state
            return state if state is not None and state.is_final() else None

        wait_for(lambda: list((dataset / "manifests").glob("*.json")), timeout=BUSY, what="a committed row group")
        mock_server.control(hold=True)
        mock_server.wait_until(lambda stats: stats.in_flight > 0)
        client.set_flow_run_state(run, Cancelling(), force=True)
        state = wait_for(ended, timeout=BUSY, what="the end of the cancelled run")
        assert state.is_cancelled(), state
        assert mock_server.wait_until(lambda stats: stats.in_flight == 0).disconnected > 0
        metadata = wait_for(lambda: DatasetReader(dataset).metadata(), what="its verdict")
        assert metadata.status is Verdict.INTERRUPTED
        kinds = {outcome.outcome for outcome in metadata.row_groups}
        assert kinds == {Outcome.COMPLETED, Outcome.ABORTED}

    mock_server.control(hold=False)
    state = build_dataset(
        config,
        num_records=24,
        sink=ParquetRowGroupSink(path=dataset),
        run=RunConfig(seed=7, row_group_size=6),
        return_state=True,
    )
    assert state.is_completed(), state
    assert len(pd.read_parquet(dataset / "data")) == 24
    assert mock_server.stats().repeated_requests == 0
