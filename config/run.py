"""How a run behaves: sizes, limits, what to do about trouble. None of it changes a value of the dataset but `seed`."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Self

from pydantic import Field, HttpUrl, model_validator

from prefect_datagen.columns.base import Config

if TYPE_CHECKING:
    from prefect_datagen.config.plan import Plan


class ResumeMode(StrEnum):
    """What to do with a dataset that is there already."""

    NEVER = "never"  # refuse to touch it
    IF_POSSIBLE = "if-possible"  # continue where it fits; else set it aside and start anew, keeping paid answers
    ALWAYS = "always"  # continue, or refuse and say what differs
    REPAIR = "repair"  # as always, and run again the rows that were rejected for a cause that a retry can help


class TaskRunnerKind(StrEnum):
    """Where row groups run."""

    THREADS = "threads"  # in the flow's process (or on the task runner that the flow was given)
    PROCESSES = "processes"  # in processes of this machine
    DASK = "dask"
    RAY = "ray"


class OnShortfall(StrEnum):
    """What fewer rows than asked for mean for the flow."""

    FAIL = "fail"
    WARN = "warn"


class Stages(StrEnum):
    """Whether the stages of a row group are task runs of their own, or plain calls inside `process_row_group`."""

    AUTO = "auto"
    TASKS = "tasks"
    INLINE = "inline"


class RowGroupLimit(Config):
    """Row groups in flight over all runs and machines: a Prefect global concurrency limit, a slot of it per row group."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]*$", description="Name of the Prefect global concurrency limit."
    )
    slots: int | None = Field(
        default=None,
        ge=1,
        description="Create the limit with so many slots where it is missing. Default: refuse to run.",
    )


MANY_ROW_GROUPS = 500
"""From here on `stages: auto` means inline: Prefect's server digests about 40 task runs a second."""


ROW_GROUPS_AT_ONCE = 4
"""Row groups in flight where nothing else is said."""

ROW_GROUP_SIZE, TABULAR_ROW_GROUP_SIZE = 1000, 250_000
"""Rows in a row group where nothing else is said: in general, and where rows are made in less time than Prefect takes to
run a task for 1,000 of them."""

_BATCHED_ROWS = 50_000
_MOST_BATCHED_ROW_GROUPS = 256  # each holds a thread


