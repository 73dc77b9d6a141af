"""What trouble with an endpoint costs, in calls counted by the endpoint itself: a dead one, a narrow one, a full one."""

from __future__ import annotations

import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from prefect_datagen.config.run import RunConfig
from prefect_datagen.engine.errors import EarlyShutdownError
from prefect_datagen.flows.preview import preview_dataset
from prefect_datagen.models.mock_stats import LoggedRequest
from prefect_datagen.storage import DatasetReader
from tests.mock_server import MockServer
from tests.reliability.child_builds import wait_for
from tests.reliability.configs import CALLS, CEILING, reviews
from tests.reliability.servers import free_port
from tests.reliability.worlds import World, attempt

pytestmark = pytest.mark.usefixtures("prefect_api")

WINDOW = 20
MOST = CEILING + 2 * WINDOW
HASTY: dict[str, Any] = {
    "row_group_size": 100,
    "max_concurrent_row_groups": 4,
    "shutdown_error_window": WINDOW,
    "retry_deadline_seconds": 1.0,
    "max_conversation_restarts": 0,
}


@pytest.mark.parametrize("rows", [50, 2_000])
@pytest.mark.parametrize("fault", ["401", "400", "500", "503", "429", "reset", "empty", "refused"])
def test_a_dead_endpoint_costs_the_same_few_calls_whatever_the_number_of_rows(
    fault: str, rows: int, tmp_path: Path, mock_server: MockServer
) -> None:
    """Those in flight and two windows; and cells that wait for a cell that failed are never asked for."""
    mock_server.become(errors=[fault] if fault != "refused" else [], retry_after=0, latency_ms=2, log_requests=True)
    url = f"http://127.0.0.1:{free_port()}/v1" if fault == "refused" else mock_server.url
    config = reviews(url, model=f"dead-{fault}-{rows}")
    ended = attempt(config, tmp_path / "d", rows, **HASTY)
    assert ended.outcome == "EarlyShutdownError", ended.output
    metadata = DatasetReader(tmp_path / "d").metadata()
    assert metadata is not None
    if fault == "refused":
        assert metadata.usage["writer"].calls <= MOST
        return
    assert mock_server.stats().calls <= MOST
    assert {request.prompt.split()[0] for request in mock_server.requests()} == {"Write"}


def test_a_preview_of_a_dead_endpoint_ends_early_too(mock_server: MockServer) -> None:
    mock_server.become(errors=["401"], latency_ms=2)
    run = RunConfig.model_validate(HASTY)
    with pytest.raises(EarlyShutdownError, match=r"stopped early: 401 from http://\S+ on (\d+) of \1 cells of model"):
        preview_dataset(reviews(mock_server.url, model="dead-preview"), num_records=500, run=run)
    assert mock_server.stats().calls <= MOST


def test_a_preview_goes_on_where_early_shutdown_is_disabled(mock_server: MockServer) -> None:
    mock_server.become(errors=["400"])
    run = RunConfig.model_validate({**HASTY, "disable_early_shutdown": True, "on_shortfall": "warn"})
    preview = preview_dataset(reviews(mock_server.url, model="dead-preview-2"), num_records=100, run=run)
    assert len(preview.rejects) == 100
    assert mock_server.stats().calls == 100


def _of_ceiling(config: dict[str, Any], ceiling: int, **model: Any) -> dict[str, Any]:
    config["model_configs"][0]["inference_parameters"]["max_parallel_requests"] = ceiling
    config["model_configs"][0].update(model)
    return config


def test_an_endpoint_that_takes_sixteen_wastes_at_most_fifty_of_nine_hundred_calls(
    tmp_path: Path, mock_server: MockServer
) -> None:
    mock_server.become(max_in_flight=16, latency_ms=20)
    config = _of_ceiling(reviews(mock_server.url, model="sixteen"), 64)
    assert attempt(config, tmp_path / "d", 300, row_group_size=100).outcome == "completed"
    stats = mock_server.stats()
    assert stats.answers == 900
    assert stats.calls - stats.answers <= 50
    assert stats.max_in_flight == 16


