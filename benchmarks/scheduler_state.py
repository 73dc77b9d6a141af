"""What the scheduler costs: microseconds per cell for granting it a slot and taking its result.

    python benchmarks/scheduler_state.py [--rows 1000] [--in-flight 64] [--repeats 15]

Three columns of one model, two of them independent and one that reads both, are driven from admission to the end with
the given number of cells in flight; nothing else is done. Prints the median and the best repeat for the state alone,
the same for a graph of 50 columns, and the cost of a rejected row.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import deque
from collections.abc import Sequence

import pyarrow as pa

from prefect_datagen.engine.graph import ColumnGraph
from prefect_datagen.engine.node import Cell, ColumnNode, Strategy
from prefect_datagen.engine.scheduler_state import (
    CellDone,
    CellId,
    CellRejected,
    FinishRowGroup,
    RowGroupAdmitted,
    SchedulerState,
    SlotFree,
    StartCell,
)

MODEL = "model"


class _Nothing:
    """A generator for nodes that are scheduled and never made."""

    async def generate(self, cell: Cell) -> tuple[object, ...]:
        return (None,)


def model_column(name: str, inputs: Sequence[str]) -> ColumnNode:
    """A cell-by-cell column of the one model."""
    return ColumnNode(name, (name,), tuple(inputs), Strategy.CELL, MODEL, _Nothing(), (pa.string(),))


def three_columns() -> ColumnGraph:
    """Two independent columns, and one that reads both."""
    nodes = [model_column("a", []), model_column("b", []), model_column("c", ["a", "b"])]
    return ColumnGraph.build(nodes, sources=())


def chain(length: int) -> ColumnGraph:
    """Columns that each read the one before."""
    nodes = [model_column(f"c{at}", [f"c{at - 1}"] if at else []) for at in range(length)]
    return ColumnGraph.build(nodes, sources=())


def drive(graph: ColumnGraph, rows: int, in_flight: int, *, reject_every: int = 0) -> float:
    """Seconds per cell from admission to the end, with `in_flight` cells running; every n-th row is rejected, or none."""
    state = SchedulerState(graph)
    running: deque[CellId] = deque()
    ended = 0
    started = time.perf_counter()
    state.handle(RowGroupAdmitted(0, rows))
    while True:
        while len(running) < in_flight and state.queued(MODEL):
            for instruction in state.handle(SlotFree(MODEL)):
                assert isinstance(instruction, StartCell)
                running.append(instruction.cell)
        cell = running.popleft()
        ended += 1
        rejected = reject_every and cell.node == 0 and cell.row % reject_every == 0
        out = state.handle(CellRejected(cell) if rejected else CellDone(cell))
        if out and isinstance(out[-1], FinishRowGroup):
            break
    return (time.perf_counter() - started) / ended


def main() -> None:
    """Measure and print one line per case."""
    parser = argparse.ArgumentParser(description="µs per cell of the scheduler state")
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--in-flight", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=15)
    options = parser.parse_args()
    cases = [
        ("3 columns", three_columns(), options.rows, 0),
        ("3 columns, 10 x the rows", three_columns(), 10 * options.rows, 0),
        ("3 columns, every 10th row rejected", three_columns(), options.rows, 10),
        ("chain of 50 columns", chain(50), options.rows // 10, 0),
    ]
    for name, graph, rows, reject_every in cases:
        times = [drive(graph, rows, options.in_flight, reject_every=reject_every) for _ in range(options.repeats)]
        print(f"{name:36} median {statistics.median(times) * 1e6:5.2f}  best {min(times) * 1e6:5.2f} µs per cell")


if __name__ == "__main__":
    main()
