"""A model behind several endpoints: shares by weight, one that is killed in the middle, and what is checked before."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from prefect_datagen.blocks import ParquetRowGroupSink
from prefect_datagen.config.dataset import DatasetConfig
from prefect_datagen.config.run import RunConfig
from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.flows.build import build_dataset
from prefect_datagen.tasks.endpoints import check_endpoints
from tests.flows.configs import feedback
from tests.mock_server import MockServer

pytestmark = pytest.mark.usefixtures("prefect_api")


@pytest.fixture
def second_server() -> Iterator[MockServer]:
    """A server that the test may kill."""
    with MockServer(latency_ms=2) as server:
        yield server


def shared_out(one: MockServer, other: MockServer, *, weights: tuple[float, float] = (1, 1)) -> dict[str, Any]:
    """`feedback` with its model behind two endpoints."""
    config = feedback(one.url)
    config["model_providers"] = [{"name": "house", "endpoint": one.url}, {"name": "cloud", "endpoint": other.url}]
    model = {**config["model_configs"][0], "price": {"input": 1.0, "output": 2.0}}
    del model["provider"]
    model["endpoints"] = [
        {"provider": "house", "weight": weights[0]},
        {"provider": "cloud", "weight": weights[1], "model": "offline", "price": {"input": 3.0}},
    ]
    return config | {"model_configs": [model]}


def test_both_serve_by_weight_and_usage_tells_them_apart(
    tmp_path: Path, mock_server: MockServer, second_server: MockServer
) -> None:
    config = shared_out(mock_server, second_server.become(log_requests=True), weights=(3, 1))
    sink = ParquetRowGroupSink(path=tmp_path / "d")
    result = build_dataset(config, num_records=100, sink=sink, run=RunConfig(seed=1))
    assert (mock_server.stats().calls, second_server.stats().calls) == (150, 50)
    assert {each.body["model"] for each in second_server.requests()} == {"offline"}  # its own name for the model
    used = result.metadata.usage["writer"]
    assert {name: each.answers for name, each in used.endpoints.items()} == {"house": 150, "cloud:offline": 50}
    cloud = used.endpoints["cloud:offline"]
    assert cloud.cost == pytest.approx(cloud.input_tokens * 3 / 1e6)
    assert used.cost == pytest.approx(sum(each.cost for each in used.endpoints.values()))


def test_an_endpoint_that_is_killed_costs_no_row(
    tmp_path: Path, mock_server: MockServer, second_server: MockServer
) -> None:
    killed: list[int] = []

    def kill(manifest: object) -> None:
        if not killed:
            killed.append(second_server.stats().answers)
            os.kill(second_server.pid, signal.SIGKILL)

    result = build_dataset(
        shared_out(mock_server, second_server),
        num_records=200,
        sink=ParquetRowGroupSink(path=tmp_path / "d"),
        run=RunConfig(seed=1, row_group_size=20),
        on_row_group_complete=kill,
    )
    assert len(result.load_dataset()) == 200
    assert result.metadata.rejected == 0
    used = result.metadata.usage["writer"]
    assert used.answers == 400
    assert used.endpoints["cloud:offline"].answers >= killed[0] > 0
    assert used.endpoints["house"].answers == mock_server.stats().answers


def test_the_answers_do_not_depend_on_who_gave_them(
    tmp_path: Path, mock_server: MockServer, second_server: MockServer
) -> None:
    config = shared_out(mock_server, second_server)
    config["model_configs"][0]["endpoints"][1].pop("model")  # answers of the mock depend on the model's name
    sink = ParquetRowGroupSink(path=tmp_path / "d")
    both = build_dataset(config, num_records=20, sink=sink, run=RunConfig(seed=1)).load_dataset()
    # One endpoint less is the same dataset: nothing is made again, and it grows.
    alone = config | {"model_configs": [{**config["model_configs"][0], "endpoints": [{"provider": "house"}]}]}
    grown = build_dataset(alone, num_records=30, sink=sink, run=RunConfig(seed=1)).load_dataset()
    assert grown[:20].equals(both)


def test_every_endpoint_is_looked_at_before_the_first_row(
    mock_server: MockServer, second_server: MockServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    second_server.become(require_key="the-right-one", models_need_key=True)
    monkeypatch.setenv("CLOUD_API_KEY", "a-wrong-one")
    config = shared_out(mock_server, second_server)
    config["model_providers"][1]["api_key"] = "CLOUD_API_KEY"
    with pytest.raises(ConfigError) as caught:
        check_endpoints(DatasetConfig.load(config), ())
    refused = f"model 'writer@cloud:offline': 401 from {second_server.url}: key in env CLOUD_API_KEY refused"
    assert caught.value.problems == [refused]


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ({"endpoints": [{"provider": "house"}, {"provider": "huose"}]}, "endpoints[1].provider: provider 'huose'"),
        ({"endpoints": [{"provider": "house"}, {"provider": "house"}]}, "'house' is named twice"),
        ({"endpoints": [{"provider": "house", "weight": 0}]}, "endpoints[0].weight"),
        ({"endpoints": []}, "model_configs[0].endpoints"),
        ({"provider": "house", "endpoints": [{"provider": "house"}]}, "`provider` and `endpoints` exclude each other"),
    ],
)
def test_mistakes_are_told_by_their_path(mock_server: MockServer, model: dict[str, Any], told: str) -> None:
    config = shared_out(mock_server, mock_server)
    config["model_configs"][0] |= model
    with pytest.raises(ConfigError) as caught:
        DatasetConfig.load(config)
    assert told in str(caught.value)
