"""The tour: `make tour`. Everything that docs/tour.md tells is done once, unattended, against real processes.

A server, a worker, a model endpoint, a deployment on a schedule with two chained stages. The endpoint breaks down in the
middle, the run fails, the endpoint comes back, the run is retried as the UI does it and continues. Then a browser takes the
pictures in docs/tour/. Each step checks what it shows: the first that does not hold ends the tour with an exit code of 1.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pyarrow.dataset
import yaml
from PIL import Image
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterParentFlowRunId,
)
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Scheduled

from prefect_datagen.blocks import ModelEndpoint
from prefect_datagen.flows.events import DatasetEvent, asset_key
from tests.flows.workflows import notes, people, workflow
from tests.mock_server import MockServer
from tests.prefect.runs import client, ended, events, logs
from tests.prefect.server import PrefectServer, wait_for
from tests.server.browser import Browser

PICTURES = Path(__file__).parents[1] / "docs" / "tour"
EXAMPLES = Path(__file__).parents[1] / "examples"
ROWS = 12
STILL = "* { animation: none !important; transition: none !important; caret-color: transparent !important }"
PATIENCE = 300.0
"""Seconds that a step may take; a machine may be busy."""


class TourError(Exception):
    """A step did not show what it should."""


def check(holds: object, what: str) -> None:
    """Go on only where it holds."""
    if not holds:
        raise TourError(what)


@contextmanager
def step(number: int, title: str) -> Iterator[None]:
    """Tell of a step, and of how long it took."""
    started = time.monotonic()
    print(f"{number}. {title} ...", end=" ", flush=True)
    yield
    print(f"done ({time.monotonic() - started:.0f} s)", flush=True)


class Tour:
    """What the steps share.

    Attributes:
        folder: for datasets and configs.
        pool: a work pool with a worker.
        pictures: a folder for the pictures of the pages.
    """

    def __init__(self, folder: Path, server: PrefectServer, model: MockServer, *, pool: str, pictures: Path) -> None:
        self.folder = folder
        self.out = folder / "out"
        self.server = server
        self.model = model
        self.pool = pool
        self.pictures = pictures

    def deploy(self) -> None:
        """Two chained stages that run each minute, one run at a time; and a dataset, for its run form."""
        ModelEndpoint(provider="endpoint", base_url=self.model.url, api_key="tour-key").save("tour", overwrite=True)
        stages = workflow(self.out, people(num_records=ROWS), notes(self.model.url))
        file = self.folder / "workflow.yaml"
        file.write_text(yaml.safe_dump(stages))
        told = self.server.run(
            *("deploy", str(file), "--name", "tour", "--work-pool", self.pool, "--cron", "* * * * *"),
            *("--concurrency-limit", "1", "--collision", "cancel", "--endpoint-block", "model-endpoint/tour"),
            *("--set", "run.retry_deadline_seconds=0.5", "--set", "run.max_concurrent_row_groups=1"),
        )
        check("deployed chain-datasets/tour" in told.stdout, told.stdout)
        # A copy, for its path stands in the picture of the run form.
        shutil.copytree(EXAMPLES / "airports", self.folder / "airports")
        example = self.folder / "airports" / "dataset.yaml"
        words = ("-n", "100", "-o", str(self.folder / "feedback"), "--work-pool", self.pool, "--target", "version")
        self.server.run("deploy", str(example), "--name", "airports", "--offline", *words)

    def first_run(self) -> FlowRun:
        """The first run that the schedule has started, when it is over; the schedule rests from then on."""
        with client() as api:
            deployment = api.read_deployment_by_name("chain-datasets/tour")
        runs = DeploymentFilter(id=DeploymentFilterId(any_=[deployment.id]))

        def started() -> FlowRun | None:
            # On a busy machine a run may be one too many, and is cancelled before it has started: the next is as good.
            with client() as api:
                found = api.read_flow_runs(deployment_filter=runs)
            return next((run for run in found if run.auto_scheduled and run.start_time is not None), None)

        run: FlowRun = wait_for(started, timeout=PATIENCE, what="a run that the schedule starts")
        with client() as api:
            for schedule in deployment.schedules:
                api._client.patch(f"/deployments/{deployment.id}/schedules/{schedule.id}", json={"active": False})
            for planned in api.read_flow_runs(deployment_filter=runs):
                if planned.state is not None and planned.state.is_scheduled():
                    api._client.delete(f"/flow_runs/{planned.id}")
        return ended(run.id, timeout=PATIENCE)

    def stage_run(self, parent: FlowRun, name: str) -> FlowRun:
        """The newest run of a stage's dataset."""
        wanted = FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[parent.id]))
        with client() as api:
            runs = [run for run in api.read_flow_runs(flow_run_filter=wanted) if run.name == f"demo-{name}"]
        check(runs, f"there is no run of stage {name}")
        return max(runs, key=lambda run: run.start_time or run.created)  # type: ignore[return-value, arg-type]

    def metadata(self, stage: str) -> dict[str, Any]:
        """The record of a stage's dataset."""
        found: dict[str, Any] = json.loads((self.out / stage / "metadata.json").read_text())
        return found

    def told(self, stage: str, event: DatasetEvent) -> bool:
        """Whether the server has this event of a stage's dataset."""
        return bool(events(asset_key(str(self.out / stage)), event.value))


