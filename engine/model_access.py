"""Model access for cells: one port per alias, with its limits, circuit, budgets, journal and accounting.

A call goes through the same steps whoever makes it: the journal is asked first (an answer that was paid for is never
paid for again); then a slot is needed, given by the driver before the cell started (the *reservation*) or waited for;
then exactly one HTTP call; then limiter, circuit and usage learn how it went; then an accepted answer goes to the journal,
which is committed before any further call is sent.

An alias may stand for several endpoints that serve the same model. Limiter and circuit belong to an endpoint's model, so
a slot is a slot of one of them: the free ones take turns by weight (smooth weighted round robin, as nginx does it), and
an endpoint that is full, paused or broken takes no turn, so that its share goes to the others. A call that one endpoint
could not answer for a reason of its own (`_is_endpoints_own`) is handed to another at once, within the same try of its
cell. Answers are journaled under the first endpoint, whichever gave them. The run is ended by circuits only where those
of all endpoints of an alias have expired.

Everything here runs on the engine's event loop.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, Self, TypeVar

import orjson

from prefect_datagen.engine.batches import BatchClient
from prefect_datagen.engine.chat import (
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
from prefect_datagen.engine.errors import EarlyShutdownError, ErrorKind, ModelError
from prefect_datagen.engine.health import Circuit, ShutdownRule
from prefect_datagen.engine.limits import RateBudget, SharedLimiter
from prefect_datagen.engine.node import RowKey
from prefect_datagen.engine.outcomes import ModelUsage
from prefect_datagen.engine.shares import Share
from prefect_datagen.engine.tools import Toolbox, answer_with_tools


class AnswerJournal(Protocol):
    """Accepted answers by key, and what they cost. Used on one thread; what is put lasts from the next `commit`."""

    def get(self, key: bytes) -> bytes | None:
        """The answer, or None."""
        ...

    def put(self, key: bytes, answer: bytes) -> None:
        """Remember an answer."""
        ...

    def put_usage(self, usage: bytes) -> None:
        """Remember what the run spent so far, in the place of what was put before."""
        ...

    def commit(self) -> None:
        """Make everything put so far outlive a kill of this process. Cheap where nothing was put."""
        ...

    def rest(self) -> None:
        """Nothing will be put for a while: do what is put off while answers come. Cheap where nothing is."""
        ...


class _Answer(Protocol):
    """What comes back; see `ChatAnswer`."""

    @property
    def input_tokens(self) -> int: ...

    @property
    def output_tokens(self) -> int: ...

    def pack(self) -> bytes: ...

    @classmethod
    def unpack(cls, data: bytes) -> Self: ...


Answer = TypeVar("Answer", bound=_Answer)
Request = TypeVar("Request", ChatRequest, EmbeddingRequest, ImageRequest)
Send = Callable[["ModelPort", "EndpointSpec", Request], Awaitable[Answer]]
"""Makes one call of an alias at one of its endpoints."""


class NoJournal:
    """The journal of `--no-journal`: remembers nothing."""

    def get(self, key: bytes) -> bytes | None:
        """Never there."""
        return None

    def put(self, key: bytes, answer: bytes) -> None:
        """Forgotten at once."""

    def put_usage(self, usage: bytes) -> None:
        """Forgotten at once."""

    def commit(self) -> None:
        """Nothing to commit."""

    def rest(self) -> None:
        """Nothing was put off."""


_PREFIX, _DIGEST = 4, 12
"""Bytes of a journal key: the row's number, and a hash."""


def journal_key(endpoint: str, column: str, row: RowKey, body: Mapping[str, Any]) -> bytes:
    """What identifies the first answer to a request: the cell, and everything that is sent. 16 bytes.

    It begins with the row's number, so that keys of rows that are made together stand together in the journal's index.
    """
    digest = hashlib.blake2b(digest_size=_DIGEST)
    digest.update(f"{endpoint}\x1f{column}\x1f{row.index}\x1f{row.copy}\x1f".encode())
    digest.update(orjson.dumps(body, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS, default=str))
    return (row.index & 0xFFFFFFFF).to_bytes(_PREFIX, "big") + digest.digest()


