"""The endpoints of a run: providers from config and blocks, their clients, and a look at them before the first row."""

from __future__ import annotations

import os
from collections.abc import Sequence

from prefect_datagen.blocks.model_endpoint import ModelEndpoint
from prefect_datagen.blocks.offline_model import OfflineModel
from prefect_datagen.config.dataset import DatasetConfig
from prefect_datagen.engine import loop_thread
from prefect_datagen.engine.chat import ChatClient
from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.models.clients import make_clients
from prefect_datagen.models.config import ModelProvider, names_variable
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
    """Look at the endpoint of every alias that a column uses, unless it says `skip_health_check`.

    Returns:
        What is doubtful, a line each.

    Raises:
        ConfigError: a key is missing or refused, or a certificate is not valid; `problems` lists all.
    """
    clients = clients_of(config, endpoints)
    used = {reference.column for column in config.columns for reference in column.model_aliases()}
    checked = [
        Checked(name, endpoint.model, clients[endpoint.provider], _key_of(endpoint.provider, config, endpoints))
        for model in config.model_configs
        if model.alias in used and not model.skip_health_check
        for endpoint in model.all_endpoints()
        for name in [f"{model.alias}@{endpoint.name}" if model.endpoints else model.alias]
    ]
    findings = loop_thread.run(_look_and_close(checked, clients))
    if findings.refused:
        way_out = "set the right key, or skip_health_check: true on the model to start all the same"
        raise ConfigError(f"{'; '.join(findings.refused)} ({way_out})", problems=findings.refused)
    return findings.doubts


async def _look_and_close(checked: Sequence[Checked], clients: dict[str, ChatClient]) -> Findings:
    try:
        return await look_at(checked)
    finally:
        for client in clients.values():
            await client.aclose()


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
