"""Each event of the scheduler's state by itself; whole courses of events are in test_scheduler_machine.py."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from prefect_datagen.engine.errors import InternalError
from prefect_datagen.engine.graph import ColumnGraph
from prefect_datagen.engine.node import INLINE, LOOP, THREADS, ColumnNode
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
    Positions,
    RowGroupAdmitted,
    SalvageDue,
    SchedulerState,
    ScheduleSalvage,
    SlotFree,
    StartCell,
    StartColumn,
)
from tests.engine.graphs import SOURCES, full, node
from tests.engine.snapshots import snapshot

COMPLETE, ABORTED = FinishRowGroup(0, complete=True), FinishRowGroup(0, complete=False)


class Run:
    """A state that is validated after each event, with cells by column name. Model columns are on "large"."""

    def __init__(self, *nodes: ColumnNode) -> None:
        self.graph = ColumnGraph.build(nodes, sources=SOURCES)
        self.state = SchedulerState(self.graph)
        self.names = [each.name for each in self.graph.nodes]

    def cell(self, name: str, row: int = 0, row_group: int = 0) -> CellId:
        return CellId(row_group, self.names.index(name), row)

    def handle(self, event: Event) -> list[Instruction]:
        out = self.state.handle(event)
        self.state.validate()
        return out

    def admit(self, rows: int = 1, row_group: int = 0, **skipped: Sequence[int]) -> list[Instruction]:
        return self.handle(RowGroupAdmitted(row_group, rows, skipped))

    def grant(self, resource: str = "large") -> CellId:
        """The cell that a slot goes to."""
        (start,) = self.handle(SlotFree(resource))
        assert isinstance(start, StartCell)
        return start.cell

    def grant_all(self, resource: str = "large") -> list[CellId]:
        """The cells that slots go to until there is none left."""
        return [self.grant(resource) for _ in range(self.state.queued(resource))]

    def column(self, name: str, *rows: int, **more: Any) -> ColumnDone:
        return ColumnDone(0, self.names.index(name), rows, **more)

    def start_column(self, name: str, *rows: int) -> StartColumn:
        return StartColumn(0, self.names.index(name), Positions(rows))

    def states(self, name: str, row_group: int = 0) -> list[str]:
        """States of a column's cells, in words."""
        cells = snapshot(self.state)["_groups"][row_group]["cells"][self.names.index(name)]
        return [CellState(cell).name.lower() for cell in cells]


# --- admission -------------------------------------------------------------------------------------------------------


def test_cells_that_wait_for_nothing_are_queued_on_admission() -> None:
    run = Run(node("a"), node("b", "a"), node("c", "s0", resource="small"))
    assert run.admit(rows=3) == []
    assert (run.state.queued("large"), run.state.queued("small")) == (3, 3)


def test_inline_cells_and_full_columns_need_no_slot() -> None:
    run = Run(node("a", resource=INLINE), full("f"))
    out = run.admit(rows=2)
    assert sorted(map(repr, out)) == sorted(
        map(repr, [StartCell(run.cell("a", 0)), StartCell(run.cell("a", 1)), run.start_column("f", 0, 1)])
    )


@pytest.mark.parametrize("nodes", [[], [node("a")], [full("f"), node("a", "f", resource=INLINE)]])
def test_a_row_group_without_rows_is_complete_at_once(nodes: list[ColumnNode]) -> None:
    assert Run(*nodes).admit(rows=0) == [COMPLETE]


def test_a_row_group_is_complete_at_once_where_there_are_no_columns() -> None:
    assert Run().admit(rows=5) == [COMPLETE]


def test_skipped_sources_spare_the_cells_that_read_them_and_only_those() -> None:
    run = Run(
        node("a", "s0"), full("f", "s1"), node("deaf", "s0", propagate_skip=False), node("by_rule", skip_reads=["s0"])
    )
    out = run.admit(rows=3, s0=[1], s1=[0, 2], unread=[0])
    assert out == [run.start_column("f", 1)]
    assert run.states("a") == ["ready", "skipped", "ready"]
    assert run.states("f") == ["skipped", "running", "skipped"]
    assert run.states("deaf") == run.states("by_rule") == ["ready"] * 3


