"""A model that may use tools: it asks for calls, gets their results, and goes on until it answers in words.

A *turn* is one answer that asks for tools, together with the results of all the calls in it, which run side by side. What
goes wrong with a tool (an error of its own, no answer in time, arguments that are no JSON, a name that is not offered) is
a result like any other: the model sees it and may do better. After `max_turns` turns the model is asked with
`tool_choice: none`, so that it must answer with what it has; one that asks for tools all the same gave no usable answer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol

from prefect_datagen.engine.chat import ChatAnswer, ChatRequest, Message
from prefect_datagen.engine.errors import ErrorKind, ModelError

UNUSABLE = "unusable answer"
_REASONING = "reasoning_content"


class Toolbox(Protocol):
    """The tools that a column's model may use."""

    @property
    def definitions(self) -> list[dict[str, Any]]:
        """The tools as OpenAI-compatible endpoints take them; none where nothing is to be offered."""
        ...

    @property
    def max_turns(self) -> int:
        """Most turns of one conversation."""
        ...

    async def call(self, name: str, arguments: str) -> str:
        """What a call gives, as text for the model, errors of the tool included. `arguments` is a JSON object as text.

        Raises:
            ModelError: retryable; the tool's server cannot be reached, which is nothing that a model could mend.
        """
        ...


async def answer_with_tools(
    ask: Callable[[ChatRequest], Awaitable[ChatAnswer]], request: ChatRequest, toolbox: Toolbox
) -> ChatAnswer:
    """Ask until the model answers in words. The answer's `turns` hold what was said on the way.

    Raises:
        ModelError: as `ask` or the toolbox raise it; "unusable answer" where the model asks for tools to the end.
    """
    if not toolbox.definitions:
        return await ask(request)
    turns: list[Message] = []
    for turn in range(toolbox.max_turns + 1):
        is_last = turn == toolbox.max_turns
        answer = await ask(
            replace(
                request,
                messages=[*request.messages, *sendable(turns)],
                tools=toolbox.definitions,
                tool_choice="none" if is_last else None,
            )
        )
        if not answer.tool_calls:
            return replace(answer, turns=turns or None)
        if not is_last:
            turns += [_asking(answer), *await _results(answer.tool_calls, toolbox)]
    raise ModelError(
        f"the model asked for tools again after max_tool_call_turns={toolbox.max_turns}, and was told not to",
        kind=ErrorKind.PERMANENT,
        reason=UNUSABLE,
    )


def sendable(messages: Sequence[Message]) -> list[Message]:
    """Messages without what is kept of them for the trace alone: most endpoints refuse their own reasoning."""
    return [
        {name: value for name, value in message.items() if name != _REASONING} if _REASONING in message else message
        for message in messages
    ]


def _asking(answer: ChatAnswer) -> Message:
    message: Message = {"role": "assistant", "content": answer.text or None, "tool_calls": answer.tool_calls}
    if answer.thinking_blocks:
        message["thinking_blocks"] = answer.thinking_blocks
    if answer.reasoning:
        message[_REASONING] = answer.reasoning
    return message


async def _results(calls: Sequence[dict[str, Any]], toolbox: Toolbox) -> list[Message]:
    """One message for each call, in order. All calls have ended when this returns or raises."""
    import asyncio  # with its network code, which the check of a config does not need

    results = await asyncio.gather(*(_result(call, toolbox) for call in calls), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [
        {"role": "tool", "tool_call_id": call.get("id"), "content": result}
        for call, result in zip(calls, results, strict=True)
    ]


async def _result(call: dict[str, Any], toolbox: Toolbox) -> str:
    function = call.get("function")
    asked = function if isinstance(function, dict) else {}
    return await toolbox.call(str(asked.get("name")), asked.get("arguments") or "{}")