def test_one_percent_of_push_backs_costs_these_calls_again_and_leaves_the_limit_up(
    tmp_path: Path, mock_server: MockServer
) -> None:
    """What it costs in time is a figure of a quiet machine: `python -m benchmarks.reliability`."""
    mock_server.become(errors=["429:0.01"], retry_after=0, latency_ms=20)
    config = _of_ceiling(reviews(mock_server.url, model="one-percent"), 64)
    assert attempt(config, tmp_path / "d", 300, row_group_size=100).outcome == "completed"
    stats = mock_server.stats()
    refused = stats.by_status["429"]
    assert 0 < refused < 30
    assert (stats.answers, stats.calls) == (900, 900 + refused)
    assert stats.max_in_flight >= 32


def test_aliases_of_one_model_share_its_limit_and_keep_a_ceiling_each(tmp_path: Path, mock_server: MockServer) -> None:
    mock_server.become(latency_ms=10, log_requests=True)
    config = reviews(mock_server.url, model="shared")
    (writer,) = config["model_configs"]
    config["model_configs"] = [
        {**writer, "alias": alias, "inference_parameters": {"max_parallel_requests": ceiling}}
        for alias, ceiling in (("writer", 3), ("critic", 9))
    ]
    config["columns"][-1]["model_alias"] = "critic"
    config["columns"][-1]["prompt"] = "Rate this: {{ title }}"
    assert attempt(config, tmp_path / "d", 60, row_group_size=30).outcome == "completed"
    most = _most_in_flight(mock_server.requests())
    assert most["writer"] <= 3
    assert most["critic"] <= 9
    assert mock_server.stats().max_in_flight == 9


def _most_in_flight(requests: list[LoggedRequest]) -> Counter[str]:
    """Most calls at once by alias, from the order of arrivals and finishes."""
    moments: list[tuple[int, int, str]] = []
    for request in requests:
        alias = "critic" if "Rate this" in request.prompt else "writer"
        assert request.finished is not None
        moments += [(request.arrived, 1, alias), (request.finished, -1, alias)]
    now, most = Counter[str](), Counter[str]()
    for _, step, alias in sorted(moments):
        now[alias] += step
        most[alias] = max(most[alias], now[alias])
    return most


def test_a_budget_of_requests_a_minute_is_kept(tmp_path: Path, mock_server: MockServer) -> None:
    """1,200 a minute are twenty a second: sixty calls take two seconds at least, however fast the endpoint is."""
    mock_server.become()
    config = _of_ceiling(reviews(mock_server.url, model="budgeted"), 64, rpm=1_200)
    assert attempt(config, tmp_path / "d", 20, row_group_size=20).outcome == "completed"
    stats = mock_server.stats()
    assert stats.calls == 60
    assert stats.first_call_at is not None
    assert stats.last_answer_at is not None
    assert stats.last_answer_at - stats.first_call_at >= 1.8


def test_a_budget_of_tokens_a_minute_holds_calls_back_says_so_and_is_no_part_of_the_dataset(world: World) -> None:
    """One answer spends the tokens of many minutes: no second call is made. Without the budget a resume goes on."""
    assert len(world.expected) == world.rows
    unlimited = _of_ceiling(world.config, 1)
    world.config = _of_ceiling(reviews(world.server.url), 1, tpm=1)
    child = world.child(slow_call_seconds=0.3)
    wait_for(
        lambda: "writer: budget per minute is spent, next call in " in child.output, "the run says what it waits for"
    )
    stats = world.server.stats()
    assert (stats.calls, stats.answers) == (1, 1)
    assert stats.output_tokens > 1
    child.send(signal.SIGINT)
    assert child.wait() == 130, child.output
    world.config = unlimited
    assert world.resume().outcome == "completed"
    pd.testing.assert_frame_equal(DatasetReader(world.path).load(), world.expected)
    assert (world.server.stats().calls, world.paid_twice()) == (CALLS, 0)