def test_a_row_group_whose_every_cell_is_skipped_is_complete_at_once() -> None:
    run = Run(node("a", "s0"), full("f", "a"), node("b", "f", "a"))
    assert run.admit(rows=2, s0=[0, 1]) == [COMPLETE]
    assert run.state.skipped_cells(0, run.names.index("b")).tolist() == [True, True]


def test_skips_propagate_through_three_thousand_columns_without_recursion() -> None:
    run = Run(*(node(f"c{at}", f"c{at - 1}" if at else "s0") for at in range(3000)))
    assert run.state.handle(RowGroupAdmitted(0, 1, {"s0": [0]})) == [COMPLETE]


# --- slots -----------------------------------------------------------------------------------------------------------


def test_slots_go_to_the_oldest_row_group_then_the_lowest_row_then_the_longest_path() -> None:
    run = Run(node("short"), node("long"), node("end", "long"))
    run.admit(rows=2, row_group=1)
    run.admit(rows=1, row_group=0)
    order = ["long", "short"]
    assert run.grant_all() == [run.cell(name, row, group) for group, row in [(0, 0), (1, 0), (1, 1)] for name in order]


def test_of_equal_cells_the_column_that_comes_first_in_the_graph_goes_first() -> None:
    run = Run(node("z"), node("a"))
    run.admit()
    assert run.grant_all() == [run.cell("z"), run.cell("a")]


def test_a_slot_goes_only_to_a_cell_that_needs_it() -> None:
    run = Run(node("a", resource="small"), node("b", resource=LOOP), full("f"))
    run.admit()
    assert run.state.queued(THREADS) == 0
    assert run.handle(SlotFree(THREADS)) == []
    assert run.grant(LOOP) == run.cell("b")
    assert run.grant("small") == run.cell("a")


def test_a_slot_passes_over_cells_of_rejected_rows() -> None:
    run = Run(node("b"), node("a"), node("c", "a"))
    run.admit(rows=2)
    assert run.grant() == run.cell("a")
    run.handle(CellRejected(run.cell("a")))
    assert run.state.queued("large") == 2
    assert run.grant_all() == [run.cell("a", 1), run.cell("b", 1)]
    assert run.handle(SlotFree("large")) == []


# --- cells come back -------------------------------------------------------------------------------------------------


def test_a_cell_starts_when_its_own_rows_inputs_are_there() -> None:
    run = Run(node("a"), node("b"), node("c", "a", "b"))
    run.admit(rows=2)
    run.grant_all()
    run.handle(CellDone(run.cell("a", 1)))
    assert run.state.queued("large") == 0
    run.handle(CellDone(run.cell("b", 1)))
    assert run.grant_all() == [run.cell("c", 1)]


def test_an_inline_cell_starts_with_the_event_that_brings_its_last_input() -> None:
    run = Run(node("a"), node("i", "a", resource=INLINE))
    run.admit()
    assert run.handle(CellDone(run.grant())) == [StartCell(run.cell("i"))]
    assert run.handle(CellDone(run.cell("i"))) == [COMPLETE]


def test_the_last_cell_finishes_the_row_group() -> None:
    run = Run(node("a"), node("b", "a"))
    run.admit(rows=2)
    for _ in range(3):
        assert run.handle(CellDone(run.grant())) == []
    assert run.handle(CellDone(run.grant())) == [COMPLETE]
    assert not run.state.dropped_rows(0).any()


def test_a_skipped_cell_spares_those_that_read_it_unless_they_do_not_propagate() -> None:
    run = Run(
        node("a"),
        node("b", "a"),
        node("c", "b"),
        node("deaf", "b", propagate_skip=False),
        node("rule", skip_reads=["a"]),
    )
    run.admit()
    run.handle(CellSkipped(run.grant()))
    assert run.states("b") == run.states("c") == ["skipped"]
    assert run.grant_all() == [run.cell("deaf"), run.cell("rule")]


def test_a_skipped_input_spares_a_cell_only_when_all_its_inputs_are_finished() -> None:
    run = Run(node("a"), node("b"), node("c", "a", "b"))
    run.admit()
    run.grant_all()
    run.handle(CellSkipped(run.cell("a")))
    assert run.states("c") == ["waiting"]
    assert run.handle(CellDone(run.cell("b"))) == [COMPLETE]
    assert run.states("c") == ["skipped"]


