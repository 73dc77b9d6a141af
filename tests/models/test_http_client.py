"""The HTTP client against real servers on sockets, on both event loops: what comes back, and what fails how."""

from __future__ import annotations

import asyncio
import base64
import gzip
import socket
import ssl
import sys
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
import trustme
from yarl import URL

from prefect_datagen.models.http_client import HttpClient, Response

T = TypeVar("T")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CLOSE = b""
"""Among the answers of a server: the connection is closed here."""


def _asyncio_loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


def _uvloop() -> asyncio.AbstractEventLoop:
    if sys.platform == "win32":
        pytest.skip("there is no uvloop on Windows")
    import uvloop

    return uvloop.new_event_loop()


@pytest.fixture(params=[_asyncio_loop, _uvloop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Iterator[Callable[[Awaitable[Any]], Any]]:
    """Run a coroutine to its end on one of the loops."""
    with asyncio.Runner(loop_factory=request.param) as runner:
        yield runner.run  # type: ignore[misc]


class Server:
    """Answers the requests of each connection with the bytes given, in turn; keeps what it was sent."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = answers
        self.asked: list[bytes] = []
        self.connections = 0
        self.came = asyncio.Event()
        self.held = asyncio.Event()

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            for answer in self.answers:
                if answer == CLOSE:
                    break
                head = await reader.readuntil(b"\r\n\r\n")
                length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
                self.asked.append(head + await reader.readexactly(int(length or 0)))
                self.came.set()
                writer.write(answer)
                await writer.drain()
            else:
                await self.held.wait()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client left
        finally:
            writer.close()


@asynccontextmanager
async def serving(*answers: bytes, tls: ssl.SSLContext | None = None) -> AsyncIterator[tuple[Server, URL]]:
    server = Server(*answers)
    listener = await asyncio.start_server(server.talk, "127.0.0.1", 0, ssl=tls)
    port = listener.sockets[0].getsockname()[1]
    try:
        yield server, URL(f"{'https' if tls else 'http'}://127.0.0.1:{port}")
    finally:
        server.held.set()
        listener.close()


@asynccontextmanager
async def client_of(url: URL, **options: Any) -> AsyncIterator[HttpClient]:
    given = {"headers": {}, "connect_timeout": 5.0, "read_timeout": 5.0, "proxy": None, **options}
    client = HttpClient(url, **given)
    try:
        yield client
    finally:
        await client.aclose()


async def ask(*answers: bytes, **options: Any) -> Response:
    """The answer to one request to a server that sends these bytes."""
    async with serving(*answers) as (_, url), client_of(url, **options) as client:
        return await client.request("POST", "/x", b"{}")


async def failing(
    *answers: bytes, kind: type[OSError] = ConnectionError, timeout: float | None = None, **options: Any
) -> str:
    """What is said of a request to a server that sends these bytes."""
    async with serving(*answers) as (_, url), client_of(url, **options) as client:
        with pytest.raises(kind) as caught:
            await client.request("POST", "/x", b"{}", timeout=timeout)
        return str(caught.value)


# What comes back


@pytest.mark.parametrize(
    "answer",
    [
        OK,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1;x=y\r\nk\r\n0\r\nTrailer: t\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK,
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b"
        % (len(gzip.compress(b"ok")), gzip.compress(b"ok")),
        b"HTTP/1.1 200 OK\r\nContent-Encoding: deflate\r\nContent-Length: %d\r\n\r\n%b"
        % (len(zlib.compress(b"ok")), zlib.compress(b"ok")),
    ],
    ids=["length", "chunked", "continue", "hints", "gzip", "deflate"],
)
def test_a_body_however_it_is_sent(run: Callable[..., Any], answer: bytes) -> None:
    async def main() -> None:
        async with serving(answer, OK) as (server, url), client_of(url) as client:
            first = await client.request("POST", "/x", b"{}")
            assert (first.status, first.data) == (200, b"ok")
            assert (await client.request("POST", "/x", b"{}")).data == b"ok"
            assert server.connections == 1

    run(main())


def test_a_body_that_ends_with_the_connection(run: Callable[..., Any]) -> None:
    assert run(ask(b"HTTP/1.1 200 OK\r\n\r\nok", CLOSE)).data == b"ok"


def test_an_answer_without_a_body(run: Callable[..., Any]) -> None:
    answer = run(ask(b"HTTP/1.1 204 No Content\r\n\r\n"))
    assert (answer.status, answer.data) == (204, b"")


def test_headers_are_found_whatever_their_case(run: Callable[..., Any]) -> None:
    headers = run(ask(b"HTTP/1.1 200 OK\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n")).headers
    assert (headers["retry-after"], headers.get("RETRY-AFTER"), headers.get("date")) == ("7", "7", None)
    assert dict(headers) == {"retry-after": "7", "content-length": "0"}


def test_what_is_sent(run: Callable[..., Any]) -> None:
    async def main() -> None:
        async with serving(OK, OK) as (server, url), client_of(url, headers={"X-A": "1", "X-B": "2"}) as client:
            await client.request("POST", "/v1/x?q=%C3%A9", b"body")
            await client.request("GET", "/", None, headers={"X-B": "3"})
        common = f"Host: {url.host_port_subcomponent}\r\nAccept-Encoding: gzip, deflate\r\nX-A: 1\r\n"
        assert [asked.decode() for asked in server.asked] == [
            f"POST /v1/x?q=%C3%A9 HTTP/1.1\r\n{common}X-B: 2\r\nContent-Length: 4\r\n\r\nbody",
            f"GET / HTTP/1.1\r\n{common}X-B: 3\r\nContent-Length: 0\r\n\r\n",
        ]

    run(main())


def test_a_long_request_is_sent_whole(run: Callable[..., Any]) -> None:
    async def main() -> None:
        body = bytes(range(256)) * 40_000
        async with serving(OK) as (server, url), client_of(url) as client:
            await client.request("POST", "/x", body)
        assert server.asked[0].endswith(body)

    run(main())


# Connections


@pytest.mark.parametrize("header", [b"", b"Connection: close\r\n"], ids=["closed", "told"])
def test_one_that_the_server_closes_is_not_used_again(run: Callable[..., Any], header: bytes) -> None:
    async def main() -> None:
        async with serving(OK.replace(b"OK\r\n", b"OK\r\n" + header), CLOSE) as (server, url):
            async with client_of(url) as client:
                await client.request("POST", "/x", b"{}")
                await asyncio.wait([each.closed for each in client._open])  # the server's end may come a little later
                await client.request("POST", "/x", b"{}")
            assert server.connections == 2

    run(main())


def test_one_that_was_idle_for_long_is_closed(run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with serving(OK, OK) as (server, url), client_of(url) as client:
            await client.request("POST", "/x", b"{}")
            await client.request("POST", "/x", b"{}")
            assert server.connections == 1
            monkeypatch.setattr("prefect_datagen.models.http_client._KEEP_ALIVE_SECONDS", -1.0)
            await client.request("POST", "/x", b"{}")
            assert server.connections == 2

    run(main())


def test_a_cancelled_call_closes_its_connection(run: Callable[..., Any]) -> None:
    async def main() -> None:
        async with serving(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart") as (server, url):
            async with client_of(url) as client:
                call = asyncio.create_task(client.request("POST", "/x", b"{}"))
                await server.came.wait()
                call.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await call
                server.answers = (OK,)
                assert (await client.request("POST", "/x", b"{}")).data == b"ok"
            assert server.connections == 2

    run(main())


def test_bytes_that_nobody_asked_for_are_no_answer_to_the_next_request(run: Callable[..., Any]) -> None:
    stolen = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen"

    async def main() -> None:
        async with serving(OK + stolen) as (server, url), client_of(url) as client:
            assert (await client.request("POST", "/x", b"{}")).data == b"ok"
            server.answers = (OK,)
            assert (await client.request("POST", "/x", b"{}")).data == b"ok"
            assert server.connections == 2

    run(main())


# Failures


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        ((b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart", CLOSE), "the answer was cut off"),
        ((b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\npa", CLOSE), "the answer was cut off"),
        ((CLOSE,), "lost before the answer"),
        ((b"220 mail.example.org ESMTP\r\n\r\n", CLOSE), "not understood"),
        ((b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nok",), "cannot be decompressed"),
    ],
    ids=["length", "chunk", "nothing", "no-http", "no-gzip"],
)
def test_no_whole_answer(run: Callable[..., Any], answers: tuple[bytes, ...], told: str) -> None:
    assert told in run(failing(*answers))


def test_limits_of_time(run: Callable[..., Any]) -> None:
    part = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart"
    assert run(failing(part, kind=TimeoutError, read_timeout=0.05)) == "nothing received for 0.05 s"
    assert run(failing(part, kind=TimeoutError, timeout=0.05)) == "no whole answer within 0.05 s"


def test_a_host_without_an_address(run: Callable[..., Any]) -> None:
    async def main() -> None:
        async with client_of(URL("http://models.invalid:80")) as client:
            for _ in range(2):
                with pytest.raises(socket.gaierror):
                    await client.request("POST", "/x", b"{}")

    run(main())


# TLS and proxies


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def certificate(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """A server's, for 127.0.0.1; clients trust its authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    return context


async def _tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: list[bytes]) -> None:
    """A proxy that connects where it is told to."""
    asked.append(await reader.readuntil(b"\r\n\r\n"))
    host, _, port = asked[-1].split()[1].decode().rpartition(":")
    far_reader, far_writer = await asyncio.open_connection(host, int(port))
    writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")

    async def carry(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                target.write(data)
        except ConnectionError:
            pass
        target.close()

    await asyncio.gather(carry(reader, far_writer), carry(far_reader, writer))


def test_tls_and_its_connection_is_kept(run: Callable[..., Any], certificate: ssl.SSLContext) -> None:
    async def main() -> None:
        async with serving(OK, OK, tls=certificate) as (server, url), client_of(url) as client:
            for _ in range(2):
                assert (await client.request("POST", "/x", b"{}")).data == b"ok"
            assert server.connections == 1

    run(main())


def test_a_certificate_that_is_not_trusted(run: Callable[..., Any], certificate: ssl.SSLContext) -> None:
    async def main() -> None:
        trustme.CA().issue_cert("127.0.0.1").configure_cert(certificate)
        async with serving(OK, tls=certificate) as (server, url), client_of(url) as client:
            with pytest.raises(ssl.SSLCertVerificationError):
                await client.request("POST", "/x", b"{}")
            assert server.asked == []

    run(main())


def test_tls_through_a_proxy_that_wants_a_password(run: Callable[..., Any], certificate: ssl.SSLContext) -> None:
    async def main() -> None:
        asked: list[bytes] = []
        proxy = await asyncio.start_server(lambda r, w: _tunnel(r, w, asked), "127.0.0.1", 0)
        at = URL(f"http://user:p%40ss@127.0.0.1:{proxy.sockets[0].getsockname()[1]}")
        async with serving(OK, OK, tls=certificate) as (server, url), client_of(url, proxy=at) as client:
            for _ in range(2):
                assert (await client.request("POST", "/x", b"{}")).data == b"ok"
            pair = base64.b64encode(b"user:p@ss").decode()
            (connect,) = asked
            host = f"127.0.0.1:{url.port}"
            assert connect.decode() == (
                f"CONNECT {host} HTTP/1.1\r\nHost: {host}\r\nProxy-Authorization: Basic {pair}\r\n\r\n"
            )
            assert b"roxy" not in b"".join(server.asked)
        proxy.close()

    run(main())


def test_a_proxy_that_refuses_a_tunnel(run: Callable[..., Any]) -> None:
    async def main() -> None:
        async with serving(b"HTTP/1.1 407 Who are you\r\nContent-Length: 0\r\n\r\n") as (_, proxy):
            proxy = proxy.with_user("user").with_password("secret")
            async with client_of(URL("https://models.invalid"), proxy=proxy) as client:
                with pytest.raises(ConnectionError, match=r"answers 407 to CONNECT models.invalid:443") as caught:
                    await client.request("POST", "/x", b"{}")
                assert "secret" not in repr(caught.value)

    run(main())


def test_without_tls_a_proxy_is_asked_for_the_whole_address(run: Callable[..., Any]) -> None:
    async def main() -> None:
        async with serving(OK) as (server, proxy):
            proxy = proxy.with_user("user").with_password("secret")
            async with client_of(URL("http://models.invalid"), proxy=proxy) as client:
                await client.request("POST", "/v1/x", b"{}")
            (asked,) = server.asked
            assert asked.startswith(b"POST http://models.invalid/v1/x HTTP/1.1\r\nHost: models.invalid\r\n")
            assert b"Proxy-Authorization: Basic " + base64.b64encode(b"user:secret") in asked

    run(main())
