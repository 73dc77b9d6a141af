"""From provider configs to clients: where keys come from, and which client speaks to what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pydantic import SecretStr

from prefect_datagen.engine.chat import ChatClient
from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.models.config import PROVIDER_TYPES, ModelConfig, ModelProvider, names_secret
from prefect_datagen.models.offline import OfflineClient
from prefect_datagen.models.secrets import resolve_secret

OFFLINE_PROVIDER = ModelProvider(name="offline", provider_type="offline")
"""What the provider name `offline` means where no provider of that name is configured."""


def resolve_api_key(provider: ModelProvider, environ: Mapping[str, str]) -> SecretStr | None:
    """The key of a provider: `api_key` names a variable of `environ`, or is the key itself.

    Returns:
        The key without blanks around it; None where the provider needs none.

    Raises:
        ConfigError: the variable is not set, or what stands there is a mask or a reference that nobody resolved.
    """
    if provider.api_key is None or not provider.api_key.strip():
        return None
    return resolve_secret(provider.api_key, f"provider {provider.name!r}: api_key", environ)


def make_client(
    provider: ModelProvider, *, api_key: SecretStr | None = None, environ: Mapping[str, str] | None = None
) -> ChatClient:
    """The client that speaks to a provider. No connection is opened before the first call.

    Args:
        provider: the endpoint's config; its `api_key` is not looked at here.
        api_key: what `resolve_api_key` gave, or a block.
        environ: where variables are that headers name.

    Raises:
        ConfigError: an unknown provider type, an endpoint that is no URL, or a header that cannot be sent.
    """
    if provider.provider_type == "offline":
        return OfflineClient()
    where = f"provider {provider.name!r}"
    headers = {}
    for name, value in (provider.extra_headers or {}).items():
        headers[name] = value
        if names_secret(name):
            headers[name] = resolve_secret(value, f"{where}: extra_headers.{name}", environ or {}).get_secret_value()
    try:
        return _make(provider, api_key, headers)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error


def _make(provider: ModelProvider, api_key: SecretStr | None, headers: dict[str, str]) -> ChatClient:
    # Imported here: a build with the offline model needs none of what they import.
    if provider.provider_type not in PROVIDER_TYPES:
        from prefect_datagen.models.litellm_client import LiteLLMClient

        return LiteLLMClient(
            provider.provider_type,
            endpoint=provider.endpoint,
            api_key=api_key,
            extra_headers=headers,
            extra_body=provider.extra_body,
        )
    from prefect_datagen.models.anthropic import AnthropicClient
    from prefect_datagen.models.openai import OpenAIClient

    make = AnthropicClient if provider.provider_type == "anthropic" else OpenAIClient
    return make(
        provider.endpoint,
        api_key=api_key,
        extra_headers=headers,
        extra_body=provider.extra_body,
        connect_timeout=provider.connect_timeout,
        read_timeout=provider.read_timeout,
    )


def make_clients(
    models: Iterable[ModelConfig],
    providers: Iterable[ModelProvider],
    *,
    environ: Mapping[str, str],
    keys: Mapping[str, SecretStr] | None = None,
) -> dict[str, ChatClient]:
    """One client for each provider that the models name, by the provider's name.

    Args:
        models: model configs; providers that none of them names need no key.
        providers: provider configs; `offline` is known without one.
        environ: where variables are that `api_key` and headers name.
        keys: keys by provider that come from elsewhere, such as a block; they win.

    Raises:
        ConfigError: as `make_client` and `resolve_api_key`, or a provider is not configured; `problems` lists all.
    """
    known = {OFFLINE_PROVIDER.name: OFFLINE_PROVIDER} | {provider.name: provider for provider in providers}
    clients: dict[str, ChatClient] = {}
    problems: list[str] = []
    for name in dict.fromkeys(endpoint.provider for model in models for endpoint in model.all_endpoints()):
        try:
            if name not in known:
                raise ConfigError(f"provider {name!r} is not configured (known: {', '.join(sorted(known))})")
            key = (keys or {}).get(name) or resolve_api_key(known[name], environ)
            clients[name] = make_client(known[name], api_key=key, environ=environ)
        except ConfigError as error:
            problems.extend(error.problems)
    if problems:
        raise ConfigError("; ".join(problems), problems=problems)
    return clients
