"""Builds in child processes, made by the fork server: see `fork_server.py`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.reliability.fork_server import BuildOrder


class Child:
    """A build in a process of its own."""

    def __init__(self, pid: int, log: Path, wait: Callable[[], int]) -> None:
        self.pid = pid
        self.log = log
        self._wait = wait
        self._code: int | None = None

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """Send SIGKILL, if it has not ended by itself."""
        with suppress(ProcessLookupError):
            self.send(signal.SIGKILL)

    def wait(self) -> int:
        """Wait for its end: the exit code, negative for a signal."""
        if self._code is None:
            self._code = self._wait()
        return self._code

    @property
    def has_ended(self) -> bool:
        """Whether its end was waited for."""
        return self._code is not None

    @property
    def output(self) -> str:
        """What it printed so far."""
        return self.log.read_text() if self.log.exists() else ""

    @property
    def last_step(self) -> str | None:
        """The step on disk at which it was told to die."""
        report = self.log.with_suffix(".step")
        return report.read_text() if report.exists() else None


class ForkServer:
    """Context manager around the process that forks. One child at a time."""

    def __init__(self, api_url: str, home: Path) -> None:
        self._environment = {
            **os.environ,
            "PREFECT_API_URL": api_url,
            "PREFECT_HOME": str(home),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_LOGGING_LEVEL": "WARNING",
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._logs = 0
        self._home = home
        self._last: Child | None = None

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "tests.reliability.fork_server"]
        self._process = subprocess.Popen(
            command,
            env=self._environment,
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._read()["ready"]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end_last()
        process, self._process = self._process, None
        assert process is not None
        assert process.stdin is not None
        process.stdin.close()
        process.wait(timeout=20)
        assert process.stdout is not None
        process.stdout.close()

    def build(
        self, config: dict[str, Any], path: Path, rows: int, *, die_at: int = 0, step: str = "", **run: Any
    ) -> Child:
        """Start a build. With `die_at` it kills itself when that step on disk is about to be taken."""
        self._end_last()
        self._logs += 1
        log = self._home / f"{self._logs}.log"
        environment = {name: value for name, value in os.environ.items() if name.startswith("DATAGEN_")}
        order = BuildOrder(
            config=config,
            path=str(path),
            rows=rows,
            run=run,
            log=str(log),
            die_at=die_at,
            step=step,
            environment=environment,
        )
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        self._process.stdin.flush()
        pid = self._read()["pid"]
        self._last = Child(pid, log, lambda: int(self._read()["code"]))
        return self._last

    def _end_last(self) -> None:
        """End what a failed test left running."""
        if self._last is not None and not self._last.has_ended:
            self._last.kill()
            self._last.wait()

    def _read(self) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the fork server has ended")
        answer: dict[str, Any] = json.loads(line)
        return answer


def wait_for(condition: Callable[[], bool], what: str, *, timeout: float = 30.0) -> None:
    """Look until a condition holds.

    Raises:
        TimeoutError: it did not within `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {timeout:g} s")
        time.sleep(0.005)
