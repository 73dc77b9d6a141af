"""What is wrong with a config that no single field can know: names, references, cycles, aliases, templates.

No model is called and no row is read; seed data is opened only for its schema.
"""

from __future__ import annotations

import importlib.util
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from prefect_datagen.columns.base import ColumnConfig
from prefect_datagen.columns.llm import LLMColumnConfig
from prefect_datagen.columns.references import template_mistake, template_references
from prefect_datagen.columns.sampler import SamplerColumnConfig
from prefect_datagen.columns.seed import SeedDatasetColumnConfig
from prefect_datagen.config.problems import Path, Problem, did_you_mean
from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.engine.graph import find_cycle
from prefect_datagen.models.config import PROVIDER_TYPES, Mode

if TYPE_CHECKING:
    from prefect_datagen.config.dataset import DatasetConfig

BUILT_IN_PROVIDER = "offline"

_MODEL_KINDS = {
    **dict.fromkeys(("llm-text", "llm-code", "llm-structured", "llm-judge"), "chat-completion"),
    "embedding": "embedding",
    "image": "image",
}


def check(config: DatasetConfig, *, declared: set[str], aliases: set[str]) -> list[Problem]:
    """Every problem, in the order of the config.

    `declared` are the names of all columns and `aliases` those of all models, of broken ones too.
    """
    seed_columns, problems = _seed_columns(config)
    if not config.columns and not declared and not seed_columns:
        problems.append(Problem(("columns",), "a dataset needs at least one column"))
    known = declared | seed_columns | {name for column in config.columns for name in column.produces()}
    kinds = {model.alias: model.inference_parameters.generation_type for model in config.model_configs}
    batched = {model.alias for model in config.model_configs if model.mode is Mode.BATCH}
    problems += _duplicates(config)
    for index, column in enumerate(config.columns):
        path: Path = ("columns", index)
        problems += _templates(column, path)
        problems += _references(column, path, known)
        problems += _aliases(column, path, aliases, kinds)
        problems += _batched_threads(column, path, batched)
        problems += [Problem((*path, *_steps(field)), message) for field, message in column.check()]
        if isinstance(column, SeedDatasetColumnConfig) and column.name not in seed_columns and seed_columns:
            problems.append(
                Problem(
                    (*path, "name"),
                    f"the seed data has no column {column.name!r}{did_you_mean(column.name, seed_columns)}",
                )
            )
    problems += _stage_order(config)
    problems += _samplers(config, seed_columns, problems)
    problems += _models(config)
    problems += _tools(config)
    problems += _processors(config, known)
    problems += _checks(config, known)
    if not problems:
        problems += _cycle(config)
    return problems


def inputs_of(column: ColumnConfig) -> dict[str, str]:
    """Columns that a column reads, each with the field that says so; those of its skip rule included."""
    inputs = {reference.column: reference.field for reference in column.references()}
    if column.skip is not None:
        for reference in template_references(column.skip.when, "skip.when"):
            inputs.setdefault(reference.column, reference.field)
    return inputs


def _seed_columns(config: DatasetConfig) -> tuple[set[str], list[Problem]]:
    wanted = any(isinstance(column, SeedDatasetColumnConfig) for column in config.columns)
    if config.seed_config is None:
        if wanted:
            return set(), [Problem(("seed_config",), "is required: there are columns of type seed-dataset")]
        return set(), []
    from prefect_datagen.seeds.reader import seed_columns

    try:
        return set(seed_columns(config.seed_config, base_dir=config.folder)), []
    except ConfigError as error:
        return set(), [Problem(("seed_config",), error.message)]


def _duplicates(config: DatasetConfig) -> Iterator[Problem]:
    made: dict[str, int] = {}
    for index, column in enumerate(config.columns):
        for name in column.produces():
            if name in made:
                yield Problem(("columns", index, "name"), f"column {name!r} is already made by columns[{made[name]}]")
            made.setdefault(name, index)
    for field, names in (
        ("model_configs", [model.alias for model in config.model_configs]),
        ("model_providers", [provider.name for provider in config.model_providers]),
        ("tool_configs", [tools.tool_alias for tools in config.tool_configs]),
        ("mcp_providers", [provider.name for provider in config.mcp_providers]),
        ("processors", [processor.name for processor in config.processors]),
        ("checks", [each.name for each in config.checks]),
    ):
        for name, count in Counter(names).items():
            if count > 1:
                yield Problem((field,), f"the name {name!r} is used {count} times")


