"""What became of rows, row groups and runs: the records that tasks return, sinks store and people read.

All are frozen pydantic models, small (no row values except in `RejectedRow`), and JSON on disk. One fact stands in one
place: a run's totals are sums over its manifests.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Record(BaseModel):
    """Base of what is stored: frozen, and unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Outcome(StrEnum):
    """The final state of a row group."""

    COMPLETED = "completed"
    DROPPED = "dropped"  # committed, and no row survived
    FAILED = "failed"
    ABORTED = "aborted"


class Verdict(StrEnum):
    """What a reader may expect of a dataset; `building` until finalize, so no file says finished for a run that was not."""

    BUILDING = "building"
    COMPLETE = "complete"
    PARTIAL = "partial"
    DEGRADED = "degraded"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


class ModelUsage(Record):
    """What one model alias cost. `calls` are requests that reached the endpoint, whatever came back."""

    calls: int = 0
    answers: int = 0
    retries: int = 0
    throttled: int = 0
    errors: int = 0
    replayed: int = Field(default=0, description="Answers taken from the journal: paid for by an earlier run.")
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = Field(default=0.0, description="In the currency of the model's prices.")
    endpoints: dict[str, ModelUsage] = Field(
        default_factory=dict, description="The same by endpoint, where the model has several."
    )

    def __add__(self, other: ModelUsage) -> ModelUsage:
        counts = {name: getattr(self, name) + getattr(other, name) for name in USAGE_COUNTS}
        return ModelUsage(**counts, endpoints=add_usage([self.endpoints, other.endpoints]))


USAGE_COUNTS = tuple(name for name in ModelUsage.model_fields if name != "endpoints")
"""The fields of a usage that are numbers."""


def add_usage(usages: Iterable[dict[str, ModelUsage]]) -> dict[str, ModelUsage]:
    """Sum of usages by alias."""
    total: dict[str, ModelUsage] = {}
    for usage in usages:
        for alias, spent in usage.items():
            total[alias] = total.get(alias, ModelUsage()) + spent
    return total


class CheckTally(Record):
    """What a quality gate counted: rows seen, rows failing, and sum and number of the values it averages."""

    rows: int = 0
    failing: int = 0
    total: float = 0.0
    valued: int = 0

    def __add__(self, other: CheckTally) -> CheckTally:
        return CheckTally(**{name: getattr(self, name) + getattr(other, name) for name in type(self).model_fields})


class RejectedRow(Record):
    """A row that was asked for and is not in the data, with all that is known of it."""

    row_index: int = Field(description="Row of the dataset, from 0, as requested.")
    column: str
    error_type: str
    reason: str = Field(description="Short and stable, for counting: '400', 'timeout', 'invalid answer', ...")
    message: str
    attempts: int
    retryable: bool = Field(description="Whether running it again could help (`--resume repair` takes these).")
    answer: str | None = Field(default=None, description="The last answer of the model, where that was the trouble.")
    values: dict[str, Any] = Field(default_factory=dict, description="The values the row had so far.")


class RowGroupManifest(Record):
    """What one row group became. Its presence in `manifests/` means that the row group is committed.

    `requested = written + rejected + filtered` always holds; `requested` follows a declared `allow_resize`.
    """

    index: int = Field(ge=0)
    start_row: int = Field(ge=0, description="First row of the dataset that this row group holds.")
    planned: int = Field(ge=0, description="Rows cut for it by the plan.")
    requested: int = Field(ge=0, description="`planned`, or the size that a processor with allow_resize gave it.")
    written: int = Field(ge=0)
    rejected: int = Field(default=0, ge=0)
    filtered: int = Field(default=0, ge=0, description="Rows that a post-batch processor removed on purpose.")
    outcome: Outcome = Outcome.COMPLETED
    rejected_by_reason: dict[str, int] = Field(default_factory=dict)
    skipped_by_column: dict[str, int] = Field(default_factory=dict)
    fingerprint: str = ""
    part: str | None = Field(default=None, description="Path of the Parquet part, relative to the dataset.")
    part_bytes: int = 0
    part_sha256: str | None = None
    rejects_part: str | None = None
    trace_part: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    stage_seconds: dict[str, float] = Field(default_factory=dict)
    usage: dict[str, ModelUsage] = Field(default_factory=dict)
    checks: dict[str, CheckTally] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _every_row_is_accounted_for(self) -> RowGroupManifest:
        if self.requested != self.written + self.rejected + self.filtered:
            raise ValueError(
                f"row group {self.index}: requested {self.requested} != written {self.written} "
                f"+ rejected {self.rejected} + filtered {self.filtered}"
            )
        if sum(self.rejected_by_reason.values()) != self.rejected:
            raise ValueError(f"row group {self.index}: rejected {self.rejected} but reasons {self.rejected_by_reason}")
        return self


class SeedPrefix(Record):
    """Which rows of an earlier stage a dataset was made of: those of its first row groups."""

    row_groups: int = Field(ge=0)
    rows: int = Field(ge=0)
    digest: str = Field(description="Of the content of their parts, in order.")
    whole: bool = Field(default=False, description="Whether these must be all: rows were taken again from the first.")


class RowGroupOutcome(Record):
    """The fate of a row group in one run: a manifest where it was committed, an error where it was not.

    Callbacks are given the manifest; `metadata.json` has none, since each is a file of its own.
    """

    index: int
    outcome: Outcome
    reused: bool = Field(default=False, description="Committed by an earlier run; nothing was done now.")
    manifest: RowGroupManifest | None = None
    stage: str | None = Field(default=None, description="Where it stopped, for failed and aborted ones.")
    error_type: str | None = None
    message: str | None = None


class CheckResult(Record):
    """The verdict of one quality gate."""

    name: str
    passed: bool
    on_fail: str
    observed: float | None = None
    limit: str = ""
    rows: int = 0
    message: str = ""


class DatasetMetadata(Record):
    """`metadata.json`: one schema for build and preview, for every end that a run can have. Written last, atomically."""

    name: str
    status: Verdict
    reasons: list[str] = Field(default_factory=list, description="Why the status is not `complete`.")
    target_num_records: int
    actual_num_records: int
    rejected: int = 0
    filtered: int = 0
    rejected_by_reason: dict[str, int] = Field(default_factory=dict)
    row_group_size: int
    row_groups: list[RowGroupOutcome] = Field(default_factory=list)
    seed: int
    fingerprint: str
    columns: dict[str, str] = Field(default_factory=dict, description="Column name to Arrow type, as written.")
    library_versions: dict[str, str] = Field(default_factory=dict)
    usage: dict[str, ModelUsage] = Field(
        default_factory=dict, description="What the dataset cost so far, by model alias: this run and all before it."
    )
    stage_seconds: dict[str, float] = Field(default_factory=dict)
    checks: list[CheckResult] = Field(default_factory=list)
    estimate: dict[str, Any] | None = Field(default=None, description="What this run was expected to cost.")
    spent: dict[str, ModelUsage] = Field(
        default_factory=dict, description="What this run did cost, by model alias, to hold against the estimate."
    )
    started_at: datetime
    ended_at: datetime
    seconds: float
    flow_run_id: str | None = None
