"""Model access for cells: one port per alias, with its limits, circuit, budgets, journal and accounting.

A call goes through the same steps whoever makes it: the journal is asked first (an answer that was paid for is never
paid for again); then a slot is needed, given by the driver before the cell started (the *reservation*) or waited for;
then exactly one HTTP call; then limiter, circuit and usage learn how it went; then an accepted answer goes to the journal,
which is committed before any further call is sent.

Everything here runs on the engine's event loop.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, Self, TypeVar

import orjson

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


class _Request(Protocol):
    """What is sent; see `ChatRequest`."""

    def body(self) -> dict[str, Any]: ...


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


def journal_key(endpoint: str, column: str, row: RowKey, step: int, body: Mapping[str, Any]) -> bytes:
    """What identifies an answer: the cell, the how-manieth call of the cell, and everything that is sent. 16 bytes."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(f"{endpoint}\x1f{column}\x1f{row.index}\x1f{row.copy}\x1f{step}\x1f".encode())
    digest.update(orjson.dumps(body, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS, default=str))
    return digest.digest()


@dataclass(frozen=True)
class ModelSpec:
    """What an alias stands for. Prices are per million tokens; `rpm` and `tpm` are budgets per minute.

    `sent_along` is what the client adds to every request's body, as text: it decides answers, and so journal keys.
    """

    alias: str
    model: str
    client: ChatClient
    max_parallel_requests: int
    sent_along: str = ""
    timeout: float | None = None
    input_price: float = 0.0
    output_price: float = 0.0
    rpm: float | None = None
    tpm: float | None = None


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


class ModelPort:
    """An alias at work in one run. `in_flight` counts its reservations and calls."""

    def __init__(self, spec: ModelSpec, *, limiter: SharedLimiter, circuit: Circuit, rule: ShutdownRule) -> None:
        self.spec = spec
        self.limiter = limiter
        self.circuit = circuit
        self.rule = rule
        self.in_flight = 0
        self.usage = UsageCounter()
        self.waiters: deque[asyncio.Future[None]] = deque()
        self._requests = RateBudget(spec.rpm)
        self._tokens = RateBudget(spec.tpm)
        limiter.raise_ceiling(spec.max_parallel_requests)

    def has_slot(self, now: float) -> bool:
        """Whether one more call of this alias may be sent."""
        return (
            self.in_flight < self.spec.max_parallel_requests
            and self.limiter.has_slot(now)
            and self.circuit.allows(now, self.limiter.in_flight)
            and self._requests.wait(now) <= 0
            and self._tokens.wait(now) <= 0
        )

    def wait(self, now: float) -> float | None:
        """Seconds until time alone may give a slot; None where only a call that comes back can."""
        waits = [
            self.limiter.paused_until() - now,
            self.circuit.next_probe() - now if not self.circuit.allows(now, 0) else 0.0,
            self._requests.wait(now),
            self._tokens.wait(now),
        ]
        longest = max(waits)
        return longest if longest > 0 else None

    def reserve(self, now: float) -> None:
        """Take a slot."""
        self.in_flight += 1
        self.limiter.started()
        self._requests.spend(now, 1)

    def give_back(self) -> None:
        """A reservation was not used."""
        self.in_flight -= 1
        self.limiter.abandoned()

    def answered(self, now: float, answer: _Answer) -> tuple[int, float]:
        """A call came back with an answer. Returns its tokens and cost."""
        self.in_flight -= 1
        self.limiter.answered(now)
        self.circuit.succeeded()
        tokens = answer.input_tokens + answer.output_tokens
        self._tokens.spend(now, tokens)
        cost = (answer.input_tokens * self.spec.input_price + answer.output_tokens * self.spec.output_price) / 1e6
        return tokens, cost

    def failed(self, now: float, error: ModelError) -> None:
        """A call failed."""
        self.in_flight -= 1
        if error.kind is ErrorKind.THROTTLED:
            self.limiter.pushed_back(now, error.retry_after)
        else:
            self.limiter.answered(now)
        if error.kind in (ErrorKind.RETRYABLE, ErrorKind.THROTTLED):
            self.circuit.failed(now, f"{error.reason} from {self.spec.client.endpoint}")
        else:
            self.circuit.succeeded()  # the endpoint is alive; what it says is another matter

    def interrupted(self) -> None:
        """A call was cancelled."""
        self.in_flight -= 1
        self.limiter.abandoned()


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
        self._steps = 0
        self.record = CallRecord()
        self.cut_short = False

    async def chat(self, alias: str, request: ChatRequest) -> ChatAnswer:
        """One call, or the answer that an earlier one paid for."""
        port = self._access.port(alias)
        client, timeout = port.spec.client, port.spec.timeout
        return await self._ask(port, request, ChatAnswer, lambda: client.chat(request, timeout=timeout))

    async def embed(self, alias: str, request: EmbeddingRequest) -> list[list[float]]:
        """The same for vectors."""
        port = self._access.port(alias)
        client, timeout = port.spec.client, port.spec.timeout
        if not isinstance(client, EmbeddingClient):
            raise _not_served(port, "embeddings")
        answer = await self._ask(port, request, EmbeddingAnswer, lambda: client.embed(request, timeout=timeout))
        return answer.vectors

    async def image(self, alias: str, request: ImageRequest) -> bytes:
        """The same for an image."""
        port = self._access.port(alias)
        client, timeout = port.spec.client, port.spec.timeout
        if not isinstance(client, ImageClient):
            raise _not_served(port, "images")
        answer = await self._ask(port, request, ImageAnswer, lambda: client.image(request, timeout=timeout))
        return answer.image

    async def _ask(
        self, port: ModelPort, request: _Request, kind: type[Answer], send: Callable[[], Awaitable[Answer]]
    ) -> Answer:
        """The steps of a call, whatever is asked for: see the module's docstring."""
        alias = port.spec.alias
        step, self._steps = self._steps, self._steps + 1
        asked = f"{port.spec.client.endpoint}\x1f{port.spec.sent_along}"
        key = journal_key(asked, self._column, self._row, step, request.body())
        counters = (port.usage, self._usage.setdefault(alias, UsageCounter()))
        known = self._access.journal.get(key)
        if known is not None:
            for counter in counters:
                counter.replayed += 1
            return kind.unpack(known)
        await self._take_slot(alias, port)
        try:
            answer = await self._call(port, send, counters)
        finally:
            self._access.usage_changed = True
        self._access.journal.put(key, answer.pack())
        return answer

    async def _take_slot(self, alias: str, port: ModelPort) -> None:
        if self._reserved == alias and not self._access.draining:
            self._reserved = None
            return
        try:
            await self._access.wait_for_slot(port)
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
        self, port: ModelPort, send: Callable[[], Awaitable[Answer]], counters: tuple[UsageCounter, ...]
    ) -> Answer:
        self.record.calls += 1
        for counter in counters:
            counter.calls += 1
            counter.retries += self._attempt > 0 and self.record.calls == 1
        try:
            answer = await send()
        except ModelError as error:
            port.failed(self._access.clock(), error)
            for counter in counters:
                counter.errors += 1
                counter.throttled += error.kind is ErrorKind.THROTTLED
            raise
        except BaseException:
            port.interrupted()
            raise
        tokens, cost = port.answered(self._access.clock(), answer)
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


