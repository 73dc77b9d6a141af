"""The scheduler's state against a reference, over random column graphs and every legal course of events."""

from __future__ import annotations

import copy
import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from prefect_datagen.engine.errors import InternalError
from prefect_datagen.engine.graph import ColumnGraph
from prefect_datagen.engine.node import INLINE, ColumnNode
from prefect_datagen.engine.scheduler_state import (
    CellCancelled,
    CellDeferred,
    CellDone,
    CellDue,
    CellId,
    CellRejected,
    CellSkipped,
    CellState,
    ColumnCancelled,
    ColumnDone,
    Drain,
    Event,
    FinishRowGroup,
    Instruction,
    RowGroupAdmitted,
    SalvageDue,
    SchedulerState,
    SlotFree,
    StartCell,
    StartColumn,
)
from tests.engine.graphs import SOURCES, node_lists
from tests.engine.scheduler_reference import Reference, Row
from tests.engine.snapshots import snapshot

MAX_ROW_GROUPS = 4
MAX_SETBACKS = 3  # of one cell, so that every run comes to an end

CELL_EVENTS: dict[str, Any] = {
    "done": CellDone,
    "skipped": CellSkipped,
    "rejected": CellRejected,
    "sleep": CellDeferred,
    "salvage": lambda cell: CellDeferred(cell, salvage=True),
    "cancelled": CellCancelled,
}
MOODS = {  # how cells come back: mostly well, often later, often not at all
    "calm": ["done"] * 12 + ["skipped", "rejected", "sleep", "salvage", "cancelled"],
    "slow": ["done"] * 4 + ["sleep", "salvage"] * 3 + ["skipped", "cancelled", "rejected"],
    "bad": ["done"] * 3 + ["rejected"] * 3 + ["skipped", "sleep", "salvage", "cancelled"],
}

Choose = Callable[[Sequence[Any]], Any]
"""Takes one of these: Hypothesis while it drives, a seeded generator from then on to the end of the run."""


