"""Sources other than DuckDB: a SQLite file through the standard library, any database through SQLAlchemy."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.reports.duckdb_files import file_version
from prefect_datagen.reports.errors import QueryError, SourceDownError
from prefect_datagen.reports.query import Cancellation, SourceLimits
from prefect_datagen.reports.rows import table_from_rows
from prefect_datagen.reports.sql_text import placeholders

if TYPE_CHECKING:
    from sqlalchemy import Connection

_BATCH = 10_000
"""Rows fetched between two looks at whether anybody still wants them."""

_BROKEN_FILE = {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_IOERR}

# sqlglot's names of SQL dialects where they differ from SQLAlchemy's.
_DIALECTS = {"postgresql": "postgres", "mssql": "tsql", "mariadb": "mysql"}


class SQLiteSource:
    """Tables and views of a SQLite file, read-only.

    Raises:
        ConfigError: there is no such file.
    """

    dialect = "sqlite"

    def __init__(self, path: Path | str, *, limits: SourceLimits | None = None) -> None:
        self._path = Path(path).resolve()
        if not self._path.is_file():
            raise ConfigError(f"{str(path)!r} is not a file; give a SQLite database")
        self.limits = limits or SourceLimits()
        self.identity = f"sqlite:{self._path}"

    def version(self) -> str:
        """Changes when the file does."""
        return file_version(self._path)

    def execute(
        self, text: str, parameters: Mapping[str, Any], *, relations: Mapping[str, pa.Table], cancel: Cancellation
    ) -> pa.Table:
        """See `Source.execute`. Takes no relations: what reads another query of the file holds it as a subquery."""
        _refuse_relations(relations, self.identity)
        try:
            with closing(sqlite3.connect(f"{self._path.as_uri()}?mode=ro", uri=True, check_same_thread=False)) as file:
                file.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)  # no other file can be reached from here
                with cancel.interrupting(file.interrupt):
                    cursor = file.execute(text, dict(parameters))
                    rows = _fetch(cursor, cancel)
                names = [column[0] for column in cursor.description or ()]
        except sqlite3.Error as error:
            cancel.check()
            code = getattr(error, "sqlite_errorcode", None)
            broken = code is not None and code & 0xFF in _BROKEN_FILE
            raise (SourceDownError if broken else QueryError)(str(error)) from error
        except sqlite3.Warning as error:
            raise QueryError(str(error)) from error
        return table_from_rows(names, rows)

    def close(self) -> None:
        """Nothing to do: a connection lives as long as its query."""


class SQLAlchemySource:
    """Any database that SQLAlchemy reaches.

    Args:
        url: with the password; never shown.
        name: identity of the data, where the URL without its password is not enough.

    Raises:
        ConfigError: SQLAlchemy refuses the URL, or its driver is not installed.
    """

    def __init__(self, url: str, *, name: str | None = None, limits: SourceLimits | None = None) -> None:
        import sqlalchemy

        self.limits = limits or SourceLimits()
        try:
            parsed = sqlalchemy.make_url(url)
            self._engine = sqlalchemy.create_engine(parsed, **self._pool_options(parsed.get_backend_name()))
        except (sqlalchemy.exc.ArgumentError, sqlalchemy.exc.NoSuchModuleError) as error:
            raise ConfigError(f"SQLAlchemy knows no such database: {type(error).__name__}") from error
        except ModuleNotFoundError as error:
            raise ConfigError(f"the driver {error.name!r} of this database is not installed") from error
        self.identity = name or f"sqlalchemy:{parsed.render_as_string(hide_password=True)}"
        self.dialect: str | None = _DIALECTS.get(parsed.get_backend_name(), parsed.get_backend_name())

    def _pool_options(self, backend: str) -> dict[str, Any]:
        if backend == "sqlite":  # SQLAlchemy chooses pools for SQLite that take no size
            return {}
        return {"pool_size": self.limits.max_running, "max_overflow": 0, "pool_pre_ping": True}

    def version(self) -> str:
        """Constant: a database does not tell; its rows grow old by `limits.ttl`."""
        return ""

    def execute(
        self, text: str, parameters: Mapping[str, Any], *, relations: Mapping[str, pa.Table], cancel: Cancellation
    ) -> pa.Table:
        """See `Source.execute`. Takes no relations: what reads another query of the source holds it as a subquery."""
        import sqlalchemy

        _refuse_relations(relations, self.identity)
        statement = sqlalchemy.text(_escaped(text, frozenset(parameters), self.dialect))
        try:
            connection = self._engine.connect()
        except (sqlalchemy.exc.DBAPIError, sqlalchemy.exc.TimeoutError) as error:
            raise SourceDownError(f"cannot connect: {_reason(error)}") from error
        with connection:
            try:
                with cancel.interrupting(_Interrupter(connection)):
                    result = connection.execute(statement, dict(parameters))
                    rows = _fetch(result, cancel)
                names = list(result.keys())
            except sqlalchemy.exc.DBAPIError as error:
                cancel.check()
                down = error.connection_invalidated
                raise (SourceDownError if down else QueryError)(_reason(error)) from error
            except sqlalchemy.exc.ResourceClosedError as error:
                raise QueryError("a report's query is one SELECT statement") from error
            finally:
                connection.rollback()
        return table_from_rows(names, rows)

    def close(self) -> None:
        """Close all connections of the pool."""
        self._engine.dispose()


class _Interrupter:
    """Stops what a connection is doing: SQLite and DuckDB have `interrupt`, psycopg `cancel_safe` or `cancel`.

    A driver with neither cannot be stopped: its query runs on while nobody waits for it.
    """

    def __init__(self, connection: Connection) -> None:
        driver = connection.connection.driver_connection
        names = ("interrupt", "cancel_safe", "cancel")
        self._stop = next((getattr(driver, name) for name in names if hasattr(driver, name)), None)
        self._errors = connection.dialect.loaded_dbapi.Error

    def __call__(self) -> None:
        if self._stop is None:
            return
        try:
            self._stop()
        except self._errors:
            # The server cannot be reached to tell it so. The query's own thread will notice; it is asked again.
            return


def _fetch(cursor: Any, cancel: Cancellation) -> list[Any]:
    rows: list[Any] = []
    while batch := cursor.fetchmany(_BATCH):
        rows.extend(batch)
        cancel.check()
    return rows


def _escaped(text: str, names: frozenset[str], dialect: str | None) -> str:
    """The text with every colon that begins no parameter escaped, because SQLAlchemy looks for them in literals too."""
    parts = []
    at = 0
    for place in placeholders(text, names, dialect=dialect) if names else []:
        parts += [text[at : place.start].replace(":", r"\:"), text[place.start : place.end]]
        at = place.end
    return "".join([*parts, text[at:].replace(":", r"\:")])


def _reason(error: Exception) -> str:
    """The driver's own words: SQLAlchemy's would repeat the statement and its parameters."""
    return str(getattr(error, "orig", None) or error).strip()


def _refuse_relations(relations: Mapping[str, pa.Table], identity: str) -> None:
    if relations:
        raise QueryError(f"source {identity!r} cannot read the rows of another source")
