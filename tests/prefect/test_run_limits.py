"""Limits over several processes: real builds in real processes against one endpoint, with one real Prefect server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.settings import PREFECT_API_URL, temporary_settings

from prefect_datagen.config.dataset import DatasetConfig
from prefect_datagen.config.run import RunConfig
from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.storage.reader import DatasetReader
from prefect_datagen.tasks.limit_server import LimitServer
from prefect_datagen.tasks.run_limits import LOOK_EVERY, Leases, RunLimits, ensure_limits, members_of
from tests.flows.configs import feedback, samplers
from tests.mock_server import MockServer
from tests.prefect.server import PrefectServer, wait_for

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def forgetful_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    """A server whose leases run out after three seconds, and are looked after every half."""
    settings = {
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "tests.prefect.short_leases",
        "PREFECT_SERVER_SERVICES_REPOSSESSOR_LOOP_SECONDS": "0.5",
        "PYTHONPATH": str(ROOT),
    }
    with PrefectServer(tmp_path_factory.mktemp("forgetful"), settings=settings) as running:
        yield running


@pytest.fixture
def limits(server: PrefectServer) -> Iterator[LimitServer]:
    """The session's server, as leases see it."""
    with temporary_settings({PREFECT_API_URL: server.url}):
        opened = LimitServer()
        yield opened
        opened.close()


def shared(url: str, path: Path, prompt: str, **limits: Any) -> Path:
    """A config whose model has shared limits; `prompt` begins every prompt."""
    config = feedback(url)
    for column in config["columns"][3:]:
        column["prompt"] = f"{prompt}: {column['prompt']}"
    config["model_configs"][0]["shared_limits"] = limits
    file = path / f"{prompt}.yaml"
    file.write_text(yaml.safe_dump(config))
    return file


def test_two_builds_in_two_processes_keep_to_one_ceiling_and_both_get_on(
    server: PrefectServer, limits: LimitServer, mock_server: MockServer, tmp_path: Path
) -> None:
    mock_server.become(latency_ms=5000, log_requests=True)
    names = ("one", "two")
    configs = [shared(mock_server.url, tmp_path, name, name="both", max_parallel_requests=6) for name in names]
    words = [
        ("build", str(config), "-n", "90", "--row-group-size", "30", "-o", str(tmp_path / config.stem))
        for config in configs
    ]
    with ThreadPoolExecutor() as threads:
        runs = [threads.submit(server.run, *each) for each in words]
        # Slow until both take part: a process that starts late finds the other one still at work.
        wait_for(
            lambda: {call.prompt[:3] for call in mock_server.requests()} == set(names), what="calls of both builds"
        )
        mock_server.control(latency_ms=150)
        for run in runs:
            run.result()
    assert [DatasetReader(tmp_path / name).dataset().count_rows() for name in names] == [90, 90]
    assert mock_server.stats().max_in_flight == 6
    calls = {name: [call for call in mock_server.requests() if call.prompt.startswith(name)] for name in names}
    assert [len(calls[name]) for name in names] == [180, 180]
    began = max(made[0].arrived for made in calls.values())
    ended = min(made[-1].arrived for made in calls.values())
    together = [sum(began < call.arrived < ended for call in made) for made in calls.values()]
    assert min(together) > 0.25 * sum(together)
    for name in ("datagen-model-both", members_of("datagen-model-both")):
        limit = limits.find(name)
        assert limit is not None
        assert limit.taken == 0


def test_slots_that_come_free_are_taken_though_no_call_ends(
    server: PrefectServer, limits: LimitServer, mock_server: MockServer, tmp_path: Path
) -> None:
    mock_server.become(hold=True)
    config = shared(mock_server.url, tmp_path, "one", name="held", max_parallel_requests=6)
    limits.create("datagen-model-held", 6)
    elsewhere = limits.acquire("datagen-model-held", 4, lease_seconds=300)
    assert elsewhere is not None
    with server.start("build", str(config), "-n", "6", "-o", str(tmp_path / "out"), log=tmp_path / "log") as build:
        mock_server.wait_until(lambda stats: stats.in_flight == 2, timeout=60)
        time.sleep(4 * LOOK_EVERY)  # looks that find nothing free
        assert mock_server.stats().calls == 2
        limits.release(elsewhere)
        mock_server.wait_until(lambda stats: stats.in_flight == 6, timeout=60)
        mock_server.control(hold=False)
        assert build.wait() == 0, build.output
    assert mock_server.stats().calls == 12


def test_rates_hold_over_two_processes(server: PrefectServer, mock_server: MockServer, tmp_path: Path) -> None:
    mock_server.become(latency_ms=5)
    configs = [shared(mock_server.url, tmp_path, name, name="rate", rpm=600) for name in ("one", "two")]
    words = [("build", str(config), "-n", "20", "-o", str(tmp_path / config.stem)) for config in configs]
    with ThreadPoolExecutor() as threads:
        list(threads.map(lambda each: server.run(*each), words))
    stats = mock_server.stats()
    assert stats.answers == 80
    assert stats.first_call_at is not None
    assert stats.last_answer_at is not None
    # Beside ten a second: one second's worth, and a call more for each process.
    assert stats.calls <= 10 * (stats.last_answer_at - stats.first_call_at) + 10 + 2


