"""Reading what an OpenAI-compatible endpoint sent back: an answer, or an error classified once and for all.

    200 with a message                          ChatAnswer
    200 without one                             permanent, "unusable answer", `answer` holds what came
    429; 529; 503 with a Retry-After            throttled, `retry_after` in seconds where it was told
    408, 409, 425, other 5xx                    retryable
    3xx, other 4xx                              permanent

Some gateways send the error of the model behind them as `{"error": {"code": 429, ...}}` with a 200: that code counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

from prefect_datagen.engine.chat import ChatAnswer
from prefect_datagen.engine.errors import ErrorKind, ModelError
from prefect_datagen.models.answers import content_text

UNUSABLE = "unusable answer"
_RETRYABLE = frozenset({408, 409, 425})
_PUSH_BACKS = frozenset({429, 529})  # 529: overloaded, as Anthropic says it
_MESSAGE_CHARACTERS = 300
_ANSWER_CHARACTERS = 4000
_NOT_JSON = object()


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer, read to its end. `headers` finds names whatever their case."""

    endpoint: str
    status: int
    headers: Mapping[str, str]
    data: bytes


def read_answer(reply: Reply, *, redact: Callable[[str], str]) -> ChatAnswer:
    """The usable answer in a reply. `redact` takes secrets out of what the endpoint wrote.

    Raises:
        ModelError: there is none; classified as the module says.
    """
    payload = read_payload(reply, "choices", redact=redact)
    choice = payload["choices"][0]
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(message, dict):
        raise unusable(reply, "the first choice of the answer holds no message", redact=redact)
    return _read_message(reply, choice, message, payload, redact=redact)


def read_payload(reply: Reply, name: str, *, redact: Callable[[str], str]) -> dict[str, Any]:
    """The JSON object of a reply that holds a list called `name`, not empty.

    Raises:
        ModelError: it is none; classified as the module says.
    """
    if reply.status != 200:
        raise _http_error(reply, status=reply.status, redact=redact)
    payload = _parsed(reply.data)
    if payload is _NOT_JSON:
        what = "a web page" if _is_html(reply) else "something that is not whole JSON"
        raise unusable(reply, f"the answer is {what}", redact=redact)
    if isinstance(payload, dict) and isinstance(payload.get(name), list) and payload[name]:
        return payload
    code = _error_code(payload)
    if code is not None:
        raise _http_error(reply, status=code, redact=redact)
    raise unusable(reply, f"the answer holds no {name}", redact=redact)


def read_object(reply: Reply, *, redact: Callable[[str], str]) -> dict[str, Any]:
    """The JSON object of a reply that has an `id`, or `data`: a file, a batch, or a list of them.

    Raises:
        ModelError: it is none; classified as the module says.
    """
    if reply.status != 200:
        raise _http_error(reply, status=reply.status, redact=redact)
    payload = _parsed(reply.data)
    if isinstance(payload, dict) and ("id" in payload or "data" in payload):
        return payload
    code = _error_code(payload)
    if code is not None:
        raise _http_error(reply, status=code, redact=redact)
    raise unusable(reply, "the answer is no object with an id", redact=redact)


def list_of_models(reply: Reply, *, redact: Callable[[str], str]) -> frozenset[str]:
    """Names of the models in the reply to `GET /models`.

    Raises:
        ModelError: it holds none.
    """
    payload = read_payload(reply, "data", redact=redact)
    return frozenset(str(each["id"]) for each in payload["data"] if isinstance(each, dict) and "id" in each)


def token_counts(payload: Mapping[str, Any]) -> tuple[int, int]:
    """Input and output tokens as the endpoint counted them, by either of the two names that they go by; 0 if not told."""
    usage = payload.get("usage")
    counts = usage if isinstance(usage, dict) else {}
    given = _count(counts.get("prompt_tokens")) or _count(counts.get("input_tokens"))
    made = _count(counts.get("completion_tokens")) or _count(counts.get("output_tokens"))
    return given, made


