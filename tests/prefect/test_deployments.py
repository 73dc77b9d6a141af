"""Deployments: registered by the command, run by a real worker process."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import yaml
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.exceptions import ObjectNotFound
from prefect.states import Scheduled
from prefect.utilities.callables import parameter_schema

from prefect_datagen.blocks import ModelEndpoint, ParquetRowGroupSink
from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.flows.build import build_dataset
from tests.flows.configs import feedback, samplers
from tests.flows.test_parameters import structured
from tests.flows.workflows import lines, notes, people, workflow
from tests.mock_server import MockServer
from tests.prefect.runs import POOL, client, ended, start
from tests.prefect.server import PrefectServer, wait_for
from tests.prefect_api import deploy

pytestmark = pytest.mark.usefixtures("prefect_api")


def hour_ago() -> datetime:
    """A time for which a run may have been scheduled."""
    return datetime.now(UTC) - timedelta(hours=1)


def write(path: Path, content: dict[str, Any]) -> Path:
    """A YAML file."""
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.mark.usefixtures("worker")
def test_a_worker_runs_versions_and_a_retry_from_the_ui_continues_its_version(
    server: PrefectServer, mock_server: MockServer, tmp_path: Path
) -> None:
    config = feedback(mock_server.url)
    config["columns"][2]["expr"] += " ${date}"
    file = write(tmp_path / "dataset.yaml", config)
    ModelEndpoint(provider="endpoint", base_url=mock_server.url, api_key="right").save("tests", overwrite=True)
    told = server.run(
        *("deploy", str(file), "--name", "nightly", "--cron", "0 6 * * *", "--timezone", "Europe/Vienna", "-n", "12"),
        *("-o", str(tmp_path / "out"), "--work-pool", POOL, "--target", "version", "--partition", "date=%Y-%m-%d"),
        *("--endpoint-block", "model-endpoint/tests", "--seed", "7", "--set", "run.row_group_size=4"),
        *("--set", "run.max_retries=0", "--set", "run.salvage_rounds=0", "--set", "run.max_concurrent_row_groups=1"),
    )
    assert told.stdout.startswith("deployed build-dataset/nightly to the work pool tests")
    with client() as api:
        deployment = api.read_deployment_by_name("build-dataset/nightly")
    assert deployment.entrypoint == "prefect_datagen.flows.build.build_dataset"
    assert [(each.schedule.cron, each.schedule.timezone) for each in deployment.schedules] == [  # type: ignore[union-attr]
        ("0 6 * * *", "Europe/Vienna")
    ]

    mock_server.become(require_key="right", down_after=10, down_code="503", retry_after=0)
    failing = start(
        "build-dataset/nightly",
        run={"seed": 7, "row_group_size": 4, "max_concurrent_row_groups": 1, "retry_deadline_seconds": 0.5},
    )
    first = ended(failing)
    assert first.state is not None
    assert first.state.is_failed(), first.state.message
    folder = tmp_path / "out" / f"date={datetime.now(UTC):%Y-%m-%d}"
    (version,) = (each for each in folder.iterdir() if each.name.startswith("2"))
    assert not (folder / "latest").exists()
    paid = mock_server.stats()

    mock_server.control(down_after=None)
    with client() as api:
        api.set_flow_run_state(failing, Scheduled(name="AwaitingRetry", message="Retry from the UI"), force=True)
    wait_for(lambda: (folder / "latest").exists(), what="the retried run")
    second = ended(failing)
    assert second.state is not None
    assert (second.state.name, second.run_count) == ("Completed", 2)
    assert (folder / "latest").resolve() == version
    metadata = json.loads((version / "metadata.json").read_text())
    assert (metadata["status"], metadata["actual_num_records"]) == ("complete", 12)
    assert metadata["usage"]["writer"]["answers"] == 24  # of two columns and 12 rows: each was paid for once
    assert mock_server.stats().calls > paid.calls


@pytest.mark.usefixtures("worker")
def test_late_runs_are_missed_where_the_deployment_says_so(tmp_path: Path) -> None:
    file = write(tmp_path / "dataset.yaml", samplers())
    deploy(file, name="late", num_records=3, output=str(tmp_path / "out"), work_pool=POOL, max_lateness=60)
    state = ended(start("build-dataset/late", at=hour_ago())).state
    assert state is not None
    assert (state.name, state.type.value) == ("Missed", "CANCELLED")
    assert state.message is not None
    assert state.message.endswith("s late; max_lateness_seconds is 60")
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("worker")
def test_a_run_that_is_one_too_many_follows_the_deployment(mock_server: MockServer, tmp_path: Path) -> None:
    file = write(tmp_path / "dataset.yaml", feedback(mock_server.url))
    out = str(tmp_path / "out")
    deploy(file, name="one", num_records=2, output=out, work_pool=POOL, limit=1, collision="cancel")
    mock_server.become(hold=True)
    first = start("build-dataset/one")
    mock_server.wait_until(lambda stats: stats.in_flight > 0, timeout=90)
    second = ended(start("build-dataset/one"))
    assert second.state is not None
    assert second.state.type.value == "CANCELLED"
    mock_server.control(hold=False)
    state = ended(first).state
    assert state is not None
    assert state.name == "Completed"


@pytest.mark.usefixtures("worker")
def test_a_run_that_is_one_too_many_waits_where_the_deployment_says_so(mock_server: MockServer, tmp_path: Path) -> None:
    """It takes its turn when the first one is over, and both extend the dataset."""
    file = write(tmp_path / "dataset.yaml", feedback(mock_server.url))
    out = tmp_path / "out"
    how: dict[str, Any] = {"limit": 1, "collision": "enqueue", "target": "extend"}
    deploy(file, name="queue", num_records=2, output=str(out), work_pool=POOL, **how)
    mock_server.become(hold=True)
    first = start("build-dataset/queue")
    mock_server.wait_until(lambda stats: stats.in_flight > 0, timeout=90)
    second = start("build-dataset/queue")

    def state_of(run: UUID) -> str | None:
        with client() as api:
            return api.read_flow_run(run).state_name

    wait_for(lambda: state_of(second) == "AwaitingConcurrencySlot", timeout=120, what="the run that waits its turn")
    assert state_of(first) == "Running"
    mock_server.control(hold=False)
    earlier, later = ended(first), ended(second)
    assert (earlier.state_name, later.state_name) == ("Completed", "Completed")
    assert earlier.end_time is not None
    assert later.start_time is not None
    assert later.start_time >= earlier.end_time
    assert len(ParquetRowGroupSink(path=out).reader().load()) == 4


@pytest.mark.usefixtures("worker")
def test_a_workflow_is_deployed_too_and_late_runs_catch_up(tmp_path: Path) -> None:
    file = write(tmp_path / "workflow.yaml", workflow(tmp_path / "out", people(), notes(), lines()))
    deploy(file, name="chain", work_pool=POOL, interval=3600)
    state = ended(start("chain-datasets/chain", at=hour_ago())).state
    assert state is not None
    assert state.name == "Completed", state.message
    assert (tmp_path / "out" / "lines" / "metadata.json").exists()


def test_without_a_pool_the_command_serves_an_embedded_config(server: PrefectServer, tmp_path: Path) -> None:
    """The config holds a JSON schema with references, which Prefect would take for references to blocks."""
    file = write(tmp_path / "dataset.yaml", structured())
    words = ("deploy", str(file), "--name", "served", "-n", "3", "-o", str(tmp_path / "out"), "--embed")
    with server.start(*words, log=tmp_path / "log") as serving:
        wait_for(lambda: "serving build-dataset/served" in serving.output and _exists("build-dataset/served"))
        file.unlink()
        state = ended(start("build-dataset/served", num_records=5)).state
        assert state is not None
        assert state.name == "Completed", state.message
    assert len(ParquetRowGroupSink(path=tmp_path / "out").reader().load()) == 5


def test_the_deployments_of_prefect_yaml_are_as_it_says(server: PrefectServer) -> None:
    """Prefect's own command registers them all."""
    root = Path(__file__).parents[2]
    with client() as api:
        api.create_work_pool(WorkPoolCreate(name="datagen", type="process"), overwrite=True)
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    done = subprocess.run(
        command, env=server.env(PWD=str(root)), cwd=root, capture_output=True, text=True, check=False, timeout=240
    )
    assert done.returncode == 0, done.stdout + done.stderr
    with client() as api:
        nightly = api.read_deployment_by_name("build-dataset/airports-nightly")
        travel = api.read_deployment_by_name("chain-datasets/travel")
    assert (nightly.entrypoint, travel.entrypoint) == (
        "prefect_datagen.flows.build.build_dataset",
        "prefect_datagen.flows.chain.chain_datasets",
    )
    assert nightly.parameters["config"] == str(root / "examples" / "airports" / "dataset.yaml")
    assert travel.parameters["workflow"] == str(root / "examples" / "chains" / "workflow.yaml")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_records": 3}, "--output or --sink is required for a dataset"),
        ({"output": "out"}, "--num-records is required for a dataset"),
        ({"num_records": 3, "output": "out", "cron": "every day"}, "schedule 'every day'"),
        ({"num_records": 3, "output": "out", "cron": "0 6 * * *", "interval": 60}, "--cron and --interval contradict"),
        (
            {"num_records": 3, "output": "out", "target": "new"},
            "--target.mode: 'new' is none of fixed, version, extend",
        ),
        ({"num_records": 3, "output": "out", "collision": "wait"}, "--collision 'wait': enqueue or cancel"),
        ({"num_records": 3, "sink": "nobody"}, "--sink: there is no block 'parquet-row-group-sink/nobody'"),
        ({"num_records": 3, "output": "out", "embed": True}, "a key is not stored in a deployment"),
        ({"num_records": 3, "output": "out", "partition": ["date"]}, "--partition 'date': expected NAME=VALUE"),
        ({"num_records": 3, "output": "out", "partition": ["date=%Y"]}, "stands nowhere in the config"),
    ],
)
def test_wrong_options_are_refused(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    config = feedback("http://127.0.0.1:9/v1")
    config["model_providers"][0]["api_key"] = "sk-literal-key"
    file = write(tmp_path / "dataset.yaml", config)
    with pytest.raises(ConfigError, match=re.escape(message)) as refused:
        deploy(file, name="wrong", work_pool=POOL, **options)
    assert "sk-literal-key" not in refused.value.message


def test_the_run_form_tells_every_parameter(server: PrefectServer) -> None:
    """Descriptions, defaults, bounds and enums come from the models; sinks and endpoints are picked as blocks."""
    schema = parameter_schema(build_dataset)
    assert all(each.get("description") for each in schema.properties.values())
    assert schema.properties["num_records"]["minimum"] == 0
    definitions = schema.definitions or {}
    run = definitions["RunConfig"]["properties"]
    assert all(each.get("description") for each in run.values())
    assert run["max_retries"]["default"] == 3
    assert set(definitions["ResumeMode"]["enum"]) == {"never", "if-possible", "always", "repair"}
    assert set(definitions["TargetMode"]["enum"]) == {"fixed", "version", "extend"}
    slugs = {name: definitions[name].get("block_type_slug") for name in ("ParquetRowGroupSink", "ModelEndpoint")}
    assert slugs == {"ParquetRowGroupSink": "parquet-row-group-sink", "ModelEndpoint": "model-endpoint"}


def _exists(name: str) -> bool:
    with client() as api:
        try:
            api.read_deployment_by_name(name)
        except ObjectNotFound:
            return False
    return True
