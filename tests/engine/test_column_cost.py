"""What a full column costs beside its generator: no Python object for a row. Counted, not timed."""

from __future__ import annotations

import sys

import pytest

from prefect_datagen.engine.node import Batch, ColumnNode, FullColumn
from prefect_datagen.engine.scheduler_events import Positions
from tests.engine.engine_run import EngineRun, row_group, whole

FEW, MANY = 100, 50_000


def objects_alive(rows: int) -> int:
    """Python's memory blocks while the second of two full columns is made, beyond those before the row group."""
    alive = 0

    def first(batch: Batch) -> FullColumn:
        return FullColumn({"a": batch.columns["s"]})

    def second(batch: Batch) -> FullColumn:
        nonlocal alive
        alive = sys.getallocatedblocks()
        return FullColumn({"b": batch.columns["a"]})

    nodes: list[ColumnNode] = [whole("a", "s", function=first), whole("b", "a", function=second)]
    run, group = EngineRun(nodes), row_group(0, rows)
    before = sys.getallocatedblocks()
    _, ends = run.run(group)
    assert ends == [True]
    return alive - before


def test_a_full_column_has_no_object_for_a_row() -> None:
    objects_alive(FEW)  # what is made once per process
    assert objects_alive(MANY) - objects_alive(FEW) < MANY / 10


def test_positions_are_a_sequence_of_numbers() -> None:
    rows = Positions([3, 5, 9])
    assert rows == [3, 5, 9]
    assert rows != [3, 5]
    assert rows != 3
    assert hash(rows) == hash(Positions((3, 5, 9)))
    assert (len(rows), rows[1], rows[-1], list(rows[1:]), 5 in rows) == (3, 5, 9, [5, 9], True)
    assert type(rows[0]) is int
    assert Positions.of(rows) is rows
    with pytest.raises(IndexError):
        rows[3]
