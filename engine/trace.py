"""What traces say: a Chrome/Perfetto trace of a run, and its critical path.

The *critical path* is the chain of cells that the run's last cell waited for: from that cell back to the input whose end
made it ready, and so on. Its parts, waiting for a slot and running, add up to the run's length.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from prefect_datagen.engine.row_group import WHOLE_COLUMN, CellTrace

_SAME = 1e-9  # a cell is queued at the very moment that its last input ended


@dataclass(frozen=True)
class Step:
    """One cell of the critical path. Times in seconds."""

    column: str
    row_group: int
    row_index: int
    waited: float
    ran: float


def critical_path(records: Sequence[CellTrace]) -> list[Step]:
    """The chain of cells that ended last, first cell first. Empty where there are no records."""
    if not records:
        return []
    ends: dict[tuple[int, int], list[CellTrace]] = defaultdict(list)
    for record in records:
        row = WHOLE_COLUMN if record.copy == WHOLE_COLUMN else record.row_index
        ends[record.row_group, row].append(record)
    here: CellTrace | None = max(records, key=lambda record: record.ended)
    path: list[Step] = []
    while here is not None:
        path.append(
            Step(here.column, here.row_group, here.row_index, here.started - here.queued, here.ended - here.started)
        )
        here = _cause(here, ends)
    return path[::-1]


def _cause(cell: CellTrace, ends: dict[tuple[int, int], list[CellTrace]]) -> CellTrace | None:
    """The input whose end made the cell ready."""
    candidates = ends[cell.row_group, cell.row_index] + ends[cell.row_group, WHOLE_COLUMN]
    return next((other for other in candidates if other is not cell and abs(other.ended - cell.queued) <= _SAME), None)


def chrome_trace(records: Iterable[CellTrace]) -> dict[str, Any]:
    """The records in Chrome's trace event format, which Perfetto opens: a process per column, a lane per slot."""
    events: list[dict[str, Any]] = []
    columns: dict[str, int] = {}
    lanes: dict[str, list[tuple[float, int]]] = defaultdict(list)
    for record in sorted(records, key=lambda record: record.started):
        column = columns.setdefault(record.column, len(columns) + 1)
        events.append(
            {
                "name": f"row {record.row_index}",
                "cat": record.status,
                "ph": "X",
                "ts": record.started * 1e6,
                "dur": (record.ended - record.started) * 1e6,
                "pid": column,
                "tid": _lane(lanes[record.column], record),
                "args": {
                    "row_group": record.row_group,
                    "status": record.status,
                    "attempt": record.attempt,
                    "waited_ms": (record.started - record.queued) * 1e3,
                    "input_tokens": record.input_tokens,
                    "output_tokens": record.output_tokens,
                },
            }
        )
    names = [
        {"name": "process_name", "ph": "M", "pid": number, "args": {"name": column}}
        for column, number in columns.items()
    ]
    return {"traceEvents": names + events, "displayTimeUnit": "ms"}


def _lane(busy: list[tuple[float, int]], record: CellTrace) -> int:
    """The first lane that is free when the cell starts; `busy` is a heap of (end, lane)."""
    if busy and busy[0][0] <= record.started:
        _, lane = heapq.heapreplace(busy, (record.ended, busy[0][1]))
        return lane
    lane = len(busy) + 1
    heapq.heappush(busy, (record.ended, lane))
    return lane
