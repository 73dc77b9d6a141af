"""What differs between two datasets: schema, counts, each column, and the rows by a key."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.reports import diff_sql
from prefect_datagen.reports.auto import first_rows
from prefect_datagen.reports.diff_sql import Compared, Kind
from prefect_datagen.reports.duckdb_sources import BASE, CURRENT, PairSource
from prefect_datagen.reports.query import Cancellation
from prefect_datagen.reports.values import as_json

SAMPLE_ROWS = 20


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SchemaChange(_Record):
    """A column that only one dataset has, or that has another type. A type is None where the column is not there."""

    column: str
    base: str | None
    current: str | None


class ColumnProfile(_Record):
    """A column in one dataset. `low`, `high` and `mean` are of numbers, of times, or of lengths of text."""

    rows: int
    missing: int
    distinct: int | None = Field(default=None, description="Approximate number of different values.")
    low: float | None = None
    high: float | None = None
    mean: float | None = None

    @property
    def missing_share(self) -> float:
        """Missing values per row."""
        return self.missing / self.rows if self.rows else 0.0


class ColumnDiff(_Record):
    """A column in both.

    `distance` is the total variation distance between the two distributions: half the sum of the differences of the
    shares; 0 where they are alike, 1 where they have nothing in common.
    """

    column: str
    kind: Kind
    base: ColumnProfile
    current: ColumnProfile
    distance: float | None
    distribution: list[dict[str, Any]] = Field(
        default_factory=list, description="Rows of each dataset by range (`low`, `high`) or by value (`label`)."
    )


class KeyedDiff(_Record):
    """Rows compared by a key. `changed_by_column` counts rows; `sample` shows the first of each kind of change."""

    key: list[str]
    added: int
    removed: int
    changed: int
    changed_by_column: dict[str, int]
    sample: list[dict[str, Any]]


class DatasetDiff(_Record):
    """All that differs between a base and a current dataset."""

    base: str
    current: str
    base_rows: int
    current_rows: int
    base_rejected: int
    current_rejected: int
    schema_changes: list[SchemaChange]
    columns: list[ColumnDiff]
    keyed: KeyedDiff | None = None

    @property
    def row_change(self) -> float:
        """Rows more or less, as a share of the base's."""
        if self.base_rows:
            return (self.current_rows - self.base_rows) / self.base_rows
        return math.inf if self.current_rows else 0.0


@dataclass(frozen=True)
class Comparison:
    """What can be compared of two datasets, found from their schemas and first rows."""

    schema_changes: list[SchemaChange]
    columns: list[Compared]

    @classmethod
    def of(cls, pair: PairSource) -> Comparison:
        """Look at two datasets.

        Raises:
            SinkError: one cannot be read.
        """
        states = pair.states()
        schemas = {side: state.schema() or pa.schema([]) for side, state in states.items()}
        base, current = schemas[BASE], schemas[CURRENT]
        sample = first_rows(states[BASE])
        names = list(dict.fromkeys([*base.names, *current.names]))
        changes = [
            SchemaChange(column=name, base=_type(base, name), current=_type(current, name))
            for name in names
            if _type(base, name) != _type(current, name)
        ]
        differing = {change.column for change in changes}
        compared = [
            Compared(name, diff_sql.kind_of(base.field(name).type, sample.column(name)))
            for name in base.names
            if name not in differing
        ]
        return cls(changes, compared)


def diff_datasets(
    base: Path | str | PairSource,
    current: Path | str | None = None,
    *,
    key: Sequence[str] = (),
    cancel: Cancellation | None = None,
) -> DatasetDiff:
    """Compare two datasets; `key` names the columns by which a row of one is found in the other.

    Raises:
        ConfigError: a path is no dataset; a key is in one dataset only, has missing values, or is not unique.
        SinkError: a dataset cannot be read.
        QueryCancelledError: `cancel` was asked.
    """
    if isinstance(base, PairSource):
        return _Differ(base, cancel or Cancellation()).diff(list(key))
    if current is None:
        raise ConfigError("a comparison needs two datasets")
    pair = PairSource(base, current)
    try:
        return _Differ(pair, cancel or Cancellation()).diff(list(key))
    finally:
        pair.close()


