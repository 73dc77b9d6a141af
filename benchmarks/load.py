"""How many requests a second the mock model serves: asked by the least client that there can be.

The client and the server share the machine, so the figure is what the server's own CPU time per request allows.
"""

from __future__ import annotations

import asyncio
import json

import psutil

from tests.mock_server import MockServer

_CONNECTIONS, _REQUESTS = 64, 20_000
_BODY = json.dumps({"model": "mock", "messages": [{"role": "user", "content": "First about 12345."}]}).encode()
_HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
_REQUEST = _HEAD + b"content-length: %d\r\n\r\n" % len(_BODY) + _BODY


class _Client(asyncio.Protocol):
    """Sends the next request as soon as an answer is there. Answers are small: one that is cut in two is a rare thing."""

    def __init__(self, left: list[int], done: asyncio.Future[None]) -> None:
        self._left = left
        self._done = done
        self._came = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport
        transport.write(_REQUEST)

    def data_received(self, data: bytes) -> None:
        """Look whether the answer is whole."""
        self._came += data
        head, found, body = self._came.partition(b"\r\n\r\n")
        if not found or len(body) < int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0]):
            return
        self._came = b""
        self._left[0] -= 1
        if self._left[0] > 0:
            self._transport.write(_REQUEST)
        elif not self._done.done():
            self._done.set_result(None)


async def _load(host: str, port: int) -> None:
    loop = asyncio.get_running_loop()
    left, done = [_REQUESTS], loop.create_future()
    for _ in range(_CONNECTIONS):
        await loop.create_connection(lambda: _Client(left, done), host, port)
    await done


def requests_per_second() -> float:
    """Requests per second of the server's CPU time."""
    with MockServer() as server:
        process = psutil.Process(server.pid)
        host, _, port = server.url.removeprefix("http://").removesuffix("/v1").partition(":")
        before = sum(process.cpu_times()[:2])
        asyncio.run(_load(host, int(port)))
        return _REQUESTS / (sum(process.cpu_times()[:2]) - before)


if __name__ == "__main__":
    print(f"{requests_per_second():,.0f} requests per second")
