"""The conversation with a model: what is sent, what comes back, and what every client must do.

A client makes one HTTP call (or computes one answer) per `chat`, never retries, and classifies every failure once by
raising `ModelError` with its kind. (The one exception: where an endpoint refuses `response_format`, the client asks again
without it, once, and remembers.) Limits, retries, the journal and the accounting stand above it and see only
these types. Nothing here knows rows or columns.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

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
        return body


@dataclass(frozen=True, slots=True)
class ChatAnswer:
    """A usable answer: `text` is never empty unless there are `tool_calls`. Tokens are as the endpoint counted them."""

    text: str
    input_tokens: int = 0
    output_tokens: int = 0
    finish_reason: str | None = None
    reasoning: str | None = None
    tool_calls: list[dict[str, Any]] | None = None


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
