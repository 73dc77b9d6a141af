"""A real `prefect server start`, as a process of its own with a home of its own, and commands that talk to it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def wait_for(condition: Callable[[], Any], *, timeout: float = 90.0, what: str = "") -> Any:
    """Ask until the condition gives something true, and return that.

    Raises:
        TimeoutError: it did not within `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not reached within {timeout:g} s: {what or condition}")
        time.sleep(0.05)
    return found


class Background:
    """A process in the background with its output in a file; it is ended at the end of the `with` block."""

    def __init__(self, command: list[str], *, env: Mapping[str, str], log: Path, cwd: Path | None = None) -> None:
        self._log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(command, env=dict(env), stdout=output, stderr=subprocess.STDOUT, cwd=cwd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.end()

    @property
    def output(self) -> str:
        """What it has printed so far."""
        return self._log.read_text(errors="replace")

    def interrupt(self) -> None:
        """Send SIGINT, as Ctrl-C does."""
        self.process.send_signal(signal.SIGINT)

    def kill(self) -> None:
        """Send SIGKILL and wait."""
        self.process.kill()
        self.process.wait(timeout=30)

    def wait(self, *, timeout: float = 120.0) -> int:
        """Wait for its end, and return its exit code."""
        return self.process.wait(timeout=timeout)

    def end(self) -> None:
        """SIGTERM, and SIGKILL where that does not help."""
        if self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.kill()


class PrefectServer:
    """A running server.

    Attributes:
        url: of its API.
        home: its `PREFECT_HOME`, with the database.
    """

    def __init__(self, home: Path, *, settings: Mapping[str, str] | None = None) -> None:
        self.home = home
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/api"
        self._settings = dict(settings or {})
        self._process: Background | None = None

    def __enter__(self) -> Self:
        self.home.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(self.port)]
        self._process = Background(command, env=self.env(), log=self.home / "server.log")
        try:
            wait_for(self._is_up, timeout=300, what="prefect server start")  # a busy machine needs its time
        except BaseException:
            self._process.end()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        assert self._process is not None
        self._process.end()

    def stored_bytes(self) -> bytes:
        """Everything that the server has in its database, as it stands in the files."""
        files = [self.home / "prefect.db", self.home / "prefect.db-wal"]
        assert files[0].exists()
        return b"".join(each.read_bytes() for each in files if each.exists())

    @property
    def log(self) -> str:
        """What the server has printed."""
        assert self._process is not None
        return self._process.output

    def env(self, **more: str) -> dict[str, str]:
        """The environment of a process that uses this server."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        return {
            **inherited,
            "PREFECT_HOME": str(self.home),
            "PREFECT_API_URL": self.url,
            "PREFECT_SERVER_API_PORT": str(self.port),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
            "PYTHONUNBUFFERED": "1",
            "NO_COLOR": "1",
            **self._settings,
            **more,
        }

    def run(self, *words: str, cwd: Path | None = None, code: int = 0, **more: str) -> subprocess.CompletedProcess[str]:
        """Run `prefect-datagen WORDS...` against this server and check its exit code."""
        done = subprocess.run(
            [*DATAGEN, *words], env=self.env(**more), cwd=cwd, capture_output=True, text=True, timeout=240, check=False
        )
        assert done.returncode == code, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def start(self, *words: str, log: Path, **more: str) -> Background:
        """Start `prefect-datagen WORDS...` in the background."""
        return Background([*DATAGEN, *words], env=self.env(**more), log=log)

    @contextmanager
    def worker(self, pool: str, *, log: Path, **more: str) -> Iterator[Background]:
        """A process worker of a work pool, which is made where it is not there."""
        env = self.env(PREFECT_WORKER_QUERY_SECONDS="1", **more)
        command = [sys.executable, "-m", "prefect", "worker", "start", "--type", "process", "--pool", pool]
        with Background(command, env=env, log=log) as worker:
            wait_for(lambda: "started!" in worker.output, what="prefect worker start")
            yield worker

    def _is_up(self) -> bool:
        assert self._process is not None
        if self._process.process.poll() is not None:
            raise RuntimeError(f"the server ended:\n{self.log}")
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False


DATAGEN = [sys.executable, "-c", "from prefect_datagen.cli.main import main; main()"]
