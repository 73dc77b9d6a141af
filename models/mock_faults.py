"""Which calls of the mock model server get a fault instead of an answer, and what each fault looks like on the wire."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import orjson

from prefect_datagen.models.mock_behaviour import MockBehaviour
from prefect_datagen.models.mock_http import Exchange
from prefect_datagen.models.prose import Dice

_HTML = b"<!DOCTYPE html><html><head><title>502 Bad Gateway</title></head><body><h1>Bad Gateway</h1></body></html>"


class FaultPlan:
    """A behaviour made ready to decide, call by call."""

    def __init__(self, behaviour: MockBehaviour) -> None:
        self._behaviour = behaviour
        self._pattern = re.compile(behaviour.fail_prompt_regex) if behaviour.fail_prompt_regex is not None else None

    def fault(self, *, prompt: str, digest: bytes, attempt: int, number: int) -> str | None:
        """The fault of a call, or None. `attempt` counts this very body from 1, `number` all calls from 1."""
        plan = self._behaviour
        if plan.down_after is not None and number > plan.down_after:
            return plan.down_code
        if self._pattern is not None and self._pattern.search(prompt):
            return plan.fail_prompt_code
        if attempt <= plan.fail_first:
            return plan.fail_first_code
        if not plan.errors:
            return None
        draw = self._dice("fault", digest, attempt, number).unit()
        for rule in plan.errors:
            draw -= rule.rate
            if draw < 0:
                return rule.code
        return None

    def delay(self, *, digest: bytes, attempt: int, number: int) -> float:
        """Seconds from request to answer."""
        milliseconds = self._behaviour.latency_ms
        if self._behaviour.jitter_ms:
            swing = self._dice("delay", digest, attempt, number).unit() * 2 - 1
            milliseconds = max(0.0, milliseconds + swing * self._behaviour.jitter_ms)
        return milliseconds / 1000

    def _dice(self, purpose: str, digest: bytes, attempt: int, number: int) -> Dice:
        who = f"{attempt}".encode() + digest if self._behaviour.error_order == "request" else f"{number}".encode()
        key = f"{purpose}\x1f{self._behaviour.seed}\x1f".encode() + who
        return Dice(int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "little"))


def error_body(status: int, message: str, **details: Any) -> bytes:
    """An error as OpenAI-compatible endpoints give it."""
    return orjson.dumps({"error": {"message": message, "type": "mock_model_error", "code": status, **details}})


def retry_headers(behaviour: MockBehaviour) -> dict[str, str]:
    """What tells the caller to wait, in the form asked for; nothing where no `retry_after` is set."""
    seconds = behaviour.retry_after
    if seconds is None:
        return {}
    if behaviour.retry_after_form == "ms":
        return {"retry-after-ms": f"{seconds * 1000:g}"}
    if behaviour.retry_after_form == "date":
        return {"retry-after": format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)}
    return {"retry-after": f"{seconds:g}"}


def send_fault(
    exchange: Exchange, code: str, *, make_answer: Callable[[], dict[str, Any]], behaviour: MockBehaviour
) -> int | None:
    """Carry out a fault other than `bad-json`; `make_answer` gives what would have been sent.

    Returns:
        The HTTP status that was sent; None for `hang` and `reset`.
    """
    if code == "hang":
        return None
    if code == "reset":
        exchange.reset()
        return None
    if code.isdigit():
        status = int(code)
        headers = retry_headers(behaviour) if status in {429, 503, 529} else None
        exchange.respond(status, error_body(status, f"status {code} as the mock model was told"), headers=headers)
        return status
    if code == "html":
        exchange.respond(200, _HTML, content_type="text/html; charset=utf-8")
    elif code == "wrong-shape":
        exchange.respond(200, b'{"result": {"text": "not a chat completion"}}')
    else:
        _send_broken_answer(exchange, code, make_answer())
    return 200


def _send_broken_answer(exchange: Exchange, code: str, answer: dict[str, Any]) -> None:
    held_in = next(name for name in ("data", "content", "choices") if name in answer)
    if code == "no-choices":
        exchange.respond(200, orjson.dumps({**answer, held_in: []}))
    elif code == "empty" and held_in == "content":
        exchange.respond(200, orjson.dumps({**answer, "content": [{"type": "text", "text": ""}]}))
    elif code == "empty":
        message = {"role": "assistant", "content": ""}
        choices = [{**choice, "message": message} for choice in answer.get("choices", ())]
        exchange.respond(200, orjson.dumps({**answer, "data" if "data" in answer else "choices": choices}))
    else:
        whole = orjson.dumps(answer)
        half = whole[: len(whole) // 2]
        exchange.respond(200, half, announced_length=len(whole) if code == "cut-off" else None)
