"""The client against a real mock model server: every answer and every failure is classified once, and no key leaks."""

from __future__ import annotations

import asyncio
import contextlib
import pickle
import re
import socket
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, TypeVar

import orjson
import pytest
from pydantic import SecretStr

from prefect_datagen.engine.chat import ChatAnswer, ChatRequest
from prefect_datagen.engine.errors import ConfigError, ErrorKind, ModelError
from prefect_datagen.models.answers import answer_chat, request_digest
from prefect_datagen.models.openai import OpenAIClient
from tests.mock_server import MockServer

KEY = "sk-very-secret-0123456789"
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
T = TypeVar("T")


@pytest.fixture(scope="module")
def started() -> Iterator[MockServer]:
    with MockServer() as server:
        yield server


def request(prompt: str = "Describe 0E8.", **more: Any) -> ChatRequest:
    return ChatRequest("m", [{"role": "user", "content": prompt}], **more)


def using(url: str, work: Callable[[OpenAIClient], Awaitable[T]], **options: Any) -> T:
    """Run `work` with a client of its own, on a loop of its own; the client is closed afterwards."""

    async def main() -> T:
        client = OpenAIClient(url, **options)
        try:
            return await work(client)
        finally:
            await client.aclose()

    return asyncio.run(main())


def ask(url: str, asked: ChatRequest | None = None, *, timeout: float | None = None, **options: Any) -> ChatAnswer:
    return using(url, lambda client: client.chat(asked or request(), timeout=timeout), **options)


def failure(url: str, asked: ChatRequest | None = None, *, timeout: float | None = None, **options: Any) -> ModelError:
    with pytest.raises(ModelError) as caught:
        ask(url, asked, timeout=timeout, **options)
    assert caught.value.endpoint == url
    return caught.value


def everything_about(error: BaseException | None) -> str:
    """All that could be printed or stored of an error and of what led to it."""
    seen = ""
    while error is not None:
        seen += f"{error} {error!r} {getattr(error, '__dict__', {})!r}"
        error = error.__cause__ or error.__context__
    return seen


# Answers


def test_an_answer_with_its_counts(started: MockServer) -> None:
    server = started.become()
    answer = ask(server.url)
    made = answer_chat(request().body(), digest=request_digest(request().body()))
    assert answer == ChatAnswer(made.text, made.input_tokens, made.output_tokens, finish_reason="stop")


def test_what_is_sent(started: MockServer) -> None:
    server = started.become(log_requests=True, require_key=KEY)
    asked = request(parameters={"temperature": 0.5, "top_k": 3})
    options: dict[str, Any] = {"extra_body": {"top_k": 9, "seed": 7}, "extra_headers": {"X-Team": "red"}}
    ask(server.url, asked, api_key=SecretStr(KEY), **options)
    (seen,) = server.requests()
    assert seen.body == {"model": "m", "messages": asked.messages, "temperature": 0.5, "top_k": 3, "seed": 7}
    assert (seen.headers["x-team"], seen.headers["content-type"]) == ("red", "application/json")
    assert seen.path == "/v1/chat/completions"


def test_a_query_of_the_endpoint_is_kept_in_calls_and_not_shown(started: MockServer) -> None:
    url = started.become().url
    client = OpenAIClient(f"{url}/?api-version=1&key={KEY}")
    assert client.endpoint == url
    assert repr(client) == f"OpenAIClient('{url}')"
    assert ask(f"{url}?key={KEY}").text


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"content": "a", "reasoning_content": "because"}, ChatAnswer("a", reasoning="because")),
        ({"content": "a", "reasoning": "because"}, ChatAnswer("a", reasoning="because")),
        ({"content": None, "tool_calls": [{"id": "1"}]}, ChatAnswer("", tool_calls=[{"id": "1"}])),
        ({"content": "a", "tool_calls": []}, ChatAnswer("a")),
        ({"content": [{"type": "text", "text": "a"}, {"type": "image"}, {"text": "b"}]}, ChatAnswer("a\nb")),
        ({"content": " 1.10 "}, ChatAnswer(" 1.10 ")),
        ({"content": "null"}, ChatAnswer("null")),
    ],
)
def test_messages_of_several_shapes(started: MockServer, message: dict[str, Any], expected: ChatAnswer) -> None:
    server = started.become(canned=[{"prompt_regex": "", "message": message}])
    answer = ask(server.url)
    found = (answer.text, answer.reasoning, answer.tool_calls, answer.finish_reason)
    assert found == (expected.text, expected.reasoning, expected.tool_calls, "stop")


