"""A build beside a Prefect server that keeps its records in PostgreSQL: what many runs on many machines need."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from prefect_datagen.storage.reader import DatasetReader
from tests.flows.configs import feedback
from tests.mock_server import MockServer
from tests.postgres import postgres
from tests.prefect.server import PrefectServer, wait_for


@pytest.fixture
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with postgres(tmp_path_factory.mktemp("postgres")) as found:
        yield found


def test_a_build_on_worker_processes_is_recorded_in_postgresql(
    host: str, mock_server: MockServer, tmp_path: Path
) -> None:
    config = tmp_path / "dataset.yaml"
    config.write_text(yaml.safe_dump(feedback(mock_server.url)))
    database = f"postgresql+asyncpg://tester@/postgres?host={host}"
    settings = {"PREFECT_SERVER_DATABASE_CONNECTION_URL": database}
    out = tmp_path / "out"
    with PrefectServer(tmp_path / "home", settings=settings) as server:
        size = ("-n", "40", "--row-group-size", "4", "--task-runner", "processes", "--workers", "2")
        server.run("build", str(config), *size, "-o", str(out), "--set", "run.stages=inline")

        def of_task_runs() -> list[Any]:
            with psycopg.connect(f"user=tester dbname=postgres host={host}") as connection:
                states = connection.execute("SELECT state_type FROM task_run WHERE name LIKE 'process-row-group-%'")
                found = [state for (state,) in states if state == "COMPLETED"]
            return found if len(found) == 10 else []

        wait_for(of_task_runs, timeout=300, what="ten task runs")
        with psycopg.connect(f"user=tester dbname=postgres host={host}") as connection:
            assert connection.execute("SELECT state_type FROM flow_run").fetchall() == [("COMPLETED",)]
            limits = connection.execute("SELECT name FROM concurrency_limit_v2").fetchall()
    assert [name for (name,) in limits if "run-" in name] == []
    assert not (tmp_path / "home" / "prefect.db").exists()
    assert DatasetReader(out).dataset().count_rows() == 40
    assert mock_server.stats().max_in_flight <= 8
