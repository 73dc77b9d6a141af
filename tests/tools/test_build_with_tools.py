"""Whole builds with tools: the conversation in the trace, the turn limit, usage, the journal, and the start."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from prefect.settings import PREFECT_API_URL

from prefect_datagen.blocks import OfflineModel, ParquetRowGroupSink
from prefect_datagen.config.dataset import DatasetConfig
from prefect_datagen.config.run import RunConfig
from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.flows.build import BuildResult, build_dataset
from prefect_datagen.tasks.endpoints import check_endpoints
from tests.mock_server import MockServer
from tests.tools.conftest import HttpServer, stdio

pytestmark = pytest.mark.usefixtures("prefect_api")


def tooled(url: str, provider: dict[str, Any], *, column: dict[str, Any] | None = None, **tools: Any) -> dict[str, Any]:
    """One sampler, and a model column that may look things up."""
    return {
        "name": "tooled",
        "columns": [
            {"name": "id", "column_type": "sampler", "sampler_type": "uuid", "params": {}},
            {
                "name": "text",
                "column_type": "llm-text",
                "model_alias": "writer",
                "prompt": "Write about {{ id }}.",
                "tool_alias": "facts",
                "with_trace": "all_messages",
                **(column or {}),
            },
        ],
        "model_configs": [{"alias": "writer", "model": "mock", "provider": "endpoint"}],
        "model_providers": [{"name": "endpoint", "endpoint": url}],
        "tool_configs": [{"tool_alias": "facts", "providers": [provider["name"]], "allow_tools": ["lookup"], **tools}],
        "mcp_providers": [provider],
    }


def build(config: dict[str, Any], folder: Path, rows: int, **run: Any) -> BuildResult:
    sink = ParquetRowGroupSink(path=folder)
    result = build_dataset(config, num_records=rows, sink=sink, run=RunConfig(seed=1, **run))
    assert isinstance(result, BuildResult)
    return result


def traces(result: BuildResult) -> list[list[dict[str, Any]]]:
    return [json.loads(trace) for trace in result.load_dataset()["text__trace"]]


def test_the_conversation_is_in_the_trace_and_all_its_turns_are_in_the_usage(
    tmp_path: Path, mock_server: MockServer, remote: HttpServer
) -> None:
    mock_server.become(tool_turns=2, calls_per_turn=2, log_requests=True)
    result = build(tooled(mock_server.url, remote.config), tmp_path / "d", 6)
    for messages in traces(result):
        roles = [message["role"] for message in messages]
        assert roles == ["user", "assistant", "tool", "tool", "assistant", "tool", "tool", "assistant"]
        asked, first, second = messages[1]["tool_calls"], messages[2], messages[3]
        assert [first["tool_call_id"], second["tool_call_id"]] == [call["id"] for call in asked]
        city = json.loads(asked[0]["function"]["arguments"])["city"]
        assert first["content"] == f"FACT[{city}]"
    assert set(result.load_dataset()["text"]) == {messages[-1]["content"] for messages in traces(result)}
    stats, usage = mock_server.stats(), result.metadata.usage["writer"]
    assert (usage.calls, usage.answers) == (18, 18)
    assert (usage.input_tokens, usage.output_tokens) == (stats.input_tokens, stats.output_tokens)
    (offered,) = {json.dumps(request.body["tools"]) for request in mock_server.requests()}
    assert [each["function"]["name"] for each in json.loads(offered)] == ["lookup"]


def test_one_local_server_serves_all_row_groups_and_ends_with_the_run(tmp_path: Path, mock_server: MockServer) -> None:
    mock_server.become(tool_turns=1)
    log = tmp_path / "log"
    build(tooled(mock_server.url, stdio(log)), tmp_path / "d", 9, row_group_size=3)
    lines = log.read_text().splitlines()
    assert sum(line.startswith("lookup") for line in lines) == 9
    started = [line.split()[1] for line in lines if line.startswith("started")]
    assert len(started) == 2  # one for the look before the first row, one for all rows
    assert not any(Path(f"/proc/{pid}").exists() for pid in started)


def test_after_the_last_turn_the_model_has_to_answer(
    tmp_path: Path, mock_server: MockServer, remote: HttpServer
) -> None:
    mock_server.become(tool_turns=100, log_requests=True)
    result = build(tooled(mock_server.url, remote.config, max_tool_call_turns=3), tmp_path / "d", 2)
    assert {len(messages) for messages in traces(result)} == {1 + 3 * 2 + 1}
    choices = [request.body.get("tool_choice") for request in mock_server.requests()]
    assert sorted(map(str, choices)) == ["None"] * 6 + ["none"] * 2


def test_a_model_that_asks_for_tools_for_ever_loses_its_row_with_the_reason(
    tmp_path: Path, mock_server: MockServer, remote: HttpServer
) -> None:
    mock_server.become(tool_turns=100, ignore_tool_choice=True)
    config = tooled(mock_server.url, remote.config, max_tool_call_turns=1)
    result = build(
        config, tmp_path / "d", 2, on_shortfall="warn", max_conversation_restarts=1, disable_early_shutdown=True
    )
    assert result.metadata.rejected_by_reason == {"unusable answer": 2}
    (row, _) = result.rejects().to_pylist()
    assert "asked for tools again after max_tool_call_turns=1" in row["message"]


def test_timeouts_and_errors_are_shown_to_the_model(
    tmp_path: Path, mock_server: MockServer, remote: HttpServer
) -> None:
    mock_server.become(tool_turns=1)
    slow = tooled(mock_server.url, remote.config, allow_tools=["slow"], timeout_sec=0.2)
    (messages,) = traces(build(slow, tmp_path / "slow", 1))
    assert messages[2]["content"] == "Error: slow gave no result within 0.2 s"
    broken = tooled(mock_server.url, remote.config, allow_tools=["broken"])
    (messages,) = traces(build(broken, tmp_path / "broken", 1))
    assert messages[2]["content"].startswith("Error: ")
    assert "no luck" in messages[2]["content"]


def test_structured_answers_may_use_tools_too(tmp_path: Path, mock_server: MockServer, remote: HttpServer) -> None:
    mock_server.become(tool_turns=1)
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    column = {"column_type": "llm-structured", "output_format": schema}
    result = build(tooled(mock_server.url, remote.config, column=column), tmp_path / "d", 3)
    assert all(isinstance(value["n"], int) for value in result.load_dataset()["text"])
    assert {len(messages) for messages in traces(result)} == {4}


KILLED = """
import os, signal, sys

