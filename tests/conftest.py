"""Fixtures that several suites share: one Prefect server and one mock model server per test session."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.mock_server import MockServer

# The machine may be busy: no test fails for being slow. The same examples everywhere: a red run can be had again.
settings.register_profile("suite", deadline=None, derandomize=True)
settings.load_profile("suite")


@pytest.fixture(scope="session")
def prefect_api() -> Iterator[None]:
    """Prefect's API on a temporary database; flows end without waiting for their heartbeat thread."""
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
    from prefect.testing.utilities import prefect_test_harness

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quiet = temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None})
        with prefect_test_harness(server_startup_timeout=120), quiet:
            yield


@pytest.fixture(scope="session")
def _mock_server() -> Iterator[MockServer]:
    with MockServer() as server:
        yield server


@pytest.fixture
def mock_server(_mock_server: MockServer) -> MockServer:
    """A mock model server process as new: default behaviour, nothing counted."""
    return _mock_server.become()
