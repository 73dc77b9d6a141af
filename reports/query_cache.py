"""A cache of futures: a key maps to rows, or to the execution that is producing them.

What happens to a query
-----------------------
`submit(query)` looks the query's key up and gives the caller a `QueryHandle`: a waiter with a future of its own.

* rows are there and fresh: the future is done;
* rows are there and older than the source's `ttl`: the future is done with the old rows, and one *refresh* starts;
* an execution for the key is under way: the waiter joins it;
* otherwise an *execution* starts.

An execution is in one of these states; `_inflight` holds all that are not ENDED, by key.

    WAITING  ──all upstream rows there──►  QUEUED  ──slot of the source free──►  RUNNING  ──►  ENDED

    | state            | event                                | next   | and then                                    |
    |------------------|--------------------------------------|--------|---------------------------------------------|
    | WAITING          | the last upstream rows arrive        | QUEUED | stands in the source's queue                |
    | WAITING          | an upstream query fails              | ENDED  | every waiter gets that error                |
    | WAITING          | the source's circuit is open by now  | ENDED  | every waiter gets `CircuitOpenError`        |
    | QUEUED           | a slot is free                       | RUNNING| a worker thread runs it                     |
    | QUEUED           | its source's circuit opens           | ENDED  | every waiter gets `CircuitOpenError`        |
    | QUEUED, RUNNING  | `queue_timeout` or `timeout` is over | ENDED  | every waiter gets `QueryTimeoutError`       |
    | RUNNING          | the source returns rows              | ENDED  | rows are stored; every waiter gets them     |
    | RUNNING          | the source raises                    | ENDED  | nothing is stored; every waiter gets it     |
    | any but ENDED    | the last waiter leaves (no refresh)  | ENDED  | upstream is left; a running one interrupted |
    | any but ENDED    | the cache is closed                  | ENDED  | every waiter is cancelled                   |

A timeout or a cancellation ends the execution at once, so nobody waits for a source that does not react; but its worker
keeps its slot, and is interrupted again and again, until the source lets go of it (`stopping` in the statistics).
A new query for the same key starts a new execution and never joins one that is being stopped. WAITING holds no thread:
the last upstream future's callback moves the execution on, hence a source with a single slot cannot deadlock, and
`Query` objects cannot form a cycle. A refresh lives without waiters; where it fails, the old rows stay as they are.

Threads: a worker lives while its source's queue has work and no longer; one keeper thread lives while anything has a
deadline; one thread lives for each execution that is being stopped. An idle cache has none. All are daemons, because a
source that ignores its interrupt must not keep the process alive.

All state changes happen under one lock in short steps that call nothing foreign. What they decide (answer a future,
start a thread) is put on a list and done after the lock is released. Prior art for that shape: httpcore's connection
pool.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any

from prefect_datagen.reports.circuit import Circuit, CircuitState
from prefect_datagen.reports.errors import (
    CircuitOpenError,
    QueryCancelledError,
    QueryError,
    QueryTimeoutError,
    SourceDownError,
)
from prefect_datagen.reports.query import Cancellation, Query, QueryKey, Source, SourceLimits

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "CacheStatistics",
    "Cancellation",
    "Query",
    "QueryCache",
    "QueryHandle",
    "QueryKey",
    "Source",
    "SourceLimits",
    "SourceStatistics",
]

INTERRUPT_INTERVAL = 0.05
"""Seconds between two interrupts of a source that has not let go of a query yet."""

_Action = Callable[[], object]


class QueryHandle:
    """One waiter for the rows of one query. `result` is that of futures, whether of the standard library or Prefect's.

    `future` is its own: cancelling it, or an asyncio task that awaits the handle, is the same as `leave()`, and touches
    no other waiter. Leaving after the rows have come does nothing.
    """

    def __init__(self, query: Query, *, stale: bool = False) -> None:
        self.query = query
        self.stale = stale
        """Whether the rows are older than the source's `ttl`; a refresh is on its way unless the circuit is open."""
        self.future: Future[pa.Table] = Future()

    def result(self, timeout: float | None = None) -> pa.Table:
        """The rows; a wait that times out leaves the waiter in place.

        Raises:
            QueryError: the query failed; the same error reaches every waiter.
            TimeoutError: `timeout` seconds are over.
            concurrent.futures.CancelledError: this waiter has left, or the cache was closed.
        """
        return self.future.result(timeout)

    def leave(self) -> None:
        """Wait no longer. The query is cancelled at its source when nobody else waits for it."""
        self.future.cancel()

    def __await__(self) -> Generator[Any, None, pa.Table]:
        return asyncio.wrap_future(self.future).__await__()

    def __enter__(self) -> QueryHandle:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()

    def __repr__(self) -> str:
        return f"<QueryHandle {self.query.name or self.query.key.digest} {'done' if self.future.done() else 'pending'}>"


