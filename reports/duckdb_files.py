"""DuckDB as a source: a file, and tables in memory. Read-only, and confined to what they were given."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.reports.duckdb_query import CONFIG, lock, run_select
from prefect_datagen.reports.errors import SourceDownError
from prefect_datagen.reports.query import Cancellation, SourceLimits


class _OpenFiles:
    """The DuckDB files that this process is reading at this moment, each opened once however many queries read it.

    DuckDB refuses a second connection to a file that is made with other settings, and those of the first are locked. A
    file is let go of with its last query: while it is open, no other process can write to it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[Path, tuple[duckdb.DuckDBPyConnection, int]] = {}

    @contextmanager
    def reading(self, path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
        """The connection to a file, for one query.

        Raises:
            SourceDownError: it cannot be opened.
        """
        with self._lock:
            connection, users = self._open.get(path) or (_open(path), 0)
            self._open[path] = (connection, users + 1)
        try:
            yield connection
        finally:
            with self._lock:
                _, users = self._open.pop(path)
                if users > 1:
                    self._open[path] = (connection, users - 1)
                else:
                    connection.close()


def _open(path: Path) -> duckdb.DuckDBPyConnection:
    try:
        connection = duckdb.connect(str(path), read_only=True, config=CONFIG)
        lock(connection)
    except duckdb.Error as error:
        raise SourceDownError(f"cannot open DuckDB file {path.name}: {error}") from error
    return connection


_OPEN_FILES = _OpenFiles()


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

    def version(self) -> str:
        """Changes when the file does."""
        return file_version(self._path)

    def execute(
        self, text: str, parameters: Mapping[str, Any], *, relations: Mapping[str, pa.Table], cancel: Cancellation
    ) -> pa.Table:
        """See `Source.execute`."""
        with _OPEN_FILES.reading(self._path) as connection:
            return run_select(connection, text, parameters, relations, cancel)

    def close(self) -> None:
        """Nothing to do: the file is let go of with the last query."""


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
