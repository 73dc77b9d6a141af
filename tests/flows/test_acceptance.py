"""What a build shows to the endpoint: full use of its limit, no barrier between columns, the same text everywhere."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from prefect_datagen.blocks import ModelEndpoint, ParquetRowGroupSink
from prefect_datagen.config.run import RunConfig
from prefect_datagen.flows.build import build_dataset
from tests.flows.configs import AIRPORTS
from tests.mock_server import MockServer
from tests.prefect.server import wait_for

pytestmark = pytest.mark.usefixtures("prefect_api")


def build_slowly_until_full(mock_server: MockServer, folder: Path) -> None:
    """Build 250 rows of four calls; the endpoint is slow until 64 are in flight: a busy machine takes its time to send
    as many."""
    mock_server.become(latency_ms=5_000, jitter_ms=2_000, log_requests=True)

    def quicken() -> None:
        wait_for(lambda: mock_server.stats().in_flight == 64, what="64 calls in flight")
        mock_server.control(latency_ms=400, jitter_ms=200)

    with ThreadPoolExecutor(1) as threads:
        quickened = threads.submit(quicken)
        build_dataset(
            str(AIRPORTS),
            num_records=250,
            sink=ParquetRowGroupSink(path=folder),
            run=RunConfig(row_group_size=50, seed=7),
            endpoints=[ModelEndpoint(provider="endpoint", base_url=mock_server.url)],
        )
        quickened.result()


def test_the_endpoint_is_kept_at_its_limit_and_dependent_cells_start_at_once(
    tmp_path: Path, mock_server: MockServer
) -> None:
    """64 in flight and never more; the first dependent cell is asked for before ten rows of its inputs are answered.

    For how much of the run it is exactly 64 is a figure of a quiet machine, and no assertion.
    """
    build_slowly_until_full(mock_server, tmp_path / "d")
    stats = mock_server.stats()
    assert stats.calls == 1_000
    assert stats.max_in_flight == 64
    requests = sorted(mock_server.requests(), key=lambda request: request.arrived)
    first_review = next(request for request in requests if request.prompt.startswith("Join both"))
    answered = [each.prompt for each in requests if each.finished is not None and each.finished < first_review.arrived]
    arrivals = sum(prompt.startswith("You are a") for prompt in answered)
    troubles = sum(prompt.startswith("A ") for prompt in answered)
    assert 1 <= min(arrivals, troubles) < 10  # so many rows at most have both inputs


def test_an_endpoint_that_pushed_back_one_run_gets_the_next_one_whole(tmp_path: Path, mock_server: MockServer) -> None:
    mock_server.become(latency_ms=5, errors=["429:0.3"])
    build_dataset(
        str(AIRPORTS),
        num_records=12,
        sink=ParquetRowGroupSink(path=tmp_path / "first"),
        run=RunConfig(seed=7),
        endpoints=[ModelEndpoint(provider="endpoint", base_url=mock_server.url)],
    )
    assert mock_server.stats().by_status["429"] > 8
    build_slowly_until_full(mock_server, tmp_path / "second")
    assert mock_server.stats().max_in_flight == 64
