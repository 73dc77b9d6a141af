"""Processors that choose among columns: `drop_columns` and `rename`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from fnmatch import fnmatchcase
from typing import Literal

import pyarrow as pa
from pydantic import Field

from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.processors.base import ROW_ID, ProcessorConfig, ProcessorContext, unknown_columns


class DropColumnsProcessorConfig(ProcessorConfig):
    """Leave columns out. A column that is not there any more, such as one with `drop: true`, is no mistake."""

    processor_type: Literal["drop_columns"] = "drop_columns"
    column_names: list[str] = Field(description="Names of columns; `*`, `?` and `[...]` match any.")

    def check(self, known: Collection[str]) -> Iterator[tuple[str, str]]:
        """Whether each name or pattern means a column."""
        for at, pattern in enumerate(self.column_names):
            if not any(_matches(name, pattern) for name in known):
                yield f"column_names[{at}]", next(unknown_columns([pattern], known))

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        """The columns that no name or pattern matches.

        Raises:
            ConfigError: none is left.
        """
        left = [field for field in schema if not self._drops(field.name)]
        if not left:
            raise ConfigError(f"processor {self.name!r} would drop every column")
        return pa.schema(left)

    def apply(self, table: pa.Table, context: ProcessorContext) -> pa.Table:
        """Drop the columns; rows stay as they are."""
        del context
        return table.drop_columns([name for name in table.column_names if self._drops(name)])

    def _drops(self, name: str) -> bool:
        return name != ROW_ID and any(_matches(name, pattern) for pattern in self.column_names)


class RenameProcessorConfig(ProcessorConfig):
    """Give columns other names; their order stays."""

    processor_type: Literal["rename"] = "rename"
    columns: dict[str, str] = Field(description="New name by old name.")

    def check(self, known: Collection[str]) -> Iterator[tuple[str, str]]:
        """Whether each old name is a column."""
        for name in self.columns:
            for message in unknown_columns([name], known):
                yield f"columns.{name}", message

    def adds(self) -> Iterable[str]:
        """The new names."""
        return self.columns.values()

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        """The same columns under their new names.

        Raises:
            ConfigError: a column is not there, or two would have the same name.
        """
        missing = [name for name in self.columns if name not in schema.names]
        if missing:
            raise ConfigError(
                f"processor {self.name!r}: there is no column {missing[0]!r} to rename at {self.stage.value}"
            )
        names = [self.columns.get(name, name) for name in schema.names]
        doubled = sorted({name for name in names if names.count(name) > 1})
        if doubled:
            raise ConfigError(f"processor {self.name!r}: two columns would be named {doubled[0]!r}")
        return pa.schema([field.with_name(name) for field, name in zip(schema, names, strict=True)])

    def apply(self, table: pa.Table, context: ProcessorContext) -> pa.Table:
        """Rename the columns; rows stay as they are."""
        del context
        return table.rename_columns([self.columns.get(name, name) for name in table.column_names])


def _matches(name: str, pattern: str) -> bool:
    return name == pattern or fnmatchcase(name, pattern)
