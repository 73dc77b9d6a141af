"""The suite's Prefect server under a shorter name, and one worker for all."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.prefect.runs import POOL
from tests.prefect.server import PrefectServer


@pytest.fixture(scope="session")
def server(prefect_api: PrefectServer) -> PrefectServer:
    """`prefect server start` on a port and a home of its own."""
    return prefect_api


@pytest.fixture(scope="session")
def worker(server: PrefectServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A process worker of the pool that the tests deploy to. It knows one key that no test process knows."""
    with server.worker(POOL, log=tmp_path_factory.mktemp("worker") / "worker.log", WORKER_KEY="right"):
        yield
