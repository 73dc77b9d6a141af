"""What the scheduler should say, worked out from scratch: the reference of the state machine test.

A row is an object that remembers what happened to each of its columns. What may start, what is skipped and when a row
group ends is found by looking at every row and column again after each event, until nothing changes. Built from the
declared nodes by name; it shares nothing with the implementation but the events and instructions, and takes the
positions of nodes as given.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from prefect_datagen.engine.node import INLINE, ColumnNode, Strategy
from prefect_datagen.engine.scheduler_state import (
    CellId,
    FinishRowGroup,
    Instruction,
    Positions,
    ScheduleSalvage,
    StartCell,
    StartColumn,
)


@dataclass
class Row:
    """What happened to one row; columns by node name."""

    skipped_sources: set[str]
    fate: dict[str, str] = field(default_factory=dict)  # "done", "skipped" or "dropped": what came back, or was spared
    running: set[str] = field(default_factory=set)
    deferred: dict[str, str] = field(default_factory=dict)  # "sleep" or "salvage"
    halted: set[str] = field(default_factory=set)  # cancelled while draining: nothing starts it again
    rejected_by: set[str] = field(default_factory=set)
    starts: Counter[str] = field(default_factory=Counter)
    setbacks: Counter[str] = field(default_factory=Counter)  # deferrals and cancellations: what allows another start


class Reference:
    """All row groups, and the instructions that each event should give."""

    def __init__(self, declared: Sequence[ColumnNode], order: Sequence[str]) -> None:
        self.nodes = {node.name: node for node in declared}
        self.order = list(order)
        self.makers = {column: node.name for node in declared for column in node.produces}
        self.waits = {name: self._waits(name) for name in self.order}
        self.paths = {name: self._path(name) for name in self.order}
        self.groups: dict[int, list[Row]] = {}
        self.ended: dict[int, bool] = {}
        self.turned_away: set[int] = set()  # admitted while draining
        self.salvage_asked: set[int] = set()
        self.draining = False

    # --- the graph, by name ----------------------------------------------------------------------------------------

    def _reads(self, name: str) -> set[str]:
        return {self.makers[column] for column in self.nodes[name].needs if column in self.makers}

    def _ancestors(self, name: str) -> set[str]:
        reads = self._reads(name)
        return reads.union(*(self._ancestors(read) for read in reads))

    def _waits(self, name: str) -> set[str]:
        barriers = {
            other.name
            for other in self.nodes.values()
            if other.allow_resize and name != other.name and name not in self._ancestors(other.name)
        }
        return self._reads(name) | barriers

    def descendants(self, name: str) -> set[str]:
        """Every node that waits for this one, directly or not."""
        direct = {later for later in self.order if name in self.waits[later]}
        return direct.union(*(self.descendants(later) for later in direct))

    def _path(self, name: str) -> int:
        """Nodes on the longest path that starts here."""
        return 1 + max((self._path(later) for later in self.order if name in self.waits[later]), default=0)

    def is_full(self, name: str) -> bool:
        """Whether the node is a full column."""
        return self.nodes[name].strategy is Strategy.FULL_COLUMN

    # --- states ----------------------------------------------------------------------------------------------------

    def live(self) -> Iterator[tuple[int, list[Row]]]:
        """Row groups that have not ended."""
        return ((index, rows) for index, rows in self.groups.items() if index not in self.ended)

    def spared(self, row: Row, name: str) -> bool:
        """Whether an input that the node reads was skipped, and that propagates to it."""
        node = self.nodes[name]
        if not node.propagate_skip or node.allow_resize:
            return False
        return any(
            row.fate.get(self.makers[column]) == "skipped" if column in self.makers else column in row.skipped_sources
            for column in node.inputs
        )

    def _inputs_there(self, rows: list[Row], row: Row, name: str) -> bool:
        if self.is_full(name):
            return all(self.state(rows, each, wait) in _FINAL for each in rows for wait in self.waits[name])
        return all(row.fate.get(wait) in ("done", "skipped") for wait in self.waits[name])

    def state(self, rows: list[Row], row: Row, name: str) -> str:
        """The state that the cell should be in, as `CellState` names it."""
        if name in row.running:
            return "running"
        if name in row.fate:
            return row.fate[name]
        if row.rejected_by:
            return "dropped"
        if name in row.deferred:
            return "deferred"
        return "ready" if self._inputs_there(rows, row, name) else "waiting"

    def counts(self) -> Counter[str]:
        """Cells by state, over all row groups not released."""
        return Counter(
            "waiting" if index in self.turned_away else self.state(rows, row, name)
            for index, rows in self.groups.items()
            for row in rows
            for name in self.order
        )

    def ready(self, resource: str) -> list[CellId]:
        """Cells that a slot of the resource should go to, first one first."""
        if self.draining:
            return []
        found = [
            (index, at, -self.paths[name], position)
            for index, rows in self.live()
            for at, row in enumerate(rows)
            for position, name in enumerate(self.order)
            if self.nodes[name].resource == resource and not self.is_full(name)
            if self.state(rows, row, name) == "ready"
        ]
        return [CellId(index, position, at) for index, at, _, position in sorted(found)]

    def running_cells(self) -> list[CellId]:
        """Cells that the driver has in hand."""
        return [
            CellId(index, self.order.index(name), at)
            for index, rows in self.live()
            for at, row in enumerate(rows)
            for name in sorted(row.running)
            if not self.is_full(name)
        ]

    def running_columns(self) -> list[tuple[int, str, list[int]]]:
        """Full columns that the driver has in hand: row group, node, rows."""
        found = []
        for index, rows in self.live():
            for name in filter(self.is_full, self.order):
                running = [at for at, row in enumerate(rows) if name in row.running]
                if running:
                    found.append((index, name, running))
        return found

    def sleeping(self) -> list[CellId]:
        """Deferred cells whose own time is to come."""
        return [
            CellId(index, self.order.index(name), at)
            for index, rows in self.live()
            for at, row in enumerate(rows)
            for name, until in row.deferred.items()
            if until == "sleep" and self.state(rows, row, name) == "deferred"
        ]

    # --- events ----------------------------------------------------------------------------------------------------

    def admit(self, index: int, rows: int, skipped: Mapping[str, Sequence[int]]) -> list[Instruction]:
        sources = [{source for source, positions in skipped.items() if at in positions} for at in range(rows)]
        self.groups[index] = [Row(each) for each in sources]
        if self.draining:
            self.turned_away.add(index)
            self.ended[index] = False
            return [FinishRowGroup(index, complete=False)]
        return self.follow(index)

    def start(self, cell: CellId) -> None:
        name = self.order[cell.node]
        row = self.groups[cell.row_group][cell.row]
        row.running.add(name)
        row.starts[name] += 1

    def come_back(self, cell: CellId, fate: str) -> list[Instruction]:
        """A cell's end; `fate` is "done", "skipped", "rejected", "sleep", "salvage" or "cancelled"."""
        self._come_back(self.groups[cell.row_group][cell.row], self.order[cell.node], fate)
        return self.follow(cell.row_group)

    def _come_back(self, row: Row, name: str, fate: str) -> None:
        row.running.remove(name)
        if fate == "rejected":
            row.rejected_by.add(name)
        if fate in ("sleep", "salvage", "cancelled"):
            row.setbacks[name] += 1
        if row.rejected_by:
            row.fate[name] = "dropped"
        elif fate in ("done", "skipped"):
            row.fate[name] = fate
        elif fate in ("sleep", "salvage"):
            row.deferred[name] = fate
        elif self.draining:
            row.halted.add(name)

    def due(self, cell: CellId) -> list[Instruction]:
        del self.groups[cell.row_group][cell.row].deferred[self.order[cell.node]]
        return self.follow(cell.row_group)

    def salvage(self, index: int) -> list[Instruction]:
        self.salvage_asked.remove(index)
        if index in self.ended:
            return []
        for row in self.groups[index]:
            row.deferred.clear()
        return self.follow(index)

    def column(
        self, index: int, name: str, fates: Mapping[int, str], parents: Sequence[int] | None = None
    ) -> list[Instruction]:
        """A full column's end, with the fate of each of its rows, "cancelled" among them."""
        rows = self.groups[index]
        for at, fate in fates.items():
            self._come_back(rows[at], name, fate)
        if parents is not None:
            rejected = [row for row in rows if row.rejected_by]
            self.groups[index] = [copy.deepcopy(rows[parent]) for parent in parents] + rejected
        return self.follow(index)

    def drain(self) -> list[Instruction]:
        self.draining = True
        return [out for index, _ in list(self.live()) for out in self._end(index)]

    def release(self, index: int) -> None:
        del self.groups[index]

    # --- what follows ----------------------------------------------------------------------------------------------

    def follow(self, index: int) -> list[Instruction]:
        """Start and skip whatever can be, until nothing changes; then see whether the row group has ended."""
        rows = self.groups[index]
        starts: list[Instruction] = []
        changed = True
        while changed:
            changed = False
            for position, name in enumerate(self.order):
                open_rows = [
                    at
                    for at, row in enumerate(rows)
                    if name not in row.halted and self.state(rows, row, name) == "ready"
                ]
                spared = [at for at in open_rows if self.spared(rows[at], name)]
                for at in spared:
                    rows[at].fate[name] = "skipped"
                make = [at for at in open_rows if at not in spared]
                inline = self.nodes[name].resource == INLINE or self.is_full(name)
                for at in make if inline else ():
                    self.start(CellId(index, position, at))
                if self.is_full(name) and make:
                    starts.append(StartColumn(index, position, Positions(make)))
                elif inline:
                    starts += [StartCell(CellId(index, position, at)) for at in make]
                changed = changed or bool(spared or (inline and make))
        return starts + self._end(index)

    def _end(self, index: int) -> list[Instruction]:
        rows = self.groups[index]
        states = {self.state(rows, row, name) for row in rows for name in self.order}
        if "running" in states:
            return []
        if states <= _FINAL or self.draining:
            self.ended[index] = states <= _FINAL
            return [FinishRowGroup(index, complete=states <= _FINAL)]
        waits_for_time = any(
            until == "sleep" and self.state(rows, row, name) == "deferred"
            for row in rows
            for name, until in row.deferred.items()
        )
        if "ready" in states or waits_for_time:
            return []
        self.salvage_asked.add(index)
        return [ScheduleSalvage(index)]


_FINAL = {"done", "skipped", "dropped"}