def test_a_rejected_cell_drops_its_row_whatever_state_the_others_are_in() -> None:
    run = Run(*(node(name) for name in ("bad", "done", "sleeping", "salvage", "queued")), node("waiting", "bad"))
    run.admit(rows=2)
    for _ in range(4):
        run.grant()
    run.handle(CellDone(run.cell("done")))
    run.handle(CellDeferred(run.cell("sleeping")))
    run.handle(CellDeferred(run.cell("salvage"), salvage=True))
    run.handle(CellRejected(run.cell("bad")))
    assert {name: run.states(name)[0] for name in run.names} == dict.fromkeys(run.names, "dropped") | {"done": "done"}
    assert run.states("queued")[1] == "ready"
    assert run.state.dropped_rows(0).tolist() == [True, False]


@pytest.mark.parametrize(
    "come_back",
    [CellDone, CellSkipped, CellRejected, CellDeferred, lambda cell: CellDeferred(cell, salvage=True), CellCancelled],
)
def test_a_running_cell_of_a_rejected_row_is_dropped_when_it_comes_back(come_back: Callable[[CellId], Event]) -> None:
    run = Run(node("a"), node("b"), node("c", "b"))
    run.admit()
    run.grant_all()
    assert run.handle(CellRejected(run.cell("a"))) == []
    assert run.states("b") == ["running"]
    assert run.handle(come_back(run.cell("b"))) == [COMPLETE]
    assert run.states("b") == run.states("c") == ["dropped"]


def test_a_row_group_of_which_no_row_survives_is_complete() -> None:
    run = Run(node("a"), full("f", "a"))
    run.admit(rows=2)
    run.handle(CellRejected(run.grant()))
    assert run.handle(CellRejected(run.grant())) == [COMPLETE]


def test_a_cancelled_cell_is_queued_again_in_its_old_place() -> None:
    run = Run(node("a"))
    run.admit(rows=3)
    first = run.grant()
    assert run.handle(CellCancelled(first)) == []
    assert run.grant_all() == [first, run.cell("a", 1), run.cell("a", 2)]


# --- deferred cells --------------------------------------------------------------------------------------------------


def test_a_sleeping_cell_is_queued_when_its_time_has_come() -> None:
    run = Run(node("a"))
    run.admit()
    cell = run.grant()
    assert run.handle(CellDeferred(cell)) == []
    assert run.state.queued("large") == 0
    assert run.handle(CellDue(cell)) == []
    assert run.grant() == cell


def test_an_inline_cell_starts_again_when_its_time_has_come() -> None:
    run = Run(node("i", resource=INLINE))
    run.admit()
    run.handle(CellDeferred(run.cell("i")))
    assert run.handle(CellDue(run.cell("i"))) == [StartCell(run.cell("i"))]


def test_a_timer_of_a_rejected_row_does_nothing() -> None:
    run = Run(node("a"), node("b"))
    run.admit()
    run.grant_all()
    run.handle(CellDeferred(run.cell("a")))
    run.handle(CellRejected(run.cell("b")))
    before = snapshot(run.state)
    assert run.handle(CellDue(run.cell("a"))) == []
    assert snapshot(run.state) == before


@pytest.mark.parametrize("released", [False, True])
@pytest.mark.parametrize("salvage", [False, True])
def test_timers_that_ring_after_the_row_group_has_ended_do_nothing(salvage: bool, released: bool) -> None:
    run = Run(node("a"))
    run.admit()
    cell = run.grant()
    run.handle(CellDeferred(cell, salvage=salvage))
    assert run.handle(Drain()) == [ABORTED]
    if released:
        run.state.release(0)
    before = snapshot(run.state)
    assert run.handle(SalvageDue(0) if salvage else CellDue(cell)) == []
    assert snapshot(run.state) == before


def test_a_salvage_round_is_asked_for_when_nothing_else_of_the_row_group_can_go_on() -> None:
    run = Run(node("a"))
    run.admit(rows=4)
    lost, sleeping, running, queued = (run.cell("a", row) for row in range(4))
    for cell in (lost, sleeping, running):
        assert run.grant() == cell
    assert run.handle(CellDeferred(lost, salvage=True)) == []
    assert run.handle(CellDeferred(sleeping)) == []
    assert run.handle(CellDone(running)) == []
    assert run.grant() == queued
    assert run.handle(CellDone(queued)) == []
    assert run.handle(CellDue(sleeping)) == []
    assert run.grant() == sleeping
    assert run.handle(CellDone(sleeping)) == [ScheduleSalvage(0)]


