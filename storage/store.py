"""What the controller and the commit stage need of a sink once it is open, and the values that go through it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

import pyarrow as pa
from pydantic import Field, ValidationError

from prefect_datagen.engine.errors import InternalError
from prefect_datagen.engine.outcomes import (
    CheckTally,
    DatasetMetadata,
    ModelUsage,
    Outcome,
    Record,
    RejectedRow,
    RowGroupManifest,
    SeedPrefix,
)

if TYPE_CHECKING:
    import pandas as pd

    from prefect_datagen.storage.arrow import Dataset


class RunRecord(Record):
    """`run.json`: what a resume is compared with."""

    seed: int
    row_group_size: int = Field(ge=1)
    fingerprint: str = Field(description="Of everything that decides the rows.")
    fingerprint_parts: dict[str, str] = Field(
        default_factory=dict,
        description="Fingerprint of each column, seed, model and processor: what differs is named.",
    )
    seed_prefix: SeedPrefix | None = Field(
        default=None, description="Rows of an earlier stage that were used, where its dataset was still being built."
    )
    library_version: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class RowGroupCommit:
    """A finished row group on its way to the sink.

    Attributes:
        index: which row group.
        start_row: first row of the dataset in it.
        planned: rows that the plan cut for it.
        requested: `planned`, or the size that a processor with `allow_resize` gave it.
        table: the rows that survived, in order, shape `(written, n_columns)`.
        rejects: the rows that were lost, each with its reason.
        filtered: rows that a post-batch processor removed on purpose.
        trace: one record a cell, where tracing is on.
    """

    index: int
    start_row: int
    planned: int
    requested: int
    table: pa.Table
    rejects: list[RejectedRow] = field(default_factory=list)
    filtered: int = 0
    trace: pa.Table | None = None
    skipped_by_column: Mapping[str, int] = field(default_factory=dict)
    fingerprint: str = ""
    usage: Mapping[str, ModelUsage] = field(default_factory=dict)
    stage_seconds: Mapping[str, float] = field(default_factory=dict)
    checks: Mapping[str, CheckTally] = field(default_factory=dict)
    started_at: datetime | None = None

    def manifest(self, **stored: Any) -> RowGroupManifest:
        """The record of this commit; `stored` says where its parts are (`part`, `part_bytes`, ...).

        Raises:
            InternalError: `requested` is not written + rejected + filtered.
        """
        dropped = self.requested > 0 and self.table.num_rows == 0
        try:
            return RowGroupManifest(
                index=self.index,
                start_row=self.start_row,
                planned=self.planned,
                requested=self.requested,
                written=self.table.num_rows,
                rejected=len(self.rejects),
                filtered=self.filtered,
                outcome=Outcome.DROPPED if dropped else Outcome.COMPLETED,
                rejected_by_reason=dict(Counter(row.reason for row in self.rejects)),
                skipped_by_column=dict(self.skipped_by_column),
                fingerprint=self.fingerprint,
                started_at=self.started_at,
                ended_at=datetime.now(UTC),
                stage_seconds=dict(self.stage_seconds),
                usage=dict(self.usage),
                checks=dict(self.checks),
                **stored,
            )
        except ValidationError as error:
            problems = "; ".join(problem["msg"] for problem in error.errors())
            raise InternalError(f"row group {self.index} does not add up: {problems}", row_group=self.index) from error


def refuse_other_rows(there: RowGroupManifest, again: RowGroupManifest) -> None:
    """Let a repeated commit of the same rows pass.

    Raises:
        InternalError: the row group that is there holds other rows than the one that was to be committed again.
    """
    for name in ("start_row", "requested", "written", "filtered", "rejected_by_reason", "part_sha256"):
        old, new = getattr(there, name), getattr(again, name)
        if old != new:
            raise InternalError(
                f"row group {there.index} is committed already, with {name} {old!r} instead of {new!r}; "
                "a row group is discarded before it is made anew",
                row_group=there.index,
            )


class RowGroupStore(Protocol):
    """An open sink: one writer, any number of threads, each committing row groups of its own.

    What is committed stays committed: every method leaves the dataset as it was or as it was asked to be, whatever
    happens in between. All methods that touch storage raise `SinkError` where it cannot be read or written.
    """

    @property
    def location(self) -> str:
        """Where the dataset is, for people: a path or URL without credentials."""
        ...

    @property
    def local_path(self) -> Path | None:
        """The dataset's folder on this machine, or None where there is none (remote, memory)."""
        ...

    @property
    def journal_path(self) -> Path | None:
        """Where the journal of answers belongs, or None where the dataset is not on this machine."""
        ...

    @property
    def schema(self) -> pa.Schema:
        """Schema of the rows that are committed."""
        ...

    @property
    def staged(self) -> bool:
        """Whether what is committed is raw material that `publish` makes the dataset of."""
        ...

    def committed(self) -> dict[int, RowGroupManifest]:
        """Manifests by row group, ascending.

        Raises:
            SinkError: a manifest is unreadable, or its part is not there in the size it says.
        """
        ...

    def stamp(self) -> Hashable | None:
        """Equal stamps, not None: `committed` says the same."""
        ...

    def manifest(self, index: int) -> RowGroupManifest | None:
        """The manifest of a row group, or None where it is not committed."""
        ...

    @property
    def writer(self) -> str:
        """What tells this writer from all others: what workers need to join it."""
        ...

    def tell_to_stop(self, reason: str, *, grace: float | None) -> None:
        """Have workers that joined stop; `grace` are seconds for their calls in flight."""
        ...

    def commit(self, commit: RowGroupCommit) -> RowGroupManifest:
        """Store a row group; when this returns it survives a crash. Storing the same one again changes nothing.

        Raises:
            SinkError: it cannot be written, or a column does not fit the schema (`column` names it). Nothing of the
                row group is committed.
            InternalError: the counts do not add up, the row group is there with other rows, or `write_run` was never
                called.
        """
        ...

    def discard(self, index: int) -> None:
        """Take a committed row group back, so that it can be made anew. Nothing happens where there is none."""
        ...

    def supersede(self, *, with_journal: bool = False) -> None:
        """Set everything aside; the dataset is then empty. Nothing is deleted.

        Args:
            with_journal: also the answers that were paid for, so that all are asked for again. The journal must not be
                open.
        """
        ...

    def publish(self, parts: Iterable[pa.Table], *, schema: pa.Schema) -> None:
        """Make the dataset of `parts`, all at once: readers see the old one until the last part is written.

        Raises:
            SinkError: it cannot be written, a part does not fit `schema`, or the store is not staged.
            Exception: whatever iterating over `parts` raises. The dataset is as before.
        """
        ...

    def write_config(self, text: str) -> None:
        """Store what was asked for, as YAML."""
        ...

    def config(self) -> str | None:
        """What was asked for, or None."""
        ...

    def write_run(self, record: RunRecord) -> None:
        """Store what a resume is compared with. Comes before the first commit."""
        ...

    def run_record(self) -> RunRecord | None:
        """What a resume is compared with, or None."""
        ...

    def write_metadata(self, metadata: DatasetMetadata) -> None:
        """Store the run's verdict. Comes last."""
        ...

    def metadata(self) -> DatasetMetadata | None:
        """The verdict of the last run that ended, or None."""
        ...

    def generated(self) -> Dataset:
        """The rows as committed, in order of row groups: what after-generation processors read. Nothing is loaded."""
        ...

    def dataset(self) -> Dataset:
        """The rows that readers get: as committed, or what was published of them. Nothing is loaded."""
        ...

    def head(self, rows: int) -> pa.Table:
        """The first rows of `dataset()`; only what holds them is read."""
        ...

    def load(self) -> pd.DataFrame:
        """`dataset()` in memory. Text stays text; whole numbers stay whole where some are missing."""
        ...

    def rejects(self) -> pa.Table:
        """Rejected rows of all committed row groups; `parts.rejected_rows` makes records of them."""
        ...

    def traces(self) -> pa.Table:
        """Trace records of all committed row groups."""
        ...

    def close(self) -> None:
        """Let the next writer in. May be called twice."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...
