"""The mock model server over real HTTP, in a process of its own."""

from __future__ import annotations

import asyncio
import base64
import http.client
import signal
import socket
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import orjson
import pytest

from prefect_datagen.models.answers import answer_chat, request_digest
from tests.mock_server import MockServer


@pytest.fixture(scope="module")
def started() -> Iterator[MockServer]:
    with MockServer() as server:
        yield server


MODULE = [sys.executable, "-m", "prefect_datagen.models.mock_server"]


def body(prompt: str, **more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": prompt}], **more}


def post(
    server: MockServer, payload: Any, path: str = "/chat/completions", headers: dict[str, str] | None = None
) -> tuple[int, http.client.HTTPMessage, bytes]:
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=20)
    try:
        connection.request("POST", f"/v1{path}", orjson.dumps(payload), headers or {})
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


def text_of(data: bytes) -> str:
    return str(orjson.loads(data)["choices"][0]["message"]["content"])


def statuses(server: MockServer, prompts: list[str]) -> dict[str, int]:
    return {prompt: post(server, body(prompt))[0] for prompt in prompts}


def test_answers_are_those_of_the_offline_model_and_depend_on_the_request_alone() -> None:
    payload = body("Describe 0E8.", temperature=0.5)
    reordered = dict(reversed(payload.items()))
    with MockServer() as first, MockServer(seed=9) as second:
        post(second, body("something else before"))
        texts = {text_of(post(server, asked)[2]) for server in (first, second) for asked in (payload, reordered)}
    assert texts == {answer_chat(payload, digest=request_digest(payload)).text}


def test_usage_of_the_answers_adds_up_to_the_stats(started: MockServer) -> None:
    server = started.become()
    usages = [orjson.loads(post(server, body(f"prompt {number}"))[2])["usage"] for number in range(20)]
    stats = server.stats()
    assert (stats.calls, stats.answers, stats.by_status) == (20, 20, {"200": 20})
    assert stats.input_tokens == sum(usage["prompt_tokens"] for usage in usages)
    assert stats.output_tokens == sum(usage["completion_tokens"] for usage in usages)
    assert stats.first_call_at is not None
    assert stats.last_answer_at is not None
    assert stats.first_call_at <= stats.last_answer_at


def test_an_answer_given_twice_for_the_same_body_counts_as_repeated(started: MockServer) -> None:
    server = started.become(fail_first=1)
    assert [post(server, body("again"))[0] for _ in range(4)] == [500, 200, 200, 200]
    stats = server.stats()
    assert (stats.calls, stats.distinct_requests, stats.answers, stats.repeated_requests) == (4, 1, 3, 2)


def test_held_calls_are_in_flight_until_released(started: MockServer) -> None:
    server = started.become(hold=True)
    with ThreadPoolExecutor(5) as threads:
        calls = [threads.submit(post, server, body(f"prompt {number}")) for number in range(5)]
        stats = server.wait_until(lambda stats: stats.in_flight == 5)
        assert (stats.answers, stats.max_in_flight) == (0, 5)
        server.control(hold=False)
        assert [call.result()[0] for call in calls] == [200] * 5
        stats = server.stats()
    assert (stats.in_flight, stats.answers) == (0, 5)
    assert set(stats.in_flight_seconds) <= {0, 1, 2, 3, 4, 5}
    assert stats.share_in_flight(0) == pytest.approx(1)
    assert stats.share_in_flight(5) + stats.share_in_flight(0, 4) == pytest.approx(1)


@pytest.mark.parametrize("form", ["seconds", "date", "ms", None])
def test_more_than_max_in_flight_gets_429_at_once_with_retry_after(started: MockServer, form: str | None) -> None:
    options = {"retry_after": 7, "retry_after_form": form} if form else {}
    server = started.become(hold=True, max_in_flight=2, **options)
    with ThreadPoolExecutor(2) as threads:
        calls = [threads.submit(post, server, body(f"prompt {number}")) for number in range(2)]
        server.wait_until(lambda stats: stats.in_flight == 2)
        status, headers, _ = post(server, body("one too many"))
        server.control(hold=False)
        assert [call.result()[0] for call in calls] == [200, 200]
        assert server.stats().max_in_flight == 2
    assert status == 429
    if form == "seconds":
        assert headers["retry-after"] == "7"
    elif form == "ms":
        assert headers["retry-after-ms"] == "7000"
    elif form == "date":
        wait = (parsedate_to_datetime(headers["retry-after"]) - datetime.now(UTC)).total_seconds()
        assert 0 < wait <= 7
    else:
        assert "retry-after" not in headers


