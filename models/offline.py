"""The offline model: built in, deterministic, no network, no key. What it writes is plainly labelled as made up."""

from __future__ import annotations

import asyncio
import base64

import numpy as np

from prefect_datagen.engine.chat import (
    ChatAnswer,
    ChatRequest,
    EmbeddingAnswer,
    EmbeddingRequest,
    ImageAnswer,
    ImageRequest,
)
from prefect_datagen.engine.errors import ErrorKind, ModelError
from prefect_datagen.models.answers import (
    DIMENSIONS,
    answer_chat,
    embedding,
    estimate_tokens,
    image_base64,
    request_digest,
)
from prefect_datagen.models.json_instance import SchemaError


class OfflineClient:
    """A client of chat, embeddings and images whose answers are a function of the request: the same as the mock server's.

    Args:
        latency_ms: milliseconds that each call takes.
    """

    def __init__(self, *, latency_ms: float = 0.0) -> None:
        self._latency = latency_ms / 1000

    @property
    def endpoint(self) -> str:
        """There is none; limits are shared by this name."""
        return "offline"

    def __repr__(self) -> str:
        return f"OfflineClient(latency_ms={self._latency * 1000:g})"

    async def chat(self, request: ChatRequest, *, timeout: float | None = None) -> ChatAnswer:
        """Make up the answer. Tokens are `estimate_tokens` of the prompt and of the answer.

        Raises:
            ModelError: permanent, where nothing can be made up for the schema asked for; retryable, where the latency
                is above `timeout`.
        """
        await self._take_time(timeout)
        body = request.body()
        try:
            made = answer_chat(body, digest=request_digest(body))
        except SchemaError as error:
            raise ModelError(
                f"the offline model cannot answer: {error}",
                kind=ErrorKind.PERMANENT,
                reason="unsupported schema",
                endpoint=self.endpoint,
            ) from error
        return ChatAnswer(
            text=made.text,
            input_tokens=made.input_tokens,
            output_tokens=made.output_tokens,
            finish_reason=made.finish_reason,
        )

    async def embed(self, request: EmbeddingRequest, *, timeout: float | None = None) -> EmbeddingAnswer:
        """Make up a unit vector for each text, of `dimensions` numbers.

        Raises:
            ModelError: retryable, where the latency is above `timeout`.
        """
        await self._take_time(timeout)
        dimensions = request.parameters.get("dimensions") or DIMENSIONS
        vectors = [np.asarray(embedding(text, dimensions=dimensions), np.float32).tolist() for text in request.texts]
        return EmbeddingAnswer(vectors, sum(estimate_tokens(text) for text in request.texts))

    async def image(self, request: ImageRequest, *, timeout: float | None = None) -> ImageAnswer:
        """Make up a PNG of one colour.

        Raises:
            ModelError: retryable, where the latency is above `timeout`.
        """
        await self._take_time(timeout)
        image = base64.b64decode(image_base64(request_digest(request.body())))
        return ImageAnswer(image, estimate_tokens(request.prompt))

    async def aclose(self) -> None:
        """Nothing to close."""

    async def _take_time(self, timeout: float | None) -> None:
        if timeout is not None and self._latency > timeout:
            await asyncio.sleep(timeout)
            raise ModelError(
                f"timeout at the offline model: no answer within {timeout:g} s",
                kind=ErrorKind.RETRYABLE,
                reason="timeout",
                endpoint=self.endpoint,
            )
        await asyncio.sleep(self._latency)  # with 0, too: others get their turn between two answers