def test_a_salvage_round_takes_all_its_cells_and_may_be_followed_by_another() -> None:
    run = Run(node("a"))
    run.admit(rows=2)
    for cell in run.grant_all():
        out = run.handle(CellDeferred(cell, salvage=True))
    assert out == [ScheduleSalvage(0)]
    assert run.handle(SalvageDue(0)) == []
    assert run.grant_all() == [run.cell("a", 0), run.cell("a", 1)]
    assert run.handle(CellDone(run.cell("a", 0))) == []
    assert run.handle(CellDeferred(run.cell("a", 1), salvage=True)) == [ScheduleSalvage(0)]


def test_a_rejected_row_takes_its_cells_out_of_the_salvage_round() -> None:
    run = Run(node("a"), node("b"))
    run.admit()
    run.grant_all()
    run.handle(CellDeferred(run.cell("a"), salvage=True))
    assert run.handle(CellRejected(run.cell("b"))) == [COMPLETE]


# --- full columns ----------------------------------------------------------------------------------------------------


def test_a_full_column_starts_when_its_input_column_has_no_open_cell() -> None:
    run = Run(node("a"), full("f", "a"), node("b", "f"))
    run.admit(rows=3)
    run.handle(CellDone(run.grant()))
    run.handle(CellRejected(run.grant()))
    assert run.handle(CellSkipped(run.grant())) == [run.start_column("f", 0)]
    assert run.states("f") == ["running", "dropped", "skipped"]


def test_rows_of_a_full_column_are_done_skipped_or_rejected_each() -> None:
    run = Run(full("f"), node("b", "f"), node("c"))
    assert run.admit(rows=3) == [run.start_column("f", 0, 1, 2)]
    assert run.handle(run.column("f", 0, 1, 2, skipped=[1], rejected=[2])) == []
    assert run.states("b") == ["ready", "skipped", "dropped"]
    assert run.states("c") == ["ready", "ready", "dropped"]


def test_rows_rejected_while_a_full_column_is_made_are_dropped_when_it_is_there() -> None:
    run = Run(full("f"), node("a"), node("b", "f"))
    run.admit(rows=2)
    run.handle(CellRejected(run.grant()))
    assert run.handle(run.column("f", 0, 1)) == []
    assert run.states("f") == ["dropped", "done"]
    assert run.states("b") == ["dropped", "ready"]


def test_a_full_column_whose_rows_are_all_skipped_or_rejected_does_not_start() -> None:
    run = Run(node("a"), full("f", "a"), full("g", "f"))
    run.admit(rows=2)
    run.handle(CellSkipped(run.grant()))
    assert run.handle(CellRejected(run.grant())) == [COMPLETE]
    assert run.states("f") == run.states("g") == ["skipped", "dropped"]


def test_a_cancelled_full_column_ends_the_row_group_as_aborted() -> None:
    run = Run(full("f"), node("a"))
    run.admit(rows=2)
    run.handle(CellRejected(run.grant()))
    assert run.handle(Drain()) == []
    assert run.handle(ColumnCancelled(0, run.names.index("f"), [0, 1])) == [ABORTED]
    assert run.states("f") == ["dropped", "ready"]


def test_a_row_group_is_complete_where_all_rows_of_a_cancelled_full_column_were_rejected() -> None:
    run = Run(full("f"), node("a"))
    run.admit(rows=1)
    run.handle(CellRejected(run.grant()))
    run.handle(Drain())
    assert run.handle(ColumnCancelled(0, run.names.index("f"), [0])) == [COMPLETE]


# --- resize ----------------------------------------------------------------------------------------------------------


