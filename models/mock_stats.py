"""What the mock model server counts, so that tests and benchmarks can check a client from the other side."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class _Report(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class MockStats(_Report):
    """`GET /stats`. Calls are requests to a model route, whatever came back; times are seconds since the epoch."""

    calls: int = Field(default=0, description="Requests that arrived.")
    answers: int = Field(default=0, description="Calls that got a usable answer.")
    by_status: dict[str, int] = Field(default_factory=dict, description="Calls that got an answer, by HTTP status.")
    by_fault: dict[str, int] = Field(default_factory=dict, description="Calls that got a fault, by its code.")
    disconnected: int = Field(default=0, description="Calls whose caller left before the answer.")
    in_flight: int = Field(default=0, description="Calls being served now. Those refused by max_in_flight never are.")
    max_in_flight: int = Field(default=0, description="Most calls that were being served at once.")
    in_flight_seconds: dict[int, float] = Field(
        default_factory=dict, description="Seconds spent with so many calls in flight, from first call to last answer."
    )
    input_tokens: int = Field(default=0, description="Of usable answers, as told to the callers.")
    output_tokens: int = Field(default=0, description="Of usable answers, as told to the callers.")
    distinct_requests: int = Field(default=0, description="Different bodies that arrived.")
    repeated_requests: int = Field(default=0, description="Usable answers to a body answered before: paid twice.")
    first_call_at: float | None = None
    last_answer_at: float | None = None
    batches: int = Field(default=0, description="Batches that were created.")
    batched_requests: int = Field(
        default=0, description="Their requests; each is a call, too, when the batch has ended."
    )

    def share_in_flight(self, at_least: int, at_most: int | None = None) -> float:
        """Share of the time from first call to last answer with `at_least` to `at_most` calls in flight, 0 to 1."""
        total = sum(self.in_flight_seconds.values())
        inside = sum(
            seconds
            for level, seconds in self.in_flight_seconds.items()
            if level >= at_least and (at_most is None or level <= at_most)
        )
        return inside / total if total else 0.0


class LoggedRequest(_Report):
    """One line of `GET /requests`. Arrivals and finishes are numbered together, so their order can be compared."""

    arrived: int = Field(description="Number of the arrival, from 1, among all arrivals and finishes.")
    finished: int | None = Field(default=None, description="Number of the finish; null while in flight.")
    arrived_at: float = Field(description="Seconds since the epoch.")
    finished_at: float | None = None
    connection: int = Field(description="Number of the TCP connection it came on.")
    path: str
    model: str
    prompt: str = Field(description="Text of all messages (or inputs), one after the other.")
    attempt: int = Field(description="How often this very body has arrived, from 1.")
    outcome: str | None = Field(default=None, description="HTTP status, a fault's name, or `disconnected`.")
    headers: dict[str, str] = Field(description="Names in lower case; without the key.")
    body: dict[str, Any]


class Recorder:
    """Counts calls as they arrive and finish. One per server; used on its event loop only."""

    def __init__(self, *, log_limit: int, in_flight: int = 0) -> None:
        self.calls = 0
        self.in_flight = in_flight
        self._answers = 0
        self._by_status: dict[str, int] = {}
        self._by_fault: dict[str, int] = {}
        self._disconnected = 0
        self._max_in_flight = in_flight
        self._seconds_at = [0.0] * (in_flight + 1)
        self._level_since: float | None = None
        self._first: float | None = None
        self._last: float | None = None
        self._input_tokens = 0
        self._output_tokens = 0
        self._attempts: dict[bytes, int] = {}
        self._answered: set[bytes] = set()
        self._events = 0
        self._log: deque[dict[str, Any]] = deque(maxlen=log_limit)
        # Wall clock that never goes back: monotonic seconds are moved to the epoch once.
        self._epoch = time.time() - time.monotonic()

    def arrive(self, digest: bytes) -> int:
        """Count a call; returns the attempt, from 1."""
        if self._first is None:
            self._first = self._level_since = time.monotonic()
        self.calls += 1
        attempt = self._attempts[digest] = self._attempts.get(digest, 0) + 1
        return attempt

    def start(self) -> None:
        """One more call is being served."""
        self._change_level(1)
        if self.in_flight > self._max_in_flight:
            self._max_in_flight = self.in_flight

    def stop(self) -> None:
        """One call less is being served."""
        self._change_level(-1)

    def answered(self, digest: bytes, *, input_tokens: int, output_tokens: int) -> None:
        """A usable answer was sent."""
        self._answers += 1
        self._answered.add(digest)
        self._input_tokens += input_tokens
        self._output_tokens += output_tokens

    def sent(self, status: int) -> None:
        """An HTTP answer of any kind was sent."""
        self._by_status[str(status)] = self._by_status.get(str(status), 0) + 1

    def fault(self, code: str) -> None:
        """A call got a fault."""
        self._by_fault[code] = self._by_fault.get(code, 0) + 1

    def disconnect(self) -> None:
        """A caller left before the answer."""
        self._disconnected += 1

    def log_arrival(self, **entry: Any) -> dict[str, Any]:
        """Append to the log; give the result to `log_finish` later."""
        self._events += 1
        line = {"arrived": self._events, "arrived_at": time.monotonic() + self._epoch, **entry}
        self._log.append(line)
        return line

    def log_finish(self, line: dict[str, Any], outcome: str) -> None:
        """Complete a line of the log."""
        self._events += 1
        line.update(finished=self._events, finished_at=time.monotonic() + self._epoch, outcome=outcome)

    def log(self) -> list[LoggedRequest]:
        """The newest requests in order of arrival."""
        return [LoggedRequest(**line) for line in self._log]

    def stats(self) -> MockStats:
        """All counts as they stand."""
        return MockStats(
            calls=self.calls,
            answers=self._answers,
            by_status=self._by_status,
            by_fault=self._by_fault,
            disconnected=self._disconnected,
            in_flight=self.in_flight,
            max_in_flight=self._max_in_flight,
            in_flight_seconds={level: seconds for level, seconds in enumerate(self._seconds_at) if seconds},
            input_tokens=self._input_tokens,
            output_tokens=self._output_tokens,
            distinct_requests=len(self._attempts),
            repeated_requests=self._answers - len(self._answered),
            first_call_at=None if self._first is None else self._first + self._epoch,
            last_answer_at=None if self._last is None else self._last + self._epoch,
        )

    def _change_level(self, step: int) -> None:
        now = time.monotonic()
        if self._level_since is not None:
            self._seconds_at[self.in_flight] += now - self._level_since
        self._level_since = now
        self.in_flight += step
        if self.in_flight == len(self._seconds_at):
            self._seconds_at.append(0.0)
        if step < 0:
            self._last = now
