"""What the server has loaded so far, how long it took, and whether it is ready: one thread-safe tracker.

    LOADING ──succeed──► READY ──fail──► READY, stale ──succeed──► READY
       │  └──fail──► FAILED ──succeed──► READY
       └─ deadline passed ─► FAILED (StartupTimeout), until a load succeeds after all

The status is derived from three stored facts (a version was loaded, the last load's error, the deadline), so no timer
is needed for a loader that hangs and no two flags can disagree.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

logger = logging.getLogger("prefect_datagen.server")

TIMED_OUT = "StartupTimeout"


class LoadStatus(StrEnum):
    """Whether requests for data are answered: later, now, or not until something is repaired."""

    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"


@dataclass(frozen=True)
class StartupState:
    """One moment of the tracker.

    Attributes:
        status: see `LoadStatus`.
        error: type name of what the last load failed with; never its message, which may hold paths.
        version: how often different data was loaded; 0 before the first time.
        stale: whether the data shown is older than a load that failed.
        phases: names of what is being loaded now, in the order they began.
        elapsed: seconds since the process started.
        milliseconds: duration of each phase of the running load, or of the last one.
        sizes: counts of what that load brought (rows, row groups, bytes, ...).
    """

    status: LoadStatus
    error: str | None
    version: int
    stale: bool
    phases: tuple[str, ...]
    elapsed: float
    milliseconds: dict[str, float]
    sizes: dict[str, int]

    def summary(self) -> dict[str, Any]:
        """What `/api/health` tells: no sizes, no paths."""
        return {
            "status": self.status,
            "ready": self.status is LoadStatus.READY,
            "error": self.error,
            "stale": self.stale,
            "version": self.version,
            "phase": ", ".join(self.phases) or None,
            "elapsed": round(self.elapsed, 3),
        }


class StartupTracker:
    """Thread-safe record of loading. Phases of several threads may overlap.

    Args:
        started: `time.monotonic()` at which the process started.
        timeout: seconds from `started` after which a server that never was ready counts as failed.
        on_change: called after each change, from the thread that made it; must not block.
    """

    def __init__(self, *, started: float, timeout: float, on_change: Callable[[], None]) -> None:
        self._started = started
        self.deadline = started + timeout
        self._on_change = on_change
        self._lock = threading.Lock()
        self._version = 0
        self._error: str | None = None
        self._running: dict[str, float] = {}
        self._milliseconds: dict[str, float] = {}
        self._sizes: dict[str, int] = {}

    def begin(self) -> None:
        """A load begins: durations and sizes are counted from nothing."""
        with self._lock:
            self._running.clear()
            self._milliseconds = {}
            self._sizes = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time one phase; its duration is kept whether it ends well or raises."""
        began = time.monotonic()
        with self._lock:
            self._running[name] = began
        self._on_change()
        try:
            yield
        finally:
            took = (time.monotonic() - began) * 1000
            with self._lock:
                self._running.pop(name, None)
                self._milliseconds[name] = round(took, 1)
            logger.debug("phase %s took %.1f ms", name, took)
            self._on_change()

    def size(self, name: str, value: int) -> None:
        """Note how much of something was loaded."""
        with self._lock:
            self._sizes[name] = value

    def succeed(self, *, changed: bool = True) -> None:
        """A load ended well: its data is what is served from now on; `changed` says whether it differs from before."""
        with self._lock:
            self._running.clear()
            self._version += changed or self._version == 0
            self._error = None
            version, took, sizes = self._version, dict(self._milliseconds), dict(self._sizes)
        logger.log(logging.INFO if changed else logging.DEBUG, "loaded version %d: %s ms, %s", version, took, sizes)
        self._on_change()

    def fail(self, error: BaseException) -> None:
        """A load failed: data loaded before stays, and is called stale."""
        with self._lock:
            self._running.clear()
            repeated = self._error == type(error).__name__
            self._error = type(error).__name__
            took = dict(self._milliseconds)
        # The same failure again, while it is retried, is not news.
        level = logging.DEBUG if repeated else logging.ERROR
        logger.log(level, "loading failed after %s ms: %s: %s", took, type(error).__name__, error)
        self._on_change()

    def state(self) -> StartupState:
        """This moment."""
        now = time.monotonic()
        with self._lock:
            late = self._version == 0 and now >= self.deadline
            error = self._error or (TIMED_OUT if late else None)
            if self._version:
                status = LoadStatus.READY
            elif error:
                status = LoadStatus.FAILED
            else:
                status = LoadStatus.LOADING
            return StartupState(
                status=status,
                error=error,
                version=self._version,
                stale=self._version > 0 and error is not None,
                phases=tuple(self._running),
                elapsed=now - self._started,
                milliseconds=dict(self._milliseconds),
                sizes=dict(self._sizes),
            )

    def __repr__(self) -> str:
        state = self.state()
        return f"<StartupTracker {state.status} version={state.version} error={state.error}>"
