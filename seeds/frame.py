"""Seed rows that are in memory already: a pandas data frame or an Arrow table, given from Python."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
from pydantic import Field, field_validator
from pydantic.json_schema import SkipJsonSchema

from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.seeds.base import SeedSource, SeedTable, conform, plain_schema
from prefect_datagen.seeds.spool import spool


class DataFrameSeedSource(SeedSource):
    """A table in memory. A config that holds one can be run, but not written to a file.

    Attributes:
        df: `pandas.DataFrame` (its index is left out) or `pyarrow.Table`; kept as an Arrow table.
    """

    seed_type: Literal["df"] = "df"
    df: SkipJsonSchema[Any] = Field(
        exclude=True, repr=False, description="pandas.DataFrame or pyarrow.Table; from Python only."
    )

    @field_validator("df")
    @classmethod
    def _to_arrow(cls, value: Any) -> pa.Table:
        if isinstance(value, pa.Table):
            return value
        if type(value).__name__ != "DataFrame":  # without importing pandas
            raise ValueError(f"expected a pandas.DataFrame or a pyarrow.Table, not {type(value).__name__}")
        doubled = value.columns[value.columns.duplicated()].tolist()
        if doubled:
            raise ValueError(f"duplicate column name {', '.join(map(repr, doubled))}")
        try:
            return pa.Table.from_pandas(value.rename(columns=str), preserve_index=False)
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise ValueError(f"a column holds values of different kinds: {error}") from error

    def open(self, base_dir: Path) -> SeedTable:
        """The rows as they are in memory."""
        del base_dir
        if not isinstance(self.df, pa.Table):
            raise ConfigError("seed type 'df': a data frame can be given from Python only")
        schema = plain_schema(self.df.schema, origin="seed data frame")
        return spool([conform(self.df, schema)], schema, memory_bytes=sys.maxsize)  # it is in memory already
