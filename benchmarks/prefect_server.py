"""A Prefect server for the benchmarks."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO


@contextmanager
def prefect_server() -> Iterator[dict[str, str]]:
    """A Prefect server of its own, on SQLite; the environment that points to it."""
    with tempfile.TemporaryDirectory() as home, tempfile.TemporaryFile() as said:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        environment = {"PREFECT_HOME": home, "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
        command = [sys.executable, "-m", "prefect", "server", "start", "--port", str(port)]
        server = subprocess.Popen(command, env={**os.environ, **environment}, stdout=said, stderr=said)
        try:
            yield {**environment, "PREFECT_API_URL": _listening(f"http://127.0.0.1:{port}/api", server, said)}
        finally:
            server.terminate()
            server.wait()


def _listening(url: str, server: subprocess.Popen[bytes], said: IO[bytes]) -> str:
    import httpx

    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if server.poll() is not None:
            said.seek(0)
            raise RuntimeError(f"the Prefect server ended: {said.read()[-2000:].decode(errors='replace')}")
        try:
            if httpx.get(f"{url}/health").status_code == 200:
                return url
        except httpx.HTTPError:
            time.sleep(0.2)
    raise TimeoutError(f"no Prefect server at {url}")