def test_new_rows_take_the_states_of_their_parents_and_wait_anew() -> None:
    run = Run(node("a", propagate_skip=False), full("r", "a", allow_resize=True), node("b", "r"), node("c", "a"))
    run.admit(rows=3)
    run.handle(CellDone(run.grant()))
    run.handle(CellSkipped(run.grant()))
    assert run.handle(CellDone(run.grant())) == [run.start_column("r", 0, 1, 2)]
    assert run.handle(run.column("r", 0, 1, 2, parents=[1, 1, 0, 0])) == []
    assert run.states("a") == ["skipped", "skipped", "done", "done"]
    assert run.states("b") == ["ready"] * 4
    assert run.states("c") == ["skipped", "skipped", "ready", "ready"]


def test_rejected_rows_go_behind_the_new_ones_in_their_old_order() -> None:
    """Rows 0, 3 were skipped and 2 was rejected before the resize; the resize rejects 1 and drops 4."""
    run = Run(node("a"), full("r", "a", allow_resize=True), node("b", "a", "r"))
    run.admit(rows=5)
    fates: list[Callable[[CellId], Event]] = [CellSkipped, CellDone, CellRejected, CellSkipped, CellDone]
    for fate in fates:
        out = run.handle(fate(run.grant()))
    assert out == [run.start_column("r", 0, 1, 3, 4)]
    run.handle(run.column("r", 0, 1, 3, 4, rejected=[1], parents=[3, 0, 3]))
    assert run.states("a") == ["skipped", "skipped", "skipped", "done", "dropped"]
    assert run.states("r") == ["done", "done", "done", "dropped", "dropped"]
    assert run.states("b") == ["skipped", "skipped", "skipped", "dropped", "dropped"]
    assert run.state.dropped_rows(0).tolist() == [False, False, False, True, True]


def test_rows_that_a_resizing_column_skips_stay_skipped_in_their_copies() -> None:
    run = Run(full("r", allow_resize=True, skip_reads=["s0"]), node("b", "r"))
    run.admit(rows=2)
    run.handle(run.column("r", 0, 1, skipped=[1], parents=[0, 1, 1]))
    assert run.states("r") == ["done", "skipped", "skipped"]
    assert run.states("b") == ["ready", "skipped", "skipped"]


def test_a_resize_to_no_row_completes_the_row_group() -> None:
    run = Run(full("r", allow_resize=True), node("b", "r"))
    run.admit(rows=2)
    assert run.handle(run.column("r", 0, 1, parents=[])) == [COMPLETE]
    assert run.state.dropped_rows(0).shape == (0,)


def test_a_resizing_column_that_keeps_its_rows_needs_no_parents() -> None:
    run = Run(full("r", allow_resize=True), node("b", "r"))
    run.admit(rows=2)
    run.handle(run.column("r", 0, 1))
    assert run.states("b") == ["ready", "ready"]


def test_what_a_rejected_row_left_behind_does_not_disturb_a_resize() -> None:
    """Its sleeping cell, the timer of that, its cell for salvage, and its cell in a queue, at a place that is gone."""
    run = Run(*(node(name) for name in "abcd"), full("r", *"abcd", allow_resize=True), node("e", "r"))
    run.admit(rows=2)
    row_0 = [run.grant() for _ in range(4)]
    for cell in row_0:
        run.handle(CellDone(cell))
    asleep, lost, bad = (run.grant() for _ in range(3))
    assert run.state.queued("large") == 1
    run.handle(CellDeferred(asleep))
    run.handle(CellDeferred(lost, salvage=True))
    assert run.handle(CellRejected(bad)) == [run.start_column("r", 0)]
    assert run.handle(run.column("r", 0, parents=[])) == [COMPLETE]
    assert run.handle(CellDue(asleep)) == []
    assert run.handle(SlotFree("large")) == []


# --- drain -----------------------------------------------------------------------------------------------------------


def test_no_slot_is_granted_while_draining() -> None:
    run = Run(node("a"))
    run.admit(rows=2)
    run.grant()
    assert run.handle(Drain()) == []
    assert run.state.draining
    assert run.state.queued("large") == 0
    assert run.handle(SlotFree("large")) == []
    assert run.handle(CellDone(run.cell("a", 0))) == [ABORTED]


def test_what_needs_no_slot_still_starts_while_draining_and_may_complete_the_row_group() -> None:
    run = Run(node("a"), node("i", "a", resource=INLINE), full("f", "i"))
    run.admit()
    cell = run.grant()
    run.handle(Drain())
    assert run.handle(CellDone(cell)) == [StartCell(run.cell("i"))]
    assert run.handle(CellDone(run.cell("i"))) == [run.start_column("f", 0)]
    assert run.handle(run.column("f", 0)) == [COMPLETE]


