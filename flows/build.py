"""The flow `build-dataset`: a config becomes a dataset directory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import State
from prefect.states import Cancelled

from prefect_datagen.blocks.parquet_sink import ParquetRowGroupSink
from prefect_datagen.config.dataset import DatasetConfig
from prefect_datagen.config.run import RunConfig
from prefect_datagen.config.target import Target
from prefect_datagen.engine.errors import DatagenError
from prefect_datagen.flows.ending import keep_result
from prefect_datagen.flows.events import DatasetNews
from prefect_datagen.flows.hooks import settle
from prefect_datagen.flows.lifecycle import Finished, RunRequest, execute, final_state
from prefect_datagen.flows.parameters import Endpoints, NumRecords, read, read_count, read_endpoints, read_sink
from prefect_datagen.flows.placement import lateness, place
from prefect_datagen.flows.quick_flow import flow
from prefect_datagen.flows.results import BuildResult


@flow(
    name="build-dataset",
    flow_run_name="build-{num_records}-rows",
    retries=0,
    validate_parameters=False,
    on_completion=[keep_result],
    on_failure=[settle],
    on_cancellation=[settle],
    on_crashed=[settle],
)
def build_dataset(
    config: DatasetConfig | dict[str, Any] | Path | str,
    *,
    num_records: NumRecords,
    sink: ParquetRowGroupSink,
    run: RunConfig = RunConfig(),  # noqa: B008 - frozen
    endpoints: Endpoints = [],  # noqa: B006 - Prefect copies parameters
    target: Target = Target(),  # noqa: B008 - frozen
    on_row_group_complete: Any = None,
) -> BuildResult | State[BuildResult]:
    """Build a dataset: `num_records` rows of `config` into `sink`.

    Args:
        config: the dataset: a `DatasetConfig`, a dict, a YAML text, or the path of a YAML file.
        num_records: rows to build. More than are there extends the dataset; fewer is refused.
        sink: where the dataset goes: a block, or the name of a saved one (`parquet-row-group-sink/NAME`).
        run: how the run behaves: seed, row-group size, limits, resume.
        endpoints: models' endpoints with their keys, as blocks; each stands for the provider that it names.
        target: what a run that is repeated means for the dataset: a version of its own, more rows, a partition.
        on_row_group_complete: called with each `RowGroupOutcome` as it happens: a callable, or `module:function`.

    Returns:
        The result; as a state named Partial where rows are missing and `on_shortfall` is `warn`; Cancelled as Missed
        where the run comes later than `max_lateness_seconds` after its schedule.

    Raises:
        ConfigError: the config is wrong; nothing was done.
        SinkError: the dataset cannot be written, is locked, or does not fit what is asked.
        EarlyShutdownError: too many cells failed, or a model gave nothing but errors.
        ShortfallError: fewer rows than asked for were written.
        ProcessorError: user code failed.
    """
    run = read(run, RunConfig, name="run")
    late = lateness()
    if run.max_lateness_seconds is not None and late > run.max_lateness_seconds:
        return Cancelled(
            name="Missed", message=f"{late:.0f} s late; max_lateness_seconds is {run.max_lateness_seconds:g}"
        )
    placed = place(
        config, read_count(num_records), sink=read_sink(sink), run=run, target=read(target, Target, name="target")
    )
    news = DatasetNews(placed.base.location, version=placed.version)
    finished: Finished | None = None
    try:
        loaded = DatasetConfig.load(placed.config)
        news = news.of(loaded)
        request = RunRequest(
            loaded, placed.num_records, placed.sink, placed.run, read_endpoints(endpoints), on_row_group_complete
        )
        finished = execute(request)
        result = BuildResult(path=placed.sink.location, metadata=finished.metadata, sink=placed.sink)
        state = final_state(finished, placed.run, result)
        if state.is_completed():
            placed.publish()
    except DatagenError as error:
        news.failed(error, None if finished is None else finished.metadata)
        raise
    news.ended(state, finished.metadata)
    return state
