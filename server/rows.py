"""From what a client asks of a table to SQL: columns, filter, order and page, all checked against the table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from prefect_datagen.reports.query_cache import Query
from prefect_datagen.server.dataset import PART_COLUMN, ROW_COLUMN, DatasetSnapshot, DatasetTable
from prefect_datagen.server.filters import Condition, FilterError, parse_filter, parse_sort
from prefect_datagen.server.source import sql_name

MAX_PAGE = 1_000


@dataclass(frozen=True)
class Selection:
    """Part of a table, checked.

    Attributes:
        columns: names, in the order asked for.
        order: SQL sort terms; empty keeps the order of the dataset.
    """

    snapshot: DatasetSnapshot
    table: DatasetTable
    columns: tuple[str, ...]
    condition: Condition
    order: tuple[str, ...]

    @property
    def is_whole(self) -> bool:
        """Whether it is all rows, in the order of the dataset."""
        return self.is_unfiltered and not self.order

    @property
    def is_unfiltered(self) -> bool:
        """Whether it is all rows."""
        return self.condition.sql == "TRUE"

    def sql(self) -> str:
        """All its rows."""
        ordered = f" ORDER BY {', '.join(self.order)}, {PART_COLUMN}, {ROW_COLUMN}" if self.order else ""
        return f"SELECT {self._listed()} FROM {self.table.name} WHERE {self.condition.sql}{ordered}"

    def page(self, offset: int, limit: int) -> Query:
        """Some of its rows. Where nothing is filtered or sorted, only the parts that hold them are opened."""
        place = self.table.locate(offset, limit) if self.is_whole else None
        if place is None:
            return self._query(f"{self.sql()} LIMIT {limit:d} OFFSET {offset:d}", self.condition.parameters)
        text = (
            f"SELECT {self._listed()} FROM read_parquet($parts, hive_partitioning = false) "
            f"LIMIT {limit:d} OFFSET {place.offset:d}"
        )
        return self._query(text, {"parts": place.parts})

    def count(self) -> Query:
        """The number of its rows, as column `rows`."""
        text = f"SELECT count(*) AS rows FROM {self.table.name} WHERE {self.condition.sql}"
        return self._query(text, self.condition.parameters)

    def _listed(self) -> str:
        return ", ".join(map(sql_name, self.columns))

    def _query(self, text: str, parameters: dict[str, Any]) -> Query:
        return Query(self.snapshot.rows_source, text, parameters=parameters, name=f"rows of {self.table.name}")


def select(
    snapshot: DatasetSnapshot, table: DatasetTable, *, columns: Sequence[str], filter_text: str, sort: str
) -> Selection:
    """Check what a client asks for.

    Args:
        columns: names; none means all.
        filter_text: see `filters.py`.
        sort: `name,-other`.

    Raises:
        FilterError: a name is no column, or filter or sort order cannot be understood.
    """
    unknown = [name for name in columns if name not in table.columns]
    if unknown:
        raise FilterError(f"there is no column {unknown[0]!r} in {table.name!r}")
    return Selection(
        snapshot=snapshot,
        table=table,
        columns=tuple(dict.fromkeys(columns)) or tuple(table.columns),
        condition=parse_filter(filter_text, table.columns),
        order=tuple(parse_sort(sort, table.columns)),
    )
