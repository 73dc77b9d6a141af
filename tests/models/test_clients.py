"""Where keys come from, and which client speaks to which provider."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import SecretStr

from prefect_datagen.engine.chat import ChatRequest
from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.models.clients import make_client, make_clients, resolve_api_key
from prefect_datagen.models.config import MASK, ModelConfig, ModelProvider
from prefect_datagen.models.offline import OfflineClient
from prefect_datagen.models.openai import OpenAIClient
from tests.mock_server import MockServer

KEY = "sk-very-secret-0123456789"


@pytest.fixture(scope="module")
def started() -> Iterator[MockServer]:
    with MockServer() as server:
        yield server


def provider(**options: Any) -> ModelProvider:
    return ModelProvider(**{"name": "p", "endpoint": "http://127.0.0.1:1/v1", **options})


def model(name: str) -> ModelConfig:
    return ModelConfig(alias=f"of {name}", model="m", provider=name)


def test_a_key_comes_from_the_variable_that_is_named_or_is_given_literally() -> None:
    assert resolve_api_key(provider(), {}) is None
    assert resolve_api_key(provider(api_key=" "), {}) is None
    named = resolve_api_key(provider(api_key="THE_KEY"), {"THE_KEY": f" {KEY}\n"})
    small = resolve_api_key(provider(api_key="the_key"), {"the_key": KEY})
    literal = resolve_api_key(provider(api_key=KEY), {})
    assert named == small == literal == SecretStr(KEY)


@pytest.mark.parametrize(
    ("api_key", "environ", "told"),
    [
        ("THE_KEY", {}, "provider 'p': api_key: the environment variable THE_KEY is not set"),
        ("THE_KEY", {"THE_KEY": " "}, "the environment variable THE_KEY is empty"),
        (MASK, {}, "masked when this config was written"),
        ("{{ prefect.blocks.secret.x }}", {}, "refers to a block"),
    ],
)
def test_keys_that_are_not_there(api_key: str, environ: dict[str, str], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        resolve_api_key(provider(api_key=api_key), environ)


def test_a_client_sends_key_headers_and_body_of_its_provider(started: MockServer) -> None:
    server = started.become(require_key=KEY, log_requests=True)
    configured = provider(
        endpoint=server.url,
        extra_headers={"X-Api-Key": "OTHER_KEY", "X-Team": "RED_TEAM"},
        extra_body={"seed": 7},
    )

    async def main() -> None:
        client = make_client(configured, api_key=SecretStr(KEY), environ={"OTHER_KEY": "another", "RED_TEAM": "no"})
        await client.chat(ChatRequest("m", [{"role": "user", "content": "a"}]))
        await client.aclose()

    asyncio.run(main())
    (seen,) = server.requests()
    assert seen.body["seed"] == 7
    assert (seen.headers["x-api-key"], seen.headers["x-team"]) == ("another", "RED_TEAM")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"provider_type": "carrier-pigeon"}, "provider_type 'carrier-pigeon' is not supported"),
        ({"endpoint": ""}, "provider 'p': endpoint '' is not a base URL"),
        (
            {"extra_headers": {"X-Api-Key": "NOT_SET"}},
            "extra_headers.X-Api-Key: the environment variable NOT_SET is not",
        ),
    ],
)
def test_providers_that_no_client_can_be_made_for(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        make_client(provider(**options))


def test_one_client_for_each_provider_that_is_used() -> None:
    clients = make_clients(
        [model("p"), model("p"), model("offline")],
        [provider(api_key="THE_KEY"), provider(name="unused", api_key="NOT_SET")],
        environ={"THE_KEY": KEY},
    )
    assert {name: type(client) for name, client in clients.items()} == {"p": OpenAIClient, "offline": OfflineClient}


def test_a_key_from_elsewhere_wins() -> None:
    assert make_clients([model("p")], [provider(api_key="NOT_SET")], environ={}, keys={"p": SecretStr(KEY)})


def test_the_name_offline_may_be_given_to_another_provider() -> None:
    clients = make_clients([model("offline")], [provider(name="offline")], environ={})
    assert isinstance(clients["offline"], OpenAIClient)


def test_all_problems_are_told_at_once() -> None:
    providers = [provider(name="a", api_key="NOT_SET"), provider(name="b", endpoint="?")]
    with pytest.raises(ConfigError) as caught:
        make_clients([model("a"), model("b"), model("c")], providers, environ={})
    assert [problem.split(":")[0] for problem in caught.value.problems] == [
        "provider 'a'",
        "provider 'b'",
        "provider 'c' is not configured (known",
    ]