def test_faults_depend_on_request_and_attempt_not_on_order(started: MockServer) -> None:
    prompts = [f"prompt {number}" for number in range(300)]
    one = statuses(started.become(errors=["429:0.2", "500:0.1"]), prompts)
    again = statuses(started, prompts)
    other = statuses(started.become(errors=["429:0.2", "500:0.1"]), prompts[::-1])
    assert one == other
    assert again != one
    counts = {status: list(one.values()).count(status) for status in (200, 429, 500)}
    assert sum(counts.values()) == 300
    assert 35 <= counts[429] <= 85  # five standard deviations around 60
    assert 5 <= counts[500] <= 55  # around 30


def test_faults_by_arrival_depend_on_the_order_only_where_asked(started: MockServer) -> None:
    prompts = [f"prompt {number}" for number in range(100)]
    options = {"errors": [{"code": "500", "rate": 0.5}], "error_order": "arrival"}
    one = statuses(started.become(**options), prompts)
    other = statuses(started.become(**options), prompts[::-1])
    assert list(one.values()) == list(other.values())
    assert one != other


def test_faults_with_another_seed_are_others(started: MockServer) -> None:
    prompts = [f"prompt {number}" for number in range(100)]
    server = started.become(errors=["500:0.5"])
    one = statuses(server, prompts)
    server.control(seed=1, reset=True)
    assert statuses(server, prompts) != one
    assert server.stats().calls == 100


def test_prompts_that_match_fail_every_time_and_others_never(started: MockServer) -> None:
    server = started.become(fail_prompt_regex="row [13]$", fail_prompt_code="422")
    for _ in range(2):
        assert list(statuses(server, [f"row {number}" for number in range(5)]).values()) == [
            200,
            422,
            200,
            422,
            200,
        ]


def test_down_after_n_calls(started: MockServer) -> None:
    server = started.become(down_after=2, down_code="503", retry_after=1)
    assert [post(server, body(f"prompt {number}"))[0] for number in range(4)] == [200, 200, 503, 503]
    assert server.stats().by_fault == {"503": 2}


def test_a_wrong_key_is_refused_and_the_key_is_not_shown(started: MockServer) -> None:
    server = started.become(require_key="s3cret", log_requests=True)
    assert post(server, body("a"))[0] == 401
    assert post(server, body("b"), headers={"Authorization": "Bearer other"})[0] == 401
    assert post(server, body("c"), headers={"Authorization": "Bearer s3cret", "X-Team": "red"})[0] == 200
    log = server.requests()
    control = server._request("GET", "/control")
    assert [line.outcome for line in log] == ["401", "401", "200"]
    assert log[2].headers["x-team"] == "red"
    assert "s3cret" not in repr(log)
    assert b"s3cret" not in control


@pytest.mark.parametrize("errors", [[], ["empty"]])
def test_a_schema_that_cannot_be_answered_gets_400(started: MockServer, errors: list[str]) -> None:
    server = started.become(errors=errors)
    wanted = {"type": "json_schema", "json_schema": {"schema": {"$ref": "#/$defs/missing"}}}
    status, _, data = post(server, body("a", response_format=wanted))
    assert (status, server.stats().answers) == (400, 0)
    assert b"points to nothing" in data


def test_response_format_can_be_refused(started: MockServer) -> None:
    server = started.become(refuse_response_format=True)
    status, _, data = post(server, body("a", response_format={"type": "json_object"}))
    assert (status, post(server, body("a"))[0]) == (400, 200)
    assert b"response_format" in data


@pytest.mark.parametrize("code", ["empty", "html", "truncated", "no-choices", "wrong-shape", "bad-json", "404", "503"])
def test_what_each_fault_with_an_answer_looks_like(started: MockServer, code: str) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    asked = body("a", response_format={"type": "json_schema", "json_schema": {"schema": schema}})
    server = started.become(errors=[code])
    status, headers, data = post(server, asked)
    stats = server.stats()
    assert stats.by_fault == {code: 1}
    assert stats.answers == (1 if code == "bad-json" else 0)
    assert status == (int(code) if code.isdigit() else 200)
    if code == "empty":
        assert text_of(data) == ""
    elif code == "html":
        assert headers["content-type"].startswith("text/html")
    elif code == "truncated":
        with pytest.raises(orjson.JSONDecodeError):
            orjson.loads(data)
    elif code == "no-choices":
        assert orjson.loads(data)["choices"] == []
    elif code == "wrong-shape":
        assert "choices" not in orjson.loads(data)
    elif code == "bad-json":
        assert not text_of(data).startswith('{"a"')
    else:
        assert orjson.loads(data)["error"]["code"] == int(code)


