"""Views of Parquet parts in a DuckDB instance."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import duckdb

from prefect_datagen.reports.duckdb_query import parquet
from prefect_datagen.reports.packs import PackPlan, Packs
from prefect_datagen.reports.query import Cancellation


@dataclass(frozen=True)
class _Later:
    """A view that is not there yet."""

    name: str
    columns: str
    plan: PackPlan
    packs: Packs


class PartViews:
    """Views that are made at once or, where their parts are many and small, by the first query that reads them."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._later: list[_Later] = []

    def offer(self, name: str, parts: Sequence[str], packs: Packs, *, columns: str = "*") -> None:
        """A view of Parquet files; none where there are no files, because then nobody knows its columns.

        Args:
            columns: SQL of what is selected of the files.

        Raises:
            duckdb.Error: a part cannot be read.
        """
        if (plan := PackPlan.of(parts)) is not None:
            self._later.append(_Later(name, columns, plan, packs))
        elif parts:
            self._make(name, columns, parts)

    def folders(self) -> list[str]:
        """Where files are that will be read beside the parts themselves."""
        return list({later.packs.folder() for later in self._later})

    def prepare(self, text: str, cancel: Cancellation) -> None:
        """Make the views that a query may read and that are not there yet.

        Raises:
            QueryCancelledError: the query is not wanted any more.
        """
        for later in list(self._later):
            if re.search(rf"\b{later.name.rpartition('.')[2]}\b", text, re.IGNORECASE):
                files = later.packs.read(later.plan, cancel)
                with self._lock:
                    if later in self._later:
                        self._make(later.name, later.columns, files)
                        self._later.remove(later)

    def _make(self, name: str, columns: str, files: Sequence[str]) -> None:
        with self._connection.cursor() as cursor:
            # `execute`, not `sql`: parsing a list of thousands of paths in there would keep all other threads waiting.
            cursor.execute(f"CREATE VIEW {name} AS SELECT {columns} FROM {parquet(files)}")