def test_an_answer_without_usage_counts_nothing(started: MockServer) -> None:
    body = orjson.dumps({"choices": [{"message": {"content": "a"}}], "usage": None}).decode()
    server = started.become(canned=[{"prompt_regex": "", "body": body}])
    assert ask(server.url) == ChatAnswer("a")


def test_structured_answers_are_asked_for_natively(started: MockServer) -> None:
    server = started.become()
    assert isinstance(orjson.loads(ask(server.url, request(response_schema=SCHEMA)).text)["a"], int)


def test_a_refused_response_format_is_left_out_from_then_on_for_that_model(started: MockServer) -> None:
    server = started.become(refuse_response_format=True, log_requests=True)
    other = ChatRequest("other", request().messages, response_schema=SCHEMA)

    async def work(client: OpenAIClient) -> None:
        await client.chat(request(response_schema=SCHEMA), timeout=20)
        await client.chat(request("again", response_schema=SCHEMA))
        await client.chat(other)

    using(server.url, work)
    seen = [(line.model, "response_format" in line.body, line.outcome) for line in server.requests()]
    assert seen == [
        ("m", True, "400"),
        ("m", False, "200"),
        ("m", False, "200"),
        ("other", True, "400"),
        ("other", False, "200"),
    ]


def test_an_error_that_quotes_the_request_is_not_remembered_as_a_refusal(started: MockServer) -> None:
    body = '{"error": {"message": "too long: {\\"response_format\\": 1}"}}'
    canned = [{"prompt_regex": "long", "status": 400, "body": body}]
    server = started.become(canned=canned, log_requests=True)

    async def work(client: OpenAIClient) -> None:
        with pytest.raises(ModelError, match="too long"):
            await client.chat(request("long", response_schema=SCHEMA))
        await client.chat(request("short", response_schema=SCHEMA))

    using(server.url, work)
    assert ["response_format" in line.body for line in server.requests()] == [True, False, True]


def test_another_400_is_not_taken_for_a_refused_response_format(started: MockServer) -> None:
    server = started.become(errors=["400"])
    assert failure(server.url, request(response_schema=SCHEMA)).reason == "400"
    assert server.stats().calls == 1


