"""`DatasetBuilder`: a config in Python instead of YAML. It gathers the same words; `build` checks them as `load` does."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel

from prefect_datagen.columns.base import ColumnConfig
from prefect_datagen.columns.constraints import Constraint
from prefect_datagen.config.checks import Check
from prefect_datagen.config.dataset import DatasetConfig
from prefect_datagen.config.plain import plain
from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.models.config import ModelConfig, ModelProvider
from prefect_datagen.processors.base import ProcessorConfig
from prefect_datagen.seeds.base import SeedSource
from prefect_datagen.seeds.config import IndexRange, PartitionBlock

ColumnType = Literal[
    "sampler",
    "seed-dataset",
    "expression",
    "sql",
    "llm-text",
    "llm-code",
    "llm-structured",
    "llm-judge",
    "validation",
    "embedding",
    "image",
    "custom",
]
ProcessorType = Literal["drop_columns", "rename", "schema_transform", "filter", "sql", "deduplicate", "custom"]
CheckType = Literal["null_share", "range", "length", "valid_share", "unique", "sql", "mean_score"]
SeedType = Literal["local", "hf", "directory", "file_contents", "file_records", "duckdb", "sql", "dataset", "df"]


class DatasetBuilder:
    """Puts a config together, part by part; every method gives the builder back.

    A part is a config object (`ExpressionColumnConfig(...)`), or its fields by name. Nothing is checked before `build`,
    so that parts may come in any order and all mistakes are told together.

    Args:
        name: name of the dataset.
        base_dir: folder that relative paths start from; by default the current one.

    Example:
        ```python
        config = (
            DatasetBuilder("reviews")
            .add_model("writer", "some-model", provider="offline")
            .add_column("stars", "sampler", sampler_type="category", params={"values": [1, 2, 3]})
            .add_column("review", "llm-text", model_alias="writer", prompt="A review of {{ stars }} stars.")
            .build()
        )
        ```
    """

    def __init__(self, name: str = "dataset", *, base_dir: Path | str | None = None) -> None:
        self._data: dict[str, Any] = {"name": name}
        if base_dir is not None:
            self._data["base_dir"] = str(base_dir)

    def __repr__(self) -> str:
        parts = {name: len(value) for name, value in self._data.items() if isinstance(value, list)}
        return f"DatasetBuilder({self._data['name']!r}, {parts})"

    def add_column(
        self, column: ColumnConfig | str, column_type: ColumnType | str | None = None, **fields: Any
    ) -> Self:
        """A column: a config object, or a name, a type and the type's fields.

        Raises:
            ConfigError: a config object together with fields, or a name without a type.
        """
        return self._add_named("columns", column, "column_type", column_type, fields)

    def add_model(self, model: ModelConfig | str, name: str | None = None, **fields: Any) -> Self:
        """A model: a config object, or an alias, the endpoint's name for it, and fields such as `provider`.

        Fields of `inference_parameters` may stand directly: `add_model("writer", "m", temperature=0.7)`.

        Raises:
            ConfigError: a config object together with fields, or an alias without a name.
        """
        if not isinstance(model, str):
            return self._add("model_configs", _object(model, name, fields))
        if name is None:
            raise ConfigError(f"add_model({model!r}): which model? Give the name that the endpoint knows it by")
        own = {field: value for field, value in fields.items() if field in ModelConfig.model_fields}
        parameters = {field: value for field, value in fields.items() if field not in own}
        if parameters:
            own["inference_parameters"] = {**plain(own.get("inference_parameters", {})), **parameters}
        return self._add("model_configs", {"alias": model, "model": name, **plain(own)})

    def add_provider(self, provider: ModelProvider | str, endpoint: str | None = None, **fields: Any) -> Self:
        """An endpoint: a config object, or a name, its base URL and fields such as `api_key`.

        Raises:
            ConfigError: a config object together with fields.
        """
        if not isinstance(provider, str):
            return self._add("model_providers", _object(provider, endpoint, fields))
        return self._add(
            "model_providers", {"name": provider, **({"endpoint": endpoint} if endpoint else {}), **fields}
        )

    def add_constraint(self, constraint: Constraint | None = None, **fields: Any) -> Self:
        """A rule for sampled rows: a config object, or its fields.

        Raises:
            ConfigError: both.
        """
        return self._add("constraints", plain(fields) if constraint is None else _object(constraint, None, fields))

    def add_processor(
        self, processor: ProcessorConfig | str, processor_type: ProcessorType | str | None = None, **fields: Any
    ) -> Self:
        """A processor: a config object, or a name, a type and the type's fields. They run in this order.

        Raises:
            ConfigError: a config object together with fields, or a name without a type.
        """
        return self._add_named("processors", processor, "processor_type", processor_type, fields)

    def add_check(self, check: Check | str, check_type: CheckType | str | None = None, **fields: Any) -> Self:
        """A quality gate: a config object, or a name, a type and the type's fields.

        Raises:
            ConfigError: a config object together with fields, or a name without a type.
        """
        return self._add_named("checks", check, "check_type", check_type, fields)

    def with_seed(
        self,
        source: SeedSource | SeedType | str,
        *,
        sampling_strategy: Literal["ordered", "shuffle"] = "ordered",
        selection_strategy: IndexRange | PartitionBlock | None = None,
        **fields: Any,
    ) -> Self:
        """The rows to start from, in the place of any before: a source object, or its type and the type's fields.

        Raises:
            ConfigError: a source object together with fields.
        """
        seed = {"seed_type": source, **plain(fields)} if isinstance(source, str) else _object(source, None, fields)
        self._data["seed_config"] = {"source": seed, "sampling_strategy": sampling_strategy}
        if selection_strategy is not None:
            self._data["seed_config"]["selection_strategy"] = plain(selection_strategy)
        return self

    def build(self) -> DatasetConfig:
        """The config, checked as a whole. The builder may go on, and build another.

        Raises:
            ConfigError: with every problem there is.
        """
        return DatasetConfig.load(self._data)

    def to_yaml(self) -> str:
        """The config as a YAML document, checked as a whole.

        Raises:
            ConfigError: with every problem there is.
        """
        return self.build().to_yaml()

    def _add_named(self, field: str, part: BaseModel | str, tag: str, kind: str | None, fields: dict[str, Any]) -> Self:
        if not isinstance(part, str):
            return self._add(field, _object(part, kind, fields))
        if kind is None:
            raise ConfigError(f"{field}: {part!r} needs a {tag}")
        return self._add(field, {"name": part, tag: kind, **plain(fields)})

    def _add(self, field: str, part: dict[str, Any]) -> Self:
        self._data.setdefault(field, []).append(part)
        return self


def _object(part: BaseModel, beside: str | None, fields: Mapping[str, Any]) -> dict[str, Any]:
    if beside is not None or fields:
        raise ConfigError(f"{type(part).__name__} is whole already; leave {', '.join(fields) or repr(beside)} out")
    data: dict[str, Any] = plain(part)
    return data
