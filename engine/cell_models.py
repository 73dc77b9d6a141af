"""The models as one cell has them: a call goes through the same steps whoever makes it.

The journal is asked first (an answer that was paid for is never paid for again); then a slot is needed, given by the driver
before the cell started (the *reservation*) or waited for; then exactly one HTTP call; then limiter, circuit and usage learn
how it went; then an accepted answer goes to the journal, which is committed before any further call is sent.

A call that one of several endpoints could not answer for a reason of its own (`is_endpoints_own`) is handed to another at
once, within the same try of its cell. Answers are journaled under the first endpoint, whichever gave them.

Everything here runs on the engine's event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from prefect_datagen.engine.answer_journal import AskedKeys, journal_key
from prefect_datagen.engine.chat import (
    Answer,
    ChatAnswer,
    ChatClient,
    ChatRequest,
    EmbeddingAnswer,
    EmbeddingClient,
    EmbeddingRequest,
    ImageAnswer,
    ImageClient,
    ImageRequest,
)
from prefect_datagen.engine.errors import ErrorKind, ModelError
from prefect_datagen.engine.model_access import ModelAccess
from prefect_datagen.engine.model_ports import EndpointPort, EndpointSpec, ModelPort, is_endpoints_own
from prefect_datagen.engine.node import RowKey
from prefect_datagen.engine.tools import Toolbox, answer_with_tools
from prefect_datagen.engine.usage import UsageCounter

AnswerT = TypeVar("AnswerT", bound=Answer)
Request = TypeVar("Request", ChatRequest, EmbeddingRequest, ImageRequest)
Send = Callable[[ModelPort, EndpointSpec, Request], Awaitable[AnswerT]]
"""Makes one call of an alias at one of its endpoints."""


@dataclass
class CallRecord:
    """What the calls of one cell added up to, for its trace and its row group's usage."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0


