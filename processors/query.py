"""Processors that are DuckDB queries: `filter` and `sql`.

A filter and an exact deduplication only *choose* rows: DuckDB gives their positions, and the rows themselves never pass
through it. Only what `sql` computes does.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Iterable, Iterator
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.processors.base import ROW_ID, ProcessorConfig, ProcessorContext, Stage, without_row_id
from prefect_datagen.processors.session import plain, quoted, read, session
from prefect_datagen.processors.spooled import POSITION, SpooledRows, numbered, with_position
from prefect_datagen.seeds.base import plain_schema
from prefect_datagen.seeds.select_statement import parse_select


class ChoosingProcessorConfig(ProcessorConfig):
    """Base of processors that keep some of the rows, in their order, and change none."""

    @abstractmethod
    def positions_query(self, names: Collection[str]) -> str:
        """A query over `rows`, which has these columns and `POSITION`, that gives the positions of the rows to keep."""

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        """The same columns.

        Raises:
            ConfigError: the query does not fit them.
        """
        _describe(with_position(schema.empty_table()), self.positions_query(schema.names), owner=self)
        return schema

    def apply(self, table: pa.Table, context: ProcessorContext) -> pa.Table:
        """Keep the chosen rows."""
        del context
        names = [name for name in table.column_names if name != ROW_ID]
        with session(plain(with_position(table.select(names)))) as connection:
            found = read(connection, self.positions_query(names)).read_all().column(0)
        return table.take(pa.array(np.sort(found.to_numpy())))

    def apply_to_all(
        self, tables: Iterator[pa.Table], schema: pa.Schema, context: ProcessorContext
    ) -> Iterator[pa.Table]:
        """Keep the chosen rows of all. Memory is bounded by DuckDB's limit and one byte a row."""
        assert context.scratch is not None
        rows = SpooledRows(numbered(tables), with_position(schema.empty_table()).schema, context.scratch)
        with session(rows.dataset(), scratch=context.scratch) as connection:
            found = read(connection, self.positions_query(schema.names))
            for table in rows.select(batch.column(0).to_numpy() for batch in found):
                yield table.select(schema.names)


class FilterProcessorConfig(ChoosingProcessorConfig):
    """Keep the rows for which a condition is true; where it is NULL the row goes, as in SQL.

    Example:
        ```yaml
        - {name: long enough, processor_type: filter, condition: length(review) > 20}
        ```
    """

    processor_type: Literal["filter"] = "filter"
    condition: str = Field(min_length=1, description="DuckDB condition over the columns, such as length(review) > 20.")

    def check(self, known: Collection[str]) -> Iterator[tuple[str, str]]:
        """Whether the condition parses."""
        del known
        yield from _syntax("condition", self.positions_query([]))

    def positions_query(self, names: Collection[str]) -> str:
        """Positions of the rows that fulfil the condition."""
        del names
        # The line break ends a comment that the condition may end with.
        return f"SELECT {POSITION} FROM rows WHERE (\n{self.condition}\n)"


class SqlProcessorConfig(ProcessorConfig):
    """Make the rows anew by a DuckDB query over the relation `rows`.

    `SELECT *` hands the hidden row identity on; where the query does not, rows are taken to be the old ones in order.
    Give it an `ORDER BY` where the order matters.

    Example:
        ```yaml
        - name: shout
          processor_type: sql
          query: SELECT * REPLACE (upper(title) AS title), length(review) AS n FROM rows
        ```
    """

    processor_type: Literal["sql"] = "sql"
    query: str = Field(min_length=1, description="One SELECT over the relation `rows`.")

    def check(self, known: Collection[str]) -> Iterator[tuple[str, str]]:
        """Whether the query parses."""
        del known
        yield from _syntax("query", self.query)

    def adds(self) -> Iterable[str]:
        """Names that the query gives by AS in its outermost list."""
        try:
            parsed = _parse(self.query, origin=self.name)
        except ConfigError:
            return []  # told by `check`
        node = parsed["statements"][0]["node"]
        return [item["alias"] for item in node.get("select_list", []) if item.get("alias")]

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        """Columns of the result, which DuckDB tells from the query alone. Those it hands on keep their exact type.

        Raises:
            ConfigError: the query does not fit the columns.
        """
        rows = schema.empty_table()
        if self.stage is not Stage.AFTER_GENERATION:
            rows = rows.append_column(ROW_ID, pa.array([], pa.int64()))
        found = _describe(rows, self.query, owner=self)
        # DuckDB has fewer types than Arrow: what only changed by passing through is changed back.
        passed = _describe(rows, "SELECT * FROM rows", owner=self)
        fields = []
        for field in without_row_id(plain_schema(found, origin=f"processor {self.name!r}")):
            same = field.name in schema.names and passed.field(field.name).type == field.type
            fields.append(self._restored(field, schema.field(field.name)) if same else field)
        return pa.schema(fields)

    def _restored(self, found: pa.Field, wanted: pa.Field) -> pa.Field:
        try:
            pa.array([], found.type).cast(wanted.type)
        except pa.ArrowNotImplementedError as error:
            raise ConfigError(
                f"processor {self.name!r}: column {wanted.name!r} ({wanted.type}) cannot pass through DuckDB; leave it out "
                f"of the query, or make something else of it, such as epoch_ms({quoted(wanted.name)}) AS ..."
            ) from error
        return wanted

    def apply(self, table: pa.Table, context: ProcessorContext) -> pa.Table:
        """Run the query over the rows of one row group."""
        with session(plain(table), scratch=context.scratch) as connection:
            return read(connection, self.query).read_all()

    def apply_to_all(
        self, tables: Iterator[pa.Table], schema: pa.Schema, context: ProcessorContext
    ) -> Iterator[pa.Table]:
        """Run the query over all rows, within DuckDB's memory limit."""
        assert context.scratch is not None
        batches = (batch for table in tables for batch in table.to_batches())
        with session(pa.RecordBatchReader.from_batches(schema, batches), scratch=context.scratch) as connection:
            for batch in read(connection, self.query):
                yield pa.Table.from_batches([batch])


def _parse(query: str, *, origin: str) -> dict[str, Any]:
    with session(None) as connection:
        return parse_select(connection, query, origin=origin)


def _syntax(field: str, query: str) -> Iterator[tuple[str, str]]:
    try:
        _parse(query, origin="the query")
    except ConfigError as error:
        yield field, error.message


def _describe(rows: pa.Table, query: str, *, owner: ProcessorConfig) -> pa.Schema:
    """Columns that a query over rows of these columns gives. No row is needed."""
    import duckdb

    try:
        with session(plain(rows)) as connection:
            parse_select(connection, query, origin="the query")
            return read(connection, query).schema
    except (duckdb.Error, ConfigError, pa.ArrowException) as error:
        raise ConfigError(f"processor {owner.name!r} at {owner.stage.value}: {error}") from error