@pytest.mark.parametrize("code", ["empty", "no-choices", "truncated", "bad-json", "500"])
def test_other_routes_have_faults_too(started: MockServer, code: str) -> None:
    server = started.become(errors=[code])
    status, _, data = post(server, {"model": "e", "input": "a"}, "/embeddings")
    assert server.stats().by_fault == {code: 1}
    assert status == (500 if code == "500" else 200)
    if code in {"empty", "no-choices"}:
        assert orjson.loads(data)["data"] == []


def test_a_cut_off_answer_is_shorter_than_announced(started: MockServer) -> None:
    server = started.become(errors=["cut-off"])
    with pytest.raises(http.client.IncompleteRead):
        post(server, body("a"))


def test_a_reset_is_a_reset(started: MockServer) -> None:
    server = started.become(errors=["reset"])
    with pytest.raises(ConnectionResetError):
        post(server, body("a"))
    stats = server.stats()
    assert (stats.by_fault, stats.by_status, stats.in_flight) == ({"reset": 1}, {}, 0)


def test_a_hanging_call_is_in_flight_until_its_caller_leaves(started: MockServer) -> None:
    async def leave(server: MockServer) -> None:
        async with aiohttp.ClientSession() as session:
            call = asyncio.create_task(session.post(f"{server.url}/chat/completions", json=body("a")))
            await asyncio.to_thread(server.wait_until, lambda stats: stats.in_flight == 1)
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
            await asyncio.to_thread(server.wait_until, lambda stats: stats.in_flight == 0)

    server = started.become(errors=["hang"], log_requests=True)
    asyncio.run(leave(server))
    assert server.stats().disconnected == 1
    assert [line.outcome for line in server.requests()] == ["disconnected"]


def test_the_log_numbers_arrivals_and_finishes_together(started: MockServer) -> None:
    server = started.become(log_requests=True, hold=True)
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(post, server, body("first"))
        server.wait_until(lambda stats: stats.in_flight == 1)
        server.control(hold=False)
        first.result()
        post(server, body("second", temperature=0.1))
        log = server.requests()
    assert [(line.prompt, line.arrived, line.finished, line.attempt) for line in log] == [
        ("first", 1, 2, 1),
        ("second", 3, 4, 1),
    ]
    assert log[1].body["temperature"] == 0.1
    assert (log[1].model, log[1].path) == ("m", "/v1/chat/completions")


def test_the_log_keeps_the_newest(started: MockServer) -> None:
    server = started.become(log_requests=True, log_limit=2)
    statuses(server, ["a", "b", "c"])
    assert [line.prompt for line in server.requests()] == ["b", "c"]


def test_control_refuses_what_it_does_not_know_and_keeps_what_is_not_named(started: MockServer) -> None:
    server = started.become(fail_prompt_regex="bad")
    with pytest.raises(ValueError, match="latencyms"):
        server.control(latencyms=3)
    server.control(latency_ms=1)
    assert list(statuses(server, ["good", "bad"]).values()) == [200, 400]


def test_a_reset_of_the_stats_leaves_calls_in_flight_in_flight(started: MockServer) -> None:
    server = started.become(hold=True)
    with ThreadPoolExecutor(1) as threads:
        call = threads.submit(post, server, body("a"))
        server.wait_until(lambda stats: stats.in_flight == 1)
        server.control(reset=True)
        assert (server.stats().calls, server.stats().in_flight) == (0, 1)
        server.control(hold=False)
        assert call.result()[0] == 200
        assert (server.stats().calls, server.stats().in_flight) == (0, 0)


def test_canned_answers_are_given_word_for_word(started: MockServer) -> None:
    message = {"content": None, "tool_calls": [{"id": "1", "type": "function"}]}
    canned = [{"prompt_regex": "tool", "message": message}, {"prompt_regex": "page", "body": "hi", "status": 418}]
    server = started.become(canned=canned)
    assert orjson.loads(post(server, body("use a tool"))[2])["choices"][0]["message"] == {
        "role": "assistant",
        **message,
    }
    status, _, data = post(server, body("a page"))
    assert (status, data) == (418, b"hi")
    assert text_of(post(server, body("other"))[2]).startswith("[offline model]")
    stats = server.stats()
    assert (stats.answers, stats.by_status, stats.by_fault) == (2, {"200": 2, "418": 1}, {})


def test_embeddings_are_unit_vectors_and_the_same_in_base64(started: MockServer) -> None:
    server = started.become()
    asked = {"model": "e", "input": ["one", "two"], "dimensions": 8}
    answer = orjson.loads(post(server, asked, "/embeddings")[2])
    packed = orjson.loads(post(server, {**asked, "encoding_format": "base64"}, "/embeddings")[2])
    vectors = [item["embedding"] for item in answer["data"]]
    assert [sum(x * x for x in vector) for vector in vectors] == pytest.approx([1, 1])
    unpacked = [struct.unpack("<8f", base64.b64decode(item["embedding"])) for item in packed["data"]]
    assert [list(vector) for vector in unpacked] == [pytest.approx(vector, rel=1e-6) for vector in vectors]
    assert answer["usage"]["prompt_tokens"] == 2


