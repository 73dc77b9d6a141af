"""Mock model servers on ports that are chosen, so that one can die and another can take its place."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import tempfile
from typing import Any, Self

from tests.mock_server import MockServer


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


class ServerOnPort(MockServer):
    """A `MockServer` on this port, which can be killed."""

    def __init__(self, port: int, **behaviour: Any) -> None:
        super().__init__(**behaviour)
        self.port = port

    def __enter__(self) -> Self:
        self._errors = tempfile.TemporaryFile()
        command = [sys.executable, "-m", "prefect_datagen.models.mock_server", "--until-eof", "--port", str(self.port)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors)
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().decode().strip()
        if not self.url:
            raise RuntimeError(f"the mock model server did not start: {self.stop()}")
        return self

    def kill(self) -> None:
        """End it as a machine that loses power would."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(timeout=10)