class _Asked:
    """Journal keys of one cell's calls. A request that is answered again, as after a restart, gets a key of its own.

    A call that failed gives its key back, since nothing was paid for: the next try takes it, now or after a resume.
    """

    __slots__ = ("_taken",)

    def __init__(self) -> None:
        self._taken: set[bytes] = set()

    def take(self, first: bytes) -> bytes:
        """The key of the next call of a request whose first answer has the key `first`."""
        key, times = first, 0
        while key in self._taken:
            times += 1
            again = hashlib.blake2b(first + times.to_bytes(4, "big"), digest_size=_DIGEST)
            key = first[:_PREFIX] + again.digest()
        self._taken.add(key)
        return key

    def give_back(self, key: bytes) -> None:
        """The call had no answer."""
        self._taken.discard(key)


@dataclass(frozen=True)
class EndpointSpec:
    """One endpoint that serves an alias. `model` is the endpoint's name for the model; prices are per million tokens.

    `name` is what users call it, `weight` its share of the calls beside the other endpoints of the alias. `sent_along` is
    what the client adds to every request's body, as text: it decides answers, and so journal keys.
    """

    model: str
    client: ChatClient
    name: str = ""
    weight: float = 1.0
    sent_along: str = ""
    input_price: float = 0.0
    output_price: float = 0.0

    @property
    def identity(self) -> tuple[str, str]:
        """What limits and circuits are shared by."""
        return self.client.endpoint, self.model


@dataclass(frozen=True)
class ModelSpec:
    """What an alias stands for: its endpoints, the first of which names its answers in the journal.

    `max_parallel_requests` holds for all of them together; `timeout` is in seconds, `rpm` and `tpm` are budgets per minute
    of this run in this process; `share` is its part of what all processes may do together.
    """

    alias: str
    endpoints: tuple[EndpointSpec, ...]
    max_parallel_requests: int
    timeout: float | None = None
    rpm: float | None = None
    tpm: float | None = None
    share: Share | None = None


@dataclass(slots=True)
class UsageCounter:
    """A `ModelUsage` that counts."""

    calls: int = 0
    answers: int = 0
    retries: int = 0
    throttled: int = 0
    errors: int = 0
    replayed: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0
    endpoints: dict[str, UsageCounter] = field(default_factory=dict)

    def endpoint(self, name: str) -> UsageCounter:
        """The counter of one of several endpoints."""
        counter = self.endpoints.get(name)
        if counter is None:
            counter = self.endpoints[name] = UsageCounter()
        return counter

    def freeze(self) -> ModelUsage:
        """The record."""
        return ModelUsage(
            calls=self.calls,
            answers=self.answers,
            retries=self.retries,
            throttled=self.throttled,
            errors=self.errors,
            replayed=self.replayed,
            input_tokens=self.input_tokens,
            output_tokens=self.output_tokens,
            cost=round(self.cost, 9),
            endpoints={name: counter.freeze() for name, counter in self.endpoints.items()},
        )


@dataclass
class RunBudget:
    """Budgets of the whole run, counted over all aliases. Reaching one ends the run, resumable."""

    max_total_tokens: int | None = None
    max_cost: float | None = None
    tokens: int = field(init=False, default=0)
    cost: float = field(init=False, default=0.0)

    def spend(self, tokens: int, cost: float) -> None:
        """Note what an answer cost."""
        self.tokens += tokens
        self.cost += cost

    def exceeded(self) -> str | None:
        """Which budget is used up, in words, or None."""
        if self.max_total_tokens is not None and self.tokens >= self.max_total_tokens:
            return f"max_total_tokens={self.max_total_tokens:,} reached ({self.tokens:,} tokens)"
        if self.max_cost is not None and self.cost >= self.max_cost:
            return f"max_cost={self.max_cost:g} reached ({self.cost:.4f})"
        return None


class EndpointPort:
    """An endpoint at work for an alias. `credit` is its standing in the turns that the endpoints take."""

    __slots__ = ("circuit", "credit", "limiter", "spec")

    def __init__(self, spec: EndpointSpec, *, limiter: SharedLimiter, circuit: Circuit) -> None:
        self.spec = spec
        self.limiter = limiter
        self.circuit = circuit
        self.credit = 0.0

    def has_slot(self, now: float) -> bool:
        """Whether one more call may be sent to it."""
        return self.limiter.has_slot(now) and self.circuit.allows(now, self.limiter.in_flight)

    def wait(self, now: float) -> float:
        """Seconds until time alone may give a slot; 0 or less where time does not hold it back."""
        probe = self.circuit.next_probe() - now if not self.circuit.allows(now, 0) else 0.0
        return max(self.limiter.paused_until() - now, probe)


