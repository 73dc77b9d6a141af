"""One fork server, one mock model server and one uninterrupted run of each config for all tests of this folder."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.prefect.server import PrefectServer
from tests.reliability.child_builds import ForkServer
from tests.reliability.matrix import CASES
from tests.reliability.table import WRITE, Line, write
from tests.reliability.worlds import References, World
from tests.storage.conftest import small_disk

__all__ = ["small_disk"]


@pytest.fixture(scope="session")
def api_url(prefect_api: PrefectServer) -> str:
    """Where child processes find Prefect's API: they start no server of their own."""
    return prefect_api.url


@pytest.fixture(scope="session")
def fork_server(api_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkServer]:
    """Builds in child processes."""
    with ForkServer(api_url, tmp_path_factory.mktemp("children")) as server:
        yield server


@pytest.fixture(scope="session")
def references(prefect_api: PrefectServer, tmp_path_factory: pytest.TempPathFactory) -> References:
    """Uninterrupted datasets, each built once."""
    return References(tmp_path_factory.mktemp("references"))


@pytest.fixture
def world(request: pytest.FixtureRequest, references: References) -> World:
    """A place for a dataset, an endpoint, and what may happen to both."""
    return World(request, references)


@pytest.fixture(scope="session")
def matrix_lines() -> Iterator[dict[str, Line]]:
    """What was found of each fault; written into the documentation at the end, where that was asked for."""
    lines: dict[str, Line] = {}
    yield lines
    if os.environ.get(WRITE):
        if len(lines) < len(CASES):
            raise RuntimeError(
                f"{len(lines)} of {len(CASES)} faults were played to their end: the table is not written"
            )
        write({case.name: lines[case.name] for case in CASES})
