"""A conversation with a model until its answer can be used: correction rounds, a fresh start, then the row is lost.

A *correction round* shows the model its answer and what was wrong with it. A *restart* forgets the conversation. An
answer without usable content (the client's "unusable answer") leaves nothing to show, so it leads to a restart at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from prefect_datagen.engine.chat import ChatAnswer, ChatRequest, Message
from prefect_datagen.engine.errors import CellError, ErrorKind, InvalidAnswerError, ModelError
from prefect_datagen.engine.node import Models
from prefect_datagen.engine.tools import UNUSABLE, sendable

Value = TypeVar("Value")


@dataclass(frozen=True)
class Exchange(Generic[Value]):
    """A conversation that ended well.

    Attributes:
        value: what the answer was read as.
        answer: the last answer.
        messages: everything that was said in this conversation, the last answer included.
    """

    value: Value
    answer: ChatAnswer
    messages: Sequence[Message]


@dataclass(frozen=True)
class Patience:
    """How often a model may try again: fresh conversations, and correction rounds in each."""

    restarts: int = 0
    corrections: int = 0


async def converse(
    models: Models,
    alias: str,
    request: ChatRequest,
    *,
    read: Callable[[str], Value],
    patience: Patience,
    tools: str | None = None,
) -> Exchange[Value]:
    """Ask until `read` takes an answer. `tools` is the alias of tools that the model may use on the way.

    Raises:
        CellError: no answer could be used; reason "invalid answer", or "unusable answer" where there was no content.
            Carries the last answer.
        ModelError: as the client raised it, for anything but an unusable answer.
    """
    problem: InvalidAnswerError | ModelError | None = None
    last: str | None = None
    for _ in range(patience.restarts + 1):
        messages = list(request.messages)
        asked = request
        for _ in range(patience.corrections + 1):
            try:
                answer = await models.chat(alias, asked, tools=tools)
            except ModelError as error:
                if error.kind is not ErrorKind.PERMANENT or error.reason != UNUSABLE:
                    raise
                problem, last = error, error.answer or last
                break
            messages += [*(answer.turns or ()), _said(answer)]
            try:
                return Exchange(read(answer.text), answer, messages)
            except InvalidAnswerError as error:
                problem, last = error, answer.text
            messages.append({"role": "user", "content": _correction(problem, answer)})
            asked = replace(request, messages=sendable(messages))
    raise _lost(problem, last, patience) from problem


def _said(answer: ChatAnswer) -> Message:
    return {"role": "assistant", "content": answer.text}


def _correction(problem: InvalidAnswerError, answer: ChatAnswer) -> str:
    cut_off = " It was cut off at the limit of tokens; answer more briefly." if answer.finish_reason == "length" else ""
    return (
        f"That answer cannot be used: {problem.message}.{cut_off}\n"
        "Give the whole answer again, in the form that was asked for, and nothing else."
    )


def _lost(problem: InvalidAnswerError | ModelError | None, last: str | None, patience: Patience) -> CellError:
    tried = f"{patience.restarts + 1} conversation(s) of up to {patience.corrections + 1} answer(s)"
    reason = UNUSABLE if isinstance(problem, ModelError) else "invalid answer"
    return CellError(f"{problem} (after {tried})", reason=reason, answer=last)
