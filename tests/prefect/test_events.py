"""Events, assets and automations, as a real server has them."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from prefect_datagen.blocks import ParquetRowGroupSink
from prefect_datagen.config.run import OnShortfall, RunConfig
from prefect_datagen.config.target import Target, TargetMode
from prefect_datagen.engine.errors import ConfigError, ShortfallError
from prefect_datagen.flows.build import build_dataset
from prefect_datagen.flows.chain import chain_datasets
from prefect_datagen.flows.events import DatasetEvent, asset_key
from prefect_datagen.flows.report import render_report
from prefect_datagen.flows.results import BuildResult
from tests.flows.configs import feedback, samplers
from tests.flows.workflows import lines, notes, people, workflow
from tests.mock_server import MockServer
from tests.prefect.runs import POOL, artifacts, events
from tests.prefect.server import PrefectServer, wait_for
from tests.prefect_api import deploy

pytestmark = pytest.mark.usefixtures("prefect_api")

DATASET_EVENTS = [event.value for event in DatasetEvent]
ROOT = Path(__file__).parents[2]


def told(path: Path, count: int, *names: str) -> list[dict[str, Any]]:
    """So many events of the dataset there, when the server has them."""

    def look() -> list[dict[str, Any]] | None:
        found = events(asset_key(str(path)), *names)
        return found if len(found) >= count else None

    found: list[dict[str, Any]] = wait_for(look, what=f"{count} events of {path}")
    return found


def upstream(event: dict[str, Any]) -> set[str]:
    """Keys of the assets that a materialization was made of."""
    return {each["prefect.resource.id"] for each in event["related"] if each["prefect.resource.role"] == "asset"}


def test_each_end_of_a_build_is_an_event_with_path_version_and_counts(tmp_path: Path, mock_server: MockServer) -> None:
    out = tmp_path / "out"
    sink = ParquetRowGroupSink(path=out)
    config = feedback(mock_server.url)
    run = RunConfig(seed=7, disable_early_shutdown=True)
    versions = Target(mode=TargetMode.VERSION)
    ready = build_dataset(config, num_records=6, sink=sink, run=run, target=versions)
    assert isinstance(ready, BuildResult)
    mock_server.become(fail_prompt_regex="sad", fail_prompt_code="400")
    partly = run.model_copy(update={"on_shortfall": OnShortfall.WARN})
    build_dataset(config, num_records=20, sink=sink, run=partly, target=versions)
    with pytest.raises(ShortfallError) as short:
        build_dataset(config, num_records=20, sink=sink, run=run, target=versions)
    with pytest.raises(ConfigError):
        build_dataset({"columns": []}, num_records=20, sink=sink)

    found = told(out, 4, *DATASET_EVENTS)
    assert [each["event"].rpartition(".")[2] for each in found] == ["ready", "partial", "failed", "failed"]
    payload = found[0]["payload"]
    assert (payload["path"], payload["location"]) == (str(out), ready.path)
    assert payload["version"] == found[0]["resource"]["prefect-datagen.version"] == Path(ready.path).name
    assert [payload[name] for name in ("requested", "written", "rejected", "filtered")] == [6, 6, 0, 0]
    assert found[1]["payload"]["written"] + found[1]["payload"]["rejected"] == 20
    assert found[2]["payload"]["message"] == short.value.message
    assert found[3]["payload"]["error"] == "ConfigError"
    assert any(each["prefect.resource.role"] == "flow-run" for each in found[0]["related"])


def test_lineage_leads_from_the_seed_over_the_stages_to_the_report(tmp_path: Path) -> None:
    seed = tmp_path / "people.csv"
    seed.write_text("person,mood\nAda,glad\nKay,sad\n")
    first = people(num_records=2)
    first["config"] = {
        "seed_config": {"source": {"seed_type": "local", "path": str(seed)}},
        "columns": [{"name": "hello", "column_type": "expression", "expr": "Hello {{ person }}"}],
    }
    only_glad = {"name": "glad", "processor_type": "filter", "condition": "mood = 'glad'", "stage": "after_generation"}
    out = tmp_path / "out"
    chain_datasets(workflow(out, first, notes(output_processors=[only_glad]), lines()))
    page = tmp_path / "report.html"
    render_report(out / "lines", output=page)

    made = "prefect.asset.materialization.succeeded"
    steps = [seed, out / "people", out / "notes", out / "notes.output", out / "lines", page]
    for source, place in itertools.pairwise(steps):
        (event,) = told(place, 1, made)
        assert upstream(event) == {asset_key(str(source))}
    (event,) = told(out / "lines", 1, made)
    assert event["payload"]["written"] == event["payload"]["requested"] > 0
    assert "prefect-datagen" in {each["prefect.resource.id"] for each in event["related"]}
    assert events(asset_key(str(seed)), "prefect.asset.referenced")


@pytest.mark.usefixtures("worker")
def test_the_example_automation_draws_a_report_of_the_version_that_is_ready(
    server: PrefectServer, tmp_path: Path
) -> None:
    script = ROOT / "examples" / "automations" / "report_when_ready.py"
    command = [sys.executable, str(script), str(tmp_path / "out"), str(tmp_path / "reports"), "--pool", POOL]
    subprocess.run(command, env=server.env(), check=True, capture_output=True, timeout=120)
    built = build_dataset(
        samplers(),
        num_records=3,
        sink=ParquetRowGroupSink(path=tmp_path / "out"),
        target=Target(mode=TargetMode.VERSION),
    )
    assert isinstance(built, BuildResult)
    page = tmp_path / "reports" / f"{Path(built.path).name}.html"
    wait_for(page.exists, what="the report that the automation starts")
    assert "samplers" in page.read_text()


@pytest.mark.usefixtures("worker")
def test_a_deployment_starts_when_a_dataset_is_ready(tmp_path: Path) -> None:
    """The second dataset takes its seed rows from the first."""
    first, second = tmp_path / "first", tmp_path / "second"
    file = tmp_path / "second.yaml"
    file.write_text(
        f"seed_config: {{source: {{seed_type: dataset, path: {first}}}}}\n"
        "columns: [{name: again, column_type: expression, expr: 'again {{ title }}'}]\n"
    )
    build_dataset(samplers(), num_records=3, sink=ParquetRowGroupSink(path=first), run=RunConfig(seed=7))
    told(first, 1, DatasetEvent.READY.value)
    deploy(file, name="second", num_records=3, output=str(second), work_pool=POOL, when_ready=[str(first)])
    build_dataset(samplers(), num_records=4, sink=ParquetRowGroupSink(path=first), run=RunConfig(seed=7))
    wait_for((second / "metadata.json").exists, what="the dataset that is built when the first is ready")
    (event,) = told(second, 1, "prefect.asset.materialization.succeeded")
    assert upstream(event) == {asset_key(str(first))}


def test_a_run_keeps_progress_outcomes_card_and_link_as_artifacts(tmp_path: Path) -> None:
    run = RunConfig.model_validate({"seed": 7, "row_group_size": 5, "results_url": "http://127.0.0.1:8085/"})
    state = build_dataset(
        feedback(), num_records=12, sink=ParquetRowGroupSink(path=tmp_path), run=run, return_state=True
    )
    assert state.state_details.flow_run_id is not None
    found = artifacts(state.state_details.flow_run_id)
    assert float(found["progress"]) == 100
    assert found["table"].count("completed") == 3
    assert "[Results](http://127.0.0.1:8085/)" in found["markdown"]
    assert "| text | string |" in found["markdown"]


@pytest.mark.parametrize(
    ("place", "key"),
    [
        ("/data/reviews", "file:///data/reviews"),
        ("/data/reviews/latest", "file:///data/reviews"),
        ("/data/reviews/2026-11-21T06-00-00Z-1a2b3c/", "file:///data/reviews"),
        ("/data/my reviews/date=2026-01-31", "file:///data/my_reviews/date=2026-01-31"),
        ("S3://bucket/reviews", "s3://bucket/reviews"),
        ("postgresql://reader:secret@host/shop/orders", "postgresql://host/shop/orders"),
    ],
)
def test_the_key_of_an_asset_is_its_place(place: str, key: str) -> None:
    assert asset_key(place) == key


def test_the_key_of_a_long_place_is_not_too_long() -> None:
    assert len(asset_key("/a" * 600)) == 512
    assert asset_key("/a" * 600) != asset_key("/a" * 600 + "/b")
