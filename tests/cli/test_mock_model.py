"""`prefect-datagen mock-model` as a process, as a user starts it."""

from __future__ import annotations

import http.client
import re
import signal
import subprocess
import sys
from urllib.parse import urlsplit

import orjson
import pytest

from prefect_datagen.models.mock_behaviour import FAULTS, MockBehaviour
from tests.mock_server import MockServer

COMMAND = [sys.executable, "-m", "prefect_datagen.cli.mock_model"]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=30, check=False)


def told(result: subprocess.CompletedProcess[str]) -> str:
    """What was printed on standard error, without the frame around it and its line breaks."""
    return " ".join(re.sub("[│╭╮╰╯─]", " ", result.stderr).split())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_prints_its_base_url_serves_as_told_and_stops_on_a_signal(number: signal.Signals) -> None:
    arguments = ["--port", "0", "--error", "503", "--retry-after", "2", "--retry-after-form", "ms"]
    with subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        found = re.search(r"http://127\.0\.0\.1:\d+/v1", process.stdout.readline().decode())
        assert found is not None
        connection = http.client.HTTPConnection(urlsplit(found[0]).netloc, timeout=20)
        body = orjson.dumps({"model": "m", "messages": [{"role": "user", "content": "a"}]})
        connection.request("POST", "/v1/chat/completions", body)
        response = connection.getresponse()
        assert (response.status, response.headers["retry-after-ms"]) == (503, "2000")
        connection.close()
        process.send_signal(number)
        assert process.wait(timeout=20) == 0
        assert process.stderr.read() == b""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--error", "4x:1"], "--error '4x:1' is not CODE:RATE"),
        (["--error", "500:2"], "--error '500:2' is not CODE:RATE"),
        (["--error", "200:0.5"], "--error '200:0.5' is not CODE:RATE"),
        (["--error", "500:0.6", "--error", "429:0.6"], "add up to 1.2; at most 1"),
        (["--down-code", "later"], "--down-code: 'later' is neither an HTTP status"),
        (["--fail-prompt-regex", "("], "--fail-prompt-regex: '(' is not a regular expression"),
        (["--retry-after-form", "words"], "--retry-after-form: Input should be"),
        (["--latency-ms", "-1"], "--latency-ms"),
    ],
)
def test_a_wrong_command_line_is_told_and_ends_with_2(arguments: list[str], message: str) -> None:
    result = run(*arguments)
    assert result.returncode == 2
    assert message in told(result)
    assert "Traceback" not in result.stderr


def test_a_port_that_is_taken_is_told_and_ends_with_2() -> None:
    with MockServer() as server:
        port = urlsplit(server.url).port
        result = run("--port", str(port))
    assert result.returncode == 2
    assert f"cannot listen on 127.0.0.1:{port}" in told(result)


def test_help_names_every_fault_and_every_option_of_the_behaviour() -> None:
    shown = " ".join(re.sub("[│]", " ", run("--help").stdout).split())
    assert all(fault in shown for fault in FAULTS)
    only_by_control = {"calls_per_turn", "canned", "errors", "hold", "ignore_tool_choice", "log_limit", "reasoning"}
    options = MockBehaviour.model_fields.keys() - only_by_control
    assert [name for name in sorted(options) if f"--{name.replace('_', '-')}"[:20] not in shown] == []
