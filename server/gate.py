"""The readiness gate: the event loop's view of the start-up tracker."""

from __future__ import annotations

import asyncio
import math
import time

from prefect_datagen.server.startup import LoadStatus, StartupState, StartupTracker

# Seconds that a client is told to wait before it asks again.
RETRY_AFTER = 2


class ReadinessGate:
    """Lets coroutines wait until data is loaded, loading fails, or the start-up deadline passes.

    Made on the event loop; `wake` may be called from any thread.
    """

    def __init__(self, *, started: float, timeout: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._listeners: set[asyncio.Event] = set()
        self.tracker = StartupTracker(started=started, timeout=timeout, on_change=self.wake)
        self.closing = asyncio.Event()

    def wake(self) -> None:
        """Let everybody who waits look at the state again."""
        # The loop is closed once the server has stopped; a loader that was hung may come back after that.
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        for listener in self._listeners:
            listener.set()

    def close(self) -> None:
        """The server stops: waits end, with `closing` set."""
        self.closing.set()
        self._wake()

    async def changed(self, state: StartupState, *, within: float) -> StartupState:
        """The state once it differs from `state` in what clients see, or after `within` seconds."""
        until = time.monotonic() + within
        listener = asyncio.Event()
        self._listeners.add(listener)
        try:
            while True:
                listener.clear()
                now = self.tracker.state()
                if self.closing.is_set() or _differs(now, state):
                    return now
                remaining = min(until, self._next_deadline(now)) - time.monotonic()
                try:
                    await asyncio.wait_for(listener.wait(), timeout=max(0.0, remaining))
                except TimeoutError:
                    if time.monotonic() >= until:
                        return self.tracker.state()
        finally:
            self._listeners.discard(listener)

    async def settled(self) -> StartupState:
        """The state once requests can be answered, with data or with a refusal; the deadline settles it at last."""
        state = self.tracker.state()
        while state.status is LoadStatus.LOADING and not self.closing.is_set():
            state = await self.changed(state, within=60.0)
        return state

    def _next_deadline(self, state: StartupState) -> float:
        return self.tracker.deadline if state.status is LoadStatus.LOADING else math.inf


def _differs(one: StartupState, other: StartupState) -> bool:
    return (one.status, one.error, one.version, one.phases) != (other.status, other.error, other.version, other.phases)
