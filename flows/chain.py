"""The flow `chain-datasets`: stages that seed each other, each a task run with its dataset as a subflow run.

A stage is submitted when those that it takes its seeds from have ended or, where it needs no whole dataset, when the first
rows are there: independent ones run at the same time, and what waits for a stage that failed is `NotReady`. A stage that
failed does not stop independent ones; one that takes its rows as they come ends as `Aborted`, and keeps what it made.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from prefect import State
from prefect.futures import PrefectFuture
from prefect.states import Cancelled
from pydantic import BaseModel, ConfigDict, Field

from prefect_datagen.blocks.parquet_sink import ParquetRowGroupSink
from prefect_datagen.config.run import RunConfig
from prefect_datagen.config.workflow import StageConfig, Workflow
from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.flows.ending import completed, keep_result
from prefect_datagen.flows.log import run_log
from prefect_datagen.flows.parameters import Endpoints, read, read_count, read_endpoints, read_sink
from prefect_datagen.flows.quick_flow import flow
from prefect_datagen.flows.results import PreviewResult
from prefect_datagen.flows.stage import Chain, StageOutcome, StageResult, run_stage
from prefect_datagen.flows.subflow import as_datagen_error
from prefect_datagen.seeds.reader import offered

StageFuture = PrefectFuture[StageResult | State[StageResult]]


class ChainResult(BaseModel):
    """A finished workflow: what became of each stage that was run, in order."""

    model_config = ConfigDict(frozen=True)

    name: str
    stages: dict[str, StageResult]

    @property
    def summary(self) -> str:
        """One line a stage."""
        return "\n".join(stage.summary for stage in self.stages.values())


class ChainPreview:
    """A preview of a workflow: the rows of each stage, in this process's memory."""

    def __init__(self, stages: dict[str, PreviewResult]) -> None:
        self.stages = stages

    @property
    def summary(self) -> str:
        """One line a stage."""
        return "\n".join(f"{name}: {preview.summary}" for name, preview in self.stages.items())


@flow(
    name="chain-datasets",
    retries=0,
    validate_parameters=False,
    on_completion=[keep_result],
)
def chain_datasets(
    workflow: Workflow | dict[str, Any] | Path | str,
    *,
    sink: ParquetRowGroupSink | None = None,
    run: RunConfig | None = None,
    endpoints: Endpoints = [],  # noqa: B006 - Prefect copies parameters
    only: Annotated[str | None, Field(description="Run this stage only; those before it must be there.")] = None,
    start: Annotated[str | None, Field(description="Run this stage and all that follow from it.")] = None,
    preview: Annotated[int | None, Field(ge=1, description="Make so many rows of each stage, in memory.")] = None,
) -> ChainResult | ChainPreview | State[Any]:
    """Build the datasets of a workflow, each seeded from the earlier ones.

    Args:
        workflow: a `Workflow`, a dict, a YAML text, or the path of a YAML file.
        sink: its path holds a dataset directory for each stage. Default: the workflow's own `path`.
        run: settings that go before those of the workflow and its stages; what is not set in it stays theirs.
        endpoints: blocks that stand for providers of all stages, before those that stages name.
        only: run one stage.
        start: run one stage and all that follow from it.
        preview: rows of each stage; nothing is written to disk.

    Returns:
        The result of each stage; as a state named Partial where rows of one are missing and `on_shortfall` is `warn`,
        Cached where nothing had changed.

    Raises:
        ConfigError: the workflow, or the config of a stage, is wrong; nothing was done.
        DatagenError: the first stage that failed, by name. What the others built stays, and a second run continues.
    """
    loaded = Workflow.load(workflow)
    if preview is not None and (only is not None or start is not None):
        raise ConfigError("--preview makes a few rows of the whole workflow: leave --only and --from out")
    stages = loaded.selection(only=only, start=start)
    chain = Chain(
        loaded,
        base=None if preview is not None else _base(loaded, sink),
        stages=stages,
        given=None if run is None else read(run, RunConfig, name="run"),
        endpoints=read_endpoints(endpoints),
        most_rows=None if preview is None else read_count(preview, name="preview"),
    )
    futures: dict[str, StageFuture] = {}
    with offered(chain.streams.values()):
        interruption = chain.subflows.wait(_submitted(chain, stages, futures))
    if interruption is not None:
        if not isinstance(interruption, KeyboardInterrupt):
            raise interruption  # Prefect's own, whose state Prefect sets
        return Cancelled(message="interrupted; what was committed stays, and a second run continues from there")
    return _final_state(chain, {name: future.state for name, future in futures.items()})


