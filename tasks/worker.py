"""Runtimes of runs whose flow is in another process: what a worker of a process pool, Dask or Ray has.

A worker opens its own runtime when the first row group of a run comes: engine, HTTP sessions, limiters, shares of the
run's limits, and a connection of its own to the journal. Between worker and controller there are only the task's
arguments, its manifest, and the dataset: the worker writes under the controller's lock, and looks at that lock once a
second. When the controller says there that the run is ending, or does not hold the lock any more, the worker stops.
"""

from __future__ import annotations

import atexit
import logging
import multiprocessing
import os
import threading
from typing import TYPE_CHECKING

from prefect_datagen.config.blueprint import Blueprint
from prefect_datagen.engine.errors import RunInterruptedError, SinkError
from prefect_datagen.processors import Stage
from prefect_datagen.storage.directory import DatasetDirectory
from prefect_datagen.tasks.runtime import Runtime, runtime_of
from prefect_datagen.tasks.task_run_events import send_in_batches
from prefect_datagen.tasks.ticket import RunTicket

if TYPE_CHECKING:
    from prefect_datagen.storage.memory import MemoryStore

LOOK_EVERY = 1.0
"""Seconds between two looks at the controller's lock."""

_workers: dict[str, _Worker] = {}
_opening = threading.Lock()


def runtime_for(ticket: RunTicket) -> Runtime:
    """The runtime of a run in this process, opened on first use."""
    runtime = runtime_of(ticket.run_id)
    if runtime is not None:
        return runtime
    with _opening:
        for run_id in [run_id for run_id, worker in _workers.items() if run_id != ticket.run_id and worker.is_over]:
            _workers.pop(run_id).close()
        worker = _workers.get(ticket.run_id)
        if worker is None:
            worker = _workers[ticket.run_id] = _Worker(ticket)
            atexit.register(worker.close)
        return worker.runtime


class _Worker:
    """A run's runtime in this process, and the thread that looks at its controller."""

    def __init__(self, ticket: RunTicket) -> None:
        blueprint = Blueprint(ticket.config, ticket.run, seed=ticket.seed)
        staged = bool(blueprint.processors(Stage.AFTER_GENERATION))
        self._writer = ticket.writer
        self._store: DatasetDirectory | MemoryStore = ticket.sink.join(
            writer=ticket.writer, schema=blueprint.schema, staged=staged
        )
        log = logging.getLogger("prefect_datagen")
        send_in_batches()
        self.runtime = Runtime(ticket, store=self._store, reused={}, is_worker=True, notify=log.warning)
        self._closed = threading.Event()
        self.is_over = False
        threading.Thread(target=self._watch, name="prefect-datagen-watch", daemon=True).start()

    def close(self) -> None:
        """End the runtime. May be called twice."""
        self._closed.set()
        self.runtime.close()

    def _watch(self) -> None:
        assert isinstance(self._store, DatasetDirectory)
        parent, told = multiprocessing.parent_process(), False
        while not self._closed.wait(LOOK_EVERY):
            if parent is not None and not parent.is_alive():
                os._exit(1)  # nobody would ever end this process; what it holds is in the journal
            try:
                holder = self._store.holder()
            except SinkError:
                continue  # looked at again in a second; a commit would say what is wrong
            if holder is None or holder.token != self._writer:
                self.is_over = True
                self.runtime.stop(RunInterruptedError("the run that this worker works for has ended"), grace=0.0)
                return
            if holder.stopping is not None and not told:
                told = True
                # Calls have until about the same moment as those of the flow's process.
                grace = None if holder.grace is None else max(0.0, holder.grace - LOOK_EVERY)
                self.runtime.stop(RunInterruptedError(holder.stopping), grace=grace)
