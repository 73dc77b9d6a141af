"""What a model cell costs from its start to its stored value, in Python functions called: a guard against slow growth.

Counted, not timed: the same on every machine. What is measured in seconds is in docs/performance.md.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType
from typing import Any

from prefect_datagen.columns.template import Template
from prefect_datagen.engine.answer_journal import AnswerJournal, NoJournal
from prefect_datagen.engine.node import ColumnNode
from prefect_datagen.storage.journal import Journal
from tests.engine.engine_run import EngineRun, ask, row_group

MOST_CALLS = 160
"""Python functions per cell: scheduling, limits, accounting, the journal's key, and some 20 of the test's own."""


class _Calls:
    """Python functions entered, generators and coroutines each time they go on."""

    def __init__(self) -> None:
        self.count = 0

    def note(self, frame: FrameType, what: str, _: Any) -> None:
        self.count += what == "call"


def calls_of(nodes: list[ColumnNode], rows: int, *, journal: AnswerJournal | None = None) -> int:
    """Calls of a run of one row group in this thread."""
    run, group, calls = EngineRun(nodes, journal=journal or NoJournal()), row_group(0, rows), _Calls()
    sys.setprofile(calls.note)
    try:
        _, ends = run.run(group)
    finally:
        sys.setprofile(None)
    assert ends == [True]
    return calls.count


def per_cell(nodes: list[ColumnNode], *, journal: AnswerJournal | None = None) -> float:
    """Calls per further cell, what a run costs once taken out."""
    calls_of(nodes, 10)  # what is made once per process
    few, many = calls_of(nodes, 20, journal=journal), calls_of(nodes, 60, journal=journal)
    return (many - few) / (40 * len(nodes))


def columns(count: int) -> list[ColumnNode]:
    """Model columns, three independent and each other one on the one three before."""
    return [ask(f"c{at}", f"c{at - 3}" if at >= 3 else "s") for at in range(count)]


def test_a_cell_costs_no_more_calls_than_it_did() -> None:
    assert per_cell(columns(3)) <= MOST_CALLS


def test_a_cell_costs_the_same_whatever_the_number_of_columns() -> None:
    assert per_cell(columns(50)) <= 1.05 * per_cell(columns(3))


def test_a_cell_costs_the_same_whatever_the_number_of_rows() -> None:
    nodes = columns(3)
    few, some, many = (calls_of(nodes, rows) for rows in (50, 100, 400))
    assert (many - some) / 300 <= 1.05 * (some - few) / 50


def test_answers_of_one_tick_share_a_transaction(tmp_path: Path) -> None:
    with Journal.open(tmp_path / "journal.sqlite") as journal:
        EngineRun(columns(3), journal=journal, ceiling=8).run(row_group(0, 40))
        statistics = journal.statistics()
    assert statistics.stored == 120
    assert statistics.commits <= 120 / 2
    assert statistics.searches <= 2  # none but for keys that share a bit of the journal's sketch


def test_a_short_template_costs_few_calls() -> None:
    template, calls = Template("Join {{ a }} and {{ b }}."), _Calls()
    template.render({"a": "x", "b": "y"})
    sys.setprofile(calls.note)
    try:
        template.render({"a": "x", "b": "y"})
    finally:
        sys.setprofile(None)
    assert calls.count <= 16
