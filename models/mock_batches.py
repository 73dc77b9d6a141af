"""OpenAI's Batch API in the mock model: files, batches that take their time, and what can go wrong with them.

Each request of a batch is served like a call of its own (faults, canned answers, counting), at the moment the batch ends.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson

from prefect_datagen.models.mock_behaviour import MockBehaviour
from prefect_datagen.models.mock_faults import error_body
from prefect_datagen.models.mock_http import Exchange

MOST_REQUESTS = 50_000
MOST_BYTES = 200_000_000

_BOUNDARY = re.compile(rb'boundary="?([^";]+)"?')
_NAME = re.compile(rb' name="([^"]*)"')


class BatchLine(Exchange):
    """One request of a batch: its answer is kept instead of sent."""

    __slots__ = ("answer", "status")

    def __init__(self, path: str, body: Any) -> None:
        self.method = "POST"
        self.path = path
        self.headers = {}
        self.body = orjson.dumps(body)
        self.done = False
        self.on_closed = None
        self.status: int | None = None
        self.answer = b""

    @property
    def connection_number(self) -> int:
        """It came on none."""
        return 0

    def respond(
        self,
        status: int,
        body: bytes,
        *,
        content_type: str = "application/json",
        headers: dict[str, str] | None = None,
        announced_length: int | None = None,
    ) -> None:
        """Keep the answer."""
        self.done, self.status, self.answer = True, status, body

    def reset(self) -> None:
        """No answer: an error of the provider's own."""
        self.done = True


@dataclass
class _Batch:
    id: str
    created: int
    file_id: str
    endpoint: str
    metadata: dict[str, str]
    lines: list[dict[str, Any]]
    end: str
    status: str = "validating"
    completed: int = 0
    failed: int = 0
    output_file_id: str | None = None
    error_file_id: str | None = None
    errors: list[dict[str, Any]] = field(default_factory=list)

    def describe(self) -> dict[str, Any]:
        """The batch object of the API."""
        return {
            "id": self.id,
            "object": "batch",
            "endpoint": self.endpoint,
            "input_file_id": self.file_id,
            "completion_window": "24h",
            "status": self.status,
            "output_file_id": self.output_file_id,
            "error_file_id": self.error_file_id,
            "created_at": self.created,
            "errors": {"object": "list", "data": self.errors} if self.errors else None,
            "request_counts": {"total": len(self.lines), "completed": self.completed, "failed": self.failed},
            "metadata": self.metadata,
        }