# Statuses


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        *((status, ErrorKind.THROTTLED) for status in (429, 529)),
        *((status, ErrorKind.RETRYABLE) for status in (408, 409, 425, 500, 502, 503, 504)),
        *((status, ErrorKind.PERMANENT) for status in (400, 401, 402, 403, 404, 413, 422)),
    ],
)
def test_statuses(started: MockServer, status: int, kind: ErrorKind) -> None:
    server = started.become(errors=[f"{status}"])
    error = failure(server.url)
    assert (error.kind, error.reason, error.status, error.retry_after) == (kind, str(status), status, None)
    assert str(error) == f"{status} from {server.url}: status {status} as the mock model was told"


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(("form", "least"), [("seconds", 90), ("ms", 90), ("date", 80)])
def test_retry_after_in_each_form(started: MockServer, status: int, form: str, least: float) -> None:
    error = failure(started.become(errors=[f"{status}"], retry_after=90, retry_after_form=form).url)
    assert error.kind is ErrorKind.THROTTLED
    assert error.retry_after is not None
    assert least <= error.retry_after <= 90


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "0.25"}, 0.25),
        ({"retry-after": "-3"}, 0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "inf"}, None),
        ({"Retry-After": "1", "Retry-After-Ms": "1500"}, 1.5),
        ({"Retry-After": format_datetime(datetime.now(UTC) - timedelta(hours=1), usegmt=True)}, 0),
        # The clock of the endpoint is what its date is compared with.
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:09 GMT", "Date": "Wed, 21 Oct 2015 07:28:00 GMT"}, 9),
    ],
)
def test_retry_after_headers(started: MockServer, headers: dict[str, str], seconds: float | None) -> None:
    server = started.become(canned=[{"prompt_regex": "", "status": 429, "headers": headers, "body": "{}"}])
    assert failure(server.url).retry_after == seconds


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('{"error": {"message": "too long"}}', "too long"),
        ('{"error": "too long"}', "too long"),
        ('{"message": "too long"}', "too long"),
        ('{"detail": [{"msg": "too long"}]}', '[{"msg":"too long"}]'),
        ("too long", "too long"),
        ("<html>too long</html>", "a web page"),
        ("", "no message"),
        (orjson.dumps({"error": {"message": "x" * 400}}).decode(), "x" * 299 + "…"),
    ],
)
def test_the_endpoints_own_words(started: MockServer, body: str, said: str) -> None:
    server = started.become(canned=[{"prompt_regex": "", "status": 400, "body": body}])
    assert str(failure(server.url)) == f"400 from {server.url}: {said}"


def test_a_redirect_is_not_followed(started: MockServer) -> None:
    headers = {"Location": "http://127.0.0.1:9/v2"}
    server = started.become(canned=[{"prompt_regex": "", "status": 308, "headers": headers, "body": ""}])
    error = failure(server.url)
    assert (error.kind, error.reason) == (ErrorKind.PERMANENT, "308")
    assert "http://127.0.0.1:9/v2" in str(error)
    assert server.stats().calls == 1


# 200 without a usable answer


@pytest.mark.parametrize("code", ["empty", "html", "truncated", "no-choices", "wrong-shape"])
def test_a_200_without_content_is_unusable_and_what_came_is_kept(started: MockServer, code: str) -> None:
    server = started.become(errors=[code])
    error = failure(server.url)
    assert (error.kind, error.reason, error.status) == (ErrorKind.PERMANENT, "unusable answer", 200)
    assert error.answer
    assert {"html": "<html>", "wrong-shape": "not a chat completion"}.get(code, '"chat.completion"') in error.answer


@pytest.mark.parametrize(
    "body",
    [
        "",
        "null",
        "[]",
        '{"choices": null}',
        '{"choices": {}}',
        '{"choices": [null]}',
        '{"choices": [{"message": null}]}',
        '{"choices": [{"message": {"content": 7}}]}',
        '{"choices": [{"message": {"content": " \\n"}}]}',
        '{"choices": [{"message": {"content": []}}]}',
        '{"choices": [{"message": {"content": [{"type": "image"}]}}]}',
        '{"choices": [{"message": {"content": null, "refusal": "I must not"}}]}',
        '{"error": {"message": "no code"}}',
    ],
)
def test_bodies_without_a_message(started: MockServer, body: str) -> None:
    error = failure(started.become(canned=[{"prompt_regex": "", "body": body}]).url)
    assert (error.kind, error.reason, error.answer) == (ErrorKind.PERMANENT, "unusable answer", body.strip())
    assert ("I must not" in str(error)) == ("refusal" in body)


def test_an_error_behind_a_200_counts_by_its_code(started: MockServer) -> None:
    body = '{"error": {"code": 429, "message": "upstream is busy"}}'
    headers = {"Retry-After": "2"}
    error = failure(started.become(canned=[{"prompt_regex": "", "body": body, "headers": headers}]).url)
    assert (error.kind, error.reason, error.retry_after) == (ErrorKind.THROTTLED, "429", 2)
    assert "upstream is busy" in str(error)


def test_a_long_unusable_answer_is_trimmed(started: MockServer) -> None:
    error = failure(started.become(canned=[{"prompt_regex": "", "body": "x" * 100_000}]).url)
    assert error.answer is not None
    assert len(error.answer) == 4000


