"""Traces of a build, and the command that reads them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from prefect_datagen.blocks import ParquetRowGroupSink
from prefect_datagen.cli.main import application
from prefect_datagen.config.run import RunConfig
from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.flows.build import build_dataset
from prefect_datagen.storage import DatasetReader
from tests.flows.configs import feedback
from tests.mock_server import MockServer

pytestmark = pytest.mark.usefixtures("prefect_api")

ROWS = 12


def test_a_traced_build_has_its_cells_on_disk_and_the_command_shows_them(
    tmp_path: Path, mock_server: MockServer
) -> None:
    """Each cell with its times, attempt and tokens; a failed try is a record of its own."""
    mock_server.become(latency_ms=5, fail_first=1, fail_first_code="500")
    path = tmp_path / "d"
    sink = ParquetRowGroupSink(path=path)
    build_dataset(
        feedback(mock_server.url), num_records=ROWS, sink=sink, run=RunConfig(seed=7, row_group_size=5, trace=True)
    )
    records = DatasetReader(path).traces().to_pylist()
    asked = [record for record in records if record["column"] in ("text", "reply")]
    made = [record for record in asked if record["status"] == "done"]
    assert sorted((each["column"], each["row_index"]) for each in made) == sorted(
        (column, row) for column in ("text", "reply") for row in range(ROWS)
    )
    assert {each["row_index"] // 5 for each in made if each["row_group"] == 1} == {1}
    assert all(each["queued"] <= each["started"] <= each["ended"] for each in records)
    assert {each["attempt"] for each in made} == {2}
    assert len([record for record in asked if record["status"] == "deferred"]) == 2 * ROWS
    stats = mock_server.stats()
    assert sum(each["input_tokens"] for each in asked) == stats.input_tokens
    assert sum(each["output_tokens"] for each in asked) == stats.output_tokens

    done = CliRunner().invoke(application(), ["trace", str(path)])
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert lines[0].startswith(f"{len(records)} cells in ")
    assert lines[1].startswith("critical path (")
    assert any(line.split()[:2] == ["reply", "ran"] for line in lines[2:])
    events = json.loads((path / "trace.json").read_text())["traceEvents"]
    spans = [event for event in events if event["ph"] == "X"]
    assert len(spans) == len(records)
    assert {event["args"]["name"] for event in events if event["ph"] == "M"} == {each["column"] for each in records}
    assert all(event["dur"] >= 0 and event["ts"] >= 0 for event in spans)


def test_a_dataset_without_traces_says_how_to_have_some(tmp_path: Path) -> None:
    path = tmp_path / "d"
    build_dataset(feedback(), num_records=2, sink=ParquetRowGroupSink(path=path), run=RunConfig(seed=7))
    done = CliRunner().invoke(application(), ["trace", str(path)])
    assert isinstance(done.exception, ConfigError)
    assert "build it with --trace" in done.exception.message
