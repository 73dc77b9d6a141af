"""MCP servers and the tools of them that columns may use, in the words of NVIDIA NeMo Data Designer's configs.

A *provider* is an MCP server: one that is started here and spoken to over its standard input and output (`stdio`), or one
that runs elsewhere (`sse`, `streamable_http`). A *tool config* gives an alias to tools of one or more providers; a column
names the alias.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_serializer, field_validator

from prefect_datagen.models.config import Strict, masked, names_secret


class _Provider(Strict):
    name: str = Field(min_length=1, description="Name that tool configs call this server by.")
    max_parallel_calls: int = Field(default=16, ge=1, description="Most calls in flight in one process.")


class MCPProvider(_Provider):
    """An MCP server that runs elsewhere."""

    provider_type: Literal["sse", "streamable_http"] = "sse"
    endpoint: str = Field(pattern="^https?://", description="URL, such as http://127.0.0.1:8000/sse or .../mcp.")
    api_key: str | None = Field(
        default=None, repr=False, description="Name of the environment variable that holds the key; a bearer token."
    )

    @field_serializer("api_key")
    def _mask_key(self, value: str | None) -> str | None:
        return None if value is None else masked(value)


class LocalStdioMCPProvider(_Provider):
    """An MCP server that is started with the run, once per process, and ends with it."""

    provider_type: Literal["stdio"] = "stdio"
    command: str = Field(min_length=1, description="Executable; the working directory is the config's folder.")
    args: list[str] = Field(default_factory=list, description="Its arguments.")
    env: dict[str, str] = Field(
        default_factory=dict,
        repr=False,
        description="Variables added to a bare environment; one that holds a secret may name a variable of this process.",
    )

    @field_serializer("env")
    def _mask_env(self, value: dict[str, str]) -> dict[str, str]:
        return {name: masked(text) if names_secret(name) else text for name, text in value.items()}


AnyMCPProvider = MCPProvider | LocalStdioMCPProvider
"""A server of either kind. Which one is meant is told where configs are read: `config/dataset.py`."""


class ToolConfig(Strict):
    """Tools under an alias that columns name."""

    tool_alias: str = Field(min_length=1, description="Name that columns call these tools by.")
    providers: list[str] = Field(min_length=1, description="Names of `mcp_providers`.")
    allow_tools: list[str] | None = Field(default=None, description="Tools that may be used; all where left out.")
    max_tool_call_turns: int = Field(
        default=5, ge=1, description="Most answers of one conversation that ask for tools."
    )
    timeout_sec: float | None = Field(default=None, gt=0, description="Seconds that one tool call may take.")

    @field_validator("allow_tools", "providers")
    @classmethod
    def _are_named_once(cls, value: list[str] | None) -> list[str] | None:
        twice = next((name for name in value or () if (value or []).count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"{twice!r} is named twice")
        return value