# Timeouts and connections


def test_a_cut_off_answer_and_a_reset_are_retryable(started: MockServer) -> None:
    for code in ("cut-off", "reset"):
        error = failure(started.become(errors=[code]).url)
        assert (error.kind, error.reason, error.status) == (ErrorKind.RETRYABLE, "connection", None)


def test_a_whole_call_that_takes_too_long(started: MockServer) -> None:
    server = started.become(errors=["hang"])
    error = failure(server.url, timeout=0.05)
    assert (error.kind, error.reason) == (ErrorKind.RETRYABLE, "timeout")
    assert "within 0.05 s" in str(error)
    assert server.wait_until(lambda stats: stats.in_flight == 0).disconnected == 1


def test_nothing_received_for_too_long(started: MockServer) -> None:
    error = failure(started.become(errors=["hang"]).url, read_timeout=0.05)
    assert (error.kind, error.reason) == (ErrorKind.RETRYABLE, "timeout")
    assert "nothing received for 0.05 s" in str(error)


def test_a_connection_that_takes_too_long() -> None:
    """A listener that never accepts, with its queue full, lets no further connection through."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
        error = failure(f"http://127.0.0.1:{listener.getsockname()[1]}/v1", connect_timeout=0.05)
    assert (error.kind, error.reason) == (ErrorKind.RETRYABLE, "timeout")
    assert "no connection within 0.05 s" in str(error)


def test_a_refused_connection_is_retryable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    error = failure(f"http://127.0.0.1:{port}/v1")
    assert (error.kind, error.reason) == (ErrorKind.RETRYABLE, "connection")


def test_tls_to_a_port_without_it_is_not_retried(started: MockServer) -> None:
    error = failure(started.become().url.replace("http:", "https:"))
    assert (error.kind, error.reason) == (ErrorKind.PERMANENT, "tls")


def test_an_endpoint_that_speaks_no_http_is_retryable_and_the_key_stays_here() -> None:
    async def main() -> ModelError:
        async def speak(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"220 mail.example.org ESMTP\r\n\r\n")
            writer.close()

        server = await asyncio.start_server(speak, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        client = OpenAIClient(f"http://127.0.0.1:{port}/v1", api_key=SecretStr(KEY))
        with pytest.raises(ModelError) as caught:
            await client.chat(request())
        await client.aclose()
        server.close()
        await server.wait_closed()
        return caught.value

    error = asyncio.run(main())
    assert (error.kind, error.reason) == (ErrorKind.RETRYABLE, "connection")
    assert KEY not in everything_about(error)


def test_a_request_that_is_no_json_is_refused_before_it_is_sent(started: MockServer) -> None:
    server = started.become()
    error = failure(server.url, request("half a pair: \ud800"))
    assert (error.kind, error.reason) == (ErrorKind.PERMANENT, "unsendable request")
    assert server.stats().calls == 0


def test_a_cancelled_call_lets_its_connection_go_and_the_client_works_on(started: MockServer) -> None:
    server = started.become(hold=True)

    async def work(client: OpenAIClient) -> str:
        call = asyncio.create_task(client.chat(request("one")))
        await asyncio.to_thread(server.wait_until, lambda stats: stats.in_flight == 1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await asyncio.to_thread(server.wait_until, lambda stats: stats.in_flight == 0)
        server.control(hold=False)
        return (await client.chat(request("two"))).text

    assert "two" in using(server.url, work)
    assert server.stats().disconnected == 1


def test_calls_one_after_the_other_share_a_connection(started: MockServer) -> None:
    server = started.become(log_requests=True)

    async def work(client: OpenAIClient) -> None:
        for number in range(20):
            await client.chat(request(f"prompt {number}"), timeout=20)

    using(server.url, work)
    assert len({line.connection for line in server.requests()}) == 1


def test_the_client_itself_limits_nothing(started: MockServer) -> None:
    server = started.become(hold=True)

    async def work(client: OpenAIClient) -> list[ChatAnswer]:
        calls = [asyncio.create_task(client.chat(request(f"prompt {number}"))) for number in range(250)]
        await asyncio.to_thread(server.wait_until, lambda stats: stats.in_flight == 250)
        server.control(hold=False)
        return await asyncio.gather(*calls)

    assert len({answer.text for answer in using(server.url, work)}) == 250


def test_closing_twice_and_calling_again(started: MockServer) -> None:
    server = started.become()

    async def work(client: OpenAIClient) -> None:
        await client.aclose()
        await client.chat(request())
        await client.aclose()
        await client.aclose()
        await client.chat(request("again"))

    using(server.url, work)
    assert server.stats().answers == 2


def test_a_proxy_of_the_environment_is_used(started: MockServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server = started.become(log_requests=True)
    monkeypatch.setenv("http_proxy", server.url.removesuffix("/v1"))
    monkeypatch.delenv("no_proxy", raising=False)
    assert ask("http://models.invalid/v1").text
    (seen,) = server.requests()
    assert seen.headers["host"] == "models.invalid"


# Secrets


@pytest.mark.parametrize(
    "options",
    [
        {"api_key": SecretStr(KEY)},
        {"extra_headers": {"Authorization": f"Bearer {KEY}"}},
    ],
)
def test_a_key_that_the_endpoint_echoes_is_in_no_error(started: MockServer, options: dict[str, Any]) -> None:
    error = failure(started.become(require_key="another").url, **options)
    assert (error.kind, error.reason) == (ErrorKind.PERMANENT, "401")
    assert str(error).endswith("Incorrect API key provided: [redacted]")
    assert KEY not in everything_about(error)
    assert KEY.encode() not in pickle.dumps(error)


def test_a_key_echoed_in_an_unusable_answer_is_in_no_error(started: MockServer) -> None:
    server = started.become(canned=[{"prompt_regex": "", "body": f"<html>your key is {KEY}</html>"}])
    options: dict[str, Any]
    for options in ({"api_key": SecretStr(KEY)}, {"extra_headers": {"X-Api-Key": KEY}}):
        error = failure(server.url, **options)
        assert error.answer == "<html>your key is [redacted]</html>"
        assert KEY not in everything_about(error)
        assert KEY.encode() not in pickle.dumps(error)


def test_a_client_shows_no_key_and_cannot_be_pickled(started: MockServer) -> None:
    server = started.become()

    async def work(client: OpenAIClient) -> None:
        await client.chat(request())
        assert KEY not in f"{client} {client!r} {vars(client)!r}"
        with pytest.raises(TypeError, match="cannot be pickled"):
            pickle.dumps(client)

    using(server.url, work, api_key=SecretStr(KEY), extra_headers={"X-Api-Key": KEY})


@pytest.mark.parametrize(
    ("endpoint", "told"),
    [
        ("", "is not a base URL"),
        ("127.0.0.1:8000", "is not a base URL"),
        ("ftp://host/v1", "it is not http://"),
        ("http://", "is not a base URL"),
        ("http://host:port/v1", "is not a base URL"),
        (f"http://user:{KEY}@host/v1", "give the key as api_key"),
        (f"http://user:{KEY}@host:port/v1", "give the key as api_key"),
        (f"https://host:port/v1?key={KEY}", "is not a base URL"),
    ],
)
def test_endpoints_that_are_refused(endpoint: str, told: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(told)) as caught:
        OpenAIClient(endpoint)
    assert KEY not in everything_about(caught.value)


def test_headers_that_are_refused() -> None:
    with pytest.raises(ConfigError, match="header 'X-Team'"):
        OpenAIClient("http://host/v1", extra_headers={"X-Team": "red\r\nX-Other: blue"})
    with pytest.raises(ConfigError, match="header 'Authorization'") as caught:
        OpenAIClient("http://host/v1", api_key=SecretStr(f"{KEY}\nx"))
    assert KEY not in everything_about(caught.value)
