"""The routes of OpenAI's Batch API, asked with patience: what passes is waited for, what is refused ends the run."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import orjson

from prefect_datagen.engine.errors import ErrorKind, ModelError
from prefect_datagen.models.completion import Reply, read_object
from prefect_datagen.models.openai import OpenAIClient

MARK = "prefect_datagen"
"""Key of a batch's metadata that holds our id of it."""

ENDED = frozenset({"completed", "failed", "expired", "cancelled"})
"""States of a batch that it does not leave."""

TOO_MUCH_QUEUED = "token_limit_exceeded"
"""Why a batch fails that would be taken at a quieter time."""

_FIRST_DELAY = 0.5
_LONGEST_DELAY = 30.0


@dataclass(frozen=True, slots=True)
class BatchFault:
    """Why the provider would not run a batch."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class BatchState:
    """A batch as the provider tells it. `files` hold its answers and errors; `finished` counts requests."""

    status: str
    finished: int
    files: tuple[str, ...]
    errors: tuple[BatchFault, ...]


class BatchApi:
    """Files and batches of one endpoint.

    Every method raises `ModelError` of kind FATAL: the endpoint refuses, or gave nothing but trouble for `patience` seconds.
    """

    def __init__(self, live: OpenAIClient, *, alias: str, completion_window: str, patience: float) -> None:
        self._live = live
        self._alias = alias
        self._completion_window = completion_window
        self._patience = patience
        self.redact = live.redact

    async def submit(self, id: str, route: str, data: bytes) -> str:
        """Upload a batch's requests and create it. Returns the provider's id.

        A file that is uploaded twice costs nothing; a batch that is created twice is paid twice. So where no reply came,
        it is looked for by our own id before it is asked for again.
        """

        async def upload() -> Reply:
            return await self._live.upload("files", f"{id}.jsonl", data, {"purpose": "batch"})

        file = await self._patiently(upload)
        body = {
            "input_file_id": _name(file),
            "endpoint": f"/v1/{route}",
            "completion_window": self._completion_window,
            "metadata": {MARK: id},
        }
        asked = False

        async def create() -> Reply:
            nonlocal asked
            if asked and (found := await self._look_for(id)) is not None:
                return Reply(self._live.endpoint, 200, {}, orjson.dumps({"id": found}))
            asked = True
            return await self._live.request("POST", "batches", orjson.dumps(body))

        return _name(await self._patiently(create))

    async def find(self, id: str) -> str | None:
        """The provider's id of a batch of ours, or None where it has none."""
        found: str | None = None

        async def look() -> Reply:
            nonlocal found
            found = await self._look_for(id)
            return Reply(self._live.endpoint, 200, {}, b'{"id": ""}')

        await self._patiently(look)
        return found

    async def state(self, remote_id: str) -> BatchState:
        """How far a batch is."""
        state = await self._patiently(lambda: self._live.request("GET", f"batches/{remote_id}", None))
        counts = state.get("request_counts") or {}
        listed = (state.get("errors") or {}).get("data") or []
        return BatchState(
            status=str(state.get("status")),
            finished=sum(counts[name] for name in ("completed", "failed") if isinstance(counts.get(name), int)),
            files=tuple(str(state[name]) for name in ("output_file_id", "error_file_id") if state.get(name)),
            errors=tuple(
                BatchFault(str(each.get("code")), str(each.get("message") or each.get("code"))) for each in listed
            ),
        )

    async def content(self, file_id: str) -> bytes:
        """A file, whole."""
        content = b""

        async def load() -> Reply:
            nonlocal content
            reply = await self._live.request("GET", f"files/{file_id}/content", None)
            if reply.status != 200:
                return reply
            content = reply.data
            return Reply(reply.endpoint, 200, {}, b'{"id": ""}')

        await self._patiently(load)
        return content

    async def _look_for(self, id: str) -> str | None:
        query = {"limit": "100"}
        while True:
            page = read_object(await self._live.request("GET", "batches", None, query=query), redact=self.redact)
            listed = page.get("data") or []
            for each in listed:
                if (each.get("metadata") or {}).get(MARK) == id:
                    return str(each["id"])
            if not page.get("has_more") or not listed:
                return None
            query["after"] = str(listed[-1]["id"])

    async def _patiently(self, send: Callable[[], Awaitable[Reply]]) -> dict[str, Any]:
        since, delay = time.monotonic(), _FIRST_DELAY
        while True:
            try:
                return read_object(await send(), redact=self.redact)
            except ModelError as error:
                transient = error.kind in (ErrorKind.RETRYABLE, ErrorKind.THROTTLED)
                if not transient or time.monotonic() - since >= self._patience:
                    raise self._given_up(error, transient=transient) from error
                wait = max(delay, error.retry_after or 0.0)
            await asyncio.sleep(wait)
            delay = min(_LONGEST_DELAY, 2 * delay)

    def _given_up(self, error: ModelError, *, transient: bool) -> ModelError:
        hint = f" (nothing else for {self._patience:g} s; what the provider has goes on)" if transient else ""
        if error.status in (404, 405):
            hint = " (has the endpoint a Batch API? `mode: live` needs none)"
        return ModelError(
            f"model alias {self._alias!r} in batch mode: {error.message}{hint}",
            kind=ErrorKind.FATAL,
            reason=error.reason,
            status=error.status,
            endpoint=self._live.endpoint,
        )


def _name(made: dict[str, Any]) -> str:
    return str(made["id"])
