"""When a model is given up: the circuit breaker and the early-shutdown rule. Pure; time comes in as an argument.

*Circuit.* Retryable errors alone do not end a run, but they are bounded. After `window` of them without one success (or
`patience`, push-backs not counted: these are the limiter's) the circuit is half open: one call at a time probes the
endpoint, waiting 1, 2, 4, ... up to 30 s between probes. The first success closes it. When nothing but retryable errors
has come for `deadline` seconds it is overdue; where that is so of all endpoints of a model they open, and the run ends.

*Early shutdown.* Of the last `window` finished cells of an alias, some were rejected. The run stops when the lower bound
of Wilson's 95 % score interval for the rejection rate is above the threshold, so a few failures close together are no
reason and a dead endpoint is one after some calls. Source: E. B. Wilson, "Probable inference, the law of succession, and
statistical inference", JASA 22 (1927).
"""

from __future__ import annotations

import math
import sys
from collections import Counter, deque
from dataclasses import dataclass, field
from enum import StrEnum

_Z = 1.959963984540054  # 97.5th percentile of the normal distribution
_FEWEST = 10  # cells before the rule may speak: with fewer, an unlucky start would end a healthy run
_MAX_PROBE_PAUSE = 30.0


def wilson_lower_bound(failed: int, total: int) -> float:
    """Lower end of Wilson's 95 % interval for a rate of which `failed` of `total` were seen. 0 for no trials."""
    if total == 0:
        return 0.0
    rate = failed / total
    square = _Z * _Z / total
    centre = rate + square / 2
    spread = _Z * math.sqrt(rate * (1 - rate) / total + square / (4 * total))
    return max(0.0, (centre - spread) / (1 + square))


class CircuitState(StrEnum):
    """State of a circuit breaker."""

    CLOSED = "closed"
    HALF_OPEN = "half-open"
    OPEN = "open"


@dataclass
class Circuit:
    """The breaker of one (endpoint, model) in one run."""

    window: int
    deadline: float
    state: CircuitState = field(init=False, default=CircuitState.CLOSED)
    failures: int = field(init=False, default=0)
    patience: int = field(init=False)
    failing_since: float | None = field(init=False, default=None)
    last_error: str = field(init=False, default="")
    _next_probe: float = field(init=False, default=0.0)
    _pause: float = field(init=False, default=1.0)
    _broken: int = field(init=False, default=0)  # of `failures`, those that were no push-backs

    def __post_init__(self) -> None:
        self.patience = self.window

    @classmethod
    def closed(cls) -> Circuit:
        """One that never opens, for calls whose client knows by itself when to give up."""
        return cls(sys.maxsize, math.inf)

    def allows(self, now: float, in_flight: int) -> bool:
        """Whether a call may be sent."""
        if self.state is CircuitState.CLOSED:
            return True
        return self.state is CircuitState.HALF_OPEN and in_flight == 0 and now >= self._next_probe

    def next_probe(self) -> float:
        """Time of the next probe while half open."""
        return self._next_probe

    def succeeded(self) -> None:
        """An answer came."""
        self.state = CircuitState.CLOSED
        self.failures = self._broken = 0
        self.failing_since = None
        self._pause = 1.0

    def failed(self, now: float, error: str, *, pushed_back: bool = False) -> None:
        """A retryable error came."""
        self.failures += 1
        self._broken += not pushed_back
        self.last_error = error
        if self.failing_since is None:
            self.failing_since = now
        if self.state is CircuitState.HALF_OPEN:
            self._next_probe = now + self._pause
            self._pause = min(_MAX_PROBE_PAUSE, 2 * self._pause)
        elif self.failures >= self.window or self._broken >= self.patience:
            self.state = CircuitState.HALF_OPEN
            self._next_probe = now + self._pause
            self._pause *= 2

    def overdue(self, now: float) -> bool:
        """Whether nothing but retryable errors has come for the whole deadline."""
        return self.failing_since is not None and now - self.failing_since >= self.deadline

    def open(self) -> None:
        """Send nothing any more."""
        self.state = CircuitState.OPEN


@dataclass
class ShutdownRule:
    """Early shutdown for one alias. `rate` None disables it, at 100 % failures too."""

    rate: float | None
    window: int
    total: int = field(init=False, default=0)
    failed: int = field(init=False, default=0)
    causes: Counter[str] = field(init=False, default_factory=Counter)
    _last: deque[bool] = field(init=False)
    _failed_of_last: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self._last = deque()

    def observe(self, cause: str | None) -> bool:
        """Take the end of a cell (`None`: made; else why not). Whether the run is to stop now."""
        self.total += 1
        failed = cause is not None
        if cause is not None:
            self.failed += 1
            self.causes[cause] += 1
        self._last.append(failed)
        self._failed_of_last += failed
        if len(self._last) > self.window:
            self._failed_of_last -= self._last.popleft()
        if self.rate is None or not failed or len(self._last) < min(_FEWEST, self.window):
            return False
        return wilson_lower_bound(self._failed_of_last, len(self._last)) > self.rate
