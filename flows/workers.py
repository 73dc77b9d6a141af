"""Where row groups run: on the flow's own task runner, or on processes, Dask or Ray workers that the run asks for.

    flow's process     controller, sink with its lock, verdict; finalize
    worker process     engine, HTTP sessions, limiters and shares, journal connection, commits of its row groups

A row group is one task on one worker, and only its manifest comes back. A worker that dies costs the row groups it held:
Dask and Ray give them to another worker, a process pool is started anew, and where that was not enough the controller
maps them again. A row group that was committed just before the worker died is found committed.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager
from importlib import import_module
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any, Self, cast

from prefect import State, unmapped
from prefect.futures import PrefectFuture
from prefect.task_runners import ProcessPoolTaskRunner, TaskRunner

from prefect_datagen.config.plan import RowGroupPlan
from prefect_datagen.config.run import RunConfig, TaskRunnerKind
from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.engine.outcomes import RowGroupManifest
from prefect_datagen.tasks.process_row_group import Process
from prefect_datagen.tasks.ticket import RunTicket

RowGroupFuture = PrefectFuture[RowGroupManifest | State[RowGroupManifest]]


class Workers:
    """See the module's docstring. A thin typed wrapper of Prefect's task runners."""

    def __init__(self, run: RunConfig) -> None:
        """Starts nothing yet.

        Raises:
            ConfigError: what the runner needs is not installed.
        """
        self._run = run
        self._runner = _make_runner(run)
        self._is_started = False

    @property
    def are_elsewhere(self) -> bool:
        """Whether row groups run in other processes than the flow's."""
        return self._run.task_runner is not TaskRunnerKind.THREADS

    def map(self, process: Process, ticket: RunTicket, plans: list[RowGroupPlan]) -> list[RowGroupFuture]:
        """Give row groups to workers, which are started for the first ones."""
        each: dict[str, Any] = {
            "index": [plan.index for plan in plans],
            "start": [plan.start for plan in plans],
            "rows": [plan.rows for plan in plans],
            "label": [plan.label for plan in plans],
        }
        if self._runner is None:
            return list(process.map(ticket=unmapped(ticket), **each))
        runner: Any = self._runner  # loosely typed by Prefect
        with _out_of_reach_of_ctrl_c():
            self._start()
            return list(runner.map(process, {"ticket": unmapped(ticket), **each}))

    def final_state(self, future: RowGroupFuture) -> State[Any] | None:
        """The state in which a task run ended, or None where the worker that ran it died.

        Of a worker it is read from the future, never from the server: Prefect's `state` would ask there, and be told that
        the task of a dead worker is running.
        """
        try:
            future.wait()
        except BrokenExecutor:
            return None
        if not self.are_elsewhere:
            return future.state
        state = cast("State[Any] | None", getattr(future, "_final_state", None))
        return None if state is None or state.is_crashed() else state

    @property
    def die_together(self) -> bool:
        """Whether the death of one worker is that of all, as in a process pool. Clusters replace the one."""
        return self._run.task_runner is TaskRunnerKind.PROCESSES

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close(at_once=kind is not None)

    def close(self, *, at_once: bool = False) -> None:
        """End the workers; the next `map` begins with new ones. May be called twice.

        Args:
            at_once: do not wait for the processes of a pool: what they still do is lost. Clusters have time-outs.
        """
        if self._runner is None or not self._is_started:
            return
        self._is_started = False
        if at_once:
            for process in dict(_pool_of(self._runner)).values():
                process.kill()
        self._runner.__exit__(None, None, None)
        self._runner = _make_runner(self._run)

    def _start(self) -> None:
        if self._runner is None or self._is_started:
            return
        self._runner.__enter__()
        self._is_started = True
        messages = getattr(self._runner, "_subprocess_message_queue", None)
        if messages is not None:
            # A worker that is killed while it writes there leaves the queue locked: nobody may wait for it at the end.
            messages.cancel_join_thread()


@contextmanager
def _out_of_reach_of_ctrl_c() -> Iterator[None]:
    """Around the start of processes. Ctrl-C goes to every process at the terminal; workers are told by the controller.

    A process starts with the signals blocked that its parent's thread has blocked, a thread likewise.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _pool_of(runner: TaskRunner[Any]) -> dict[int, BaseProcess]:
    """The processes of a process pool, by id; empty where there is none. Prefect keeps its executor to itself."""
    executor = getattr(runner, "_executor", None)
    return getattr(executor, "_processes", None) or {}


def _make_runner(run: RunConfig) -> TaskRunner[Any] | None:
    if run.task_runner is TaskRunnerKind.THREADS:
        return None
    if run.task_runner is TaskRunnerKind.PROCESSES:
        return ProcessPoolTaskRunner(max_workers=run.workers)
    if run.task_runner is TaskRunnerKind.DASK:
        module = _installed("prefect_dask", run)
        if run.cluster is not None:
            return cast("TaskRunner[Any]", module.DaskTaskRunner(address=run.cluster))
        threads = -(-run.row_groups_at_once(batched=False) // run.workers)
        local = {"n_workers": run.workers, "threads_per_worker": threads, "dashboard_address": None}
        return cast("TaskRunner[Any]", module.DaskTaskRunner(cluster_kwargs=local))
    # Otherwise Ray runs tasks of a driver that was started with uv in an environment of its own.
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    module = _installed("prefect_ray", run)
    if run.cluster is not None:
        return cast("TaskRunner[Any]", module.RayTaskRunner(address=run.cluster))
    local = {"num_cpus": run.workers, "include_dashboard": False, "log_to_driver": False}
    return cast("TaskRunner[Any]", module.RayTaskRunner(init_kwargs=local))


def _installed(module: str, run: RunConfig) -> Any:
    kind = run.task_runner.value
    try:
        return import_module(module)
    except ImportError as error:
        raise ConfigError(
            f"task_runner {kind!r} needs {module.replace('_', '-')} ({error}); pip install 'prefect-datagen[{kind}]'"
        ) from error