class RunConfig(Config):
    """Settings of one run."""

    seed: int | None = Field(
        default=None, ge=0, description="Run seed. The same seed gives the same sampled values. Default: drawn once."
    )
    row_group_size: int | None = Field(
        default=None,
        ge=1,
        description="Rows in a row group; the last one may be shorter. Default: as in the dataset that is there; else "
        f"{ROW_GROUP_SIZE:,}, and {TABULAR_ROW_GROUP_SIZE:,} where there is nothing but samplers, expressions and SQL.",
    )
    max_concurrent_row_groups: int | None = Field(
        default=None,
        ge=1,
        description=f"Row groups in flight: what bounds the memory. Default: {ROW_GROUPS_AT_ONCE}; with a model in batch "
        "mode as many as fill a batch.",
    )
    task_runner: TaskRunnerKind = Field(
        default=TaskRunnerKind.THREADS, description="Where row groups run: threads, processes, dask or ray."
    )
    workers: int = Field(default=2, ge=1, description="Processes of a runner that starts its own.")
    cluster: str | None = Field(
        default=None,
        description="Address of a Dask scheduler or Ray head that is running. Default: a local one for the run.",
    )
    row_group_limit: RowGroupLimit | None = Field(
        default=None, description="Row groups in flight over all runs and machines, by a Prefect concurrency limit."
    )
    lease_seconds: float = Field(
        default=60.0,
        ge=60,
        le=86_400,
        description="Seconds after which slots of shared limits come back from a process that was killed.",
    )
    resume: ResumeMode = Field(default=ResumeMode.IF_POSSIBLE, description="What to do with a dataset that is there.")
    stages: Stages = Field(
        default=Stages.AUTO,
        description=f"Task runs for each stage, or one per row group. auto: inline from {MANY_ROW_GROUPS} row groups on, "
        f"and where nothing but samplers, expressions and SQL makes {TABULAR_ROW_GROUP_SIZE:,} rows or more.",
    )

    on_shortfall: OnShortfall = Field(default=OnShortfall.FAIL, description="Fail the flow, or end it as Partial.")
    min_completion: float = Field(
        default=1.0, ge=0, le=1, description="Share of the rows below which it is a shortfall."
    )
    shutdown_error_rate: float = Field(
        default=0.5, ge=0, le=1, description="Stop when the rejection rate of a model's cells is surely above this."
    )
    shutdown_error_window: int = Field(default=50, ge=1, description="Latest cells of a model that the rule looks at.")
    disable_early_shutdown: bool = Field(default=False, description="Go on whatever the error rate, at 100 % too.")
    shutdown_grace_seconds: float = Field(
        default=30.0, ge=0, description="Seconds that calls in flight may take to come back when a run stops early."
    )

    max_retries: int = Field(default=3, ge=0, description="Quick tries of a cell after a retryable error.")
    salvage_rounds: int = Field(default=2, ge=0, description="Late tries, when the rest of the row group is done.")
    retry_deadline_seconds: float = Field(
        default=300.0, gt=0, description="Seconds of nothing but retryable errors after which a model is given up."
    )
    max_conversation_restarts: int = Field(
        default=5, ge=0, description="Conversations started anew after an unusable answer."
    )
    max_conversation_correction_steps: int = Field(
        default=0, ge=0, description="Rounds of a conversation in which the model is shown what was wrong."
    )
    max_total_tokens: int | None = Field(default=None, ge=1, description="Stop, resumable, at this many tokens.")
    max_cost: float | None = Field(default=None, gt=0, description="Stop, resumable, at this cost (prices: models).")

    journal: bool = Field(
        default=True, description="Keep accepted answers, so that a resume never pays for them again."
    )
    trace: bool = Field(default=False, description="Record every cell's way through the engine.")
    slow_call_seconds: float = Field(
        default=30.0, gt=0, description="Log calls that are pending for longer than this, and runs that stand still."
    )
    max_lateness_seconds: float | None = Field(
        default=None,
        ge=0,
        description="Seconds after its scheduled time from which a run is missed and does nothing. Default: late runs "
        "catch up.",
    )
    progress_interval: float = Field(default=2.0, gt=0, description="Seconds between updates of the progress artifact.")
    results_url: HttpUrl | None = Field(
        default=None, description="Where the results server shows the dataset: a link to it is kept as an artifact."
    )
    worker_threads: int = Field(default=4, ge=1, description="Threads for full columns and synchronous custom cells.")

    @model_validator(mode="after")
    def _cluster_needs_a_runner(self) -> Self:
        if self.cluster is not None and self.task_runner not in (TaskRunnerKind.DASK, TaskRunnerKind.RAY):
            raise ValueError(f"cluster {self.cluster!r} is for task_runner dask or ray, not {self.task_runner.value}")
        return self

    def row_groups_at_once(self, *, batched: bool) -> int:
        """Row groups in flight. What is `batched` comes back after hours: the rows of a whole batch must be in flight."""
        if self.max_concurrent_row_groups is not None:
            return self.max_concurrent_row_groups
        if not batched:
            return ROW_GROUPS_AT_ONCE
        size = self.row_group_size or ROW_GROUP_SIZE
        return max(ROW_GROUPS_AT_ONCE, min(_MOST_BATCHED_ROW_GROUPS, -(-_BATCHED_ROWS // size)))

    def inline_stages(self, plan: Plan, *, tabular: bool) -> bool:
        """Whether stages are plain calls.

        Args:
            plan: the run's.
            tabular: whether nothing but samplers, expressions and SQL makes the rows. A stage of these takes a tenth of a
                second, and its task run takes Prefect's server as long again.
        """
        if self.stages is Stages.AUTO:
            return plan.row_groups >= MANY_ROW_GROUPS or (tabular and plan.num_records >= TABULAR_ROW_GROUP_SIZE)
        return self.stages is Stages.INLINE
