"""Events of task runs are sent in batches, and are those that Prefect would have sent one by one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from prefect import tags
from prefect._internal.concurrency.threads import WorkerThread
from prefect.events import Event, RelatedResource
from prefect.events.clients import AssertingEventsClient
from prefect.events.worker import EventsWorker

from prefect_datagen.blocks import ParquetRowGroupSink
from prefect_datagen.config.run import RunConfig
from prefect_datagen.flows import lifecycle
from prefect_datagen.flows.build import build_dataset
from prefect_datagen.tasks.task_run_events import send_in_batches
from tests.flows.configs import samplers

pytestmark = pytest.mark.usefixtures("prefect_api")

ROW_GROUPS, TASK_RUNS, STATES = 6, 4, 3  # process-row-group, seed, generate, commit; pending, running, completed


@pytest.fixture
def client() -> Iterator[type[AssertingEventsClient]]:
    """What is sent goes to an object in this process, which notes it."""
    AssertingEventsClient.reset()
    EventsWorker.set_client_override(AssertingEventsClient)
    yield AssertingEventsClient
    EventsWorker.instance().drain()
    EventsWorker.set_client_override(None)
    AssertingEventsClient.reset()


def sent_by(folder: Path) -> list[Event]:
    """The events of the task runs of a build."""
    with tags("nightly", "eu"):
        build_dataset(
            samplers(),
            num_records=2 * ROW_GROUPS,
            sink=ParquetRowGroupSink(path=str(folder)),
            run=RunConfig(row_group_size=2, stages="tasks", seed=1, max_concurrent_row_groups=1),  # type: ignore[arg-type]
        )
    EventsWorker.instance().drain()
    assert AssertingEventsClient.last is not None
    return [event for event in AssertingEventsClient.last.events if event.event.startswith("prefect.task-run.")]


def without_ids(event: Event) -> tuple[Any, ...]:
    """An event without what is another in each run."""

    def plain(resource: RelatedResource) -> tuple[str, ...]:
        kind = resource.id.rpartition(".")[0] if resource.role != "tag" else resource.id
        name = "" if resource.role == "flow-run" else resource.get("prefect.resource.name", "")
        return (kind, resource.role, name or "")

    related = [plain(resource) for resource in event.related]
    assert event.payload is not None
    task_run, is_named = event.resource["prefect.resource.name"], not event.event.endswith(".Pending")
    return (event.event, task_run if is_named else "", event.payload["intended"], related)


@pytest.mark.usefixtures("client")
def test_events_are_those_that_prefect_sends_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    from prefect.events import worker

    ask = worker.related_resources_from_run_context

    def noted(*args: Any, **more: Any) -> Any:
        asked.append(args)
        return ask(*args, **more)

    monkeypatch.setattr(worker, "related_resources_from_run_context", noted)
    with patch.object(lifecycle, "send_in_batches", lambda: None):
        one_by_one = sent_by(tmp_path / "plain")
    assert len(one_by_one) == ROW_GROUPS * TASK_RUNS * STATES
    assert len(asked) >= len(one_by_one)
    asked.clear()
    batched = sent_by(tmp_path / "batched")
    assert [without_ids(event) for event in batched] == [without_ids(event) for event in one_by_one]
    roles = {resource.role for event in batched for resource in event.related}
    assert roles == {"flow-run", "flow", "tag"}
    # Once for all task runs, and for the few events of the dataset.
    assert len(asked) < 10


def test_what_waits_is_sent_together_and_one_that_cannot_be_sent_keeps_no_other_back(
    client: type[AssertingEventsClient], caplog: pytest.LogCaptureFixture
) -> None:
    worker = EventsWorker.instance()
    send_in_batches()
    send_in_batches()  # changes nothing
    handed_over: list[object] = []
    submit = WorkerThread.submit

    def noted(self: WorkerThread, call: Any) -> Any:
        handed_over.append(call)
        return submit(self, call)

    async def picky(self: AssertingEventsClient, event: Event) -> None:
        if event.event == "unsendable":
            raise ValueError("cannot send this")
        self.events.append(event)

    names = [f"event-{number}" for number in range(200)]
    with patch.object(WorkerThread, "submit", noted), patch.object(client, "_emit", picky):
        for name in [*names[:150], "unsendable", *names[150:]]:
            worker.send(Event(event=name, resource={"prefect.resource.id": "test"}))  # type: ignore[arg-type]
        worker.drain()
    assert client.last is not None
    assert [event.event for event in client.last.events] == names
    assert len(handed_over) < 20
    assert "could not be sent" in caplog.text
