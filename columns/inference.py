"""What a column sends along with its messages: its model's parameters, those that are distributions drawn by row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prefect_datagen.columns.build import BuildContext
from prefect_datagen.engine.arrays import np
from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.engine.node import RowKey
from prefect_datagen.engine.randomness import RowStream
from prefect_datagen.models.config import (
    ChatInferenceParameters,
    EmbeddingInferenceParameters,
    ImageInferenceParameters,
    ManualDistribution,
    ModelConfig,
    UniformDistribution,
)

_SEPARATOR = "\x1e"  # in no column name, so that no other column has the stream of a parameter


class Draw:
    """A parameter that is drawn anew for each row, from a stream of its own."""

    def __init__(self, distribution: UniformDistribution | ManualDistribution, stream: RowStream) -> None:
        self._stream = stream
        self._uniform: tuple[float, float] | None = None
        self._values: list[float] = []
        if isinstance(distribution, UniformDistribution):
            self._uniform = (distribution.params.low, distribution.params.high)
            return
        self._values = distribution.params.values
        weights = distribution.params.weights or [1.0] * len(self._values)
        self._cumulative = np.cumsum(weights) / sum(weights)

    def value(self, row: RowKey) -> float:
        """The row's value: the same whenever it is asked for."""
        u = float(self._stream.uniforms(row.index, 1, row.copy + 1)[0, row.copy])
        if self._uniform is not None:
            low, high = self._uniform
            return low + u * (high - low)
        return self._values[int(np.searchsorted(self._cumulative, u, side="right"))]


class RequestParameters:
    """The parameters of a model's requests: the fixed ones as they are, the drawn ones for each row."""

    def __init__(self, model: ModelConfig, *, column: str, seed: int) -> None:
        parameters = model.inference_parameters
        self.model = model.all_endpoints()[0].model
        self._fixed: dict[str, Any] = {}
        self._drawn: dict[str, Draw] = {}
        if isinstance(parameters, ChatInferenceParameters):
            self._take("temperature", parameters.temperature, column, seed)
            self._take("top_p", parameters.top_p, column, seed)
            self._fixed |= {} if parameters.max_tokens is None else {"max_tokens": parameters.max_tokens}
        if isinstance(parameters, EmbeddingInferenceParameters):
            self._fixed["encoding_format"] = parameters.encoding_format
            self._fixed |= {} if parameters.dimensions is None else {"dimensions": parameters.dimensions}
        self._fixed |= parameters.extra_body or {}

    def for_row(self, row: RowKey) -> dict[str, Any]:
        """What is added to the body of the row's requests. What `extra_body` names wins."""
        if not self._drawn:
            return self._fixed
        return {**{name: draw.value(row) for name, draw in self._drawn.items()}, **self._fixed}

    def _take(
        self, name: str, value: float | UniformDistribution | ManualDistribution | None, column: str, seed: int
    ) -> None:
        if isinstance(value, (UniformDistribution, ManualDistribution)):
            self._drawn[name] = Draw(value, RowStream(seed, f"{column}{_SEPARATOR}{name}"))
        elif value is not None:
            self._fixed[name] = value


def model_for(
    context: BuildContext,
    alias: str,
    *,
    column: str,
    kind: type[ChatInferenceParameters | EmbeddingInferenceParameters | ImageInferenceParameters],
) -> ModelConfig:
    """The model behind an alias, which must be of the kind that the column needs.

    Raises:
        ConfigError: there is none, or it is of another kind.
    """
    models: Mapping[str, ModelConfig] = context.models
    if alias not in models:
        raise ConfigError(f"column {column!r}: model alias {alias!r} is not defined")
    model = models[alias]
    if not isinstance(model.inference_parameters, kind):
        wanted = kind.model_fields["generation_type"].default
        given = model.inference_parameters.generation_type
        raise ConfigError(
            f"column {column!r}: model alias {alias!r} is for {given}; its inference_parameters need "
            f"generation_type {wanted!r} here"
        )
    return model
