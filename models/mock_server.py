"""The mock model server: an OpenAI-compatible endpoint for trying things out, tests and benchmarks.

Its answers are those of the offline model; what it does to its callers is a `MockBehaviour`, changed at run time by
`POST /control`; what it saw of them is told by `GET /stats` and `GET /requests`. As a process of its own:

    python -m prefect_datagen.models.mock_server --port 0 '{"latency_ms": 50, "max_in_flight": 16}'
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable

from pydantic import ValidationError

from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.models.mock_behaviour import MockBehaviour
from prefect_datagen.models.mock_http import HttpConnection
from prefect_datagen.models.mock_model import MockModel


async def serve(
    behaviour: MockBehaviour,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    on_listen: Callable[[str], None],
    stopped: Callable[[], Awaitable[None]],
) -> None:
    """Serve until `stopped` returns, then drop what is still in flight.

    Args:
        behaviour: what the server does to its callers at first.
        host: address to listen on.
        port: port to listen on; 0 for any that is free.
        on_listen: gets the base URL (`http://127.0.0.1:8000/v1`) when the port is open.
        stopped: awaited once; the server stops when it is done.

    Raises:
        ConfigError: the address cannot be listened on.
    """
    model = MockModel(behaviour)
    loop = asyncio.get_running_loop()
    try:
        server = await loop.create_server(
            lambda: HttpConnection(model.handle, model.connections), host, port, backlog=4096
        )
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {host}:{port}: {error.strerror or error}; choose another --port, or 0 for any free one"
        ) from error
    try:
        bound = server.sockets[0].getsockname()[1]
        on_listen(f"http://{f'[{host}]' if ':' in host else host}:{bound}/v1")
        await stopped()
    finally:
        server.close()
        for connection in list(model.connections):
            connection.abort()


def run(
    behaviour: MockBehaviour, *, host: str, port: int, on_listen: Callable[[str], None], until_eof: bool = False
) -> None:
    """Serve in this thread until SIGINT or SIGTERM; with `until_eof` until standard input ends, too.

    Raises:
        ConfigError: the address cannot be listened on.
    """

    async def main() -> None:
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        if until_eof:
            loop.add_reader(sys.stdin.fileno(), _set_at_eof, sys.stdin.fileno(), stop)

        async def stopped() -> None:
            await stop.wait()

        await serve(behaviour, host=host, port=port, on_listen=on_listen, stopped=stopped)

    with asyncio.Runner(loop_factory=_fast_loop()) as runner:
        runner.run(main())


def _set_at_eof(descriptor: int, stop: asyncio.Event) -> None:
    if not os.read(descriptor, 4096):
        stop.set()


def _fast_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop, which is not made for Windows."""
    if sys.platform == "win32":
        return None
    import uvloop

    return uvloop.new_event_loop


def main(arguments: list[str] | None = None) -> None:
    """`python -m prefect_datagen.models.mock_server`: prints the base URL as one line, then serves."""
    parser = argparse.ArgumentParser(prog="python -m prefect_datagen.models.mock_server", description=__doc__)
    parser.add_argument("behaviour", nargs="?", default="{}", help="fields of MockBehaviour as JSON")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 for any free one")
    parser.add_argument("--until-eof", action="store_true", help="stop when standard input ends, with its parent")
    chosen = parser.parse_args(arguments)
    try:
        behaviour = MockBehaviour.model_validate_json(chosen.behaviour)
        run(
            behaviour,
            host=chosen.host,
            port=chosen.port,
            on_listen=lambda url: print(url, flush=True),
            until_eof=chosen.until_eof,
        )
    except (ConfigError, ValidationError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
