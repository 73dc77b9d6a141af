"""`Workflow`: datasets that seed each other, as people write them. Pure: no dataset is read, nothing is run.

A stage is a dataset config with its own run settings, models and number of rows. Its seed rows are the output of an
earlier stage, or a query over the outputs of several; a stage's output is its finished dataset, or what output processors
make of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError, field_validator

from prefect_datagen.columns.base import Config
from prefect_datagen.config.problems import Problem, did_you_mean, from_validation_error, line_of
from prefect_datagen.config.run import RunConfig
from prefect_datagen.config.yaml_text import read_yaml
from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.engine.graph import find_cycle
from prefect_datagen.processors import Processor
from prefect_datagen.seeds.config import IndexRange, PartitionBlock, SamplingStrategy

FINAL = "final"
_PROCESSOR = "processor:"


class HandOffMode(StrEnum):
    """When later stages may begin with the rows of a stage."""

    STREAMED = "streamed"  # with those of each row group, once it is committed
    WHOLE = "whole"  # when the dataset is finished


class StageConfig(Config):
    """One dataset of a workflow.

    Example:
        ```yaml
        name: reviews
        config: reviews.yaml
        seeds_from: travellers
        run: {row_group_size: 500}
        ```
    """

    name: str = Field(
        pattern=r"^[a-z0-9][a-z0-9_-]*$",
        description="Name of the stage: its folder, and its relation in the queries of later stages.",
    )
    config: str | dict[str, Any] = Field(
        description="The dataset: path of a config file, relative to the workflow file's folder, or the config itself."
    )
    overrides: dict[str, Any] = Field(
        default_factory=dict, description="Fields of the config to set, by path, such as columns[review].prompt."
    )
    num_records: int | None = Field(
        default=None, ge=0, description="Rows to build. Default: as many as there are seed rows."
    )
    seeds_from: list[str] = Field(
        default_factory=list, description="Stage, or list of stages, whose output is the seed data."
    )
    query: str | None = Field(
        default=None,
        min_length=1,
        description="One SELECT (DuckDB) over the stages in seeds_from, by name, that gives the seed rows; for joins.",
    )
    sampling_strategy: SamplingStrategy = Field(
        default=SamplingStrategy.ORDERED, description="Order of the seed rows, as in seed_config."
    )
    selection_strategy: IndexRange | PartitionBlock | None = Field(
        default=None, description="Which part of the seed rows, as in seed_config."
    )
    run: RunConfig = Field(
        default_factory=RunConfig, description="Run settings of this stage; they go before those of the workflow."
    )
    endpoints: list[str] = Field(
        default_factory=list,
        description="Saved blocks that stand for the providers of this stage, such as model-endpoint/local.",
    )
    output_processors: list[Processor] = Field(
        default_factory=list,
        description="Processors that make what later stages get of the finished dataset, which stays as it is.",
    )
    output: str = Field(
        default=FINAL,
        pattern=f"^({FINAL}|{_PROCESSOR}.+)$",
        description="What later stages get: final, or processor:NAME for the rows as that processor left them.",
    )
    hand_off: HandOffMode = Field(
        default=HandOffMode.STREAMED,
        description="Let later stages begin with the row groups that are committed (streamed), or when the dataset is "
        "finished (whole). Where one needs it all (a query, shuffling, output processors), it waits in any case.",
    )
    allow_empty: bool = Field(
        default=False, description="Let the workflow go on where this stage gives no rows; what needs them is skipped."
    )

    @field_validator("seeds_from", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @field_validator("endpoints")
    @classmethod
    def _are_block_names(cls, value: list[str]) -> list[str]:
        for name in value:
            if name.count("/") != 1:
                raise ValueError(f"{name!r} is not TYPE/NAME of a saved block, such as model-endpoint/local")
        return value

    @property
    def output_processor(self) -> str | None:
        """Name of the processor whose rows later stages get, or None for the last one's."""
        return None if self.output == FINAL else self.output.removeprefix(_PROCESSOR)


