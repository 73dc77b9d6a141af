"""The client of OpenAI-compatible endpoints."""

from __future__ import annotations

import logging
import re
import time
from typing import Any, NoReturn

from pydantic import SecretStr

from prefect_datagen.engine.chat import (
    ChatAnswer,
    ChatRequest,
    EmbeddingAnswer,
    EmbeddingRequest,
    ImageAnswer,
    ImageRequest,
    Message,
)
from prefect_datagen.models.completion import Reply, list_of_models, read_answer
from prefect_datagen.models.embeddings import read_embeddings
from prefect_datagen.models.http_endpoint import HttpEndpoint
from prefect_datagen.models.images import image_chat_body, read_chat_image, read_image

_logger = logging.getLogger(__name__)

_NO_RESPONSE_FORMAT = re.compile("response_?format|json_?schema", re.IGNORECASE)
_CHAT, _EMBEDDINGS, _IMAGES = "chat/completions", "embeddings", "images/generations"
_MODELS = "models"


class OpenAIClient:
    """A client of chat, embeddings and images for one endpoint, on one event loop; see `HttpEndpoint`.

    Args:
        endpoint: base URL such as `http://127.0.0.1:8000/v1`; a query (`?api-version=...`) is kept in each call.
        api_key: sent as bearer token, and shown nowhere.
        extra_headers: added to each request; one of the same name replaces `Authorization`.
        extra_body: fields of each request's body; the request's own fields win.
        connect_timeout: seconds to open a connection.
        read_timeout: seconds without a byte.

    Raises:
        ConfigError: the endpoint is not an HTTP URL without credentials, or a header holds control characters.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        api_key: SecretStr | None = None,
        extra_headers: dict[str, str] | None = None,
        extra_body: dict[str, Any] | None = None,
        connect_timeout: float = 10.0,
        read_timeout: float = 120.0,
    ) -> None:
        self._http = HttpEndpoint(
            endpoint,
            key_headers={"Authorization": SecretStr(f"Bearer {api_key.get_secret_value()}")} if api_key else {},
            extra_headers=extra_headers,
            connect_timeout=connect_timeout,
            read_timeout=read_timeout,
        )
        self._extra_body = extra_body or {}
        self._without_response_format: set[str] = set()

    @property
    def endpoint(self) -> str:
        """Base URL without query: with the model's name, the identity that limits are shared by."""
        return self._http.name

    def __repr__(self) -> str:
        return f"OpenAIClient({self.endpoint!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an OpenAIClient cannot be pickled: it holds a key and open connections")

    async def chat(self, request: ChatRequest, *, timeout: float | None = None) -> ChatAnswer:
        """Make one call; `timeout` bounds it in seconds.

        An endpoint that refuses `response_format` is asked again without it, within the same time, and if that is
        answered it never sees one for this model again.

        Raises:
            ModelError: classified as `models/completion.py` says; timeouts and connection errors are retryable.
        """
        body = self.body(request.body())
        if request.tools:
            body["messages"] = _without_thinking(request.messages)
        formatted = "response_format" in body
        if formatted and request.model in self._without_response_format:
            del body["response_format"]
            formatted = False
        started = time.monotonic()
        reply = await self._http.post(_CHAT, body, timeout=timeout)
        if formatted and refuses_response_format(reply):
            del body["response_format"]
            left = None if timeout is None else max(0.001, timeout - (time.monotonic() - started))
            reply = await self._http.post(_CHAT, body, timeout=left)
            if reply.status == 200 and request.model not in self._without_response_format:
                # Only now: an error that quotes the request names response_format, too.
                _logger.warning("%s refuses response_format for model %r: left out", self.endpoint, request.model)
                self._without_response_format.add(request.model)
        return read_answer(reply, redact=self.redact)

    async def embed(self, request: EmbeddingRequest, *, timeout: float | None = None) -> EmbeddingAnswer:
        """Make one call; `timeout` bounds it in seconds. Vectors that come as base64 are decoded.

        Raises:
            ModelError: classified as for `chat`.
        """
        reply = await self._http.post(_EMBEDDINGS, self.body(request.body()), timeout=timeout)
        return read_embeddings(reply, texts=len(request.texts), redact=self.redact)

    async def image(self, request: ImageRequest, *, timeout: float | None = None) -> ImageAnswer:
        """Make one call; `timeout` bounds it in seconds. With media beside the prompt it is a chat model that paints.

        Raises:
            ModelError: classified as for `chat`.
        """
        if request.parts:
            body = self.body(image_chat_body(request))
            return read_chat_image(await self._http.post(_CHAT, body, timeout=timeout), redact=self.redact)
        reply = await self._http.post(_IMAGES, self.body(request.body()), timeout=timeout)
        return read_image(reply, redact=self.redact)

    async def list_models(self, *, timeout: float | None = None) -> frozenset[str]:
        """Names of the endpoint's models. Costs nothing; many endpoints do not have this route (404).

        Raises:
            ModelError: classified as for `chat`.
        """
        return list_of_models(await self._http.get(_MODELS, timeout=timeout), redact=self.redact)

    def body(self, request: dict[str, Any]) -> dict[str, Any]:
        """What is sent for a request's body: with the provider's `extra_body`."""
        return {**self._extra_body, **request}

    def redact(self, text: str) -> str:
        """The text without the key, and without headers and parts of the query that look secret."""
        return self._http.redact(text)

    async def request(
        self, method: str, path: str, data: bytes | None, *, query: dict[str, str] | None = None
    ) -> Reply:
        """Ask any other route below the base URL, such as `batches`; `data` is JSON.

        Raises:
            ModelError: no whole reply came; a reply of any status is returned.
        """
        return await self._http.request(method, path, data, query=query)

    async def upload(self, path: str, name: str, data: bytes, fields: dict[str, str]) -> Reply:
        """Send a file as `multipart/form-data`, in the field `file`, with other fields before it.

        Raises:
            ModelError: no whole reply came; a reply of any status is returned.
        """
        return await self._http.upload(path, name, data, fields)

    async def aclose(self) -> None:
        """Close all connections. May be called twice; a later call would open new ones."""
        await self._http.aclose()


def _without_thinking(messages: list[Message]) -> list[Message]:
    """Messages without what another endpoint of the same model wants to see again."""
    return [{name: value for name, value in each.items() if name != "thinking_blocks"} for each in messages]


def refuses_response_format(reply: Reply) -> bool:
    """Whether a reply says that the endpoint takes no `response_format`."""
    return reply.status in {400, 422} and _NO_RESPONSE_FORMAT.search(reply.data.decode(errors="replace")) is not None
