"""What a run shows in a terminal: a progress bar where there is one, plain lines elsewhere, warnings between them.

Prefect's own console lines are off (they are in its UI), unless `--debug` asks for them.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prefect_datagen.flows.progress import ProgressSnapshot

PLAIN_INTERVAL = 5.0
"""Seconds between two lines where there is no terminal."""

LATEST_END = 9.5
"""Seconds after which a run that was told to end does, whatever still keeps it: user code, or Prefect's server."""


def quiet_prefect() -> None:
    """Keep Prefect's log lines off the console. Call before Prefect is imported."""
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("DO_NOT_TRACK", "1")  # nor its words about usage data between our lines
    os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120")  # a busy machine needs its time
    if not os.environ.get("PREFECT_DATAGEN_DEBUG"):
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_FLOW_RUNS_LEVEL", "CRITICAL")
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_TASK_RUNS_LEVEL", "CRITICAL")


@contextmanager
def showing_progress(what: str) -> Iterator[None]:
    """Show the progress of the run inside. An interruption ends it within ten seconds, a second one at once."""
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    from prefect_datagen.engine.errors import RunInterruptedError
    from prefect_datagen.flows.progress import progress_to

    display = _Bar(what) if sys.stderr.isatty() else _Lines(what)
    handler = _Warnings(display)
    logging.getLogger("prefect.flow_runs").addHandler(handler)
    previous = signal.signal(signal.SIGINT, _interrupt_once)
    try:
        try:
            _start_prefect(display)
        except KeyboardInterrupt as error:
            raise RunInterruptedError("interrupted before the run began; nothing was done") from error
        # Nobody waits for the heartbeat of a run at a terminal; joining its thread would cost a second at the end.
        with progress_to(_ending_in_time(display.show)), temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
            yield
    finally:
        signal.signal(signal.SIGINT, previous)
        logging.getLogger("prefect.flow_runs").removeHandler(handler)
        display.close()


def _interrupt_once(number: int, frame: object) -> None:
    signal.signal(signal.SIGINT, _end_now)
    sys.stderr.write("\nstopping: letting calls in flight come back (interrupt again to end at once)\n")
    raise KeyboardInterrupt


def _end_now(number: int = 0, frame: object = None) -> None:
    """End the process, its workers, and the temporary server that it may have started, without waiting for anything."""
    from multiprocessing import active_children

    for worker in active_children():
        worker.kill()
    temporary_server = getattr(sys.modules.get("prefect.server.api.server"), "SubprocessASGIServer", None)
    if temporary_server is not None and temporary_server().server_process is not None:
        temporary_server().server_process.terminate()
    os._exit(130)


def _ending_in_time(show: Callable[[ProgressSnapshot], None]) -> Callable[[ProgressSnapshot], None]:
    """Show snapshots; from the first one that tells of an interruption on, the process has `LATEST_END` seconds."""
    timer = threading.Timer(LATEST_END, _end_now)
    timer.daemon = True
    told = threading.Event()

    def watch(snapshot: ProgressSnapshot) -> None:
        if snapshot.interrupted and not told.is_set():
            told.set()
            timer.start()
        show(snapshot)

    return watch


def _start_prefect(display: _Lines | _Bar) -> None:
    """Start Prefect's temporary server, where no server is configured, out of reach of the terminal's Ctrl-C.

    Ctrl-C goes to every process at the terminal. A run that it ends needs the server to say so, and Prefect's client
    tries one that is gone for minutes. A process starts with the signals blocked that its parent's thread has blocked.
    """
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL

    if PREFECT_API_URL.value() or not hasattr(signal, "pthread_sigmask"):
        return
    display.write("starting a temporary Prefect server (PREFECT_API_URL names one that runs already)")
    errors: list[Exception] = []

    def start() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            with get_client(sync_client=True) as client:
                client.api_version()
        except Exception as error:  # noqa: BLE001 - raised below, in the thread that asked for it
            errors.append(error)

    thread = threading.Thread(target=start, name="start-prefect", daemon=True)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]


class _Lines:
    """Plain lines, one every few seconds, and one at the end."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._next = 0.0
        self._last: ProgressSnapshot | None = None

    def show(self, snapshot: ProgressSnapshot) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + PLAIN_INTERVAL
            self.write(snapshot.line())
            self._last = None
        else:
            self._last = snapshot

    def write(self, text: str) -> None:
        sys.stderr.write(f"{self._what}: {text}\n")
        sys.stderr.flush()

    def close(self) -> None:
        if self._last is not None:
            self.write(self._last.line())


class _Bar:
    """A rich progress bar; made with the first snapshot, so a run that does nothing has none."""

    def __init__(self, what: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self._what = what
        self._progress = Progress(
            BarColumn(bar_width=10),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.fields[text]}"),
            console=Console(stderr=True),
        )
        self._task: object = None

    def show(self, snapshot: ProgressSnapshot) -> None:
        if snapshot.rows_total == 0 or snapshot.row_groups_reused == snapshot.row_groups_total:
            return
        if self._task is None:
            self._progress.start()
            self._task = self._progress.add_task(self._what, total=1.0, text="")
        self._progress.update(self._task, completed=snapshot.fraction, text=snapshot.short())  # type: ignore[arg-type]

    def write(self, text: str) -> None:
        self._progress.console.print(f"{self._what}: {text}", markup=False, highlight=False)

    def close(self) -> None:
        if self._task is not None:
            self._progress.stop()


class _Warnings(logging.Handler):
    """Shows the run's own warnings; errors are told once, as the command's last line."""

    def __init__(self, display: _Lines | _Bar) -> None:
        super().__init__(logging.WARNING)
        self._display = display

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno < logging.ERROR and record.exc_info is None:
            self._display.write(record.getMessage())
