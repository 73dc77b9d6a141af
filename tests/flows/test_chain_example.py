"""The example workflow, offline."""

from __future__ import annotations

from pathlib import Path

import pytest

from prefect_datagen.blocks import OfflineModel, ParquetRowGroupSink
from prefect_datagen.flows.chain import ChainResult, chain_datasets

pytestmark = pytest.mark.usefixtures("prefect_api")

WORKFLOW = Path(__file__).parents[2] / "examples" / "chains" / "workflow.yaml"


def test_the_example_runs_offline_and_every_adult_makes_two_trips(tmp_path: Path) -> None:
    result = chain_datasets(
        WORKFLOW, sink=ParquetRowGroupSink(path=tmp_path), endpoints=[OfflineModel(provider="offline")]
    )
    assert isinstance(result, ChainResult)
    frames = {name: ParquetRowGroupSink(path=tmp_path / name).reader().load() for name in result.stages}
    adults = frames["travellers"][frames["travellers"]["age"] >= 18]
    assert 0 < len(adults) < 40
    letters = frames["letters"]
    assert len(letters) == 2 * len(adults)
    assert set(letters["traveller"]) == set(adults["traveller"])
    assert set(letters["iata"]) <= set(frames["airports"]["iata"])
    assert letters["letter"].str.contains("offline").all()
