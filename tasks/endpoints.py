"""The endpoints of a run: providers from config and blocks, their clients, and a look at them before the first row."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence

from prefect_datagen.blocks.model_endpoint import ModelEndpoint
from prefect_datagen.blocks.offline_model import OfflineModel
from prefect_datagen.columns.llm import LLMColumnConfig
from prefect_datagen.config.dataset import DatasetConfig
from prefect_datagen.engine import loop_thread
from prefect_datagen.engine.chat import ChatClient
from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.models.clients import OFFLINE_PROVIDER, make_clients
from prefect_datagen.models.config import ModelProvider, names_variable
from prefect_datagen.models.mcp_servers import ToolServers
from prefect_datagen.models.startup_check import Checked, Findings, look_at

Endpoint = ModelEndpoint | OfflineModel


def providers_of(config: DatasetConfig, endpoints: Sequence[Endpoint]) -> list[ModelProvider]:
    """The providers of a run; blocks stand before the config's own."""
    blocks = {block.provider: block.as_provider() for block in endpoints}
    own = [provider for provider in config.model_providers if provider.name not in blocks]
    return [*own, *blocks.values()]


def clients_of(config: DatasetConfig, endpoints: Sequence[Endpoint]) -> dict[str, ChatClient]:
    """A client for each provider that the models name.

    Raises:
        ConfigError: a key is missing, or a provider is not configured.
    """
    keys = {
        block.provider: block.api_key
        for block in endpoints
        if isinstance(block, ModelEndpoint) and block.api_key is not None
    }
    return make_clients(config.model_configs, providers_of(config, endpoints), environ=os.environ, keys=keys)


def check_endpoints(config: DatasetConfig, endpoints: Sequence[Endpoint]) -> list[str]:
    """Look at the endpoints of every alias that a column uses, unless it says `skip_health_check`, and at its MCP servers.

    Returns:
        What is doubtful, a line each.

    Raises:
        ConfigError: a key is missing or refused, a certificate is not valid, or an MCP server or a tool of one is not
            there; `problems` lists all.
    """
    clients = clients_of(config, endpoints)
    in_use = tools_in_use(config, endpoints)
    used = {reference.column for column in config.columns for reference in column.model_aliases()}
    checked = [
        Checked(name, endpoint.model, clients[endpoint.provider], _key_of(endpoint.provider, config, endpoints))
        for model in config.model_configs
        if model.alias in used and not model.skip_health_check
        for endpoint in model.all_endpoints()
        for name in [f"{model.alias}@{endpoint.name}" if model.endpoints else model.alias]
    ]
    findings, tools = loop_thread.run(_look_and_close(checked, clients, config, in_use))
    problems = [*findings.refused, *tools]
    if problems:
        way_out = " (set the right key, or skip_health_check: true on the model to start all the same)"
        raise ConfigError("; ".join(problems) + (way_out if findings.refused else ""), problems=problems)
    return findings.doubts


def tools_in_use(config: DatasetConfig, endpoints: Sequence[Endpoint]) -> frozenset[str]:
    """Aliases of the tools that columns name whose model can use them: the offline model never asks for any."""
    offline = {each.name for each in providers_of(config, endpoints) if each.provider_type == "offline"}
    named = {each.name for each in providers_of(config, endpoints)}
    offline |= {OFFLINE_PROVIDER.name} - named
    asking = {
        model.alias
        for model in config.model_configs
        if any(endpoint.provider not in offline for endpoint in model.all_endpoints())
    }
    columns = [column for column in config.columns if isinstance(column, LLMColumnConfig)]
    return frozenset(each.tool_alias for each in columns if each.tool_alias and each.model_alias in asking)


async def open_tools(config: DatasetConfig, in_use: frozenset[str]) -> ToolServers:
    """Sessions with the MCP servers of the tools in use.

    Raises:
        ConfigError: a server or a tool is not there; `problems` lists all.
    """
    servers = ToolServers()
    await servers.open(
        config.tool_configs, config.mcp_providers, in_use=in_use, folder=config.folder, environ=os.environ
    )
    return servers


async def _look_and_close(
    checked: Sequence[Checked], clients: dict[str, ChatClient], config: DatasetConfig, in_use: frozenset[str]
) -> tuple[Findings, list[str]]:
    try:
        return await asyncio.gather(look_at(checked), _wrong_with_tools(config, in_use))
    finally:
        for client in clients.values():
            await client.aclose()


async def _wrong_with_tools(config: DatasetConfig, in_use: frozenset[str]) -> list[str]:
    try:
        servers = await open_tools(config, in_use)
    except ConfigError as error:
        return error.problems
    await servers.aclose()
    return []


def _key_of(name: str, config: DatasetConfig, endpoints: Sequence[Endpoint]) -> str:
    """Where a provider's key is from, in words that show nothing of it."""
    for block in endpoints:
        if block.provider == name:
            has_key = isinstance(block, ModelEndpoint) and block.api_key is not None
            return "key of the block" if has_key else "a call without a key (the block has none)"
    given = next((provider.api_key for provider in config.model_providers if provider.name == name), None)
    if not given:
        return f"a call without a key (provider {name!r} has no api_key)"
    return f"key in env {given}" if names_variable(given) or given in os.environ else "key in the config"
