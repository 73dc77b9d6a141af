"""Models in batch mode: calls are collected, handed to the provider as files, and answered when a batch has ended.

OpenAI's Batch API: a JSONL file of requests goes to `POST /files`, `POST /batches` starts its batch, `GET /batches/{id}` is
asked until it has ended, and the files of its answers and errors are read. To the engine it is a client like any other;
only that a call lasts for hours.

    call ─► collected ─► a batch is written down, uploaded, created ─► polled ─► answers are dealt out ─► settled
              ▲                                                                    │
              └──────────── a call that failed and is tried again ◄───────────────┘

*Collecting.* A batch goes out when it is full (requests or bytes), when no call has come for `linger_seconds`, or when the
first has waited for `longest_wait_seconds`. Requests of one batch share model and route.

*Nothing is paid for twice.* Each request carries the call's journal key. The batch and its keys are on disk before the
provider hears of it, the provider's id is right after; the batch carries our own id as metadata. So after a kill at any
moment the next run knows what was handed over: a call whose key is in such a batch waits for that batch, whether the
kill came before or after the id was known. A key is struck off in the transaction that stores its answer.

*Trouble.* A request that failed is classified as a call of its own would be; a push-back within a batch is only retryable,
since the limiter has nothing to limit. Requests of a batch that expired are retryable. A batch that somebody cancelled, or
that the provider refuses, ends the run: sending it again is not ours to decide. A provider that does not answer is asked
again with back-off for `patience` seconds; then the run ends, resumable, and its batches go on.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable, Collection, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import orjson

from prefect_datagen.engine.batches import BatchLedger, BatchStatistics
from prefect_datagen.engine.chat import (
    ChatAnswer,
    ChatRequest,
    EmbeddingAnswer,
    EmbeddingRequest,
    ImageAnswer,
    ImageRequest,
)
from prefect_datagen.engine.errors import ErrorKind, ModelError
from prefect_datagen.models.batch_api import ENDED, TOO_MUCH_QUEUED, BatchApi, BatchState
from prefect_datagen.models.completion import Reply, read_answer
from prefect_datagen.models.config import BatchParameters
from prefect_datagen.models.embeddings import read_embeddings
from prefect_datagen.models.images import image_chat_body, read_chat_image, read_image
from prefect_datagen.models.openai import OpenAIClient, refuses_response_format

_logger = logging.getLogger(__name__)

CHAT, EMBEDDINGS, IMAGES = "chat/completions", "embeddings", "images/generations"

_NOT_RUN = frozenset({"batch_expired", "batch_cancelled"})
_LINES_AT_ONCE = 256

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class _Call:
    """A call that waits. `line` is what is sent of it."""

    key: bytes
    route: str
    model: str
    line: bytes
    answer: asyncio.Future[Reply]


@dataclass(slots=True)
class _Batch:
    """A batch that was written down. `keys` are not settled, `open` ones not dealt out. `task` follows it, once somebody
    asks for one of its keys."""

    id: str
    remote_id: str | None
    keys: set[bytes]
    is_resumed: bool
    finished: int = 0
    total: int = 0
    task: asyncio.Task[None] | None = None
    is_over: bool = False
    open: set[bytes] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.open = set(self.keys)


@dataclass(slots=True)
class _Collection:
    """Calls of one route and model that wait to be sent. Times of the loop's clock."""

    calls: dict[bytes, _Call] = field(default_factory=dict)
    size: int = 0
    first: float = 0.0
    last: float = 0.0


