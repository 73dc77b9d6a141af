"""Sessions with real MCP server processes, over each of the three transports."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from prefect_datagen.config.dataset import AnyMCPProvider
from prefect_datagen.engine.errors import ConfigError, ErrorKind, ModelError
from prefect_datagen.engine.tools import Toolbox
from prefect_datagen.models.mcp_servers import ToolServers
from prefect_datagen.models.tool_config import LocalStdioMCPProvider, ToolConfig
from tests.tools.conftest import HttpServer, stdio

_provider: TypeAdapter[Any] = TypeAdapter(AnyMCPProvider)


def with_tools(
    provider: dict[str, Any], use: Callable[[Toolbox], Awaitable[Any]], *more: dict[str, Any], **config: Any
) -> Any:
    """What `use` gives for the tools of these servers; their sessions are open meanwhile."""

    async def go() -> Any:
        providers = [_provider.validate_python(each) for each in (provider, *more)]
        config.setdefault("providers", [each.name for each in providers])
        tools = ToolConfig(tool_alias="t", **config)
        servers = ToolServers()
        await servers.open([tools], providers, in_use=frozenset({"t"}), folder=Path.cwd(), environ=os.environ)
        try:
            return await use(servers.toolboxes["t"])
        finally:
            await servers.aclose()

    return asyncio.run(go())


async def every_kind_of_call(tools: Toolbox) -> list[str]:
    return await asyncio.gather(
        tools.call("lookup", '{"city": "Rome"}'),
        tools.call("lookup", '{"town": "Rome"}'),
        tools.call("broken", '{"reason": "rain"}'),
        tools.call("lokup", "{}"),
        tools.call("lookup", "[1]"),
        tools.call("lookup", "{"),
        tools.call("slow", '{"city": "Rome"}'),
    )


def is_right(told: list[str]) -> bool:
    good, wrong_arguments, tool_error, unknown, a_list, no_json, timeout = told
    assert good == "FACT[Rome]"
    assert wrong_arguments.startswith("Error: ")
    assert "city" in wrong_arguments
    assert "no luck: rain" in tool_error
    assert unknown == "Error: there is no tool 'lokup'; the tools are lookup, broken, slow, dies, secret"
    assert a_list == "Error: the arguments are list, not a JSON object"
    assert no_json.startswith("Error: the arguments are not JSON")
    assert timeout == "Error: slow gave no result within 0.5 s"
    return True


def test_over_stdio_a_model_is_told_results_and_errors_and_the_server_ends_with_the_session(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert is_right(with_tools(stdio(log), every_kind_of_call, timeout_sec=0.5))
    (started,) = [line for line in log.read_text().splitlines() if line.startswith("started")]  # one session for all
    assert not Path(f"/proc/{started.split()[1]}").exists()


def test_over_http_a_model_is_told_results_and_errors(remote: HttpServer) -> None:
    assert is_right(with_tools(remote.config, every_kind_of_call, timeout_sec=0.5))
    assert remote.process.poll() is None  # it is not ours to end


def test_a_local_server_that_dies_in_a_call_is_started_again_and_the_call_made_once_more(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert with_tools(stdio(log), lambda tools: tools.call("dies", '{"city": "Rome"}')) == "ALIVE[Rome]"
    assert log.read_text().count("started") == 2


def test_a_remote_server_that_was_started_anew_is_found_again(remote: HttpServer) -> None:
    async def use(tools: Toolbox) -> list[str]:
        first = await tools.call("lookup", '{"city": "Rome"}')
        await asyncio.to_thread(remote.restart)
        return [first, *await asyncio.gather(*(tools.call("lookup", f'{{"city": "{city}"}}') for city in "ABC"))]

    assert with_tools(remote.config, use) == ["FACT[Rome]", "FACT[A]", "FACT[B]", "FACT[C]"]


def test_a_server_that_stays_away_is_a_retryable_error_and_no_result(tmp_path: Path) -> None:
    server = HttpServer("http", tmp_path / "log")

    async def use(tools: Toolbox) -> ModelError:
        await asyncio.to_thread(server.stop)
        with pytest.raises(ModelError) as caught:
            await tools.call("lookup", '{"city": "Rome"}')
        return caught.value

    error = with_tools(server.config, use)
    assert (error.kind, error.reason, error.endpoint) == (ErrorKind.RETRYABLE, "tool server", "remote")


def test_definitions_are_those_of_the_allowed_tools_as_endpoints_take_them(tmp_path: Path) -> None:
    async def use(tools: Toolbox) -> list[dict[str, Any]]:
        return tools.definitions

    (definition,) = with_tools(stdio(tmp_path / "log"), use, allow_tools=["lookup"])
    assert definition["type"] == "function"
    assert definition["function"]["name"] == "lookup"
    assert definition["function"]["description"] == "What is known of a city."
    assert definition["function"]["parameters"]["required"] == ["city"]


def test_a_secret_variable_is_taken_from_the_environment_and_others_are_not_passed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOUSE_TOKEN", "the-secret")
    named = stdio(tmp_path / "log", MCP_TOKEN="HOUSE_TOKEN")
    assert with_tools(named, lambda tools: tools.call("secret", "{}")) == "the-secret"
    monkeypatch.setenv("MCP_TOKEN", "not for it")
    assert with_tools(stdio(tmp_path / "log"), lambda tools: tools.call("secret", "{}")) == "none"
    written = LocalStdioMCPProvider(**stdio(tmp_path / "log", MCP_TOKEN="literal-secret")).model_dump_json()
    assert "literal-secret" not in written


@pytest.mark.parametrize(
    ("server", "config", "told"),
    [
        ({"args": ["crash"]}, {}, "it said: this server has a broken leg"),
        ({"command": "no-such-command"}, {}, "(stdio, no-such-command): [Errno 2] No such file or directory"),
        ({}, {"allow_tools": ["lokup"]}, "'lokup' is offered by none of local; did you mean 'lookup'?"),
        ({"env": {"API_KEY": "NOT_SET"}}, {}, "env.API_KEY: the environment variable NOT_SET is not set"),
    ],
)
def test_what_is_wrong_is_told_at_the_start(
    tmp_path: Path, server: dict[str, Any], config: dict[str, Any], told: str
) -> None:
    provider = stdio(tmp_path / "log")
    if "args" in server:
        server = {"args": [provider["args"][0], *server["args"]]}
    with pytest.raises(ConfigError) as caught:
        with_tools(provider | server, every_kind_of_call, **config)
    assert told in caught.value.message


def test_two_servers_with_a_tool_of_the_same_name_are_refused(remote: HttpServer, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'local' and 'remote' both offer a tool 'lookup'"):
        with_tools(stdio(tmp_path / "log"), every_kind_of_call, remote.config)


def test_without_the_package_the_error_names_the_extra() -> None:
    code = (
        "import sys; sys.modules['mcp'] = None\n"
        "import asyncio, os, pathlib\n"
        "from prefect_datagen.models.mcp_servers import ToolServers\n"
        "from prefect_datagen.models.tool_config import ToolConfig\n"
        "open = ToolServers().open([ToolConfig(tool_alias='t', providers=['p'])], [], in_use=frozenset({'t'}),\n"
        "                          folder=pathlib.Path('.'), environ=os.environ)\n"
        "try: asyncio.run(open)\n"
        "except Exception as error: print(error)\n"
        "assert 'httpx2' not in sys.modules\n"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "pip install 'prefect-datagen[tools]'" in told
