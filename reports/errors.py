"""Errors of queries and of the databases they run on.

    DatagenError
    ├── DifferenceError        two datasets differ more than a condition allows
    └── QueryError             the query: its text is wrong, or a value does not fit
        ├── QueryTimeoutError      it ran, or waited for a slot, longer than its source allows
        └── SourceDownError        the database: it cannot be reached, or broke down
            └── CircuitOpenError       it failed so often just now that it is not asked again for a while

Only `SourceDownError` and `QueryTimeoutError` speak against a source; an answer such as "no such column" shows that the
source works.
"""

from __future__ import annotations

from prefect_datagen.engine.errors import DatagenError


class QueryError(DatagenError):
    """A query gave no rows. Carries `query` (its name) and `source`, where they are known."""


class QueryTimeoutError(QueryError):
    """A query took longer than its source allows. Carries `seconds`, the limit."""


class SourceDownError(QueryError):
    """The database behind a source cannot be reached."""


class CircuitOpenError(SourceDownError):
    """The source is left alone for a while. Carries `retry_after` in seconds."""


class QueryCancelledError(QueryError):
    """Raised inside a source whose query was cancelled; no waiter ever sees it."""


class DifferenceError(DatagenError):
    """Two datasets differ more than was allowed. Carries `violations`, one line for each condition that holds."""
