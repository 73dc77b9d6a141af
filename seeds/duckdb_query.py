"""Seed rows out of a DuckDB query over files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
from pydantic import Field

from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.seeds.base import SeedSource, SeedTable, conform, plain_schema
from prefect_datagen.seeds.files import find_files, location
from prefect_datagen.seeds.local import files_table
from prefect_datagen.seeds.select_statement import parse_select
from prefect_datagen.seeds.spool import spool

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_GUESSING_FILE = re.compile(r"\.(csv|tsv|txt|json|jsonl|ndjson)(\.\w+)?$", re.IGNORECASE)
_GUESSING_FUNCTION = re.compile(r"(read|sniff)_(csv|json|ndjson)\w*", re.IGNORECASE)
_TYPES_SAID = {"all_varchar", "columns"}


class DuckDBSeedSource(SeedSource):
    """Rows of a query. Give it an `ORDER BY`, or a resume may find the rows in another order and be refused.

    Example:
        ```yaml
        source:
          seed_type: duckdb
          files: {airports: airports.csv}
          query: SELECT iata, name FROM airports WHERE state = 'AK' ORDER BY iata
        ```
    """

    seed_type: Literal["duckdb"] = "duckdb"
    query: str = Field(min_length=1, description="One SELECT. Reads `files` by name, and Parquet files by path.")
    files: dict[str, str] = Field(
        default_factory=dict,
        description="Files by the name that the query knows them by; paths and formats as in a `local` source.",
    )

    def open(self, base_dir: Path) -> SeedTable:
        """Run the query."""
        import duckdb

        tables = {name: files_table(find_files(path, base_dir)) for name, path in self.files.items()}
        connection = duckdb.connect(config={"autoinstall_known_extensions": "false"})
        try:
            connection.execute("SET file_search_path = ?", [str(base_dir.absolute())])
            self._refuse_guessing(connection)
            for name, table in tables.items():
                connection.register(name, table.relation())
            reader = pa.RecordBatchReader.from_stream(connection.sql(self.query))
            schema = plain_schema(reader.schema, origin="seed query")
            return spool(_conformed(reader, schema), schema)
        except (duckdb.Error, pa.ArrowInvalid, OSError) as error:
            raise ConfigError(f"seed query: {error} (relative paths start from {base_dir.absolute()})") from error
        finally:
            connection.close()

    def locations(self, base_dir: Path) -> list[str]:
        """The files that it has names for."""
        return [location(path, base_dir) for path in self.files.values()]

    def _refuse_guessing(self, connection: DuckDBPyConnection) -> None:
        """Refuse readers that guess the types of text: DuckDB's take `0E8` for the number 0."""
        parsed = parse_select(connection, self.query, origin="seed query")
        for place in _guessing(parsed):
            raise ConfigError(
                f"seed query: {place} would guess types and change text such as '0E8' or '007'; name the file in "
                "`files` and select from that name, or say all_varchar = true or columns = {...}"
            )


def _conformed(reader: pa.RecordBatchReader, schema: pa.Schema) -> Iterator[pa.Table]:
    return (conform(pa.Table.from_batches([batch]), schema) for batch in reader)


def _guessing(node: Any) -> Iterator[str]:
    """Names of files and functions in a parsed query that read text without being told its types."""
    if isinstance(node, list):
        for item in node:
            yield from _guessing(item)
    elif isinstance(node, dict):
        table = node.get("table_name")
        if isinstance(table, str) and _GUESSING_FILE.search(table):
            yield repr(table)
        function = node.get("function_name")
        if isinstance(function, str) and _GUESSING_FUNCTION.fullmatch(function) and not _TYPES_SAID & set(_texts(node)):
            yield f"{function}()"
        for item in node.values():
            yield from _guessing(item)


def _texts(node: Any) -> Iterator[str]:
    """All texts in a parsed query, lower-cased."""
    if isinstance(node, str):
        yield node.lower()
    elif isinstance(node, (list, dict)):
        for item in node.values() if isinstance(node, dict) else node:
            yield from _texts(item)
