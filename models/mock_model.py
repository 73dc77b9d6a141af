"""The mock model as an application: its routes, the life of a call, and what is counted of it.

A call arrives; it is refused at once (wrong key, too many in flight), or held, or served after the latency with an
answer or a fault; or its caller leaves before.
"""

from __future__ import annotations

import asyncio
import hmac
import re
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import orjson

from prefect_datagen.models import answers, mock_anthropic
from prefect_datagen.models.json_instance import SchemaError
from prefect_datagen.models.mock_batches import BatchLine, MockBatches
from prefect_datagen.models.mock_behaviour import CannedAnswer, MockBehaviour
from prefect_datagen.models.mock_faults import FaultPlan, error_body, retry_headers, send_fault
from prefect_datagen.models.mock_http import Exchange, HttpConnection
from prefect_datagen.models.mock_stats import Recorder
from prefect_datagen.models.prose import LABEL

_MODELS = ("offline", "mock")
_ANTHROPIC = "/v1/messages"


class _Call:
    """One model call from arrival to answer."""

    __slots__ = ("attempt", "body", "digest", "exchange", "number", "prompt", "record", "recorder", "timer")

    def __init__(self, exchange: Exchange, body: dict[str, Any], recorder: Recorder) -> None:
        self.exchange = exchange
        self.body = body
        self.digest = answers.request_digest(body)
        self.prompt = _prompt(body)
        self.recorder = recorder
        self.attempt = recorder.arrive(self.digest)
        self.number = recorder.calls
        self.record: dict[str, Any] | None = None
        self.timer: asyncio.TimerHandle | None = None