def failed_as_it_should(tour: Tour, run: FlowRun) -> None:
    """The chain is Failed and says why; the first stage's dataset is whole."""
    assert run.state is not None
    message = run.state.message or ""
    check(run.state.is_failed(), f"the run ended as {run.state.name}: {message}")
    check("notes" in message and "503" in message, f"the state's message does not name stage and cause: {message}")
    wait_for(lambda: "503" in logs(run.id), timeout=PATIENCE, what="the cause in the run's log")
    check(tour.metadata("people")["status"] == "complete", "the dataset of the first stage is not whole")
    check(tour.metadata("notes")["status"] == "failed", "the dataset of the second stage does not say that it failed")
    wait_for(lambda: tour.told("people", DatasetEvent.READY), timeout=PATIENCE, what="the event of the first stage")
    wait_for(lambda: tour.told("notes", DatasetEvent.FAILED), timeout=PATIENCE, what="the event of the second stage")


def resume(tour: Tour, run: FlowRun) -> FlowRun:
    """Retry the run as the UI does; it continues, and pays for no answer twice."""
    paid = tour.metadata("notes")["usage"]["writer"]["answers"]
    check(0 < paid < ROWS, f"{paid} of {ROWS} answers came before the failure")
    tour.model.become()
    with client() as api:
        api.set_flow_run_state(run.id, Scheduled(name="AwaitingRetry", message="Retry from the UI"), force=True)

    def again() -> FlowRun | None:
        with client() as api:
            found = api.read_flow_run(run.id)
        return found if found.run_count == 2 and found.state and found.state.is_final() else None

    found: FlowRun = wait_for(again, timeout=PATIENCE, what="the end of the retried run")
    assert found.state is not None
    check(found.state.is_completed(), f"the retried run ended as {found.state.name}: {found.state.message}")
    rows = pyarrow.dataset.dataset(tour.out / "notes" / "data").count_rows()
    check(rows == ROWS, f"{rows} rows instead of {ROWS}")
    calls = tour.model.stats().calls
    check(calls == ROWS - paid, f"{calls} calls for the {ROWS - paid} answers that were missing")
    wait_for(lambda: tour.told("notes", DatasetEvent.READY), timeout=PATIENCE, what="the event of the second stage")
    return found


def take_pictures(tour: Tour, failed_stage: FlowRun, run: FlowRun) -> None:
    """Look at the pages in a browser, wait for what they must show, and keep them."""
    tour.pictures.mkdir(parents=True, exist_ok=True)
    done = tour.stage_run(run, "notes")
    with client() as api:
        form = api.read_deployment_by_name("build-dataset/airports").id
    base = f"http://127.0.0.1:{tour.server.port}"
    pages = {
        "flow-run": (f"runs/flow-run/{run.id}", ["stage-people", "stage-notes", "Completed"]),
        "failed-stage": (f"artifacts/artifact/{card_of(failed_stage)}", ["notes: failed", "503"]),
        "artifact": (f"artifacts/artifact/{card_of(done)}", ["12 of 12 rows written", "note"]),
        "run-form": (f"deployments/deployment/{form}/run", ["num_records", "sink"]),
        "block-form": ("blocks/catalog/model-endpoint/create", ["Model Endpoint"]),
    }
    with Browser(width=1280, height=960, patience=PATIENCE) as browser:
        for name, (path, texts) in pages.items():
            browser.open(f"{base}/{path}")
            for text in texts:
                browser.wait(f"document.body.innerText.toLowerCase().includes({json.dumps(text.lower())})")
            keep(browser, tour.pictures / f"{name}.png")


def card_of(run: FlowRun) -> str:
    """The id of the dataset card that a run has made."""
    wanted = {"flow_run_id": {"any_": [str(run.id)]}, "type": {"any_": ["markdown"]}}
    with client() as api:
        found = api._client.post("/artifacts/filter", json={"artifacts": wanted}).json()
    check(found, f"the run {run.name} has made no dataset card")
    return str(found[0]["id"])


def keep(browser: Browser, file: Path) -> None:
    """A picture of what is visible when nothing moves any more, in few colours, which is a quarter of the size."""
    browser.run(f"document.head.appendChild(document.createElement('style')).textContent = {json.dumps(STILL)}")
    shots: list[bytes] = []

    def rests() -> bool:
        browser.screenshot(file)
        shots.append(file.read_bytes())
        return len(shots) >= 5 and len(set(shots[-5:])) == 1

    wait_for(rests, timeout=PATIENCE, what=f"a page without motion for {file.name}")
    picture = Image.open(file).convert("RGB")
    picture.quantize(colors=64, dither=Image.Dither.NONE).save(file, optimize=True)


def walk(tour: Tour) -> None:
    """All steps but the first.

    Raises:
        TourError, TimeoutError, AssertionError: a step did not show what it should.
    """
    with step(2, "a deployment of two chained stages, each minute"):
        tour.model.become(down_after=7, down_code="503", retry_after=0)
        tour.deploy()
    with step(3, "the schedule starts a run; the endpoint breaks down; the run fails"):
        run = tour.first_run()
        failed_as_it_should(tour, run)
        failed_stage = tour.stage_run(run, "notes")
    with step(4, "the endpoint is back; a retry continues"):
        run = resume(tour, run)
    with step(5, "pictures"):
        take_pictures(tour, failed_stage, run)


def main() -> None:
    """Run all steps."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="datagen-tour-")))
        with step(1, "a server, a worker and a model endpoint"):
            server = stack.enter_context(PrefectServer(folder / "home"))
            stack.enter_context(temporary_settings({PREFECT_API_URL: server.url}))
            stack.enter_context(server.worker("tour", log=folder / "worker.log"))
            model = stack.enter_context(MockServer())
        walk(Tour(folder, server, model, pool="tour", pictures=PICTURES))
    print(f"the tour is over; its pictures are in {PICTURES}")


if __name__ == "__main__":
    try:
        main()
    except (TourError, TimeoutError, AssertionError) as error:
        print(f"\nthe tour ends here: {error}", file=sys.stderr)
        raise SystemExit(1) from error
