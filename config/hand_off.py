"""What a stage of a workflow hands on: which rows, of which columns. Knows no place; `flows/stage.py` stores them."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import orjson
import pyarrow as pa

from prefect_datagen.config.dataset import DatasetConfig
from prefect_datagen.config.problems import did_you_mean
from prefect_datagen.config.workflow import StageConfig
from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.processors import ProcessorConfig, Stage, run_after_generation
from prefect_datagen.processors.session import read, session
from prefect_datagen.seeds.base import conform, plain_schema
from prefect_datagen.seeds.select_statement import parse_select

if TYPE_CHECKING:
    from prefect_datagen.storage.arrow import Dataset


class Rows(Protocol):
    """A built dataset: its rows as committed, and as readers get them."""

    def generated(self) -> Dataset: ...

    def dataset(self) -> Dataset: ...


class OutputRule:
    """How the output of a stage comes from its dataset.

    Attributes:
        from_generated: whether the processors start from the rows as committed rather than the finished ones.
        processors: what makes the output; none where it is the finished dataset as it is.
    """

    def __init__(self, stage: StageConfig, config: DatasetConfig) -> None:
        """Find the processors.

        Raises:
            ConfigError: `output` names none of them.
        """
        own = [processor for processor in config.processors if processor.stage is Stage.AFTER_GENERATION]
        name = stage.output_processor
        self.from_generated = name in [processor.name for processor in own]
        self.processors: list[ProcessorConfig] = own if self.from_generated else list(stage.output_processors)
        if name is not None:
            names = [processor.name for processor in self.processors]
            if name not in names:
                known = [each.name for each in (*own, *stage.output_processors)]
                hint = did_you_mean(name, known) or f" (there are: {', '.join(known) or 'none'})"
                raise ConfigError(f"no output processor and no after_generation processor is named {name!r}{hint}")
            self.processors = self.processors[: names.index(name) + 1]

    def rows(self, built: Rows) -> Iterator[pa.Table]:
        """The output, in order.

        Raises:
            ProcessorError: a processor failed.
            SinkError: the dataset cannot be read.
        """
        yield from run_after_generation(self.processors, built.generated() if self.from_generated else built.dataset())

    def schema(self, *, generated: pa.Schema, final: pa.Schema) -> pa.Schema:
        """Columns of the output, by those of the dataset.

        Raises:
            ConfigError: a processor cannot work on them.
        """
        schema = generated if self.from_generated else final
        for processor in self.processors:
            schema = processor.output_schema(schema)
        return schema

    @property
    def fingerprint(self) -> str:
        """Of the processors and their code."""
        described = [[each.model_dump(mode="json"), *each.source_code()] for each in self.processors]
        return digest(self.from_generated, described)


def query_schema(query: str, schemas: Mapping[str, pa.Schema]) -> pa.Schema:
    """Columns that a query over outputs of stages gives.

    Raises:
        ConfigError: it is no single SELECT, or does not fit the columns.
    """
    tables = {name: schema.empty_table() for name, schema in schemas.items()}
    return pa.concat_tables(_query(query, tables, scratch=None), promote_options="none").schema


def query_rows(query: str, outputs: Mapping[str, Dataset]) -> Iterator[pa.Table]:
    """Rows that a query over outputs of stages gives. Memory is bounded by DuckDB's limit.

    Raises:
        ConfigError: as in `query_schema`, or the data make it fail.
    """
    with tempfile.TemporaryDirectory(prefix="prefect-datagen-") as scratch:
        yield from _query(query, outputs, scratch=Path(scratch))


def _query(query: str, relations: Mapping[str, pa.Table | Dataset], *, scratch: Path | None) -> Iterator[pa.Table]:
    """The result in tables; at least one, which may be empty."""
    import duckdb

    try:
        with session(None, scratch=scratch) as connection:
            parse_select(connection, query, origin="query")
            for name, relation in relations.items():
                connection.register(name, relation)
            batches = read(connection, query)
            schema = plain_schema(batches.schema, origin="query")
            yield schema.empty_table()
            for batch in batches:
                yield conform(pa.Table.from_batches([batch]), schema)
    except (duckdb.Error, pa.ArrowException) as error:
        raise ConfigError(f"query: {error}") from error


def digest(*values: object) -> str:
    """A hash of plain values."""
    text = orjson.dumps(values, option=orjson.OPT_SORT_KEYS, default=str)
    return hashlib.blake2b(text, digest_size=12).hexdigest()