def _submitted(chain: Chain, stages: list[StageConfig], futures: dict[str, StageFuture]) -> Iterator[StageFuture]:
    """Submit each stage when those that it takes its seeds from have ended, or it may begin with the rows that are there."""
    waiting, ended, news = list(stages), set[str](), threading.Event()

    def is_free(stage: StageConfig, earlier: str) -> bool:
        return earlier not in chain.running or earlier in ended or chain.may_overtake(stage, earlier)

    def note_end(name: str, _: object) -> None:
        ended.add(name)
        news.set()

    with ExitStack() as stack:
        for stream in chain.streams.values():
            stack.enter_context(stream.watched(news.set))
        while waiting:
            news.clear()
            for stage in [each for each in waiting if all(is_free(each, name) for name in each.seeds_from)]:
                # Of those that have ended Prefect is told, which lets no stage run after one that failed.
                waits_for = [futures[name] for name in stage.seeds_from if name in ended]
                future = run_stage.submit(chain, stage.name, wait_for=waits_for, return_state=False)
                future.add_done_callback(partial(note_end, stage.name))
                futures[stage.name] = future
                waiting.remove(stage)
                yield future
            if waiting:
                news.wait()


def _base(workflow: Workflow, sink: ParquetRowGroupSink | None) -> ParquetRowGroupSink:
    if sink is not None:
        return read_sink(sink)
    if workflow.path is None:
        raise ConfigError("path: is required in the workflow where no sink (--output) is given")
    return ParquetRowGroupSink(path=workflow.path)


def _final_state(chain: Chain, states: dict[str, State[Any]]) -> State[Any]:
    """The flow's final state.

    Raises:
        DatagenError: of the first stage that failed.
    """
    failed = [name for name, state in states.items() if state.is_failed() or state.is_crashed()]
    if failed:
        waiting = [name for name, state in states.items() if state.is_pending()]
        if waiting:
            run_log().error("stages not run, because an earlier one failed: %s", ", ".join(waiting))
        error = states[failed[0]].result(raise_on_failure=False)
        raise as_datagen_error(error, states[failed[0]], where=f"chain stage {failed[0]}: ")
    if any(state.is_cancelled() for state in states.values()):
        stopped = [name for name, state in states.items() if state.is_cancelled()]
        return Cancelled(message=f"stages stopped: {', '.join(stopped)}; a second run continues from there")
    stages: dict[str, StageResult] = {name: state.result() for name, state in states.items()}
    result = ChainResult(name=chain.workflow.name, stages=stages)
    name = "Completed"
    if any(state.name == "Partial" for state in states.values()):
        name = "Partial"
    elif all(stage.outcome is StageOutcome.CACHED for stage in stages.values()):
        name = "Cached"
    return completed(name=name, message=result.summary, data=result if chain.base is not None else _preview(chain))


def _preview(chain: Chain) -> ChainPreview:
    previews = {}
    for stage in chain.workflow.in_order():
        store = chain.sink(stage.name).reader()
        metadata = store.metadata()
        if metadata is not None:
            previews[stage.name] = PreviewResult(
                dataset=store.load(),
                rejects=store.rejects(),
                task_traces=store.traces().to_pandas(),
                metadata=metadata,
            )
    return ChainPreview(previews)
