"""A look at every endpoint before the first row: is the key taken, is the model there?

It asks `GET /models`, which costs nothing, once per endpoint, all endpoints side by side. What no waiting mends (a key that
is refused, a certificate that is not valid) is a reason not to start. All else is a doubt, to be told: an endpoint that is
down may be up in a moment, and the run has its own patience for that; many serve models that they do not list.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Protocol, runtime_checkable

from prefect_datagen.engine.chat import ChatClient
from prefect_datagen.engine.errors import ModelError
from prefect_datagen.models.completion import UNUSABLE

TIMEOUT = 10.0
"""Seconds for each endpoint."""

_LISTED = 5


@runtime_checkable
class ListsModels(Protocol):
    """A client that can ask its endpoint what models it has."""

    async def list_models(self, *, timeout: float | None = None) -> frozenset[str]:
        """Names of the models.

        Raises:
            ModelError: classified as for `chat`.
        """
        ...


@dataclass(frozen=True)
class Checked:
    """A model to be looked at. `key` says in words where its key is from: `key in env OPENAI_API_KEY`."""

    alias: str
    model: str
    client: ChatClient
    key: str


@dataclass
class Findings:
    """One line per model: `refused` are reasons not to start, `doubts` are not."""

    refused: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)


async def look_at(models: Sequence[Checked]) -> Findings:
    """Ask all endpoints; clients that cannot list models are not asked."""
    clients = list({id(each.client): each.client for each in models if isinstance(each.client, ListsModels)}.values())
    answers = await asyncio.gather(*(_models_of(client) for client in clients))
    known = {id(client): answer for client, answer in zip(clients, answers, strict=True)}
    findings = Findings()
    for model in models:
        _judge(model, known.get(id(model.client)), findings)
    return findings


async def _models_of(client: ListsModels) -> frozenset[str] | ModelError:
    try:
        return await client.list_models(timeout=TIMEOUT)
    except ModelError as error:
        return error


def _judge(model: Checked, answer: frozenset[str] | ModelError | None, findings: Findings) -> None:
    name = f"model {model.alias!r}"
    if isinstance(answer, ModelError):
        if answer.status == 401:
            findings.refused.append(f"{name}: 401 from {answer.endpoint}: {model.key} refused")
        elif answer.reason == "tls":
            findings.refused.append(f"{name}: {answer}")
        elif answer.status != 404 and answer.reason != UNUSABLE:  # those have no such route
            findings.doubts.append(f"{name}: {answer}")
    elif answer is not None and model.model not in answer:
        close = get_close_matches(model.model, answer, n=1)
        some = ", ".join(sorted(answer)[:_LISTED]) + (", ..." if len(answer) > _LISTED else "")
        hint = f"did you mean {close[0]!r}?" if close else f"it lists {some}"
        findings.doubts.append(f"{name}: {model.client.endpoint} does not list {model.model!r}; {hint}")