def _not_served(port: ModelPort, what: str) -> ModelError:
    return ModelError(
        f"model alias {port.spec.alias!r}: {port.spec.client.endpoint} makes no {what} here",
        kind=ErrorKind.FATAL,
        reason="not served",
    )


class ModelAccess:
    """All ports of a run. The driver sets `wake` (a call waits for a slot) and `budget_exceeded`."""

    def __init__(
        self,
        ports: Mapping[str, ModelPort],
        *,
        journal: AnswerJournal,
        budget: RunBudget,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.ports = dict(ports)
        self.journal = journal
        self.budget = budget
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

    async def wait_for_slot(self, port: ModelPort) -> None:
        """Wait until the driver hands this caller a slot, already reserved. After cancellation none is held.

        Raises:
            CancelledError: the waiting was cancelled, or no call is sent any more.
        """
        if self.draining:
            raise asyncio.CancelledError
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        port.waiters.append(waiter)
        self.wake()
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                port.give_back()
            raise

    def send_no_more(self) -> None:
        """The run is ending: calls that wait for a slot, or ask for one later, are cancelled; those in flight are not."""
        self.draining = True
        for port in self.ports.values():
            for waiter in port.waiters:
                waiter.cancel()
            port.waiters.clear()

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

    def limiter(self, spec: ModelSpec) -> SharedLimiter:
        """The limiter that this alias shares with all others of the same endpoint and model."""
        key = (spec.client.endpoint, spec.model)
        limiter = self._limiters.get(key)
        if limiter is None:
            limiter = self._limiters[key] = SharedLimiter(spec.max_parallel_requests)
        limiter.raise_ceiling(spec.max_parallel_requests)
        return limiter


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
        key = (spec.client.endpoint, spec.model)
        circuit = circuits.setdefault(key, Circuit(window, retry_deadline))
        ports[spec.alias] = ModelPort(
            spec, limiter=limiters.limiter(spec), circuit=circuit, rule=ShutdownRule(error_rate, window)
        )
    return ports
