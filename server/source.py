"""A dataset as a source of queries: an in-memory DuckDB that can read this directory and nothing else."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from prefect_datagen.reports.errors import QueryCancelledError, QueryError
from prefect_datagen.reports.query_cache import Cancellation, SourceLimits


def sql_string(text: str) -> str:
    """A text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def sql_name(name: str) -> str:
    """A column's name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def parquet(paths: Sequence[str]) -> str:
    """Parquet files as an SQL relation. A folder called `x=1` does not become a column.

    DuckDB takes a path for a pattern only where there is no file of that very name, so nothing needs to be escaped.
    """
    return f"read_parquet([{', '.join(map(sql_string, paths))}], hive_partitioning = false)"


def connect(root: Path) -> duckdb.DuckDBPyConnection:
    """An in-memory DuckDB whose SQL can reach the files below `root` and no other, for good.

    Python's variables are out of its reach too. What does not fit in memory is spilled to the system's folder for
    temporary files.
    """
    spill = os.path.join(tempfile.gettempdir(), f"prefect-datagen-serve-{os.getpid()}")
    connection = duckdb.connect(":memory:", config={"temp_directory": spill, "python_enable_replacements": False})
    connection.execute("SET parquet_metadata_cache = true")
    connection.execute(f"SET allowed_directories = [{sql_string(str(root))}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


class SnapshotSource:
    """The views of one version of a dataset (`reports.query_cache.Source`), for paging, searching and downloading.

    Args:
        identity: name of the data, the same for all its versions, so that they share one limit.
        version: changes with the data.
        connection: made by `connect`; the source owns it.
        limits: what it is asked to bear.
    """

    dialect = "duckdb"

    def __init__(
        self, *, identity: str, version: str, connection: duckdb.DuckDBPyConnection, limits: SourceLimits
    ) -> None:
        self.identity = identity
        self.limits = limits
        self._version = version
        self._connection = connection

    def version(self) -> str:
        """The version that this source shows for ever."""
        return self._version

    def execute(
        self, text: str, parameters: Mapping[str, Any], *, relations: Mapping[str, pa.Table], cancel: Cancellation
    ) -> pa.Table:
        """Run one query and return all its rows; see `reports.query_cache.Source`."""
        with self.cursor() as cursor:
            for name, table in relations.items():
                cursor.register(name, table)
            with self._errors(cancel), cancel.interrupting(cursor.interrupt):
                return cursor.sql(text, params=dict(parameters)).to_arrow_table()

    @contextmanager
    def cursor(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection of one thread to the same tables; closed at the end."""
        cursor = self._connection.cursor()
        try:
            yield cursor
        finally:
            cursor.close()

    @contextmanager
    def _errors(self, cancel: Cancellation) -> Iterator[None]:
        try:
            yield
        except duckdb.InterruptException as error:
            raise QueryCancelledError("the query was cancelled") from error
        except duckdb.Error as error:
            cancel.check()
            reason = type(error).__name__
            raise QueryError(f"{reason}: {error}", source=self.identity, reason=reason) from error

    def close(self) -> None:
        """Close the database. Queries that run end with an error."""
        self._connection.close()