class _Differ:
    def __init__(self, pair: PairSource, cancel: Cancellation) -> None:
        self._pair = pair
        self._cancel = cancel
        self._states = pair.states()
        self._comparison = Comparison.of(pair)

    def diff(self, key: list[str]) -> DatasetDiff:
        base, current = self._states[BASE], self._states[CURRENT]
        complete = bool(base.data_parts and current.data_parts)
        compared = self._comparison.columns if complete else []
        self._check_key(key, complete)
        return DatasetDiff(
            base=str(base.path),
            current=str(current.path),
            base_rows=self._rows(BASE),
            current_rows=self._rows(CURRENT),
            base_rejected=sum(manifest.rejected for manifest in base.manifests),
            current_rejected=sum(manifest.rejected for manifest in current.manifests),
            schema_changes=self._comparison.schema_changes,
            columns=self._columns(compared) if compared else [],
            keyed=self._keyed(key, compared) if key and complete else None,
        )

    def _ask(self, sql: str) -> pa.Table:
        return self._pair.execute(sql, {}, relations={}, cancel=self._cancel)

    def _one(self, sql: str) -> dict[str, Any]:
        (row,) = self._ask(sql).to_pylist()
        found: dict[str, Any] = row
        return found

    def _rows(self, side: str) -> int:
        if not self._states[side].data_parts:
            return 0
        return int(self._one(f"SELECT count(*) AS n FROM {side}.data")["n"])

    def _columns(self, compared: list[Compared]) -> list[ColumnDiff]:
        profiles = {side: self._one(diff_sql.profile(side, compared)) for side in (BASE, CURRENT)}
        found = []
        for number, column in enumerate(compared):
            sql = diff_sql.distribution(column)
            rows = self._ask(sql).to_pylist() if sql is not None else []
            found.append(
                ColumnDiff(
                    column=column.name,
                    kind=column.kind,
                    base=_profile(profiles[BASE], number),
                    current=_profile(profiles[CURRENT], number),
                    distance=rows[0]["distance"] if rows else None,
                    distribution=[
                        {name: as_json(value) for name, value in row.items() if name != "distance"} for row in rows
                    ],
                )
            )
        return found

    def _check_key(self, key: list[str], complete: bool) -> None:
        known = {column.name for column in self._comparison.columns}
        for name in key:
            if complete and name not in known:
                raise ConfigError(
                    f"key column {name!r} is not in both datasets with one type; choose among {sorted(known)}"
                )
        if not key or not complete:
            return
        for side in (BASE, CURRENT):
            problem = self._one(diff_sql.key_problem(side, key))
            if problem["missing"] or problem["repeated"]:
                raise ConfigError(
                    f"key {', '.join(key)} does not tell the rows of the {side} dataset apart: {problem['missing']:,} rows "
                    f"lack it and {problem['repeated']:,} keys are there more than once; add a column to the key"
                )

    def _keyed(self, key: list[str], compared: list[Compared]) -> KeyedDiff:
        others = [column for column in compared if column.name not in key]
        counts = self._one(diff_sql.keyed_counts(key, others))
        sample = self._ask(diff_sql.keyed_sample(key, others, limit=SAMPLE_ROWS)).to_pylist()
        return KeyedDiff(
            key=key,
            added=counts["added"],
            removed=counts["removed"],
            changed=counts["changed"],
            changed_by_column={
                column.name: counts[f"changed_{number}"]
                for number, column in enumerate(others)
                if counts[f"changed_{number}"]
            },
            sample=[{name: as_json(value) for name, value in row.items()} for row in sample],
        )


def _profile(found: dict[str, Any], number: int) -> ColumnProfile:
    def value(name: str) -> float | None:
        raw = found.get(f"{name}_{number}")
        return None if raw is None else float(raw)

    return ColumnProfile(
        rows=found["n"],
        missing=found["n"] - found[f"filled_{number}"],
        distinct=found.get(f"distinct_{number}"),
        low=value("low"),
        high=value("high"),
        mean=value("mean"),
    )


def moment(value: float) -> str:
    """A bound of a column of times, as text."""
    return datetime.fromtimestamp(value, UTC).isoformat(sep=" ", timespec="seconds").removesuffix("+00:00")


def _type(schema: pa.Schema, name: str) -> str | None:
    return str(schema.field(name).type) if name in schema.names else None