class SchedulerMachine(RuleBasedStateMachine):
    """A driver that does anything a driver may do. What the state answers is compared with the reference."""

    @initialize(nodes=node_lists(), mood=st.sampled_from(sorted(MOODS)), seed=st.integers(0, 2**32))
    def build(self, nodes: list[ColumnNode], mood: str, seed: int) -> None:
        self.graph = ColumnGraph.build(nodes, sources=SOURCES)
        self.names = [node.name for node in self.graph.nodes]
        self.state = SchedulerState(self.graph)
        self.reference = Reference(nodes, self.names)
        self.mood = MOODS[mood]
        self.random = random.Random(seed)
        self.admitted = 0
        self.finished: Counter[int] = Counter()
        self.timers: list[CellId] = []  # set for sleeping cells, and not rung yet

    # --- what a driver does ----------------------------------------------------------------------------------------

    @precondition(lambda self: self.admitted < MAX_ROW_GROUPS)
    @rule(data=st.data(), rows=st.integers(0, 6))
    def admit(self, data: st.DataObject, rows: int) -> None:
        some_rows = st.sets(st.integers(0, rows - 1)) if rows else st.just(set())
        skipped = {source: sorted(data.draw(some_rows)) for source in data.draw(st.sets(st.sampled_from(SOURCES)))}
        index, self.admitted = self.admitted, self.admitted + 1
        self.expect(RowGroupAdmitted(index, rows, skipped), self.reference.admit(index, rows, skipped))

    @rule(data=st.data(), times=st.integers(1, 6))
    def go_on(self, data: st.DataObject, times: int) -> None:
        for _ in range(times):
            self.act(lambda options: data.draw(st.sampled_from(options)))

    @precondition(lambda self: self.admitted > 1)
    @rule(really=st.sampled_from([False] * 7 + [True]))
    def drain(self, really: bool) -> None:
        if really:
            self.expect(Drain(), self.reference.drain())

    def act(self, choose: Choose) -> None:
        """Do one thing that a driver may do now; nothing where only an admission is possible."""
        possible: list[tuple[int, Callable[[Any, Choose], None], Sequence[Any]]] = [
            (2, self.grant, self.grantable()),
            (4, self.cell_comes_back, self.reference.running_cells()),
            (2, self.column_comes_back, self.reference.running_columns()),
            (1, self.timer_rings, self.timers),
            (1, self.salvage_due, sorted(self.reference.salvage_asked)),
            (1, self.release, [index for index in self.reference.ended if index in self.reference.groups]),
        ]
        weighted = [(action, objects) for weight, action, objects in possible if objects for _ in range(weight)]
        if weighted:
            action, objects = choose(weighted)
            action(choose(objects), choose)

    def grantable(self) -> list[str]:
        return [resource for resource in self.graph.resources if self.reference.ready(resource)]

    def grant(self, resource: str, choose: Choose) -> None:
        for _ in range(choose([1, 2, 5])):
            first = self.reference.ready(resource)[:1]
            for cell in first:
                self.reference.start(cell)
            self.expect(SlotFree(resource), [StartCell(cell) for cell in first])

    def cell_comes_back(self, cell: CellId, choose: Choose) -> None:
        row, name = self.reference.groups[cell.row_group][cell.row], self.names[cell.node]
        fate = choose(self.mood)
        runs_on = self.graph.nodes[cell.node].resource == INLINE and not self.reference.draining
        if row.setbacks[name] >= MAX_SETBACKS or (fate == "cancelled" and runs_on):
            fate = "done"
        self.expect(CELL_EVENTS[fate](cell), self.reference.come_back(cell, fate))
        if cell in self.reference.sleeping():
            self.timers.append(cell)

    def timer_rings(self, cell: CellId, _: Choose) -> None:
        """A cell's time has come; the cell may be gone, by a rejection, a resize or the end of its row group."""
        self.timers.remove(cell)
        self.expect(CellDue(cell), self.reference.due(cell) if cell in self.reference.sleeping() else [])

    def salvage_due(self, index: int, _: Choose) -> None:
        """A salvage round's time has come; the row group may have ended."""
        self.expect(SalvageDue(index), self.reference.salvage(index))

    def column_comes_back(self, column: tuple[int, str, list[int]], choose: Choose) -> None:
        index, name, rows = column
        node = self.names.index(name)
        if self.reference.draining and choose([False, True]):
            cancelled = dict.fromkeys(rows, "cancelled")
            self.expect(ColumnCancelled(index, node, rows), self.reference.column(index, name, cancelled))
            return
        fates = {at: choose(["done", "done", "done", "skipped", "rejected"]) for at in rows}
        parents = None
        if self.reference.nodes[name].allow_resize and choose([True, True, False]):
            kept = [at for at in rows if fates[at] != "rejected"]
            parents = [choose(kept) for _ in range(choose(range(5)))] if kept else []
        event = ColumnDone(
            index,
            node,
            rows=rows,
            skipped=[at for at, fate in fates.items() if fate == "skipped"],
            rejected=[at for at, fate in fates.items() if fate == "rejected"],
            parents=parents,
        )
        self.expect(event, self.reference.column(index, name, fates, parents))

    def release(self, index: int, _: Choose) -> None:
        self.state.release(index)
        self.reference.release(index)

    # --- what no driver may do -------------------------------------------------------------------------------------

    @rule(
        kind=st.sampled_from([CellDone, CellSkipped, CellRejected, CellDeferred, CellCancelled, CellDue]),
        row_group=st.integers(0, MAX_ROW_GROUPS),
        node=st.integers(-1, 8),
        row=st.integers(-1, 6),
    )
    def a_cell_comes_back_that_does_not_run(self, kind: Any, row_group: int, node: int, row: int) -> None:
        cell = CellId(row_group, node, row)
        if kind is CellDue:
            legal = cell in self.reference.sleeping() or not self.is_open(cell)
        else:
            legal = cell in self.reference.running_cells()
        if not legal:
            self.refuse(kind(cell))

    def is_open(self, cell: CellId) -> bool:
        rows = dict(self.reference.live()).get(cell.row_group, [])
        if cell.row not in range(len(rows)) or cell.node not in range(len(self.names)):
            return False
        return self.reference.state(rows, rows[cell.row], self.names[cell.node]) not in ("done", "skipped", "dropped")

    # --- comparison ------------------------------------------------------------------------------------------------

    def expect(self, event: Event, instructions: Sequence[Instruction]) -> None:
        """The state answers with these instructions; starts in any order, and what ends the step last."""
        draining = self.state.draining
        given_ = self.state.handle(event)
        assert sorted(map(repr, given_)) == sorted(map(repr, instructions))
        starts = [each for each in given_ if isinstance(each, (StartCell, StartColumn))]
        assert given_[: len(starts)] == starts
        self.state.validate()
        for each in given_:
            if isinstance(each, FinishRowGroup):
                self.row_group_ended(each)
        if draining:
            assert all(self.graph.nodes[s.cell.node].resource == INLINE for s in starts if isinstance(s, StartCell))

    def refuse(self, event: Event) -> None:
        """The state raises, and is as it was."""
        before = snapshot(self.state)
        with pytest.raises(InternalError):
            self.state.handle(event)
        assert snapshot(self.state) == before

    @invariant()
    def counts_are_those_of_the_reference(self) -> None:
        counts = self.reference.counts()
        assert self.state.statistics().cells == {each.name.lower(): counts[each.name.lower()] for each in CellState}

    @rule(data=st.data())
    def queued_is_the_number_of_grants_that_would_succeed(self, data: st.DataObject) -> None:
        resource = data.draw(st.sampled_from(self.graph.resources))
        other = copy.deepcopy(self.state)
        granted = 0
        while other.handle(SlotFree(resource)):
            granted += 1
            assert other.queued(resource) == self.state.queued(resource) - granted
        assert granted == self.state.queued(resource) == len(self.reference.ready(resource))

    # --- properties of whole runs ----------------------------------------------------------------------------------

    def row_group_ended(self, end: FinishRowGroup) -> None:
        self.finished[end.row_group] += 1
        rows = self.reference.groups[end.row_group]
        dropped = self.state.dropped_rows(end.row_group).tolist()
        assert dropped == [bool(row.rejected_by) for row in rows], "a row is dropped iff one of its cells was rejected"
        for node, name in enumerate(self.names):
            skipped = self.state.skipped_cells(end.row_group, node).tolist()
            assert skipped == [row.fate.get(name) == "skipped" for row in rows]
        for row in rows:
            self.check_row(row, complete=end.complete)

    def check_row(self, row: Row, *, complete: bool) -> None:
        for name in row.rejected_by:
            assert not self.reference.descendants(name) & set(row.starts), "a dependant of a rejected cell was started"
        for name, starts in row.starts.items():
            assert 1 <= starts <= 1 + row.setbacks[name], "started again without a reason"
        for name in self.names:
            if complete and not row.rejected_by:
                spared = self.reference.spared(row, name)
                assert row.fate[name] in ("done", "skipped")
                assert (name in row.starts) is not spared, "a skipped input spares a cell iff it propagates"
                assert not spared or row.fate[name] == "skipped"

    def teardown(self) -> None:
        """Go on to the end: every row group that was admitted ends, and ends once."""
        if not hasattr(self, "state"):
            return
        while any(True for _ in self.reference.live()):
            self.act(self.random.choice)
        assert self.finished == Counter(range(self.admitted))
        while self.timers:
            self.timer_rings(self.timers[-1], self.random.choice)


TestScheduler = SchedulerMachine.TestCase
TestScheduler.settings = settings(
    max_examples=200, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
