"""What the driver tells the scheduler (events), and what the scheduler tells the driver (instructions).

All are frozen. Rows are positions in the row group, nodes are positions in the graph. `engine/scheduler_state.py` says
what each one does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, overload

import numpy as np
from numpy.typing import NDArray


class CellId(NamedTuple):
    """A cell: row group, node (position in the graph), row (position in the row group)."""

    row_group: int
    node: int
    row: int


class Positions(Sequence[int]):
    """Rows of a row group, in order. Held as an array: a number object for each row would cost more than sampling it.

    Equal to any sequence of the same numbers.

    Attributes:
        array: the positions, int64, shape `(n,)`.
    """

    __slots__ = ("array",)

    def __init__(self, rows: NDArray[np.int64] | Sequence[int]) -> None:
        self.array: NDArray[np.int64] = np.asarray(rows, dtype=np.int64)

    @classmethod
    def of(cls, rows: Sequence[int]) -> Positions:
        """The same rows; those that are held so already are not copied."""
        return rows if isinstance(rows, Positions) else cls(rows)

    def __len__(self) -> int:
        return len(self.array)

    @overload
    def __getitem__(self, at: int) -> int: ...

    @overload
    def __getitem__(self, at: slice) -> Positions: ...

    def __getitem__(self, at: int | slice) -> int | Positions:
        return Positions(self.array[at]) if isinstance(at, slice) else int(self.array[at])

    def __iter__(self) -> Iterator[int]:
        return iter(self.array.tolist())

    def __eq__(self, other: object) -> bool:
        return np.array_equal(self.array, Positions.of(other).array) if isinstance(other, Sequence) else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return f"Positions({list(self)!r})"


# --- events: what happened -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RowGroupAdmitted:
    """A row group of `rows` rows enters. `skipped`: per source column, the positions whose value was skipped."""

    row_group: int
    rows: int
    skipped: Mapping[str, Sequence[int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SlotFree:
    """A slot of `resource` is free; the answer is a `StartCell` for its first queued cell, or nothing."""

    resource: str


@dataclass(frozen=True, slots=True)
class CellDone:
    """A running cell has its value."""

    cell: CellId


@dataclass(frozen=True, slots=True)
class CellSkipped:
    """A running cell was not made because its skip rule applies."""

    cell: CellId


@dataclass(frozen=True, slots=True)
class CellRejected:
    """A running cell cannot be made: its row is rejected."""

    cell: CellId


@dataclass(frozen=True, slots=True)
class CellDeferred:
    """A running cell failed and is to be tried again: at a time of the driver's, or in a salvage round."""

    cell: CellId
    salvage: bool = False


@dataclass(frozen=True, slots=True)
class CellDue:
    """The time of a deferred cell has come. Without effect where its row was rejected or its row group has ended."""

    cell: CellId


@dataclass(frozen=True, slots=True)
class CellCancelled:
    """A running cell was interrupted; nothing is known of it. An INLINE cell can be cancelled only while draining."""

    cell: CellId


@dataclass(frozen=True, slots=True)
class SalvageDue:
    """The time of the salvage round that `ScheduleSalvage` asked for. Without effect where the row group has ended."""

    row_group: int


@dataclass(frozen=True, slots=True)
class ColumnDone:
    """A running full column is there. `rows` are those of its `StartColumn`; of them, some were skipped or rejected.

    `parents` is given when the number of rows changed: for each new row, the one of `rows` that it came from (no
    rejected one). Positions are then dealt anew: the new rows in the order of `parents`, and behind them all rejected
    rows of the row group in the order of their old positions.
    """

    row_group: int
    node: int
    rows: Sequence[int]
    skipped: Sequence[int] = ()
    rejected: Sequence[int] = ()
    parents: Sequence[int] | None = None


@dataclass(frozen=True, slots=True)
class ColumnCancelled:
    """A running full column came to nothing. Only while draining: nothing starts it again."""

    row_group: int
    node: int
    rows: Sequence[int]


@dataclass(frozen=True, slots=True)
class Drain:
    """Grant no slot any more; let what runs come back."""


Event = (
    RowGroupAdmitted
    | SlotFree
    | CellDone
    | CellSkipped
    | CellRejected
    | CellDeferred
    | CellDue
    | CellCancelled
    | SalvageDue
    | ColumnDone
    | ColumnCancelled
    | Drain
)


# --- instructions: what to do ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StartCell:
    """Make this cell; it is RUNNING now."""

    cell: CellId


@dataclass(frozen=True, slots=True)
class StartColumn:
    """Make this full column for these rows (positions); they are RUNNING now."""

    row_group: int
    node: int
    rows: Sequence[int]


@dataclass(frozen=True, slots=True)
class ScheduleSalvage:
    """Only cells deferred to a salvage round are left: wait as you see fit, then say `SalvageDue`."""

    row_group: int


@dataclass(frozen=True, slots=True)
class FinishRowGroup:
    """The row group has ended. `complete`: every cell is final; otherwise it was aborted on the way."""

    row_group: int
    complete: bool


Instruction = StartCell | StartColumn | ScheduleSalvage | FinishRowGroup
