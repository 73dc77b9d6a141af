"""The conversation with a model: what is sent, what comes back, and what every client must do.

Chat is what every client does; those that make embeddings or images, too, are `EmbeddingClient` and `ImageClient`, by the
same rules. Each answer can be packed for the journal: what is unpacked makes the same cell.

A client makes one HTTP call (or computes one answer) per `chat`, never retries, and classifies every failure once by
raising `ModelError` with its kind. (The one exception: where an endpoint refuses `response_format`, the client asks again
without it, once, and remembers.) Limits, retries, the journal and the accounting stand above it and see only
these types. Nothing here knows rows or columns.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import Any, Protocol, Self, runtime_checkable

import orjson

from prefect_datagen.engine.arrays import np

Message = dict[str, Any]
"""One chat message as OpenAI-compatible endpoints take it: `role`, `content` (text or parts), tool fields."""


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """Everything that decides an answer. `body()` is what is sent, and what the journal's key is made of."""

    model: str
    messages: list[Message]
    parameters: dict[str, Any] = field(default_factory=dict)  # temperature, top_p, max_tokens, extra_body merged in
    response_schema: dict[str, Any] | None = None  # JSON schema for native structured output
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | None = None

    def body(self) -> dict[str, Any]:
        """The request body of `POST /chat/completions`."""
        body: dict[str, Any] = {"model": self.model, "messages": self.messages, **self.parameters}
        if self.response_schema is not None:
            body["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": "answer", "schema": self.response_schema, "strict": False},
            }
        if self.tools:
            body["tools"] = self.tools
        if self.tool_choice is not None:
            body["tool_choice"] = self.tool_choice
        return body


@dataclass(frozen=True, slots=True)
class ChatAnswer:
    """A usable answer: `text` is never empty unless there are `tool_calls`. Tokens are as the endpoint counted them.

    `thinking_blocks` are what an endpoint wants to see again, as it gave it, when the model goes on after tool calls.
    `turns` are the messages between the request and this answer, where tools were used: see `engine/tools.py`.
    """

    text: str
    input_tokens: int = 0
    output_tokens: int = 0
    finish_reason: str | None = None
    reasoning: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    thinking_blocks: list[dict[str, Any]] | None = None
    turns: list[Message] | None = None

    def pack(self) -> bytes:
        """The answer as JSON."""
        return orjson.dumps(self)

    @classmethod
    def unpack(cls, data: bytes) -> Self:
        """What `pack` packed."""
        return cls(**orjson.loads(data))


@dataclass(frozen=True, slots=True)
class EmbeddingRequest:
    """Everything that decides the vectors. `body()` is what is sent, and what the journal's key is made of."""

    model: str
    texts: list[str]
    parameters: dict[str, Any] = field(default_factory=dict)  # encoding_format, dimensions, extra_body merged in

    def body(self) -> dict[str, Any]:
        """The request body of `POST /embeddings`."""
        return {"model": self.model, "input": self.texts, **self.parameters}


@dataclass(frozen=True, slots=True)
class EmbeddingAnswer:
    """One vector per text, in order; the numbers are those of 32-bit floats."""

    vectors: list[list[float]]
    input_tokens: int = 0
    output_tokens: int = 0

    def pack(self) -> bytes:
        """JSON with each vector as base64 of its 32-bit floats: a fifth of its size as text."""
        vectors = [base64.b64encode(np.asarray(vector, "<f4").tobytes()).decode() for vector in self.vectors]
        return orjson.dumps([vectors, self.input_tokens, self.output_tokens])

    @classmethod
    def unpack(cls, data: bytes) -> Self:
        """What `pack` packed."""
        vectors, *tokens = orjson.loads(data)
        return cls([np.frombuffer(base64.b64decode(vector), "<f4").tolist() for vector in vectors], *tokens)


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """Everything that decides an image; the client knows which route its endpoint makes images by.

    `parts` are the images and other media that the prompt goes with, as parts of a chat message.
    """

    model: str
    prompt: str
    parts: list[dict[str, Any]] = field(default_factory=list)
    parameters: dict[str, Any] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        """The request body of `POST /images/generations`, and what the journal's key is made of."""
        body = {"model": self.model, "prompt": self.prompt, **self.parameters}
        return {**body, "parts": self.parts} if self.parts else body


@dataclass(frozen=True, slots=True)
class ImageAnswer:
    """One image file, as bytes."""

    image: bytes
    input_tokens: int = 0
    output_tokens: int = 0

    def pack(self) -> bytes:
        """A line of JSON with the counts, then the file as it is."""
        return orjson.dumps([self.input_tokens, self.output_tokens]) + b"\n" + self.image

    @classmethod
    def unpack(cls, data: bytes) -> Self:
        """What `pack` packed."""
        tokens, _, image = data.partition(b"\n")
        return cls(image, *orjson.loads(tokens))


class Answer(Protocol):
    """What every answer has, whatever was asked for."""

    @property
    def input_tokens(self) -> int:
        """Tokens of the request."""
        ...

    @property
    def output_tokens(self) -> int:
        """Tokens of the answer."""
        ...

    def pack(self) -> bytes:
        """The answer as bytes, for the journal."""
        ...

    @classmethod
    def unpack(cls, data: bytes) -> Self:
        """What `pack` packed."""
        ...


class ChatClient(Protocol):
    """A model endpoint. Used on one event loop; `aclose` may be called twice."""

    @property
    def endpoint(self) -> str:
        """Base URL without credentials: with the model's name, the identity that limits are shared by."""
        ...

    async def chat(self, request: ChatRequest, *, timeout: float | None = None) -> ChatAnswer:
        """Make one call. `timeout` bounds the whole call in seconds.

        Raises:
            ModelError: classified. A 200 without usable content is `PERMANENT` with reason "unusable answer".
        """
        ...

    async def aclose(self) -> None:
        """Close connections. After cancellation of a `chat` no connection is left in use."""
        ...


@runtime_checkable
class EmbeddingClient(Protocol):
    """A client whose endpoint makes embeddings."""

    async def embed(self, request: EmbeddingRequest, *, timeout: float | None = None) -> EmbeddingAnswer:
        """Make one call.

        Raises:
            ModelError: classified as for `chat`. Another number of vectors than of texts is "unusable answer".
        """
        ...


@runtime_checkable
class ImageClient(Protocol):
    """A client whose endpoint makes images."""

    async def image(self, request: ImageRequest, *, timeout: float | None = None) -> ImageAnswer:
        """Make one call.

        Raises:
            ModelError: classified as for `chat`.
        """
        ...
