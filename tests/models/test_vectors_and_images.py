"""Vectors and images over the wire: the clients against a real mock model server, and answers word for word."""

from __future__ import annotations

import asyncio
import base64
import struct
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

import orjson
import pytest
from pydantic import SecretStr

from prefect_datagen.engine.chat import EmbeddingAnswer, EmbeddingRequest, ImageAnswer, ImageRequest
from prefect_datagen.engine.errors import ErrorKind, ModelError
from prefect_datagen.models.completion import Reply
from prefect_datagen.models.embeddings import read_embeddings
from prefect_datagen.models.images import read_image
from prefect_datagen.models.offline import OfflineClient
from prefect_datagen.models.openai import OpenAIClient
from tests.mock_server import MockServer

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(40))
KEY = "sk-very-secret-0123456789"
T = TypeVar("T")


@pytest.fixture(scope="module")
def started() -> Iterator[MockServer]:
    with MockServer() as server:
        yield server


def using(url: str, work: Callable[[OpenAIClient], Awaitable[T]], **options: Any) -> T:
    async def main() -> T:
        client = OpenAIClient(url, **options)
        try:
            return await work(client)
        finally:
            await client.aclose()

    return asyncio.run(main())


def embed(url: str, *texts: str, **parameters: Any) -> EmbeddingAnswer:
    return using(url, lambda client: client.embed(EmbeddingRequest("m", list(texts), parameters)))


def paint(url: str, prompt: str = "a cat", *, parts: list[dict[str, Any]] | None = None) -> ImageAnswer:
    return using(url, lambda client: client.image(ImageRequest("m", prompt, parts or [])))


# Vectors


def test_vectors_of_both_encodings_are_those_of_the_offline_model(started: MockServer) -> None:
    server = started.become()
    asked = EmbeddingRequest("m", ["a", "[1, 2]", "a"], {"dimensions": 5})
    offline = asyncio.run(OfflineClient().embed(asked))
    answers = [embed(server.url, *asked.texts, dimensions=5, encoding_format=name) for name in ("float", "base64")]
    assert answers == [offline, offline]
    assert [len(vector) for vector in offline.vectors] == [5, 5, 5]
    assert offline.vectors[0] == offline.vectors[2] != offline.vectors[1]
    assert offline.input_tokens == server.stats().input_tokens / 2 > 0


def test_a_packed_answer_is_unpacked_bit_for_bit() -> None:
    vectors = EmbeddingAnswer([[0.10000000149011612, -1.5], [3.0, 1.1754943508222875e-38]], 7, 0)
    assert EmbeddingAnswer.unpack(vectors.pack()) == vectors
    image = ImageAnswer(b"\n\x00[1,2]\n", 3, 4)
    assert ImageAnswer.unpack(image.pack()) == image


def reply(payload: Any, status: int = 200) -> Reply:
    return Reply("http://x", status, {}, payload if isinstance(payload, bytes) else orjson.dumps(payload))


def vectors(*given: Any) -> Reply:
    return reply({"data": [{"index": at, "embedding": each} for at, each in enumerate(given)]})


def test_vectors_are_put_in_the_order_of_their_texts() -> None:
    data = [{"index": 1, "embedding": [2.0]}, {"index": 0, "embedding": [1]}]
    assert read_embeddings(reply({"data": data}), texts=2, redact=str).vectors == [[1.0], [2.0]]
    unnumbered = [{"embedding": [2.0]}, {"embedding": [1.0]}]
    assert read_embeddings(reply({"data": unnumbered}), texts=2, redact=str).vectors == [[2.0], [1.0]]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (vectors([1.0]), "holds 1 vectors for 2 texts"),
        (vectors([1.0], [1.0, 2.0]), "differ in length"),
        (vectors([1.0], []), "number 1 of the answer's vectors is none"),
        (vectors([1.0], ["1.0"]), "number 1 of"),
        (vectors([1.0], [True]), "number 1 of"),
        (vectors([1.0], None), "number 1 of"),
        (vectors([1.0], [1e300]), "number 1 of"),
        (vectors([1.0], "AAA"), "number 1 of"),
        (vectors([1.0], base64.b64encode(struct.pack("<f", float("nan"))).decode()), "number 1 of"),
        (reply({"data": [{"index": 0, "embedding": [1]}, {"index": 0, "embedding": [2]}]}), "number 1 of"),
        (reply({"data": ["a", "b"]}), "number 0 of"),
        (reply({"data": []}), "the answer holds no data"),
        (reply({}), "the answer holds no data"),
        (reply(b"<html>"), "the answer is a web page"),
    ],
)
def test_anything_else_than_one_vector_for_each_text_is_unusable(given: Reply, message: str) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        read_embeddings(given, texts=2, redact=str)
    assert (caught.value.kind, caught.value.reason) == (ErrorKind.PERMANENT, "unusable answer")


