"""What follows from a failed call: bounded, jittered, and never for ever."""

from __future__ import annotations

import random

import pytest

from prefect_datagen.engine.errors import ErrorKind
from prefect_datagen.engine.retry import RetryPolicy, Tries
from tests.engine.fake_model import model_error


def decisions(
    policy: RetryPolicy, kind: ErrorKind, *, retry_after: float | None = None, most: int = 1_000
) -> list[str]:
    """What becomes of a cell that gets nothing but this error."""
    tries, rng, seen = Tries(), random.Random(1), []
    for _ in range(most):
        again = policy.decide(model_error(kind, retry_after=retry_after), tries, rng)
        if again is None:
            return [*seen, "reject"]
        seen.append("salvage" if again.salvage else "soon")
    return seen


def test_retryable_errors_get_quick_tries_then_salvage_rounds_then_none() -> None:
    assert decisions(RetryPolicy(2, 1), ErrorKind.RETRYABLE) == ["soon", "soon", "salvage", "reject"]


@pytest.mark.parametrize("kind", [ErrorKind.PERMANENT, ErrorKind.FATAL])
def test_permanent_errors_get_none(kind: ErrorKind) -> None:
    assert decisions(RetryPolicy(5, 5), kind) == ["reject"]


def test_push_backs_use_up_no_tries_but_end_one_day() -> None:
    seen = decisions(RetryPolicy(0, 0), ErrorKind.THROTTLED, retry_after=0.0)
    assert seen[:50] == ["soon"] * 50
    assert seen[-1] == "reject"


def test_retry_after_is_a_floor_and_jittered() -> None:
    policy, rng = RetryPolicy(), random.Random(1)
    delays = [
        policy.decide(model_error(ErrorKind.THROTTLED, retry_after=7.0), Tries(), rng).delay  # type: ignore[union-attr]
        for _ in range(50)
    ]
    assert min(delays) >= 7.0
    assert len(set(delays)) == 50


def test_backoff_grows_and_is_bounded() -> None:
    policy, rng = RetryPolicy(max_retries=30), random.Random(1)
    tries = Tries()
    delays = [policy.decide(model_error(ErrorKind.RETRYABLE), tries, rng).delay for _ in range(30)]  # type: ignore[union-attr]
    assert max(delays) <= 30.0
    assert max(delays[:2]) <= 1.0
    assert max(delays[10:]) > 10.0
