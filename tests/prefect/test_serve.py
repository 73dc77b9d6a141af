"""`build_dataset.serve(...)` in a program of the user's own."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest
import yaml

from prefect_datagen.blocks import ParquetRowGroupSink
from tests.flows.configs import samplers
from tests.prefect.runs import client, ended, start
from tests.prefect.server import Background, PrefectServer, wait_for

PROGRAM = """
from prefect.deployments.runner import EntrypointType
from prefect_datagen.flows.build import build_dataset

if __name__ == "__main__":
    parameters = {{"config": {config!r}, "num_records": 4, "sink": {{"path": {path!r}}}}}
    kind = EntrypointType.{kind}
    build_dataset.serve(name={name!r}, parameters=parameters, interval=3600, entrypoint_type=kind)
"""


@pytest.mark.parametrize(("end", "kind"), [(signal.SIGINT, "FILE_PATH"), (signal.SIGTERM, "MODULE_PATH")])
def test_a_served_flow_runs_and_its_program_ends_in_order(
    server: PrefectServer, tmp_path: Path, end: signal.Signals, kind: str
) -> None:
    """A run is made through the API and completes; a signal ends the program with 0. Ctrl-C pauses the schedule."""
    config, out = tmp_path / "dataset.yaml", tmp_path / "out"
    config.write_text(yaml.safe_dump(samplers()))
    program = tmp_path / "serving.py"
    program.write_text(PROGRAM.format(name=end.name, kind=kind, config=str(config), path=str(out)))
    command, name = [sys.executable, str(program)], f"build-dataset/{end.name}"
    env = server.env(PREFECT_RUNNER_POLL_FREQUENCY="1")
    with Background(command, env=env, log=tmp_path / "log", cwd=tmp_path) as serving:
        wait_for(lambda: "is being served" in serving.output, what="the served flow")
        run = ended(start(name, num_records=6))
        assert run.state_name == "Completed", run.state
        serving.process.send_signal(end)
        assert serving.wait() == 0
    assert len(ParquetRowGroupSink(path=out).reader().load()) == 6
    with client() as api:
        deployment = api.read_deployment_by_name(name)
    found = "flows/build.py:build_dataset" if kind == "FILE_PATH" else "prefect_datagen.flows.build.build_dataset"
    assert (deployment.entrypoint or "").endswith(found)
    # Prefect 3.8 may be too quick for that after SIGTERM: its handler leaves the coroutine that stops the runner alone.
    assert deployment.paused or end is signal.SIGTERM
