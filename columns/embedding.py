"""`embedding` columns: vectors of a text, or of each text of a list."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import pyarrow as pa
from pydantic import Field

from prefect_datagen.columns.base import ColumnConfig, Reference, TemplateSkip
from prefect_datagen.columns.build import BuildContext
from prefect_datagen.columns.inference import RequestParameters, model_for
from prefect_datagen.columns.references import skip_value_problems
from prefect_datagen.engine.chat import EmbeddingRequest
from prefect_datagen.engine.errors import CellError, ConfigError, ErrorKind, ModelError
from prefect_datagen.engine.node import Cell, ColumnNode, Strategy
from prefect_datagen.models.config import EmbeddingInferenceParameters

VECTOR = pa.list_(pa.float32())


class EmbeddingColumnConfig(ColumnConfig):
    """Vectors of another column's text."""

    column_type: Literal["embedding"] = "embedding"
    target_column: str = Field(min_length=1, description="Column with a text, or a list of texts.")
    model_alias: str = Field(min_length=1, description="Alias of one of `model_configs`, of type embedding.")

    def references(self) -> Iterator[Reference]:
        """The column that is embedded."""
        yield Reference(self.target_column, "target_column")

    def model_aliases(self) -> Iterator[Reference]:
        """The model."""
        yield Reference(self.model_alias, "model_alias")

    def check(self) -> Iterator[tuple[str, str]]:
        """Whether the skip value could stand in the column."""
        return skip_value_problems(self, lambda: VECTOR)

    def types(self, upstream: Mapping[str, pa.DataType]) -> tuple[pa.DataType, ...]:
        """A list of floats for a text, a list of such for a list of texts.

        Raises:
            ConfigError: the target column holds neither.
        """
        target = upstream[self.target_column]
        if _is_text(target):
            return (VECTOR,)
        if (pa.types.is_list(target) or pa.types.is_large_list(target)) and _is_text(target.value_type):
            return (pa.list_(VECTOR),)
        raise ConfigError(
            f"column {self.name!r}: target_column {self.target_column!r} is of type {target}; "
            "only text and lists of texts can be embedded"
        )

    def build(self, context: BuildContext) -> ColumnNode:
        """One cell, and one call, per row."""
        return ColumnNode(
            name=self.name,
            produces=self.produces(),
            inputs=(self.target_column,),
            strategy=Strategy.CELL,
            resource=self.model_alias,
            generator=EmbeddingGenerator(self, context),
            types=self.types(context.types),
            skip=None if self.skip is None else TemplateSkip(self.skip),
            propagate_skip=self.propagate_skip,
        )


class EmbeddingGenerator:
    """Makes one cell by one call."""

    def __init__(self, config: EmbeddingColumnConfig, context: BuildContext) -> None:
        model = model_for(context, config.model_alias, column=config.name, kind=EmbeddingInferenceParameters)
        self._alias = config.model_alias
        self._target = config.target_column
        self._parameters = RequestParameters(model, column=config.name, seed=context.seed)

    async def generate(self, cell: Cell) -> tuple[Any]:
        """The vector of the text, or the vectors of the texts; an empty list of texts needs no call.

        Raises:
            ModelError: the endpoint failed.
            CellError: reason "no text": there is nothing to embed.
        """
        value = cell.inputs[self._target]
        texts = [value] if isinstance(value, str) else value
        if texts is None or not all(isinstance(text, str) and text for text in texts):
            raise CellError(f"column {self._target!r} holds no text to embed: {value!r}", reason="no text")
        if not texts:
            return ([],)
        request = EmbeddingRequest(self._parameters.model, list(texts), self._parameters.for_row(cell.row))
        vectors = await cell.models.embed(self._alias, request)
        if len(vectors) != len(texts):
            raise ModelError(
                f"{len(vectors)} vectors for {len(texts)} texts", kind=ErrorKind.PERMANENT, reason="unusable answer"
            )
        return (vectors[0] if isinstance(value, str) else vectors,)


def _is_text(type_: pa.DataType) -> bool:
    return bool(pa.types.is_string(type_) or pa.types.is_large_string(type_))