def _templates(column: ColumnConfig, path: Path) -> Iterator[Problem]:
    templates = list(column.templates())
    if column.skip is not None:
        templates.append(("skip.when", column.skip.when))
    for field, text in templates:
        if mistake := template_mistake(text):
            yield Problem((*path, *_steps(field)), f"the template does not parse: {mistake}")


def _references(column: ColumnConfig, path: Path, known: set[str]) -> Iterator[Problem]:
    for name, field in inputs_of(column).items():
        if name not in known:
            message = f"column {name!r} is not defined{did_you_mean(name, known - {column.name})}"
            yield Problem((*path, *_steps(field)), message)


def _aliases(column: ColumnConfig, path: Path, aliases: set[str], kinds: Mapping[str, str]) -> Iterator[Problem]:
    wanted = _MODEL_KINDS.get(column.column_type)  # type: ignore[attr-defined]  # every type of column has one
    for reference in column.model_aliases():
        if reference.column not in aliases:
            hint = did_you_mean(reference.column, aliases) or f" (defined: {', '.join(sorted(aliases)) or 'none'})"
            yield Problem((*path, *_steps(reference.field)), f"model alias {reference.column!r} is not defined{hint}")
        elif wanted is not None and kinds.get(reference.column, wanted) != wanted:
            yield Problem(
                (*path, *_steps(reference.field)),
                f"model alias {reference.column!r} is for {kinds[reference.column]}; its inference_parameters need "
                f"generation_type {wanted!r} here",
            )


def _batched_threads(column: ColumnConfig, path: Path, batched: set[str]) -> Iterator[Problem]:
    """A function in a thread waits there for its batch, so a batch would hold as many cells as there are threads."""
    if not column.asks_from_thread():
        return
    for reference in column.model_aliases():
        if reference.column in batched:
            yield Problem(
                (*path, *_steps(reference.field)),
                f"asks model {reference.column!r}, which is in batch mode, from a `def`: each cell would hold a thread "
                "until its batch ends; write it as `async def`, or use `mode: live`",
            )


def _stage_order(config: DatasetConfig) -> Iterator[Problem]:
    """Seed data and samplers are there before anything is generated, so they cannot read what is."""
    generated = {name for column in config.columns if not column.at_seed_stage for name in column.produces()}
    for index, column in enumerate(config.columns):
        if not column.at_seed_stage:
            continue
        for name, field in inputs_of(column).items():
            if name in generated:
                kind = column.column_type  # type: ignore[attr-defined]  # each type names itself
                yield Problem(
                    ("columns", index, *_steps(field)),
                    f"a {kind} column is filled before column {name!r} is generated, and cannot read it",
                )


def _samplers(config: DatasetConfig, seed_columns: set[str], found: list[Problem]) -> Iterator[Problem]:
    """What samplers and constraints can only know of each other."""
    samplers = {index: each for index, each in enumerate(config.columns) if isinstance(each, SamplerColumnConfig)}
    if any(problem.path[:1] in (("columns",), ("constraints",)) for problem in found):
        return
    if not samplers and not config.constraints:
        return
    from prefect_datagen.columns.sampler_checks import check_together

    names = {column.name for column in samplers.values()}
    for index, constraint in enumerate(config.constraints):
        for reference in constraint.references():
            if reference.column not in names | seed_columns:
                hint = did_you_mean(reference.column, names)
                yield Problem(
                    ("constraints", index, reference.field), f"column {reference.column!r} is not sampled{hint}"
                )
                return
    for field, message in check_together(list(samplers.values()), config.constraints):
        yield Problem(_sampler_path(field, {column.name: at for at, column in samplers.items()}), message)


def _sampler_path(field: str, positions: dict[str, int]) -> Path:
    """`columns.NAME.params.low` as a path by position."""
    for name, at in positions.items():
        if field.startswith(f"columns.{name}."):
            return ("columns", at, *_steps(field.removeprefix(f"columns.{name}.")))
    return _steps(field)


