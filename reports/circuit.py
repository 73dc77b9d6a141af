"""A circuit breaker: a source that broke down several times in a row is left alone for a while.

    CLOSED ──`failures_to_open` breakdowns in a row──► OPEN ──`cooldown` seconds──► HALF_OPEN ──success──► CLOSED
                                                        ▲                               │
                                                        └───────────breakdown───────────┘

HALF_OPEN lets one query through at a time. Pure: the caller brings the time, and calls under its own lock. Prior art:
M. Nygard, "Release It!" (2007).
"""

from __future__ import annotations

from enum import StrEnum


class CircuitState(StrEnum):
    """Whether a source is asked."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class Circuit:
    """The circuit of one source."""

    def __init__(self, *, failures_to_open: int, cooldown: float) -> None:
        self._failures_to_open = failures_to_open
        self._cooldown = cooldown
        self._failures = 0
        self._opened_at: float | None = None
        self._probing = False

    def state(self, now: float) -> CircuitState:
        """The state at this moment."""
        if self._opened_at is None:
            return CircuitState.CLOSED
        return CircuitState.OPEN if now < self._opened_at + self._cooldown else CircuitState.HALF_OPEN

    def admit(self, now: float) -> bool:
        """Whether one more query may go to the source. Each admitted one must end in one of the three calls below."""
        if self.refuses(now):
            return False
        self._probing = self.state(now) is CircuitState.HALF_OPEN
        return True

    def refuses(self, now: float) -> bool:
        """Whether a query would not be admitted now."""
        state = self.state(now)
        return state is CircuitState.OPEN or (state is CircuitState.HALF_OPEN and self._probing)

    def retry_after(self, now: float) -> float:
        """Seconds until a query may try again."""
        return 0.0 if self._opened_at is None else max(0.0, self._opened_at + self._cooldown - now)

    def answered(self) -> None:
        """The source answered, if only with an error of the query."""
        self._failures = 0
        self._opened_at = None
        self._probing = False

    def broke(self, now: float) -> bool:
        """The source broke down. Returns whether the circuit is open after that."""
        self._failures += 1
        self._probing = False
        if self._failures >= self._failures_to_open:
            self._opened_at = now
        return self._opened_at is not None

    def released(self) -> None:
        """The query that was let through half-open ended without telling anything: it was cancelled."""
        self._probing = False
