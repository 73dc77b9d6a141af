"""`seed_config`: which source, which of its rows, and in what order.

The words are those of NVIDIA NeMo Data Designer's serialized configs, and four sources more.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field, model_validator

from prefect_datagen.columns.base import Config
from prefect_datagen.columns.kinds import Kinds
from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.seeds.base import SeedSource
from prefect_datagen.seeds.plugins import plugin_types

_SEEDS = "prefect_datagen.seeds."
AnySeedSource = Annotated[
    SeedSource,
    Kinds(
        "seed_type",
        {
            "local": _SEEDS + "local:LocalFileSeedSource",
            "hf": _SEEDS + "hugging_face:HuggingFaceSeedSource",
            "directory": _SEEDS + "directory:DirectorySeedSource",
            "file_contents": _SEEDS + "directory:FileContentsSeedSource",
            "file_records": _SEEDS + "directory:FileRecordsSeedSource",
            "duckdb": _SEEDS + "duckdb_query:DuckDBSeedSource",
            "sql": _SEEDS + "database:SqlSeedSource",
            "dataset": _SEEDS + "dataset:DatasetSeedSource",
            "df": _SEEDS + "frame:DataFrameSeedSource",
        },
        plugins=lambda: plugin_types("seeds", SeedSource),
    ),
]
"""A seed source of any type."""


class SamplingStrategy(StrEnum):
    """In what order seed rows are taken."""

    ORDERED = "ordered"
    SHUFFLE = "shuffle"


class IndexRange(Config):
    """Seed rows `start` to `end`, both included, counted from 0."""

    start: int = Field(ge=0, description="First row, from 0.")
    end: int = Field(ge=0, description="Last row, included.")

    @model_validator(mode="after")
    def _in_order(self) -> IndexRange:
        if self.start > self.end:
            raise ValueError(f"start {self.start} is after end {self.end}")
        return self

    def rows(self, size: int) -> range:
        """The chosen rows of a seed of `size` rows.

        Raises:
            ConfigError: the seed has fewer rows.
        """
        if self.end >= size:
            raise ConfigError(f"seed selection {self.start}..{self.end} goes beyond the seed's {size} rows")
        return range(self.start, self.end + 1)


class PartitionBlock(Config):
    """One of several blocks of the same size; the last one also takes what is left over."""

    index: int = Field(default=0, ge=0, description="Which block, from 0.")
    num_partitions: int = Field(default=1, ge=1, description="How many blocks the seed is cut into.")

    @model_validator(mode="after")
    def _exists(self) -> PartitionBlock:
        if self.index >= self.num_partitions:
            raise ValueError(f"index {self.index} is not below num_partitions {self.num_partitions}")
        return self

    def rows(self, size: int) -> range:
        """The chosen rows of a seed of `size` rows.

        Raises:
            ConfigError: the block is empty.
        """
        block = size // self.num_partitions
        last = self.index == self.num_partitions - 1
        chosen = range(self.index * block, size if last else (self.index + 1) * block)
        if not chosen:
            raise ConfigError(f"seed partition {self.index} of {self.num_partitions} is empty: there are {size} rows")
        return chosen


class SeedConfig(Config):
    """Seed data of a dataset: dataset row k takes a seed row, cycle after cycle when there are fewer of them.

    Example:
        ```yaml
        seed_config:
          source: {seed_type: local, path: airports.csv}
          sampling_strategy: shuffle
          selection_strategy: {start: 0, end: 999}
        ```
    """

    source: AnySeedSource = Field(description="Where the rows come from.")
    sampling_strategy: SamplingStrategy = Field(
        default=SamplingStrategy.ORDERED,
        description="`ordered`: row k takes seed row k mod n. `shuffle`: a permutation fixed by the run seed, another "
        "one in each cycle.",
    )
    selection_strategy: IndexRange | PartitionBlock | None = Field(
        default=None, description="Which part of the seed; applied before sampling."
    )