def _models(config: DatasetConfig) -> Iterator[Problem]:
    providers = {provider.name for provider in config.model_providers} | {BUILT_IN_PROVIDER}
    for index, model in enumerate(config.model_configs):
        for at, endpoint in enumerate(model.all_endpoints()):
            name = endpoint.provider
            if name not in providers:
                hint = did_you_mean(name, providers) or f" (defined: {', '.join(sorted(providers))})"
                field: Path = ("provider",) if model.endpoints is None else ("endpoints", at, "provider")
                yield Problem(("model_configs", index, *field), f"provider {name!r} is not defined{hint}")
        kind = next((each.provider_type for each in config.model_providers if each.name == model.provider), "offline")
        if model.mode is Mode.BATCH and kind not in ("openai", "offline"):
            said = (
                f"`mode: batch` speaks to OpenAI's Batch API; provider {model.provider!r} is {kind!r}: use `mode: live`"
            )
            yield Problem(("model_configs", index, "mode"), said)
    for index, provider in enumerate(config.model_providers):
        if provider.provider_type in ("openai", "anthropic") and not provider.endpoint:
            yield Problem(("model_providers", index, "endpoint"), "is required: the base URL, such as http://host/v1")
        elif provider.endpoint and not provider.endpoint.startswith(("http://", "https://")):
            shown = provider.endpoint.rpartition("@")[2].partition("?")[0]  # what is before or after may be a secret
            message = f"{shown!r} is no base URL, such as http://host/v1"
            yield Problem(("model_providers", index, "endpoint"), message)
        if provider.provider_type not in PROVIDER_TYPES:
            hint = did_you_mean(provider.provider_type, PROVIDER_TYPES)
            if not hint and importlib.util.find_spec("litellm") is None:
                hint = " (other types are served by litellm: pip install 'prefect-datagen[litellm]')"
            if hint:  # what litellm itself does not know is told where its client is made: importing it takes seconds
                message = f"{provider.provider_type!r} is none of {', '.join(PROVIDER_TYPES)}{hint}"
                yield Problem(("model_providers", index, "provider_type"), message)


def _tools(config: DatasetConfig) -> Iterator[Problem]:
    """Tool aliases of columns, and the servers behind those that are used: an export of Data Designer names its servers
    and does not hold them."""
    aliases = {tools.tool_alias for tools in config.tool_configs}
    used = set()
    for index, column in enumerate(config.columns):
        alias = column.tool_alias if isinstance(column, LLMColumnConfig) else None
        used.add(alias)
        if alias is not None and alias not in aliases:
            hint = did_you_mean(alias, aliases) or f" (defined: {', '.join(sorted(aliases)) or 'none'})"
            yield Problem(
                ("columns", index, "tool_alias"), f"tool alias {alias!r} is not defined in tool_configs{hint}"
            )
    servers = {provider.name for provider in config.mcp_providers}
    for index, tools in enumerate(config.tool_configs):
        for at, name in enumerate(tools.providers):
            if tools.tool_alias in used and name not in servers:
                hint = did_you_mean(name, servers) or f" (defined: {', '.join(sorted(servers)) or 'none'})"
                message = f"MCP server {name!r} is not defined in mcp_providers{hint}"
                yield Problem(("tool_configs", index, "providers", at), message)


def _processors(config: DatasetConfig, known: set[str]) -> Iterator[Problem]:
    for index, processor in enumerate(config.processors):
        for field, message in processor.check(known):
            yield Problem(("processors", index, *_steps(field)), message)
        known = known | set(processor.adds())


def _checks(config: DatasetConfig, known: set[str]) -> Iterator[Problem]:
    made = known | {name for processor in config.processors for name in processor.adds()}
    for index, each in enumerate(config.checks):
        for name in each.columns():
            if name not in made:
                yield Problem(("checks", index, "column"), f"column {name!r} is not defined{did_you_mean(name, made)}")


def _cycle(config: DatasetConfig) -> Iterator[Problem]:
    makers = {name: column.name for column in config.columns for name in column.produces()}
    inputs = {column.name: [makers[name] for name in inputs_of(column) if name in makers] for column in config.columns}
    cycle = find_cycle({name: list(reads) for name, reads in inputs.items()})
    if cycle:
        yield Problem(("columns",), f"columns depend on each other in a circle: {' → '.join(cycle)}")


def _steps(field: str) -> Path:
    return tuple(int(step) if step.isdigit() else step for step in field.replace("]", "").replace("[", ".").split("."))
