"""Events of task runs on their way to Prefect's server: the same events, sent a batch at a time.

Prefect's events worker takes one event after the other: it hands each from a thread to an event loop and back, and asks
five coroutines what the flow run is related to, though the answer is the same for all its task runs. That was half of what
a row group cost in the flow's process.

    Prefect    event ─► thread ─► loop: what is related? ─► web socket
    here       events of 50 ms ─► thread ─► loop: related as those before ─► web socket

Prefect has no setting for either, so two methods of the worker that this process already has are replaced. An event is sent
as Prefect sends it, in the same order, with the same related resources. A Prefect whose worker is built otherwise sends one
by one, as ever.
"""

from __future__ import annotations

import asyncio
import threading
from typing import Any
from uuid import UUID
from weakref import WeakSet

from prefect.context import FlowRunContext, TaskRunContext
from prefect.events import Event, RelatedResource
from prefect.events.worker import EventsWorker, should_emit_events

_LINGER = 0.05
"""Seconds after an event in which those that follow are gathered."""

_MOST_REMEMBERED = 100
"""Flow runs, by tags of their task runs, whose related resources are known."""

_NEEDED = ("_handle", "_queue", "_stopped", "_logger", "attach_related_resources_from_context")
"""What is used of a worker."""

_in_batches: WeakSet[EventsWorker] = WeakSet()
_lock = threading.Lock()


def send_in_batches() -> None:
    """Let this process's events worker send what it is given in batches. May be called again."""
    if not should_emit_events():
        return
    worker = EventsWorker.instance()
    with _lock:
        if worker not in _in_batches and all(hasattr(worker, name) for name in _NEEDED):
            _in_batches.add(worker)
            _Batches(worker)


class _Batches:
    """Takes the place of what an events worker does with an event. Lives on the worker's event loop."""

    def __init__(self, worker: EventsWorker) -> None:
        self._worker: Any = worker  # the queue of events is Prefect's own
        self._send = self._worker._handle
        self._attach = self._worker.attach_related_resources_from_context
        self._related: dict[tuple[UUID | str, ...], list[RelatedResource]] = {}
        vars(worker).update(attach_related_resources_from_context=self.attach, _handle=self.handle)

    async def handle(self, event: Event) -> None:
        """Send an event, and those that come soon after it."""
        await self._send(event)
        worker = self._worker
        if not worker._stopped:
            await asyncio.sleep(_LINGER)
        for _ in range(worker._queue.qsize()):
            following = worker._queue.get_nowait()
            try:
                if following is None:  # the last: it ends the worker's own loop
                    worker._queue.put_nowait(None)
                    return
                await self._send(following)
            except Exception:  # one that cannot be sent keeps no other back, as with Prefect
                worker._logger.exception("an event could not be sent: %r", following)
            finally:
                worker._queue.task_done()

    async def attach(self, event: Event) -> None:
        """Add what the event's run is related to; what a task run is related to is remembered for those after it."""
        flow_run = getattr(FlowRunContext.get(), "flow_run", None)
        task_run = getattr(TaskRunContext.get(), "task_run", None)
        if flow_run is None or task_run is None or event.resource.id != f"prefect.task-run.{task_run.id}":
            await self._attach(event)
            return
        key = (flow_run.id, *sorted(task_run.tags))
        if key in self._related:
            event.related += self._related[key]
            return
        own = len(event.related)
        await self._attach(event)
        if len(self._related) >= _MOST_REMEMBERED:
            self._related.clear()
        self._related[key] = event.related[own:]
