"""`DatasetConfig`: what a dataset is, as people write it, in the words of NVIDIA NeMo Data Designer's configs.

A config is loaded from a file, a YAML text or a dict, and checked as a whole before anything is done: fields by pydantic,
then what no single field can know (`config/checking.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import yaml
from pydantic import Field, TypeAdapter, ValidationError, field_validator

from prefect_datagen.columns.base import ColumnConfig, Config
from prefect_datagen.columns.constraints import AnyConstraint
from prefect_datagen.columns.kinds import Kinds, Later
from prefect_datagen.config.checking import check
from prefect_datagen.config.data_designer import plain_config, unwrap
from prefect_datagen.config.problems import Path as FieldPath
from prefect_datagen.config.problems import Problem, from_validation_error, line_of
from prefect_datagen.config.yaml_text import read_yaml
from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.models.config import ModelConfig, ModelProvider
from prefect_datagen.processors import Processor
from prefect_datagen.seeds.config import SeedConfig
from prefect_datagen.seeds.plugins import plugin_types

_COLUMNS = "prefect_datagen.columns."
Column = Annotated[
    ColumnConfig,
    Kinds(
        "column_type",
        {
            "sampler": _COLUMNS + "sampler:SamplerColumnConfig",
            "seed-dataset": _COLUMNS + "seed:SeedDatasetColumnConfig",
            "expression": _COLUMNS + "expression:ExpressionColumnConfig",
            "sql": _COLUMNS + "sql:SqlColumnConfig",
            "llm-text": _COLUMNS + "llm:LLMTextColumnConfig",
            "llm-code": _COLUMNS + "code:LLMCodeColumnConfig",
            "llm-structured": _COLUMNS + "llm:LLMStructuredColumnConfig",
            "llm-judge": _COLUMNS + "judge:LLMJudgeColumnConfig",
            "validation": _COLUMNS + "validation:ValidationColumnConfig",
            "embedding": _COLUMNS + "embedding:EmbeddingColumnConfig",
            "image": _COLUMNS + "image:ImageColumnConfig",
            "custom": _COLUMNS + "custom:CustomColumnConfig",
        },
        plugins=lambda: plugin_types("columns", ColumnConfig),
    ),
]
"""A column of any type."""

if TYPE_CHECKING:
    from prefect_datagen.config.checks import Check as AnyCheck
    from prefect_datagen.models.tool_config import AnyMCPProvider, ToolConfig
else:  # few configs have checks or tools
    _CHECKS = "prefect_datagen.config.checks:"
    AnyCheck = Annotated[
        Any,
        Kinds(
            "check_type",
            {
                "null_share": _CHECKS + "NullShareCheck",
                "range": _CHECKS + "RangeCheck",
                "length": _CHECKS + "LengthCheck",
                "valid_share": _CHECKS + "ValidShareCheck",
                "unique": _CHECKS + "UniqueCheck",
                "sql": _CHECKS + "SqlCheck",
                "mean_score": _CHECKS + "MeanScoreCheck",
            },
        ),
    ]
    _TOOLS = "prefect_datagen.models.tool_config:"
    ToolConfig = Annotated[Any, Later(_TOOLS + "ToolConfig")]
    AnyMCPProvider = Annotated[
        Any,
        Kinds(
            "provider_type",
            {
                "sse": _TOOLS + "MCPProvider",
                "streamable_http": _TOOLS + "MCPProvider",
                "stdio": _TOOLS + "LocalStdioMCPProvider",
            },
            untold=lambda provider: "stdio" if "command" in provider else "sse",
        ),
    ]


class DatasetConfig(Config):
    """Columns, and what they need: models, seed data, constraints, processors."""

    name: str = Field(default="dataset", description="Name of the dataset, for titles and logs.")
    columns: list[Column] = Field(default_factory=list, description="The columns, in the order of the dataset.")
    model_configs: list[ModelConfig] = Field(default_factory=list, description="Models by alias.")
    model_providers: list[ModelProvider] = Field(default_factory=list, description="Endpoints by name.")
    seed_config: SeedConfig | None = Field(default=None, description="Rows to start from.")
    constraints: list[AnyConstraint] = Field(
        default_factory=list, description="Inequalities that sampled rows satisfy."
    )
    processors: list[Processor] = Field(default_factory=list, description="What happens to rows around generation.")
    checks: list[AnyCheck] = Field(default_factory=list, description="Quality gates over the finished rows.")
    tool_configs: list[ToolConfig] = Field(default_factory=list, description="Tools that columns may use, by alias.")
    mcp_providers: list[AnyMCPProvider] = Field(default_factory=list, description="MCP servers by name.")
    profilers: list[Any] = Field(default_factory=list, exclude=True, description="Not supported: must be empty.")
    base_dir: str | None = Field(
        default=None, description="Folder that relative paths start from: that of the config file, by default."
    )

    @field_validator("profilers")
    @classmethod
    def _no_profilers(cls, value: list[Any]) -> list[Any]:
        if value:
            raise ValueError(
                "profilers are not supported; leave them out: every build has a report, and `checks` hold its rows to "
                "limits"
            )
        return value

    def model_post_init(self, context: Any) -> None:
        """Tell columns and processors where relative paths start from."""
        for column in self.columns:
            column.place_in(self.folder)
        for processor in self.processors:
            processor.place_in(self.folder)

    @classmethod
    def load(cls, source: ConfigSource, *, overrides: Mapping[str, Any] | None = None) -> DatasetConfig:
        """Load and check a config: a path, a YAML text, a dict, or one that is loaded already.

        `overrides` set fields by path, such as `{"columns[2].prompt": "..."}`.

        Raises:
            ConfigError: with every problem there is, each with its path, and its line where there is a file.
        """
        if isinstance(source, DatasetConfig) and not overrides:
            problems = check(
                source,
                declared={column.name for column in source.columns},
                aliases={model.alias for model in source.model_configs},
            )
            if problems:
                _raise(problems, None, None)
            return source
        text, file, data, base_dir = _read(source)
        data = unwrap(data)
        for path, value in (overrides or {}).items():
            _override(data, path, value)
        config, problems = parse(data, base_dir=base_dir)
        if config is None:
            _raise(problems, text, file)
        assert config is not None
        return config

    @classmethod
    def from_data_designer(cls, source: Any) -> DatasetConfig:
        """The config of Data Designer's builder (or its config object), functions and data frames included.

        Raises:
            ConfigError: with every problem there is, what is not supported among them.
        """
        return cls.load(plain_config(source))

    def to_yaml(self) -> str:
        """The config as a YAML document that `load` reads back."""
        return yaml.safe_dump(self.model_dump(mode="json", exclude_none=True), sort_keys=False, allow_unicode=True)

    def column(self, name: str) -> ColumnConfig:
        """A column by name.

        Raises:
            KeyError: there is none.
        """
        return next(column for column in self.columns if column.name == name)

    @property
    def folder(self) -> Path:
        """Folder that relative paths start from."""
        return Path(self.base_dir) if self.base_dir else Path.cwd()


ConfigSource = DatasetConfig | dict[str, Any] | Path | str


def parse(data: Any, *, base_dir: str | None = None) -> tuple[DatasetConfig | None, list[Problem]]:
    """A config from plain data, or every problem that keeps it from being one."""
    if not isinstance(data, dict):
        return None, [Problem((), f"a config is a mapping with `columns`, not {type(data).__name__}")]
    data = {name: value for name, value in data.items() if value is not None}
    if base_dir is not None:
        data.setdefault("base_dir", base_dir)
    aliases = _declared(data, "model_configs", "alias")
    try:
        config = DatasetConfig.model_validate(data)
    except ValidationError as error:
        parts, kept = _valid_parts(data)
        found = check(DatasetConfig.model_construct(**parts), declared=_declared(data, "columns"), aliases=aliases)
        problems = from_validation_error(error, (), data, model=DatasetConfig)
        told = {problem.path for problem in problems}
        moved = (_moved(problem, kept) for problem in found)
        return None, problems + [problem for problem in moved if problem.path not in told]
    problems = check(config, declared=_declared(data, "columns"), aliases=aliases)
    return (None, problems) if problems else (config, [])


def fingerprint_parts(config: DatasetConfig) -> dict[str, str]:
    """A hash for each part of a config, by name, so that what differs can be named: columns, models, processors, ..."""
    parts: dict[str, str] = {}
    for column in config.columns:
        parts[f"column {column.name}"] = _digest(column.model_dump(mode="json"), *column.source_code())
    for model in config.model_configs:
        left_out = {"price", "rpm", "tpm", "shared_limits", "skip_health_check", "mode", "batch"}
        described = model.model_dump(mode="json", exclude=left_out)
        described["inference_parameters"].pop("max_parallel_requests", None)
        described["inference_parameters"].pop("timeout", None)
        # Other endpoints serve the same model: they may come and go while a dataset grows.
        del described["endpoints"]
        first = model.all_endpoints()[0]
        described |= {"provider": first.provider, "model": first.model}
        parts[f"model {model.alias}"] = _digest(described)
    for tools in config.tool_configs:
        parts[f"tools {tools.tool_alias}"] = _digest(tools.model_dump(mode="json", exclude={"timeout_sec"}))
    for processor in config.processors:
        parts[f"processor {processor.name}"] = _digest(processor.model_dump(mode="json"), *processor.source_code())
    gates = [gate for gate in config.checks if gate.rejects_rows]
    parts["checks that reject rows"] = _digest([gate.model_dump(mode="json") for gate in gates])
    parts["column order"] = _digest([column.name for column in config.columns])
    parts["processor order"] = _digest([processor.name for processor in config.processors])
    parts["constraints"] = _digest([constraint.model_dump(mode="json") for constraint in config.constraints])
    return parts


def _digest(value: Any, *more: str) -> str:
    digest = hashlib.blake2b(orjson.dumps(value, option=orjson.OPT_SORT_KEYS, default=str), digest_size=12)
    for text in more:
        digest.update(text.encode())
    return digest.hexdigest()


def _read(source: ConfigSource) -> tuple[str | None, str | None, Any, str | None]:
    """(YAML text, file name for messages, data, base_dir) of any kind of source."""
    if isinstance(source, DatasetConfig):
        return None, None, source.model_dump(mode="python"), source.base_dir
    if isinstance(source, dict):
        return None, None, orjson.loads(orjson.dumps(source, default=_keep)) if _is_json(source) else dict(source), None
    if isinstance(source, str) and "\n" in source:
        return source, None, read_yaml(source, "config"), None
    path = Path(source)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot read config {str(path)!r}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"config {str(path)!r} is not UTF-8 text: {error}") from error
    return text, str(path), read_yaml(text, str(path)), str(path.resolve().parent)


def _is_json(source: dict[str, Any]) -> bool:
    try:
        orjson.dumps(source)
    except TypeError:
        return False  # holds functions, classes or data frames: taken as it is
    return True


def _keep(value: Any) -> Any:
    raise TypeError(type(value))


def _override(data: Any, path: str, value: Any) -> None:
    """Set `a.b[2].c` in nested data. `columns[name]` finds a column by name."""
    steps = [step for part in path.split(".") for step in part.replace("]", "").split("[")]
    here = data
    try:
        for step in steps[:-1]:
            here = _step(here, step)
        last = steps[-1]
        if isinstance(here, list):
            here[int(last)] = value
        else:
            here[last] = value
    except (KeyError, IndexError, ValueError, TypeError) as error:
        raise ConfigError(f"--set {path}: there is no such field ({error})") from error


def _step(here: Any, step: str) -> Any:
    if not isinstance(here, list):
        return here.setdefault(step, {}) if isinstance(here, dict) else here[step]
    if step.lstrip("-").isdigit():
        return here[int(step)]
    return next(each for each in here if step in (each.get("name"), each.get("alias")))


def _declared(data: dict[str, Any], field: str, key: str = "name") -> set[str]:
    """Names of all members of a list, of broken ones too: what refers to them is not wrong by that."""
    members = data.get(field)
    return {str(each.get(key)) for each in members if isinstance(each, dict)} if isinstance(members, list) else set()


def _valid_parts(data: dict[str, Any]) -> tuple[dict[str, Any], dict[str, list[int]]]:
    """The parts of a config that are right by themselves, so that the others' mistakes can be found in the same go.

    Returns:
        The parts, and for each list the positions in the config of the members that were kept.
    """
    parts: dict[str, Any] = {}
    kept: dict[str, list[int]] = {}
    for name, field in DatasetConfig.model_fields.items():
        annotation: Any = field.annotation
        parts[name] = field.get_default(call_default_factory=True)
        if name not in data:
            continue
        if isinstance(parts[name], list) and isinstance(data[name], list):
            (inner,) = annotation.__args__
            adapter = TypeAdapter(inner)
            members = [(at, _valid(adapter, each)) for at, each in enumerate(data[name])]
            parts[name] = [member for _, member in members if member is not None]
            kept[name] = [at for at, member in members if member is not None]
        elif not isinstance(parts[name], list):
            parts[name] = _valid(TypeAdapter[Any](annotation), data[name])
    return parts, kept


def _moved(problem: Problem, kept: dict[str, list[int]]) -> Problem:
    """A problem of a member of a list, at the member's position in the config."""
    if len(problem.path) < 2 or not isinstance(problem.path[1], int):
        return problem
    field, at, *rest = problem.path
    return Problem((field, kept[str(field)][int(at)], *rest), problem.message)


def _valid(adapter: TypeAdapter[Any], value: Any) -> Any:
    try:
        return adapter.validate_python(value)
    except ValidationError:
        return None  # reported already, by the validation of the whole


def _raise(problems: list[Problem], text: str | None, file: str | None) -> None:
    root = yaml.compose(text, Loader=yaml.SafeLoader) if text is not None else None
    prefix: FieldPath = ("data_designer",) if isinstance(root, yaml.MappingNode) and _wrapped(root) else ()
    lines = [
        Problem(problem.path, problem.message, line_of(root, prefix + problem.path)).text(file) for problem in problems
    ]
    head = f"{len(lines)} problems in the config" if len(lines) > 1 else "the config is wrong"
    raise ConfigError(f"{head}:\n" + "\n".join(f"  {line}" for line in lines), problems=lines)


def _wrapped(root: yaml.MappingNode) -> bool:
    return any(key.value == "data_designer" for key, _ in root.value)
