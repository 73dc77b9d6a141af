"""A mock model server in a process of its own, for every test that needs an endpoint.

    with MockServer(latency_ms=5, errors=["429:0.1"], log_requests=True) as server:
        ...                                   # make calls to server.url
        assert server.stats().max_in_flight == 64

The keyword arguments are the fields of `prefect_datagen.models.mock_behaviour.MockBehaviour`.
"""

from __future__ import annotations

import http.client
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from types import TracebackType
from typing import IO, Any, Self
from urllib.parse import urlsplit

import orjson

from prefect_datagen.models.mock_behaviour import MockBehaviour
from prefect_datagen.models.mock_stats import LoggedRequest, MockStats


class MockServer:
    """Context manager: the process lives from `__enter__` to `__exit__`, and dies with this process at the latest.

    A traceback that the server printed fails the test at exit: an internal error of it must not pass as a fault.

    Attributes:
        url: base URL for clients, `http://127.0.0.1:PORT/v1`.
    """

    def __init__(self, **behaviour: Any) -> None:
        MockBehaviour.model_validate(behaviour)  # a mistake fails here, with its field's name
        self._behaviour = behaviour
        self._process: subprocess.Popen[bytes] | None = None
        self._errors: IO[bytes] | None = None
        self.url = ""

    def __enter__(self) -> Self:
        self._errors = tempfile.TemporaryFile()
        command = [sys.executable, "-m", "prefect_datagen.models.mock_server", "--until-eof"]
        self._process = subprocess.Popen(
            [*command, orjson.dumps(self._behaviour).decode()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
        )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().decode().strip()
        if not self.url:
            raise RuntimeError(f"the mock model server did not start: {self.stop()}")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        printed = self.stop()
        if printed and kind is None:
            raise AssertionError(f"the mock model server printed:\n{printed}")

    @property
    def pid(self) -> int:
        """Id of the server's process."""
        assert self._process is not None
        return self._process.pid

    def stop(self) -> str:
        """Stop the server, as a machine that goes away would: open connections are dropped. May be called twice.

        Returns:
            What it printed on standard error.
        """
        process, self._process = self._process, None
        if process is None:
            return ""
        assert process.stdin is not None
        assert process.stdout is not None
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=10)
            raise
        finally:
            process.stdin.close()
            process.stdout.close()
            printed = self._printed_errors()
        return printed

    def stats(self) -> MockStats:
        """What the server counted so far."""
        return MockStats.model_validate_json(self._request("GET", "/stats"))

    def requests(self) -> list[LoggedRequest]:
        """The newest requests in order of arrival; needs `log_requests=True`."""
        return [LoggedRequest.model_validate(line) for line in orjson.loads(self._request("GET", "/requests"))]

    def control(self, **changes: Any) -> None:
        """Change the behaviour from now on; `reset=True` counts from zero. What is not named stays."""
        self._request("POST", "/control", orjson.dumps(changes))

    def become(self, **behaviour: Any) -> Self:
        """Behave like this and in all else by default, and count from zero: a new server, without starting one."""
        self._request("PUT", "/control", orjson.dumps({**behaviour, "reset": True}))
        return self

    def wait_until(self, condition: Callable[[MockStats], bool], *, timeout: float = 20.0) -> MockStats:
        """Ask for the stats until the condition holds. From async tests: `await asyncio.to_thread(...)`.

        Raises:
            TimeoutError: it did not hold within `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        while not condition(stats := self.stats()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"not reached within {timeout:g} s: {stats!r}")
            time.sleep(0.002)
        return stats

    def _request(self, method: str, path: str, body: bytes | None = None) -> bytes:
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=20)
        try:
            connection.request(method, path, body)
            response = connection.getresponse()
            data = response.read()
        finally:
            connection.close()
        if response.status != 200:
            raise ValueError(f"{method} {path}: {response.status} {data.decode()}")
        return data

    def _printed_errors(self) -> str:
        assert self._errors is not None
        with self._errors as file:
            file.seek(0)
            return file.read().decode(errors="replace").strip()