class MockModel:
    """The application: routes, faults and counting. One per server, on one event loop."""

    def __init__(self, behaviour: MockBehaviour) -> None:
        self.connections: set[HttpConnection] = set()
        self._held: list[_Call] = []
        self._recorder = Recorder(log_limit=behaviour.log_limit)
        self._answer_to: dict[str, Callable[[_Call], dict[str, Any]]] = {
            "/v1/chat/completions": self._chat,
            "/v1/embeddings": self._embeddings,
            "/v1/images/generations": self._images,
            _ANTHROPIC: self._message,
        }
        self._batches = MockBatches(self._serve_line)
        self._apply(behaviour)

    def handle(self, exchange: Exchange) -> None:
        """Serve one request. Called by the connection that received it."""
        if exchange.method == "POST" and exchange.path in self._answer_to:
            self._arrive(exchange)
            return
        route = f"{exchange.method} {exchange.path}"
        about_batches = exchange.path.startswith(("/v1/files", "/v1/batches"))
        if about_batches and not self._has_key(exchange):
            exchange.respond(401, error_body(401, "Incorrect API key provided"))
        elif about_batches and self._batches.handle(exchange):
            pass
        elif route == "GET /stats":
            batches, requests = self._batches.count()
            counted = self._recorder.stats().model_copy(update={"batches": batches, "batched_requests": requests})
            exchange.respond(200, counted.model_dump_json().encode())
        elif route == "GET /requests":
            exchange.respond(200, orjson.dumps([line.model_dump() for line in self._recorder.log()]))
        elif route == "GET /control":
            exchange.respond(200, self._behaviour.model_dump_json().encode())
        elif route in {"POST /control", "PUT /control"}:
            self._control(exchange)
        elif route == "GET /v1/models" and self._behaviour.models_need_key and not self._has_key(exchange):
            exchange.respond(401, error_body(401, "Incorrect API key provided"))
        elif route == "GET /v1/models":
            models = [{"id": name, "object": "model", "created": 0, "owned_by": "mock"} for name in _MODELS]
            exchange.respond(200, orjson.dumps({"object": "list", "data": models}))
        else:
            exchange.respond(404, error_body(404, f"no such route: {route}"))

    # Control

    def _apply(self, behaviour: MockBehaviour) -> None:
        self._behaviour = behaviour
        self._batches.behaviour = behaviour
        self._plan = FaultPlan(behaviour)
        self._canned = [(re.compile(canned.prompt_regex), canned) for canned in behaviour.canned]

    def _control(self, exchange: Exchange) -> None:
        """POST changes the fields that are named; PUT sets the others back to their defaults, too.

        `reset: true` counts from zero. Calls in flight then go on, and are still in `in_flight`, but are counted
        nowhere else.
        """
        kept: dict[str, Any] = {}
        if exchange.method == "POST":
            kept = {name: getattr(self._behaviour, name) for name in self._behaviour.model_fields_set}
        try:
            changes = dict(orjson.loads(exchange.body or b"{}"))
            reset = bool(changes.pop("reset", False))
            behaviour = MockBehaviour.model_validate({**kept, **changes})
        except (ValueError, TypeError) as error:
            exchange.respond(400, error_body(400, f"not a change of MockBehaviour: {error}"))
            return
        if reset or behaviour.log_limit != self._behaviour.log_limit:
            self._recorder = Recorder(log_limit=behaviour.log_limit, in_flight=self._recorder.in_flight)
        if reset:
            self._batches = MockBatches(self._serve_line)
        self._apply(behaviour)
        exchange.respond(200, behaviour.model_dump_json().encode())
        if not behaviour.hold:
            self._batches.release()
            held, self._held = self._held, []
            for call in held:
                self._serve(call)

    # The life of a call: arrive, perhaps be refused, perhaps be held, be served after the latency, or be left.

    def _arrive(self, exchange: Exchange) -> None:
        try:
            body = orjson.loads(exchange.body)
            _check_body(exchange.path, body)
            if exchange.path == _ANTHROPIC and b"anthropic-version" not in exchange.headers:
                raise ValueError("anthropic-version: header is required")
        except ValueError as error:
            self._recorder.arrive(answers.request_digest({"unreadable": exchange.body.decode("latin-1")}))
            self._recorder.sent(400)
            exchange.respond(400, error_body(400, f"not a request for {exchange.path}: {error}"))
            return
        call = _Call(exchange, body, self._recorder)
        if self._behaviour.log_requests:
            call.record = self._log(call)
        if self._refuse(call):
            return
        self._recorder.start()
        exchange.on_closed = lambda: self._left(call)
        if self._behaviour.hold:
            self._held.append(call)
        else:
            self._serve(call)

    def _serve_line(self, line: BatchLine) -> None:
        """One request of a batch: like a call, but for latency, limits and the key."""
        body = orjson.loads(line.body)
        try:
            _check_body(line.path, body)
        except ValueError as error:
            line.respond(400, error_body(400, f"not a request for {line.path}: {error}"))
            return
        call = _Call(line, body, self._recorder)
        if self._behaviour.log_requests:
            call.record = self._log(call)
        self._recorder.start()
        self._finish(call)

    def _refuse(self, call: _Call) -> bool:
        """Refuse at once what is not served at all: a wrong key, or more in flight than allowed."""
        limit = self._behaviour.max_in_flight
        if not self._has_key(call.exchange):
            headers = call.exchange.headers
            given = headers.get(b"authorization", b"").partition(b" ")[2] or headers.get(b"x-api-key", b"")
            # Real endpoints echo the key, too: a client must not pass that on.
            message = f"Incorrect API key provided: {given.decode('latin-1')}"
            call.exchange.respond(401, error_body(401, message))
            self._count(call, "401", status=401)
            return True
        if limit is not None and self._recorder.in_flight >= limit:
            message = f"more than {limit} requests in flight"
            call.exchange.respond(429, error_body(429, message), headers=retry_headers(self._behaviour))
            self._count(call, "429", status=429)
            return True
        return False

    def _has_key(self, exchange: Exchange) -> bool:
        key = self._behaviour.require_key
        if key is None:
            return True
        scheme, _, bearer = exchange.headers.get(b"authorization", b"").partition(b" ")
        given = bearer if scheme.lower() == b"bearer" else exchange.headers.get(b"x-api-key", b"")
        return hmac.compare_digest(given, key.get_secret_value().encode())

    def _serve(self, call: _Call) -> None:
        delay = self._plan.delay(digest=call.digest, attempt=call.attempt, number=call.number)
        if delay > 0:
            call.timer = asyncio.get_running_loop().call_later(delay, self._finish, call)
        else:
            self._finish(call)

    def _finish(self, call: _Call) -> None:
        """Send the answer or the fault."""
        if call.exchange.done:
            return
        fault = self._plan.fault(prompt=call.prompt, digest=call.digest, attempt=call.attempt, number=call.number)
        if fault == "hang":
            call.recorder.fault(fault)
            return
        try:
            self._reply(call, fault)
        except SchemaError as error:
            call.exchange.respond(400, error_body(400, f"response_format: {error}"))
            self._count(call, "400", status=400)
        self._recorder.stop()

    def _reply(self, call: _Call, fault: str | None) -> None:
        if fault is not None and fault != "bad-json":
            make_answer = partial(self._answer_to[call.exchange.path], call)
            status = send_fault(call.exchange, fault, make_answer=make_answer, behaviour=self._behaviour)
            self._count(call, fault, status=status)
        elif self._behaviour.refuse_response_format and "response_format" in call.body:
            message = "'response_format' of type 'json_schema' is not supported by this model"
            call.exchange.respond(400, error_body(400, message, param="response_format"))
            self._count(call, "400", status=400)
        elif (canned := self._canned_answer(call)) is not None:
            self._send_canned(call, canned)
        else:
            self._send(call, unfit=fault == "bad-json")

    def _canned_answer(self, call: _Call) -> CannedAnswer | None:
        if "messages" not in call.body:
            return None
        return next((canned for pattern, canned in self._canned if pattern.search(call.prompt)), None)

    def _send(self, call: _Call, *, unfit: bool) -> None:
        answer = self._answer_to[call.exchange.path](call)
        if unfit:
            call.recorder.fault("bad-json")
            for choice in answer.get("choices", ()):
                choice["message"]["content"] = answers.unfit_json(call.body, digest=call.digest)
        call.exchange.respond(200, orjson.dumps(answer))
        self._count_answer(call, answer["usage"])

    def _send_canned(self, call: _Call, canned: CannedAnswer) -> None:
        if canned.body is not None:
            call.exchange.respond(canned.status, canned.body.encode(), headers=canned.headers)
            call.recorder.sent(canned.status)
            self._log_finish(call, str(canned.status))
            return
        message = {"role": "assistant", **(canned.message or {})}
        output_tokens = answers.estimate_tokens(answers.content_text(message.get("content")))
        usage = _usage(answers.estimate_tokens(call.prompt), output_tokens)
        answer = _completion(call, message=message, finish_reason="stop", usage=usage)
        call.exchange.respond(canned.status, orjson.dumps(answer), headers=canned.headers)
        self._count_answer(call, usage)

    def _left(self, call: _Call) -> None:
        """The caller closed the connection before the answer."""
        if call.timer is not None:
            call.timer.cancel()
        self._recorder.stop()
        call.recorder.disconnect()
        self._log_finish(call, "disconnected")

    # Counting

    def _count(self, call: _Call, outcome: str, *, status: int | None) -> None:
        call.recorder.fault(outcome)
        if status is not None:
            call.recorder.sent(status)
        self._log_finish(call, outcome)

    def _count_answer(self, call: _Call, usage: dict[str, int]) -> None:
        call.recorder.sent(200)
        given = usage["prompt_tokens"] if "prompt_tokens" in usage else usage["input_tokens"]
        made = usage["completion_tokens"] if "completion_tokens" in usage else usage["output_tokens"]
        call.recorder.answered(call.digest, input_tokens=given, output_tokens=made)
        self._log_finish(call, "200")

    def _log_finish(self, call: _Call, outcome: str) -> None:
        if call.record is not None:
            call.recorder.log_finish(call.record, outcome)

    def _log(self, call: _Call) -> dict[str, Any]:
        headers = call.exchange.headers.items()
        key_header = b"x-api-key" if call.exchange.path == _ANTHROPIC else b"authorization"
        return call.recorder.log_arrival(
            connection=call.exchange.connection_number,
            path=call.exchange.path,
            model=str(call.body.get("model", "")),
            prompt=call.prompt,
            attempt=call.attempt,
            headers={name.decode("latin-1"): value.decode("latin-1") for name, value in headers if name != key_header},
            body=call.body,
        )

    # Answers

    def _message(self, call: _Call) -> dict[str, Any]:
        chat = mock_anthropic.chat_body(call.body)
        return mock_anthropic.message(call.body, self._completion_of(call, chat))

    def _chat(self, call: _Call) -> dict[str, Any]:
        return self._completion_of(call, call.body)

    def _wants_tools(self, body: dict[str, Any]) -> bool:
        """Whether the conversation has not had its turns with tools yet."""
        if not body.get("tools") or (body.get("tool_choice") == "none" and not self._behaviour.ignore_tool_choice):
            return False
        return sum(bool(message.get("tool_calls")) for message in body["messages"]) < self._behaviour.tool_turns

    def _completion_of(self, call: _Call, body: dict[str, Any]) -> dict[str, Any]:
        if self._wants_tools(body):
            calls = answers.tool_calls(body, digest=call.digest, count=self._behaviour.calls_per_turn)
            message: dict[str, Any] = {"role": "assistant", "content": None, "tool_calls": calls}
            usage = _usage(answers.estimate_tokens(call.prompt), answers.estimate_tokens(orjson.dumps(calls).decode()))
            return _completion(call, message=message, finish_reason="tool_calls", usage=usage)
        made = answers.answer_chat(body, digest=call.digest)
        message = {"role": "assistant", "content": made.text}
        if self._behaviour.reasoning is not None:
            message[self._behaviour.reasoning] = f"{LABEL} Thinking about {call.digest[:3].hex()}."
        usage = _usage(made.input_tokens, made.output_tokens)
        return _completion(call, message=message, finish_reason=made.finish_reason, usage=usage)

    def _embeddings(self, call: _Call) -> dict[str, Any]:
        texts = _texts(call.body["input"])
        dimensions = call.body.get("dimensions") or answers.DIMENSIONS
        vectors = [answers.embedding(text, dimensions=dimensions) for text in texts]
        if call.body.get("encoding_format") == "base64":
            data: list[Any] = [answers.vector_base64(vector) for vector in vectors]
        else:
            data = vectors
        return {
            "object": "list",
            "model": call.body.get("model"),
            "data": [{"object": "embedding", "index": i, "embedding": value} for i, value in enumerate(data)],
            "usage": _usage(sum(answers.estimate_tokens(text) for text in texts), 0),
        }

    def _images(self, call: _Call) -> dict[str, Any]:
        count = call.body.get("n") or 1
        return {
            "created": int(time.time()),
            "data": [{"b64_json": answers.image_base64(call.digest)} for _ in range(count)],
            "usage": _usage(answers.estimate_tokens(call.prompt), 0),
        }