class OpenAIBatchClient:
    """The batches of one alias, on one event loop. `live` is the client of its endpoint, and is not closed here.

    Args:
        live: sends the requests about files and batches.
        alias: for messages.
        parameters: when batches go out, and how often they are asked for.
        ledger: where batches are written down.
        patience: seconds of nothing but trouble after which the run ends.
        notify: is told of batches that are submitted and that ended.
    """

    def __init__(
        self,
        live: OpenAIClient,
        *,
        alias: str,
        parameters: BatchParameters,
        ledger: BatchLedger,
        patience: float = 300.0,
        notify: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.live = live
        self._api = BatchApi(live, alias=alias, completion_window=parameters.completion_window, patience=patience)
        self._alias = alias
        self._parameters = parameters
        self._ledger = ledger
        self._notify = notify
        self._waiting: dict[bytes, _Call] = {}
        self._collections: dict[tuple[str, str], _Collection] = {}
        self._homes: dict[bytes, _Batch] = {}
        self._ready: dict[bytes, Reply] = {}
        self._batches: dict[str, _Batch] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._hold_until = 0.0
        self._holds = 0
        self._submitted = self._finished = 0
        self._leaving = False
        for record in ledger.batches(live.endpoint):
            batch = _Batch(record.id, record.remote_id, set(record.keys), is_resumed=True)
            self._batches[batch.id] = batch
            self._homes.update(dict.fromkeys(record.keys, batch))  # of two batches with a key the later one counts

    @property
    def endpoint(self) -> str:
        """That of the live client: an answer is the same by either way, and so is its journal key."""
        return self.live.endpoint

    def __repr__(self) -> str:
        return f"OpenAIBatchClient({self.endpoint!r}, {self.statistics()!r})"

    def statistics(self) -> BatchStatistics:
        """How far the batches are; requests that the provider says it has finished count as finished."""
        followed = [batch for batch in self._batches.values() if batch.task is not None]
        return BatchStatistics(
            collecting=sum(len(collection.calls) for collection in self._collections.values()),
            batches=len(followed),
            submitted=self._submitted,
            finished=self._finished + sum(batch.finished for batch in followed),
        )

    def named(self, key: bytes) -> _NamedCall:
        """The client for the one call of this key."""
        return _NamedCall(self, key)

    def settle(self, key: bytes) -> None:
        """Strike the key off: with the answer's own transaction it is gone from the ledger."""
        self._ready.pop(key, None)
        batch = self._homes.pop(key, None)
        if batch is not None:
            self._ledger.settle(batch.id, key)
            batch.keys.discard(key)
            if not batch.keys:
                self._batches.pop(batch.id, None)

    def leave(self) -> None:
        """Cancel the calls that wait; submit nothing more."""
        self._leaving = True
        self._collections.clear()
        for call in list(self._waiting.values()):
            call.answer.cancel()

    async def chat(self, request: ChatRequest, *, timeout: float | None = None) -> ChatAnswer:
        """A call that has no key, and so is not found again after a kill; see `named`.

        Raises:
            ModelError: classified as the module says.
        """
        return await self.named(uuid.uuid4().bytes).chat(request, timeout=timeout)

    async def aclose(self) -> None:
        """Stop asking. Batches that are not through go on at the provider. May be called twice."""
        self.leave()
        tasks, self._tasks = list(self._tasks), set()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        left = [batch for batch in self._batches.values() if batch.task in tasks and not batch.is_over]
        if left:
            requests = sum(len(batch.keys) for batch in left)
            self._notify(
                f"model {self._alias!r}: {len(left)} batches with {requests:,} requests go on at {self.endpoint}; the "
                "next run of this dataset takes their answers"
            )

    # --- calls -----------------------------------------------------------------------------------------------------

    async def ask(self, key: bytes, route: str, body: Mapping[str, Any]) -> Reply:
        """The provider's reply to one request, from the batch that has it or from the next one.

        Raises:
            ModelError: it got none.
            CancelledError: the run ends.
        """
        if self._leaving:
            raise asyncio.CancelledError
        ready = self._ready.pop(key, None)
        if ready is None:
            line = self._line(key, route, body)
            call = _Call(key, route, str(body.get("model")), line, asyncio.get_running_loop().create_future())
            self._waiting[key] = call
            home = self._homes.get(key)
            if home is None:
                self._collect(call)
            else:
                self._follow(home)
            try:
                return await call.answer
            finally:
                del self._waiting[key]
                self._forget_unsent(call)
        return ready

    def _line(self, key: bytes, route: str, body: Mapping[str, Any]) -> bytes:
        request = {"custom_id": key.hex(), "method": "POST", "url": f"/v1/{route}", "body": body}
        try:
            line = orjson.dumps(request, option=orjson.OPT_APPEND_NEWLINE)
        except TypeError as error:
            raise self._error(f"the request is not valid JSON: {error}", "unsendable request") from error
        most = self._parameters.max_bytes
        if len(line) > most:
            raise self._error(f"a request of {len(line):,} bytes; a batch holds {most:,}", "unsendable request")
        return line

    # --- collecting ------------------------------------------------------------------------------------------------

    def _collect(self, call: _Call) -> None:
        group = (call.route, call.model)
        collection = self._collections.setdefault(group, _Collection())
        if collection.calls and collection.size + len(call.line) > self._parameters.max_bytes:
            self._send_out(group)
            collection = self._collections.setdefault(group, _Collection())
        collection.last = asyncio.get_running_loop().time()
        if not collection.calls:
            collection.first = collection.last
            self._spawn(self._linger(group, collection))
        collection.calls[call.key] = call
        collection.size += len(call.line)
        if len(collection.calls) >= self._parameters.max_requests:
            self._send_out(group)

    async def _linger(self, group: tuple[str, str], collection: _Collection) -> None:
        """Send the collection out when no call has come for a while. One timer for all of its calls."""
        settings, clock = self._parameters, asyncio.get_running_loop().time
        while self._collections.get(group) is collection:
            due = min(collection.last + settings.linger_seconds, collection.first + settings.longest_wait_seconds)
            due = max(due, self._hold_until)
            if clock() >= due:
                self._send_out(group)
            else:
                await asyncio.sleep(due - clock())

    def _send_out(self, group: tuple[str, str]) -> None:
        collection = self._collections.pop(group)
        if collection.calls:
            self._spawn(self._submit(group[0], list(collection.calls.values())))

    def _forget_unsent(self, call: _Call) -> None:
        """A call that was cancelled while it was collected is not sent."""
        collection = self._collections.get((call.route, call.model))
        if collection is not None and collection.calls.get(call.key) is call:
            del collection.calls[call.key]
            collection.size -= len(call.line)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._note_end)
        return task

    def _note_end(self, task: asyncio.Task[None]) -> None:
        """A bug in a task of ours must end the run: every call would wait for ever."""
        self._tasks.discard(task)
        if task.cancelled() or task.exception() is None:
            return
        error = task.exception()
        for call in list(self._waiting.values()):
            if error is not None and not call.answer.done():
                call.answer.set_exception(error)

    # --- one batch -------------------------------------------------------------------------------------------------

    async def _submit(self, route: str, calls: list[_Call]) -> None:
        batch = _Batch(uuid.uuid4().hex, None, {call.key for call in calls}, is_resumed=False, total=len(calls))
        batch.task = asyncio.current_task()
        self._ledger.put_batch(batch.id, self.endpoint, list(batch.keys))
        self._batches[batch.id] = batch
        self._homes.update(dict.fromkeys(batch.keys, batch))
        self._submitted += len(calls)
        try:
            remote = await self._api.submit(batch.id, route, b"".join(call.line for call in calls))
        except ModelError as error:
            # It stays written down: where no reply came, the next run looks whether the provider has it.
            self._fail(batch.keys, error)
            return
        self._name(batch, remote)
        self._notify(f"model {self._alias!r}: batch {batch.remote_id} of {len(calls):,} requests submitted")
        await self._see_through(batch)

    def _follow(self, batch: _Batch) -> None:
        """See a batch of an earlier run through, from now on."""
        if batch.task is None:
            self._submitted += len(batch.keys)
            batch.total = len(batch.keys)
            batch.task = self._spawn(self._take_up(batch))

    async def _take_up(self, batch: _Batch) -> None:
        try:
            if batch.remote_id is None:
                # The run that wrote it down was killed before it knew the provider's id, if there is one.
                remote = await self._api.find(batch.id)
                if remote is None:
                    self._lost(batch)
                    return
                self._name(batch, remote)
        except ModelError as error:
            self._fail(batch.keys, error)
            return
        self._notify(
            f"model {self._alias!r}: batch {batch.remote_id} of an earlier run is taken up "
            f"({len(batch.keys):,} requests)"
        )
        await self._see_through(batch)

    async def _see_through(self, batch: _Batch) -> None:
        """Ask for a batch until it has ended, then deal out what came of it."""
        settings, delay = self._parameters, self._parameters.poll_seconds
        try:
            while (state := await self._api.state(str(batch.remote_id))).status not in ENDED:
                batch.finished = min(batch.total, state.finished)
                await asyncio.sleep(delay)
                delay = min(settings.longest_poll_seconds, 1.5 * delay)
            if state.status == "failed":
                self._end_refused(batch, state)
            else:
                await self._deal_out(batch, state)
        except ModelError as error:
            if error.status == 404 and batch.is_resumed:
                self._lost(batch)
            else:
                self._fail(batch.keys, error)

    async def _deal_out(self, batch: _Batch, state: BatchState) -> None:
        came = 0
        for file_id in state.files:
            content = await self._api.content(file_id)
            for number, line in enumerate(content.splitlines(), 1):
                came += self._take_line(batch, line)
                if number % _LINES_AT_ONCE == 0:
                    await asyncio.sleep(0)
        missing = len(batch.open)
        if state.status == "cancelled":
            what = "was cancelled at the provider; run again to submit what it lacks"
            error = self._error(f"batch {batch.remote_id} {what}", "batch cancelled", ErrorKind.FATAL)
        else:
            what = "expired at the provider" if state.status == "expired" else "has no line for this request"
            error = self._error(f"batch {batch.remote_id} {what}", f"batch {state.status}", ErrorKind.RETRYABLE)
        batch.is_over = True
        self._holds = 0
        self._finished += batch.total
        batch.finished = 0
        self._fail_for_good(batch, error)
        self._notify(
            f"model {self._alias!r}: batch {batch.remote_id} {state.status}: {came:,} requests came back"
            + (f", {missing:,} did not" if missing else "")
        )

    def _take_line(self, batch: _Batch, line: bytes) -> bool:
        """Deal out one line of an answer or error file. False where it is not one of the batch's requests."""
        try:
            result = orjson.loads(line)
            key = bytes.fromhex(result["custom_id"])
        except (ValueError, KeyError, TypeError):
            return False
        if self._homes.get(key) is not batch:
            return False  # settled, or asked again in a later batch
        response, error = result.get("response"), result.get("error")
        batch.open.discard(key)
        if isinstance(response, dict) and response.get("body") is not None:
            status = response.get("status_code")
            body = orjson.dumps(response["body"])
            self._give(key, Reply(self.endpoint, status if isinstance(status, int) else 200, {}, body))
        elif isinstance(error, dict) and error.get("code") in _NOT_RUN:
            batch.open.add(key)
            return False
        else:
            said = self._api.redact(orjson.dumps(error).decode())
            failure = self._error(f"batch {batch.remote_id}: {said}", "batch error", ErrorKind.RETRYABLE)
            self.settle(key)
            self._fail([key], failure)
        return True

    def _give(self, key: bytes, reply: Reply) -> None:
        call = self._waiting.get(key)
        if call is None:
            self._ready[key] = reply
        elif not call.answer.done():
            call.answer.set_result(reply)

    def _fail(self, keys: Collection[bytes], error: ModelError) -> None:
        """Tell those who wait. What was written down stays: the provider may yet answer."""
        for key in list(keys):
            call = self._waiting.get(key)
            if call is not None and not call.answer.done():
                call.answer.set_exception(ModelError(error.message, **error.context()))

    def _fail_for_good(self, batch: _Batch, error: ModelError) -> None:
        """What is not dealt out of a batch will not come: who asks for it later asks anew."""
        lost, batch.open = batch.open, set()
        for key in lost:
            self.settle(key)
        self._fail(lost, error)

    def _end_refused(self, batch: _Batch, state: BatchState) -> None:
        """The provider took the file and would not run it: nothing of it was paid."""
        self._drop(batch)
        if {error.code for error in state.errors} == {TOO_MUCH_QUEUED}:
            # The account's ceiling of queued tokens: it fits when earlier batches have ended.
            self._holds += 1
            hold = min(self._parameters.longest_poll_seconds, self._parameters.poll_seconds * 2**self._holds)
            self._hold_until = asyncio.get_running_loop().time() + hold
            self._notify(f"model {self._alias!r}: the provider has too much queued; the next try is in {hold:g} s")
            self._collect_again(batch)
            return
        said = "; ".join(self._api.redact(error.message) for error in state.errors[:3]) or "no reason given"
        self._fail(
            batch.keys, self._error(f"batch {batch.remote_id} was refused: {said}", "batch refused", ErrorKind.FATAL)
        )

    def _lost(self, batch: _Batch) -> None:
        """The provider does not have it: its calls are sent anew."""
        _logger.warning("%s knows nothing of batch %s: its requests are sent again", self.endpoint, batch.remote_id)
        self._drop(batch)
        self._collect_again(batch)

    def _collect_again(self, batch: _Batch) -> None:
        self._submitted -= batch.total
        for key in batch.keys:
            call = self._waiting.get(key)
            if call is not None and not call.answer.done() and not self._leaving:
                self._collect(call)

    def _name(self, batch: _Batch, remote_id: str) -> None:
        batch.remote_id = remote_id
        self._ledger.name_batch(batch.id, remote_id)

    def _drop(self, batch: _Batch) -> None:
        self._ledger.drop_batch(batch.id)
        self._batches.pop(batch.id, None)
        for key in batch.keys:
            if self._homes.get(key) is batch:
                del self._homes[key]

    def _error(self, what: str, reason: str, kind: ErrorKind = ErrorKind.PERMANENT) -> ModelError:
        return ModelError(f"{self.endpoint}: {what}", kind=kind, reason=reason, endpoint=self.endpoint)


