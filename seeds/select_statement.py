"""A DuckDB query that a config holds, checked before it is run: one SELECT, and nothing else."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from prefect_datagen.engine.errors import ConfigError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def parse_select(connection: DuckDBPyConnection, query: str, *, origin: str) -> dict[str, Any]:
    """The query as DuckDB's own parser sees it: nested dictionaries and lists. Nothing is looked up or run.

    Raises:
        ConfigError: it does not parse, is no SELECT, or is more than one.
    """
    rows = connection.execute("SELECT json_serialize_sql(?)", [query]).fetchall()
    parsed: dict[str, Any] = json.loads(rows[0][0])
    if parsed["error"]:
        raise ConfigError(f"{origin}: {parsed['error_message']}; write one SELECT")
    if len(parsed["statements"]) != 1:
        raise ConfigError(f"{origin}: {len(parsed['statements'])} statements; write one SELECT")
    return parsed
