"""Shares of a limit among simulated processes: time and looks are simulated, no sleeping."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest

from prefect_datagen.engine.shares import YIELD_EVERY, Share, SharedLimitView


@dataclass
class Process:
    """A process that would like `demand` calls in flight; its leases are what the limit knows.

    Like the engine it looks after its calls only when it was woken. Calls end after a while, but for `endless` ones.
    """

    demand: int
    endless: bool = False
    share: Share = field(default_factory=Share)
    leased: int = 0
    woken: bool = True

    def __post_init__(self) -> None:
        self.share.ask_for(self.demand, of="model")
        self.share.watchers.add(self._wake)

    def _wake(self) -> None:
        self.woken = True

    def call(self, now: float) -> None:
        """End some calls; when woken, start as many as the share allows."""
        for _ in range(0 if self.endless else random.Random(now + self.demand).randint(0, self.share.in_flight)):
            self.share.ended()
        if not self.woken:
            return
        self.woken = False
        while self.share.in_flight < self.demand and self.share.has_slot(now):
            self.share.started(now)
        if self.share.in_flight < self.demand:
            self.share.unserved(now)

    def look(self, limit: Limit, now: float) -> None:
        """What a holder does at a look."""
        target = self.share.look(SharedLimitView(limit.slots, limit.taken, len(limit.processes)))
        if target > self.leased:
            self.leased += min(target - self.leased, limit.slots - limit.taken)
        self.share.resize(min(target, self.leased), slots=limit.slots, now=now)
        self.leased = min(self.leased, self.share.held + self.share.surplus)


@dataclass
class Limit:
    """The limit and who takes part."""

    slots: int
    processes: list[Process] = field(default_factory=list)

    @property
    def taken(self) -> int:
        """Slots leased."""
        return sum(process.leased for process in self.processes)

    def run(self, looks: int, *, start: float = 0.0) -> list[list[int]]:
        """Let everybody work and look so many times. Returns the calls in flight of each process after each look."""
        seen = []
        for step in range(looks):
            for process in self.processes:
                for beat in range(3):
                    process.call(start + step + beat / 4)
                process.look(self, start + step + 0.9)
                process.call(start + step + 0.95)
                assert sum(each.share.in_flight for each in self.processes) <= self.slots
                assert self.taken <= self.slots
            seen.append([each.share.in_flight for each in self.processes])
        return seen


def test_a_process_alone_holds_what_it_can_use_and_no_more() -> None:
    limit = Limit(64, [Process(demand=10)])
    assert limit.run(3)[-1] == [10]
    assert limit.taken == 10
    assert Limit(8, [Process(demand=100)]).run(3)[-1] == [8]


def test_a_second_process_gets_its_half_within_a_few_looks() -> None:
    limit = Limit(64, [Process(demand=64)])
    assert limit.run(5)[-1] == [64]
    limit.processes.append(Process(demand=64))
    assert limit.run(8)[-1] == [32, 32]


def test_a_process_that_joins_while_a_slot_is_free_gets_its_half_as_soon_as_none_is() -> None:
    share = Share()
    share.ask_for(6, of="model")
    share.resize(5, slots=6, now=0.0)
    for _ in range(5):
        share.started(0.0)
    share.unserved(0.0)
    assert share.look(SharedLimitView(slots=6, taken=5, members=2)) == 5  # it has joined and leased nothing yet
    share.unserved(1.0)
    assert share.look(SharedLimitView(slots=6, taken=6, members=2)) == 3
    share.resize(3, slots=6, now=2.0)
    for _ in range(2):
        share.ended()
    share.unserved(2.0)
    assert share.look(SharedLimitView(slots=6, taken=6, members=2)) == 3  # once


def test_the_last_process_takes_what_the_others_left_behind() -> None:
    limit = Limit(64, [Process(demand=64), Process(demand=64)])
    limit.run(10)
    limit.processes.pop()
    assert limit.run(3)[-1] == [64]


def test_slots_that_one_cannot_use_go_to_the_other() -> None:
    limit = Limit(64, [Process(demand=4), Process(demand=64)])
    seen = limit.run(3 * YIELD_EVERY)
    assert all(first == 4 for first, _ in seen[10:])
    assert sum(second for _, second in seen[10:]) > 0.9 * 60 * len(seen[10:])


@pytest.mark.parametrize("looks", [2, 3, 6])
def test_slots_of_a_process_that_ends_go_to_calls_that_wait(looks: int) -> None:
    limit = Limit(8, [Process(5, endless=True), Process(4, endless=True), Process(4, endless=True)])
    assert sum(limit.run(looks)[-1]) == 8
    del limit.processes[0]
    assert limit.run(4)[-1] == [4, 4]


def test_a_process_whose_need_grows_gets_its_share_though_nobody_joins() -> None:
    small, large = Process(demand=4), Process(demand=64)
    limit = Limit(64, [small, large])
    limit.run(10)
    small.demand, small.woken = 64, True
    small.share.ask_for(64, of="model")
    assert 32 in [first for first, _ in limit.run(2 * YIELD_EVERY, start=100)]


def test_more_processes_than_slots_take_turns() -> None:
    limit = Limit(2, [Process(demand=4) for _ in range(5)])
    seen = limit.run(12 * YIELD_EVERY)
    assert all(any(step[number] for step in seen) for number in range(5))


@pytest.mark.parametrize("seed", range(8))
def test_whoever_comes_and_goes_the_limit_holds_and_is_used(seed: int) -> None:
    rng = random.Random(seed)
    limit = Limit(rng.randint(3, 40))
    for step in range(20):
        if len(limit.processes) < 2 or rng.random() < 0.6:
            limit.processes.append(Process(demand=rng.randint(1, 50)))
        else:
            limit.processes.pop(rng.randrange(len(limit.processes)))
        seen = limit.run(2 * YIELD_EVERY, start=1000.0 * step)
        wanted = min(limit.slots, sum(process.demand for process in limit.processes))
        assert max(sum(each) for each in seen) == wanted


def test_rates_are_cut_like_slots() -> None:
    share = Share(bounds_calls=False, rpm=6000)
    share.resize(25, slots=100, now=0.0)
    sent = 0
    for millisecond in range(60_000):
        now = millisecond / 1000
        while share.has_slot(now):
            share.started(now)
            share.ended()
            sent += 1
    assert sent == pytest.approx(1500, abs=26)


def test_nothing_is_sent_without_a_share_and_tokens_count_once_known() -> None:
    share = Share(bounds_calls=False, tpm=6000)
    assert not share.has_slot(0.0)
    share.resize(100, slots=100, now=0.0)
    assert share.has_slot(0.0)
    share.started(0.0)
    share.ended()
    share.spent(0.0, 1000)
    assert not share.has_slot(1.0)
    assert share.wait(0.0) == pytest.approx(9.0, abs=0.2)
    assert share.has_slot(10.0)