@dataclass(frozen=True)
class SourceStatistics:
    """What one source is doing. `stopping` are queries nobody waits for that still hold their slot."""

    source: str
    limit: int
    queued: int
    running: int
    stopping: int
    circuit: CircuitState


@dataclass(frozen=True)
class CacheStatistics:
    """Counts since the cache was made, and what it holds now.

    Every `submit` is exactly one of `hits`, `stale_hits`, `joins`, `misses` and `refusals` (the circuit was open).
    Every miss and every refresh ends as exactly one of `stored`, `failures`, `timeouts` and `cancellations`;
    `executions` are those that reached a worker.
    """

    hits: int
    stale_hits: int
    joins: int
    misses: int
    refusals: int
    refreshes: int
    executions: int
    stored: int
    failures: int
    timeouts: int
    cancellations: int
    evictions: int
    entries: int
    bytes: int
    max_bytes: int
    in_flight: int
    waiters: int
    sources: tuple[SourceStatistics, ...]


class _State(Enum):
    WAITING = auto()
    QUEUED = auto()
    RUNNING = auto()
    ENDED = auto()


@dataclass(eq=False)
class _Execution:
    query: Query
    refresh: bool  # lives without waiters
    fresh: bool  # reads no stale rows of other queries
    state: _State = _State.WAITING
    deadline: float | None = None
    probe: bool = False
    waiters: set[Future[pa.Table]] = field(default_factory=set)
    upstream: list[QueryHandle] = field(default_factory=list)
    relations: dict[str, pa.Table] = field(default_factory=dict)
    cancel: Cancellation = field(default_factory=Cancellation)
    returned: threading.Event = field(default_factory=threading.Event)


class _Pool:
    """Slots, queue and circuit of one source."""

    def __init__(self, limits: SourceLimits) -> None:
        self.limits = limits
        self.circuit = Circuit(failures_to_open=limits.failures_to_open, cooldown=limits.cooldown)
        self.queue: deque[_Execution] = deque()
        self.occupied: set[_Execution] = set()


@dataclass(frozen=True)
class _Rows:
    table: pa.Table
    at: float