class CellModels:
    """`Models` for one cell: see the module's docstring for the steps of a call."""

    def __init__(
        self,
        access: ModelAccess,
        *,
        column: str,
        row: RowKey,
        reserved: str | None,
        usage: dict[str, UsageCounter],
        attempt: int,
    ) -> None:
        self._access = access
        self._column = column
        self._row = row
        self._reserved = reserved
        self._usage = usage
        self._attempt = attempt
        self._asked = AskedKeys()
        self.record = CallRecord()
        self.cut_short = False

    async def chat(self, alias: str, request: ChatRequest, *, tools: str | None = None) -> ChatAnswer:
        """One call, or the answer that an earlier one paid for. With `tools`, a whole conversation that uses them."""
        port = self._access.port(alias)
        if tools is not None and self._access.toolboxes is not None:
            return await self._chat_with_tools(port, request, self._access.toolboxes[tools])
        return await self._ask(port, request, ChatAnswer, _send_chat)

    async def _chat_with_tools(self, port: ModelPort, request: ChatRequest, toolbox: Toolbox) -> ChatAnswer:
        """The final answer stands in the journal once, with the turns before it, under what the conversation began with:
        a resume runs no tool again. Answers that ask for tools stand there, too, each under its own request: after a kill
        in the middle, tools run again, and only what comes after one that gives another result is paid for again.
        """
        began = {**request.body(), "tools": toolbox.definitions, "max_turns": toolbox.max_turns}
        key = self._key(port, {"conversation": began})
        known = self._recall(key, self._counters(port))
        if known is not None:
            return ChatAnswer.unpack(known)

        async def ask(asked: ChatRequest) -> ChatAnswer:
            return await self._ask(port, asked, ChatAnswer, _send_chat, keep=lambda answer: bool(answer.tool_calls))

        try:
            answer = await answer_with_tools(ask, request, toolbox)
        except BaseException:
            self._asked.give_back(key)
            raise
        self._access.journal.put(key, answer.pack())
        return answer

    async def embed(self, alias: str, request: EmbeddingRequest) -> list[list[float]]:
        """The same for vectors."""
        answer = await self._ask(self._access.port(alias), request, EmbeddingAnswer, _send_embedding)
        return answer.vectors

    async def image(self, alias: str, request: ImageRequest) -> bytes:
        """The same for an image."""
        answer = await self._ask(self._access.port(alias), request, ImageAnswer, _send_image)
        return answer.image

    async def _ask(
        self,
        port: ModelPort,
        request: Request,
        kind: type[AnswerT],
        send: Send[Request, AnswerT],
        *,
        keep: Callable[[AnswerT], bool] = lambda answer: True,
    ) -> AnswerT:
        """The steps of a call, whatever is asked for: see the module's docstring. `keep` says what goes to the journal."""
        key = self._key(port, request.body())
        counters = self._counters(port)
        known = self._recall(key, counters)
        if known is not None:
            return kind.unpack(known)
        if port.batches is not None:
            send = _named(send, port.batches.named(key))
        try:
            answer = await self._send(port, request, send, counters)
        except BaseException:
            self._asked.give_back(key)
            raise
        finally:
            self._access.usage_changed = True
        if keep(answer):
            self._access.journal.put(key, answer.pack())
        if port.batches is not None:
            port.batches.settle(key)  # in the transaction that stores the answer
        return answer

    def _key(self, port: ModelPort, body: Mapping[str, Any]) -> bytes:
        """The key of an answer that is asked for now; to be given back where none comes."""
        first = port.endpoints[0].spec
        asked = f"{first.client.endpoint}\x1f{first.sent_along}"
        return self._asked.take(journal_key(asked, self._column, self._row, body))

    def _counters(self, port: ModelPort) -> tuple[UsageCounter, ...]:
        return port.usage, self._usage.setdefault(port.spec.alias, UsageCounter())

    def _recall(self, key: bytes, counters: tuple[UsageCounter, ...]) -> bytes | None:
        """An answer that was paid for already."""
        known = self._access.journal.get(key)
        if known is not None:
            for counter in counters:
                counter.replayed += 1
        return known

    async def _send(
        self, port: ModelPort, request: Request, send: Send[Request, AnswerT], counters: tuple[UsageCounter, ...]
    ) -> AnswerT:
        """One call, and where there are several endpoints one to each of the others if need be."""
        endpoint = await self._take_slot(port)
        for _ in range(len(port.endpoints) - 1):
            try:
                return await self._call(port, endpoint, request, send, counters)
            except ModelError as error:
                if not is_endpoints_own(error):
                    raise
            endpoint = await self._take_slot(port, avoid=endpoint)
        return await self._call(port, endpoint, request, send, counters)

    async def _take_slot(self, port: ModelPort, *, avoid: EndpointPort | None = None) -> EndpointPort:
        if self._reserved == port.spec.alias and not self._access.draining:
            self._reserved = None
            return port.granted.popleft()
        try:
            return await self._access.wait_for_slot(port, avoid=avoid)
        except asyncio.CancelledError:
            self.cut_short = True
            raise

    def raise_if_cut_short(self) -> None:
        """End the cell where the run ended before one of its calls was sent, whatever user code made of that.

        Raises:
            CancelledError: it did.
        """
        if self.cut_short:
            raise asyncio.CancelledError

    async def _call(
        self,
        port: ModelPort,
        endpoint: EndpointPort,
        request: Request,
        send: Send[Request, AnswerT],
        counters: tuple[UsageCounter, ...],
    ) -> AnswerT:
        self.record.calls += 1
        if port.is_shared_out:
            counters = (*counters, *[counter.endpoint(endpoint.spec.name) for counter in counters])
        for counter in counters:
            counter.calls += 1
            counter.retries += self._attempt > 0 and self.record.calls == 1
        try:
            answer = await send(port, endpoint.spec, request)
        except ModelError as error:
            port.failed(endpoint, self._access.clock(), error)
            for counter in counters:
                counter.errors += 1
                counter.throttled += error.kind is ErrorKind.THROTTLED
            raise
        except BaseException:
            port.interrupted(endpoint)
            self.cut_short |= port.batches is not None and self._access.draining
            raise
        tokens, cost = port.answered(endpoint, self._access.clock(), answer)
        for counter in counters:
            counter.answers += 1
            counter.input_tokens += answer.input_tokens
            counter.output_tokens += answer.output_tokens
            counter.cost += cost
        self.record.input_tokens += answer.input_tokens
        self.record.output_tokens += answer.output_tokens
        self._access.spent(tokens, cost)
        return answer

    def close(self) -> None:
        """Give back a reservation that no call used."""
        if self._reserved is not None:
            self._access.port(self._reserved).give_back()
            self._reserved = None


def _named(send: Send[Request, AnswerT], client: ChatClient) -> Send[Request, AnswerT]:
    """The same call by another client of the endpoint."""

    def send_by(port: ModelPort, endpoint: EndpointSpec, request: Request) -> Awaitable[AnswerT]:
        return send(port, replace(endpoint, client=client), request)

    return send_by


def _send_chat(port: ModelPort, endpoint: EndpointSpec, request: ChatRequest) -> Awaitable[ChatAnswer]:
    return endpoint.client.chat(_addressed(request, endpoint), timeout=port.spec.timeout)


def _send_embedding(port: ModelPort, endpoint: EndpointSpec, request: EmbeddingRequest) -> Awaitable[EmbeddingAnswer]:
    if not isinstance(endpoint.client, EmbeddingClient):
        raise _not_served(port, endpoint, "embeddings")
    return endpoint.client.embed(_addressed(request, endpoint), timeout=port.spec.timeout)


def _send_image(port: ModelPort, endpoint: EndpointSpec, request: ImageRequest) -> Awaitable[ImageAnswer]:
    if not isinstance(endpoint.client, ImageClient):
        raise _not_served(port, endpoint, "images")
    return endpoint.client.image(_addressed(request, endpoint), timeout=port.spec.timeout)


def _addressed(request: Request, endpoint: EndpointSpec) -> Request:
    """The request with the endpoint's own name for the model; columns know the first endpoint's."""
    return request if request.model == endpoint.model else replace(request, model=endpoint.model)


def _not_served(port: ModelPort, endpoint: EndpointSpec, what: str) -> ModelError:
    return ModelError(
        f"model alias {port.spec.alias!r}: {endpoint.client.endpoint} makes no {what} here",
        kind=ErrorKind.FATAL,
        reason="not served",
    )
