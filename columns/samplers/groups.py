"""Groups of columns that constraints tie together: drawn again, row by row, until the constraints hold."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prefect_datagen.columns.constraints import Constraint
from prefect_datagen.columns.samplers.compiled import Cells, Column, View
from prefect_datagen.engine.arrays import np
from prefect_datagen.engine.errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray

MIN_ACCEPTANCE = 1e-4
"""Share of drawn rows that must satisfy the constraints of a group."""

MAX_ATTEMPTS = 300_000
"""Draws of one row, at most. At the least acceptance, one row in 10**13 needs more."""

_PROBE_ROWS = 4_096
_PROBE_DRAWS = 50 * _PROBE_ROWS  # about 20 accepted rows at the least acceptance
_PROBE_ENOUGH = 20


@dataclass(frozen=True, slots=True)
class GroupStatistics:
    """How often the rows of a group were drawn; the probe before the first row is not counted."""

    columns: tuple[str, ...]
    constraints: tuple[str, ...]
    drawn: int
    accepted: int

    @property
    def acceptance(self) -> float | None:
        """Share of drawn rows that satisfied the constraints; None before the first."""
        return self.accepted / self.drawn if self.drawn else None

    def __str__(self) -> str:
        """In words, for logs and plans."""
        share = (
            "nothing drawn yet" if self.acceptance is None else f"{self.acceptance:.3g} of the drawn rows are accepted"
        )
        return f"constraints {' and '.join(self.constraints)}: {share}"


class Group:
    """Columns in the order in which they are drawn, and their constraints.

    `reads` are columns outside of the group that it depends on; `max_attempts` bounds the draws of one row.
    """

    def __init__(self, columns: Sequence[Column], constraints: Sequence[Constraint], *, max_attempts: int) -> None:
        self.columns = tuple(columns)
        self._max_attempts = max_attempts
        self._constraints = tuple(constraints)
        compared = {reference.column for constraint in constraints for reference in constraint.references()}
        own = {column.name for column in columns}
        self.reads = frozenset(compared).union(*(column.inputs for column in columns)) - own
        self._drawn = self._accepted = 0
        self.probed: GroupStatistics | None = None
        self._lock = threading.Lock()

    def draw(self, start: int, rows: int, view: View) -> dict[str, Cells]:
        """The group's columns of rows `start` to `start + rows`, each row satisfying all constraints.

        Raises:
            ConfigError: a row satisfies them in none of `max_attempts` draws.
        """
        pending = np.arange(rows)
        outside = {name: view[name] for name in self.reads}
        if not rows:
            return self._attempt(pending, 0, outside)
        fitting: list[tuple[NDArray[np.intp], dict[str, Cells]]] = []
        attempt = 0
        while len(pending):
            if attempt == self._max_attempts:
                row = start + int(pending[0])
                raise ConfigError(
                    f"row {row} satisfies {self._names()} in none of {self._max_attempts:,} draws; "
                    "loosen the constraints, or sample closer to what they ask for",
                    row=row,
                )
            around = outside if len(pending) == rows else {name: outside[name].take(pending) for name in outside}
            cells = self._attempt(start + pending, attempt, around)
            fits = np.logical_and.reduce(self._verdicts(cells))
            kept = np.flatnonzero(fits)
            if len(kept):
                fitting.append((pending[kept], {name: column.take(kept) for name, column in cells.items()}))
            self._count(len(pending), len(kept))
            pending = pending[~fits]
            attempt += 1
        order = np.argsort(np.concatenate([positions for positions, _ in fitting]))
        names = [column.name for column in self.columns]
        return {name: Cells.joined([cells[name] for _, cells in fitting]).take(order) for name in names}

    def probe(self) -> None:
        """Refuse constraints that are hardly ever satisfied. For groups that read nothing from outside.

        Raises:
            ConfigError: of some 200,000 draws fewer than `MIN_ACCEPTANCE` satisfy them.
        """
        index = np.arange(_PROBE_ROWS)
        rejected = np.zeros(len(self._constraints), dtype=np.int64)
        drawn = accepted = 0
        while accepted < _PROBE_ENOUGH and drawn < _PROBE_DRAWS:
            verdicts = self._verdicts(self._attempt(index, drawn // _PROBE_ROWS, {}))
            rejected += np.array([np.count_nonzero(~verdict) for verdict in verdicts])
            accepted += int(np.count_nonzero(np.logical_and.reduce(verdicts)))
            drawn += _PROBE_ROWS
        self.probed = self._statistics(drawn, accepted)
        if accepted < MIN_ACCEPTANCE * drawn:
            worst = int(rejected.argmax())
            raise ConfigError(
                f"constraints are hopeless: {accepted} of {drawn:,} drawn rows satisfy {self._names()}, and at least "
                f"{MIN_ACCEPTANCE:.2%} must; '{self._constraints[worst]}' alone rejects {rejected[worst] / drawn:.2%}. "
                "Loosen the constraints, or sample closer to what they ask for"
            )

    def statistics(self) -> GroupStatistics:
        """Draws so far."""
        with self._lock:
            return self._statistics(self._drawn, self._accepted)

    def _statistics(self, drawn: int, accepted: int) -> GroupStatistics:
        names = tuple(column.name for column in self.columns)
        return GroupStatistics(names, tuple(map(str, self._constraints)), drawn, accepted)

    def _attempt(self, index: NDArray[np.int64], attempt: int, around: View) -> dict[str, Cells]:
        cells = dict(around)
        for column in self.columns:
            cells[column.name] = column.draw(index, attempt, cells)
        return cells

    def _verdicts(self, cells: View) -> list[NDArray[np.bool_]]:
        compared = {name: column.compared for name, column in cells.items()}
        return [constraint.satisfied(compared) for constraint in self._constraints]

    def _count(self, drawn: int, accepted: int) -> None:
        with self._lock:  # row groups are drawn from several threads
            self._drawn += drawn
            self._accepted += accepted

    def _names(self) -> str:
        return " and ".join(f"'{constraint}'" for constraint in self._constraints)


def grouped(columns: Sequence[Column], constraints: Sequence[Constraint], *, max_attempts: int) -> list[Group]:
    """The groups: constraints that share a column, directly or through what their columns read, are in one."""
    by_name = {column.name: column for column in columns}
    parts: list[tuple[set[str], list[Constraint]]] = []
    for constraint in constraints:
        names = _with_what_they_read({reference.column for reference in constraint.references()}, by_name)
        members = [constraint]
        for part in [part for part in parts if part[0] & names]:
            parts.remove(part)
            names |= part[0]
            members = part[1] + members
        parts.append((names, members))
    return [
        Group([column for column in columns if column.name in names], members, max_attempts=max_attempts)
        for names, members in parts
    ]


def _with_what_they_read(names: set[str], by_name: Mapping[str, Column]) -> set[str]:
    found: set[str] = set()
    waiting = [name for name in names if name in by_name]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += by_name[name].inputs & by_name.keys()
    return found
