"""A dataset as a source of queries: an in-memory DuckDB that can read this directory and nothing else."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import duckdb
import pyarrow as pa

from prefect_datagen.reports.duckdb_query import CONFIG
from prefect_datagen.reports.errors import QueryCancelledError, QueryError
from prefect_datagen.reports.part_views import PartViews
from prefect_datagen.reports.query_cache import Cancellation, SourceLimits


def sql_name(name: str) -> str:
    """A column's name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def connect() -> duckdb.DuckDBPyConnection:
    """An in-memory DuckDB that sees no variable of Python's. What does not fit in memory is spilled to a file."""
    spill = os.path.join(tempfile.gettempdir(), f"prefect-datagen-serve-{os.getpid()}")
    return duckdb.connect(":memory:", config={**CONFIG, "temp_directory": spill})


class SnapshotSource:
    """The views of one version of a dataset (`reports.query_cache.Source`), for paging, searching and downloading.

    Args:
        identity: name of the data, the same for all its versions, so that they share one limit.
        version: changes with the data.
        connection: made by `connect`, locked; the source owns it.
        views: of the dataset's tables.
        limits: what it is asked to bear.
    """

    dialect = "duckdb"

    def __init__(
        self,
        *,
        identity: str,
        version: str,
        connection: duckdb.DuckDBPyConnection,
        views: PartViews,
        limits: SourceLimits,
    ) -> None:
        self.identity = identity
        self.limits = limits
        self._version = version
        self._connection = connection
        self._views = views

    def version(self) -> str:
        """The version that this source shows for ever."""
        return self._version

    def execute(
        self, text: str, parameters: Mapping[str, Any], *, relations: Mapping[str, pa.Table], cancel: Cancellation
    ) -> pa.Table:
        """Run one query and return all its rows; see `reports.query_cache.Source`."""
        with self.cursor(text, cancel) as cursor:
            for name, table in relations.items():
                cursor.register(name, table)
            with self._errors(cancel), cancel.interrupting(cursor.interrupt):
                return cursor.sql(text, params=dict(parameters)).to_arrow_table()

    @contextmanager
    def cursor(self, text: str, cancel: Cancellation) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection of one thread to the tables that a query reads; closed at the end.

        Raises:
            QueryCancelledError: the query is not wanted any more.
        """
        self._views.prepare(text, cancel)
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
