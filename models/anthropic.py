"""The client of Anthropic's messages API, which says the same as OpenAI's chat in other words.

What columns send is in the words of OpenAI's chat (`engine/chat.py`), and is put into Anthropic's here:

* System messages become `system`, media become blocks with a `source`, results of tools become blocks of a user's message.
* Structured output becomes a tool that the model has to call, whose input is the answer (`tool_choice`). Where that cannot
  be asked for (other tools are offered, the model thinks, the schema is not that of an object), the prompt alone says it.
* `max_tokens`, which the API wants, is `MAX_TOKENS` where the model's config does not say; beside what the model may spend
  on thinking.

What a model thought (`extra_body: {thinking: {type: enabled, budget_tokens: 2000}}`) is the answer's reasoning. The API
wants its blocks back, as they were, when the model goes on after tool calls: they travel in `thinking_blocks`.

Reference: https://docs.anthropic.com/en/api/messages, version 2023-06-01.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

import orjson
from pydantic import SecretStr

from prefect_datagen.engine.chat import ChatAnswer, ChatRequest, Message
from prefect_datagen.engine.errors import ErrorKind, ModelError
from prefect_datagen.models.answers import content_text
from prefect_datagen.models.completion import Reply, list_of_models, read_payload, token_counts, unusable
from prefect_datagen.models.http_endpoint import HttpEndpoint

MAX_TOKENS = 4096
"""Tokens of an answer where the model's config does not say."""

_MESSAGES, _MODELS = "messages", "models"
_VERSION = "2023-06-01"
_ANSWER = "answer"
_DATA_URI = re.compile(r"data:(?P<media_type>[^;,]+);base64,(?P<data>.*)", re.DOTALL)
_FINISH_REASONS = {"end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length", "tool_use": "tool_calls"}


class AnthropicClient:
    """A client of one endpoint of the messages API, on one event loop; see `HttpEndpoint`.

    Args:
        endpoint: base URL: `https://api.anthropic.com` or `.../v1`.
        api_key: sent as `x-api-key`, and shown nowhere.
        extra_headers: added to each request, such as `anthropic-beta`.
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
        address = endpoint.rstrip("/")
        self._http = HttpEndpoint(
            f"{address}/v1" if address.count("/") == 2 else address,
            key_headers={} if api_key is None else {"x-api-key": api_key},
            headers={"anthropic-version": _VERSION},
            extra_headers=extra_headers,
            connect_timeout=connect_timeout,
            read_timeout=read_timeout,
        )
        self._extra_body = extra_body or {}

    @property
    def endpoint(self) -> str:
        """Base URL without query: with the model's name, the identity that limits are shared by."""
        return self._http.name

    def __repr__(self) -> str:
        return f"AnthropicClient({self.endpoint!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an AnthropicClient cannot be pickled: it holds a key and open connections")

    async def chat(self, request: ChatRequest, *, timeout: float | None = None) -> ChatAnswer:
        """Make one call; `timeout` bounds it in seconds.

        Raises:
            ModelError: classified as `models/completion.py` says; a message that the API cannot take is permanent.
        """
        body = message_body(request, extra_body=self._extra_body, endpoint=self.endpoint)
        return read_message(await self._http.post(_MESSAGES, body, timeout=timeout), http=self._http)

    async def list_models(self, *, timeout: float | None = None) -> frozenset[str]:
        """Names of the endpoint's models. Costs nothing.

        Raises:
            ModelError: classified as for `chat`.
        """
        reply = await self._http.get(_MODELS, timeout=timeout)
        return list_of_models(reply, redact=self._http.redact)

    async def aclose(self) -> None:
        """Close all connections. May be called twice; a later call would open new ones."""
        await self._http.aclose()


def message_body(request: ChatRequest, *, extra_body: Mapping[str, Any], endpoint: str) -> dict[str, Any]:
    """The body of `POST /messages`.

    Raises:
        ModelError: a message holds audio or video, which the API does not take.
    """
    system = "\n\n".join(content_text(each["content"]) for each in request.messages if each["role"] == "system")
    body: dict[str, Any] = {**extra_body, "model": request.model, **request.parameters}
    body["messages"] = _messages(request.messages, endpoint)
    if system:
        body["system"] = system
    thinking = body.get("thinking")
    budget = thinking.get("budget_tokens") if isinstance(thinking, dict) else None
    body.setdefault("max_tokens", MAX_TOKENS + (budget if isinstance(budget, int) else 0))
    if request.tools:
        body["tools"] = [_tool(each["function"]) for each in request.tools]
        if request.tool_choice is not None:
            body["tool_choice"] = {"type": request.tool_choice}
    elif request.response_schema is not None and budget is None and request.response_schema.get("type") == "object":
        answer = {"name": _ANSWER, "description": "Takes the answer.", "input_schema": request.response_schema}
        body["tools"] = [answer]
        body["tool_choice"] = {"type": "tool", "name": _ANSWER}
    return body


