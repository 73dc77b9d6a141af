"""What happens to a cell whose call failed. Pure: a decision from the error and what the cell has been through.

A retryable error is tried again soon, with exponential back-off and full jitter (AWS Architecture Blog, "Exponential
Backoff And Jitter", 2015). A cell that used up these tries is set aside until the rest of its row group is done, and gets
a few salvage rounds then, when the trouble may be over. A push-back (429) costs no try: the limiter deals with it, and a
model that gives nothing else is ended by its circuit. All is bounded: no cell is tried for ever.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from prefect_datagen.engine.errors import CellError, ErrorKind, ModelError

_MOST_PUSH_BACKS = 200
_MENDABLE = frozenset({401, 402, 403, 404, 405, 407})  # key, quota, rights, address: somebody may see to it
_ENDPOINT_REASONS = frozenset({"tls", "unusable answer"})


def later_run_may_help(error: ModelError | CellError) -> bool:
    """Whether a row that was rejected for this may be made by another run of the same config (`--resume repair`).

    It may where the endpoint was the trouble, or a key, a quota or an address. What was said of this very request stays:
    a bad request, an answer of the wrong form, a value that does not fit, an error of user code.
    """
    if error.reason in _ENDPOINT_REASONS:
        return True
    if isinstance(error, CellError):
        return False
    is_redirect = error.status is not None and 300 <= error.status < 400
    return error.kind in (ErrorKind.RETRYABLE, ErrorKind.THROTTLED) or error.status in _MENDABLE or is_redirect


@dataclass(frozen=True)
class Again:
    """Try the cell again: after `delay` seconds, or with the next salvage round."""

    delay: float
    salvage: bool = False


@dataclass(slots=True)
class Tries:
    """What one cell has been through."""

    failures: int = 0
    push_backs: int = 0
    calls: int = 0


@dataclass(frozen=True)
class RetryPolicy:
    """`max_retries` quick tries after the first, then `salvage_rounds` late ones. Delays in seconds."""

    max_retries: int = 3
    salvage_rounds: int = 2
    first_delay: float = 0.5
    longest_delay: float = 30.0

    def decide(self, error: ModelError, tries: Tries, rng: random.Random) -> Again | None:
        """Note the error in `tries`; the next try, or None where the cell is to be rejected."""
        if error.kind is ErrorKind.THROTTLED:
            tries.push_backs += 1
            if tries.push_backs > _MOST_PUSH_BACKS:
                return None
            wait = error.retry_after if error.retry_after is not None else self._backoff(tries.push_backs, rng)
            # Jitter on top: a crowd that was told the same second must not come back in the same millisecond.
            return Again(wait + rng.uniform(0.0, 0.1 + 0.1 * wait))
        if error.kind is not ErrorKind.RETRYABLE:
            return None
        tries.failures += 1
        if tries.failures <= self.max_retries:
            return Again(self._backoff(tries.failures, rng))
        if tries.failures <= self.max_retries + self.salvage_rounds:
            return Again(0.0, salvage=True)
        return None

    def salvage_delay(self, round_number: int, rng: random.Random) -> float:
        """Seconds to wait before a salvage round, counted from 1."""
        return self._backoff(round_number + 2, rng)

    def _backoff(self, number: int, rng: random.Random) -> float:
        longest: float = min(self.longest_delay, self.first_delay * 2.0 ** (number - 1))
        return rng.uniform(0.0, longest)
