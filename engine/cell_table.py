"""The cells of one row group: their states, the transitions that are legal, and the counts that follow from them.

Data and checks only; what happens when is in `engine/scheduler_state.py`, whose docstring explains the states.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from prefect_datagen.engine.errors import InternalError
from prefect_datagen.engine.graph import ColumnGraph
from prefect_datagen.engine.node import Strategy
from prefect_datagen.engine.scheduler_events import CellId


class CellState(IntEnum):
    """State of one cell; stored as one byte. Those before DONE are open, the others final."""

    WAITING = 0
    READY = 1
    RUNNING = 2
    DEFERRED = 3
    DONE = 4
    SKIPPED = 5
    DROPPED = 6


# Plain numbers: Python compares and indexes with them faster than with members of an enum.
WAITING, READY, RUNNING, DEFERRED, DONE, SKIPPED, DROPPED = map(int, CellState)

NEXT: tuple[frozenset[int], ...] = (
    frozenset({READY, SKIPPED, DROPPED}),  # WAITING
    frozenset({RUNNING, DROPPED}),  # READY
    frozenset({DONE, SKIPPED, DROPPED, DEFERRED, READY}),  # RUNNING
    frozenset({READY, DROPPED}),  # DEFERRED
    frozenset(),  # DONE
    frozenset(),  # SKIPPED
    frozenset(),  # DROPPED
)
"""Every legal transition: from the state at this position to each of these."""


class CellTable:
    """The cells of one row group; a table of nodes by rows, held by node.

    Single cells are read from `bytearray` and `array`, three times as fast as from a NumPy array; work on many rows
    takes the same memory as a NumPy array, through `as_bytes` and `as_counters`.

    Attributes:
        index: the row group's number.
        rows: positions, those of rejected rows included.
        cells: state of each cell, `cells[node][row]`.
        pending: inputs of each cell that are not finished, `pending[node][row]`. Not kept up for rejected rows.
        skip: whether an input of the cell was skipped, and that propagates, `skip[node][row]`.
        dropped: whether a row is rejected, by row.
        open: cells that are not final, by node.
        open_inputs: input columns with open cells, by node.
        counts: cells by state.
        sleeping: cells DEFERRED until a time of the driver's.
        salvage: cells DEFERRED until the next salvage round.
        ended: `FinishRowGroup` was said; the driver has yet to release it.
    """

    __slots__ = (
        "cells",
        "counts",
        "dropped",
        "ended",
        "index",
        "open",
        "open_inputs",
        "pending",
        "rows",
        "salvage",
        "skip",
        "sleeping",
    )

    def __init__(self, index: int, rows: int, graph: ColumnGraph) -> None:
        self.index = index
        self.rows = rows
        self.cells = [bytearray(rows) for _ in graph.nodes]
        self.pending = [array("H", [len(waits)]) * rows for waits in graph.waits_for]
        self.skip = [bytearray(rows) for _ in graph.nodes]
        self.dropped = bytearray(rows)
        self.open = [rows] * len(graph.nodes)
        self.open_inputs = [len(waits) for waits in graph.waits_for]
        self.counts = [0] * len(CellState)
        self.counts[WAITING] = rows * len(graph.nodes)
        self.sleeping: set[CellId] = set()
        self.salvage: set[CellId] = set()
        self.ended = False

    def state_of(self, node: int, row: int) -> int | None:
        """State of a cell, or None where there is no such cell."""
        if 0 <= row < self.rows and 0 <= node < len(self.cells):
            return self.cells[node][row]
        return None

    @property
    def finished(self) -> bool:
        """Whether every cell is final."""
        return not any(self.counts[:DONE])

    @property
    def awaits_salvage(self) -> bool:
        """Whether nothing but a salvage round can bring the row group on."""
        return bool(self.salvage) and not (self.sleeping or self.counts[READY] or self.counts[RUNNING])

    def deal(self, kept: Sequence[int]) -> None:
        """Deal the positions anew: the row at position i is the one that was at `kept[i]`; the others are gone."""
        take = np.asarray(kept, dtype=np.int64)
        self.rows = len(take)
        self.cells = [bytearray(as_bytes(cells)[take]) for cells in self.cells]
        self.pending = [array("H", as_counters(pending)[take].tobytes()) for pending in self.pending]
        self.skip = [bytearray(as_bytes(skip)[take]) for skip in self.skip]
        self.dropped = bytearray(as_bytes(self.dropped)[take])
        by_node = [count_states(as_bytes(cells)) for cells in self.cells]
        self.open = [sum(counts[:DONE]) for counts in by_node]
        self.counts = [sum(numbers) for numbers in zip(*by_node, strict=True)]

    def validate(self, graph: ColumnGraph, *, draining: bool) -> None:
        """Check the invariants of a row group that has not ended, between two events. Costs O(cells).

        Raises:
            InternalError: one does not hold; its message says which.
        """
        live = as_bytes(self.dropped) == 0
        states = [as_bytes(cells) for cells in self.cells]
        for node, cells in enumerate(states):
            self._validate_node(graph, node, cells, [states[wait] for wait in graph.waits_for[node]], live, draining)
        counts = np.sum([count_states(cells) for cells in states], axis=0, dtype=np.int64)
        _demand(self.counts == counts.tolist(), f"counts by state {self.counts}, but there are {counts.tolist()}")
        deferred = {
            CellId(self.index, node, int(row))
            for node, cells in enumerate(states)
            for row in np.flatnonzero(cells == DEFERRED)
        }
        _demand(self.sleeping | self.salvage == deferred, "deferred cells are those that sleep or await salvage")
        _demand(not self.sleeping & self.salvage, "a cell sleeps and awaits salvage")
        # A row group never stands still: something of it will bring the next event, or it has ended.
        _demand(self.counts[RUNNING] > 0 or not (self.finished or draining), "nothing runs, and it did not end")
        _demand(any(self.counts[READY:DONE]), "its open cells wait for nothing that could come")

    def _validate_node(
        self,
        graph: ColumnGraph,
        node: int,
        cells: NDArray[np.uint8],
        inputs: Sequence[NDArray[np.uint8]],
        live: NDArray[np.bool_],
        draining: bool,
    ) -> None:
        name = graph.nodes[node].name
        unit = graph.nodes[node].strategy is Strategy.FULL_COLUMN
        unfinished = np.zeros(self.rows, dtype=np.int64)
        for states in inputs:
            unfinished += (states != DONE) & (states != SKIPPED)
        started = (cells == READY) | (cells == RUNNING) | (cells == DEFERRED) | (cells == DONE)
        open_inputs = sum(bool((states < DONE).any()) for states in inputs)
        _demand(self.open[node] == int((cells < DONE).sum()), f"open cells of {name!r}")
        _demand(self.open_inputs[node] == open_inputs, f"open inputs of {name!r}")
        _demand(bool((as_counters(self.pending[node]) == unfinished)[live].all()), f"pending inputs of {name!r}")
        _demand(not (unfinished[started & live] > 0).any(), f"{name!r} started before its row's inputs")
        _demand(not np.isin(cells[~live], (WAITING, READY, DEFERRED)).any(), f"a rejected row waits for {name!r}")
        _demand(not (cells[live] == DROPPED).any(), f"a live row has a dropped cell of {name!r}")
        if unit:
            _demand(open_inputs == 0 or not started.any(), f"full column {name!r} started before its inputs")
            _demand(draining or not (cells == READY).any(), f"full column {name!r} is ready and was not started")
            _demand(open_inputs > 0 or not (cells == WAITING).any(), f"full column {name!r} waits for nothing")
        else:
            _demand(not ((cells == WAITING) & live & (unfinished == 0)).any(), f"{name!r} waits for nothing")


def as_bytes(states: bytearray) -> NDArray[np.uint8]:
    """The same memory as an array."""
    return np.frombuffer(states, dtype=np.uint8)


def as_counters(pending: array[int]) -> NDArray[np.uint16]:
    """The same memory as an array."""
    return np.frombuffer(pending, dtype=np.uint16)


def count_states(states: NDArray[np.uint8]) -> list[int]:
    """How many cells are in each state."""
    counts: list[int] = np.bincount(states, minlength=len(CellState)).tolist()
    return counts


def _demand(condition: bool, what: str) -> None:
    if not condition:
        raise InternalError(f"scheduler invariant broken: {what}")
