"""What tests ask Prefect's server about a flow run, and a deployment to run."""

from __future__ import annotations

import time
from collections.abc import Collection
from pathlib import Path
from typing import Any
from uuid import UUID

import click
from prefect import State
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import TaskRun
from prefect.client.schemas.sorting import TaskRunSort

from prefect_datagen.cli.deploy import deploy as deploy_command

_FINAL = {"Completed", "Cached", "Failed", "Dropped", "Skipped", "Partial", "Aborted", "Crashed", "Cancelled"}


def task_run_states(
    state: State[Any], *, count: int = 1, settled: Collection[str] = (), timeout: float = 240.0
) -> dict[str, str]:
    """Name and state of every task run of a flow run, those that stand for subflows left out, as the server has them.

    The server learns of task runs a little after the fact: this asks until there are `count` of them, all that it knows in
    a final state, or in one of `settled`.
    """
    with get_client(sync_client=True) as client:
        deadline = time.monotonic() + timeout
        while True:
            runs = [run for run in _task_runs(client, state) if _child(run) is None]
            found = {run.name: run.state_name or "" for run in runs}
            if len(found) >= count and all(name in _FINAL or name in settled for name in found.values()):
                return found
            assert time.monotonic() < deadline, found


def subflow_run_names(state: State[Any]) -> list[str]:
    """Names of the subflow runs of a flow run, sorted."""
    with get_client(sync_client=True) as client:
        children = [child for run in _task_runs(client, state) if (child := _child(run)) is not None]
        return sorted(client.read_flow_run(child).name for child in children)


def _task_runs(client: SyncPrefectClient, state: State[Any]) -> list[TaskRun]:
    flow_run = state.state_details.flow_run_id
    assert flow_run is not None
    return client.read_task_runs(
        flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[flow_run])), sort=TaskRunSort.NAME_ASC, limit=200
    )


def _child(run: TaskRun) -> UUID | None:
    return run.state.state_details.child_flow_run_id if run.state is not None else None


def deploy(config: Path, **options: Any) -> None:
    """`prefect-datagen deploy`, in this process; options by the names of the function's arguments."""
    click.Context(deploy_command).invoke(deploy_command, config=config, **options)