@pytest.mark.parametrize("come_back", [CellCancelled, CellDeferred, lambda cell: CellDeferred(cell, salvage=True)])
@pytest.mark.parametrize("resource", ["large", INLINE])
def test_a_cell_that_comes_back_without_a_value_while_draining_aborts_the_row_group(
    come_back: Callable[[CellId], Event], resource: str
) -> None:
    run = Run(node("a", resource=resource))
    run.admit(rows=1)
    if resource != INLINE:
        run.grant()
    assert run.handle(Drain()) == []
    assert run.handle(come_back(run.cell("a"))) == [ABORTED]


def test_drain_ends_the_row_groups_of_which_nothing_runs_and_a_second_one_nothing() -> None:
    run = Run(node("a"))
    for row_group in range(3):
        run.admit(rows=1, row_group=row_group)
    cell = run.grant()
    assert run.handle(Drain()) == [FinishRowGroup(1, complete=False), FinishRowGroup(2, complete=False)]
    assert run.handle(Drain()) == []
    assert run.handle(CellDone(cell)) == [COMPLETE]


def test_a_row_group_that_comes_while_draining_ends_at_once() -> None:
    run = Run(node("a"))
    run.handle(Drain())
    assert run.admit(rows=3, s0=[1]) == [ABORTED]
    assert run.state.dropped_rows(0).tolist() == run.state.skipped_cells(0, 0).tolist() == [False] * 3
    run.state.release(0)
    assert run.state.statistics().row_groups == 0


# --- what the driver may not do --------------------------------------------------------------------------------------


def busy() -> Run:
    """Row 0 has cells in every state, row 1 runs, row 2 was rejected by `a`; `f` runs; row group 1 has ended."""
    run = Run(*(node(name) for name in "abcde"), full("f"), node("i", "a", resource=INLINE), full("g", "a"))
    run.admit(rows=3)
    run.admit(rows=0, row_group=1)
    run.grant_all()
    run.handle(CellDone(run.cell("a", 0)))
    run.handle(CellSkipped(run.cell("b", 0)))
    run.handle(CellDeferred(run.cell("c", 0)))
    run.handle(CellDeferred(run.cell("d", 0), salvage=True))
    run.handle(CellCancelled(run.cell("e", 0)))
    run.handle(CellRejected(run.cell("a", 2)))
    return run


def test_the_busy_run_has_cells_in_every_state() -> None:
    assert all(busy().state.statistics().cells.values())


NOT_RUNNING = [
    *(("a", 0), ("b", 0), ("c", 0), ("d", 0), ("e", 0)),  # done, skipped, asleep, for salvage, ready
    *(("i", 1), ("a", 2), ("f", 0), ("g", 0)),  # waiting, dropped, a running and a waiting full column
    *(("a", 3), ("a", -1)),  # no such row
]
COME_BACK = [CellDone, CellSkipped, CellRejected, CellDeferred, CellCancelled]
F, G, A = 5, 7, 0


@pytest.mark.parametrize("come_back", COME_BACK)
@pytest.mark.parametrize(("name", "row"), NOT_RUNNING)
def test_a_cell_that_does_not_run_cannot_come_back(name: str, row: int, come_back: Callable[[CellId], Event]) -> None:
    refuses(busy(), lambda run: come_back(run.cell(name, row)), "is not a running cell")


@pytest.mark.parametrize("cell", [CellId(0, 8, 0), CellId(0, -1, 0), CellId(1, 0, 0), CellId(9, 0, 0)])
def test_a_cell_that_is_not_there_cannot_come_back(cell: CellId) -> None:
    refuses(busy(), lambda run: CellDone(cell), "is not a running cell")


@pytest.mark.parametrize(("name", "row"), [("a", 1), ("d", 0), ("e", 0), ("i", 1)])
def test_an_open_cell_that_does_not_sleep_is_not_due(name: str, row: int) -> None:
    refuses(busy(), lambda run: CellDue(run.cell(name, row)), "does not sleep")