def read_message(reply: Reply, *, http: HttpEndpoint) -> ChatAnswer:
    """The usable answer in a reply.

    Raises:
        ModelError: there is none; classified as `models/completion.py` says.
    """
    payload = read_payload(reply, "content", redact=http.redact)
    blocks = [block for block in payload["content"] if isinstance(block, dict)]
    texts, thoughts, thinking, calls = [], [], [], []
    for block in blocks:
        kind = block.get("type")
        if kind == "text":
            texts.append(str(block.get("text", "")))
        elif kind == "thinking":
            thoughts.append(str(block.get("thinking", "")))
        elif kind == "tool_use" and block.get("name") == _ANSWER and _is_answer(block):
            texts.append(orjson.dumps(block["input"]).decode())
        elif kind == "tool_use":
            arguments = orjson.dumps(block.get("input") or {}).decode()
            function = {"name": block.get("name"), "arguments": arguments}
            calls.append({"id": block.get("id"), "type": "function", "function": function})
        if kind in ("thinking", "redacted_thinking"):
            thinking.append(block)
    text, stopped = "".join(texts), payload.get("stop_reason")
    if stopped == "refusal" or (not calls and not text.strip()):
        why = "the model refused" if stopped == "refusal" else "the message is empty"
        raise unusable(reply, f"{why} (stop_reason {stopped!r})", redact=http.redact)
    input_tokens, output_tokens = token_counts(payload)
    return ChatAnswer(
        text=text,
        input_tokens=input_tokens + _cached_tokens(payload),
        output_tokens=output_tokens,
        finish_reason=_FINISH_REASONS.get(str(stopped), stopped if isinstance(stopped, str) else None),
        reasoning="\n".join(thoughts) or None,
        tool_calls=calls or None,
        thinking_blocks=(thinking or None) if calls else None,
    )


def _is_answer(block: dict[str, Any]) -> bool:
    return isinstance(block.get("input"), dict)


def _cached_tokens(payload: Mapping[str, Any]) -> int:
    """Input tokens that went to or came from the prompt cache: the API counts them beside `input_tokens`."""
    usage = payload.get("usage")
    counts = usage if isinstance(usage, dict) else {}
    names = ("cache_creation_input_tokens", "cache_read_input_tokens")
    return sum(counts[name] for name in names if isinstance(counts.get(name), int))


def _tool(function: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": function["name"],
        "description": function.get("description", ""),
        "input_schema": function.get("parameters") or {"type": "object"},
    }


def _messages(messages: list[Message], endpoint: str) -> list[Message]:
    """The conversation without system messages; messages of one side that follow each other are one."""
    turns: list[Message] = []
    for message in messages:
        if message["role"] == "system":
            continue
        role = "assistant" if message["role"] == "assistant" else "user"
        blocks = list(_blocks(message, endpoint))
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        else:
            turns.append({"role": role, "content": blocks})
    return turns


def _blocks(message: Message, endpoint: str) -> Iterator[dict[str, Any]]:
    content = message.get("content")
    if message["role"] == "tool":
        result = {"type": "tool_result", "tool_use_id": message["tool_call_id"], "content": content}
        yield {**result, "is_error": True} if str(content).startswith("Error: ") else result
        return
    yield from message.get("thinking_blocks") or ()
    if isinstance(content, str):
        if content:
            yield {"type": "text", "text": content}
    else:
        yield from (_part(part, endpoint) for part in content or ())
    for call in message.get("tool_calls") or ():
        function = call["function"]
        given = orjson.loads(function["arguments"] or "{}")
        yield {"type": "tool_use", "id": call["id"], "name": function["name"], "input": given}


def _part(part: Mapping[str, Any], endpoint: str) -> dict[str, Any]:
    if part["type"] == "text":
        return {"type": "text", "text": part["text"]}
    if part["type"] != "image_url":
        raise ModelError(
            f"{endpoint} takes text and images, no {part['type'].removesuffix('_url').removeprefix('input_')}",
            kind=ErrorKind.PERMANENT,
            reason="unsendable request",
            endpoint=endpoint,
        )
    url = part["image_url"]["url"]
    data = _DATA_URI.fullmatch(url)
    source = {"type": "url", "url": url} if data is None else {"type": "base64", **data.groupdict()}
    return {"type": "image", "source": source}
