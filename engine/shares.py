"""What this process holds of a limit that many processes share. Pure: nothing here knows who keeps the limit.

A shared limit has a number of slots. A process *holds* some of them for as long as it has row groups, and never has more
calls in flight than it holds; so no call asks anybody. Rates are cut the same way: who holds a third of the slots may
send a third of the requests and tokens per minute.

How much to hold is decided at each *look* at the limit (its slots, how many are taken, how many processes take part):

* Free slots go to whoever has calls that wait for one. Beyond the fair share (slots / processes) a process takes them
  only when they were free at the look before, too: those that are below theirs go first.
* Where no slot is free, a process that holds more than its fair share gives the rest back once another one has joined, and
  every `YIELD_EVERY` looks, since the others' needs change; what they do not take it takes again. With more processes
  than slots the fair share is none, so they take turns.
* Where no slot is free, slots that were not used since the last look are given back.

Slots are given back in two steps. `resize` lowers what calls may use; the slots are the limit's again only when the
calls in flight have come down to that, which `surplus` tells: the limit is never exceeded on the way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from prefect_datagen.engine.limits import RateBudget

YIELD_EVERY = 16


@dataclass(frozen=True)
class SharedLimitView:
    """A look at a shared limit: `slots` in all, `taken` by anybody, `members` that take part (this process is one)."""

    slots: int
    taken: int
    members: int


@dataclass(frozen=True)
class ShareStatistics:
    """A look at a share."""

    slots: int
    held: int
    in_flight: int


class Share:
    """See the module's docstring. One per shared limit and process; used by all ports that name the limit."""

    def __init__(self, *, bounds_calls: bool = True, rpm: float | None = None, tpm: float | None = None) -> None:
        """Hold nothing at first.

        Args:
            bounds_calls: whether slots are calls in flight. Otherwise they only cut the rates.
            rpm: requests per minute of the whole limit.
            tpm: tokens per minute of the whole limit.
        """
        self.held = 0
        self.in_flight = 0
        self.watchers: set[Callable[[], None]] = set()
        self._bounds_calls = bounds_calls
        self._rpm, self._tpm = rpm, tpm
        self._requests, self._tokens = RateBudget(rpm), RateBudget(tpm)
        self._ceilings: dict[str, int] = {}
        self._slots = 0
        self._peak = 0
        self._hungry = False
        self._was_free = False
        self._members = 1  # that room was made for
        self._full_looks = 0

    # -- What calls do

    def ask_for(self, calls: int, *, of: str) -> None:
        """The model alias `of` will never have more than `calls` in flight."""
        self._ceilings[of] = max(calls, self._ceilings.get(of, 0))

    def has_slot(self, now: float) -> bool:
        """Whether one more call may be sent."""
        if self.held == 0 or (self._bounds_calls and self.in_flight >= self.held):
            return False
        return self._requests.wait(now) <= 0 and self._tokens.wait(now) <= 0

    def wait(self, now: float) -> float:
        """Seconds until the rates allow the next call; 0 where something else is waited for, or nothing."""
        return max(self._requests.wait(now), self._tokens.wait(now)) if self.held else 0.0

    def unserved(self, now: float) -> None:
        """A call waits. Notes whether it does so for want of a larger share."""
        self._hungry = self._hungry or not self.has_slot(now)

    def started(self, now: float) -> None:
        """A call is sent."""
        self.in_flight += 1
        self._peak = max(self._peak, self.in_flight)
        self._requests.spend(now, 1)

    def ended(self) -> None:
        """A call came back, was cancelled, or was never sent."""
        self.in_flight -= 1
        self._wake()

    def spent(self, now: float, tokens: int) -> None:
        """An answer cost so many tokens."""
        self._tokens.spend(now, tokens)

    # -- What the holder does

    def look(self, view: SharedLimitView) -> int:
        """How many slots to hold from now on."""
        hungry, peak, was_free = self._hungry or self.held == 0, self._peak, self._was_free
        self._hungry, self._peak = False, self.in_flight
        self._wake()  # calls that still wait are noted for the next look: until then perhaps none ends
        free, fair = max(0, view.slots - view.taken), view.slots // max(1, view.members)
        joined, self._members = view.members > self._members, min(self._members, view.members)
        self._was_free = free > 0
        if free == 0 and view.members > 1:
            self._full_looks += 1
            used = max(1, peak) if self._bounds_calls and not hungry else self.held
            yields = (joined and fair > 0) or self._full_looks % YIELD_EVERY == 0
            if yields:
                self._members = view.members
            return min(self.held, used, fair) if yields else min(self.held, used)
        if not hungry:
            return self.held
        wanted = min(sum(self._ceilings.values()), view.slots) if self._bounds_calls else view.slots
        most = wanted if view.members == 1 or was_free else min(wanted, max(1, fair))
        return max(self.held, min(most, self.held + free))

    def resize(self, held: int, *, slots: int, now: float) -> None:
        """Hold so many of so many slots from now on."""
        grows = held > self.held
        self.held, self._slots = held, slots
        part = held / slots if slots else 0.0
        for budget, whole in ((self._requests, self._rpm), (self._tokens, self._tpm)):
            if whole is not None:
                budget.set_rate(whole * part, now)
        if grows:
            self._wake()

    def left_by(self, watcher: Callable[[], None]) -> None:
        """A run ends."""
        self.watchers.discard(watcher)

    @property
    def surplus(self) -> int:
        """Calls in flight beyond what is held: so many slots cannot be given back yet."""
        return max(0, self.in_flight - self.held) if self._bounds_calls else 0

    def statistics(self) -> ShareStatistics:
        """A look at the share."""
        return ShareStatistics(self._slots, self.held, self.in_flight)

    def __repr__(self) -> str:
        return f"Share({self.statistics()!r})"

    def _wake(self) -> None:
        for watcher in self.watchers:
            watcher()
