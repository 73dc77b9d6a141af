"""The limiter against a simulated endpoint: simulated time, no sleeping."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable

import pytest

from prefect_datagen.engine.limits import START, RateBudget, SharedLimiter

LATENCY = 1.0


def simulate(limiter: SharedLimiter, cells: int, refuses: Callable[[int], bool]) -> tuple[float, int, int]:
    """Make `cells` calls of one second each. `refuses(taken)` says whether a call is pushed back (at once).

    Returns:
        (seconds, calls pushed back, most calls that the endpoint had at once).
    """
    now, left, wasted, most, number = 0.0, cells, 0, 0, 0
    ends: list[tuple[float, int, bool]] = []
    taken = 0
    while left or ends:
        while left and limiter.has_slot(now):
            limiter.started()
            left -= 1
            number += 1
            refused = refuses(taken)
            taken += not refused
            most = max(most, taken)
            heapq.heappush(ends, (now + (0.001 if refused else LATENCY), number, refused))
        if not ends:
            now = limiter.paused_until()
            continue
        now, _, refused = heapq.heappop(ends)
        if refused:
            limiter.pushed_back(now, None)
            wasted += 1
            left += 1
        else:
            taken -= 1
            limiter.answered(now)
    return now, wasted, most


def test_a_willing_endpoint_gets_the_ceiling_after_a_short_start() -> None:
    seconds, wasted, most = simulate(SharedLimiter(64), 3_000, lambda taken: False)
    assert wasted == 0
    assert most == 64
    assert seconds <= 3_000 / 64 * LATENCY + 3 * LATENCY


def test_an_endpoint_that_takes_sixteen_wastes_at_most_fifty_of_nine_hundred() -> None:
    seconds, wasted, most = simulate(SharedLimiter(64), 900, lambda taken: taken >= 16)
    assert wasted <= 50
    assert most == 16
    assert seconds <= 1.15 * 900 / 16 * LATENCY


@pytest.mark.parametrize("seed", range(5))
def test_one_percent_of_random_push_backs_costs_little(seed: int) -> None:
    rng = random.Random(seed)
    clean, _, _ = simulate(SharedLimiter(64), 3_000, lambda taken: False)
    seconds, wasted, _ = simulate(SharedLimiter(64), 3_000, lambda taken: rng.random() < 0.01)
    assert wasted > 10
    assert seconds <= 1.3 * clean


def test_one_push_back_freezes_nothing() -> None:
    limiter = SharedLimiter(8)
    for _ in range(8):
        limiter.started()
    limiter.pushed_back(0.0, 60.0)
    assert limiter.limit == 8
    assert limiter.has_slot(0.0)


def test_when_everything_is_pushed_back_the_endpoint_is_left_alone_for_as_long_as_it_asked() -> None:
    limiter = SharedLimiter(4)
    limiter.started()
    limiter.pushed_back(10.0, 5.0)
    assert not limiter.has_slot(14.9)
    assert limiter.has_slot(15.0)


def test_a_freed_endpoint_is_found_out() -> None:
    """Capacity comes back: the limit grows again to the ceiling."""
    limiter = SharedLimiter(32)
    simulate(limiter, 300, lambda taken: taken >= 8)
    assert limiter.limit <= 9
    simulate(limiter, 20_000, lambda taken: False)
    assert limiter.limit == 32


def test_what_an_endpoint_took_is_forgotten_when_the_last_run_ends() -> None:
    limiter = SharedLimiter(64)
    first, second = (lambda: None), (lambda: None)
    limiter.watchers |= {first, second}
    simulate(limiter, 2_000, lambda taken: taken >= 4)
    assert limiter.limit <= 5
    limiter.left_by(first)
    assert limiter.limit <= 5
    limiter.left_by(second)
    _, wasted, most = simulate(limiter, 3_000, lambda taken: False)
    assert (wasted, most) == (0, 64)


def test_a_pause_holds_for_the_next_run_too() -> None:
    limiter = SharedLimiter(4)
    limiter.started()
    limiter.pushed_back(10.0, 5.0)
    limiter.left_by(lambda: None)
    assert not limiter.has_slot(14.9)
    assert limiter.has_slot(15.0)


def test_a_small_ceiling_is_where_it_starts() -> None:
    assert SharedLimiter(3).limit == 3
    assert SharedLimiter(1_000).limit == START


def test_a_rate_budget_never_gives_a_minute_more_than_asked() -> None:
    budget, now, spent = RateBudget(120), 0.0, []
    while now < 120:
        now += budget.wait(now) + 1e-9
        budget.spend(now, 1)
        spent.append(now)
    for start in spent:
        assert sum(start <= at < start + 60 for at in spent) <= 122  # one bucket more at the edges


def test_an_overdrawn_token_budget_is_waited_for() -> None:
    budget = RateBudget(6_000)
    budget.spend(0.0, 1_100)
    assert budget.wait(0.0) == pytest.approx(10.01, abs=0.02)
    assert budget.wait(10.1) == 0.0


def test_no_budget_never_waits() -> None:
    budget = RateBudget(None)
    budget.spend(0.0, 1e9)
    assert budget.wait(0.0) == 0.0
