"""What column generators run against in tests: a model that answers from a script, and what `build` is given."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from prefect_datagen.columns.base import ColumnConfig
from prefect_datagen.columns.build import BuildContext
from prefect_datagen.engine.chat import ChatAnswer, ChatRequest, EmbeddingRequest, ImageRequest
from prefect_datagen.engine.errors import ErrorKind, ModelError
from prefect_datagen.engine.node import Batch, Cell, ColumnNode, FullColumn, RowKey
from prefect_datagen.models.config import ModelConfig

Answer = str | ChatAnswer | ModelError
Script = Sequence[Answer] | Callable[[ChatRequest], Answer]


class FakeModels:
    """`Models` from a script: one answer after the other, or a function of the request. Keeps what was asked."""

    def __init__(
        self,
        script: Script = (),
        *,
        vectors: Callable[[str], list[float]] = lambda text: [float(len(text)), 1.0],
        image: bytes | ModelError = b"",
    ) -> None:
        self._script = script
        self._vectors = vectors
        self._image = image
        self.requests: list[ChatRequest] = []
        self.aliases: list[str] = []
        self.embedding_requests: list[EmbeddingRequest] = []
        self.image_requests: list[ImageRequest] = []

    async def chat(self, alias: str, request: ChatRequest, *, tools: str | None = None) -> ChatAnswer:
        """The next answer of the script."""
        self.aliases.append(alias)
        self.requests.append(request)
        answer = self._script(request) if callable(self._script) else self._script[len(self.requests) - 1]
        if isinstance(answer, ModelError):
            raise answer
        return ChatAnswer(text=answer, finish_reason="stop") if isinstance(answer, str) else answer

    async def embed(self, alias: str, request: EmbeddingRequest) -> list[list[float]]:
        """One vector per text."""
        self.aliases.append(alias)
        self.embedding_requests.append(request)
        return [self._vectors(text) for text in request.texts]

    async def image(self, alias: str, request: ImageRequest) -> bytes:
        """The image."""
        self.aliases.append(alias)
        self.image_requests.append(request)
        if isinstance(self._image, ModelError):
            raise self._image
        return self._image

    def prompt(self, call: int = -1) -> str:
        """Text of the last message of a request."""
        content = self.requests[call].messages[-1]["content"]
        return content if isinstance(content, str) else content[-1]["text"]


def unusable(answer: str | None = None) -> ModelError:
    """What a client raises for a 200 without usable content."""
    return ModelError(
        "200 without content", kind=ErrorKind.PERMANENT, reason="unusable answer", status=200, answer=answer
    )


def context(
    types: Mapping[str, pa.DataType] | None = None,
    *,
    full: Sequence[str] = (),
    model: Mapping[str, Any] | None = None,
    restarts: int = 0,
    corrections: int = 0,
    seed: int = 7,
    base_dir: Path | None = None,
    artifact_dir: Path | None = None,
) -> BuildContext:
    """What `build` is given, with one model of alias `writer`; `model` holds its inference parameters."""
    config = ModelConfig.model_validate({"alias": "writer", "model": "m-1", "inference_parameters": dict(model or {})})
    return BuildContext(
        seed=seed,
        types=dict(types or {}),
        full_columns=frozenset(full),
        models={"writer": config},
        max_conversation_restarts=restarts,
        max_conversation_correction_steps=corrections,
        base_dir=base_dir or Path.cwd(),
        artifact_dir=artifact_dir,
    )


def cell(node: ColumnNode, models: Any = None, *, row: int = 0, copy: int = 0, **inputs: Any) -> Cell:
    """A cell of `node` about to be made."""
    return Cell(node.name, 0, RowKey(row, copy), 0, inputs, models or FakeModels())


def make(node: ColumnNode, models: Any = None, *, row: int = 0, copy: int = 0, **inputs: Any) -> dict[str, Any]:
    """The values of one cell, by column."""
    made = asyncio.run(node.generator.generate(cell(node, models, row=row, copy=copy, **inputs)))  # type: ignore[union-attr]
    return dict(zip(node.produces, made, strict=True))


def make_batch(node: ColumnNode, **columns: Any) -> FullColumn:
    """A full column over lists or Arrow arrays."""
    arrays = {name: values if isinstance(values, pa.Array) else pa.array(values) for name, values in columns.items()}
    rows = len(next(iter(arrays.values()))) if arrays else 0
    return node.generator.generate_batch(Batch(0, [RowKey(row) for row in range(rows)], arrays))  # type: ignore[union-attr]


def problems(config: ColumnConfig) -> dict[str, str]:
    """What `check` finds, by field."""
    return dict(config.check())
