"""What a config becomes before the first row is made: the column graph, the seed stage, the processors, one schema.

A blueprint is made anew in every process that works on a run, from the config, the run settings and the seed; equal inputs
make equal blueprints. It holds open readers and compiled templates and is not pickled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa

from prefect_datagen.columns.base import ColumnConfig
from prefect_datagen.columns.build import BuildContext
from prefect_datagen.columns.sampler import SamplerColumnConfig
from prefect_datagen.columns.sampling import SeedStageSampler
from prefect_datagen.columns.seed import SeedDatasetColumnConfig
from prefect_datagen.config.checking import inputs_of
from prefect_datagen.config.dataset import DatasetConfig, fingerprint_parts
from prefect_datagen.config.run import RunConfig
from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.engine.graph import ColumnGraph
from prefect_datagen.engine.node import RowKeys, Strategy
from prefect_datagen.processors import ROW_ID, ProcessorConfig, Stage
from prefect_datagen.seeds.reader import SeedReader, open_seed
from prefect_datagen.seeds.stream import SeedStream


@dataclass(frozen=True)
class SeedRows:
    """The rows of a row group before generation.

    Attributes:
        keys: identity of each row, shape `(n,)`.
        columns: by name, Arrow arrays of shape `(n,)`.
        skipped: by column, positions whose value was skipped.
    """

    keys: RowKeys
    columns: Mapping[str, pa.Array]
    skipped: Mapping[str, Sequence[int]]


class Blueprint:
    """See the module's docstring.

    Attributes:
        config: the config.
        run: the run settings.
        seed: the run seed.
        graph: the columns that the engine fills.
        seed_schema: columns after the seed stage.
        source_schema: columns after the pre-batch processors: what the engine starts from.
        generated_schema: columns after generation, dropped ones left out: what post-batch processors get.
        schema: columns of a committed part.
        final_schema: columns of the finished dataset, after the after-generation processors.
    """

    def __init__(self, config: DatasetConfig, run: RunConfig, *, seed: int, artifact_dir: Path | None = None) -> None:
        self.config = config
        self.run = run
        self.seed = seed
        self.seed_reader: SeedReader | SeedStream | None = (
            None if config.seed_config is None else open_seed(config.seed_config, base_dir=config.folder, run_seed=seed)
        )
        self._types: dict[str, pa.DataType] = {}
        self._seed_names = self._seed_column_names()
        samplers = [column for column in config.columns if isinstance(column, SamplerColumnConfig)]
        self._resolve_seed_stage(samplers)
        self.sampler = SeedStageSampler(samplers, config.constraints, seed=seed)
        self.seed_schema = pa.schema([(name, self._types[name]) for name in self._seed_order(samplers)])
        self.source_schema = self._through(Stage.PRE_BATCH, self.seed_schema)
        self._types |= {field.name: field.type for field in self.source_schema}
        self.graph = self._build_graph(artifact_dir)
        self.generated_schema = self._generated_schema()
        self.schema = self._through(Stage.POST_BATCH, self.generated_schema)
        self.final_schema = self._through(Stage.AFTER_GENERATION, self.schema)

    def processors(self, stage: Stage) -> list[ProcessorConfig]:
        """The processors of a stage, in order."""
        return [processor for processor in self.config.processors if processor.stage is stage]

    @cached_property
    def fingerprint_parts(self) -> dict[str, str]:
        """A hash for everything that decides a value, by name."""
        from prefect_datagen.version import VERSION

        parts = fingerprint_parts(self.config)
        parts["run seed"] = str(self.seed)
        parts["library version"] = VERSION
        if self.seed_reader is not None:
            parts["seed data"] = self.seed_reader.fingerprint
        return parts

    @property
    def seed_stream(self) -> SeedStream | None:
        """The seed rows, where they are those of a dataset that may still be growing."""
        return self.seed_reader if isinstance(self.seed_reader, SeedStream) else None

    def seed_rows(self, start: int, rows: int) -> SeedRows:
        """Rows `start` to `start + rows` of the dataset as the seed stage makes them."""
        given: dict[str, pa.Array] = {}
        if self.seed_reader is not None:
            table = self.seed_reader.read(start, rows)
            given = {name: table.column(name).combine_chunks() for name in table.column_names}
        sampled = self.sampler.sample(start, rows, given)
        arrays = {**given, **sampled.arrays}
        return SeedRows(
            keys=RowKeys.consecutive(start, rows),
            columns={name: arrays[name] for name in self.seed_schema.names},
            skipped={name: np.flatnonzero(mask).tolist() for name, mask in sampled.skipped.items()},
        )

    # --- how it is made --------------------------------------------------------------------------------------------

    def _seed_column_names(self) -> list[str]:
        """Seed columns of the dataset: those that are declared, or all where none is."""
        if self.seed_reader is None:
            return []
        declared = [column.name for column in self.config.columns if isinstance(column, SeedDatasetColumnConfig)]
        return declared or list(self.seed_reader.schema.names)

    def _resolve_seed_stage(self, samplers: Sequence[SamplerColumnConfig]) -> None:
        if self.seed_reader is not None:
            self._types |= {field.name: field.type for field in self.seed_reader.schema}
        for column in _by_dependency(samplers):
            self._types |= dict(zip(column.produces(), column.types(self._types), strict=True))

    def _seed_order(self, samplers: Sequence[SamplerColumnConfig]) -> list[str]:
        """Columns of the seed stage in the order of the config; undeclared seed columns come first."""
        declared = [name for column in self.config.columns if column.at_seed_stage for name in column.produces()]
        return [name for name in self._seed_names if name not in declared] + declared

    def _through(self, stage: Stage, schema: pa.Schema) -> pa.Schema:
        for processor in self.processors(stage):
            schema = processor.output_schema(schema)
        return schema

    def _build_graph(self, artifact_dir: Path | None) -> ColumnGraph:
        generated = [column for column in self.config.columns if not column.at_seed_stage]
        sources = list(self.source_schema.names)
        full_columns = set(sources)
        nodes = []
        for column in _by_dependency(generated):
            missing = [name for name in inputs_of(column) if name not in self._types]
            if missing or any(name in self.seed_schema.names and name not in sources for name in inputs_of(column)):
                gone = missing or [name for name in inputs_of(column) if name not in sources]
                raise ConfigError(
                    f"column {column.name!r} reads {gone[0]!r}, which a pre-batch processor takes away before generation"
                )
            self._types |= dict(zip(column.produces(), column.types(self._types), strict=True))
            node = column.build(self._context(full_columns, artifact_dir))
            if node.strategy is Strategy.FULL_COLUMN:
                full_columns |= set(node.produces)
            nodes.append(node)
        return ColumnGraph.build(nodes, sources=sources)

    def _context(self, full_columns: set[str], artifact_dir: Path | None) -> BuildContext:
        return BuildContext(
            seed=self.seed,
            types=dict(self._types),
            full_columns=frozenset(full_columns),
            models={model.alias: model for model in self.config.model_configs},
            max_conversation_restarts=self.run.max_conversation_restarts,
            max_conversation_correction_steps=self.run.max_conversation_correction_steps,
            base_dir=self.config.folder,
            artifact_dir=artifact_dir,
        )

    def _generated_schema(self) -> pa.Schema:
        """Every column that is not dropped, in the order of the config; seed columns that it does not name come first."""
        dropped = {name for column in self.config.columns if column.drop for name in column.produces()}
        declared = [name for column in self.config.columns for name in column.produces()]
        made = set(self.source_schema.names) | {name for node in self.graph.nodes for name in node.produces}
        first = [name for name in self.source_schema.names if name not in declared]
        names = [name for name in (*first, *declared) if name in made and name not in dropped]
        return pa.schema([(name, self._types[name]) for name in names])


def _by_dependency(columns: Sequence[ColumnConfig]) -> list[ColumnConfig]:
    """Columns of one stage, each after those that it reads. The config was checked: there is no circle."""
    left = list(columns)
    makers = {name: column.name for column in columns for name in column.produces()}
    ordered: list[ColumnConfig] = []
    done: set[str] = set()
    while left:
        free = next(
            column
            for column in left
            if all(makers[name] in done for name in inputs_of(column) if makers.get(name, column.name) != column.name)
        )
        left.remove(free)
        ordered.append(free)
        done.add(free.name)
    return ordered


def to_table(rows: SeedRows) -> pa.Table:
    """Seed rows as processors get them: with the dataset row of each in the hidden column."""
    return pa.table({**rows.columns, ROW_ID: pa.array(rows.keys.index)})


def from_table(table: pa.Table, *, before: SeedRows, schema: pa.Schema) -> SeedRows:
    """Seed rows as processors left them. Copies of a row are numbered; what was skipped stays so."""
    keys = RowKeys.numbered(table.column(ROW_ID).to_numpy())
    skipped = {
        name: np.flatnonzero(np.isin(keys.index, before.keys.take(positions).index)).tolist()
        for name, positions in before.skipped.items()
        if name in schema.names
    }
    columns = {field.name: table.column(field.name).combine_chunks().cast(field.type) for field in schema}
    return SeedRows(keys=keys, columns=columns, skipped=skipped)