# Images


def test_an_image_is_the_file_itself(started: MockServer) -> None:
    server = started.become(log_requests=True)
    answer = paint(server.url)
    assert answer.image.startswith(b"\x89PNG")
    assert answer == asyncio.run(OfflineClient().image(ImageRequest("m", "a cat")))
    assert [request.path for request in server.requests()] == ["/v1/images/generations"]


@pytest.mark.parametrize(
    "message",
    [
        {
            "content": "Here.",
            "images": [{"image_url": {"url": "data:image/png;base64," + base64.b64encode(PNG).decode()}}],
        },
        {
            "content": [
                {"type": "text", "text": "Here."},
                {"type": "image_url", "image_url": base64.b64encode(PNG).decode()},
            ]
        },
    ],
)
def test_media_beside_the_prompt_go_to_a_chat_model_that_paints(started: MockServer, message: dict[str, Any]) -> None:
    server = started.become(log_requests=True, canned=[{"prompt_regex": "a cat", "message": message}])
    part = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    assert paint(server.url, parts=[part]).image == PNG
    (seen,) = server.requests()
    assert seen.path == "/v1/chat/completions"
    assert seen.body["messages"] == [{"role": "user", "content": [part, {"type": "text", "text": "a cat"}]}]


def test_a_chat_model_that_only_talks_is_unusable(started: MockServer) -> None:
    with pytest.raises(ModelError, match="the answer holds no image") as caught:
        paint(started.become().url, parts=[{"type": "text", "text": "x"}])
    assert caught.value.reason == "unusable answer"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([{"url": "https://elsewhere/x.png"}], "a link, which is not followed; ask for base64"),
        ([{"b64_json": "%%%"}], "not base64"),
        ([{"b64_json": "データ"}], "not base64"),
        ([{"url": "data:image/png;base64,"}], "the image is empty"),
        ([{"b64_json": None}], "holds no image"),
        (["x"], "holds no image"),
        ([], "holds no data"),
    ],
)
def test_an_answer_without_a_usable_image(data: list[Any], message: str) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        read_image(reply({"data": data}), redact=str)
    assert (caught.value.kind, caught.value.reason) == (ErrorKind.PERMANENT, "unusable answer")


# Failures are those of chat


@pytest.mark.parametrize("work", [lambda url: embed(url, "a"), paint], ids=["vectors", "image"])
@pytest.mark.parametrize(
    ("fault", "kind", "reason"),
    [
        ("429", ErrorKind.THROTTLED, "429"),
        ("500", ErrorKind.RETRYABLE, "500"),
        ("404", ErrorKind.PERMANENT, "404"),
        ("reset", ErrorKind.RETRYABLE, "connection"),
        ("cut-off", ErrorKind.RETRYABLE, "connection"),
        ("html", ErrorKind.PERMANENT, "unusable answer"),
        ("truncated", ErrorKind.PERMANENT, "unusable answer"),
    ],
)
def test_failures_are_classified_as_for_chat(
    started: MockServer, work: Callable[[str], Any], fault: str, kind: ErrorKind, reason: str
) -> None:
    server = started.become(errors=[f"{fault}:1"])
    with pytest.raises(ModelError) as caught:
        work(server.url)
    assert (caught.value.kind, caught.value.reason, server.stats().calls) == (kind, reason, 1)


def test_no_error_shows_the_key(started: MockServer) -> None:
    server = started.become(require_key="another")
    with pytest.raises(ModelError) as caught:
        using(server.url, lambda client: client.embed(EmbeddingRequest("m", ["a"])), api_key=SecretStr(KEY))
    assert caught.value.status == 401
    assert KEY not in str(caught.value)
