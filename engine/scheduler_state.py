"""The scheduler's state: which cells may start, and when a row group is finished. Pure and synchronous.

Theory
------
A row group has a cell for every node and row. A cell is in one of seven states:

    WAITING ──► READY ──► RUNNING ──► DONE                 made
       │          │ ▲        │ └────► SKIPPED              its skip rule said no
       │          │ │        ├──────► DEFERRED ──► READY   failed, to be tried again later
       │          │ └────────┘ (cancelled)
       │          ▼
       ├──────► DROPPED ◄── RUNNING, DEFERRED              the row is rejected, by this cell or another
       └──────► SKIPPED                                    an input was skipped and propagates

DONE, SKIPPED and DROPPED are final; a cell that is not is *open*. `NEXT` in `engine/cell_table.py` holds these arrows;
every change goes through `_move` or, for many rows of one node, `_move_rows`; an arrow that is not there raises.

A cell of a CELL node waits for the cells of *its row* only. A FULL_COLUMN node is one *unit* per row group: it starts
when each input column has no open cell left, takes all its rows at once (but those that are skipped), and finishes them
at once. So there is no barrier between columns but the one that a whole-column function needs by its nature.

One bad cell rejects its row: the row's other open cells are dropped with it, except those that are running, which are
dropped when they come back. A row group is finished when it has no open cell.

Who does what. The driver owns time, tasks and values; this module owns states. `handle(event)` returns instructions;
the result of each instruction is the driver's next event. An event that does not fit the state raises and changes
nothing: every handler checks first. Events of a timer that has lost its object (the row was rejected, the row group has
ended) fit always, and do nothing.

Cells that need a slot (of a model, a thread, the loop) queue per resource: oldest row group first, then the lowest row,
then the longest remaining path, so that rows finish early and row groups commit in order of admission. Which resource
has a free slot is not known here: the driver says `SlotFree(resource)` and gets a `StartCell`, or nothing. INLINE cells
and full columns need no slot: they are READY only in passing.

A cell that is deferred either sleeps until its own time (`CellDue`) or waits for the row group's next salvage round,
which is asked for when nothing else of the row group can go on.

After `Drain` no slot is granted any more. INLINE cells and full columns still start: they cost no call, and may be all
that a row group lacks. A row group whose cells all come back finished is complete all the same; the others are aborted
as soon as none of their cells is running.

Cost. Every event costs O(consumers of the cell), plus O(log queue) for a queued cell; a rejected row costs O(nodes);
an admission costs O(cells that wait for nothing), a full column O(rows), both of their own. A rejected row's cells stay
in their queue and are passed over when their turn comes. Per-cell states are bytes, per-cell counters 16 bits.

Prior art: the worker state machine of dask.distributed (events in, instructions out, invariants checked after each
event in tests) and h11's transition tables (an illegal event raises and changes nothing).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prefect_datagen.engine.cell_table import (
    DEFERRED,
    DONE,
    DROPPED,
    NEXT,
    READY,
    RUNNING,
    SKIPPED,
    WAITING,
    CellState,
    CellTable,
    as_bytes,
    as_counters,
    count_states,
)
from prefect_datagen.engine.errors import InternalError
from prefect_datagen.engine.graph import ColumnGraph
from prefect_datagen.engine.node import INLINE, Strategy
from prefect_datagen.engine.scheduler_events import (
    CellCancelled,
    CellDeferred,
    CellDone,
    CellDue,
    CellId,
    CellRejected,
    CellSkipped,
    ColumnCancelled,
    ColumnDone,
    Drain,
    Event,
    FinishRowGroup,
    Instruction,
    Positions,
    RowGroupAdmitted,
    SalvageDue,
    ScheduleSalvage,
    SlotFree,
    StartCell,
    StartColumn,
)

__all__ = [
    "CellCancelled",
    "CellDeferred",
    "CellDone",
    "CellDue",
    "CellId",
    "CellRejected",
    "CellSkipped",
    "CellState",
    "ColumnCancelled",
    "ColumnDone",
    "Drain",
    "Event",
    "FinishRowGroup",
    "Instruction",
    "Positions",
    "RowGroupAdmitted",
    "SalvageDue",
    "ScheduleSalvage",
    "SchedulerState",
    "SchedulerStatistics",
    "SlotFree",
    "StartCell",
    "StartColumn",
]


_Rows = NDArray[np.int64]

_Todo = list[tuple[int, int]]
"""What an event made possible: (node, row) of a cell whose inputs are there, (node, `_COLUMN`) of a closed column."""

_COLUMN = -1


@dataclass(frozen=True)
class SchedulerStatistics:
    """A look at the state: row groups not released yet, cells in them by state, cells queued by resource."""

    row_groups: int
    cells: dict[str, int]
    queued: dict[str, int]
    draining: bool


class SchedulerState:
    """All row groups that are in the engine now. See the module's docstring."""

    def __init__(self, graph: ColumnGraph) -> None:
        self.graph = graph
        self._is_unit = [node.strategy is Strategy.FULL_COLUMN for node in graph.nodes]
        # What a node's cells need a slot of; INLINE stands for nothing, which is what full columns need.
        self._slots = [INLINE if node.strategy is Strategy.FULL_COLUMN else node.resource for node in graph.nodes]
        self._groups: dict[int, CellTable] = {}
        self._queues: dict[str, list[tuple[int, int, int, int]]] = {name: [] for name in graph.resources}
        self._queued: dict[str, int] = dict.fromkeys((*graph.resources, INLINE), 0)  # READY cells by what they need
        self._draining = False
        self._handlers: dict[type, Callable[[Any], list[Instruction]]] = {
            RowGroupAdmitted: self._admit,
            SlotFree: self._grant,
            CellDone: self._cell_done,
            CellSkipped: self._cell_skipped,
            CellRejected: self._cell_rejected,
            CellDeferred: self._cell_deferred,
            CellDue: self._cell_due,
            CellCancelled: self._cell_cancelled,
            SalvageDue: self._salvage_due,
            ColumnDone: self._column_done,
            ColumnCancelled: self._column_cancelled,
            Drain: self._drain,
        }

    # --- the outside -----------------------------------------------------------------------------------------------

    def handle(self, event: Event) -> list[Instruction]:
        """Take an event, return what to do about it.

        Raises:
            InternalError: the event does not fit the state, which is then unchanged.
        """
        return self._handlers[type(event)](event)

    def queued(self, resource: str) -> int:
        """Cells that would start if the resource had slots. 0 while draining."""
        return 0 if self._draining else self._queued[resource]

    @property
    def draining(self) -> bool:
        """Whether `Drain` was seen."""
        return self._draining

    def dropped_rows(self, row_group: int) -> NDArray[np.bool_]:
        """Which rows (positions) of a row group that is not released are rejected, shape `(rows,)`."""
        dropped: NDArray[np.bool_] = as_bytes(self._groups[row_group].dropped) != 0
        return dropped

    def skipped_cells(self, row_group: int, node: int) -> NDArray[np.bool_]:
        """Which cells of a node are skipped in a row group that is not released, shape `(rows,)`."""
        skipped: NDArray[np.bool_] = as_bytes(self._groups[row_group].cells[node]) == SKIPPED
        return skipped

    def release(self, row_group: int) -> None:
        """Forget a row group after its `FinishRowGroup`, once its rows and skips were read.

        Raises:
            InternalError: it has not ended, or is not there.
        """
        group = self._groups.get(row_group)
        if group is None or not group.ended:
            raise _illegal(f"row group {row_group} is released before it ended, or twice", row_group)
        del self._groups[row_group]

    def statistics(self) -> SchedulerStatistics:
        """Counts over all row groups that are not released. Costs O(row groups)."""
        counts = [sum(group.counts[state] for group in self._groups.values()) for state in CellState]
        return SchedulerStatistics(
            row_groups=len(self._groups),
            cells={state.name.lower(): counts[state] for state in CellState},
            queued={name: self._queued[name] for name in self.graph.resources},
            draining=self._draining,
        )

    def validate(self) -> None:
        """Check the invariants that hold between events. For tests: costs O(cells).

        Raises:
            InternalError: one does not hold; its message says which.
        """
        ready = dict.fromkeys(self._queued, 0)
        for group in self._groups.values():
            if group.ended:
                continue
            group.validate(self.graph, draining=self._draining)
            for slot, cells in zip(self._slots, group.cells, strict=True):
                ready[slot] += cells.count(READY)
        if ready != self._queued:
            raise InternalError(f"scheduler invariant broken: queued {self._queued}, but {ready} are READY")

    def __repr__(self) -> str:
        return f"SchedulerState({self.statistics()!r})"

    # --- row groups ------------------------------------------------------------------------------------------------

    def _admit(self, event: RowGroupAdmitted) -> list[Instruction]:
        if event.row_group in self._groups:
            raise _illegal(f"row group {event.row_group} is admitted already", event.row_group)
        if event.rows < 0:
            raise _illegal(f"row group {event.row_group} of {event.rows} rows", event.row_group)
        outside = [row for skipped in event.skipped.values() for row in skipped if not 0 <= row < event.rows]
        if outside:
            raise _illegal(
                f"row {outside[0]} is skipped, but row group {event.row_group} has {event.rows} rows", event.row_group
            )
        group = self._groups[event.row_group] = CellTable(event.row_group, event.rows, self.graph)
        if self._draining:
            group.ended = True
            return [FinishRowGroup(event.row_group, complete=False)]
        for node, sources in enumerate(self.graph.skip_sources):
            for source in sources:
                as_bytes(group.skip[node])[list(event.skipped.get(source, ()))] = True
        out: list[Instruction] = []
        todo: _Todo = []
        for node, waits in enumerate(self.graph.waits_for):
            if not waits and self._is_unit[node]:
                self._start_unit(group, node, out, todo)
            elif not waits:
                todo.extend((node, row) for row in reversed(range(event.rows)))
        return self._conclude(group, todo, out)

    def _conclude(self, group: CellTable, todo: _Todo, out: list[Instruction]) -> list[Instruction]:
        """Every event of a row group ends here: work off what it made possible, and see whether the row group has
        ended. A list and not recursion: a chain of a thousand columns is legal."""
        while todo:
            node, row = todo.pop()
            if row == _COLUMN:
                self._column_closed(group, node, out, todo)
            elif group.skip[node][row]:
                self._finish(group, node, row, SKIPPED, todo)
            else:
                self._make_ready(group, node, row, out)
        if not group.counts[RUNNING]:
            self._settle(group, out)
        return out

    def _settle(self, group: CellTable, out: list[Instruction]) -> None:
        """Nothing of the row group runs: has it ended, or come to a salvage round?"""
        if group.ended:
            return
        if group.finished:
            group.ended = True
            out.append(FinishRowGroup(group.index, complete=True))
        elif self._draining:
            group.ended = True
            for slot, cells in zip(self._slots, group.cells, strict=True):
                self._queued[slot] -= cells.count(READY)
            out.append(FinishRowGroup(group.index, complete=False))
        elif group.awaits_salvage:
            out.append(ScheduleSalvage(group.index))

    def _drain(self, _: Drain) -> list[Instruction]:
        self._draining = True
        out: list[Instruction] = []
        for group in self._groups.values():
            if not group.counts[RUNNING]:
                self._settle(group, out)
        return out

    # --- cells -----------------------------------------------------------------------------------------------------

    def _grant(self, event: SlotFree) -> list[Instruction]:
        if event.resource not in self._queues:
            raise _illegal(f"no column needs a slot of {event.resource!r}")
        if self._draining:
            return []
        queue = self._queues[event.resource]
        while queue:
            row_group, row, _, node = heappop(queue)
            group = self._groups.get(row_group)
            # A cell that was dropped in the queue is passed over here; its row group may be resized or gone by now.
            if group is not None and group.state_of(node, row) == READY:
                return [self._start(group, node, row)]
        return []

    def _make_ready(self, group: CellTable, node: int, row: int, out: list[Instruction]) -> None:
        """Queue a cell for its slot, or start it where it needs none."""
        self._move(group, node, row, READY)
        slot = self._slots[node]
        if slot == INLINE:
            out.append(self._start(group, node, row))
        else:
            heappush(self._queues[slot], (group.index, row, -self.graph.remaining[node], node))

    def _start(self, group: CellTable, node: int, row: int) -> StartCell:
        self._move(group, node, row, RUNNING)
        return StartCell(CellId(group.index, node, row))

    def _cell_done(self, event: CellDone) -> list[Instruction]:
        return self._come_back(event.cell, DONE)

    def _cell_skipped(self, event: CellSkipped) -> list[Instruction]:
        return self._come_back(event.cell, SKIPPED)

    def _come_back(self, cell: CellId, state: int) -> list[Instruction]:
        group = self._group_of_running(cell)
        todo: _Todo = []
        self._finish(group, cell.node, cell.row, state, todo)
        return self._conclude(group, todo, [])

    def _cell_rejected(self, event: CellRejected) -> list[Instruction]:
        cell = event.cell
        group = self._group_of_running(cell)
        todo: _Todo = []
        self._drop_row(group, cell.row, todo)
        self._finish(group, cell.node, cell.row, DROPPED, todo)
        return self._conclude(group, todo, [])

    def _cell_deferred(self, event: CellDeferred) -> list[Instruction]:
        cell = event.cell
        group = self._group_of_running(cell)
        if group.dropped[cell.row]:
            return self._come_back(cell, DROPPED)
        self._move(group, cell.node, cell.row, DEFERRED)
        (group.salvage if event.salvage else group.sleeping).add(cell)
        return self._conclude(group, [], [])

    def _cell_due(self, event: CellDue) -> list[Instruction]:
        cell = event.cell
        group = self._groups.get(cell.row_group)
        if group is None or group.ended:
            return []
        if cell not in group.sleeping:
            if group.state_of(cell.node, cell.row) in (WAITING, READY, RUNNING, DEFERRED):
                raise _illegal(f"{cell!r} does not sleep", cell.row_group)
            return []  # its row was rejected while it slept
        group.sleeping.discard(cell)
        out: list[Instruction] = []
        self._make_ready(group, cell.node, cell.row, out)
        return self._conclude(group, [], out)

    def _cell_cancelled(self, event: CellCancelled) -> list[Instruction]:
        cell = event.cell
        group = self._group_of_running(cell)
        if group.dropped[cell.row]:
            return self._come_back(cell, DROPPED)
        if self._draining:
            self._move(group, cell.node, cell.row, READY)
        elif self._slots[cell.node] == INLINE:
            raise _illegal(f"{cell!r} needs no slot: it is cancelled only while draining", cell.row_group)
        else:
            self._make_ready(group, cell.node, cell.row, [])
        return self._conclude(group, [], [])

    def _salvage_due(self, event: SalvageDue) -> list[Instruction]:
        group = self._groups.get(event.row_group)
        if group is None or group.ended:
            return []
        if not group.awaits_salvage:
            raise _illegal(f"row group {event.row_group} has no salvage round to come", event.row_group)
        out: list[Instruction] = []
        cells, group.salvage = group.salvage, set()
        for cell in cells:
            self._make_ready(group, cell.node, cell.row, out)
        return self._conclude(group, [], out)

    # --- full columns ----------------------------------------------------------------------------------------------

    def _column_closed(self, group: CellTable, node: int, out: list[Instruction], todo: _Todo) -> None:
        """A column has no open cell left: full columns that waited for it, and for nothing else, start."""
        for consumer in self.graph.consumers[node]:
            group.open_inputs[consumer] -= 1
            if not group.open_inputs[consumer] and self._is_unit[consumer]:
                self._start_unit(group, consumer, out, todo)

    def _start_unit(self, group: CellTable, node: int, out: list[Instruction], todo: _Todo) -> None:
        """Start a full column for the rows that are left and not skipped."""
        waiting = np.flatnonzero(as_bytes(group.cells[node]) == WAITING)
        skip = as_bytes(group.skip[node])[waiting] != 0
        self._finish_rows(group, node, waiting[skip], SKIPPED, todo)
        rows = waiting[~skip]
        if len(rows):
            self._move_rows(group, node, rows, READY)
            self._move_rows(group, node, rows, RUNNING)
            out.append(StartColumn(group.index, node, Positions(rows)))

    def _column_done(self, event: ColumnDone) -> list[Instruction]:
        group = self._group_of_unit(event)
        self._check_fates(event)
        if event.parents is not None:
            event = _resized(group, event)
        fate = np.full(group.rows, DONE, dtype=np.uint8)
        fate[list(event.skipped)] = SKIPPED
        fate[list(event.rejected)] = DROPPED
        fate[as_bytes(group.dropped) != 0] = DROPPED  # rejected while the column was being made
        rows = Positions.of(event.rows).array
        fates = fate[rows]
        todo: _Todo = []
        for row in event.rejected:
            self._drop_row(group, row, todo)
        for state, count in enumerate(count_states(fates)):
            if count:
                ended = rows if count == len(rows) else rows[fates == state]
                self._finish_rows(group, event.node, ended, state, todo)
        return self._conclude(group, todo, [])

    def _column_cancelled(self, event: ColumnCancelled) -> list[Instruction]:
        group = self._group_of_unit(event)
        if not self._draining:
            raise _illegal(f"{_unit(event)} is cancelled only while draining", event.row_group)
        rows = Positions.of(event.rows).array
        dropped = as_bytes(group.dropped)[rows] != 0
        todo: _Todo = []
        self._finish_rows(group, event.node, rows[dropped], DROPPED, todo)
        self._move_rows(group, event.node, rows[~dropped], READY)
        return self._conclude(group, todo, [])

    # --- what follows from a finished cell -------------------------------------------------------------------------

    def _finish(self, group: CellTable, node: int, row: int, state: int, todo: _Todo) -> None:
        """A cell becomes final, and its row's consumers wait for one input less."""
        if group.dropped[row]:
            state = DROPPED  # a rejected row takes no more values
        self._move(group, node, row, state)
        if state != DROPPED:
            for consumer in self.graph.consumers[node]:
                pending = group.pending[consumer]
                pending[row] -= 1
                if state == SKIPPED and node in self.graph.skip_inputs[consumer]:
                    group.skip[consumer][row] = True
                if not pending[row] and not self._is_unit[consumer]:
                    todo.append((consumer, row))
        group.open[node] -= 1
        if not group.open[node]:
            todo.append((node, _COLUMN))

    def _finish_rows(self, group: CellTable, node: int, rows: _Rows, state: int, todo: _Todo) -> None:
        """`_finish` for many rows of a full column."""
        if not len(rows):
            return
        self._move_rows(group, node, rows, state)
        for consumer in self.graph.consumers[node] if state != DROPPED else ():
            pending = as_counters(group.pending[consumer])
            pending[rows] -= 1
            if state == SKIPPED and node in self.graph.skip_inputs[consumer]:
                as_bytes(group.skip[consumer])[rows] = True
            if not self._is_unit[consumer]:
                free = rows[pending[rows] == 0]
                todo.extend((consumer, row) for row in reversed(free.tolist()))
        group.open[node] -= len(rows)
        if not group.open[node]:
            todo.append((node, _COLUMN))

    def _drop_row(self, group: CellTable, row: int, todo: _Todo) -> None:
        """Reject a row: its open cells are dropped, but for running ones, which are dropped when they come back."""
        group.dropped[row] = True
        for node, cells in enumerate(group.cells):
            if cells[row] >= DONE or cells[row] == RUNNING:
                continue
            if cells[row] == DEFERRED:
                group.sleeping.discard(CellId(group.index, node, row))
                group.salvage.discard(CellId(group.index, node, row))
            self._finish(group, node, row, DROPPED, todo)

    # --- transitions and checks ------------------------------------------------------------------------------------

    def _move(self, group: CellTable, node: int, row: int, state: int) -> None:
        cells = group.cells[node]
        before = cells[row]
        if state not in NEXT[before]:
            raise _illegal(f"{CellId(group.index, node, row)!r}: {_arrow(before, state)}", group.index)
        cells[row] = state
        group.counts[before] -= 1
        group.counts[state] += 1
        if before == READY:
            self._queued[self._slots[node]] -= 1
        elif state == READY:
            self._queued[self._slots[node]] += 1

    def _move_rows(self, group: CellTable, node: int, rows: _Rows, state: int) -> None:
        cells = as_bytes(group.cells[node])
        moved = count_states(cells[rows])
        for before in CellState:
            if moved[before] and state not in NEXT[before]:
                raise _illegal(f"rows of column {node}, row group {group.index}: {_arrow(before, state)}", group.index)
            group.counts[before] -= moved[before]
        cells[rows] = state
        group.counts[state] += len(rows)
        self._queued[self._slots[node]] += len(rows) * (state == READY) - moved[READY]

    def _group_of_running(self, cell: CellId) -> CellTable:
        group = self._groups.get(cell.row_group)
        if group is None or group.state_of(cell.node, cell.row) != RUNNING or self._is_unit[cell.node]:
            raise _illegal(f"{cell!r} is not a running cell", cell.row_group)
        return group

    def _group_of_unit(self, event: ColumnDone | ColumnCancelled) -> CellTable:
        group = self._groups.get(event.row_group)
        if group is not None and event.node in range(len(group.cells)) and self._is_unit[event.node] and event.rows:
            running = np.flatnonzero(as_bytes(group.cells[event.node]) == RUNNING)
            given = Positions.of(event.rows).array
            if np.array_equal(running, given) or np.array_equal(running, np.sort(given)):
                return group
        raise _illegal(f"{_unit(event)} does not run for the {len(event.rows)} rows given", event.row_group)

    def _check_fates(self, event: ColumnDone) -> None:
        if not event.skipped and not event.rejected and event.parents is None:
            return
        rows, skipped, rejected = set(event.rows), set(event.skipped), set(event.rejected)
        if not skipped | rejected <= rows or skipped & rejected:
            raise _illegal(
                f"{_unit(event)}: skipped and rejected are some of its rows, and no row is both", event.row_group
            )
        if event.parents is None:
            return
        if not self.graph.nodes[event.node].allow_resize:
            raise _illegal(f"{_unit(event)} may not change the number of rows", event.row_group)
        if not set(event.parents) <= rows - rejected:
            raise _illegal(f"{_unit(event)}: parents are some of its rows that are not rejected", event.row_group)


def _resized(group: CellTable, event: ColumnDone) -> ColumnDone:
    """Deal the positions anew, and say the same event in them.

    Nothing else of the row group is open for these rows but what waits for this column: it is a barrier of the graph.
    """
    parents = list(event.parents or ())
    dropped = np.flatnonzero(as_bytes(group.dropped)).tolist()
    kept = parents + sorted([*dropped, *event.rejected])
    group.deal(kept)
    rows, skipped, rejected = set(event.rows), set(event.skipped), set(event.rejected)
    return ColumnDone(
        event.row_group,
        event.node,
        rows=[row for row, old in enumerate(kept) if old in rows],
        skipped=[row for row, old in enumerate(kept) if old in skipped],
        rejected=[row for row, old in enumerate(kept) if old in rejected],
    )


def _unit(event: ColumnDone | ColumnCancelled) -> str:
    return f"full column {event.node} of row group {event.row_group}"


def _arrow(before: int, after: int) -> str:
    return f"no way from {CellState(before).name} to {CellState(after).name}"


def _illegal(message: str, row_group: int | None = None) -> InternalError:
    return InternalError(f"scheduler: {message}", row_group=row_group)
