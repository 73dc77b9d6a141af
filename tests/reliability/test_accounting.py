"""The account of a dataset, by alias, against what each alias's own endpoint counted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from prefect_datagen.engine.outcomes import DatasetMetadata
from prefect_datagen.models.mock_behaviour import MockBehaviour
from prefect_datagen.storage import DatasetReader
from tests.mock_server import MockServer
from tests.reliability.configs import reviews
from tests.reliability.worlds import attempt

pytestmark = pytest.mark.usefixtures("prefect_api")

PRICES = {"writer": {"input": 1.0, "output": 2.0}, "critic": {"input": 10.0, "output": 30.0}}
ROWS = 60


@pytest.fixture
def servers() -> Iterator[dict[str, MockServer]]:
    """An endpoint for each alias."""
    with ExitStack() as stack:
        yield {alias: stack.enter_context(MockServer()) for alias in PRICES}


def two_models(servers: dict[str, MockServer]) -> dict[str, Any]:
    """Two columns by `writer`, a structured one by `critic`."""
    config = reviews("unused")
    config["model_providers"] = [{"name": alias, "endpoint": server.url} for alias, server in servers.items()]
    (model,) = config["model_configs"]
    config["model_configs"] = [
        {**model, "alias": alias, "provider": alias, "price": price} for alias, price in PRICES.items()
    ]
    config["columns"][-1]["model_alias"] = "critic"
    return config


def metadata_of(path: Path) -> DatasetMetadata:
    """The verdict; its account is that of the servers, count by count."""
    metadata = DatasetReader(path).metadata()
    assert metadata is not None
    return metadata


def check(path: Path, servers: dict[str, MockServer]) -> None:
    """The dataset's account is what the endpoints counted since the dataset's first run."""
    usage = metadata_of(path).usage
    for alias, server in servers.items():
        stats, used, price = server.stats(), usage[alias], PRICES[alias]
        assert (used.calls, used.answers) == (stats.calls, stats.answers), alias
        assert (used.input_tokens, used.output_tokens) == (stats.input_tokens, stats.output_tokens), alias
        assert used.errors == stats.calls - stats.answers, alias
        assert used.throttled == stats.by_status.get("429", 0), alias
        cost = (stats.input_tokens * price["input"] + stats.output_tokens * price["output"]) / 1e6
        assert used.cost == pytest.approx(cost, abs=1e-6), alias


def test_the_account_is_the_servers_across_retries_errors_rejections_resumes_and_repairs(
    tmp_path: Path, servers: dict[str, MockServer]
) -> None:
    config, path = two_models(servers), tmp_path / "d"
    run = {
        "row_group_size": 10,
        "max_concurrent_row_groups": 2,
        "shutdown_grace_seconds": 20.0,
        "disable_early_shutdown": True,
        "on_shortfall": "warn",
        "max_retries": 1,
        "retry_deadline_seconds": 60.0,
        "salvage_rounds": 1,
    }
    troubled = {"errors": ["429:0.1", "500:0.1", "empty:0.05", "reset:0.03"], "retry_after": 0, "latency_ms": 2}
    servers["writer"].become(**troubled, fail_prompt_regex="Write about sad", fail_prompt_code="500")
    servers["critic"].become(**troubled)

    assert attempt(config, path, ROWS, **run, max_total_tokens=3_000).outcome == "EarlyShutdownError"
    check(path, servers)
    assert attempt(config, path, ROWS, **run).outcome == "partial"
    check(path, servers)
    lost = metadata_of(path).rejected
    assert lost > 0
    for server in servers.values():
        server.control(**MockBehaviour().model_dump(mode="json"))
    assert attempt(config, path, ROWS, **run, resume="repair").outcome == "completed"
    check(path, servers)
    assert attempt(config, path, ROWS, **run).outcome == "completed"  # nothing to do
    check(path, servers)
    usage = metadata_of(path).usage
    assert usage["writer"].retries > 0
    assert usage["writer"].replayed > 0
    assert [server.stats().repeated_requests for server in servers.values()] == [0, 0]


def test_without_a_journal_an_open_row_group_is_paid_for_again_and_that_is_counted(
    tmp_path: Path, servers: dict[str, MockServer]
) -> None:
    """`--no-journal`: nothing is kept but what is committed; the account still is what the endpoints counted."""
    config, path = two_models(servers), tmp_path / "d"
    run = {"row_group_size": 20, "max_concurrent_row_groups": 1, "journal": False, "shutdown_grace_seconds": 20.0}
    for server in servers.values():
        server.become(latency_ms=2)
    assert attempt(config, path, ROWS, **run, max_total_tokens=3_000).outcome == "EarlyShutdownError"
    assert not list(path.glob("journal.sqlite*"))
    check(path, servers)
    assert attempt(config, path, ROWS, **run).outcome == "completed"
    check(path, servers)
    assert servers["writer"].stats().repeated_requests > 0
