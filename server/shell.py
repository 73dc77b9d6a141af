"""The outer application: all that can be answered before anything is loaded, and the gate before all that cannot.

GET  /, /static/*      the page: passes at once, holds no data
GET  /api/health       always 200, at once
GET  /api/ready        200 or 503 at once, with what was loaded and how long each phase took
GET  /api/events       server-sent events: the state, whenever it changes
POST /api/login        exchanges the token for a cookie
POST /api/reload       loads again
*    /api/*            waits for readiness, then goes to the inner application (routes.py)
"""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Protocol

from prefect_datagen.server.asgi import (
    App,
    Connection,
    Message,
    Receive,
    Scope,
    Send,
    error_body,
    respond_json,
    server_sent_event,
)
from prefect_datagen.server.gate import RETRY_AFTER, ReadinessGate
from prefect_datagen.server.security import HEADERS, Guard
from prefect_datagen.server.startup import TIMED_OUT, LoadStatus, StartupState
from prefect_datagen.server.static_files import StaticFiles

logger = logging.getLogger("prefect_datagen.server")

HEARTBEAT = 15.0
"""Seconds between two signs of life on a quiet stream; a client that is gone is noticed then at the latest."""

EVENT_STREAM = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]


class Loading(Protocol):
    """What the shell needs of the loader."""

    @property
    def application(self) -> App | None:
        """The inner application, from the moment that the first load succeeded."""
        ...

    def reload(self) -> None:
        """Load again, soon. Never blocks."""
        ...


class Shell:
    """The outer ASGI application."""

    def __init__(self, guard: Guard, gate: ReadinessGate, loader: Loading) -> None:
        self._guard = guard
        self._gate = gate
        self._loader = loader
        self._static = StaticFiles()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            # The server is started without lifespan and web sockets; anything else is a mistake of the caller.
            raise TypeError(f"the shell answers HTTP only, not {scope['type']!r}")
        await self._answer(scope, receive, _with_security_headers(send))

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, method = scope["path"], scope["method"]
        if not self._guard.host_is_ours(scope):
            await respond_json(send, 421, error_body("wrong host", "this server does not answer to that name"))
        elif method not in {"GET", "HEAD", "POST"}:
            await respond_json(send, 405, error_body("method not allowed", f"{method} is not answered"))
        elif method == "POST" and not self._guard.is_own_page(scope):
            await respond_json(send, 403, error_body("foreign page", "another site's page may not ask for that"))
        elif not path.startswith("/api/"):
            await self._static(scope, send)
        elif path == "/api/health":
            await respond_json(send, 200, self._gate.tracker.state().summary())
        elif path == "/api/login" and method == "POST":
            await self._login(receive, send)
        elif not self._guard.is_known(scope):
            headers = [(b"www-authenticate", b"Bearer")]
            await respond_json(send, 401, error_body("token needed", "show the server's token"), headers=headers)
        elif path == "/api/ready":
            await self._ready(send)
        elif path == "/api/events":
            await self._events(receive, send)
        elif path == "/api/reload" and method == "POST":
            self._loader.reload()
            await respond_json(send, 202, {"reloading": True})
        else:
            await self._when_ready(scope, receive, send)

    async def _ready(self, send: Send) -> None:
        state = self._gate.tracker.state()
        body = state.summary() | {"milliseconds": state.milliseconds, "sizes": state.sizes}
        if state.status is LoadStatus.READY:
            await respond_json(send, 200, body)
        else:
            await respond_json(send, 503, body, headers=[(b"retry-after", str(RETRY_AFTER).encode())])

    async def _login(self, receive: Receive, send: Send) -> None:
        connection = Connection(receive)
        try:
            body = await connection.body(limit=4_096)
        finally:
            await connection.close()
        try:
            token = json.loads(body or b"{}")["token"]
        except (ValueError, KeyError, TypeError):
            token = None
        if isinstance(token, str) and self._guard.accepts_token(token):
            await respond_json(send, 200, {"known": True}, headers=[self._guard.login_cookie()])
        else:
            await respond_json(send, 401, error_body("wrong token", "that is not the server's token"))

    async def _events(self, receive: Receive, send: Send) -> None:
        """One `state` event now, and one after each change, until the client leaves or the server stops."""
        connection = Connection(receive)
        try:
            await send({"type": "http.response.start", "status": 200, "headers": list(EVENT_STREAM)})
            state = self._gate.tracker.state()
            await send(_state_event(state))
            while not self._gate.closing.is_set():
                change = asyncio.ensure_future(self._gate.changed(state, within=HEARTBEAT))
                try:
                    if not await connection.first(change):
                        return
                    state = change.result()
                finally:
                    change.cancel()
                await send(_state_event(state))
            await send({"type": "http.response.body", "body": b""})
        finally:
            await connection.close()

    async def _when_ready(self, scope: Scope, receive: Receive, send: Send) -> None:
        connection = Connection(receive)
        try:
            settled = asyncio.ensure_future(self._gate.settled())
            try:
                if not await connection.first(settled):
                    return
                state = settled.result()
            finally:
                settled.cancel()
            application = self._loader.application
            if state.status is not LoadStatus.READY or application is None:
                await self._refuse(state, send)
            else:
                await application({**scope, "connection": connection}, connection.receive, send)
        finally:
            await connection.close()

    async def _refuse(self, state: StartupState, send: Send) -> None:
        if state.error == TIMED_OUT:
            body = error_body("start-up timeout", "the data was not loaded in the time that start-up may take")
        elif state.error is not None:
            body = error_body("loading failed", f"the data could not be loaded ({state.error}); it is tried again")
        else:
            body = error_body("stopping", "the server is about to stop")
        await respond_json(send, 503, body, headers=[(b"retry-after", str(RETRY_AFTER).encode())])


def _state_event(state: StartupState) -> Message:
    event = server_sent_event("state", json.dumps(state.summary()))
    return {"type": "http.response.body", "body": event, "more_body": True}


def _with_security_headers(send: Send) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], *HEADERS]
        await send(message)

    return send_with_headers