class ModelPort:
    """An alias at work in one run. `in_flight` counts its reservations and calls, at all of its endpoints.

    `granted` are reserved slots whose calls are not sent yet; they are alike, and any call of the alias may take any.
    """

    def __init__(self, spec: ModelSpec, endpoints: tuple[EndpointPort, ...], *, rule: ShutdownRule) -> None:
        self.spec = spec
        self.endpoints = endpoints
        self.rule = rule
        self.in_flight = 0
        self.usage = UsageCounter()
        self.granted: deque[EndpointPort] = deque()
        self.waiters: deque[Waiter] = deque()
        client = endpoints[0].spec.client
        self.batches = client if isinstance(client, BatchClient) else None
        self._requests = RateBudget(spec.rpm)
        self._tokens = RateBudget(spec.tpm)

    @property
    def is_shared_out(self) -> bool:
        """Whether there are several endpoints."""
        return len(self.endpoints) > 1

    def named_endpoints(self) -> list[tuple[str, EndpointPort]]:
        """The endpoints as people know them: by the alias, and where there are several by their own name, too."""
        alias = self.spec.alias
        return [(f"{alias}@{each.spec.name}" if self.is_shared_out else alias, each) for each in self.endpoints]

    def has_slot(self, now: float) -> bool:
        """Whether one more call of this alias may be sent."""
        if (
            self.in_flight >= self.spec.max_parallel_requests
            or self._requests.wait(now) > 0
            or self._tokens.wait(now) > 0
            or (self.spec.share is not None and not self.spec.share.has_slot(now))
        ):
            return False
        return any(endpoint.has_slot(now) for endpoint in self.endpoints)

    def unserved(self, now: float) -> None:
        """A call of this alias waits for a slot."""
        if self.spec.share is not None:
            self.spec.share.unserved(now)

    def wait(self, now: float) -> float | None:
        """Seconds until time alone may give a slot; None where only a call that comes back can."""
        longest = max(min([endpoint.wait(now) for endpoint in self.endpoints]), self.budget_wait(now))
        return longest if longest > 0 else None

    def budget_wait(self, now: float) -> float:
        """Seconds until the budgets per minute, its own and those that it shares, allow a call; 0 where they do."""
        shared = 0.0 if self.spec.share is None else self.spec.share.wait(now)
        return max(self._requests.wait(now), self._tokens.wait(now), shared)

    def reserve(self, now: float, *, avoid: EndpointPort | None = None) -> EndpointPort:
        """Take a slot, only where `has_slot`: at the endpoint whose turn it is, another than `avoid` if one is free."""
        self.in_flight += 1
        self._requests.spend(now, 1)
        if self.spec.share is not None:
            self.spec.share.started(now)
        endpoint = self._next_in_turn(now, avoid) if self.is_shared_out else self.endpoints[0]
        endpoint.limiter.started()
        return endpoint

    def _next_in_turn(self, now: float, avoid: EndpointPort | None) -> EndpointPort:
        free = [endpoint for endpoint in self.endpoints if endpoint.has_slot(now)]
        free = [endpoint for endpoint in free if endpoint is not avoid] or free
        for endpoint in free:
            endpoint.credit += endpoint.spec.weight
        chosen = max(free, key=lambda endpoint: endpoint.credit)
        chosen.credit -= sum(endpoint.spec.weight for endpoint in free)
        return chosen

    def give_back(self, endpoint: EndpointPort | None = None) -> None:
        """A reservation was not used: this one, or one of those that are granted."""
        self._ended()
        (endpoint or self.granted.popleft()).limiter.abandoned()

    def answered(self, endpoint: EndpointPort, now: float, answer: _Answer) -> tuple[int, float]:
        """A call came back with an answer. Returns its tokens and cost."""
        self._ended()
        endpoint.limiter.answered(now)
        endpoint.circuit.succeeded()
        tokens = answer.input_tokens + answer.output_tokens
        self._tokens.spend(now, tokens)
        if self.spec.share is not None:
            self.spec.share.spent(now, tokens)
        spec = endpoint.spec
        return tokens, (answer.input_tokens * spec.input_price + answer.output_tokens * spec.output_price) / 1e6

    def failed(self, endpoint: EndpointPort, now: float, error: ModelError) -> None:
        """A call failed."""
        self._ended()
        pushed_back = error.kind is ErrorKind.THROTTLED
        if pushed_back:
            endpoint.limiter.pushed_back(now, error.retry_after)
        else:
            endpoint.limiter.answered(now)
        retryable = error.kind is ErrorKind.RETRYABLE or pushed_back
        if retryable or (self.is_shared_out and _is_endpoints_own(error)):
            cause = f"{error.reason} from {endpoint.spec.client.endpoint}"
            endpoint.circuit.failed(now, cause, pushed_back=pushed_back)
        else:
            endpoint.circuit.succeeded()  # the endpoint is alive; what it says is another matter

    def interrupted(self, endpoint: EndpointPort) -> None:
        """A call was cancelled."""
        self._ended()
        endpoint.limiter.abandoned()

    def _ended(self) -> None:
        self.in_flight -= 1
        if self.spec.share is not None:
            self.spec.share.ended()