from prefect_datagen.blocks import ParquetRowGroupSink
from prefect_datagen.config.run import RunConfig
from prefect_datagen.flows.build import build_dataset
from prefect_datagen.storage import journal

commit = journal.Journal.commit
def die_after_commits(self):
    commit(self)
    if self.statistics().stored >= 12:
        os.kill(os.getpid(), signal.SIGKILL)
journal.Journal.commit = die_after_commits
build_dataset(sys.argv[1], num_records=8, sink=ParquetRowGroupSink(path=sys.argv[2]), run=RunConfig(seed=1))
"""


def test_after_a_kill_finished_conversations_are_neither_paid_for_nor_run_again(
    tmp_path: Path, mock_server: MockServer
) -> None:
    mock_server.become(tool_turns=1)
    log = tmp_path / "log"
    config = tooled(mock_server.url, stdio(log))
    text = DatasetConfig.load(config).to_yaml()
    # On the server of the session: one that a killed process started for itself would live on.
    env = {**os.environ, "PREFECT_API_URL": PREFECT_API_URL.value()}
    killed = subprocess.run([sys.executable, "-c", KILLED, text, str(tmp_path / "d")], env=env, check=False)
    assert killed.returncode == -9
    ran_before = log.read_text().count("lookup")
    assert ran_before >= 4
    result = build(config, tmp_path / "d", 8)
    assert len(result.load_dataset()) == 8
    assert mock_server.stats().repeated_requests <= 4  # in flight when it was killed: the ceiling of the alias
    replayed = result.metadata.usage["writer"].replayed
    assert replayed >= 4
    assert log.read_text().count("lookup") - ran_before < 8
    # And what is finished is finished: more rows of the same dataset ask for nothing that is there.
    calls = mock_server.stats().calls
    build(config, tmp_path / "d", 10)
    assert mock_server.stats().calls - calls == 4


def test_another_definition_of_a_tool_is_another_question(
    tmp_path: Path, mock_server: MockServer, remote: HttpServer
) -> None:
    mock_server.become(tool_turns=0)
    build(tooled(mock_server.url, remote.config), tmp_path / "d", 3)
    build(tooled(mock_server.url, remote.config, allow_tools=["lookup", "broken"]), tmp_path / "d", 3)
    assert mock_server.stats().calls == 6
    build(tooled(mock_server.url, remote.config, allow_tools=["lookup"]), tmp_path / "d", 3)
    assert mock_server.stats().calls == 6  # answers of the first are still there


def test_a_server_or_a_tool_that_is_not_there_stops_the_run_before_anything_is_paid(
    tmp_path: Path, mock_server: MockServer
) -> None:
    config = tooled(mock_server.url, stdio(tmp_path / "log", mode="crash"))
    with pytest.raises(ConfigError, match="it said: this server has a broken leg"):
        build(config, tmp_path / "d", 3)
    config = tooled(mock_server.url, stdio(tmp_path / "log"), allow_tools=["look_up"])
    with pytest.raises(ConfigError, match="'look_up' is offered by none of local; did you mean 'lookup'"):
        build(config, tmp_path / "d", 3)
    assert mock_server.stats().calls == 0
    assert not (tmp_path / "d").exists()


def test_the_offline_model_needs_no_server(tmp_path: Path) -> None:
    config = tooled("http://127.0.0.1:1/v1", stdio(tmp_path / "log"))
    offline = [OfflineModel(provider="endpoint")]
    assert check_endpoints(DatasetConfig.load(config), offline) == []
    sink = ParquetRowGroupSink(path=tmp_path / "d")
    result = build_dataset(config, num_records=3, sink=sink, run=RunConfig(seed=1), endpoints=offline)
    assert len(result.load_dataset()) == 3
    assert not (tmp_path / "log").exists()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"tool_configs": []},
            "columns[1].tool_alias: tool alias 'facts' is not defined in tool_configs (defined: none)",
        ),
        ({"mcp_providers": []}, "tool_configs[0].providers[0]: MCP server 'local' is not defined in mcp_providers"),
        (
            {"tool_configs": [{"tool_alias": "facts", "providers": ["local"], "max_tool_call_turns": 0}]},
            "tool_configs[0].max_tool_call_turns",
        ),
        (
            {"tool_configs": [{"tool_alias": "facts", "providers": ["local"], "allow_tools": ["a", "a"]}]},
            "tool_configs[0].allow_tools: 'a' is named twice",
        ),
        (
            {"mcp_providers": [{"name": "local", "provider_type": "sse", "endpoint": "localhost"}]},
            "mcp_providers[0].endpoint",
        ),
    ],
)
def test_mistakes_are_told_by_their_path(tmp_path: Path, changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        DatasetConfig.load(tooled("http://127.0.0.1:1/v1", stdio(tmp_path / "log")) | changes)
    assert told in str(caught.value)
