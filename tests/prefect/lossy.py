"""A connection to Prefect's API on which answers are lost: a proxy that cuts them off when the server has done its work."""

from __future__ import annotations

import re
import socket
import threading
from types import TracebackType
from typing import Self

from tests.prefect.server import free_port

GATEWAY = b"HTTP/1.1 502 Bad Gateway\r\nRetry-After: 0\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
"""What a gateway says that waited too long for the server behind it."""
CUT = b""
"""Nothing: the connection is cut."""
_TRANSITION = re.compile(rb'"transition_id":\s?"([0-9a-f-]+)"')
_FINAL = re.compile(rb'"type":\s?"(COMPLETED|FAILED)"')


class LossyProxy:
    """Passes everything on, but the first answer to each request that sets a final state of a flow run.

    Attributes:
        url: of the API behind it.
        lost: final states whose first answer was lost, in order: `COMPLETED` or `FAILED`.
    """

    def __init__(self, port: int, *, instead: bytes = GATEWAY) -> None:
        """`port` is the server's; `instead` is what the client gets for an answer that is lost."""
        self._behind = port
        self._instead = instead
        self._seen: set[bytes] = set()
        self._listener = socket.create_server(("127.0.0.1", free_port()), backlog=64)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/api"
        self.lost: list[str] = []

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return  # closed
            server = socket.create_connection(("127.0.0.1", self._behind))
            losing = threading.Event()
            threading.Thread(target=self._up, args=(client, server, losing), daemon=True).start()
            threading.Thread(target=self._down, args=(client, server, losing), daemon=True).start()

    def _up(self, client: socket.socket, server: socket.socket, losing: threading.Event) -> None:
        """Pass requests on, and see whether the answer to one is to be lost, before all of it has been sent."""
        request = b""
        with server:
            while data := _receive(client):
                # A request begins anew where the one before is over, which has been answered then.
                request = data if data.startswith((b"GET ", b"POST ", b"PUT ", b"PATCH ")) else request + data
                transition, final = _TRANSITION.search(request), _FINAL.search(request)
                if b"/set_state " in request and transition and final and transition[1] not in self._seen:
                    self._seen.add(transition[1])
                    self.lost.append(final[1].decode())
                    losing.set()
                server.sendall(data)
            _shut(server)

    def _down(self, client: socket.socket, server: socket.socket, losing: threading.Event) -> None:
        with client:
            while data := _receive(server):
                if losing.is_set():
                    client.sendall(self._instead)
                    break
                client.sendall(data)
            _shut(client)


def _receive(connection: socket.socket) -> bytes:
    try:
        return connection.recv(1 << 16)
    except OSError:
        return b""  # the other thread has closed it


def _shut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # it is closed already
