"""The server's process: open the port, answer, load in the background, and leave within seconds when told to.

The order is the point. The socket listens before uvicorn is imported; uvicorn answers before the loader's thread
starts; DuckDB, Arrow, pydantic and FastAPI are imported by that thread.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.server.settings import ServerSettings, process_started

logger = logging.getLogger("prefect_datagen.server")

GRACE = 2.0
"""Seconds that running requests get to end by themselves after a signal."""

LAST_EXIT = 4.0
"""Seconds after a signal at which the process ends whatever still runs."""


def run(settings: ServerSettings) -> None:
    """Serve until a signal comes. Ends the process, with exit code 0.

    Threads in a read that hangs (a dead network file system, a pipe) cannot be ended, and Python would wait for them:
    so the process is ended with `os._exit` after everything that can be closed was closed. Nothing is written by the
    server, so nothing can be lost.

    Raises:
        ConfigError: the address cannot be listened on.
    """
    started = process_started()
    # While threads load, the event loop has to get Python's lock back three times for each request. It asks for it after
    # this many seconds each time: at the usual 0.005 s, two busy threads make 50 ms of a request that takes 1 ms.
    sys.setswitchinterval(0.001)
    listener = _listen(settings)
    settings = dataclasses.replace(settings, port=listener.getsockname()[1])
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    asyncio.run(_serve(settings, listener, started=started))
    _exit()


async def _serve(settings: ServerSettings, listener: socket.socket, *, started: float) -> None:
    import uvicorn

    from prefect_datagen.server.gate import ReadinessGate
    from prefect_datagen.server.loading import Loader
    from prefect_datagen.server.security import Guard
    from prefect_datagen.server.shell import Shell

    gate = ReadinessGate(started=started, timeout=settings.startup_timeout)
    loader = Loader(settings, gate)

    class Server(uvicorn.Server):
        """uvicorn, but that signals end it with exit code 0, and that streams end at once."""

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets=sockets)
            _say_where(settings)
            loader.start()

        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, self.handle_exit)
            yield

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            if not self.should_exit:
                _exit_later()
                loop.call_soon_threadsafe(gate.close)
            super().handle_exit(sig, frame)

    loop = asyncio.get_running_loop()
    config = uvicorn.Config(
        Shell(Guard(settings), gate, loader),
        lifespan="off",
        ws="none",
        log_config=None,
        log_level=logging.WARNING,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=int(GRACE),
    )
    try:
        await Server(config).serve(sockets=[listener])
    finally:
        gate.close()
        loader.close()


def _listen(settings: ServerSettings) -> socket.socket:
    """Open the port. From here on clients can connect; they are answered as soon as uvicorn is imported."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        # With the protocol named, asyncio sends small packets at once; without it each answer waits 40 ms for an ACK.
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(1_024)
    except OSError as error:
        where = f"{settings.host}:{settings.port}"
        raise ConfigError(f"cannot listen on {where} ({error.strerror or error}); choose another --port") from error
    listener.set_inheritable(False)
    return listener


def _say_where(settings: ServerSettings) -> None:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    # The token stands behind '#', which a browser never sends: it reaches no log but the terminal's.
    secret = f"#token={settings.token}" if settings.token else ""
    print(f"http://{host}:{settings.port}/{secret}", flush=True)


def _exit_later() -> None:
    watchdog = threading.Timer(LAST_EXIT, _exit)
    watchdog.daemon = True
    watchdog.start()


def _exit() -> None:
    logging.shutdown()
    sys.stdout.flush()
    os._exit(0)
