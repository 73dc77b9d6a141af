"""Builds in processes of their own, which tests may kill: `fork_server.py`.

Everything is imported once, and each build is a fork: a process that dies costs a tenth of a second instead of three.
Reads one JSON object a line (`BuildOrder`), answers with a line `{"pid": ...}` when the child runs, and with a line
`{"pid": ..., "code": ...}` when it has ended; the code is that of `subprocess`: negative for a signal.

The child exits as `prefect-datagen build` does: 0, 1 for a run that failed, 2 for a wrong request, 130 when interrupted.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypedDict

import pyarrow as pa
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from pydantic import PrivateAttr

from prefect_datagen.blocks import ParquetRowGroupSink
from prefect_datagen.cli.outcome import finish
from prefect_datagen.config.run import RunConfig
from prefect_datagen.engine.errors import ConfigError, DatagenError, ResumeRefusedError, RunInterruptedError
from prefect_datagen.flows.build import build_dataset
from prefect_datagen.flows.progress import ProgressSnapshot, progress_to
from prefect_datagen.storage import DatasetDirectory

LAZY = (
    "fastapi",
    "prefect.flow_engine",
    "prefect.task_engine",
    "prefect_datagen.models.openai",
    "prefect_datagen.storage.local_files",
    "pyarrow.dataset",
    "pyarrow.parquet",
    "uvloop",
)
"""What a build imports when it comes to it: imported here once, instead of in each child."""


class BuildOrder(TypedDict):
    """What a child is to build, where its output goes, and at which step on disk it dies (from 1; 0 for never).

    Where `step` is not empty, only steps that contain it count. `environment` is that of the test which asks: the server
    has the one of the test that was first.
    """

    config: dict[str, Any]
    path: str
    rows: int
    run: dict[str, Any]
    log: str
    die_at: int
    step: str
    environment: dict[str, str]


class ObservedSink(ParquetRowGroupSink):
    """A sink that tells each step on disk before it is taken."""

    _block_type_name = "Observed Sink"
    _block_type_slug = "observed-sink"
    _on_step: Callable[[str], None] | None = PrivateAttr(default=None)

    def open(self, *, schema: pa.Schema, staged: bool = False) -> DatasetDirectory:
        """Open it with the observer."""
        return DatasetDirectory(self.path, schema=schema, staged=staged, on_step=self._on_step)

    def saved(self) -> ParquetRowGroupSink:  # type: ignore[override]
        """The plain sink: what Prefect reads results with."""
        return ParquetRowGroupSink(path=self.path).saved()


def dies_at(number: int, step: str, report: Path) -> Callable[[str], None]:
    """An observer that kills this process when step `number` is about to be taken."""
    seen = 0
    lock = threading.Lock()

    def observe(name: str) -> None:
        nonlocal seen
        with lock:
            seen += step in name
            if seen == number and step in name:
                report.write_text(name)
                os.kill(os.getpid(), signal.SIGKILL)

    return observe


def build(order: BuildOrder) -> int:
    """Build in this process; the exit code."""
    sink = ObservedSink(path=order["path"])
    if order["die_at"]:
        sink._on_step = dies_at(order["die_at"], order["step"], Path(order["log"]).with_suffix(".step"))

    def show(snapshot: ProgressSnapshot) -> None:
        print(snapshot.line(), flush=True)

    try:
        with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}), progress_to(show):
            state = build_dataset(
                order["config"],
                num_records=order["rows"],
                sink=sink,
                run=RunConfig.model_validate(order["run"]),
                return_state=True,
            )
        print(finish(state).summary, flush=True)
    except DatagenError as error:
        print(f"error: {type(error).__name__}: {error}", flush=True)
        if isinstance(error, RunInterruptedError):
            return 130
        return 2 if isinstance(error, (ConfigError, ResumeRefusedError)) else 1
    except KeyboardInterrupt:
        return 130
    return 0


def run_child(order: BuildOrder) -> None:
    """The life of a child."""
    descriptor = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.environ.update(order["environment"])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    code = build(order)
    sys.stdout.flush()
    os._exit(code)  # no exit hooks: they belong to the parent


def tell(**answer: Any) -> None:
    """Answer the parent: one line."""
    os.write(1, json.dumps(answer).encode() + b"\n")


def main() -> None:
    """Serve until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in LAZY:
        importlib.import_module(name)
    assert threading.active_count() == 1, "a fork would copy one thread only"
    tell(ready=True)
    for line in sys.stdin.buffer:
        child = os.fork()
        if child == 0:
            run_child(json.loads(line))
        tell(pid=child)
        _, status = os.waitpid(child, 0)
        tell(pid=child, code=os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
