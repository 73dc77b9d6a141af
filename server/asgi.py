"""The few pieces of ASGI that the shell needs before any framework is imported."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]


def header(scope: Scope, name: bytes) -> str | None:
    """A request header's value; None where it is missing or sent twice, which no honest client does."""
    values = [value for key, value in scope["headers"] if key == name]
    return values[0].decode("latin-1") if len(values) == 1 else None


async def respond(
    send: Send, status: int, body: bytes, *, content_type: bytes, headers: Iterable[tuple[bytes, bytes]] = ()
) -> None:
    """Send one whole answer."""
    length = str(len(body)).encode()
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [(b"content-type", content_type), (b"content-length", length), *headers],
        }
    )
    await send({"type": "http.response.body", "body": body})


async def respond_json(send: Send, status: int, value: object, *, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
    """Send one JSON answer that no cache may keep."""
    await respond(
        send,
        status,
        json.dumps(value).encode(),
        content_type=b"application/json",
        headers=[(b"cache-control", b"no-store"), *headers],
    )


def error_body(code: str, message: str) -> dict[str, dict[str, str]]:
    """The one shape of every error: a stable code for programs, and a sentence for people."""
    return {"error": {"code": code, "message": message}}


def server_sent_event(event: str, data: str, *, identity: str | None = None) -> bytes:
    """One event of a stream; `data` must hold no line break (JSON never does)."""
    prefix = f"id: {identity}\n" if identity is not None else ""
    return f"{prefix}event: {event}\ndata: {data}\n\n".encode()


class Connection:
    """`receive`, read ahead so that a client that leaves is noticed while the server is still busy for it.

    The messages read ahead are handed on, in order, by `receive`; `left` completes when the client is gone.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._messages: asyncio.Queue[Message] = asyncio.Queue(maxsize=8)
        self.left: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect" and not self.left.done():
                self.left.set_result(None)
            await self._messages.put(message)
            if message["type"] == "http.disconnect":
                return

    async def receive(self) -> Message:
        """The next message; `http.disconnect` for ever once the client has left."""
        if self.left.done() and self._messages.empty():
            return {"type": "http.disconnect"}
        return await self._messages.get()

    async def body(self, *, limit: int) -> bytes | None:
        """The request's body; None where it is longer than `limit` bytes or the client left."""
        parts: list[bytes] = []
        while True:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                return None
            parts.append(message.get("body", b""))
            if sum(map(len, parts)) > limit:
                return None
            if not message.get("more_body"):
                return b"".join(parts)

    async def first(self, *awaitables: asyncio.Future[Any]) -> bool:
        """Wait until one of `awaitables` is done or the client leaves.

        Returns:
            Whether the client is still there. The awaitables are left as they are: cancelling is the caller's.
        """
        await asyncio.wait([self.left, *awaitables], return_when=asyncio.FIRST_COMPLETED)
        return not self.left.done()

    async def close(self) -> None:
        """Stop reading ahead."""
        self._reader.cancel()
        await asyncio.wait([self._reader])
        self.left.cancel()