class Workflow(Config):
    """Stages, and what they have in common.

    Example:
        ```yaml
        name: airport-reviews
        path: out/airport-reviews
        run: {seed: 7}
        stages:
          - {name: travellers, config: travellers.yaml, num_records: 100}
          - {name: reviews, config: reviews.yaml, seeds_from: travellers}
        ```
    """

    name: str = Field(default="workflow", min_length=1, description="Name of the workflow, for titles and logs.")
    path: str | None = Field(
        default=None, min_length=1, description="Folder or URL that holds a dataset directory for each stage."
    )
    run: RunConfig = Field(default_factory=RunConfig, description="Run settings of all stages.")
    stages: list[StageConfig] = Field(min_length=1, description="The stages, in any order.")
    base_dir: str | None = Field(
        default=None, description="Folder that relative paths start from: that of the workflow file, by default."
    )

    def model_post_init(self, context: Any) -> None:
        """Tell processors where relative paths start from."""
        for stage in self.stages:
            for processor in stage.output_processors:
                processor.place_in(self.folder)

    @classmethod
    def load(cls, source: WorkflowSource) -> Workflow:
        """Load a workflow and check how its stages hang together.

        Args:
            source: a path, a YAML text, a dict, or one that is loaded already.

        Raises:
            ConfigError: with every problem there is, each with its path, and its line where there is a file.
        """
        if isinstance(source, Workflow):
            refuse(list(_structure(source)))
            return source
        text, file, data, base_dir = _read(source)
        if not isinstance(data, dict):
            raise ConfigError(f"{file or 'workflow'}: a workflow is a mapping with `stages`, not {type(data).__name__}")
        if base_dir is not None:
            data = {"base_dir": base_dir, **data}
        try:
            workflow = cls.model_validate(data)
        except ValidationError as error:
            refuse(from_validation_error(error, (), data), text=text, file=file)
            raise
        refuse(list(_structure(workflow)), text=text, file=file)
        return workflow

    @property
    def folder(self) -> Path:
        """Folder that relative paths start from."""
        return Path(self.base_dir) if self.base_dir else Path.cwd()

    def stage(self, name: str) -> StageConfig:
        """A stage by name.

        Raises:
            ConfigError: there is none.
        """
        for stage in self.stages:
            if stage.name == name:
                return stage
        known = [stage.name for stage in self.stages]
        hint = did_you_mean(name, known) or f" (defined: {', '.join(known)})"
        raise ConfigError(f"stage {name!r} is not defined{hint}")

    def in_order(self) -> list[StageConfig]:
        """The stages, each after those that it takes its seeds from, else as they are written."""
        ordered: list[StageConfig] = []
        left = list(self.stages)
        while left:
            done = {stage.name for stage in ordered}
            free = next(stage for stage in left if done.issuperset(stage.seeds_from))
            left.remove(free)
            ordered.append(free)
        return ordered

    def run_of(self, stage: StageConfig, given: RunConfig | None = None) -> RunConfig:
        """Run settings of a stage: those that were given for this run, else its own, else those of the workflow."""
        layers = [self.run, stage.run, *([given] if given is not None else [])]
        merged: dict[str, Any] = {}
        for layer in layers:
            merged |= {name: getattr(layer, name) for name in layer.model_fields_set}
        return RunConfig(**merged)

    def selection(self, *, only: str | None = None, start: str | None = None) -> list[StageConfig]:
        """The stages to run, in order.

        Args:
            only: name of the one stage to run.
            start: name of the stage to start from: it and all that follow from it are run.

        Raises:
            ConfigError: there is no such stage, or both are given.
        """
        if only is not None and start is not None:
            raise ConfigError("--only and --from contradict each other: give one of them")
        if only is not None:
            return [self.stage(only)]
        if start is None:
            return self.in_order()
        chosen = {self.stage(start).name}
        stages = self.in_order()
        for stage in stages:
            if chosen.intersection(stage.seeds_from):
                chosen.add(stage.name)
        return [stage for stage in stages if stage.name in chosen]


WorkflowSource = Workflow | dict[str, Any] | Path | str


def is_workflow(source: WorkflowSource) -> bool:
    """Whether a path, text or dict holds a workflow rather than the config of one dataset: it has `stages`.

    Raises:
        ConfigError: it cannot be read, or is not YAML.
    """
    if isinstance(source, Workflow):
        return True
    data = _read(source)[2]
    return isinstance(data, dict) and "stages" in data


def _structure(workflow: Workflow) -> Iterator[Problem]:
    """What is wrong with how the stages hang together."""
    names = [stage.name for stage in workflow.stages]
    for name, count in Counter(names).items():
        if count > 1:
            yield Problem(("stages",), f"the name {name!r} is used {count} times")
    for at, stage in enumerate(workflow.stages):
        for name in stage.seeds_from:
            if name not in names:
                others = [other for other in names if other != stage.name]
                hint = did_you_mean(name, others) or f" (defined: {', '.join(others) or 'no other stage'})"
                yield Problem(("stages", at, "seeds_from"), f"stage {name!r} is not defined{hint}")
        for field, message in _seeding(stage):
            yield Problem(("stages", at, field), message)
    cycle = find_cycle({stage.name: [name for name in stage.seeds_from if name in names] for stage in workflow.stages})
    if cycle:
        yield Problem(("stages",), f"stages depend on each other in a circle: {' → '.join(cycle)}")


def _seeding(stage: StageConfig) -> Iterator[tuple[str, str]]:
    if len(stage.seeds_from) > 1 and stage.query is None:
        yield "query", "is required: say how the rows of several stages become seed rows (a SELECT with a JOIN)"
    if stage.seeds_from:
        return
    if stage.num_records is None:
        yield "num_records", "is required: there is no earlier stage to take the number of rows from"
    for field in ("query", "sampling_strategy", "selection_strategy"):
        if field in stage.model_fields_set and getattr(stage, field) is not None:
            yield field, "goes with seeds_from; seed data of the stage's own belongs in its config's seed_config"


def _read(source: dict[str, Any] | Path | str) -> tuple[str | None, str | None, Any, str | None]:
    """(YAML text, file name for messages, data, base_dir) of any kind of source."""
    if isinstance(source, dict):
        return None, None, source, None
    if isinstance(source, str) and "\n" in source:
        return source, None, read_yaml(source, "workflow"), None
    path = Path(source)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot read workflow {str(path)!r}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"workflow {str(path)!r} is not UTF-8 text: {error}") from error
    return text, str(path), read_yaml(text, str(path)), str(path.resolve().parent)


def refuse(problems: list[Problem], *, text: str | None = None, file: str | None = None) -> None:
    """Raise `ConfigError` with all problems of a workflow, if there are any; with their lines where there is a text."""
    if not problems:
        return
    root = yaml.compose(text, Loader=yaml.SafeLoader) if text is not None else None
    lines = [Problem(each.path, each.message, line_of(root, each.path)).text(file) for each in problems]
    head = f"{len(lines)} problems in the workflow" if len(lines) > 1 else "the workflow is wrong"
    raise ConfigError(f"{head}:\n" + "\n".join(f"  {line}" for line in lines), problems=lines)
