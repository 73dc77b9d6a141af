"""Sessions with MCP servers, one per server and process, shared by all rows: the tools of a run.

Each session lives in a task of its own: the `mcp` package opens and closes it with task groups, which must be left by the
task that entered them. Other tasks call through it side by side. A session that broke (the server ended, or was started
anew and knows it no more) is opened again by the first call that needs it, which is then made once more; where that
fails, the call is a retryable `ModelError`, so that the cell is tried again later and the model never hears of it.

The `mcp` package is an extra (`pip install 'prefect-datagen[tools]'`), imported where the first session opens.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from difflib import get_close_matches
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import orjson

from prefect_datagen.engine.errors import ConfigError, ErrorKind, ModelError
from prefect_datagen.engine.tools import Toolbox
from prefect_datagen.models.config import names_secret
from prefect_datagen.models.secrets import resolve_secret
from prefect_datagen.models.tool_config import LocalStdioMCPProvider, MCPProvider, ToolConfig

if TYPE_CHECKING:
    from mcp import Client
    from mcp_types import CallToolResult, Tool

_START_SECONDS = 60.0
_CLOSE_SECONDS = 10.0
_SAID_CHARACTERS = 500
# JSON-RPC 2.0, section 5.1: what a server says of a call, in a session that is well. -32600 is not among them: servers say
# it of a session that they do not know.
_OF_THE_CALL = frozenset({-32601, -32602, -32603})


class ToolServer:
    """A session with one MCP server. `tools` are known once it is open."""

    def __init__(
        self, provider: MCPProvider | LocalStdioMCPProvider, *, folder: Path, environ: Mapping[str, str]
    ) -> None:
        self.name = provider.name
        self.tools: list[Tool] = []
        self._provider = provider
        self._folder = folder
        self._environ = environ
        self._slots = asyncio.Semaphore(provider.max_parallel_calls)
        self._opening = asyncio.Lock()
        self._client: Client | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()
        self._said: IO[str] | None = None

    async def open(self) -> None:
        """Open the session and list the tools.

        Raises:
            ConfigError: the server cannot be reached or started, or does not speak MCP; what it said is in the message.
        """
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._closing.clear()
        self._keeper = asyncio.create_task(self._keep(ready), name=f"mcp-{self.name}")
        try:
            async with asyncio.timeout(_START_SECONDS):
                await asyncio.shield(ready)
        except TimeoutError:
            await self.aclose()
            raise ConfigError(
                f"{self._described()}: no session within {_START_SECONDS:g} s{self._last_words()}"
            ) from None
        except BaseException:
            await self.aclose()
            raise

    async def call(self, tool: str, arguments: dict[str, Any], *, timeout: float | None) -> CallToolResult:
        """Call a tool; `timeout` in seconds, counted from when the call is sent.

        Raises:
            TimeoutError: no result within `timeout`.
            MCPError: what the server says is wrong with the call.
            ModelError: retryable; there is no session, and none could be opened.
        """
        async with self._slots:
            client = self._client
            if client is not None:
                try:
                    return await _call(client, tool, arguments, timeout)
                except Exception as error:
                    if not _broke(error):
                        raise
            client = await self._reopened(client)
            try:
                return await _call(client, tool, arguments, timeout)
            except Exception as error:
                if not _broke(error):
                    raise
                raise self._unreachable(_told(error)) from error

    async def aclose(self) -> None:
        """End the session, and a server that was started for it. May be called twice."""
        self._client = None
        self._closing.set()
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            done, _ = await asyncio.wait([keeper], timeout=_CLOSE_SECONDS)
            if not done:
                keeper.cancel()
                await asyncio.wait([keeper], timeout=_CLOSE_SECONDS)
        if self._said is not None:
            self._said.close()
            self._said = None

    async def _reopened(self, broken: Client | None) -> Client:
        """A session in the place of the broken one; the first that comes opens it for all."""
        async with self._opening:
            if self._client is None or self._client is broken:
                await self.aclose()
                try:
                    await self.open()
                except ConfigError as error:
                    raise self._unreachable(error.message) from error
            assert self._client is not None
            return self._client

    async def _keep(self, ready: asyncio.Future[None]) -> None:
        """Hold the session from its opening to its end."""
        try:
            async with AsyncExitStack() as stack:
                client = await stack.enter_async_context(await self._make_client(stack))
                self.tools = await _listed(client)
                self._client = client
                ready.set_result(None)
                await self._closing.wait()
        except asyncio.CancelledError:
            ready.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - boundary: whatever the transport raises is told to who waits
            # Once the session is there, the calls in it see its end; nobody waits here any more.
            if not ready.done():
                failed = error if isinstance(error, ConfigError) else ConfigError(self._failure(error))
                ready.set_exception(failed)

    async def _make_client(self, stack: AsyncExitStack) -> Client:
        from mcp import Client, StdioServerParameters
        from mcp.client.sse import sse_client
        from mcp.client.stdio import stdio_client
        from mcp.client.streamable_http import streamable_http_client

        provider = self._provider
        if isinstance(provider, LocalStdioMCPProvider):
            # Read after the session failed; closed by `aclose`.
            self._said = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
            server = StdioServerParameters(
                command=provider.command, args=provider.args, env=self._environment(provider), cwd=self._folder
            )
            return Client(stdio_client(server, errlog=self._said))
        headers = self._headers(provider)
        if provider.provider_type == "sse":
            return Client(sse_client(provider.endpoint, headers=headers))
        import httpx2

        http = httpx2.AsyncClient(headers=headers, timeout=httpx2.Timeout(_START_SECONDS, read=None))
        await stack.enter_async_context(http)
        return Client(streamable_http_client(provider.endpoint, http_client=http))

    def _headers(self, provider: MCPProvider) -> dict[str, str]:
        if not provider.api_key:
            return {}
        key = resolve_secret(provider.api_key, f"MCP provider {self.name!r}: api_key", self._environ)
        return {"Authorization": f"Bearer {key.get_secret_value()}"}

    def _environment(self, provider: LocalStdioMCPProvider) -> dict[str, str]:
        env = dict(provider.env)
        for name, text in provider.env.items():
            if names_secret(name):
                where = f"MCP provider {self.name!r}: env.{name}"
                env[name] = resolve_secret(text, where, self._environ).get_secret_value()
        return env

    def _described(self) -> str:
        provider = self._provider
        at = provider.command if isinstance(provider, LocalStdioMCPProvider) else provider.endpoint
        return f"MCP provider {self.name!r} ({provider.provider_type}, {at})"

    def _failure(self, error: Exception) -> str:
        return f"{self._described()}: {_told(error)}{self._last_words()}"

    def _last_words(self) -> str:
        """What a server that was started here wrote to its standard error last."""
        if self._said is None:
            return ""
        self._said.seek(0)
        said = self._said.read().strip()[-_SAID_CHARACTERS:]
        return f"; it said: {said}" if said else ""

    def _unreachable(self, what: str) -> ModelError:
        return ModelError(
            f"tools of {self.name!r} cannot be reached: {what}",
            kind=ErrorKind.RETRYABLE,
            reason="tool server",
            endpoint=self.name,
        )


class ServerTools:
    """The `Toolbox` of one tool config: what of its servers' tools it allows.

    Raises:
        ConfigError: a tool is allowed that no server offers, or two servers offer one of the same name.
    """

    def __init__(self, config: ToolConfig, servers: Sequence[ToolServer]) -> None:
        self.max_turns = config.max_tool_call_turns
        self.definitions: list[dict[str, Any]] = []
        self._timeout = config.timeout_sec
        self._servers: dict[str, ToolServer] = {}
        offered = [(tool, server) for server in servers for tool in server.tools]
        names = sorted({tool.name for tool, _ in offered})
        for name in config.allow_tools or ():
            if name not in names:
                close = get_close_matches(name, names, n=1)
                hint = f"did you mean {close[0]!r}?" if close else f"they offer {', '.join(names) or 'none'}"
                raise ConfigError(
                    f"tools {config.tool_alias!r}: allow_tools: {name!r} is offered by none of "
                    f"{', '.join(config.providers)}; {hint}"
                )
        for tool, server in offered:
            if config.allow_tools is not None and tool.name not in config.allow_tools:
                continue
            if tool.name in self._servers:
                raise ConfigError(
                    f"tools {config.tool_alias!r}: {self._servers[tool.name].name!r} and {server.name!r} both offer a tool "
                    f"{tool.name!r}; a model could not tell them apart: leave one of the servers out, or allow others only"
                )
            self._servers[tool.name] = server
            self.definitions.append(_definition(tool))

    async def call(self, name: str, arguments: str) -> str:
        """See `Toolbox`."""
        from mcp import MCPError

        server = self._servers.get(name)
        if server is None:
            return f"Error: there is no tool {name!r}; the tools are {', '.join(self._servers)}"
        try:
            given = orjson.loads(arguments)
        except orjson.JSONDecodeError as error:
            return f"Error: the arguments are not JSON: {error}"
        if not isinstance(given, dict):
            return f"Error: the arguments are {type(given).__name__}, not a JSON object"
        try:
            return _text(await server.call(name, given, timeout=self._timeout))
        except TimeoutError:
            return f"Error: {name} gave no result within {self._timeout or 0:g} s"
        except MCPError as error:
            return f"Error: {error.message}"


class _NoTools:
    """The toolbox of models that need none: the offline model never asks for tools, so no server is started for it."""

    definitions: list[dict[str, Any]] = []  # noqa: RUF012 - the protocol's type
    max_turns = 0

    async def call(self, name: str, arguments: str) -> str:
        raise NotImplementedError


class ToolServers:
    """The servers of a run in this process, and its toolboxes by tool alias. Used on one event loop."""

    def __init__(self) -> None:
        self.toolboxes: dict[str, Toolbox] = {}
        self._servers: dict[str, ToolServer] = {}

    async def open(
        self,
        configs: Sequence[ToolConfig],
        providers: Sequence[MCPProvider | LocalStdioMCPProvider],
        *,
        in_use: frozenset[str],
        folder: Path,
        environ: Mapping[str, str],
    ) -> None:
        """Open a session with every server whose tools are in use, all side by side; nothing is open after an error.

        Args:
            configs: all tool configs.
            providers: all servers.
            in_use: aliases of the tools that some model will be offered; the others' toolboxes stay empty.
            folder: working directory of servers that are started here.
            environ: where variables are that keys name.

        Raises:
            ConfigError: a server or a tool is not there, or the `mcp` package is not; `problems` lists all.
        """
        self.toolboxes = {config.tool_alias: _NoTools() for config in configs}
        used = [config for config in configs if config.tool_alias in in_use]
        if not used:
            return
        _require_package()
        wanted = {name for config in used for name in config.providers}
        self._servers = {
            provider.name: ToolServer(provider, folder=folder, environ=environ)
            for provider in providers
            if provider.name in wanted
        }
        opened = await asyncio.gather(*(server.open() for server in self._servers.values()), return_exceptions=True)
        problems = [each.message for each in opened if isinstance(each, ConfigError)]
        for each in opened:
            if isinstance(each, BaseException) and not isinstance(each, ConfigError):
                await self.aclose()
                raise each
        for config in used:
            servers = [self._servers[name] for name in config.providers]
            try:
                if not problems:
                    self.toolboxes[config.tool_alias] = ServerTools(config, servers)
            except ConfigError as error:
                problems.append(error.message)
        if problems:
            await self.aclose()
            raise ConfigError("; ".join(problems), problems=problems)

    async def aclose(self) -> None:
        """End all sessions. May be called twice."""
        servers, self._servers = self._servers, {}
        await asyncio.gather(*(server.aclose() for server in servers.values()))


def _require_package() -> None:
    try:
        import mcp  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            "tool_configs need the `mcp` package, which is not installed: pip install 'prefect-datagen[tools]'"
        ) from error


async def _listed(client: Client) -> list[Tool]:
    """All tools of a server, page by page."""
    page = await client.list_tools()
    tools = list(page.tools)
    while page.next_cursor:
        page = await client.list_tools(cursor=page.next_cursor)
        tools += page.tools
    return tools


async def _call(client: Client, tool: str, arguments: dict[str, Any], timeout: float | None) -> CallToolResult:
    async with asyncio.timeout(timeout):
        return await client.call_tool(tool, arguments)


def _broke(error: Exception) -> bool:
    """Whether an error says that the session is of no use any more, rather than anything of the call."""
    from mcp import MCPError

    if isinstance(error, MCPError):
        return error.code not in _OF_THE_CALL
    return not isinstance(error, TimeoutError)


def _told(error: BaseException) -> str:
    """The first cause in a group of errors, in words."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error) or type(error).__name__


def _definition(tool: Tool) -> dict[str, Any]:
    function = {"name": tool.name, "description": tool.description or "", "parameters": tool.input_schema}
    return {"type": "function", "function": function}


def _text(result: CallToolResult) -> str:
    """A result as the text that a model is shown: other media than text are named, not shown."""
    parts = []
    for block in result.content:
        if block.type == "text":
            parts.append(block.text)
        elif block.type == "resource" and hasattr(block.resource, "text"):
            parts.append(block.resource.text)
        else:
            parts.append(f"[{block.type} {getattr(block, 'mime_type', None) or ''}]".replace(" ]", "]"))
    if not parts and result.structured_content is not None:
        parts = [orjson.dumps(result.structured_content).decode()]
    text = "\n".join(parts) or "(no output)"
    return f"Error: {text}" if result.is_error else text
