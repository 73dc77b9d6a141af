"""A planted key is nowhere to be found: not in the dataset, the server's database, the log, or an error."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from pydantic import SecretStr

from prefect_datagen.blocks import ModelEndpoint, ParquetRowGroupSink
from prefect_datagen.config.run import RunConfig
from prefect_datagen.engine.errors import DatagenError
from prefect_datagen.flows.build import build_dataset
from prefect_datagen.flows.chain import chain_datasets
from prefect_datagen.flows.partitions import backfill_dataset
from tests.flows.configs import feedback
from tests.flows.workflows import lines, notes, people, workflow
from tests.mock_server import MockServer
from tests.prefect.server import PrefectServer

CANARY = "sk-canary-7f3a91d0c55e"


@pytest.mark.parametrize("fails", [False, True])
def test_the_key_reaches_the_endpoint_and_nothing_else(
    tmp_path: Path,
    prefect_api: PrefectServer,
    mock_server: MockServer,
    caplog: pytest.LogCaptureFixture,
    fails: bool,
) -> None:
    mock_server.become(require_key="another key" if fails else CANARY)
    ModelEndpoint(provider="endpoint", base_url=mock_server.url, api_key=SecretStr(CANARY)).save(
        "canary", overwrite=True
    )
    endpoint = ModelEndpoint.load("canary")
    said = ""
    with caplog.at_level(logging.DEBUG):
        try:
            build_dataset(
                feedback(mock_server.url),
                num_records=12,
                sink=ParquetRowGroupSink(path=tmp_path / "d"),
                run=RunConfig(seed=7, trace=True),
                endpoints=[endpoint],
            )
        except DatagenError as error:
            said = repr(error) + str(error.context()) + error.message
    assert bool(said) is fails
    assert CANARY not in said + caplog.text + repr(endpoint)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in files if CANARY.encode() in path.read_bytes()]
    assert CANARY.encode() not in prefect_api.stored_bytes()


@pytest.mark.parametrize("flow", ["chain", "backfill"])
def test_a_key_reaches_neither_stages_nor_partitions(
    tmp_path: Path,
    prefect_api: PrefectServer,
    mock_server: MockServer,
    caplog: pytest.LogCaptureFixture,
    flow: str,
) -> None:
    """It goes through a flow, its tasks and its subflows, and is stored with none of them; nor with what stages hand on."""
    mock_server.become(require_key=CANARY)
    endpoint = ModelEndpoint(provider="endpoint", base_url=mock_server.url, api_key=SecretStr(CANARY))
    endpoint.save("canary", overwrite=True)
    out = tmp_path / "d"
    with caplog.at_level(logging.DEBUG):
        if flow == "chain":
            chain_datasets(workflow(out, people(), notes(mock_server.url), lines()), endpoints=[endpoint])
        else:
            config = feedback(mock_server.url)
            config["columns"][2]["expr"] += " ${date}"
            days = {"date": ["2026-01-01", "2026-01-02"]}
            backfill_dataset(
                config, num_records=3, sink=ParquetRowGroupSink(path=out), partitions=days, endpoints=[endpoint]
            )
    assert mock_server.stats().calls == 12
    assert CANARY not in caplog.text
    files = [path for path in out.rglob("*") if path.is_file()]
    assert len([path for path in files if path.suffix == ".parquet"]) >= 2
    assert not [path for path in [*files, *prefect_api.home.rglob("*.log")] if CANARY.encode() in path.read_bytes()]
    assert CANARY.encode() not in prefect_api.stored_bytes()