class QueryCache:
    """Runs queries, joins identical ones, and keeps their rows.

    Args:
        max_bytes: rows kept, in bytes of Arrow buffers; the least recently used go first. Rows that alone are larger
            are delivered and not kept.
        clock: seconds, never going back.
    """

    def __init__(self, *, max_bytes: int = 256 * 2**20, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_bytes = max_bytes
        self._clock = clock
        self._changed = threading.Condition(threading.Lock())
        self._rows: OrderedDict[QueryKey, _Rows] = OrderedDict()
        self._bytes = 0
        self._inflight: dict[QueryKey, _Execution] = {}
        self._pools: dict[str, _Pool] = {}
        self._counts: Counter[str] = Counter()
        self._keeper: threading.Thread | None = None
        self._closed = False

    # ---- the public half

    def submit(self, query: Query, *, fresh: bool = False) -> QueryHandle:
        """Ask for the rows of a query, without waiting for anything.

        Args:
            fresh: take no rows that are older than the source's `ttl`.

        Returns:
            A waiter. Errors of the query, and of a source that is left alone, come out of its future.

        Raises:
            QueryError: the cache is closed.
        """
        actions: list[_Action] = []
        with self._changed:
            if self._closed:
                raise QueryError("the query cache is closed", query=query.name)
            handle = self._look_up(query, fresh, actions)
        _carry_out(actions)
        return handle

    def prefetch(self, queries: Iterable[Query]) -> list[QueryHandle]:
        """Submit all, so that each waits for itself only; handles in the order of the queries."""
        return [self.submit(query) for query in queries]

    def statistics(self) -> CacheStatistics:
        """A consistent picture of this moment."""
        with self._changed:
            now = self._clock()
            names = (
                "hits", "stale_hits", "joins", "misses", "refusals", "refreshes", "executions", "stored", "failures",
                "timeouts", "cancellations", "evictions",
            )  # fmt: skip
            return CacheStatistics(
                **{name: self._counts[name] for name in names},
                entries=len(self._rows),
                bytes=self._bytes,
                max_bytes=self._max_bytes,
                in_flight=len(self._inflight),
                waiters=sum(len(execution.waiters) for execution in self._inflight.values()),
                sources=tuple(_source_statistics(name, pool, now) for name, pool in sorted(self._pools.items())),
            )

    def close(self, *, timeout: float = 5.0) -> bool:
        """Cancel everything; return whether every source let go of its queries within `timeout` seconds."""
        actions: list[_Action] = []
        with self._changed:
            self._closed = True
            for execution in list(self._inflight.values()):
                self._end(execution, "cancellations", actions)
        _carry_out(actions)
        with self._changed:
            return self._changed.wait_for(lambda: not any(pool.occupied for pool in self._pools.values()), timeout)

    def __enter__(self) -> QueryCache:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ---- looking up; under the lock

    def _look_up(self, query: Query, fresh: bool, actions: list[_Action]) -> QueryHandle:
        pool = self._pool(query.source)
        rows = self._rows.get(query.key)
        if rows is not None:
            stale = pool.limits.ttl is not None and self._clock() >= rows.at + pool.limits.ttl
            if not (stale and fresh):
                return self._serve(query, rows, stale, actions)
        handle = QueryHandle(query)
        execution = self._inflight.get(query.key)
        if execution is not None:
            self._counts["joins"] += 1
        elif pool.circuit.refuses(self._clock()):
            self._counts["refusals"] += 1
            handle.future.set_exception(self._circuit_open(query, pool))
            return handle
        else:
            self._counts["misses"] += 1
            execution = self._start(query, refresh=False, fresh=fresh, actions=actions)
        execution.waiters.add(handle.future)
        # It never runs here, under the lock: the future is new, and settled or cancelled by others only.
        handle.future.add_done_callback(partial(self._waiter_done, execution))
        return handle

    def _serve(self, query: Query, rows: _Rows, stale: bool, actions: list[_Action]) -> QueryHandle:
        self._rows.move_to_end(query.key)
        self._counts["stale_hits" if stale else "hits"] += 1
        circuit = self._pool(query.source).circuit
        if stale and query.key not in self._inflight and not circuit.refuses(self._clock()):
            self._counts["refreshes"] += 1
            self._start(query, refresh=True, fresh=True, actions=actions)
        handle = QueryHandle(query, stale=stale)
        handle.future.set_result(rows.table)
        return handle

    # ---- starting; under the lock

    def _start(self, query: Query, *, refresh: bool, fresh: bool, actions: list[_Action]) -> _Execution:
        execution = _Execution(query, refresh, fresh)
        self._inflight[query.key] = execution
        if query.uses:
            actions.append(partial(self._ask_upstream, execution))
        else:
            self._enqueue(execution, actions)
        return execution

    def _enqueue(self, execution: _Execution, actions: list[_Action]) -> None:
        pool = self._pool(execution.query.source)
        now = self._clock()
        half_open = pool.circuit.state(now) is CircuitState.HALF_OPEN
        if not pool.circuit.admit(now):
            self._end(execution, "failures", actions, error=self._circuit_open(execution.query, pool))
            return
        execution.probe = half_open
        execution.state = _State.QUEUED
        execution.deadline = now + pool.limits.queue_timeout
        pool.queue.append(execution)
        self._watch(actions)
        if len(pool.occupied) < pool.limits.max_running:
            first = self._take(pool, actions)
            if first is not None:
                actions.append(partial(_start_thread, self._work, pool, first))

    def _take(self, pool: _Pool, actions: list[_Action]) -> _Execution | None:
        """The next execution of a source moves into a slot."""
        if not pool.queue:
            return None
        execution = pool.queue.popleft()
        pool.occupied.add(execution)
        execution.state = _State.RUNNING
        execution.deadline = self._clock() + pool.limits.timeout
        self._counts["executions"] += 1
        self._watch(actions)
        return execution

    def _watch(self, actions: list[_Action]) -> None:
        """The keeper learns of a new deadline."""
        if self._keeper is None:
            self._keeper = threading.Thread(target=self._keep, name="query-cache-keeper", daemon=True)
            actions.append(self._keeper.start)
        else:
            self._changed.notify_all()

    def _pool(self, source: Source) -> _Pool:
        pool = self._pools.get(source.identity)
        if pool is None:
            pool = self._pools[source.identity] = _Pool(source.limits)
        return pool

    def _circuit_open(self, query: Query, pool: _Pool) -> CircuitOpenError:
        seconds = pool.circuit.retry_after(self._clock())
        return CircuitOpenError(
            f"source {query.source.identity!r} failed repeatedly and is left alone for {seconds:.0f} s",
            query=query.name,
            source=query.source.identity,
            retry_after=seconds,
        )

    # ---- ending; under the lock

    def _end(
        self,
        execution: _Execution,
        count: str,
        actions: list[_Action],
        *,
        table: pa.Table | None = None,
        error: BaseException | None = None,
    ) -> None:
        """The one way into ENDED: with rows, with an error, or with neither, which cancels the waiters."""
        pool = self._pool(execution.query.source)
        if execution.state is _State.QUEUED:
            pool.queue.remove(execution)
        if execution.state is _State.RUNNING and not execution.returned.is_set():
            execution.cancel.ask()
            actions.append(partial(_start_thread, _interrupt_until_returned, execution))
        if execution.probe and (count == "cancellations" or execution.state is _State.QUEUED):
            pool.circuit.released()
        execution.state = _State.ENDED
        execution.deadline = None
        execution.relations = {}
        del self._inflight[execution.query.key]
        self._counts[count] += 1
        self._changed.notify_all()  # the keeper may have waited for this deadline
        waiters, execution.waiters = execution.waiters, set()
        actions.extend(handle.leave for handle in execution.upstream)
        actions.extend(partial(_answer, waiter, table, error) for waiter in waiters)

    def _store(self, key: QueryKey, table: pa.Table) -> None:
        if (old := self._rows.pop(key, None)) is not None:
            self._bytes -= old.table.nbytes
        if table.nbytes > self._max_bytes:
            return
        self._rows[key] = _Rows(table, self._clock())
        self._bytes += table.nbytes
        while self._bytes > self._max_bytes:
            _, oldest = self._rows.popitem(last=False)
            self._bytes -= oldest.table.nbytes
            self._counts["evictions"] += 1

    def _flush(self, pool: _Pool, actions: list[_Action]) -> None:
        """The circuit of a source has opened: what stands in its queue ends."""
        for execution in list(pool.queue):
            self._end(execution, "failures", actions, error=self._circuit_open(execution.query, pool))

    # ---- events; each takes the lock

    def _waiter_done(self, execution: _Execution, future: Future[pa.Table]) -> None:
        """A waiter's future is done. Where it was cancelled, the waiter leaves; otherwise it was answered."""
        actions: list[_Action] = []
        with self._changed:
            if future not in execution.waiters:
                return
            execution.waiters.discard(future)
            if not execution.waiters and not execution.refresh:
                self._end(execution, "cancellations", actions)
        future.set_running_or_notify_cancel()  # tells `concurrent.futures.wait` that it is over
        _carry_out(actions)

    def _ask_upstream(self, execution: _Execution) -> None:
        for query in execution.query.uses.values():
            try:
                handle = self.submit(query, fresh=execution.fresh)
            except QueryError:  # closed meanwhile, and this execution with it
                return
            with self._changed:
                gone = execution.state is _State.ENDED
                if not gone:
                    execution.upstream.append(handle)
            if gone:
                handle.leave()
                return
            handle.future.add_done_callback(partial(self._upstream_done, execution, query.relation))

    def _upstream_done(self, execution: _Execution, relation: str, future: Future[pa.Table]) -> None:
        actions: list[_Action] = []
        with self._changed:
            if execution.state is not _State.WAITING:
                return
            if future.cancelled():
                self._end(execution, "cancellations", actions)
            elif (error := future.exception()) is not None:
                self._end(execution, "failures", actions, error=error)
            else:
                execution.relations[relation] = future.result()
                if len(execution.relations) == len({query.relation for query in execution.query.uses.values()}):
                    self._enqueue(execution, actions)
        _carry_out(actions)

    def _work(self, pool: _Pool, execution: _Execution | None) -> None:
        """A worker thread: runs executions of one source until its queue is empty."""
        while execution is not None:
            query = execution.query
            table: pa.Table | None = None
            error: BaseException | None = None
            try:
                table = query.source.execute(
                    query.sql, query.parameters, relations=execution.relations, cancel=execution.cancel
                )
            except BaseException as raised:  # noqa: BLE001 - the boundary to a source: every waiter gets what it raised
                error = raised
            execution = self._returned(pool, execution, table, error)

    def _returned(
        self, pool: _Pool, execution: _Execution, table: pa.Table | None, error: BaseException | None
    ) -> _Execution | None:
        """A source let go of an execution. Returns the next one for this worker."""
        actions: list[_Action] = []
        with self._changed:
            pool.occupied.discard(execution)
            execution.returned.set()
            if execution.state is _State.RUNNING:
                self._settle(pool, execution, table, error, actions)
            following = self._take(pool, actions)
            self._changed.notify_all()
        _carry_out(actions)
        return following

    def _settle(
        self,
        pool: _Pool,
        execution: _Execution,
        table: pa.Table | None,
        error: BaseException | None,
        actions: list[_Action],
    ) -> None:
        if table is not None:
            pool.circuit.answered()
            self._store(execution.query.key, table)
            self._end(execution, "stored", actions, table=table)
        elif isinstance(error, QueryCancelledError):  # the source stopped on its own account
            self._end(execution, "cancellations", actions)
        elif isinstance(error, SourceDownError):
            self._end(execution, "failures", actions, error=error)
            self._broke(pool, actions)
        else:
            pool.circuit.answered()
            self._end(execution, "failures", actions, error=error)

    def _broke(self, pool: _Pool, actions: list[_Action]) -> None:
        if pool.circuit.broke(self._clock()):
            self._flush(pool, actions)

    # ---- deadlines

    def _keep(self) -> None:
        """The keeper thread: ends executions whose time is over; ends itself when nothing has a deadline."""
        while True:
            actions: list[_Action] = []
            with self._changed:
                self._expire(actions)
                if not actions:
                    deadlines = [item.deadline for item in self._inflight.values() if item.deadline is not None]
                    if not deadlines:
                        self._keeper = None
                        return
                    self._changed.wait(max(0.0, min(deadlines) - self._clock()))
            _carry_out(actions)

    def _expire(self, actions: list[_Action]) -> None:
        now = self._clock()
        late = [item for item in self._inflight.values() if item.deadline is not None and item.deadline <= now]
        for execution in late:
            if execution.state is _State.ENDED:  # flushed with the queue of its source a moment ago
                continue
            pool = self._pool(execution.query.source)
            running = execution.state is _State.RUNNING
            seconds = pool.limits.timeout if running else pool.limits.queue_timeout
            error = QueryTimeoutError(
                f"query {execution.query.name!r} {'ran' if running else 'waited for a free slot'} for more than "
                f"{seconds:g} s on source {execution.query.source.identity!r}",
                query=execution.query.name,
                source=execution.query.source.identity,
                seconds=seconds,
            )
            self._end(execution, "timeouts", actions, error=error)
            if running:
                self._broke(pool, actions)


def _source_statistics(name: str, pool: _Pool, now: float) -> SourceStatistics:
    running = sum(execution.state is _State.RUNNING for execution in pool.occupied)
    return SourceStatistics(
        source=name,
        limit=pool.limits.max_running,
        queued=len(pool.queue),
        running=running,
        stopping=len(pool.occupied) - running,
        circuit=pool.circuit.state(now),
    )


def _carry_out(actions: list[_Action]) -> None:
    for action in actions:
        action()


def _start_thread(target: Callable[..., None], *arguments: object) -> None:
    threading.Thread(target=target, args=arguments, name=f"query-cache-{target.__name__}", daemon=True).start()


def _answer(waiter: Future[pa.Table], table: pa.Table | None, error: BaseException | None) -> None:
    if table is None and error is None:
        waiter.cancel()
    if not waiter.set_running_or_notify_cancel():
        return
    if error is not None:
        waiter.set_exception(error)
    else:
        waiter.set_result(table)


def _interrupt_until_returned(execution: _Execution) -> None:
    """Interrupt a running query again and again: the first interrupt may come before the database has begun."""
    while not execution.returned.is_set():
        execution.cancel.interrupt()
        execution.returned.wait(INTERRUPT_INTERVAL)
