"""The offline model: deterministic, labelled, and structured where asked."""

from __future__ import annotations

import asyncio

import orjson
import pytest

from prefect_datagen.engine.chat import ChatAnswer, ChatRequest
from prefect_datagen.engine.errors import ErrorKind, ModelError
from prefect_datagen.models.offline import OfflineClient
from tests.mock_server import MockServer


def request(prompt: str, **more: object) -> ChatRequest:
    return ChatRequest("m", [{"role": "user", "content": prompt}], **more)  # type: ignore[arg-type]


def ask(asked: ChatRequest, *, timeout: float | None = None, latency_ms: float = 0.0) -> ChatAnswer:
    async def main() -> ChatAnswer:
        client = OfflineClient(latency_ms=latency_ms)
        try:
            return await client.chat(asked, timeout=timeout)
        finally:
            await client.aclose()
            await client.aclose()

    return asyncio.run(main())


def test_the_same_request_gets_the_same_labelled_answer_and_another_one_another() -> None:
    first, again, other = ask(request("Describe 0E8.")), ask(request("Describe 0E8.")), ask(request("Describe 00M."))
    assert first == again
    assert first.text != other.text
    assert first.text.startswith("[offline model] ")
    assert "Describe 0E8." in first.text


def test_it_answers_as_the_mock_model_server_does() -> None:
    from prefect_datagen.models.openai import OpenAIClient

    schema = {"type": "object", "properties": {"score": {"enum": [1, 2, 3]}}}
    asked = [
        request("plain"),
        request("structured", response_schema=schema),
        request("cut", parameters={"max_tokens": 9}),
    ]

    async def main(url: str) -> tuple[list[ChatAnswer], list[ChatAnswer]]:
        client, offline = OpenAIClient(url), OfflineClient()
        answers = [await client.chat(one) for one in asked], [await offline.chat(one) for one in asked]
        await client.aclose()
        return answers

    with MockServer() as server:
        online, offline = asyncio.run(main(server.url))
    assert online == offline
    assert [answer.finish_reason for answer in online] == ["stop", "stop", "length"]


def test_a_schema_that_cannot_be_answered_is_permanent() -> None:
    with pytest.raises(ModelError, match="points to nothing") as caught:
        ask(request("a", response_schema={"$ref": "#/$defs/missing"}))
    assert (caught.value.kind, caught.value.reason) == (ErrorKind.PERMANENT, "unsupported schema")


def test_a_latency_above_the_timeout_is_a_timeout() -> None:
    with pytest.raises(ModelError, match=r"within 0.001 s") as caught:
        ask(request("a"), timeout=0.001, latency_ms=60_000)
    assert (caught.value.kind, caught.value.reason) == (ErrorKind.RETRYABLE, "timeout")


def test_answers_let_other_work_go_on() -> None:
    """Two conversations on one loop take turns, even at no latency."""
    order: list[str] = []

    async def talk(name: str, client: OfflineClient) -> None:
        for number in range(3):
            await client.chat(request(f"{name} {number}"))
            order.append(name)

    async def main() -> None:
        client = OfflineClient()
        await asyncio.gather(talk("a", client), talk("b", client))

    asyncio.run(main())
    assert order == ["a", "b"] * 3


def test_structured_answers_are_json() -> None:
    schema = {"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 18}}}
    answer = orjson.loads(ask(request("Who?", response_schema=schema)).text)
    assert answer["name"].startswith("[offline model]")
    assert answer["age"] >= 18
