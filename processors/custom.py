"""`custom`: a function of yours, over a pandas data frame or an Arrow table."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from enum import StrEnum
from typing import Any, Literal

import pyarrow as pa
from pydantic import Field, field_validator

from prefect_datagen.columns.user_code import load_function, source_of
from prefect_datagen.engine.errors import ConfigError, ProcessorError
from prefect_datagen.processors.base import ProcessorConfig, ProcessorContext, Stage
from prefect_datagen.seeds.base import plain_type
from prefect_datagen.seeds.frame import frame_to_table

_TYPES = {
    "str": pa.string(),
    "int": pa.int64(),
    "float": pa.float64(),
    "bool": pa.bool_(),
    "date": pa.date32(),
    "datetime": pa.timestamp("us"),
}


class RowFormat(StrEnum):
    """What the function takes and gives."""

    PANDAS = "pandas"  # pandas.DataFrame
    ARROW = "arrow"  # pyarrow.Table
    ARROW_BATCHES = "arrow_batches"  # an iterator of pyarrow.Table, after generation only: never all rows in memory


class CustomProcessorConfig(ProcessorConfig):
    """Rows through a function. It may change values and remove rows; new columns are announced in `output_columns`.

    The rows of a row group come in one table, with a column `__row_id`: hand it on where rows are removed, repeated or
    reordered. Where it is missing, rows are taken to be the old ones in order. After generation all rows of the dataset
    come in one table, or with `arrow_batches` in one table after the other, without that column.

    Example:
        ```yaml
        - {name: tidy, processor_type: custom, function: tidy.py:strip, output_columns: {length: int}}
        ```
    """

    processor_type: Literal["custom"] = "custom"
    function: str = Field(
        min_length=1, description="`package.module:function` or `path/to/file.py:function`; rows in, rows out."
    )
    takes: RowFormat = Field(default=RowFormat.PANDAS, description="pandas, arrow, or arrow_batches.")
    params: dict[str, Any] = Field(default_factory=dict, description="Keyword arguments for the function.")
    output_columns: dict[str, str] = Field(
        default_factory=dict,
        description="Type by name of each column that it adds or retypes: str, int, float, bool, date, datetime, "
        "list[...], or a type's name in Arrow.",
    )
    removed_columns: list[str] = Field(default_factory=list, description="Columns that it takes away.")

    @field_validator("output_columns")
    @classmethod
    def _types_are_known(cls, value: dict[str, str]) -> dict[str, str]:
        for name in value.values():
            _arrow_type(name)
        return value

    def check(self, known: Collection[str]) -> Iterator[tuple[str, str]]:
        """Whether the function can be loaded."""
        del known
        try:
            self._load()
        except ConfigError as error:
            yield "function", error.message
        if self.takes is RowFormat.ARROW_BATCHES and self.stage is not Stage.AFTER_GENERATION:
            yield "takes", "arrow_batches is for stage after_generation; a row group is one table"

    def adds(self) -> Iterable[str]:
        """The announced columns."""
        return self.output_columns

    def source_code(self) -> Iterable[str]:
        """Source of the function."""
        return [source_of(self._load())]

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        """The same columns, but for those that are announced as added, retyped or removed.

        Raises:
            ConfigError: a column that it removes is not there.
        """
        missing = [name for name in self.removed_columns if name not in schema.names]
        if missing:
            raise ConfigError(f"processor {self.name!r}: removed_columns names {missing[0]!r}, which is not there")
        kinds = {field.name: field.type for field in schema if field.name not in self.removed_columns}
        return pa.schema(list({**kinds, **{n: _arrow_type(t) for n, t in self.output_columns.items()}}.items()))

    def apply(self, table: pa.Table, context: ProcessorContext) -> pa.Table:
        """Call the function."""
        del context
        if self.takes is RowFormat.PANDAS:
            return _from_pandas(self._call(_to_pandas(table)))
        return self._expect_table(self._call(table))

    def apply_to_all(
        self, tables: Iterator[pa.Table], schema: pa.Schema, context: ProcessorContext
    ) -> Iterator[pa.Table]:
        """Call the function once, with all rows."""
        if self.takes is RowFormat.ARROW_BATCHES:
            yield from map(self._expect_table, self._call(tables))
        else:
            yield self.apply(pa.concat_tables([schema.empty_table(), *tables]), context)

    def _load(self) -> Callable[..., Any]:
        return load_function(self.function, self._folder)

    def _call(self, rows: Any) -> Any:
        return self._load()(rows, **self.params)

    def _expect_table(self, found: Any) -> pa.Table:
        if not isinstance(found, pa.Table):
            raise ProcessorError(f"{self.function} gave a {type(found).__name__}, not a pyarrow.Table")
        return found


def _arrow_type(name: str) -> pa.DataType:
    if name in _TYPES:
        return _TYPES[name]
    if name.startswith("list[") and name.endswith("]"):
        return pa.list_(_arrow_type(name[5:-1]))
    try:
        return plain_type(pa.type_for_alias(name))
    except ValueError:
        known = ", ".join(_TYPES)
        raise ValueError(f"unknown type {name!r}; known are {known}, list[...] and Arrow's names") from None


def _to_pandas(table: pa.Table) -> Any:
    """A data frame in which whole numbers and booleans stay what they are where some are missing."""
    import pandas as pd

    nullable = {
        pa.int8(): pd.Int8Dtype(),
        pa.int16(): pd.Int16Dtype(),
        pa.int32(): pd.Int32Dtype(),
        pa.int64(): pd.Int64Dtype(),
        pa.uint8(): pd.UInt8Dtype(),
        pa.uint16(): pd.UInt16Dtype(),
        pa.uint32(): pd.UInt32Dtype(),
        pa.uint64(): pd.UInt64Dtype(),
        pa.bool_(): pd.BooleanDtype(),
    }
    return table.to_pandas(types_mapper=nullable.get)


def _from_pandas(frame: Any) -> pa.Table:
    import pandas as pd

    if not isinstance(frame, pd.DataFrame):
        raise ProcessorError(f"the function gave a {type(frame).__name__}, not a pandas.DataFrame")
    try:
        return frame_to_table(frame)
    except ValueError as error:
        raise ProcessorError(f"the function gave a frame that is no table: {error}") from error