class MockBatches:
    """Files and batches of one server. `serve` answers one request of a batch."""

    def __init__(self, serve: Callable[[BatchLine], None]) -> None:
        self._serve = serve
        self._files: dict[str, bytes] = {}
        self._batches: dict[str, _Batch] = {}
        self._held: list[_Batch] = []
        self._creations = 0
        self.behaviour = MockBehaviour()

    def handle(self, exchange: Exchange) -> bool:
        """Serve a request about files or batches. False where it is about something else."""
        parts = exchange.path.removeprefix("/v1/").split("/")
        route = (exchange.method, parts[0], len(parts))
        if route == ("POST", "files", 1):
            self._upload(exchange)
        elif route == ("GET", "files", 3) and parts[2] == "content" and parts[1] in self._files:
            exchange.respond(200, self._files[parts[1]], content_type="application/octet-stream")
        elif route == ("POST", "batches", 1):
            self._create(exchange)
        elif route == ("GET", "batches", 1):
            newest_first = [batch.describe() for batch in reversed(self._batches.values())]
            exchange.respond(200, orjson.dumps({"object": "list", "data": newest_first, "has_more": False}))
        elif route == ("GET", "batches", 2) and parts[1] in self._batches:
            exchange.respond(200, orjson.dumps(self._batches[parts[1]].describe()))
        elif route == ("POST", "batches", 3) and parts[2] == "cancel" and parts[1] in self._batches:
            self._end(self._batches[parts[1]], "cancelled")
            exchange.respond(200, orjson.dumps(self._batches[parts[1]].describe()))
        else:
            return False
        return True

    def release(self) -> None:
        """Let batches that were held end."""
        held, self._held = self._held, []
        for batch in held:
            self._end(batch, "completed" if batch.end == "held" else batch.end)

    def count(self) -> tuple[int, int]:
        """Batches and their requests that were created."""
        return len(self._batches), sum(len(batch.lines) for batch in self._batches.values())

    def _upload(self, exchange: Exchange) -> None:
        fields = _multipart(exchange)
        data = fields.get("file")
        if data is None or fields.get("purpose") != b"batch":
            exchange.respond(400, error_body(400, "a multipart form with `purpose` batch and a `file` is needed"))
        elif len(data) > MOST_BYTES:
            exchange.respond(400, error_body(400, f"the file is larger than {MOST_BYTES:,} bytes"))
        else:
            id = f"file-{len(self._files) + 1}"
            self._files[id] = data
            exchange.respond(200, orjson.dumps({"id": id, "object": "file", "bytes": len(data), "purpose": "batch"}))

    def _create(self, exchange: Exchange) -> None:
        asked = orjson.loads(exchange.body)
        data = self._files.get(str(asked.get("input_file_id")))
        if data is None:
            exchange.respond(400, error_body(400, "no such file"))
            return
        fault = self.behaviour.batch_fault if self._creations == 0 else None
        self._creations += 1
        if fault == "500":
            exchange.respond(500, error_body(500, "the batch was not created, as the mock model was told"))
            return
        number = len(self._batches)
        ends = self.behaviour.batch_ends
        batch = _Batch(
            id=f"batch-{number + 1}",
            created=int(time.time()),
            file_id=str(asked["input_file_id"]),
            endpoint=str(asked.get("endpoint")),
            metadata=asked.get("metadata") or {},
            lines=[orjson.loads(line) for line in data.splitlines()],
            end=ends[number] if number < len(ends) else "completed",
        )
        self._batches[batch.id] = batch
        batch.errors = _validate(batch)
        if batch.errors:
            batch.status = "failed"
        elif self.behaviour.hold or batch.end == "held":
            batch.status = "in_progress"
            self._held.append(batch)
        else:
            batch.status = "in_progress"
            asyncio.get_running_loop().call_later(self.behaviour.batch_seconds, self._end, batch, batch.end)
        if fault == "lost-reply":
            exchange.reset()
        else:
            exchange.respond(200, orjson.dumps(batch.describe()))

    def _end(self, batch: _Batch, end: str) -> None:
        """Answer the requests of a batch: all, or the first half where it ends before it is through."""
        if batch.status != "in_progress":
            return
        if end == "token_limit_exceeded":
            batch.status = "failed"
            batch.errors = [{"code": end, "message": "Enqueued token limit reached"}]
            return
        served = batch.lines if end == "completed" else batch.lines[: len(batch.lines) // 2]
        answers: list[dict[str, Any]] = []
        errors: list[dict[str, Any]] = []
        for line in served:
            made = BatchLine(batch.endpoint, line["body"])
            self._serve(made)
            result = {"id": f"batch_req_{line['custom_id']}", "custom_id": line["custom_id"]}
            if made.status is None:
                errors.append({**result, "response": None, "error": {"code": "server_error", "message": "no answer"}})
            else:
                body: Any = None
                try:
                    body = orjson.loads(made.answer)
                except orjson.JSONDecodeError:
                    body = made.answer.decode(errors="replace")
                answer = {"status_code": made.status, "request_id": "mock", "body": body}
                (answers if made.status == 200 else errors).append({**result, "response": answer, "error": None})
        batch.completed, batch.failed = len(answers), len(errors)
        if end in ("expired", "cancelled"):
            code = f"batch_{end}"
            errors += [
                {"custom_id": line["custom_id"], "response": None, "error": {"code": code, "message": code}}
                for line in batch.lines[len(served) :]
            ]
        answers.reverse()  # answers come in any order
        batch.output_file_id = self._keep(answers)
        batch.error_file_id = self._keep(errors)
        batch.status = end

    def _keep(self, results: list[dict[str, Any]]) -> str | None:
        if not results:
            return None
        id = f"file-{len(self._files) + 1}"
        self._files[id] = b"".join(orjson.dumps(result, option=orjson.OPT_APPEND_NEWLINE) for result in results)
        return id


def _validate(batch: _Batch) -> list[dict[str, Any]]:
    ids = [line.get("custom_id") for line in batch.lines]
    models = {line.get("body", {}).get("model") for line in batch.lines}
    problems = []
    if not ids or len(ids) > MOST_REQUESTS:
        problems.append(("invalid_file", f"{len(ids):,} requests; from 1 to {MOST_REQUESTS:,} are taken"))
    if len(set(ids)) != len(ids):
        problems.append(("duplicate_custom_id", "a custom_id stands twice in the file"))
    if len(models) > 1:
        problems.append(("mismatched_model", "the requests name several models"))
    if any(line.get("url") != batch.endpoint or line.get("method") != "POST" for line in batch.lines):
        problems.append(("invalid_url", "a request's url is not the batch's endpoint"))
    return [{"code": code, "message": message} for code, message in problems]


def _multipart(exchange: Exchange) -> dict[str, bytes]:
    """Fields of a `multipart/form-data` body (RFC 7578), by name."""
    found = _BOUNDARY.search(exchange.headers.get(b"content-type", b""))
    if found is None:
        return {}
    fields = {}
    for part in (b"\r\n" + exchange.body).split(b"\r\n--" + found[1])[1:-1]:
        head, _, content = part.partition(b"\r\n\r\n")
        name = _NAME.search(head)
        if name is not None:
            fields[name[1].decode()] = content
    return fields
