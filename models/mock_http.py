"""A small HTTP/1.1 server protocol for the mock model: callbacks, no tasks, and faults that a web framework forbids.

Why not ASGI: an application there cannot reset a connection or stop half-way through a body, and these are what a
client has to be tested against. Callbacks also spare a task per request.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
import struct
from collections import deque
from collections.abc import Callable
from http import HTTPStatus
from typing import cast

import httptools

_REASONS = {status.value: status.phrase for status in HTTPStatus}
_numbers = itertools.count(1)
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Exchange:
    """One request and the one answer to it. `on_closed` is called if the caller leaves before the answer."""

    __slots__ = ("_connection", "body", "done", "headers", "keep_alive", "method", "on_closed", "path")

    def __init__(self, connection: HttpConnection) -> None:
        self._connection = connection
        self.method = ""
        self.path = ""
        self.headers: dict[bytes, bytes] = {}
        self.body = b""
        self.done = False
        self.keep_alive = True
        self.on_closed: Callable[[], None] | None = None

    @property
    def connection_number(self) -> int:
        """Number of the connection it came on, from 1."""
        return self._connection.number

    def respond(
        self,
        status: int,
        body: bytes,
        *,
        content_type: str = "application/json",
        headers: dict[str, str] | None = None,
        announced_length: int | None = None,
    ) -> None:
        """Send the answer. With an `announced_length` other than that of `body` the connection closes after it."""
        lines = [
            f"HTTP/1.1 {status} {_REASONS.get(status, 'Unknown')}",
            f"content-type: {content_type}",
            f"content-length: {len(body) if announced_length is None else announced_length}",
        ]
        if headers:
            lines.extend(f"{name}: {value}" for name, value in headers.items())
        head = "\r\n".join(lines).encode("latin-1")
        self._connection.finish(self, head + b"\r\n\r\n" + body, close=announced_length is not None)

    def reset(self) -> None:
        """Close with a TCP reset instead of an answer."""
        self._connection.reset(self)


class HttpConnection(asyncio.Protocol):
    """One client connection: requests one after the other, keep-alive. `handle` gets each complete request."""

    def __init__(self, handle: Callable[[Exchange], None], connections: set[HttpConnection]) -> None:
        self._handle = handle
        self._connections = connections
        self.number = next(_numbers)
        self._parser = httptools.HttpRequestParser(self)
        self._waiting: deque[Exchange] = deque()  # pipelined requests: answered in the order they came
        self._transport: asyncio.Transport | None = None
        self._receiving: Exchange | None = None
        self._serving: Exchange | None = None
        self._chunks: list[bytes] = []

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Join the connections that the server knows."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's do not inherit from it
        self._connections.add(self)

    def connection_lost(self, _: Exception | None) -> None:
        """Tell the application that nobody waits for the answer any more."""
        self._connections.discard(self)
        self._transport = None
        serving, self._serving = self._serving, None
        if serving is not None and not serving.done:
            serving.done = True
            if serving.on_closed is not None:
                serving.on_closed()

    def data_received(self, data: bytes) -> None:
        """Parse, then serve what is complete. What is not HTTP gets a 400 and the connection closes."""
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.close(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            return
        self._serve_next()

    # What the parser calls.

    def on_message_begin(self) -> None:
        """A new request."""
        self._receiving = Exchange(self)
        self._chunks = []

    def on_url(self, url: bytes) -> None:
        """Method and path; the query is not used by any route, the host (sent through a proxy) neither."""
        assert self._receiving is not None
        self._receiving.path = httptools.parse_url(url).path.decode("latin-1")
        self._receiving.method = self._parser.get_method().decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Names are kept in lower case."""
        assert self._receiving is not None
        self._receiving.headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        """Let clients such as curl send a large body at once."""
        assert self._receiving is not None
        if self._transport is not None and self._receiving.headers.get(b"expect", b"").lower() == b"100-continue":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._chunks.append(body)

    def on_message_complete(self) -> None:
        """Queue it; `data_received` serves it when the parser is done."""
        assert self._receiving is not None
        exchange, self._receiving = self._receiving, None
        exchange.body = b"".join(self._chunks)
        exchange.keep_alive = self._parser.should_keep_alive()
        self._waiting.append(exchange)

    # What the exchange and the server call.

    def finish(self, exchange: Exchange, data: bytes, *, close: bool) -> None:
        """Write an answer and take the next request. Nothing happens where the caller has left."""
        if exchange.done or self._transport is None:
            return
        exchange.done = True
        exchange.on_closed = None  # it refers back to the exchange: no work for the garbage collector
        self._serving = None
        if close or not exchange.keep_alive:
            self.close(data)
            return
        self._transport.write(data)
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._serve_next)  # not now: pipelined requests would recurse

    def reset(self, exchange: Exchange) -> None:
        """Linger of zero seconds makes the close a reset: the caller sees ECONNRESET, not an end of file."""
        if exchange.done or self._transport is None:
            return
        exchange.done = True
        exchange.on_closed = None
        raw = self._transport.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self._transport.abort()

    def abort(self) -> None:
        """Close at once, whatever is in flight."""
        if self._transport is not None:
            self._transport.abort()

    def close(self, data: bytes = b"") -> None:
        """Close after the last bytes."""
        if self._transport is not None:
            if data:
                self._transport.write(data)
            self._transport.close()

    def _serve_next(self) -> None:
        if self._serving is None and self._waiting:
            self._serving = self._waiting.popleft()
            self._handle(self._serving)
