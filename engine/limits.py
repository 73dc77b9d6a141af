"""How many calls a model may have in flight. Pure: time comes in as an argument, in seconds of a monotonic clock.

Two ceilings hold at once. An *alias* never has more than its `max_parallel_requests` in flight. An *endpoint's model*
(shared by all aliases and runs of the process that name it) has a limit that adapts:

* It starts at `START` and grows by one per answer (slow start) until the first push-back, so an endpoint that takes less
  than asked for is not hit with the whole ceiling at once.
* Answers are judged in rounds of about `limit` answers. One 429 in a round changes nothing but the cell that got it: a
  random 429 says nothing about capacity, and halving on each, as TCP does, would collapse the limit (at 1 % losses
  to about twelve). From `max(2, 10 %)` of a round on, the limit falls to what is still in flight, that is, to what the
  endpoint did accept.
* After a clean round it grows by one; a probe that was pushed back doubles the clean rounds before the next (up to 64),
  so an endpoint of fixed capacity is probed ever more rarely; after one that was not, the next follows at once.
* When every call was pushed back and none is left in flight, nothing is sent until the time the endpoint asked for.
* It lives while a run of the process uses it. When the last one ends it starts over: what an endpoint took from that run
  says little about the next, which may come hours later, and from a low limit the way up is a long one.

Prior art: additive increase, multiplicative decrease (Chiu and Jain, 1989); CUBIC's plateau (RFC 9438); the decrease
"to what was accepted" is our own, since a 429 tells exactly who was refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

START = 32
_MAX_PAUSE = 60.0
_MAX_PROBE_ROUNDS = 64
_NO_LIMIT = 1 << 40


@dataclass(frozen=True)
class LimiterStatistics:
    """A look at a shared limiter. `paused_for` in seconds."""

    limit: int
    in_flight: int
    throttled: int
    decreases: int
    paused_for: float


@dataclass(eq=False)
class SharedLimiter:
    """The adaptive limit of one (endpoint, model). `ceiling` is the largest that any alias asks for.

    `watchers` are called whenever a slot came free: every run of the process that uses the model looks again then, and
    leaves (`left_by`) when it ends.
    """

    ceiling: int
    limit: float = field(init=False)
    in_flight: int = field(init=False, default=0)
    throttled: int = field(init=False, default=0)
    decreases: int = field(init=False, default=0)
    watchers: set[Callable[[], None]] = field(init=False, default_factory=set)
    _paused_until: float = field(init=False, default=0.0)
    _slow_start: bool = field(init=False)
    _answers: int = field(init=False)
    _refused: int = field(init=False)
    _clean_rounds: int = field(init=False)
    _probe_after: int = field(init=False)
    _probing: bool = field(init=False)
    _pauses: int = field(init=False)

    def __post_init__(self) -> None:
        self._start_over()

    def _start_over(self) -> None:
        self.limit = float(min(START, self.ceiling))
        self._slow_start, self._probing = True, False
        self._answers = self._refused = self._clean_rounds = self._pauses = 0
        self._probe_after = 1

    @classmethod
    def unlimited(cls) -> SharedLimiter:
        """One that holds nothing back, for calls that something else limits."""
        limiter = cls(_NO_LIMIT)
        limiter.limit = float(_NO_LIMIT)
        return limiter

    def raise_ceiling(self, ceiling: int) -> None:
        """Another alias joins; the highest ceiling counts."""
        self.ceiling = max(self.ceiling, ceiling)

    def left_by(self, watcher: Callable[[], None]) -> None:
        """A run ends. A pause that the endpoint asked for is kept, whoever comes next."""
        self.watchers.discard(watcher)
        if not self.watchers:
            self._start_over()

    def has_slot(self, now: float) -> bool:
        """Whether one more call may be sent."""
        return self.in_flight < int(self.limit) and now >= self._paused_until

    def paused_until(self) -> float:
        """Time before which nothing may be sent (in the past where nothing forbids it)."""
        return self._paused_until

    def started(self) -> None:
        """A call is sent."""
        self.in_flight += 1

    def abandoned(self) -> None:
        """A call ended and says nothing about capacity: cancelled, or never sent."""
        self._free()

    def answered(self, now: float) -> None:
        """A call came back, whatever with, but not pushed back."""
        self._free()
        self._pauses = 0
        if self._slow_start:
            self.limit = min(float(self.ceiling), self.limit + 1)
        self._answers += 1
        self._end_round(now)

    def pushed_back(self, now: float, retry_after: float | None) -> None:
        """A call was refused for being one too many (429, 503)."""
        self._free()
        self.throttled += 1
        self._refused += 1
        heavy = self._refused >= max(2.0, 0.1 * self.limit)
        if heavy or self.in_flight == 0:
            self._slow_start = False
            accepted = float(max(1, self.in_flight))
            if accepted < self.limit:
                self.limit = accepted
                self.decreases += 1
                self._probe_after = min(_MAX_PROBE_ROUNDS, 2 * self._probe_after)
                self._clean_rounds = 0
                self._probing = False
        if self.in_flight == 0:
            self._pauses += 1
            pause = retry_after if retry_after is not None else min(_MAX_PAUSE, 0.25 * 2**self._pauses)
            self._paused_until = max(self._paused_until, now + min(_MAX_PAUSE, pause))
        self._end_round(now)

    def _free(self) -> None:
        self.in_flight -= 1
        for watcher in self.watchers:
            watcher()

    def _end_round(self, now: float) -> None:
        if self._answers + self._refused < self.limit:
            return
        if self._refused:
            self._clean_rounds = 0
            self._probing = False
        elif not self._slow_start:
            self._clean_rounds += 1
            if self._probing:
                self._probe_after = 1
            self._probing = self._clean_rounds >= self._probe_after
            if self._probing:
                self._clean_rounds = 0
                self.limit = min(float(self.ceiling), self.limit + 1)
        self._answers = self._refused = 0

    def statistics(self, now: float) -> LimiterStatistics:
        """A look at the limiter."""
        return LimiterStatistics(
            int(self.limit), self.in_flight, self.throttled, self.decreases, max(0.0, self._paused_until - now)
        )


@dataclass
class RateBudget:
    """A budget per minute that refills evenly (token bucket): requests, or tokens. `None` is no budget."""

    per_minute: float | None
    _level: float = field(init=False, default=0.0)
    _at: float | None = field(init=False, default=None)

    def _refill(self, now: float) -> None:
        if self.per_minute is None:
            return
        # A bucket holds one second's worth (at least one unit), so that a minute never sees more than was asked for.
        capacity = max(1.0, self.per_minute / 60)
        passed = 60.0 if self._at is None else now - self._at
        self._level = min(capacity, self._level + passed * self.per_minute / 60)
        self._at = now

    def set_rate(self, per_minute: float, now: float) -> None:
        """Refill at another rate from now on."""
        self._refill(now)
        self.per_minute = per_minute

    def wait(self, now: float) -> float:
        """Seconds until the next unit may be spent; 0 where it may be now, infinite at a rate of 0."""
        if self.per_minute is None:
            return 0.0
        self._refill(now)
        if self.per_minute == 0:
            return math.inf
        needed = min(1.0, max(1.0, self.per_minute / 60))
        return max(0.0, (needed - self._level) * 60 / self.per_minute)

    def spend(self, now: float, amount: float) -> None:
        """Take `amount` units, below zero if need be: what is overdrawn is waited for by the next."""
        if self.per_minute is not None:
            self._refill(now)
            self._level -= amount
