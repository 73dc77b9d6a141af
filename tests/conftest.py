"""Fixtures that several suites share: one Prefect server and one mock model server per test session."""

from __future__ import annotations

import os
import signal
import warnings
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.mock_server import MockServer
from tests.object_store import ObjectStore, object_store
from tests.prefect.server import PrefectServer

# The machine may be busy: no test fails for being slow. The same examples everywhere: a red run can be had again.
settings.register_profile("suite", deadline=None, derandomize=True)
settings.load_profile("suite")

# A shell lets what it starts in the background ignore Ctrl-C, and so would every process that a test starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _same_environment() -> Iterator[None]:
    """No variable that a test, or the command line that it calls in this process, has set is there for the next one."""
    before = dict(os.environ)
    yield
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    os.environ.update(before)


@pytest.fixture(scope="session")
def prefect_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    """A real Prefect server, which this process uses, too; flows end without waiting for their heartbeat thread.

    There is one for all tests: Prefect sends the events of a process, which is how a server learns of task runs, to the
    server that the first of them went to, whatever the settings say later.
    """
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker
    from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    # A run that is one too many asks for its turn again after so many seconds; 30 by default.
    settings = {"PREFECT_SERVER_DEPLOYMENTS_CONCURRENCY_SLOT_WAIT_SECONDS": "1"}
    with PrefectServer(tmp_path_factory.mktemp("prefect-home"), settings=settings) as server, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with temporary_settings({PREFECT_API_URL: server.url, PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
            yield server
            # What is still to be sent goes now: at this process's end it would be tried for a minute, with nobody there.
            for worker in (APILogWorker, EventsWorker):
                worker.drain_all()


@pytest.fixture(scope="session")
def s3() -> Iterator[ObjectStore]:
    """A real S3 server over HTTP."""
    with object_store() as store:
        yield store


@pytest.fixture(scope="session")
def _mock_server() -> Iterator[MockServer]:
    with MockServer() as server:
        yield server


@pytest.fixture
def mock_server(_mock_server: MockServer) -> MockServer:
    """A mock model server process as new: default behaviour, nothing counted."""
    return _mock_server.become()
