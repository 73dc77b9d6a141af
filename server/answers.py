"""Waiting for a query on behalf of a client that may leave, and errors in the one shape that all of them have."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress

import pyarrow as pa
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.reports.errors import CircuitOpenError, QueryError, QueryTimeoutError, SourceDownError
from prefect_datagen.reports.query_cache import QueryHandle
from prefect_datagen.server.asgi import Connection, Receive, Scope, Send, error_body
from prefect_datagen.server.filters import FilterError

logger = logging.getLogger("prefect_datagen.server")

CLIENT_GONE = 499
"""Status of an answer that nobody reads; nginx's number for it."""

# What DuckDB calls a value that a column's type cannot hold.
_WRONG_VALUE = {"ConversionException", "OutOfRangeException", "InvalidInputException"}


class Stream(Response):
    """An answer sent piece by piece. When the client leaves, the iterator is cancelled where it waits, and closed."""

    def __init__(
        self, pieces: AsyncGenerator[bytes, None], client: Connection, *, media_type: str, headers: dict[str, str]
    ) -> None:
        super().__init__(media_type=media_type, headers=headers)
        del self.headers["content-length"]
        self._pieces = pieces
        self._client = client

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self._pieces):
            # The first piece comes before the status: what fails at once is an error like any other.
            piece = await self._next()
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            # Once it has begun, a client that leaves is no error: there is nobody to tell.
            with suppress(ClientGoneError):
                while piece is not None:
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
                    piece = await self._next()
                await send({"type": "http.response.body", "body": b""})

    async def _next(self) -> bytes | None:
        step = asyncio.ensure_future(anext(self._pieces, None))
        try:
            if await self._client.first(step):
                return step.result()
            raise ClientGoneError
        finally:
            if not step.done():
                step.cancel()
                await asyncio.wait([step])


class ClientGoneError(Exception):
    """The client left before its answer was there."""


def connection_of(request: Request) -> Connection:
    """The connection that the shell opened for a request."""
    connection: Connection = request.scope["connection"]
    return connection


async def rows_for(connection: Connection, handle: QueryHandle) -> pa.Table:
    """The rows of a query; a client that leaves leaves the query too.

    Raises:
        ClientGoneError: the client left.
        QueryError: the query failed.
        HTTPException: the server is about to stop, and has cancelled the query.
    """
    with handle:
        future = asyncio.wrap_future(handle.future)
        if not await connection.first(future):
            raise ClientGoneError
        if future.cancelled():
            raise HTTPException(503, "the server is about to stop")
        return future.result()


def explain(error: QueryError) -> tuple[int, str, str]:
    """Status, code and sentence for a query that failed: never its SQL, a path or a host, which the log has."""
    if isinstance(error, QueryTimeoutError):
        return 504, "query timeout", "the query took longer than its source allows"
    if isinstance(error, CircuitOpenError):
        return 503, "source left alone", "the source failed repeatedly and is left alone for a moment"
    if isinstance(error, SourceDownError):
        return 503, "source down", "the source cannot be reached"
    reason = error.context().get("reason", "")
    if reason in _WRONG_VALUE:
        return 400, "wrong value", "a value does not fit its column"
    return 500, "query failed", "the query failed; the server's log says why"


def install_error_handlers(application: FastAPI) -> None:
    """Give every error of an application the one shape."""

    def on(kind: type[Exception], answer: Callable[[Exception], Response]) -> None:
        async def handle(request: Request, error: Exception) -> Response:
            return answer(error)

        application.add_exception_handler(kind, handle)

    on(QueryError, _query_error)
    on(FilterError, lambda error: _error(400, "wrong filter", str(error)))
    on(ConfigError, lambda error: _error(400, "wrong value", str(error)))
    on(HTTPException, _http_error)
    on(RequestValidationError, _validation_error)
    on(ClientGoneError, lambda error: Response(status_code=CLIENT_GONE))
    on(Exception, lambda error: _error(500, "internal error", f"{type(error).__name__}; the server's log says more"))


def _error(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse(error_body(code, message), status_code=status, headers=headers)


def _query_error(error: Exception) -> Response:
    assert isinstance(error, QueryError)
    logger.warning("a query failed: %s", error)
    status, code, message = explain(error)
    seconds = error.context().get("retry_after", 1.0)
    return _error(status, code, message, {"Retry-After": str(math.ceil(seconds))} if status == 503 else None)


def _http_error(error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    codes = {404: "not found", 405: "method not allowed", 503: "stopping"}
    return _error(error.status_code, codes.get(error.status_code, "refused"), str(error.detail))


def _validation_error(error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    problem = error.errors()[0]
    return _error(400, "wrong parameter", f"{problem['loc'][-1]}: {problem['msg']}")
