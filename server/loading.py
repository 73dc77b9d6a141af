"""Loads datasets and reports in background threads, again and again: at start, after a failure, and while watching.

One thread decides when to load; `base` is read by another, side by side with `current`. All are daemons, because one
that hangs in a read cannot be ended. What was loaded is published in one assignment, so a request sees one version of
everything, and a load that fails leaves the last version in place.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from prefect_datagen.server.asgi import App
from prefect_datagen.server.gate import ReadinessGate
from prefect_datagen.server.settings import ServerSettings

if TYPE_CHECKING:
    from prefect_datagen.reports.query_cache import QueryCache
    from prefect_datagen.server.content import Content

_T = TypeVar("_T")
_Stamps = tuple[tuple[int, int] | None, ...]

POLL = 0.25
"""Seconds between two looks at a watched dataset."""

FIRST_RETRY = 0.5
LAST_RETRY = 5.0
"""Seconds until a load that failed is tried again: the first time, and at most."""

LONGEST_PAUSE = 5.0
"""Seconds that a load may keep the next one waiting, where a dataset changes all the time."""

NICENESS = 5
"""How far the threads that load step back behind the event loop's, in Linux's measure."""

SETTLED_NS = 50_000_000
"""A file changed this shortly before it was looked at may change again under the same time stamp."""


class Loader:
    """Owns what is served: `content`, the `cache` of its queries, and the `application` that answers with them.

    All three are None until the first load has succeeded, and never again.
    """

    def __init__(self, settings: ServerSettings, gate: ReadinessGate) -> None:
        self._settings = settings
        self._gate = gate
        self._stop = threading.Event()
        self._asked = threading.Event()
        self.content: Content | None = None
        self.cache: QueryCache | None = None
        self.application: App | None = None

    def start(self) -> None:
        """Begin to load."""
        threading.Thread(target=self._run, name="loader", daemon=True).start()

    def reload(self) -> None:
        """Load again, soon. Never blocks."""
        self._asked.set()

    def close(self) -> None:
        """Load no more; cancel all queries; remove what was put aside for them."""
        self._stop.set()
        self._asked.set()
        if self.cache is not None:
            self.cache.close(timeout=1.0)
        if self.content is not None:
            for dataset in self.content.datasets:
                dataset.state.packs.close()

    def _run(self) -> None:
        _step_back()
        retry = FIRST_RETRY
        while not self._stop.is_set():
            self._asked.clear()
            seen = self._look()
            began = time.monotonic()
            try:
                self._load()
            except Exception as error:  # noqa: BLE001 - the boundary of a load: any failure is shown, and tried again
                self._gate.tracker.fail(error)
                self._asked.wait(retry)
                retry = min(LAST_RETRY, retry * 2)
            else:
                retry = FIRST_RETRY
                # A large dataset that grows without pause is read at most half of the time.
                self._stop.wait(min(LONGEST_PAUSE, time.monotonic() - began) if self._settings.watch else 0.0)
                self._wait_for_change(seen)

    def _load(self) -> None:
        tracker = self._gate.tracker
        tracker.begin()
        with _collector_paused():
            with tracker.phase("import"):
                from prefect_datagen.reports.query_cache import QueryCache
                from prefect_datagen.server.content import make_content
                from prefect_datagen.server.dataset import load_dataset
                from prefect_datagen.server.routes import create_application
            old, settings = self.content, self._settings
            base = None
            if settings.base is not None:
                directory, previous = settings.base, old.base if old else None
                base = _in_thread(lambda: load_dataset("base", directory, tracker=tracker, previous=previous))
            current = load_dataset("current", settings.current, tracker=tracker, previous=old.current if old else None)
            content = make_content(
                current, base.result() if base else None, settings.reports, tracker=tracker, previous=old
            )
            if self.application is None:
                self.cache = QueryCache()
                self.content = content
                self.application = create_application(self)
            self.content = content
        tracker.succeed(changed=old is None or old.version != content.version)

    def _wait_for_change(self, seen: _Stamps | None) -> None:
        """Until somebody asks for a reload or, while watching, something differs from what it was before the load."""
        while not self._asked.wait(POLL if self._settings.watch else None):
            if seen is None or self._look() != seen:
                return

    def _look(self) -> _Stamps | None:
        """A cheap look at everything that is served; None where it changed this moment, and may go on changing."""
        paths = [*self._settings.reports]
        for directory in filter(None, (self._settings.current, self._settings.base)):
            paths += [directory / name for name in ("manifests", "metadata.json", "data", "config.yaml")]
        stamps = tuple(map(_stamp, paths))
        newest = max((stamp[0] for stamp in stamps if stamp), default=0)
        return stamps if time.time_ns() - newest > SETTLED_NS else None


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_mtime_ns, status.st_size)


def _in_thread(work: Callable[[], _T]) -> Future[_T]:
    """Do some work in a daemon thread, which no pool offers."""
    future: Future[_T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised again by whoever takes the result
            future.set_exception(error)

    threading.Thread(target=run, name="loader-base", daemon=True).start()
    return future


def _step_back() -> None:
    """Let the event loop's thread go first where there are fewer cores than threads.

    Linux counts niceness by thread, and a thread hands it on: to the readers of datasets and to DuckDB's workers, which
    start here. Elsewhere a thread's number may be another process's.
    """
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Keep Python's cycle collector away from the many objects that a load makes.

    A full collection looks at all of them while no other thread may run: with 20,000 manifests that took 300 ms. They
    hold no cycles, so they are put out of its sight for good; reference counting still frees them.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
