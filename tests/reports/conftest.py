"""Shared by the report tests: a source that does what a test tells it to."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pyarrow as pa
import pytest

from prefect_datagen.reports.errors import QueryCancelledError
from prefect_datagen.reports.query_cache import Cancellation, Query, QueryCache, SourceLimits

DEADLINE = 20.0
"""Seconds after which a test that waits for something gives up."""


class Gate:
    """Holds a query inside the source until the test opens it, or the cache interrupts it."""

    def __init__(self, *, deaf: bool = False) -> None:
        self.entered = threading.Event()
        self.interrupted = threading.Event()
        self.left = threading.Event()
        self._open = threading.Event()
        self._deaf = deaf

    def open(self) -> None:
        self._open.set()

    def pass_through(self, cancel: Cancellation) -> None:
        with cancel.interrupting(self._interrupt):
            self.entered.set()
            assert self._open.wait(DEADLINE)
        self.left.set()
        if cancel.asked:
            raise QueryCancelledError("stopped")

    def _interrupt(self) -> None:
        self.interrupted.set()
        if not self._deaf:
            self._open.set()


class FakeSource:
    """A source whose queries are words: what a word does is in `behaviours`; any other word answers with itself."""

    dialect = None

    def __init__(self, identity: str = "fake", **limits: Any) -> None:
        self.identity = identity
        self.limits = SourceLimits(**limits)
        self.behaviours: dict[str, Callable[[Cancellation, Mapping[str, pa.Table]], pa.Table]] = {}
        self.executed: list[str] = []
        self.data_version = "1"
        self._lock = threading.Lock()
        self.running = 0
        self.most_running = 0

    def version(self) -> str:
        return self.data_version

    def gate(self, word: str, *, deaf: bool = False) -> Gate:
        """Make the query `word` stop at a gate, and then answer with itself."""
        gate = Gate(deaf=deaf)

        def behaviour(cancel: Cancellation, relations: Mapping[str, pa.Table]) -> pa.Table:
            gate.pass_through(cancel)
            return pa.table({"word": [word]})

        self.behaviours[word] = behaviour
        return gate

    def fail(self, word: str, error: BaseException) -> None:
        """Make the query `word` raise."""

        def behaviour(cancel: Cancellation, relations: Mapping[str, pa.Table]) -> pa.Table:
            raise error

        self.behaviours[word] = behaviour

    def answer(self, word: str, table: pa.Table) -> None:
        """Make the query `word` answer with `table`."""
        self.behaviours[word] = lambda cancel, relations: table

    def query(self, text: str, **arguments: Any) -> Query:
        return Query(self, text, name=arguments.pop("name", text), **arguments)

    def execute(
        self, text: str, parameters: Mapping[str, Any], *, relations: Mapping[str, pa.Table], cancel: Cancellation
    ) -> pa.Table:
        with self._lock:
            self.executed.append(text)
            self.running += 1
            self.most_running = max(self.most_running, self.running)
        try:
            word = text.split()[0]
            behaviour = self.behaviours.get(word, lambda cancel, relations: pa.table({"word": [word]}))
            return behaviour(cancel, relations)
        finally:
            with self._lock:
                self.running -= 1

    def close(self) -> None:
        pass


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def make_source() -> type[FakeSource]:
    return FakeSource


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cache(clock: Clock) -> Iterator[QueryCache]:
    with QueryCache(clock=clock, max_bytes=2**20) as cache:
        yield cache
