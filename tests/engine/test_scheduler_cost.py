"""The cost of an event, counted in steps: it does not grow with rows, row groups, cells in flight or columns."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from types import FrameType
from typing import Any

import pytest

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
    Event,
    Instruction,
    RowGroupAdmitted,
    SalvageDue,
    SchedulerState,
    SlotFree,
    StartCell,
)
from tests.engine.graphs import node

SHORT_WORK = {"heappush", "heappop", "append", "pop", "get", "add", "discard", "len", "any", "__new__"}
"""C functions that an event of a cell may call: none looks at more than a few objects, or at a queue's height."""


class Steps:
    """Bytecodes that were run, and C functions that were called, in Python code started within `counted`."""

    def __init__(self) -> None:
        self.bytecodes = 0
        self.c_functions: Counter[str] = Counter()

    def trace(self, frame: FrameType, what: str, _: Any) -> Any:
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        self.bytecodes += what == "opcode"
        return self.trace

    def profile(self, _: FrameType, what: str, function: Any) -> None:
        if what == "c_call":
            self.c_functions[function.__name__] += 1


def counted(work: Callable[[], list[Instruction]]) -> tuple[list[Instruction], Steps]:
    """What the work returns, and its steps."""
    steps = Steps()
    trace, profile = sys.gettrace(), sys.getprofile()
    sys.settrace(steps.trace)
    sys.setprofile(steps.profile)
    try:
        out = work()
    finally:
        sys.setprofile(profile)
        sys.settrace(trace)
    del steps.c_functions["setprofile"]
    return out, steps


class Meter:
    """A state whose every event is measured: `costs` holds (kind of event, bytecodes) in order."""

    def __init__(self, nodes: Sequence[ColumnNode]) -> None:
        self.state = SchedulerState(ColumnGraph.build(nodes, sources=()))
        self.costs: list[tuple[str, int]] = []

    def handle(self, event: Event) -> list[CellId]:
        """Cells that the event starts."""
        out, steps = counted(partial(self.state.handle, event))
        assert set(steps.c_functions) <= SHORT_WORK, steps.c_functions
        self.costs.append((type(event).__name__, steps.bytecodes))
        return started(out)


def started(instructions: Sequence[Instruction]) -> list[CellId]:
    return [each.cell for each in instructions if isinstance(each, StartCell)]


THREE = [node("a"), node("b", propagate_skip=False), node("c", "a", "b"), node("i", "c", resource=INLINE)]


def story(meter: Meter, row_groups: int, rows: int, in_flight: int) -> list[tuple[str, int]]:
    """The costs of all kinds of events of cells, in a row group of this size, with this many cells running."""
    for row_group in range(row_groups):
        meter.state.handle(RowGroupAdmitted(row_group, rows))
    running = [
        each.cell
        for _ in range(in_flight)
        for each in meter.state.handle(SlotFree("large"))
        if isinstance(each, StartCell)
    ]
    come_back: list[Callable[[CellId], Event]] = [CellDone, CellDone, CellDone, CellSkipped, CellDone, CellDone]
    for cell, how in zip(running, come_back, strict=False):
        meter.handle(how(cell))
    inline = [
        start for _ in range(8) for cell in meter.handle(SlotFree("large")) for start in meter.handle(CellDone(cell))
    ]
    for cell in inline:
        meter.handle(CellDone(cell))
    sleeping, cancelled, rejected = running[7:10]
    meter.handle(CellDeferred(sleeping))
    meter.handle(CellCancelled(cancelled))
    meter.handle(CellDue(sleeping))
    meter.handle(CellDeferred(running[10], salvage=True))
    meter.handle(CellRejected(rejected))
    for _ in range(4):
        meter.handle(SlotFree("large"))
    return meter.costs


@pytest.mark.parametrize(
    ("row_groups", "rows", "in_flight"), [(1, 10_000, 12), (1, 10_000, 5_000), (50, 1_000, 12)], ids=str
)
def test_an_event_of_a_cell_costs_the_same_whatever_the_size(row_groups: int, rows: int, in_flight: int) -> None:
    """Equal to the bytecode; the queue's logarithm is in heappush and heappop, which are C."""
    small = story(Meter(THREE), 1, 100, 12)
    assert {kind for kind, _ in small} >= {"SlotFree", "CellDone", "CellRejected", "CellDeferred", "CellDue"}
    assert story(Meter(THREE), row_groups, rows, in_flight) == small


def chain(columns: int) -> list[ColumnNode]:
    return [node(f"c{at}", *([f"c{at - 1}"] if at else [])) for at in range(columns)]


def test_a_grant_and_a_value_cost_the_same_in_a_graph_of_a_thousand_columns() -> None:
    def costs(columns: int) -> list[tuple[str, int]]:
        meter = Meter(chain(columns))
        meter.state.handle(RowGroupAdmitted(0, 50))
        for _ in range(2):  # the first two columns of row 0: each has one that waits for it
            (cell,) = meter.handle(SlotFree("large"))
            meter.handle(CellDone(cell))
        return meter.costs

    assert costs(3) == costs(1000)


def test_a_rejected_row_costs_a_step_per_column_and_nothing_per_row() -> None:
    def cost(columns: int, rows: int) -> int:
        meter = Meter(chain(columns))
        meter.state.handle(RowGroupAdmitted(0, rows))
        (cell,) = meter.handle(SlotFree("large"))
        meter.handle(CellRejected(cell))
        return meter.costs[-1][1]

    assert cost(10, 10_000) == cost(10, 100)
    assert cost(40, 100) - cost(30, 100) == cost(30, 100) - cost(20, 100)


def test_a_salvage_round_costs_a_step_per_cell_of_its_own() -> None:
    def cost(rows: int, lost: int) -> int:
        meter = Meter([node("a")])
        meter.state.handle(RowGroupAdmitted(0, rows))
        for at in range(rows):
            (cell,) = started(meter.state.handle(SlotFree("large")))
            meter.state.handle(CellDeferred(cell, salvage=True) if at < lost else CellDone(cell))
        meter.handle(SalvageDue(0))
        return meter.costs[-1][1]

    assert cost(5_000, 10) == cost(100, 10)
    assert cost(100, 40) - cost(100, 30) == cost(100, 30) - cost(100, 20)
