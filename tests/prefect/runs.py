"""Runs of deployments: started as the UI does, waited for, and what the server knows of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun
from prefect.states import Scheduled

from tests.prefect.server import wait_for

POOL = "tests"


@contextmanager
def client() -> Iterator[SyncPrefectClient]:
    """A client of the server."""
    with get_client(sync_client=True) as found:
        yield found


def start(name: str, *, at: datetime | None = None, **parameters: Any) -> UUID:
    """Start a run of a deployment, as the UI does; `at` is when it was scheduled."""
    with client() as api:
        deployment = api.read_deployment_by_name(name)
        state = Scheduled(scheduled_time=at or datetime.now(UTC))
        return api.create_flow_run_from_deployment(deployment.id, parameters=parameters, state=state).id


def ended(run: UUID, *, timeout: float = 180.0) -> FlowRun:
    """The run, when it is over, if that is within `timeout` seconds."""

    def look() -> FlowRun | None:
        with client() as api:
            found = api.read_flow_run(run)
        return found if found.state is not None and found.state.is_final() else None

    found: FlowRun = wait_for(look, timeout=timeout, what=f"the end of flow run {run}")
    return found


def events(resource: str, *names: str) -> list[dict[str, Any]]:
    """Events of one resource that the server has, the earliest first."""
    wanted = {"resource": {"id": [resource]}, "order": "ASC"}
    if names:
        wanted["event"] = {"name": list(names)}
    with client() as api:
        answer = api._client.post("/events/filter", json={"filter": wanted, "limit": 50})
    answer.raise_for_status()
    found: list[dict[str, Any]] = answer.json()["events"]
    return found


def logs(run: UUID) -> str:
    """The log of a flow run as the UI shows it."""
    wanted = {"logs": {"flow_run_id": {"any_": [str(run)]}}, "limit": 200}
    with client() as api:
        answer = api._client.post("/logs/filter", json=wanted)
    answer.raise_for_status()
    return "\n".join(each["message"] for each in answer.json())


def artifacts(run: UUID) -> dict[str, str]:
    """The artifacts of a flow run by type, as text: `progress`, `table`, `markdown` (cards and links, one after another)."""
    with client() as api:
        answer = api._client.post("/artifacts/filter", json={"artifacts": {"flow_run_id": {"any_": [str(run)]}}})
    answer.raise_for_status()
    found: defaultdict[str, str] = defaultdict(str)
    for each in answer.json():
        found[each["type"]] += str(each["data"]) + "\n"
    return dict(found)