def _read_message(
    reply: Reply,
    choice: dict[str, Any],
    message: dict[str, Any],
    payload: dict[str, Any],
    *,
    redact: Callable[[str], str],
) -> ChatAnswer:
    content = message.get("content")
    text = content if isinstance(content, str) else content_text(content)
    tool_calls = message.get("tool_calls") or None
    reasoning = message.get("reasoning_content") or message.get("reasoning")
    finish_reason = choice.get("finish_reason")
    if not tool_calls and (not text or text.isspace()):
        refusal = message.get("refusal")
        why = f"the model refused: {refusal}" if refusal else "the message is empty"
        raise unusable(reply, f"{why} (finish_reason {finish_reason!r})", redact=redact)
    input_tokens, output_tokens = token_counts(payload)
    return ChatAnswer(
        text=text,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        finish_reason=finish_reason if isinstance(finish_reason, str) else None,
        reasoning=reasoning if isinstance(reasoning, str) else None,
        tool_calls=tool_calls if isinstance(tool_calls, list) else None,
    )


def unusable(reply: Reply, what: str, *, redact: Callable[[str], str]) -> ModelError:
    """The error for a 200 that holds nothing usable: `what` is wrong with it; the answer keeps what came."""
    came = redact(reply.data.decode(errors="replace"))
    return ModelError(
        _trimmed(redact(f"unusable answer from {reply.endpoint}: {what}"), _MESSAGE_CHARACTERS),
        kind=ErrorKind.PERMANENT,
        reason=UNUSABLE,
        status=reply.status,
        endpoint=reply.endpoint,
        answer=_trimmed(came, _ANSWER_CHARACTERS),
    )


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """Seconds that the endpoint asks to wait, from `retry-after-ms` or `Retry-After`; None where it does not say.

    `Retry-After` is seconds or an HTTP date (RFC 9110, 10.2.3). A date is compared with the answer's own `Date`, so a
    clock that is wrong here does no harm.
    """
    milliseconds = _seconds(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    asked = headers.get("retry-after")
    seconds = _seconds(asked)
    if seconds is not None or asked is None:
        return seconds
    until = _date(asked)
    if until is None:
        return None
    now = _date(headers.get("date", "")) or datetime.now(UTC)
    return max(0.0, (until - now).total_seconds())


def _http_error(reply: Reply, *, status: int, redact: Callable[[str], str]) -> ModelError:
    return status_error(reply.endpoint, status, redact(_said(reply)), headers=reply.headers)


def status_error(endpoint: str, status: int, said: str, *, headers: Mapping[str, str]) -> ModelError:
    """The error for an HTTP status; `said` are the endpoint's words, without secrets."""
    retry_after = retry_after_seconds(headers) if status in {*_PUSH_BACKS, 503} else None
    if status in _PUSH_BACKS or (status == 503 and retry_after is not None):
        kind = ErrorKind.THROTTLED
    elif status >= 500 or status in _RETRYABLE:
        kind = ErrorKind.RETRYABLE
    else:
        kind = ErrorKind.PERMANENT
    return ModelError(
        f"{status} from {endpoint}: {_trimmed(said, _MESSAGE_CHARACTERS) or 'no message'}",
        kind=kind,
        reason=str(status),
        status=status,
        endpoint=endpoint,
        retry_after=retry_after,
    )


def _said(reply: Reply) -> str:
    """The endpoint's own words: `error.message`, `error`, `message` or `detail` of JSON, else the body's text."""
    if 300 <= reply.status < 400:
        return f"it redirects to {reply.headers.get('location', '?')}; use that address as the endpoint"
    said = _parsed(reply.data)
    if said is _NOT_JSON:
        return "a web page" if _is_html(reply) else reply.data.decode(errors="replace")
    for name in ("error", "message", "detail"):
        if isinstance(said, dict) and said.get(name):
            said = said[name]
    return said if isinstance(said, str) else orjson.dumps(said).decode()


def _parsed(data: bytes) -> Any:
    """The JSON, or `_NOT_JSON`: the parser's error holds the whole text, and with it a key that was echoed."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return _NOT_JSON


def _error_code(payload: Any) -> int | None:
    error = payload.get("error") if isinstance(payload, dict) else None
    code = error.get("code") if isinstance(error, dict) else None
    return code if isinstance(code, int) and 400 <= code <= 599 else None


def _is_html(reply: Reply) -> bool:
    return "html" in reply.headers.get("content-type", "") or reply.data.lstrip()[:1] == b"<"


def _trimmed(text: str, longest: int) -> str:
    text = text.strip()
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _count(value: Any) -> int:
    return value if isinstance(value, int) and value > 0 else 0


def _seconds(text: str | None) -> float | None:
    try:
        seconds = float(text) if text is not None else math.nan
    except ValueError:
        return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _date(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