def test_row_groups_of_two_runs_wait_for_the_slots_of_a_killed_one(
    forgetful_server: PrefectServer, mock_server: MockServer, tmp_path: Path
) -> None:
    mock_server.become(latency_ms=60_000)
    server = forgetful_server
    config = tmp_path / "dataset.yaml"
    config.write_text(yaml.safe_dump(feedback(mock_server.url)))
    words = ["build", str(config), "-n", "4", "--row-group-size", "2"]
    # 240 s are 12 s on that server.
    limit = ["--set", "run.row_group_limit={name: one at a time, slots: 1}", "--set", "run.lease_seconds=240"]
    runs = {
        name: server.start(*words, "-o", str(tmp_path / name), *limit, log=tmp_path / f"{name}.log") for name in "ab"
    }
    with runs["a"], runs["b"]:
        mock_server.wait_until(lambda stats: stats.in_flight == 2, timeout=60)
        wait_for(lambda: any("waits for a slot" in run.output for run in runs.values()), what="the other run to wait")
        [waiting] = [name for name, run in runs.items() if "waits for a slot" in run.output]
        killed = "b" if waiting == "a" else "a"
        assert mock_server.stats().calls == 2
        runs[killed].kill()
        mock_server.control(latency_ms=0)
        assert runs[waiting].wait() == 0, runs[waiting].output
    assert DatasetReader(tmp_path / killed).committed() == {}
    assert [group.written for group in DatasetReader(tmp_path / waiting).committed().values()] == [2, 2]


def test_a_lease_lives_while_it_is_renewed(forgetful_server: PrefectServer) -> None:
    with temporary_settings({PREFECT_API_URL: forgetful_server.url}):
        server = LimitServer()
        server.create("renewed", 4)

        async def hold() -> None:
            leases = Leases(server, "renewed", seconds=60)
            assert await leases.acquire(3)
            assert not await leases.acquire(2)
            for _ in range(5):
                await asyncio.sleep(1.0)  # five seconds in all: more than a lease lasts there
                leases.held[0].until = time.monotonic()
                await leases.renew()
                assert leases.slots == 3

        asyncio.run(hold())
        held = server.find("renewed")
        assert held is not None
        assert held.taken == 3
        wait_for(
            lambda: (found := server.find("renewed")) is not None and found.taken == 0, what="the lease to run out"
        )
        server.close()


def test_a_lease_that_the_server_forgot_is_used_no_more(forgetful_server: PrefectServer) -> None:
    with temporary_settings({PREFECT_API_URL: forgetful_server.url}):
        server = LimitServer()
        server.create("forgotten", 4)

        async def hold() -> int:
            leases = Leases(server, "forgotten", seconds=60)
            assert await leases.acquire(4)
            server.release(leases.held[0].id)
            leases.held[0].until = time.monotonic() + 10
            await leases.renew()
            return leases.slots

        assert asyncio.run(hold()) == 0
        server.close()


def test_a_missing_limit_is_created_on_purpose_or_refused_and_never_ignored(
    server: PrefectServer, limits: LimitServer, tmp_path: Path
) -> None:
    config = tmp_path / "dataset.yaml"
    config.write_text(yaml.safe_dump(samplers()))
    words = ["build", str(config), "-n", "4", "-o", str(tmp_path / "out")]
    refused = server.run(*words, "--set", "run.row_group_limit={name: not there}", code=2)
    assert "no global concurrency limit 'not there'" in refused.stderr
    assert "prefect gcl create 'not there' --limit N" in refused.stderr
    assert not (tmp_path / "out" / "run.json").exists()
    assert limits.find("not there") is None
    created = server.run(*words, "--set", "run.row_group_limit={name: made now, slots: 3}")
    assert "created the global concurrency limit 'made now' with 3 slots" in created.stderr
    made = limits.find("made now")
    assert made is not None
    assert (made.slots, made.taken) == (3, 0)


def model(**limits: Any) -> DatasetConfig:
    """A config of one model with shared limits."""
    config = feedback()
    config["model_configs"][0]["shared_limits"] = limits
    return DatasetConfig.load(config)


def test_what_the_server_says_counts_and_is_told(limits: LimitServer) -> None:
    limits.create("datagen-model-small", 2)
    [said] = ensure_limits(model(name="small", max_parallel_requests=9), RunConfig())
    assert "has 2 slots on the server, which count; the config says 9" in said
    assert limits.find(members_of("datagen-model-small")) is not None
    limits.create("datagen-model-empty", 0)
    with pytest.raises(ConfigError, match="has no slots: nothing could ever run"):
        ensure_limits(model(name="empty", max_parallel_requests=9), RunConfig())
    with pytest.raises(ConfigError, match="no global concurrency limit 'datagen-model-mock'"):
        ensure_limits(model(rpm=9, create=False), RunConfig())


def test_a_limit_that_is_deleted_meanwhile_ends_the_run(limits: LimitServer) -> None:
    config = model(name="deleted", max_parallel_requests=9)
    ensure_limits(config, RunConfig())
    limits._client.delete_global_concurrency_limit_by_name("datagen-model-deleted")
    told: list[Exception] = []

    async def run() -> None:
        run_limits = RunLimits(config, RunConfig())
        async with run_limits.row_group(stopping=lambda: False, failed=told.append, say=print) as may_begin:
            assert may_begin
        await run_limits.aclose()

    asyncio.run(run())
    assert "'datagen-model-deleted' is gone from Prefect's server" in str(told[0])
