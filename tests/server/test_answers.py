"""Clients that leave: what was under way for them ends, deterministically, on a source that waits to be cancelled."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import pyarrow as pa
import pytest

from prefect_datagen.reports.errors import QueryCancelledError, QueryTimeoutError, SourceDownError
from prefect_datagen.reports.query_cache import Cancellation, Query, QueryCache, SourceLimits
from prefect_datagen.server.answers import ClientGoneError, Stream, explain, rows_for
from prefect_datagen.server.asgi import Connection, Message


class PatientSource:
    """A source whose queries run until they are cancelled."""

    identity = "patient"
    dialect = None
    limits = SourceLimits()

    def __init__(self) -> None:
        self.running = threading.Event()

    def version(self) -> str:
        return ""

    def execute(
        self, text: str, parameters: Mapping[str, Any], *, relations: Mapping[str, pa.Table], cancel: Cancellation
    ) -> pa.Table:
        self.running.set()
        cancel.wait()
        raise QueryCancelledError("cancelled")

    def close(self) -> None:
        pass


class Client:
    """The far end of a connection. `leave` is what uvicorn tells when it is gone."""

    def __init__(self) -> None:
        self._messages: asyncio.Queue[Message] = asyncio.Queue()
        self._messages.put_nowait({"type": "http.request", "body": b"", "more_body": False})
        self.received: list[Message] = []
        self.has_body = asyncio.Event()

    def leave(self) -> None:
        self._messages.put_nowait({"type": "http.disconnect"})

    async def receive(self) -> Message:
        return await self._messages.get()

    async def send(self, message: Message) -> None:
        self.received.append(message)
        if message["type"] == "http.response.body":
            self.has_body.set()


def test_a_plain_request_that_is_left_cancels_its_query() -> None:
    async def scenario() -> None:
        source, client = PatientSource(), Client()
        with QueryCache() as cache:
            connection = Connection(client.receive)
            waiting = asyncio.create_task(rows_for(connection, cache.submit(Query(source, "q"))))
            await asyncio.to_thread(source.running.wait)
            client.leave()
            with pytest.raises(ClientGoneError):
                await waiting
            await connection.close()
            statistics = cache.statistics()
            assert (statistics.cancellations, statistics.in_flight, statistics.waiters) == (1, 0, 0)

    asyncio.run(scenario())


def test_a_client_that_leaves_does_not_disturb_the_other_one() -> None:
    async def scenario() -> None:
        source, leaving, staying = PatientSource(), Client(), Client()
        with QueryCache() as cache:
            connections = [Connection(client.receive) for client in (leaving, staying)]
            waits = [asyncio.create_task(rows_for(each, cache.submit(Query(source, "q")))) for each in connections]
            await asyncio.to_thread(source.running.wait)
            leaving.leave()
            with pytest.raises(ClientGoneError):
                await waits[0]
            assert not waits[1].done()
            assert cache.statistics().waiters == 1
            staying.leave()
            with pytest.raises(ClientGoneError):
                await waits[1]
            for connection in connections:
                await connection.close()

    asyncio.run(scenario())


def test_a_stream_that_is_left_is_closed_where_it_waits() -> None:
    async def scenario() -> None:
        client, ended = Client(), asyncio.Event()

        async def pieces() -> AsyncGenerator[bytes, None]:
            try:
                yield b"first"
                await asyncio.Event().wait()
            finally:
                ended.set()

        connection = Connection(client.receive)
        stream = Stream(pieces(), connection, media_type="text/plain", headers={})
        answering = asyncio.create_task(stream({"type": "http"}, connection.receive, client.send))
        await client.has_body.wait()
        client.leave()
        await answering  # no error: there is nobody to tell
        assert ended.is_set()
        assert [message.get("body") for message in client.received] == [None, b"first"]
        await connection.close()

    asyncio.run(scenario())


def test_what_fails_before_the_first_piece_sends_no_status() -> None:
    """So that it becomes an ordinary error."""

    async def scenario() -> None:
        client = Client()

        async def pieces() -> AsyncGenerator[bytes, None]:
            raise SourceDownError("no")
            yield b""

        connection = Connection(client.receive)
        with pytest.raises(SourceDownError):
            await Stream(pieces(), connection, media_type="text/plain", headers={})({}, connection.receive, client.send)
        assert client.received == []
        await connection.close()

    asyncio.run(scenario())


def test_errors_are_explained_without_their_words() -> None:
    secret = "cannot open /home/me/secret.duckdb"
    for error, status in ((SourceDownError(secret), 503), (QueryTimeoutError(secret, seconds=1), 504)):
        assert explain(error)[0] == status
        assert "secret" not in explain(error)[2]
