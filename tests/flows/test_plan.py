"""`prefect-datagen plan`: what a build would do, what changed, what must be paid for again; then the build itself."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from prefect_datagen.blocks import ParquetRowGroupSink
from prefect_datagen.cli.main import application
from prefect_datagen.config.run import RunConfig
from prefect_datagen.engine.errors import DatagenError
from prefect_datagen.flows.build import build_dataset
from prefect_datagen.flows.results import BuildResult
from tests.flows.configs import feedback, samplers
from tests.mock_server import MockServer

pytestmark = pytest.mark.usefixtures("prefect_api")


class Place:
    """A config file and the dataset that is built of it."""

    def __init__(self, folder: Path, config: dict[str, Any]) -> None:
        self.config = config
        self.file = folder / "config.yaml"
        self.dataset = folder / "dataset"

    def plan(self, rows: int, *options: str) -> list[str]:
        """Lines that the command prints."""
        self.file.write_text(yaml.safe_dump(self.config, sort_keys=False))
        words = ["plan", str(self.file), "-n", str(rows), "-o", str(self.dataset), "--row-group-size", "10", *options]
        done = CliRunner().invoke(application(), words)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert done.exit_code == 0
        return [line.strip() for line in done.output.splitlines()]

    def build(self, rows: int, **run: Any) -> BuildResult:
        """Build it."""
        self.file.write_text(yaml.safe_dump(self.config, sort_keys=False))
        settings = RunConfig.model_validate({"seed": 7, "row_group_size": 10, **run})
        return build_dataset(self.file, num_records=rows, sink=ParquetRowGroupSink(path=self.dataset), run=settings)


@pytest.fixture
def place(tmp_path: Path, mock_server: MockServer) -> Place:
    config = feedback(mock_server.url)
    config["columns"].append(
        {"name": "other", "column_type": "llm-text", "model_alias": "writer", "prompt": "Also {{ title }}."}
    )
    config["model_configs"][0]["price"] = {"input": 1.0, "output": 2.0}
    return Place(tmp_path, config)


def test_a_plan_calls_no_model_and_writes_nothing(place: Place, mock_server: MockServer) -> None:
    lines = place.plan(25)
    assert lines[:5] == [
        "feedback: 25 rows in 3 row groups of 10",
        "rows: 25 to make, 0 to repair, 0 kept",
        "column text: 25 calls",
        "column reply: 25 calls",
        "column other: 25 calls",
    ]
    assert lines[5].startswith("model writer: 75 calls, ")
    assert any(line.startswith("cost: 0.") for line in lines)
    assert any(line.startswith("time by the limits: ") for line in lines)
    assert mock_server.stats().calls == 0
    assert not place.dataset.exists()


def test_what_a_run_cost_stands_beside_what_was_expected(place: Place, mock_server: MockServer) -> None:
    metadata = place.build(20).metadata
    assert metadata.estimate is not None
    expected, spent = metadata.estimate["models"]["writer"], metadata.spent["writer"]
    assert expected["calls"] == spent.calls == mock_server.stats().calls == 60
    assert expected["input_tokens"]["low"] <= spent.input_tokens <= expected["input_tokens"]["high"]
    assert expected["output_tokens"]["low"] <= spent.output_tokens <= expected["output_tokens"]["high"]
    assert metadata.estimate["cost"]["low"] <= spent.cost <= metadata.estimate["cost"]["high"]
    again = place.build(30).metadata  # the run that extends it has an account of its own
    assert again.estimate is not None
    assert (again.estimate["models"]["writer"]["calls"], again.spent["writer"].calls) == (30, 30)
    assert again.usage["writer"].calls == 90


def test_a_changed_prompt_pays_for_its_column_and_what_reads_it(place: Place, mock_server: MockServer) -> None:
    """The plan names column and field; the build asks exactly for what the plan says."""
    place.build(20)
    place.config["columns"][3]["prompt"] = "Write a line about {{ title }}."
    mock_server.become()
    lines = place.plan(20, "--seed", "7")
    assert "column text changed: prompt 'Write about {{ title }}.' -> 'Write a line about {{ title }}.'" in lines, lines
    assert "answers reused: other" in lines
    assert "paid for again: text, reply" in lines
    assert {"column text: 20 calls", "column reply: 20 calls", "column other: 0 calls"} <= set(lines)
    assert mock_server.stats().calls == 0
    result = place.build(20)
    assert mock_server.stats().calls == 40
    assert result.metadata.usage["writer"].replayed == 20


def test_a_changed_model_pays_for_every_column_that_asks_it(place: Place) -> None:
    place.build(10)
    place.config["model_configs"][0]["inference_parameters"]["temperature"] = 0.1
    lines = place.plan(10, "--seed", "7")
    assert "model writer changed: inference_parameters.temperature not set -> 0.1" in lines
    assert "answers reused: no column" in lines


def test_a_changed_seed_file_is_named_and_a_resume_of_it_refused(tmp_path: Path) -> None:
    """Its content counts, not only its name."""
    seed = tmp_path / "cities.csv"
    seed.write_text("city\nOslo\nRome\n")
    config = samplers(
        seed_config={"source": {"seed_type": "local", "path": "cities.csv"}},
        columns=[{"name": "city", "column_type": "seed-dataset"}],
    )
    place = Place(tmp_path, config)
    assert list(place.build(5).load_dataset()["city"]) == ["Oslo", "Rome", "Oslo", "Rome", "Oslo"]
    seed.write_text("city\nOslo\nBonn\n")
    told = "seed data changed: content of 'cities.csv'"
    assert told in place.plan(5)
    with pytest.raises(DatagenError, match=told):
        place.plan(5, "--resume", "always")
    with pytest.raises(DatagenError, match=told):
        place.build(8, resume="always")


def test_changed_code_of_a_custom_function_is_named(tmp_path: Path) -> None:
    code = tmp_path / "own.py"
    code.write_text("def loud(row):\n    return row['title'].upper()\n")
    own = {"name": "loud", "column_type": "custom", "generator_function": "own.py:loud", "input_columns": ["title"]}
    config = samplers()
    config["columns"].append(own)
    place = Place(tmp_path, config)
    place.build(5)
    code.write_text("def loud(row):\n    return row['title'].upper() + '!'\n")
    assert "column loud changed: source of its function" in place.plan(5)


def test_a_repair_pays_for_rejected_rows_only(place: Place, mock_server: MockServer) -> None:
    mock_server.become(fail_prompt_regex="Write about sad", fail_prompt_code="500")
    hasty = {"max_retries": 0, "salvage_rounds": 0, "on_shortfall": "warn", "disable_early_shutdown": True}
    lost = place.build(30, **hasty).metadata.rejected
    assert 0 < lost < 30
    mock_server.become()
    lines = place.plan(30, "--resume", "repair")
    assert lines[1] == f"rows: 0 to make, {lost} to repair, {30 - lost} kept"
    assert f"column text: {lost} calls" in lines
    place.build(30, resume="repair")
    # `other` of a rejected row was answered, or never asked for: the others of these rows are asked for now.
    asked = mock_server.stats().calls
    assert 2 * lost <= asked <= 3 * lost


def test_a_complete_dataset_leaves_nothing_to_do(place: Place, mock_server: MockServer) -> None:
    place.build(20)
    mock_server.become()
    lines = place.plan(20)
    assert lines[1] == "rows: 0 to make, 0 to repair, 20 kept"
    assert not any("calls" in line for line in lines)
    assert mock_server.stats().calls == 0


def test_the_plan_tells_what_constraints_accept_before_a_row_is_made(tmp_path: Path) -> None:
    """A share that is low is seen before it is waited for: of ten tenths one is above 0.9."""
    column = {"name": "x", "column_type": "sampler", "sampler_type": "uniform", "params": {"low": 0, "high": 1}}
    limit = {"constraint_type": "scalar_inequality", "target_column": "x", "operator": "gt", "rhs": 0.9}
    lines = Place(tmp_path, {"columns": [column], "constraints": [limit]}).plan(20)
    [told] = [line for line in lines if line.startswith("constraints ")]
    found = re.fullmatch(r"constraints x > 0\.9: (0\.\d+) of the drawn rows are accepted", told)
    assert found is not None, told
    assert float(found[1]) == pytest.approx(0.1, abs=0.05)
    assert not (tmp_path / "dataset").exists()
