"""The values of one row group while it is in the engine. States live in the scheduler; values live here.

A column is held as an Arrow array (filled as a whole) or as a list (filled cell by cell), each of shape `(rows,)`. Rows
keep their positions until a resize; a rejected row keeps its values, for its record.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from prefect_datagen.engine.errors import CellError, InternalError, ModelError
from prefect_datagen.engine.node import ColumnNode, FullColumn, RowKeys, Strategy
from prefect_datagen.engine.outcomes import RejectedRow
from prefect_datagen.engine.retry import later_run_may_help
from prefect_datagen.engine.usage import UsageCounter
from prefect_datagen.engine.values import from_numpy, python_values, text_array


@dataclass(frozen=True)
class Failure:
    """Why a row is rejected: the first cell of it that failed."""

    column: str
    error: CellError | ModelError
    attempts: int

    @property
    def retryable(self) -> bool:
        """Whether running the row again could help."""
        return later_run_may_help(self.error)


WHOLE_COLUMN = -1
"""Stands for the row, or the copy of a row, in traces of full columns."""


class CellTrace(NamedTuple):
    """One cell's way through the engine. Times in seconds of the run's monotonic clock. A tuple, since it is made for each
    cell, and a column of the table for each field.

    A full column has one record, with the row group's first row and `copy` = `WHOLE_COLUMN`.
    """

    column: str
    row_group: int
    row_index: int
    copy: int
    queued: float
    started: float
    ended: float
    status: str
    attempt: int
    input_tokens: int
    output_tokens: int


class RowGroup:
    """Values, failures, usage and traces of one row group.

    Attributes:
        index: its number.
        keys: identity of the row at each position, shape `(rows,)`.
        skipped: per column, positions whose value was skipped.
        failures: per position, why the row is rejected.
        requested: rows that it must account for; follows a resize.
    """

    def __init__(
        self,
        index: int,
        *,
        keys: RowKeys,
        columns: Mapping[str, pa.Array],
        skipped: Mapping[str, Sequence[int]] | None = None,
    ) -> None:
        self.index = index
        self.keys = keys
        self.skipped: dict[str, Sequence[int]] = dict(skipped or {})
        self.failures: dict[int, Failure] = {}
        self.usage: dict[str, UsageCounter] = {}
        self.trace: list[CellTrace] = []
        self.requested = len(self.keys)
        self.skipped_by_column: dict[str, int] = {}
        self.admitted = 0.0
        self.finished: dict[tuple[int, int], float] = {}  # (node, row or WHOLE_COLUMN) → time; only with tracing
        self._arrays: dict[str, pa.Array] = {}
        self._lists: dict[str, list[Any]] = {}
        self._unmade: dict[str, tuple[pa.DataType, Any]] = {}
        self._readers: dict[str, list[tuple[str, list[Any]]]] = {}
        for name, array in columns.items():
            self._arrays[name] = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array

    @property
    def rows(self) -> int:
        """Positions, rejected rows included."""
        return len(self.keys)

    def open_column(self, node: ColumnNode) -> None:
        """Make room for a column that is to be filled."""
        for name, type_ in zip(node.produces, node.types, strict=True):
            if node.strategy is Strategy.CELL:
                self._lists[name] = [None] * self.rows
            else:
                self._unmade[name] = (type_, _default(node, name))

    def values(self, name: str) -> list[Any]:
        """A column as Python values, shape `(rows,)`; converted once."""
        values = self._lists.get(name)
        if values is None:
            values = self._lists[name] = python_values(self.array(name))
        return values

    def array(self, name: str, type_: pa.DataType | None = None) -> pa.Array:
        """A column as an Arrow array, shape `(rows,)`."""
        array = self._arrays.get(name)
        if array is not None:
            return array
        if name in self._lists:
            values = self._lists[name]
            return text_array(values) if type_ == pa.string() else pa.array(values, type=type_)
        # A full column that was asked for no row: all are skipped or rejected, or there is none.
        own_type, default = self._unmade[name]
        return pa.array([default] * self.rows, type=own_type)

    def inputs(self, node: ColumnNode, row: int) -> dict[str, Any]:
        """The values that a cell may read, by column name."""
        readers = self._readers.get(node.name)
        if readers is None:
            readers = self._readers[node.name] = [(name, self.values(name)) for name in node.needs]
        return {name: values[row] for name, values in readers}

    def set_cell(self, node: ColumnNode, row: int, values: Sequence[Any]) -> None:
        """Store a cell: one value per column in `node.produces`."""
        for name, value in zip(node.produces, values, strict=True):
            self._lists[name][row] = value

    def skip_cell(self, node: ColumnNode, row: int) -> None:
        """Store what stands in a skipped cell."""
        self._lists[node.name][row] = _default(node, node.name)

    def note_skips(self, node: ColumnNode, rows: Sequence[int]) -> None:
        """Take the final account of a node's skipped cells (positions)."""
        self.skipped_by_column[node.name] = sum(row not in self.failures for row in rows)
        if node.strategy is Strategy.CELL:
            for row in rows:
                self.skip_cell(node, row)

    def set_column(self, node: ColumnNode, made: FullColumn, rows: Sequence[int]) -> None:
        """Store a full column that was made for `rows` (positions); the others hold the skip value, or nothing."""
        for name, type_ in zip(node.produces, node.types, strict=True):
            array = made.arrays[name]
            if len(rows) == self.rows:
                self._arrays[name] = array if array.type == type_ else array.cast(type_)
                continue
            values: list[Any] = [_default(node, name)] * self.rows
            for row, value in zip(rows, array.to_pylist(), strict=True):
                values[row] = value
            self._arrays[name] = pa.array(values, type=type_)

    def resize(self, node: ColumnNode, made: FullColumn, rows: Sequence[int]) -> list[int]:
        """Deal positions anew after a full column changed the number of rows; rejected rows move to the end.

        Returns:
            For each new position but those of rejected rows, the old position that it came from.
        """
        if made.parents is None:
            raise InternalError("resize without parents")
        parents = [rows[parent] for parent in made.parents]
        rejected = sorted(self.failures)
        kept = parents + rejected
        take = pa.array(kept, type=pa.int64())
        self._arrays = {name: array.take(take) for name, array in self._arrays.items()}
        lists = {name: values for name, values in self._lists.items() if name not in self._arrays}
        self._lists = {name: [values[old] for old in kept] for name, values in lists.items()}
        self._readers = {}
        self.failures = {len(parents) + at: self.failures[old] for at, old in enumerate(rejected)}
        self.skipped = {name: _follow(positions, kept) for name, positions in self.skipped.items()}
        renumbered, lost = RowKeys.numbered(self.keys.take(parents).index), self.keys.take(rejected)
        self.keys = RowKeys(
            np.concatenate([renumbered.index, lost.index]), np.concatenate([renumbered.copy, lost.copy])
        )
        for name, type_ in zip(node.produces, node.types, strict=True):
            padding = pa.nulls(len(rejected), type_)
            self._arrays[name] = pa.concat_arrays([made.arrays[name].cast(type_), padding])
        self.requested = self.rows
        return parents

    def reject(self, row: int, failure: Failure) -> None:
        """Note why a row is lost; the first reason stays."""
        self.failures.setdefault(row, failure)

    def live(self) -> pa.Array:
        """Positions that are not rejected, in order, int64."""
        mask = np.ones(self.rows, dtype=bool)
        mask[list(self.failures)] = False
        return from_numpy(np.flatnonzero(mask))

    def table(self, schema: pa.Schema) -> pa.Table:
        """The live rows with the columns of `schema`, in order."""
        arrays = [self.array(field.name, field.type) for field in schema]
        table = pa.Table.from_arrays(
            [_cast(array, field) for array, field in zip(arrays, schema, strict=True)], schema=schema
        )
        return table.take(self.live()) if self.failures else table

    def live_keys(self) -> RowKeys:
        """Identity of the live rows, in order."""
        return self.keys.take(self.live().to_numpy()) if self.failures else self.keys

    def rejected_rows(self) -> list[RejectedRow]:
        """A record of every rejected row with the values it had."""
        names = [*self._arrays, *(name for name in self._lists if name not in self._arrays)]
        return [self._rejected_row(row, failure, names) for row, failure in sorted(self.failures.items())]

    def _rejected_row(self, row: int, failure: Failure, names: list[str]) -> RejectedRow:
        error = failure.error
        return RejectedRow(
            row_index=self.keys[row].index,
            column=failure.column,
            error_type=type(error).__name__,
            reason=error.reason,
            message=error.message,
            attempts=failure.attempts,
            retryable=failure.retryable,
            answer=error.answer,
            values={name: plain(self.values(name)[row]) for name in names if self.values(name)[row] is not None},
        )


def _default(node: ColumnNode, name: str) -> Any:
    """What stands in a skipped cell of a column that the node makes."""
    return node.skip.value if node.skip is not None and name == node.name else None


def plain(value: Any) -> Any:
    """A value that JSON can hold."""
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bytes):
        return f"<{len(value)} bytes>"
    if isinstance(value, dict):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


def _cast(array: pa.Array, field: pa.Field) -> pa.Array:
    return array if array.type == field.type else array.cast(field.type)


def _follow(positions: Sequence[int], kept: list[int]) -> list[int]:
    old = set(positions)
    return [new for new, position in enumerate(kept) if position in old]
