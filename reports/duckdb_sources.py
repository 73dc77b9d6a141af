"""A dataset directory as a source: DuckDB reads its Parquet parts, and tables made of its manifests. It may be growing.

These relations are offered; of a pair of datasets as `base.data`, `current.data` and so on.

| relation     | one row is                                                                      |
|--------------|---------------------------------------------------------------------------------|
| `data`       | a row of the dataset, as committed so far                                       |
| `rejects`    | a rejected row: `row_index, column, error_type, reason, message, ..., values`   |
| `traces`     | a cell that was made, where the build was traced                                |
| `row_groups` | a committed row group: counts, outcome, bytes, begin, end, `seconds`            |
| `rejections` | a reason in a row group: `row_group, reason, rows`                              |
| `usage`      | a model in a row group: calls, tokens, cost, ...                                |
| `stages`     | a stage of a row group: `row_group, stage, seconds`                             |
| `columns`    | a column: `position, name, type`                                                |
| `dataset`    | the dataset: name, status, rows asked for and written, seed, begin, end, seconds |
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from prefect_datagen.reports.dataset_files import DatasetFiles, DatasetState
from prefect_datagen.reports.duckdb_query import CONFIG, lock, run_select
from prefect_datagen.reports.errors import QueryCancelledError, QueryError
from prefect_datagen.reports.part_views import PartViews
from prefect_datagen.reports.query import Cancellation, SourceLimits
from prefect_datagen.storage.parts import REJECTS_SCHEMA

BASE = "base"
CURRENT = "current"
_ALONE = "main"  # DuckDB's own name for the schema that needs no name


class _Datasets:
    """Datasets as schemas of one DuckDB instance, made anew whenever one of them has changed."""

    dialect = "duckdb"

    def __init__(self, identity: str, limits: SourceLimits | None) -> None:
        # A new version is a new key, so rows of one version never grow old.
        self.limits = limits or SourceLimits(ttl=None)
        self.identity = identity
        self._lock = threading.Lock()
        self._snapshot: _Snapshot | None = None

    def version(self) -> str:
        """Changes with every commit."""
        raise NotImplementedError

    def _read(self) -> Mapping[str, DatasetState]:
        """The datasets as they are now, by schema."""
        raise NotImplementedError

    def states(self) -> Mapping[str, DatasetState]:
        """The datasets as queries see them now, by schema.

        Raises:
            SinkError: one cannot be read.
        """
        with self._present() as snapshot:
            return snapshot.states

    def execute(
        self, text: str, parameters: Mapping[str, Any], *, relations: Mapping[str, pa.Table], cancel: Cancellation
    ) -> pa.Table:
        """See `Source.execute`."""
        with self._present() as snapshot:
            try:
                snapshot.views.prepare(text, cancel)
                return run_select(snapshot.connection, text, parameters, relations, cancel)
            except QueryCancelledError:
                raise
            except QueryError as error:
                if all(state.data_parts for state in snapshot.states.values()):
                    raise
                raise QueryError(f"the dataset holds no rows yet: {error}") from error

    def close(self) -> None:
        """Close the DuckDB instance once its last query has ended."""
        with self._lock:
            snapshot, self._snapshot = self._snapshot, None
            if snapshot is not None and not snapshot.users:
                snapshot.connection.close()

    @contextmanager
    def _present(self) -> Iterator[_Snapshot]:
        """The newest snapshot; an older one lives on until the last query on it has ended."""
        with self._lock:
            version = self.version()
            if self._snapshot is None or self._snapshot.version != version:
                old, self._snapshot = (
                    self._snapshot,
                    _Snapshot(version, self._read()),
                )
                if old is not None and not old.users:
                    old.connection.close()
            snapshot = self._snapshot
            snapshot.users += 1
        try:
            yield snapshot
        finally:
            with self._lock:
                snapshot.users -= 1
                if not snapshot.users and snapshot is not self._snapshot:
                    snapshot.connection.close()


class DatasetSource(_Datasets):
    """The rows and records of one dataset directory.

    Raises:
        ConfigError: `path` is no dataset directory.
    """

    def __init__(self, path: Path | str, *, limits: SourceLimits | None = None) -> None:
        self.files = DatasetFiles(path)
        super().__init__(f"dataset:{self.files.path}", limits)

    def version(self) -> str:
        """Changes with every commit."""
        return self.files.version()

    def state(self) -> DatasetState:
        """The dataset as queries see it now.

        Raises:
            SinkError: it cannot be read.
        """
        return self.states()[_ALONE]

    def _read(self) -> Mapping[str, DatasetState]:
        return {_ALONE: self.files.read()}


class PairSource(_Datasets):
    """Two dataset directories side by side, to be compared: the schemas `base` and `current`.

    Raises:
        ConfigError: one is no dataset directory.
    """

    def __init__(self, base: Path | str, current: Path | str, *, limits: SourceLimits | None = None) -> None:
        self._base, self._current = DatasetFiles(base), DatasetFiles(current)
        super().__init__(f"datasets:{self._base.path}:{self._current.path}", limits)

    def version(self) -> str:
        """Changes with every commit to either."""
        return f"{self._base.version()} {self._current.version()}"

    def _read(self) -> Mapping[str, DatasetState]:
        return {BASE: self._base.read(), CURRENT: self._current.read()}


class _Snapshot:
    """A DuckDB instance in memory that holds datasets at one moment. `users` are queries running on it."""

    def __init__(self, version: str, states: Mapping[str, DatasetState]) -> None:
        self.version = version
        self.states = states
        self.users = 0
        self.connection = duckdb.connect(config=CONFIG)
        self.views = PartViews(self.connection)
        for schema, state in states.items():
            if schema != _ALONE:
                self.connection.execute(f"CREATE SCHEMA {schema}")
            for name, table in _records(state).items():
                self._table(f"{schema}.{name}", table)
            self.views.offer(f"{schema}.data", state.data_parts, state.packs)
            self.views.offer(f"{schema}.traces", state.trace_parts, state.packs)
            if state.rejects_parts:
                self.views.offer(f"{schema}.rejects", state.rejects_parts, state.packs)
            else:
                self._table(f"{schema}.rejects", REJECTS_SCHEMA.empty_table())
        lock(self.connection, folders=[*(str(state.path) for state in states.values()), *self.views.folders()])

    def _table(self, name: str, table: pa.Table) -> None:
        self.connection.register("incoming", table)
        self.connection.execute(f"CREATE TABLE {name} AS SELECT * FROM incoming")
        self.connection.unregister("incoming")


def _records(state: DatasetState) -> dict[str, pa.Table]:
    """The relations that are made of manifests and metadata."""
    schema = state.schema()
    tables = state.manifest_tables.of(state.manifests)
    return {
        **tables,
        "columns": pa.table(
            {
                "position": pa.array(range(len(schema.names) if schema else 0), pa.int64()),
                "name": pa.array(schema.names if schema else [], pa.string()),
                "type": pa.array([str(each) for each in schema.types] if schema else [], pa.string()),
            }
        ),
        "dataset": _dataset(state, tables["row_groups"]),
    }


def _dataset(state: DatasetState, row_groups: pa.Table) -> pa.Table:
    """One row. Before the first run has ended, what was asked for is not known and stands as null."""
    metadata = state.metadata
    started = metadata.started_at if metadata else pc.min(row_groups["started_at"]).as_py()
    ended = metadata.ended_at if metadata else pc.max(row_groups["ended_at"]).as_py()
    written, rejected, filtered, size = (
        pc.sum(row_groups[name], min_count=0).as_py() for name in ("written", "rejected", "filtered", "part_bytes")
    )
    return pa.table(
        {
            "name": pa.array([state.name], pa.string()),
            "status": pa.array([state.status.value], pa.string()),
            "requested": pa.array([metadata.target_num_records if metadata else None], pa.int64()),
            "written": pa.array([written], pa.int64()),
            "rejected": pa.array([rejected], pa.int64()),
            "filtered": pa.array([filtered], pa.int64()),
            "row_groups": pa.array([row_groups.num_rows], pa.int64()),
            "bytes": pa.array([size], pa.int64()),
            "seed": pa.array([metadata.seed if metadata else None], pa.int64()),
            "started_at": pa.array([started], pa.timestamp("us", "UTC")),
            "ended_at": pa.array([ended], pa.timestamp("us", "UTC")),
            "seconds": pa.array([(ended - started).total_seconds() if started and ended else None], pa.float64()),
        }
    )
