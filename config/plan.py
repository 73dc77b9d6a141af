"""The plan of a run: which row groups there are, which are committed already, which are to do.

Boundaries of committed row groups never move, so that committed parts stay as they are: a dataset that is extended goes
on behind its last row, with a row group of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from prefect_datagen.engine.errors import ResumeRefusedError
from prefect_datagen.engine.outcomes import RowGroupManifest


@dataclass(frozen=True)
class RowGroupPlan:
    """One row group: its number, its first row in the dataset, its rows."""

    index: int
    start: int
    rows: int

    @property
    def label(self) -> str:
        """How it is named in the UI and in logs: `00003`."""
        return f"{self.index:05d}"


@dataclass(frozen=True)
class Plan:
    """All row groups of a run in order: `reused` ones are committed, `todo` ones are to be made."""

    num_records: int
    row_group_size: int
    todo: tuple[RowGroupPlan, ...]
    reused: Mapping[int, RowGroupManifest]

    @property
    def row_groups(self) -> int:
        """Number of row groups, reused ones included."""
        return len(self.todo) + len(self.reused)


def make_plan(num_records: int, *, row_group_size: int, committed: Mapping[int, RowGroupManifest]) -> Plan:
    """Cut `num_records` rows into row groups around what is committed.

    Raises:
        ResumeRefusedError: the dataset holds more rows than asked for.
    """
    done = sorted(committed.values(), key=lambda manifest: manifest.start_row)
    last = done[-1].start_row + done[-1].planned if done else 0
    if last > num_records:
        raise ResumeRefusedError(
            f"the dataset was built for {last:,} rows; {num_records:,} are fewer, and rows are never taken away: "
            "use another directory",
            differences=[f"num_records: {last} on disk, {num_records} asked for"],
        )
    todo: list[RowGroupPlan] = []
    start, index = 0, 0
    for manifest in done:
        todo += _cut(start, manifest.start_row, row_group_size, index)
        start, index = manifest.start_row + manifest.planned, manifest.index + 1
    todo += _cut(start, num_records, row_group_size, index)
    if not todo and not committed:
        todo = [RowGroupPlan(0, 0, 0)]  # of no rows: readers then find a part with the schema
    return Plan(num_records, row_group_size, tuple(todo), dict(committed))


def _cut(start: int, end: int, size: int, index: int) -> list[RowGroupPlan]:
    starts = range(start, end, size)
    return [RowGroupPlan(index + at, first, min(size, end - first)) for at, first in enumerate(starts)]
