"""DuckDB as processors use it: it sees the rows that it is given, and no file; text goes in and comes out as text."""

from __future__ import annotations

import atexit
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from prefect_datagen.seeds.base import plain_schema

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

ROWS = "rows"
_MEMORY_LIMIT = "1GB"


@contextmanager
def session(rows: Any, *, scratch: Path | None = None) -> Iterator[DuckDBPyConnection]:
    """A connection in which `rows` is the relation of that name.

    Args:
        rows: `pyarrow.Table`, or `pyarrow.dataset.Dataset`, of plain types; None for a query that is only parsed. An
            iterator of record batches (`pyarrow.RecordBatchReader`) is first stored in `scratch`: a query may read its
            rows more than once.
        scratch: where to put what does not fit into a gigabyte of memory; None keeps everything in memory.
    """
    database = _shared() if scratch is None else _open(scratch)
    connection = database.cursor()
    try:
        if isinstance(rows, pa.RecordBatchReader):
            connection.register("incoming", rows)
            connection.execute(f"CREATE TABLE {ROWS} AS SELECT * FROM incoming")
            connection.unregister("incoming")
        elif rows is not None:
            connection.register(ROWS, rows)
        yield connection
    finally:
        connection.close()
        if scratch is not None:
            database.close()


@lru_cache(maxsize=1)
def _shared() -> DuckDBPyConnection:
    """One database for the process, empty for ever: what a session registers only its own connection sees.

    To open one takes a hundred times as long as to open a connection.
    """
    database = _open(None)
    # With a connection left open, DuckDB 2.0 prints pages about leaks if another thread still runs at exit.
    atexit.register(_shared.cache_clear)
    atexit.register(database.close)
    return database


def _open(scratch: Path | None) -> DuckDBPyConnection:
    import duckdb  # a tenth of a second that configs without queries need not wait for

    path = ":memory:"
    config: dict[str, str | bool | int | float | list[str]] = {
        "autoinstall_known_extensions": "false",
        "python_enable_replacements": "false",
    }
    if scratch is not None:
        folder = tempfile.mkdtemp(prefix="duckdb-", dir=scratch)
        path = f"{folder}/rows.duckdb"
        config |= {"memory_limit": _MEMORY_LIMIT, "temp_directory": f"{folder}/spilled"}
    database = duckdb.connect(path, config=config)
    database.execute("SET enable_external_access = false")
    database.execute("SET lock_configuration = true")
    return database


def plain(table: pa.Table) -> pa.Table:
    """The table in types that DuckDB reads (version 2.0 ends the process at a string view)."""
    return table.cast(plain_schema(table.schema, origin=ROWS))


def read(connection: DuckDBPyConnection, query: str) -> pa.RecordBatchReader:
    """The result of a query, in batches. Valid as long as the connection is open."""
    return pa.RecordBatchReader.from_stream(connection.sql(query))


def quoted(name: str) -> str:
    """A column's name as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'
