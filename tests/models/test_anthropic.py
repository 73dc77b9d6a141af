"""The client of Anthropic's messages API, over HTTP against the mock model's `/v1/messages`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import SecretStr

from prefect_datagen.engine.chat import ChatAnswer, ChatRequest, Message
from prefect_datagen.engine.errors import ErrorKind, ModelError
from prefect_datagen.engine.tools import answer_with_tools
from prefect_datagen.models.anthropic import MAX_TOKENS, AnthropicClient
from prefect_datagen.models.clients import make_client
from prefect_datagen.models.config import ModelProvider
from prefect_datagen.models.prose import LABEL
from tests.mock_server import MockServer

KEY = "sk-ant-very-secret-0123456789"
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
TOOL = {
    "type": "function",
    "function": {
        "name": "lookup",
        "description": "Facts.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
THINKING = {"thinking": {"type": "enabled", "budget_tokens": 2000}}
PNG = "data:image/png;base64,iVBORw0KGgo="


@pytest.fixture(scope="module")
def started() -> Iterator[MockServer]:
    with MockServer() as server:
        yield server


@pytest.fixture
def server(started: MockServer) -> MockServer:
    return started.become(log_requests=True)


def user(content: Any) -> Message:
    return {"role": "user", "content": content}


def ask(server: MockServer, *messages: Message, key: str | None = None, **fields: Any) -> ChatAnswer:
    async def main() -> ChatAnswer:
        client = AnthropicClient(server.url, api_key=SecretStr(key) if key else None)
        try:
            return await client.chat(ChatRequest("claude", list(messages), **fields), timeout=5)
        finally:
            await client.aclose()

    return asyncio.run(main())


def failure(server: MockServer, *messages: Message, **fields: Any) -> ModelError:
    with pytest.raises(ModelError) as caught:
        ask(server, *(messages or (user("a"),)), **fields)
    return caught.value


def test_an_answer_its_tokens_and_what_was_sent(server: MockServer) -> None:
    system = {"role": "system", "content": "Be brief."}
    answer = ask(server, system, user("Write."), parameters={"temperature": 0.5}, key=KEY)
    assert answer.text.startswith(LABEL)
    assert answer.finish_reason == "stop"
    stats = server.stats()
    assert (answer.input_tokens, answer.output_tokens) == (stats.input_tokens, stats.output_tokens)
    (seen,) = server.requests()
    assert seen.body == {
        "model": "claude",
        "system": "Be brief.",
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Write."}]}],
        "temperature": 0.5,
        "max_tokens": MAX_TOKENS,
    }
    assert seen.headers["anthropic-version"] == "2023-06-01"


def test_the_key_goes_into_its_header_and_is_shown_nowhere(server: MockServer) -> None:
    server.become(require_key=KEY)
    assert ask(server, user("a"), key=KEY).text
    error = failure(server.become(require_key="another"), key=KEY)
    assert (error.status, error.kind) == (401, ErrorKind.PERMANENT)
    assert KEY not in str(error)


def test_an_answer_cut_off_by_max_tokens_says_so(server: MockServer) -> None:
    assert ask(server, user("Write."), parameters={"max_tokens": 1}).finish_reason == "length"


def test_structured_output_is_the_input_of_a_tool_that_has_to_be_called(server: MockServer) -> None:
    answer = ask(server, user("A number."), response_schema=SCHEMA)
    assert isinstance(json.loads(answer.text)["n"], int)
    assert answer.tool_calls is None
    (seen,) = server.requests()
    assert seen.body["tool_choice"] == {"type": "tool", "name": "answer"}
    assert seen.body["tools"][0]["input_schema"] == SCHEMA


def test_where_a_tool_cannot_be_forced_the_prompt_alone_says_the_form(server: MockServer) -> None:
    ask(server, user("A"), response_schema=SCHEMA, parameters=THINKING)
    ask(server, user("B"), response_schema={"type": "array"})
    ask(server, user("C"), response_schema=SCHEMA, tools=[TOOL])
    assert [request.body.get("tool_choice") for request in server.requests()] == [None, None, None]


def test_images_are_sent_with_their_data_or_their_address(server: MockServer) -> None:
    parts = [
        {"type": "image_url", "image_url": {"url": PNG}},
        {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
        {"type": "text", "text": "What is it?"},
    ]
    ask(server, user(parts))
    data, address, text = server.requests()[0].body["messages"][0]["content"]
    assert data["source"] == {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}
    assert address["source"] == {"type": "url", "url": "https://example.org/a.png"}
    assert text == {"type": "text", "text": "What is it?"}


def test_audio_is_refused_before_it_is_sent(server: MockServer) -> None:
    error = failure(server, user([{"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}]))
    assert error.reason == "unsendable request"
    assert "no audio" in str(error)
    assert server.stats().calls == 0


class Lookup:
    """A toolbox that knows one thing."""

    definitions = [TOOL]  # noqa: RUF012 - the protocol's type
    max_turns = 2

    async def call(self, name: str, arguments: str) -> str:
        city = json.loads(arguments)["city"]
        return "Error: rain" if "rain" in city else f"FACT[{city}]"


@pytest.mark.parametrize("parameters", [{}, THINKING])
def test_tools_and_thinking_go_through_a_whole_conversation(server: MockServer, parameters: dict[str, Any]) -> None:
    server.become(tool_turns=9, calls_per_turn=2, log_requests=True)

    async def main() -> ChatAnswer:
        client = AnthropicClient(server.url)
        request = ChatRequest("claude", [user("Write.")], parameters=parameters)
        answer = await answer_with_tools(lambda asked: client.chat(asked), request, Lookup())
        await client.aclose()
        return answer

    answer = asyncio.run(main())
    assert answer.text.startswith(LABEL)
    assert [each["role"] for each in answer.turns or ()] == ["assistant", "tool", "tool"] * 2
    bodies = [request.body for request in server.requests()]
    assert [body.get("tool_choice") for body in bodies] == [None, None, {"type": "none"}]
    results = bodies[-1]["messages"][2]["content"]
    assert [block["type"] for block in results] == ["tool_result", "tool_result"]
    if parameters:
        assert answer.reasoning == f"{LABEL} Thinking first."
        assert bodies[-1]["messages"][1]["content"][0]["type"] == "thinking"
        assert bodies[0]["max_tokens"] == MAX_TOKENS + 2000
    assert ChatAnswer.unpack(answer.pack()) == answer


def test_the_mock_refuses_a_conversation_without_its_thinking(server: MockServer) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "lookup", "arguments": "{}"}}
    asked = {"role": "assistant", "content": None, "tool_calls": [call]}
    result = {"role": "tool", "tool_call_id": "c", "content": "x"}
    error = failure(server, user("a"), asked, result, tools=[TOOL], parameters=THINKING)
    assert "Expected `thinking`" in str(error)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        *((status, ErrorKind.THROTTLED) for status in (429, 529)),
        *((status, ErrorKind.RETRYABLE) for status in (408, 500, 504)),
        *((status, ErrorKind.PERMANENT) for status in (400, 401, 403, 404, 413)),
    ],
)
def test_statuses(server: MockServer, status: int, kind: ErrorKind) -> None:
    error = failure(server.become(errors=[f"{status}"], retry_after=7))
    assert (error.kind, error.status, error.endpoint) == (kind, status, server.url)
    assert error.retry_after == (7.0 if status in (429, 529) else None)
    assert "as the mock model was told" in str(error)


@pytest.mark.parametrize("fault", ["empty", "no-choices", "html", "truncated", "wrong-shape"])
def test_a_200_without_an_answer_is_unusable(server: MockServer, fault: str) -> None:
    error = failure(server.become(errors=[fault]))
    assert (error.kind, error.reason) == (ErrorKind.PERMANENT, "unusable answer")


def test_a_lost_connection_is_retryable(server: MockServer) -> None:
    assert failure(server.become(errors=["reset"])).kind is ErrorKind.RETRYABLE


@pytest.mark.parametrize(
    ("endpoint", "base"),
    [
        ("https://api.anthropic.com", "https://api.anthropic.com/v1"),
        ("https://api.anthropic.com/", "https://api.anthropic.com/v1"),
        ("https://api.anthropic.com/v1", "https://api.anthropic.com/v1"),
        ("https://gateway/anthropic/v1", "https://gateway/anthropic/v1"),
    ],
)
def test_the_base_url_may_leave_the_version_out(endpoint: str, base: str) -> None:
    client = make_client(ModelProvider(name="p", provider_type="anthropic", endpoint=endpoint))
    assert client.endpoint == base


def test_models_are_listed(server: MockServer) -> None:
    async def main() -> frozenset[str]:
        client = AnthropicClient(server.url)
        try:
            return await client.list_models()
        finally:
            await client.aclose()

    assert asyncio.run(main()) == {"mock", "offline"}