def _completion(call: _Call, *, message: dict[str, Any], finish_reason: str, usage: dict[str, int]) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{call.digest.hex()}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": call.body.get("model"),
        "choices": [{"index": 0, "message": message, "finish_reason": finish_reason}],
        "usage": usage,
    }


def _usage(input_tokens: int, output_tokens: int) -> dict[str, int]:
    return {
        "prompt_tokens": input_tokens,
        "completion_tokens": output_tokens,
        "total_tokens": input_tokens + output_tokens,
    }


def _texts(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else [str(text) for text in value]


def _prompt(body: dict[str, Any]) -> str:
    if "messages" in body:
        return answers.prompt_text(body["messages"])
    return "\n".join(_texts(body.get("input", body.get("prompt", ""))))


def _check_tool_results(messages: list[dict[str, Any]]) -> None:
    """Every call of a tool has its result, right after the message that asked for it; as real endpoints want it.

    Raises:
        ValueError: one has none, or a result belongs to no call.
    """
    waiting: set[Any] = set()
    for message in messages:
        if message.get("role") == "tool":
            if message.get("tool_call_id") not in waiting:
                raise ValueError(f"tool_call_id {message.get('tool_call_id')!r} belongs to no tool call before it")
            waiting.remove(message["tool_call_id"])
            continue
        if waiting:
            raise ValueError(f"tool calls without a result: {sorted(map(str, waiting))}")
        waiting = {call.get("id") for call in message.get("tool_calls") or ()}
    if waiting:
        raise ValueError(f"tool calls without a result: {sorted(map(str, waiting))}")


def _check_body(path: str, body: Any) -> None:
    """Refuse what no answer can be made for.

    Raises:
        ValueError: what is wrong with the body.
    """
    if not isinstance(body, dict):
        raise ValueError("the body is not a JSON object")
    if body.get("stream"):
        raise ValueError("`stream` is not supported by the mock model")
    if path == "/v1/chat/completions":
        messages = body.get("messages")
        if not isinstance(messages, list) or not messages or not all(isinstance(one, dict) for one in messages):
            raise ValueError("`messages` is not a list of at least one message")
        _check_tool_results(messages)
    elif path == _ANTHROPIC:
        _check_tool_results(mock_anthropic.chat_body(body)["messages"])
    elif path == "/v1/embeddings":
        if not isinstance(body.get("input"), (str, list)):
            raise ValueError("`input` is neither text nor a list of texts")
    elif not isinstance(body.get("prompt"), str):
        raise ValueError("`prompt` is not text")
    for name, most in (("dimensions", 8192), ("n", 10)):
        number = body.get(name)
        if number is not None and not (isinstance(number, int) and 1 <= number <= most):
            raise ValueError(f"`{name}` {number!r} is not from 1 to {most}")
