"""One real Prefect server per test session for everything in this folder."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import pytest

from tests.prefect.server import PrefectServer


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    """`prefect server start` on a port and a home of its own."""
    with PrefectServer(tmp_path_factory.mktemp("prefect-home")) as running:
        yield running


@pytest.fixture
def client_settings(server: PrefectServer) -> Iterator[PrefectServer]:
    """This process uses the server, too; flows end without waiting for their heartbeat thread."""
    from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with temporary_settings({PREFECT_API_URL: server.url, PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
            yield server
