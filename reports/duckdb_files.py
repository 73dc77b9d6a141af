"""DuckDB as a source: a file, and tables in memory. Read-only, and confined to what they were given."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.reports.duckdb_query import CONFIG, lock, run_select
from prefect_datagen.reports.errors import SourceDownError
from prefect_datagen.reports.query import Cancellation, SourceLimits


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
        return run_select(self._connected(), text, parameters, relations, cancel)

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
                    connection = duckdb.connect(str(self._path), read_only=True, config=CONFIG)
                    lock(connection)
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
        self._connection = duckdb.connect(config=CONFIG)
        lock(self._connection)

    def version(self) -> str:
        """Constant."""
        return ""

    def execute(
        self, text: str, parameters: Mapping[str, Any], *, relations: Mapping[str, pa.Table], cancel: Cancellation
    ) -> pa.Table:
        """See `Source.execute`."""
        return run_select(self._connection, text, parameters, {**self._tables, **relations}, cancel)

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