@dataclass(frozen=True, slots=True)
class _NamedCall:
    """The client for one call: its request goes with the next batch, or is in one already.

    A failure that came back with the batch is settled here; an answer by whoever puts it into the journal.
    """

    client: OpenAIBatchClient
    key: bytes

    @property
    def endpoint(self) -> str:
        """That of the batches."""
        return self.client.endpoint

    async def chat(self, request: ChatRequest, *, timeout: float | None = None) -> ChatAnswer:
        """As `OpenAIClient.chat`, without its time limit: where `response_format` is refused, it is left out."""
        live = self.client.live
        body = live.body(request.body())
        reply = await self.client.ask(self.key, CHAT, body)
        if "response_format" in body and refuses_response_format(reply):
            self.client.settle(self.key)
            del body["response_format"]
            reply = await self.client.ask(self.key, CHAT, body)
        return self._read(lambda: read_answer(reply, redact=live.redact))

    async def embed(self, request: EmbeddingRequest, *, timeout: float | None = None) -> EmbeddingAnswer:
        """As `OpenAIClient.embed`, without its time limit."""
        live = self.client.live
        reply = await self.client.ask(self.key, EMBEDDINGS, live.body(request.body()))
        return self._read(lambda: read_embeddings(reply, texts=len(request.texts), redact=live.redact))

    async def image(self, request: ImageRequest, *, timeout: float | None = None) -> ImageAnswer:
        """As `OpenAIClient.image`, without its time limit."""
        live = self.client.live
        if request.parts:
            painted = await self.client.ask(self.key, CHAT, live.body(image_chat_body(request)))
            return self._read(lambda: read_chat_image(painted, redact=live.redact))
        reply = await self.client.ask(self.key, IMAGES, live.body(request.body()))
        return self._read(lambda: read_image(reply, redact=live.redact))

    def _read(self, read: Callable[[], _Answer]) -> _Answer:
        try:
            return read()
        except ModelError as error:
            self.client.settle(self.key)
            if error.kind is not ErrorKind.THROTTLED:
                raise
            # Nothing to wait for: the provider paces what is within a batch by itself.
            raise ModelError(error.message, **{**error.context(), "kind": ErrorKind.RETRYABLE}) from error

    async def aclose(self) -> None:
        """Nothing is open for one call."""
