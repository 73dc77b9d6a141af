"""What every processor is: a config model that takes rows and gives rows.

A processor says before the first row is made which columns it will give (`output_schema`), so that the dataset has one
schema, and is held to it. How many rows it may give depends on its stage and on `allow_resize`; `run.py` checks both.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pydantic import AliasChoices, Field, PrivateAttr

from prefect_datagen.columns.base import Config
from prefect_datagen.engine.arrays import pa
from prefect_datagen.engine.errors import ProcessorError

ROW_ID = "__row_id"
"""Hidden column that tells which row came from which. While processors run it holds the row's position, from 0, in what
the first of them was given; rows may be dropped, reordered and repeated with it."""


class Stage(StrEnum):
    """When a processor runs."""

    PRE_BATCH = "pre_batch"  # on the rows of a row group, before anything is generated
    POST_BATCH = "post_batch"  # on the finished rows of a row group
    AFTER_GENERATION = "after_generation"  # on all rows, when the last row group is committed


@dataclass(frozen=True)
class ProcessorContext:
    """Where a processor runs.

    Attributes:
        stage: of the run.
        row_group: number of the row group; None after generation.
        scratch: folder for temporary files; None where the rows are few enough for memory.
    """

    stage: Stage
    row_group: int | None = None
    scratch: Path | None = None


class ProcessorConfig(Config):
    """What all processors have in common. A subclass names its `processor_type` by a `Literal` field."""

    name: str = Field(min_length=1, description="Name of the processor, unique in the dataset.")
    processor_type: str
    stage: Stage = Field(
        default=Stage.POST_BATCH,
        validation_alias=AliasChoices("stage", "build_stage"),
        description="When it runs: pre_batch, post_batch or after_generation.",
    )
    allow_resize: bool = Field(
        default=False,
        description="Whether it may change the number of rows before generation, or add rows after it. Removing rows "
        "after generation is always allowed, and counted.",
    )

    _folder: Path = PrivateAttr(default_factory=Path.cwd)

    def place_in(self, folder: Path) -> None:
        """Say where relative paths and imports of this processor start from. The config that holds it does, once."""
        self._folder = folder

    def check(self, known: Collection[str]) -> Iterable[tuple[str, str]]:
        """Mistakes that can be seen without data: (field, message) each. `known` are the columns of the dataset."""
        del known
        return ()

    def adds(self) -> Iterable[str]:
        """Names of columns that it adds, as far as they are known without data."""
        return ()

    def source_code(self) -> Iterable[str]:
        """Source text of user code behind it; a change of it is a change of the dataset."""
        return ()

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        """Columns that it gives for rows of these columns. `ROW_ID` is in neither.

        Raises:
            ConfigError: it cannot work on these columns.
        """
        raise NotImplementedError

    def apply(self, table: pa.Table, context: ProcessorContext) -> pa.Table:
        """Process the rows of one row group, shape `(n,)`.

        `table` may hold `ROW_ID`; a result that holds it too tells which rows are left.
        """
        raise NotImplementedError

    def apply_to_all(
        self, tables: Iterator[pa.Table], schema: pa.Schema, context: ProcessorContext
    ) -> Iterator[pa.Table]:
        """Process all rows of the dataset, in pieces. A processor that must see all of them at once overrides this.

        Args:
            tables: the rows, in order, each table of this `schema`.
            context: has a `scratch` folder.
        """
        del schema
        for table in tables:
            yield self.apply(table, context)


def unknown_columns(names: Iterable[str], known: Collection[str]) -> Iterator[str]:
    """A message for each name that is no column, with the nearest one."""
    for name in names:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            yield f"column {name!r} is not defined" + (f"; did you mean {close[0]!r}?" if close else "")


def without_row_id(schema: pa.Schema) -> pa.Schema:
    """The schema without the hidden column."""
    return pa.schema([field for field in schema if field.name != ROW_ID])


def fit_schema(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table with exactly these columns, in this order, and `ROW_ID` at the end if it is there.

    Numbers may change their width where no value is lost. Text is never made of, or into, anything else.

    Raises:
        ProcessorError: a column is missing, not announced, there twice, or of another kind.
    """
    names = [name for name in table.column_names if name != ROW_ID]
    missing = [name for name in schema.names if name not in names]
    extra = [name for name in names if name not in schema.names]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if missing or extra or doubled:
        found = {"missing": missing, "not announced": extra, "there twice": doubled}
        raise ProcessorError(
            "; ".join(f"columns {what}: {', '.join(map(repr, of))}" for what, of in found.items() if of)
        )
    arrays = [_fit_column(table.column(field.name), field) for field in schema]
    if ROW_ID in table.column_names:
        return pa.Table.from_arrays([*arrays, table.column(ROW_ID)], names=[*schema.names, ROW_ID])
    return pa.Table.from_arrays(arrays, schema=schema)


def _fit_column(column: pa.ChunkedArray, field: pa.Field) -> pa.ChunkedArray:
    if column.type == field.type:
        return column
    if _retypes_text(column.type, field.type):
        raise ProcessorError(f"column {field.name!r} is {column.type}, and was announced as {field.type}")
    try:
        return column.cast(field.type)
    except pa.ArrowException as error:
        raise ProcessorError(f"column {field.name!r} does not fit its type {field.type}: {error}") from error


def _retypes_text(found: pa.DataType, wanted: pa.DataType) -> bool:
    if pa.types.is_null(found):
        return False
    if pa.types.is_struct(found) and pa.types.is_struct(wanted):
        shared = [field for field in found if wanted.get_field_index(field.name) >= 0]
        return any(_retypes_text(field.type, wanted.field(field.name).type) for field in shared)
    if pa.types.is_list(found) and pa.types.is_list(wanted):
        return _retypes_text(found.value_type, wanted.value_type)
    return _is_text(found) != _is_text(wanted)


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))
