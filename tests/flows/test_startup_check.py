"""Endpoints are looked at before the first row: what no waiting mends stops the run before anything is paid for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from prefect_datagen.blocks import ModelEndpoint, ParquetRowGroupSink
from prefect_datagen.config.dataset import DatasetConfig
from prefect_datagen.config.run import RunConfig
from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.flows.build import build_dataset
from prefect_datagen.tasks.endpoints import check_endpoints
from tests.flows.configs import feedback, samplers
from tests.mock_server import MockServer

KEY = "sk-very-secret-0123456789"


def guarded(server: MockServer) -> MockServer:
    return server.become(require_key="the-right-one", models_need_key=True)


def keyed(url: str, api_key: str | None, **model: Any) -> dict[str, Any]:
    config = feedback(url)
    config["model_providers"][0]["api_key"] = api_key
    config["model_configs"][0].update(model)
    return config


def refusal(config: dict[str, Any], *endpoints: ModelEndpoint) -> str:
    with pytest.raises(ConfigError) as caught:
        check_endpoints(DatasetConfig.load(config), endpoints)
    assert KEY not in str(caught.value)
    return caught.value.problems[0]


@pytest.mark.usefixtures("prefect_api")
def test_a_refused_key_stops_the_run_before_a_call_and_before_anything_is_written(
    tmp_path: Path, mock_server: MockServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    guarded(mock_server)
    monkeypatch.setenv("HOUSE_API_KEY", KEY)
    config = keyed(mock_server.url, "HOUSE_API_KEY")
    sink = ParquetRowGroupSink(path=tmp_path / "d")
    with pytest.raises(ConfigError) as caught:
        build_dataset(config, num_records=50, sink=sink, run=RunConfig(seed=1))
    wanted = f"model 'writer': 401 from {mock_server.url}: key in env HOUSE_API_KEY refused"
    assert caught.value.problems == [wanted]
    assert mock_server.stats().calls == 0
    assert not (tmp_path / "d").exists()
    monkeypatch.setenv("HOUSE_API_KEY", "the-right-one")
    result = build_dataset(config, num_records=5, sink=sink, run=RunConfig(seed=1))
    assert len(result.load_dataset()) == 5
    assert mock_server.stats().calls == 10


def test_where_the_key_is_from_is_said_and_never_the_key(mock_server: MockServer) -> None:
    url = guarded(mock_server).url
    assert refusal(keyed(url, KEY)).endswith("key in the config refused")
    assert refusal(keyed(url, None)).endswith("a call without a key (provider 'endpoint' has no api_key) refused")
    block = ModelEndpoint(provider="endpoint", base_url=url, api_key=SecretStr(KEY))
    assert refusal(feedback(url), block).endswith("key of the block refused")
    bare = ModelEndpoint(provider="endpoint", base_url=url)
    assert refusal(feedback(url), bare).endswith("a call without a key (the block has none) refused")


def test_every_alias_is_told_together(mock_server: MockServer) -> None:
    config = keyed(guarded(mock_server).url, KEY)
    config["columns"][4]["model_alias"] = "answerer"
    config["model_configs"].append({**config["model_configs"][0], "alias": "answerer"})
    with pytest.raises(ConfigError) as caught:
        check_endpoints(DatasetConfig.load(config), ())
    assert [problem.split(":")[0] for problem in caught.value.problems] == ["model 'writer'", "model 'answerer'"]


def test_skip_health_check_and_aliases_that_no_column_uses_are_not_looked_at(mock_server: MockServer) -> None:
    url = guarded(mock_server).url
    assert check_endpoints(DatasetConfig.load(keyed(url, KEY, skip_health_check=True)), ()) == []
    unused = samplers(**{name: keyed(url, KEY)[name] for name in ("model_configs", "model_providers")})
    assert check_endpoints(DatasetConfig.load(unused), ()) == []


def test_the_offline_model_is_never_in_doubt() -> None:
    assert check_endpoints(DatasetConfig.load(feedback()), ()) == []


def test_what_time_may_mend_is_a_doubt_only() -> None:
    with MockServer() as server:
        url = server.url
    (doubt,) = check_endpoints(DatasetConfig.load(feedback(url)), ())
    assert doubt.startswith(f"model 'writer': connection at {url}: ")


def test_a_model_that_is_not_listed_is_a_doubt_with_a_suggestion(mock_server: MockServer) -> None:
    url = mock_server.url
    (doubt,) = check_endpoints(DatasetConfig.load(keyed(url, None, model="mockk")), ())
    assert doubt == f"model 'writer': {url} does not list 'mockk'; did you mean 'mock'?"
    (doubt,) = check_endpoints(DatasetConfig.load(keyed(url, None, model="x-9")), ())
    assert doubt == f"model 'writer': {url} does not list 'x-9'; it lists mock, offline"
    assert check_endpoints(DatasetConfig.load(keyed(url, None)), ()) == []


def test_an_endpoint_without_that_route_is_not_in_doubt(mock_server: MockServer) -> None:
    elsewhere = mock_server.url.removesuffix("/v1") + "/v2"
    assert check_endpoints(DatasetConfig.load(feedback(elsewhere)), ()) == []


@pytest.mark.usefixtures("prefect_api")
def test_nothing_is_asked_where_nothing_is_to_do(tmp_path: Path, mock_server: MockServer) -> None:
    config, sink = feedback(mock_server.url), ParquetRowGroupSink(path=tmp_path / "d")
    build_dataset(config, num_records=4, sink=sink, run=RunConfig(seed=1))
    guarded(mock_server)
    again = build_dataset(config, num_records=4, sink=sink, run=RunConfig(seed=1))
    assert all(outcome.reused for outcome in again.metadata.row_groups)
