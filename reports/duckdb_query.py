"""One SELECT on DuckDB, read-only and interruptible; instances that reach no file but those they were given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import duckdb
import pyarrow as pa

from prefect_datagen.reports.errors import QueryError, SourceDownError
from prefect_datagen.reports.query import Cancellation

CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "python_enable_replacements": "false",  # a Python variable is no table
}


def lock(connection: duckdb.DuckDBPyConnection, *, folders: Sequence[str] = ()) -> None:
    """Let nothing outside of `folders` be read from here on, and let no query change that."""
    if folders:
        connection.execute(f"SET allowed_directories = [{', '.join(map(literal, folders))}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def literal(text: str) -> str:
    """Text as SQL takes it."""
    return "'" + text.replace("'", "''") + "'"


def parquet(paths: Sequence[str]) -> str:
    """Parquet files as a relation. No hive partitioning: a folder called `x=1` must not become a column.

    DuckDB takes a path for a pattern only where there is no file of that very name, so nothing needs to be escaped.
    """
    return f"read_parquet([{', '.join(map(literal, paths))}], hive_partitioning = false)"


def run_select(
    connection: duckdb.DuckDBPyConnection,
    text: str,
    parameters: Mapping[str, Any],
    relations: Mapping[str, pa.Table],
    cancel: Cancellation,
) -> pa.Table:
    """Run one SELECT on a cursor of its own, which is what is interrupted. `relations` are readable by their names.

    Raises:
        QueryError: the query is wrong, or no SELECT.
        SourceDownError: a file cannot be read.
        QueryCancelledError: it was stopped.
    """
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
