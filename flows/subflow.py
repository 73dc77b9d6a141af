"""Subflow runs in the tasks of one flow: how they are called, how far they are together, how they are made to end."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from prefect import State
from prefect.futures import PrefectFuture
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

from prefect_datagen.engine.errors import DatagenError, InternalError
from prefect_datagen.engine.outcomes import DatasetMetadata
from prefect_datagen.flows.chain_progress import together
from prefect_datagen.flows.progress import ProgressSnapshot, current_listener, progress_to
from prefect_datagen.flows.row_groups import INTERRUPT_GRACE, interrupted
from prefect_datagen.tasks.runtime import stop_runs


class Subflows:
    """The subflows of one flow run. Made in the flow itself, whose context is theirs.

    Attributes:
        stopping: set when the flow is to end; no subflow is to start any more.
    """

    def __init__(self) -> None:
        self.stopping = threading.Event()
        self._context = contextvars.copy_context()
        self._snapshots: dict[str, ProgressSnapshot] = {}
        self._listener = current_listener()

    def run(self, name: str, call: Callable[[], State[Any]]) -> State[Any]:
        """Run a subflow from a task as if the flow called it; `name` tells its progress from that of the others.

        In the context of the task, its log lines and artifacts would be the task's, and where the task fails Prefect
        would call its committed row groups rolled back, which they are not.
        """

        def quietly() -> State[Any]:
            # A subflow lives in its parent's process, whose heartbeat says all; ending its own would cost a second.
            quiet = temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None})
            with quiet, progress_to(partial(self._note_progress, name)):
                return call()

        return self._context.copy().run(quietly)

    def wait(self, futures: Iterable[PrefectFuture[Any]]) -> BaseException | None:
        """Wait for tasks. An interruption ends their subflows, is waited for, and is returned.

        Args:
            futures: of the tasks; an iterator may submit them as it goes, and wait for others before that.
        """
        given: list[PrefectFuture[Any]] = []
        try:
            given.extend(futures)  # where the iterator is interrupted, what it gave so far is there
            for future in given:
                future.wait()
        except BaseException as interruption:  # noqa: BLE001 - returned, for the flow to raise when all has ended
            self.stop(interruption)
            for future in given:
                future.wait()
            return interruption
        return None

    def stop(self, cause: BaseException) -> None:
        """End all subflows, quickly; they do so in their own threads."""
        self.stopping.set()
        stop_runs(interrupted(cause), grace=INTERRUPT_GRACE)

    def _note_progress(self, name: str, snapshot: ProgressSnapshot) -> None:
        """Tell who listens to the flow how far all subflows are; called from their threads."""
        self._snapshots[name] = snapshot
        if self._listener is not None:
            self._listener(together(list(self._snapshots.values())))


def metadata_of(state: State[Any]) -> DatasetMetadata:
    """The verdict that a subflow ended with.

    Raises:
        DatagenError: it failed.
    """
    result = state.result(raise_on_failure=False)
    if isinstance(result, BaseException):
        raise as_datagen_error(result, state)
    return result if isinstance(result, DatasetMetadata) else result.metadata


def as_datagen_error(error: object, state: State[Any], *, where: str = "") -> DatagenError:
    """The error that a flow or task run failed with, as one of this package's."""
    if isinstance(error, DatagenError):
        return error
    unknown = InternalError(f"{where}{type(error).__name__}: {error} (state {state.name})")
    if isinstance(error, BaseException):
        unknown.__cause__ = error
    return unknown