class Waiter(asyncio.Future[EndpointPort]):
    """A call that waits for a slot, at another endpoint than `avoid` if it can be; its result is the slot's endpoint."""

    avoid: EndpointPort | None = None


_ENDPOINTS_OWN = frozenset({401, 402, 403, 404, 405, 407})


def _is_endpoints_own(error: ModelError) -> bool:
    """Whether an error says more of the endpoint than of the request, so that another endpoint may do better: its trouble,
    its limits, its key, its address, its certificate."""
    return (
        error.kind in (ErrorKind.RETRYABLE, ErrorKind.THROTTLED)
        or error.status in _ENDPOINTS_OWN
        or error.reason == "tls"
    )


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
        self._asked = _Asked()
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
        kind: type[Answer],
        send: Send[Request, Answer],
        *,
        keep: Callable[[Answer], bool] = lambda answer: True,
    ) -> Answer:
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
        self, port: ModelPort, request: Request, send: Send[Request, Answer], counters: tuple[UsageCounter, ...]
    ) -> Answer:
        """One call, and where there are several endpoints one to each of the others if need be."""
        endpoint = await self._take_slot(port)
        for _ in range(len(port.endpoints) - 1):
            try:
                return await self._call(port, endpoint, request, send, counters)
            except ModelError as error:
                if not _is_endpoints_own(error):
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
        send: Send[Request, Answer],
        counters: tuple[UsageCounter, ...],
    ) -> Answer:
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


def _named(send: Send[Request, Answer], client: ChatClient) -> Send[Request, Answer]:
    """The same call by another client of the endpoint."""

    def send_by(port: ModelPort, endpoint: EndpointSpec, request: Request) -> Awaitable[Answer]:
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


