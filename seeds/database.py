"""Seed rows out of a database: a table or a query, through SQLAlchemy."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID

from pydantic import Field, field_serializer, model_validator

from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.seeds.base import SeedSource, SeedTable
from prefect_datagen.seeds.files import resolve
from prefect_datagen.seeds.records import records_table

if TYPE_CHECKING:
    from sqlalchemy import Engine, Executable, Select
    from sqlalchemy.engine import URL

_CHUNK_ROWS = 1 << 14
_CREDENTIALS = re.compile(r"(?<=://)[^/]*@|\?.*")
_PASSWORD = re.compile(r"(?<=:)[^:/@]*(?=@)")


class SqlSeedSource(SeedSource):
    """Rows of a database table or of a query. Credentials come from the environment, never from the config.

    Values keep the type that the driver gives them: text is text, a column of mixed kinds becomes text. A table is read
    in the order of its primary key; give a query an `ORDER BY`, or a resume may find other rows and be refused.
    """

    seed_type: Literal["sql"] = "sql"
    url: str | None = Field(
        default=None, description="SQLAlchemy URL without a password, such as postgresql+psycopg://host/database."
    )
    url_env: str | None = Field(default=None, description="Name of the environment variable that holds the whole URL.")
    username_env: str | None = Field(default=None, description="Name of the environment variable with the user name.")
    password_env: str | None = Field(default=None, description="Name of the environment variable with the password.")
    table: str | None = Field(default=None, min_length=1, description="Table, with its schema before a dot if need be.")
    query: str | None = Field(default=None, min_length=1, description="A SELECT, instead of `table`.")

    @model_validator(mode="after")
    def _one_of_each(self) -> SqlSeedSource:
        if (self.url is None) == (self.url_env is None):
            raise ValueError("give either `url` or `url_env`")
        if (self.table is None) == (self.query is None):
            raise ValueError("give either `table` or `query`")
        return self

    @field_serializer("url")
    def _store_no_password(self, url: str | None) -> str | None:
        return None if url is None else _PASSWORD.sub("***", url)

    def open(self, base_dir: Path) -> SeedTable:
        """Read all rows, in one query."""
        from sqlalchemy import create_engine
        from sqlalchemy.exc import SQLAlchemyError

        url = self._url(base_dir)
        origin = f"seed database {url.render_as_string(hide_password=True)}"
        try:
            engine = create_engine(url)
            try:
                return records_table(_read(engine, self._statement(engine), origin), origin=origin)
            finally:
                engine.dispose()
        except (SQLAlchemyError, ImportError) as error:
            raise ConfigError(f"{origin}: {_without(error, url)}") from None  # the cause may show the password

    def locations(self, base_dir: Path) -> list[str]:
        """The database and its table, without who reads it; nothing where the URL is in the environment."""
        if self.url is None:
            return []
        place = _CREDENTIALS.sub("", self.url)
        return [place if self.table is None else f"{place}/{self.table}"]

    def _url(self, base_dir: Path) -> URL:
        from sqlalchemy import make_url
        from sqlalchemy.exc import ArgumentError

        try:
            url = make_url(self.url if self.url is not None else _variable(self.url_env))
        except ArgumentError:
            raise ConfigError("seed database: the URL is none that SQLAlchemy can read") from None
        if self.url is not None and url.password is not None:
            raise ConfigError("seed database: take the password out of `url`, and name its variable in `password_env`")
        if self.username_env is not None:
            url = url.set(username=_variable(self.username_env))
        if self.password_env is not None:
            url = url.set(password=_variable(self.password_env))
        if url.get_backend_name() == "sqlite" and url.database not in (None, "", ":memory:"):
            # SQLite would make an empty database of a name that does not exist.
            url = url.set(database=str(resolve(str(url.database), base_dir)))
        return url

    def _statement(self, engine: Engine) -> Executable:
        from sqlalchemy import inspect, literal_column, select, text
        from sqlalchemy import table as table_clause

        if self.query is not None:
            return text(self.query.replace(":", r"\:"))  # no colon is a parameter here
        schema, _, name = str(self.table).rpartition(".")
        inspector = inspect(engine)
        if not inspector.has_table(name, schema=schema or None) and name not in inspector.get_view_names(
            schema or None
        ):
            known = ", ".join(sorted(inspector.get_table_names(schema or None))) or "none"
            raise ConfigError(f"seed database: no table {self.table!r}; tables are: {known}")
        # Not the reflected columns: their types would convert what the driver gives.
        quote = engine.dialect.identifier_preparer.quote
        key = inspector.get_pk_constraint(name, schema=schema or None)["constrained_columns"]
        statement: Select[Any] = select(literal_column("*")).select_from(table_clause(name, schema=schema or None))
        return statement.order_by(*(literal_column(quote(column)) for column in key))


def _read(engine: Engine, statement: Executable, origin: str) -> Iterator[list[Mapping[str, Any]]]:
    with engine.connect() as connection:
        result = connection.execution_options(stream_results=True, max_row_buffer=_CHUNK_ROWS).execute(statement)
        if not result.returns_rows:
            raise ConfigError(f"{origin}: the query returns no rows; write a SELECT")
        names = list(result.keys())
        doubled = sorted({name for name in names if names.count(name) > 1})
        if doubled:
            raise ConfigError(f"{origin}: duplicate column name {', '.join(map(repr, doubled))}; rename with AS")
        for rows in result.partitions(_CHUNK_ROWS):
            yield [dict(zip(names, map(_plain, row), strict=True)) for row in rows]


def _plain(value: Any) -> Any:
    if isinstance(value, UUID):
        return str(value)
    return bytes(value) if isinstance(value, memoryview) else value


def _variable(name: str | None) -> str:
    value = os.environ.get(name or "")
    if value is None:
        raise ConfigError(f"seed database: environment variable {name!r} is not set")
    return value


def _without(error: Exception, url: URL) -> str:
    """The message, without the password: some drivers repeat the connection string."""
    text = str(getattr(error, "orig", None) or error)
    return text.replace(str(url.password), "***") if url.password else text
