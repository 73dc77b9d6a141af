"""The flow `build-dataset`: a config becomes a dataset directory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import State, flow
from pydantic import Field

from prefect_datagen.blocks.model_endpoint import ModelEndpoint
from prefect_datagen.blocks.offline_model import OfflineModel
from prefect_datagen.blocks.parquet_sink import ParquetRowGroupSink
from prefect_datagen.config.dataset import DatasetConfig
from prefect_datagen.config.run import RunConfig
from prefect_datagen.flows.lifecycle import RunRequest, execute, final_state
from prefect_datagen.flows.results import BuildResult


@flow(name="build-dataset", flow_run_name="build-{num_records}-rows", retries=0)
def build_dataset(
    config: DatasetConfig | dict[str, Any] | Path | str,
    *,
    num_records: int = Field(ge=0, description="Rows to build."),
    sink: ParquetRowGroupSink,
    run: RunConfig = RunConfig(),  # noqa: B008 - frozen
    endpoints: list[ModelEndpoint | OfflineModel] = [],  # noqa: B006 - Prefect copies parameters
    on_row_group_complete: Any = None,
) -> BuildResult | State[BuildResult]:
    """Build a dataset: `num_records` rows of `config` into `sink`.

    Args:
        config: the dataset: a `DatasetConfig`, a dict, a YAML text, or the path of a YAML file.
        num_records: rows to build. More than are there extends the dataset; fewer is refused.
        sink: where the dataset goes.
        run: how the run behaves: seed, row-group size, limits, resume.
        endpoints: models' endpoints with their keys, as blocks; each stands for the provider that it names.
        on_row_group_complete: called with each `RowGroupOutcome` as it happens: a callable, or `module:function`.

    Returns:
        The result; as a state named Partial where rows are missing and `on_shortfall` is `warn`.

    Raises:
        ConfigError: the config is wrong; nothing was done.
        SinkError: the dataset cannot be written, is locked, or does not fit what is asked.
        EarlyShutdownError: too many cells failed, or a model gave nothing but errors.
        ShortfallError: fewer rows than asked for were written.
        ProcessorError: user code failed.
    """
    request = RunRequest(config, num_records, sink, run, endpoints, on_row_group_complete)
    finished = execute(request)
    result = BuildResult(path=sink.location, metadata=finished.metadata, sink=sink)
    return final_state(finished, run, result)
