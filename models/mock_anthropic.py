"""Anthropic's messages API in front of the mock model: requests in OpenAI's words, answers and errors in Anthropic's.

It refuses what the real one refuses and a client might get wrong: no `max_tokens`, no `anthropic-version`, system messages
among the others, results that belong to no tool call, thinking that is not given back after a tool call.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from prefect_datagen.models.prose import LABEL

_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    529: "overloaded_error",
}
_STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}


def chat_body(body: Mapping[str, Any]) -> dict[str, Any]:
    """The request as OpenAI's chat says it.

    Raises:
        ValueError: what is wrong with it.
    """
    if not isinstance(body.get("max_tokens"), int):
        raise ValueError("max_tokens: Field required")
    turns = body.get("messages")
    if not isinstance(turns, list) or not turns:
        raise ValueError("messages: at least one message is required")
    messages: list[dict[str, Any]] = []
    if body.get("system"):
        messages.append({"role": "system", "content": body["system"]})
    for at, turn in enumerate(turns):
        if turn.get("role") not in ("user", "assistant"):
            raise ValueError(f"messages.{at}.role: Input should be 'user' or 'assistant'")
        if at and turn["role"] == turns[at - 1]["role"]:
            raise ValueError(f"messages.{at}: two messages of {turn['role']!r} follow each other")
        messages += _messages(turn, at, thinks=_thinks(body))
    chat: dict[str, Any] = {"model": body.get("model"), "messages": messages, "max_tokens": body["max_tokens"]}
    choice = body.get("tool_choice") or {}
    if choice.get("type") == "tool":
        (tool,) = [tool for tool in body["tools"] if tool["name"] == choice["name"]]
        chat["response_format"] = {"type": "json_schema", "json_schema": {"schema": tool["input_schema"]}}
    elif body.get("tools"):
        chat["tools"] = [
            {"function": {"name": tool["name"], "parameters": tool["input_schema"]}} for tool in body["tools"]
        ]
        chat["tool_choice"] = choice.get("type", "auto")
    return chat


def message(body: Mapping[str, Any], completion: Mapping[str, Any]) -> dict[str, Any]:
    """A completion as the answer to the request `body` of `POST /v1/messages`."""
    (choice,) = completion["choices"]
    content: list[dict[str, Any]] = []
    if _thinks(body):
        content.append({"type": "thinking", "thinking": f"{LABEL} Thinking first.", "signature": _SIGNATURE})
    forced = (body.get("tool_choice") or {}).get("name")
    text = choice["message"]["content"]
    stop_reason = _STOP_REASONS[choice["finish_reason"]]
    if forced is not None:
        content.append({"type": "tool_use", "id": "toolu_answer", "name": forced, "input": _input(text)})
        stop_reason = "tool_use"
    elif text:
        content.append({"type": "text", "text": text})
    for call in choice["message"].get("tool_calls") or ():
        function = call["function"]
        given = orjson.loads(function["arguments"])
        content.append({"type": "tool_use", "id": call["id"], "name": function["name"], "input": given})
    usage = completion["usage"]
    return {
        "id": "msg_mock",
        "type": "message",
        "role": "assistant",
        "model": body.get("model"),
        "content": content,
        "stop_reason": stop_reason,
        "usage": {"input_tokens": usage["prompt_tokens"], "output_tokens": usage["completion_tokens"]},
    }


def error_body(status: int, said: str) -> bytes:
    """An error as Anthropic's API gives it."""
    kind = _ERROR_TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")
    return orjson.dumps({"type": "error", "error": {"type": kind, "message": said}})


_SIGNATURE = "signed by the mock model"


def _thinks(body: Mapping[str, Any]) -> bool:
    return bool((body.get("thinking") or {}).get("type") == "enabled")


def _input(text: str) -> Any:
    """The answer's JSON; text that is none, which the real API would not send, becomes an input that fits nothing."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return {"unfit": text}


def _messages(turn: Mapping[str, Any], at: int, *, thinks: bool) -> list[dict[str, Any]]:
    blocks = turn["content"]
    if isinstance(blocks, str):
        return [{"role": turn["role"], "content": blocks}]
    results = [
        {"role": "tool", "tool_call_id": block["tool_use_id"], "content": block["content"]}
        for block in blocks
        if block["type"] == "tool_result"
    ]
    texts = [block for block in blocks if block["type"] in ("text", "image")]
    calls = [
        {"id": block["id"], "function": {"name": block["name"], "arguments": orjson.dumps(block["input"]).decode()}}
        for block in blocks
        if block["type"] == "tool_use"
    ]
    if calls and thinks and blocks[0].get("signature") != _SIGNATURE:
        raise ValueError(f"messages.{at}.content.0: Expected `thinking`, as it was given, before `tool_use`")
    said = (
        [{"role": turn["role"], "content": texts, **({"tool_calls": calls} if calls else {})}] if texts or calls else []
    )
    return results + said
