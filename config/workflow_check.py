"""What is wrong with a workflow, found before any stage is run: every stage's config against the columns it will get.

No model is called and no row is made: a stage's columns follow from its config and from those of its seed rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from prefect_datagen.config.blueprint import Blueprint
from prefect_datagen.config.dataset import DatasetConfig
from prefect_datagen.config.hand_off import OutputRule, query_schema
from prefect_datagen.config.problems import Path, Problem
from prefect_datagen.config.workflow import StageConfig, Workflow, refuse
from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.processors import Stage
from prefect_datagen.seeds.base import SeedSource
from prefect_datagen.seeds.config import SamplingStrategy
from prefect_datagen.seeds.frame import DataFrameSeedSource


@dataclass(frozen=True)
class StageShape:
    """What is known of a stage before it is run.

    Attributes:
        config: its config, with a seed of the right columns and no content.
        rule: how its output comes about.
        schema: columns of its output.
    """

    config: DatasetConfig
    rule: OutputRule
    schema: pa.Schema

    @property
    def gives_rows_in_order(self) -> bool:
        """Whether its output is its row groups, one after the other, as they are committed."""
        staged = any(processor.stage is Stage.AFTER_GENERATION for processor in self.config.processors)
        return not staged and not self.rule.processors


def takes_rows_in_order(stage: StageConfig) -> bool:
    """Whether the rows of a stage are seeded by those of one earlier stage, in their order."""
    ordered = stage.sampling_strategy is SamplingStrategy.ORDERED and stage.selection_strategy is None
    return len(stage.seeds_from) == 1 and stage.query is None and ordered


def check_stages(workflow: Workflow) -> dict[str, StageShape]:
    """The shape of every stage.

    Raises:
        ConfigError: with every problem that the stages' configs have. What follows from a wrong stage is not looked at.
    """
    problems: list[Problem] = []
    shapes: dict[str, StageShape] = {}
    for stage in workflow.in_order():
        if shapes.keys() >= set(stage.seeds_from):
            path: Path = ("stages", workflow.stages.index(stage))
            with suppress(_WrongStageError):
                shapes[stage.name] = _shape(workflow, stage, shapes, path, problems)
    refuse(problems)
    return shapes


def stage_config(
    workflow: Workflow, stage: StageConfig, *, seed: SeedSource | None, select: bool = True
) -> DatasetConfig:
    """The config of a stage's dataset, with `seed`, where there is one, in place of its own seed data.

    Args:
        select: whether `selection_strategy` is applied.

    Raises:
        ConfigError: with every problem it has.
    """
    overrides: dict[str, Any] = {**stage.overrides, "name": stage.name}
    if seed is not None:
        overrides["seed_config"] = {
            "source": seed.model_dump(),
            "sampling_strategy": stage.sampling_strategy,
            "selection_strategy": stage.selection_strategy if select else None,
        }
    if isinstance(stage.config, dict):
        return DatasetConfig.load({"base_dir": str(workflow.folder), **stage.config}, overrides=overrides)
    return DatasetConfig.load(workflow.folder / stage.config, overrides=overrides)


class _WrongStageError(Exception):
    """A stage has problems; they are noted."""


def _shape(
    workflow: Workflow, stage: StageConfig, shapes: dict[str, StageShape], path: Path, problems: list[Problem]
) -> StageShape:
    @contextmanager
    def noted(field: str) -> Iterator[None]:
        try:
            yield
        except ConfigError as error:
            problems.append(Problem((*path, field), error.message))
            raise _WrongStageError from error

    with noted("query"):
        seeds = _seed_schema(stage, {name: shapes[name].schema for name in stage.seeds_from})
    with noted("config"):
        config = stage_config(workflow, stage, seed=None if seeds is None else _one_row(seeds), select=False)
        blueprint = Blueprint(config, workflow.run_of(stage), seed=0)
    with noted("output"):
        rule = OutputRule(stage, config)
    with noted("output_processors"):
        return StageShape(config, rule, rule.schema(generated=blueprint.schema, final=blueprint.final_schema))


def _seed_schema(stage: StageConfig, outputs: dict[str, pa.Schema]) -> pa.Schema | None:
    if stage.query is not None:
        return query_schema(stage.query, outputs)
    return outputs[stage.seeds_from[0]] if stage.seeds_from else None


def _one_row(schema: pa.Schema) -> DataFrameSeedSource:
    """A seed of these columns; of its one row, which is all nulls, nothing is ever read."""
    return DataFrameSeedSource(df=pa.Table.from_pylist([dict.fromkeys(schema.names)], schema=schema))
