"""Real MCP servers: one per transport and session over HTTP; those over stdio start with each run."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

SERVER = Path(__file__).with_name("mcp_server.py")


def stdio(log: Path, *, mode: str = "stdio", **env: str) -> dict[str, Any]:
    """The config of a server over stdio."""
    return {
        "name": "local",
        "provider_type": "stdio",
        "command": sys.executable,
        "args": [str(SERVER), mode],
        "env": {"MCP_LOG": str(log), **env},
    }


class HttpServer:
    """A server process on a port of its own. `log` is what it writes to."""

    def __init__(self, mode: str, log: Path) -> None:
        self.mode, self.log = mode, log
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, str(SERVER), self.mode, str(self.port)],
            env={**os.environ, "MCP_LOG": str(self.log)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return process
            time.sleep(0.05)  # the process is another's: there is no event to wait for
        raise RuntimeError(f"the MCP server ended with {process.returncode}")

    def restart(self) -> None:
        """Kill it, and start it anew on the same port: it knows no session any more."""
        self.process.kill()
        self.process.wait(timeout=10)
        self.process = self._start()

    def stop(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait(timeout=10)

    @property
    def config(self) -> dict[str, Any]:
        """Its config as a provider called `remote`."""
        kind, path = ("sse", "sse") if self.mode == "sse" else ("streamable_http", "mcp")
        return {"name": "remote", "provider_type": kind, "endpoint": f"http://127.0.0.1:{self.port}/{path}"}


@pytest.fixture(scope="session", params=["sse", "http"])
def remote(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpServer]:
    """A server over each of the two transports by HTTP."""
    server = HttpServer(request.param, tmp_path_factory.mktemp("mcp") / "log")
    yield server
    server.stop()