def test_an_image_is_a_whole_png(started: MockServer) -> None:
    server = started.become()
    answer = orjson.loads(post(server, {"model": "i", "prompt": "a cat", "n": 2}, "/images/generations")[2])
    assert len(answer["data"]) == 2
    data = base64.b64decode(answer["data"][0]["b64_json"])
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    chunks, rest = {}, data[8:]
    while rest:
        (length,) = struct.unpack(">I", rest[:4])
        kind, content, checksum = rest[4:8], rest[8 : 8 + length], rest[8 + length : 12 + length]
        assert struct.unpack(">I", checksum)[0] == zlib.crc32(kind + content)
        chunks[kind], rest = content, rest[12 + length :]
    assert list(chunks) == [b"IHDR", b"IDAT", b"IEND"]
    assert len(zlib.decompress(chunks[b"IDAT"])) == 8 * (1 + 3 * 8)


@pytest.mark.parametrize(
    ("path", "payload"),
    [
        ("/chat/completions", []),
        ("/chat/completions", {"model": "m", "messages": []}),
        ("/chat/completions", body("a", stream=True)),
        ("/embeddings", {"model": "m"}),
        ("/embeddings", {"model": "m", "input": "a", "dimensions": "8"}),
        ("/images/generations", {"model": "m"}),
        ("/images/generations", {"model": "m", "prompt": "a", "n": 0}),
    ],
)
def test_what_is_no_request_gets_400_and_is_counted(started: MockServer, path: str, payload: Any) -> None:
    server = started.become()
    status, _, data = post(server, payload, path)
    stats = server.stats()
    assert status == 400
    assert path in orjson.loads(data)["error"]["message"]
    assert (stats.calls, stats.answers, stats.by_status) == (1, 0, {"400": 1})


def test_unknown_routes_and_the_list_of_models(started: MockServer) -> None:
    server = started.become()
    assert post(server, {}, "/completions")[0] == 404
    models = orjson.loads(server._request("GET", "/v1/models"))
    assert [model["id"] for model in models["data"]] == ["offline", "mock"]


def test_pipelined_requests_are_answered_in_order(started: MockServer) -> None:
    prompts = [f"prompt {number}" for number in range(300)]

    def raw(prompt: str) -> bytes:
        data = orjson.dumps(body(prompt))
        return b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % len(data) + data

    server = started.become()
    with socket.create_connection(("127.0.0.1", urlsplit(server.url).port or 0)) as client:
        client.settimeout(20)
        client.sendall(b"".join(map(raw, prompts)))
        with client.makefile("rb") as stream:
            answers = []
            for _ in prompts:
                headers = dict(line.split(b": ") for line in iter(stream.readline, b"\r\n") if b": " in line)
                answers.append(text_of(stream.read(int(headers[b"content-length"]))))
    assert answers == [answer_chat(body(prompt), digest=request_digest(body(prompt))).text for prompt in prompts]


def test_what_is_not_http_gets_400_and_the_connection_closes(started: MockServer) -> None:
    server = started.become()
    with socket.create_connection(("127.0.0.1", urlsplit(server.url).port or 0)) as client:
        client.settimeout(20)
        client.sendall(b"what is this?\r\n\r\n")
        with client.makefile("rb") as stream:
            assert stream.read().startswith(b"HTTP/1.1 400 ")


def test_a_port_that_is_taken_is_said_so(started: MockServer) -> None:
    server = started.become()
    port = str(urlsplit(server.url).port)
    result = subprocess.run([*MODULE, "--port", port], capture_output=True, text=True, timeout=20, check=False)
    assert result.returncode == 2
    assert f"cannot listen on 127.0.0.1:{port}" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_behaviour_that_is_wrong_is_said_so() -> None:
    result = subprocess.run([*MODULE, '{"latncy": 1}'], capture_output=True, text=True, timeout=20, check=False)
    assert result.returncode == 2
    assert "latncy" in result.stderr


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, "eof"])
def test_it_stops_while_a_call_hangs(how: signal.Signals | str) -> None:
    with subprocess.Popen(
        [*MODULE, "--until-eof", '{"errors": ["hang"]}'],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        port = urlsplit(process.stdout.readline().strip()).port or 0
        with socket.create_connection(("127.0.0.1", port)) as client:
            data = orjson.dumps(body("a"))
            client.sendall(b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % len(data) + data)
            if isinstance(how, signal.Signals):
                process.send_signal(how)
            else:
                process.stdin.close()
            assert process.wait(timeout=20) == 0
        assert process.stderr.read() == b""
