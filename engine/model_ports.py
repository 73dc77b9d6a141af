"""Ports: a model alias at work in one run, with its endpoints, their limits and circuits, and its budgets per minute.

An alias may stand for several endpoints that serve the same model. Limiter and circuit belong to an endpoint's model, so
a slot is a slot of one of them: the free ones take turns by weight (smooth weighted round robin, as nginx does it), and
an endpoint that is full, paused or broken takes no turn, so that its share goes to the others. The run is ended by circuits
only where those of all endpoints of an alias have expired.

Everything here runs on the engine's event loop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass

from prefect_datagen.engine.batches import BatchClient
from prefect_datagen.engine.chat import Answer, ChatClient
from prefect_datagen.engine.errors import ErrorKind, ModelError
from prefect_datagen.engine.health import Circuit, ShutdownRule
from prefect_datagen.engine.limits import RateBudget, SharedLimiter
from prefect_datagen.engine.shares import Share
from prefect_datagen.engine.usage import UsageCounter


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

    def answered(self, endpoint: EndpointPort, now: float, answer: Answer) -> tuple[int, float]:
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
        if retryable or (self.is_shared_out and is_endpoints_own(error)):
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


def is_endpoints_own(error: ModelError) -> bool:
    """Whether an error says more of the endpoint than of the request, so that another endpoint may do better: its trouble,
    its limits, its key, its address, its certificate."""
    return (
        error.kind in (ErrorKind.RETRYABLE, ErrorKind.THROTTLED)
        or error.status in _ENDPOINTS_OWN
        or error.reason == "tls"
    )


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
