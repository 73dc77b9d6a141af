from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from prefect_datagen.engine.cell_table import NEXT, CellState, CellTable, as_bytes, as_counters, count_states
from prefect_datagen.engine.errors import InternalError
from prefect_datagen.engine.graph import ColumnGraph
from prefect_datagen.engine.scheduler_events import CellId
from tests.engine.graphs import full, node

GRAPH = ColumnGraph.build([node("a"), node("b", "a"), full("f", "a")], sources=())


def table() -> CellTable:
    """Row 0: `a` is done, `b` runs; row 1: `a` sleeps; row 2 was rejected by `a`. The full column `f` waits."""
    cells = CellTable(0, 3, GRAPH)
    cells.cells[0][:] = bytes([CellState.DONE, CellState.DEFERRED, CellState.DROPPED])
    cells.cells[1][:] = bytes([CellState.RUNNING, CellState.WAITING, CellState.DROPPED])
    cells.cells[2][2] = CellState.DROPPED
    cells.pending[1][0] = cells.pending[2][0] = 0
    cells.dropped[2] = True
    cells.sleeping.add(CellId(0, 0, 1))
    cells.open = [1, 2, 2]
    cells.counts = count_states(as_bytes(bytearray().join(cells.cells)))
    return cells


def test_a_sound_table_is_valid() -> None:
    table().validate(GRAPH, draining=False)


def tampered(cells: CellTable, node: int, row: int, state: CellState) -> None:
    """Set a state and all counts that follow from it."""
    cells.cells[node][row] = state
    cells.open[node] = sum(each < CellState.DONE for each in cells.cells[node])
    cells.counts = count_states(as_bytes(bytearray().join(cells.cells)))


@pytest.mark.parametrize(
    ("tamper", "message"),
    [
        (lambda cells: cells.open.__setitem__(1, 3), "open cells of 'b'"),
        (lambda cells: cells.open_inputs.__setitem__(2, 0), "open inputs of 'f'"),
        (lambda cells: cells.pending[1].__setitem__(1, 0), "pending inputs of 'b'"),
        (lambda cells: cells.counts.__setitem__(0, 9), "counts by state"),
        (lambda cells: tampered(cells, 1, 1, CellState.READY), "'b' started before its row's inputs"),
        (lambda cells: tampered(cells, 1, 2, CellState.READY), "a rejected row waits for 'b'"),
        (lambda cells: tampered(cells, 1, 0, CellState.DROPPED), "a live row has a dropped cell of 'b'"),
        (lambda cells: tampered(cells, 1, 0, CellState.WAITING), "'b' waits for nothing"),
        (lambda cells: tampered(cells, 2, 0, CellState.RUNNING), "full column 'f' started before its inputs"),
        (lambda cells: cells.sleeping.clear(), "deferred cells are those that sleep or await salvage"),
        (lambda cells: cells.salvage.add(CellId(0, 0, 1)), "a cell sleeps and awaits salvage"),
    ],
)
def test_validate_finds_what_was_tampered_with(tamper: Callable[[CellTable], None], message: str) -> None:
    cells = table()
    tamper(cells)
    with pytest.raises(InternalError, match=f"scheduler invariant broken: {message}"):
        cells.validate(GRAPH, draining=False)


@pytest.mark.parametrize(
    ("state", "draining", "message"),
    [
        (CellState.WAITING, False, "full column 'f' waits for nothing"),
        (CellState.READY, False, "full column 'f' is ready and was not started"),
        (CellState.READY, True, "nothing runs, and it did not end"),
        (CellState.DONE, False, "nothing runs, and it did not end"),
    ],
)
def test_validate_finds_a_row_group_that_stands_still(state: CellState, draining: bool, message: str) -> None:
    graph = ColumnGraph.build([full("f")], sources=())
    cells = CellTable(0, 1, graph)
    tampered(cells, 0, 0, state)
    with pytest.raises(InternalError, match=message):
        cells.validate(graph, draining=draining)


def test_final_states_lead_nowhere_and_every_other_state_to_a_final_one() -> None:
    for state in CellState:
        assert bool(NEXT[state]) is (state < CellState.DONE)
        assert state >= CellState.DONE or CellState.DROPPED in NEXT[state]


@pytest.mark.parametrize(("node", "row"), [(3, 0), (-1, 0), (0, 3), (0, -1)])
def test_a_cell_that_is_not_there_has_no_state(node: int, row: int) -> None:
    assert table().state_of(node, row) is None


def test_a_deal_moves_everything_that_is_kept_by_row() -> None:
    cells = table()
    cells.skip[1][1] = True
    cells.deal([1, 1, 0, 2])
    assert cells.rows == 4
    assert [each.tolist() for each in map(as_bytes, cells.cells)] == [[3, 3, 4, 6], [0, 0, 2, 6], [0, 0, 0, 6]]
    assert as_counters(cells.pending[1]).tolist() == [1, 1, 0, 1]
    assert list(cells.skip[1]) == [1, 1, 0, 0]
    assert list(cells.dropped) == [0, 0, 0, 1]
    assert cells.open == [2, 3, 3]
    assert cells.counts == np.bincount([3, 3, 4, 6, 0, 0, 2, 6, 0, 0, 0, 6], minlength=7).tolist()


def test_arrays_share_the_memory_of_the_table() -> None:
    cells = table()
    as_bytes(cells.cells[0])[0] = CellState.SKIPPED
    as_counters(cells.pending[1])[0] = 7
    assert (cells.cells[0][0], cells.pending[1][0]) == (CellState.SKIPPED, 7)