class ModelAccess:
    """All ports of a run. The driver sets `wake` (a call waits for a slot) and `budget_exceeded`.

    `toolboxes` are by tool alias; with None, columns that would use tools ask without them (estimates do).
    """

    def __init__(
        self,
        ports: Mapping[str, ModelPort],
        *,
        journal: AnswerJournal,
        budget: RunBudget,
        toolboxes: Mapping[str, Toolbox] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.ports = dict(ports)
        self.journal = journal
        self.budget = budget
        self.toolboxes = toolboxes
        self.clock = clock
        self.wake: Callable[[], None] = lambda: None
        self.budget_exceeded: Callable[[EarlyShutdownError], None] = lambda error: None
        self.usage_changed = False
        self.draining = False

    def port(self, alias: str) -> ModelPort:
        """The port of an alias.

        Raises:
            ModelError: there is no such alias (a custom column may ask for any).
        """
        try:
            return self.ports[alias]
        except KeyError:
            known = ", ".join(sorted(self.ports)) or "none"
            raise ModelError(
                f"model alias {alias!r} is not defined (defined: {known})", kind=ErrorKind.FATAL, reason="unknown alias"
            ) from None

    async def wait_for_slot(self, port: ModelPort, *, avoid: EndpointPort | None = None) -> EndpointPort:
        """Wait until the driver hands this caller a slot, already reserved, elsewhere than at `avoid` if it can be. After
        cancellation none is held.

        Raises:
            CancelledError: the waiting was cancelled, or no call is sent any more.
        """
        if self.draining:
            raise asyncio.CancelledError
        waiter = Waiter()
        waiter.avoid = avoid
        port.waiters.append(waiter)
        self.wake()
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                port.give_back(waiter.result())
            raise

    def shared_limits(self) -> set[SharedLimiter | Share]:
        """Whatever is shared with others, and wakes its watchers when a slot came free."""
        limiters = {endpoint.limiter for port in self.ports.values() for endpoint in port.endpoints}
        return limiters | {port.spec.share for port in self.ports.values() if port.spec.share is not None}

    def send_no_more(self) -> None:
        """The run is ending: calls that wait for a slot, or ask for one later, are cancelled; those in flight are not,
        unless they are in batches."""
        self.draining = True
        for port in self.ports.values():
            for waiter in port.waiters:
                waiter.cancel()
            port.waiters.clear()
            if port.batches is not None:
                port.batches.leave()  # nobody waits for hours while a run ends

    def spent(self, tokens: int, cost: float) -> None:
        """An answer was paid for; ends the run where a budget is used up."""
        self.budget.spend(tokens, cost)
        exceeded = self.budget.exceeded()
        if exceeded is not None:
            self.budget_exceeded(EarlyShutdownError(exceeded, cause="budget"))

    def commit(self) -> None:
        """Put on disk what was answered since the last time, and what was spent, in one.

        Raises:
            SinkError: the journal cannot be written.
        """
        if self.usage_changed:
            self.journal.put_usage(orjson.dumps({alias: port.usage for alias, port in self.ports.items()}))
            self.usage_changed = False
        self.journal.commit()

    def usage(self) -> dict[str, ModelUsage]:
        """What this process spent in this run, by alias."""
        return {alias: port.usage.freeze() for alias, port in self.ports.items()}


class LimiterRegistry:
    """The shared limiters of one process, by (endpoint, model)."""

    def __init__(self) -> None:
        self._limiters: dict[tuple[str, str], SharedLimiter] = {}

    def limiter(self, endpoint: EndpointSpec, *, ceiling: int) -> SharedLimiter:
        """The limiter that this endpoint's model has for all aliases that name it; `ceiling` is this alias's."""
        limiter = self._limiters.get(endpoint.identity)
        if limiter is None:
            limiter = self._limiters[endpoint.identity] = SharedLimiter(ceiling)
        limiter.raise_ceiling(ceiling)
        return limiter


_PATIENCE_BESIDE_OTHERS = 5
"""Errors in a row after which an endpoint is only probed, where others can take its calls: to be wrong costs little."""


def make_ports(
    specs: list[ModelSpec],
    *,
    limiters: LimiterRegistry,
    window: int,
    error_rate: float | None,
    retry_deadline: float,
) -> dict[str, ModelPort]:
    """One port per alias; aliases of the same endpoint and model share limiter and circuit."""
    circuits: dict[tuple[str, str], Circuit] = {}
    ports: dict[str, ModelPort] = {}
    for spec in specs:
        endpoints = []
        for endpoint in spec.endpoints:
            if isinstance(endpoint.client, BatchClient):
                unlimited, closed = SharedLimiter.unlimited(), Circuit.closed()
                endpoints.append(EndpointPort(endpoint, limiter=unlimited, circuit=closed))
                continue
            circuit = circuits.setdefault(endpoint.identity, Circuit(window, retry_deadline))
            if len(spec.endpoints) > 1:
                circuit.patience = min(circuit.patience, _PATIENCE_BESIDE_OTHERS)
            limiter = limiters.limiter(endpoint, ceiling=spec.max_parallel_requests)
            endpoints.append(EndpointPort(endpoint, limiter=limiter, circuit=circuit))
        if spec.share is not None:
            spec.share.ask_for(spec.max_parallel_requests, of=spec.alias)
        ports[spec.alias] = ModelPort(spec, tuple(endpoints), rule=ShutdownRule(error_rate, window))
    return ports
