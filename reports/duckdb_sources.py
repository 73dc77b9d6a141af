"""Sources that DuckDB answers: a dataset directory, and a DuckDB file. Read-only, and confined to what they were given.

A dataset directory offers these relations:

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

from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.engine.outcomes import ModelUsage
from prefect_datagen.reports.dataset_files import DatasetFiles, DatasetState
from prefect_datagen.reports.errors import QueryCancelledError, QueryError, SourceDownError
from prefect_datagen.reports.query import Cancellation, SourceLimits
from prefect_datagen.storage.parts import REJECTS_SCHEMA

_CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "python_enable_replacements": "false",  # a Python variable is no table
}


class DatasetSource:
    """The rows and records of a dataset directory, which may still be growing.

    Raises:
        ConfigError: `path` is no dataset directory.
    """

    dialect = "duckdb"

    def __init__(self, path: Path | str, *, limits: SourceLimits | None = None) -> None:
        self.files = DatasetFiles(path)
        # A new version is a new key, so rows of one version never grow old.
        self.limits = limits or SourceLimits(ttl=None)
        self.identity = f"dataset:{self.files.path}"
        self._lock = threading.Lock()
        self._snapshot: _Snapshot | None = None

    def version(self) -> str:
        """Changes with every commit."""
        return self.files.version()

    def state(self) -> DatasetState:
        """The dataset as queries see it now.

        Raises:
            SinkError: it cannot be read.
        """
        with self._present() as snapshot:
            return snapshot.state

    def execute(
        self, text: str, parameters: Mapping[str, Any], *, relations: Mapping[str, pa.Table], cancel: Cancellation
    ) -> pa.Table:
        """See `Source.execute`."""
        with self._present() as snapshot:
            try:
                return _run(snapshot.connection, text, parameters, relations, cancel)
            except QueryError as error:
                if not snapshot.state.data_parts and not isinstance(error, QueryCancelledError):
                    raise QueryError(f"the dataset holds no rows yet: {error}") from error
                raise

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
                old, self._snapshot = self._snapshot, _Snapshot(version, self.files.read())
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


class DuckDBFileSource:
    """Tables and views of a DuckDB file.

    Raises:
        ConfigError: there is no such file.
    """

    dialect = "duckdb"

    def __init__(self, path: Path | str, *, limits: SourceLimits | None = None) -> None:
        self._path = Path(path).resolve()
        if not self._path.is_file():
            raise ConfigError(f"{str(path)!r} is not a file; give a DuckDB database")
        self.limits = limits or SourceLimits()
        self.identity = f"duckdb:{self._path}"
        self._lock = threading.Lock()
        self._connection: duckdb.DuckDBPyConnection | None = None

    def version(self) -> str:
        """Changes when the file does."""
        return file_version(self._path)

    def execute(
        self, text: str, parameters: Mapping[str, Any], *, relations: Mapping[str, pa.Table], cancel: Cancellation
    ) -> pa.Table:
        """See `Source.execute`."""
        return _run(self._connected(), text, parameters, relations, cancel)

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _connected(self) -> duckdb.DuckDBPyConnection:
        with self._lock:
            if self._connection is None:
                try:
                    connection = duckdb.connect(str(self._path), read_only=True, config=_CONFIG)
                    connection.execute("SET enable_external_access = false")
                    connection.execute("SET lock_configuration = true")
                except duckdb.Error as error:
                    raise SourceDownError(f"cannot open DuckDB file {self._path.name}: {error}") from error
                self._connection = connection
            return self._connection


class TablesSource:
    """Tables in memory, each a relation of its name. They do not change."""

    dialect = "duckdb"

    def __init__(self, identity: str, tables: Mapping[str, pa.Table], *, limits: SourceLimits | None = None) -> None:
        self.identity = identity
        self.limits = limits or SourceLimits(ttl=None)
        self._tables = dict(tables)
        self._connection = duckdb.connect(config=_CONFIG)
        self._connection.execute("SET enable_external_access = false")
        self._connection.execute("SET lock_configuration = true")

    def version(self) -> str:
        """Constant."""
        return ""

    def execute(
        self, text: str, parameters: Mapping[str, Any], *, relations: Mapping[str, pa.Table], cancel: Cancellation
    ) -> pa.Table:
        """See `Source.execute`."""
        return _run(self._connection, text, parameters, {**self._tables, **relations}, cancel)

    def close(self) -> None:
        """Free the DuckDB instance."""
        self._connection.close()


def file_version(path: Path) -> str:
    """Changes when a database file, or the log beside it, does."""
    parts = []
    for file in (path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}.wal")):
        try:
            found = file.stat()
        except FileNotFoundError:
            continue
        parts.append(f"{found.st_mtime_ns:x}-{found.st_size:x}")
    return ".".join(parts)


class _Snapshot:
    """A DuckDB instance in memory whose relations are a dataset at one moment. `users` are queries running on it."""

    def __init__(self, version: str, state: DatasetState) -> None:
        self.version = version
        self.state = state
        self.users = 0
        self.connection = duckdb.connect(config=_CONFIG)
        for name, table in _records(state).items():
            self.connection.register("incoming", table)
            self.connection.execute(f"CREATE TABLE {name} AS SELECT * FROM incoming")
            self.connection.unregister("incoming")
        self._view("data", state.data_parts, pa.schema([]))
        self._view("rejects", state.rejects_parts, REJECTS_SCHEMA)
        self._view("traces", state.trace_parts, pa.schema([]))
        self.connection.execute(f"SET allowed_directories = [{_quoted(str(state.path))}]")
        self.connection.execute("SET enable_external_access = false")
        self.connection.execute("SET lock_configuration = true")

    def _view(self, name: str, parts: tuple[str, ...], schema: pa.Schema) -> None:
        if parts:
            listed = ", ".join(map(_quoted, parts))
            # No hive partitioning: a folder called `x=1` must not become a column whose type is guessed.
            self.connection.execute(
                f"CREATE VIEW {name} AS SELECT * FROM read_parquet([{listed}], hive_partitioning = false)"
            )
        elif schema.names:
            self.connection.register("incoming", schema.empty_table())
            self.connection.execute(f"CREATE TABLE {name} AS SELECT * FROM incoming")
            self.connection.unregister("incoming")


def _records(state: DatasetState) -> dict[str, pa.Table]:
    """The relations that are made of manifests and metadata."""
    counts = ("index", "start_row", "planned", "requested", "written", "rejected", "filtered", "part_bytes")
    row_groups = {name: pa.array([getattr(item, name) for item in state.manifests], pa.int64()) for name in counts}
    row_groups["outcome"] = pa.array([item.outcome.value for item in state.manifests], pa.string())
    for name in ("started_at", "ended_at"):
        row_groups[name] = pa.array([getattr(item, name) for item in state.manifests], pa.timestamp("us", "UTC"))
    row_groups["seconds"] = pa.array(
        [
            (item.ended_at - item.started_at).total_seconds() if item.started_at and item.ended_at else None
            for item in state.manifests
        ],
        pa.float64(),
    )
    schema = state.schema()
    return {
        "row_groups": pa.table(row_groups),
        "rejections": _pairs(state, "rejected_by_reason", "reason", "rows", pa.int64()),
        "stages": _pairs(state, "stage_seconds", "stage", "seconds", pa.float64()),
        "usage": _usage(state),
        "columns": pa.table(
            {
                "position": pa.array(range(len(schema.names) if schema else 0), pa.int64()),
                "name": pa.array(schema.names if schema else [], pa.string()),
                "type": pa.array([str(each) for each in schema.types] if schema else [], pa.string()),
            }
        ),
        "dataset": _dataset(state),
    }


def _pairs(state: DatasetState, field: str, key: str, value: str, kind: pa.DataType) -> pa.Table:
    found = [(item.index, *pair) for item in state.manifests for pair in getattr(item, field).items()]
    return pa.table(
        {
            "row_group": pa.array([each[0] for each in found], pa.int64()),
            key: pa.array([each[1] for each in found], pa.string()),
            value: pa.array([each[2] for each in found], kind),
        }
    )


def _usage(state: DatasetState) -> pa.Table:
    found = [(item.index, alias, spent) for item in state.manifests for alias, spent in item.usage.items()]
    columns = {
        "row_group": pa.array([each[0] for each in found], pa.int64()),
        "model": pa.array([each[1] for each in found], pa.string()),
    }
    for name in ModelUsage.model_fields:
        kind = pa.float64() if name == "cost" else pa.int64()
        columns[name] = pa.array([getattr(each[2], name) for each in found], kind)
    return pa.table(columns)


def _dataset(state: DatasetState) -> pa.Table:
    """One row. Before the first run has ended, what was asked for is not known and stands as null."""
    metadata, manifests = state.metadata, state.manifests
    starts = [item.started_at for item in manifests if item.started_at]
    ends = [item.ended_at for item in manifests if item.ended_at]
    started = metadata.started_at if metadata else min(starts, default=None)
    ended = metadata.ended_at if metadata else max(ends, default=None)
    return pa.table(
        {
            "name": pa.array([state.name], pa.string()),
            "status": pa.array([state.status.value], pa.string()),
            "requested": pa.array([metadata.target_num_records if metadata else None], pa.int64()),
            "written": pa.array([sum(item.written for item in manifests)], pa.int64()),
            "rejected": pa.array([sum(item.rejected for item in manifests)], pa.int64()),
            "filtered": pa.array([sum(item.filtered for item in manifests)], pa.int64()),
            "row_groups": pa.array([len(manifests)], pa.int64()),
            "bytes": pa.array([sum(item.part_bytes for item in manifests)], pa.int64()),
            "seed": pa.array([metadata.seed if metadata else None], pa.int64()),
            "started_at": pa.array([started], pa.timestamp("us", "UTC")),
            "ended_at": pa.array([ended], pa.timestamp("us", "UTC")),
            "seconds": pa.array([(ended - started).total_seconds() if started and ended else None], pa.float64()),
        }
    )


def _run(
    connection: duckdb.DuckDBPyConnection,
    text: str,
    parameters: Mapping[str, Any],
    relations: Mapping[str, pa.Table],
    cancel: Cancellation,
) -> pa.Table:
    """One SELECT on a cursor of its own, which is what is interrupted."""
    cursor = connection.cursor()
    try:
        for name, table in relations.items():
            cursor.register(name, table)
        statements = cursor.extract_statements(text)
        if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
            raise QueryError("a report's query is one SELECT statement")
        with cancel.interrupting(cursor.interrupt):
            table = cursor.sql(text, params=dict(parameters) or None).to_arrow_table()
        cancel.check()
        return table
    except duckdb.InterruptException as error:
        cancel.check()
        raise QueryError("the query was interrupted") from error
    except (duckdb.IOException, duckdb.ConnectionException) as error:
        raise SourceDownError(_first_line(error)) from error
    except duckdb.Error as error:
        raise QueryError(_first_line(error)) from error
    finally:
        cursor.close()


def _first_line(error: Exception) -> str:
    return str(error).split("\n\nLINE", 1)[0].strip()


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
