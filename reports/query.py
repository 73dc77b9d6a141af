"""A query ready to run, the source it runs on, and the key by which identical work is known."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import BaseModel, ConfigDict, Field

from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.reports.errors import QueryCancelledError
from prefect_datagen.reports.sql_text import QUERY_REFERENCE, normalise

if TYPE_CHECKING:
    import pyarrow as pa


class SourceLimits(BaseModel):
    """What a source is asked to bear, and how long its rows stay good."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_running: int = Field(default=4, ge=1, description="Queries running at one time.")
    timeout: float = Field(default=60.0, gt=0, description="Seconds one query may run.")
    queue_timeout: float = Field(default=300.0, gt=0, description="Seconds one query may wait for a free slot.")
    ttl: float | None = Field(
        default=300.0, gt=0, description="Seconds after which rows are fetched anew; null where the version says it."
    )
    failures_to_open: int = Field(default=3, ge=1, description="Breakdowns in a row after which it is left alone.")
    cooldown: float = Field(default=10.0, gt=0, description="Seconds it is then left alone before one query tries.")


class Cancellation:
    """Tells a running query to stop. The source says how it can be interrupted; anybody may ask for it.

    An interrupt that arrives before the database has begun is lost in DuckDB and in SQLite. So `interrupt` may be
    called again and again until the source gives up; each call happens only while the source is inside `interrupting`,
    hence never hits the next query on the same connection.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked = threading.Event()
        self._action: Callable[[], object] | None = None

    @property
    def asked(self) -> bool:
        """Whether the query should stop."""
        return self._asked.is_set()

    def check(self) -> None:
        """Raise `QueryCancelledError` where the query should stop."""
        if self.asked:
            raise QueryCancelledError("the query was cancelled")

    def wait(self, timeout: float | None = None) -> bool:
        """Block until the query should stop, `timeout` seconds at most; return whether it should."""
        return self._asked.wait(timeout)

    @contextmanager
    def interrupting(self, action: Callable[[], object]) -> Iterator[None]:
        """While this block runs, a request to stop calls `action` from another thread.

        Raises:
            QueryCancelledError: the query should stop already; the block is not entered.
        """
        with self._lock:
            self.check()
            self._action = action
        try:
            yield
        finally:
            with self._lock:
                self._action = None

    def ask(self) -> None:
        """Mark the query as unwanted. Never blocks."""
        self._asked.set()

    def interrupt(self) -> None:
        """Call what the source gave, where it is inside `interrupting`. May block as long as the database takes."""
        with self._lock:
            if self._action is not None:
                self._action()


class Source(Protocol):
    """Something that answers SQL. Used by several threads at a time.

    `identity` names the data itself (a path, a URL without its password): two sources of one identity share rows,
    limits and circuit. `dialect` is sqlglot's name for its SQL, or None.
    """

    @property
    def identity(self) -> str:
        """Name of the data behind the source, the same in every report and process."""
        ...

    @property
    def dialect(self) -> str | None:
        """sqlglot's name for the SQL of the source."""
        ...

    @property
    def limits(self) -> SourceLimits:
        """What the source is asked to bear."""
        ...

    def version(self) -> str:
        """Changes whenever the data changes; constant where that cannot be told. Cheap: called for every query."""
        ...

    def execute(
        self, text: str, parameters: Mapping[str, Any], *, relations: Mapping[str, pa.Table], cancel: Cancellation
    ) -> pa.Table:
        """Run one query and return all its rows.

        Args:
            text: SQL; `:name` or the source's own form stands for a parameter.
            parameters: values to bind, by name.
            relations: rows of other queries, by the relation name that the text uses.
            cancel: the way to be stopped.

        Raises:
            QueryError: the query is wrong.
            SourceDownError: the source is.
            QueryCancelledError: it was stopped.
        """
        ...

    def close(self) -> None:
        """Close connections. May be called twice."""
        ...


@dataclass(frozen=True, slots=True)
class QueryKey:
    """What makes two queries the same work. A query's name is no part of it.

    `text` is normalised, and holds the digests of the queries it reads; `parameters` are (name, type, repr), so that
    1, 1.0, True and '1' are four different values.
    """

    source: str
    text: str
    parameters: tuple[tuple[str, str, str], ...]
    version: str

    @property
    def digest(self) -> str:
        """Twenty hexadecimal digits that stand for the key."""
        return hashlib.blake2b(repr(self).encode(), digest_size=10).hexdigest()


@dataclass(frozen=True, eq=False)
class Query:
    """A query with everything bound.

    Attributes:
        source: where it runs.
        text: SQL; `{{ queries.x }}` stands for the rows of `uses["x"]` as a relation (give it an alias, as a subquery).
        parameters: bound values by name.
        uses: the queries it reads. They exist before this one, so a cycle cannot be made; names that form one are
            refused where a report's texts are linked.
        version: data version; the source's present one by default.
        name: for messages only.
        sql: `text` with the name of the relation in place of each `{{ queries.x }}`.
        key: identity of the work.
    """

    source: Source
    text: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    uses: Mapping[str, Query] = field(default_factory=dict)
    version: str | None = None
    name: str = ""
    sql: str = field(init=False)
    key: QueryKey = field(init=False)

    def __post_init__(self) -> None:
        sql = QUERY_REFERENCE.sub(lambda match: self._relation(match.group(1)), self.text)
        version = self.source.version() if self.version is None else self.version
        parameters = tuple((name, type(value).__name__, repr(value)) for name, value in sorted(self.parameters.items()))
        key = QueryKey(
            source=self.source.identity,
            text=normalise(sql, dialect=self.source.dialect),
            parameters=parameters,
            version=version,
        )
        object.__setattr__(self, "sql", sql)
        object.__setattr__(self, "version", version)
        object.__setattr__(self, "key", key)

    def _relation(self, name: str) -> str:
        if name not in self.uses:
            raise ConfigError(f"query {self.name!r} reads query {name!r}, which is not among {sorted(self.uses)}")
        return self.uses[name].relation

    @property
    def relation(self) -> str:
        """The name under which other queries read the rows of this one."""
        return f"query_{self.key.digest}"