def test_an_inline_cell_cannot_be_cancelled_before_the_run_drains() -> None:
    refuses(busy(), lambda run: CellCancelled(run.cell("i", 0)), "needs no slot")


@pytest.mark.parametrize(
    ("event", "message"),
    [
        (RowGroupAdmitted(0, 3), "row group 0 is admitted already"),
        (RowGroupAdmitted(1, 3), "row group 1 is admitted already"),
        (RowGroupAdmitted(2, 3, {"s0": [0, 3]}), "row 3 is skipped, but row group 2 has 3 rows"),
        (RowGroupAdmitted(2, 3, {"s0": [-1]}), "row -1 is skipped"),
        (RowGroupAdmitted(2, -1), "row group 2 of -1 rows"),
        (SlotFree("unheard of"), "no column needs a slot of 'unheard of'"),
        (SalvageDue(0), "row group 0 has no salvage round to come"),
        (ColumnCancelled(0, F, [0, 1, 2]), "only while draining"),
        *(
            (ColumnDone(row_group, column, rows), f"does not run for the {len(rows)} rows given")
            for row_group, column, rows in [
                (0, F, [0, 1]),
                (0, F, [0, 1, 2, 3]),
                (0, F, [0, 1, 1, 2]),
                (0, F, []),
                (0, G, [0]),
                (0, G, []),
                (0, A, [1]),
                (0, 8, [0]),
                (0, -1, [0]),
                (1, F, []),
                (9, F, [0]),
            ]
        ),
        (ColumnDone(0, F, [0, 1, 2], skipped=[3]), "some of its rows"),
        (ColumnDone(0, F, [0, 1, 2], rejected=[3]), "some of its rows"),
        (ColumnDone(0, F, [0, 1, 2], skipped=[1], rejected=[1]), "no row is both"),
        (ColumnDone(0, F, [0, 1, 2], parents=[0, 1, 2]), "may not change the number of rows"),
    ],
    ids=str,
)
def test_an_event_that_does_not_fit_is_refused(event: Event, message: str) -> None:
    refuses(busy(), lambda run: event, re.escape(message))


@pytest.mark.parametrize("parents", [[0, 2], [-1], [1]])
def test_parents_are_rows_that_the_column_was_made_for_and_did_not_reject(parents: list[int]) -> None:
    run = Run(full("r", allow_resize=True), node("b", "r"))
    run.admit(rows=2)
    refuses(run, lambda run: run.column("r", 0, 1, rejected=[1], parents=parents), "parents are some of its rows")


@pytest.mark.parametrize("row_group", [0, 9])
def test_a_row_group_is_released_once_and_after_its_end(row_group: int) -> None:
    run = busy()
    before = snapshot(run.state)
    with pytest.raises(InternalError, match=f"row group {row_group} is released before it ended, or twice"):
        run.state.release(row_group)
    assert snapshot(run.state) == before


def refuses(run: Run, event: Callable[[Run], Event], message: str) -> None:
    """The event raises, and the state is as it was: nothing of it is changed, and it goes on to the same end."""
    before = snapshot(run.state)
    with pytest.raises(InternalError, match=message):
        run.state.handle(event(run))
    assert snapshot(run.state) == before


# --- a look at the state ---------------------------------------------------------------------------------------------


def test_statistics_count_cells_and_queues_of_row_groups_not_released() -> None:
    run = Run(node("a"), node("b", "a", resource="small"))
    run.admit(rows=2)
    run.admit(rows=0, row_group=1)
    run.handle(CellDone(run.grant()))
    statistics = run.state.statistics()
    assert statistics.row_groups == 2
    assert {name: count for name, count in statistics.cells.items() if count} == {"done": 1, "ready": 2, "waiting": 1}
    assert statistics.queued == {"large": 1, "small": 1}
    assert not statistics.draining
    assert repr(run.state) == f"SchedulerState({statistics!r})"


def test_what_the_state_hands_out_is_a_copy() -> None:
    run = Run(node("a"))
    run.admit(rows=2)
    before = snapshot(run.state)
    run.state.dropped_rows(0)[:] = True
    run.state.skipped_cells(0, 0)[:] = True
    assert run.state.dropped_rows(0).dtype == np.bool_
    assert snapshot(run.state) == before
