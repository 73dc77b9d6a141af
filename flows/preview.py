"""The flow `preview-dataset`: a few rows, in memory. The same path as a build; nothing is written to disk."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from prefect import State
from pydantic import Field

from prefect_datagen.blocks.memory_sink import InMemoryRowGroupSink
from prefect_datagen.config.dataset import DatasetConfig
from prefect_datagen.config.run import RunConfig, TaskRunnerKind
from prefect_datagen.flows.ending import keep_result
from prefect_datagen.flows.lifecycle import RunRequest, execute, final_state
from prefect_datagen.flows.parameters import Endpoints, read, read_count, read_endpoints
from prefect_datagen.flows.quick_flow import flow
from prefect_datagen.flows.results import PreviewResult
from prefect_datagen.storage.store import RowGroupStore


@flow(
    name="preview-dataset",
    flow_run_name="preview-{num_records}-rows",
    retries=0,
    validate_parameters=False,
    on_completion=[keep_result],
)
def preview_dataset(
    config: DatasetConfig | dict[str, Any] | Path | str,
    *,
    num_records: Annotated[int, Field(ge=0, description="Rows to make.")] = 10,
    run: RunConfig = RunConfig(),  # noqa: B008 - frozen
    endpoints: Endpoints = [],  # noqa: B006 - Prefect copies parameters
    on_row_group_complete: Any = None,
) -> PreviewResult | State[PreviewResult]:
    """Make `num_records` rows of `config` and return them; for the arguments and errors see `build_dataset`.

    Returns:
        The rows with their rejects, traces and metadata.
    """
    rows = read_count(num_records)
    run = read(run, RunConfig, name="run").model_copy(
        update={"trace": True, "journal": False, "task_runner": TaskRunnerKind.THREADS, "cluster": None}
    )
    preview: list[PreviewResult] = []
    sink = InMemoryRowGroupSink()

    def take(store: RowGroupStore) -> None:
        metadata = store.metadata()
        assert metadata is not None
        preview.append(
            PreviewResult(
                dataset=store.load(),
                rejects=store.rejects(),
                task_traces=store.traces().to_pandas(),
                metadata=metadata,
            )
        )

    request = RunRequest(config, rows, sink, run, read_endpoints(endpoints), on_row_group_complete)
    finished = execute(request, read=take)
    return final_state(finished, run, preview[0] if preview else None)
