"""Seed rows that are in memory already: a pandas data frame or an Arrow table, given from Python."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
from pydantic import Field, field_serializer, field_validator
from pydantic.json_schema import SkipJsonSchema

from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.seeds.base import SeedSource, SeedTable, conform, plain_schema
from prefect_datagen.seeds.spool import spool

if TYPE_CHECKING:
    import pandas as pd


class DataFrameSeedSource(SeedSource):
    """A table in memory. A config that holds one can be run, but not written to a file.

    Attributes:
        df: `pandas.DataFrame` (its index is left out) or `pyarrow.Table`; kept as an Arrow table.
    """

    seed_type: Literal["df"] = "df"
    df: SkipJsonSchema[Any] = Field(repr=False, description="pandas.DataFrame or pyarrow.Table; from Python only.")

    @field_validator("df")
    @classmethod
    def _to_arrow(cls, value: Any) -> pa.Table:
        if isinstance(value, pa.Table):
            return value
        if type(value).__name__ != "DataFrame":  # without importing pandas
            raise ValueError(f"expected a pandas.DataFrame or a pyarrow.Table, not {type(value).__name__}")
        return frame_to_table(value)

    @field_serializer("df", when_used="json")
    def _not_in_files(self, table: pa.Table) -> None:
        return None

    def open(self, base_dir: Path) -> SeedTable:
        """The rows as they are in memory."""
        del base_dir
        if not isinstance(self.df, pa.Table):
            raise ConfigError("seed type 'df': a data frame can be given from Python only")
        schema = plain_schema(self.df.schema, origin="seed data frame")
        return spool([conform(self.df, schema)], schema, memory_bytes=sys.maxsize)  # it is in memory already


def frame_to_table(frame: pd.DataFrame) -> pa.Table:
    """The rows of a data frame, without its index. Types are those of the frame: nothing is parsed.

    Raises:
        ValueError: two columns have the same name, or one holds values of different kinds.
    """
    import pandas as pd

    doubled = frame.columns[frame.columns.duplicated()].tolist()
    if doubled:
        raise ValueError(f"duplicate column name {', '.join(map(repr, doubled))}")
    # pyarrow 24 reads times with a zone through an attribute that pandas 3.1 deprecates, if they are not Arrow's own.
    zoned = {
        name: pd.ArrowDtype(pa.timestamp(kind.unit, str(kind.tz)))
        for name, kind in frame.dtypes.items()
        if isinstance(kind, pd.DatetimeTZDtype)
    }
    try:
        table = pa.Table.from_pandas(frame.astype(zoned).rename(columns=str), preserve_index=False)
    except (pa.ArrowException, TypeError) as error:
        raise ValueError(f"a column holds values of different kinds: {error}") from error
    return table.replace_schema_metadata(None)
