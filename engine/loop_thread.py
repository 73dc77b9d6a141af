"""One event loop per process, in a thread of its own: where all async work of all row groups happens.

Prefect gives every async task its own loop, and on that a shared HTTP session, semaphore or timer breaks. So stage tasks
are synchronous; they hand a coroutine to this loop and wait for its end.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any, TypeVar

T = TypeVar("T")

_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None


def event_loop() -> asyncio.AbstractEventLoop:
    """The process's engine loop, started on first use. A child process that was forked starts its own."""
    global _loop
    with _lock:
        if _loop is None or _loop.is_closed() or not _thread_alive():
            _loop = _new_loop()
            thread = threading.Thread(target=_loop.run_forever, name=_THREAD_NAME, daemon=True)
            thread.start()
        return _loop


_THREAD_NAME = "prefect-datagen-engine"


def _thread_alive() -> bool:
    return any(thread.name == _THREAD_NAME for thread in threading.enumerate())


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:  # not on Windows
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on the engine's loop from any other thread and wait for it.

    When the waiting thread is interrupted, the coroutine is cancelled.
    """
    future = asyncio.run_coroutine_threadsafe(work, event_loop())
    try:
        return future.result()
    except BaseException:
        if not future.done():
            future.cancel()
        raise


@contextmanager
def entered(manager: AbstractAsyncContextManager[T]) -> Iterator[T]:
    """Hold an asynchronous context manager of the engine's loop in any other thread."""
    value = run(manager.__aenter__())
    try:
        yield value
    finally:
        run(manager.__aexit__(None, None, None))
