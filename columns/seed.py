"""Columns that are taken from the seed data as they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar, Literal

from prefect_datagen.columns.base import ColumnConfig
from prefect_datagen.engine.arrays import pa
from prefect_datagen.engine.errors import ConfigError


class SeedDatasetColumnConfig(ColumnConfig):
    """A column of the seed data, under its own name. Where none is declared, all of the seed's columns are taken."""

    at_seed_stage: ClassVar[bool] = True

    column_type: Literal["seed-dataset"] = "seed-dataset"

    def check(self) -> Iterable[tuple[str, str]]:
        """A column that is there before the others cannot be skipped because of them."""
        if self.skip is not None:
            yield "skip", "a seed-dataset column cannot be skipped: it is filled before any other column is known"

    def types(self, upstream: Mapping[str, pa.DataType]) -> tuple[pa.DataType, ...]:
        """The type that the seed gives the column; `upstream` holds the seed's schema.

        Raises:
            ConfigError: the seed has no such column.
        """
        if self.name not in upstream:
            known = ", ".join(map(repr, upstream)) or "none"
            raise ConfigError(f"seed-dataset column {self.name!r} is not in the seed data; its columns are {known}")
        return (upstream[self.name],)
