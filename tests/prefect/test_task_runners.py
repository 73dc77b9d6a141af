"""The same dataset from threads, processes, Dask and Ray workers, and what becomes of it when a worker is killed."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
import yaml
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings
from pydantic import ValidationError

from prefect_datagen.config.run import RunConfig, TaskRunnerKind
from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.engine.outcomes import Outcome, Verdict
from prefect_datagen.flows.workers import Workers
from prefect_datagen.storage.reader import DatasetReader
from tests.flows.configs import feedback
from tests.mock_server import MockServer
from tests.object_store import ObjectStore
from tests.prefect.server import Background, PrefectServer

BUSY = 300.0
"""Seconds within which even a busy machine has started workers and ended them."""

NEEDS = {"dask": "prefect_dask", "ray": "prefect_ray"}


def runner(kind: str, *marks: Any) -> Any:
    """A test parameter that is skipped, with the reason, where the extra is not installed."""
    missing = kind in NEEDS and importlib.util.find_spec(NEEDS[kind]) is None
    skip = pytest.mark.skipif(missing, reason=f"prefect-datagen[{kind}] is not installed")
    return pytest.param(kind, marks=[skip, *marks])


ELSEWHERE = [runner("processes"), runner("dask"), runner("ray")]


@pytest.fixture
def config(mock_server: MockServer, tmp_path: Path) -> Path:
    """Two samplers, an expression, two model columns; 8 requests at a time."""
    file = tmp_path / "dataset.yaml"
    file.write_text(yaml.safe_dump(feedback(mock_server.url)))
    return file


def words(config: Path, kind: str, *more: str) -> list[str]:
    """A build of 40 rows in ten row groups on two workers, into the folder named by `kind`."""
    output = str(config.parent / kind)
    size = ("--row-group-size", "4", "--max-row-groups", "4", "--workers", "2")
    return ["build", str(config), "-n", "40", *size, "-o", output, "--seed", "7", "--task-runner", kind, *more]


@contextmanager
def held(
    server: PrefectServer, mock_server: MockServer, config: Path, kind: str
) -> Iterator[tuple[Background, list[psutil.Process]]]:
    """A build whose calls wait, as many as may, and the processes below it."""
    mock_server.become(hold=True)
    with server.start(*words(config, kind), log=config.parent / "build.log") as build:
        stats = mock_server.wait_until(lambda stats: stats.in_flight == 8, timeout=BUSY)
        assert stats.calls == 8, "a call was given up before all were made"
        yield build, psutil.Process(build.process.pid).children(recursive=True)


def rows(folder: Path) -> list[dict[str, Any]]:
    """All rows, in order."""
    found: list[dict[str, Any]] = DatasetReader(folder).dataset().to_table().to_pylist()
    return found


def with_ceiling(mock_server: MockServer, requests: int) -> dict[str, Any]:
    """The config with so many requests at a time."""
    config = feedback(mock_server.url)
    config["model_configs"][0]["inference_parameters"]["max_parallel_requests"] = requests
    return config


@pytest.fixture(scope="module")
def by_threads(server: PrefectServer, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The dataset as threads make it."""
    with MockServer() as mock:
        file = tmp_path_factory.mktemp("threads") / "dataset.yaml"
        file.write_text(yaml.safe_dump(feedback(mock.url)))
        server.run(*words(file, "threads"))
    return rows(file.parent / "threads")


@pytest.mark.parametrize("kind", ELSEWHERE)
def test_the_same_dataset_whatever_the_runner_and_one_ceiling_for_all_workers(
    kind: str, server: PrefectServer, mock_server: MockServer, config: Path, by_threads: list[dict[str, Any]]
) -> None:
    mock_server.become(latency_ms=100)
    done = server.run(*words(config, kind))
    assert "40 of 40 rows" in done.stdout
    assert rows(config.parent / kind) == by_threads
    stats = mock_server.stats()
    assert stats.answers == 80
    assert stats.max_in_flight <= 8
    metadata = DatasetReader(config.parent / kind).metadata()
    assert metadata is not None
    assert metadata.usage["writer"].calls == 80
    assert not [name for name in limit_names(server) if "run-" in name]


@pytest.mark.parametrize("kind", ELSEWHERE)
def test_a_killed_worker_costs_the_row_groups_that_it_held_and_they_run_again(
    kind: str, server: PrefectServer, mock_server: MockServer, config: Path, by_threads: list[dict[str, Any]]
) -> None:
    """The dataset is that of a run that nobody disturbed, and only calls that were in flight are made again."""
    at_once = 4 * (4 if kind == "dask" else 2)  # rows of the row groups in flight, each of which waits for one call
    config.write_text(yaml.safe_dump(with_ceiling(mock_server, 16)))
    mock_server.become(hold=True)
    with server.start(*words(config, kind), log=config.parent / "build.log") as build:
        mock_server.wait_until(lambda stats: stats.in_flight == at_once, timeout=BUSY)  # so each worker waits for some
        callers(build, mock_server)[0].kill()
        mock_server.wait_until(lambda stats: stats.disconnected > 0, timeout=BUSY)
        mock_server.control(hold=False)
        assert build.wait(timeout=BUSY) == 0, build.output
    assert rows(config.parent / kind) == by_threads
    stats = mock_server.stats()
    assert stats.distinct_requests == 80
    assert 80 < stats.calls <= 80 + at_once
    assert "died; the row group is given to another" in build.output or kind != "processes"
    metadata = DatasetReader(config.parent / kind).metadata()
    assert metadata is not None
    assert metadata.status is Verdict.COMPLETE


@pytest.mark.parametrize("kind", ELSEWHERE)
def test_ctrl_c_ends_the_run_and_its_workers_and_a_resume_pays_for_nothing_again(
    kind: str, server: PrefectServer, mock_server: MockServer, config: Path, by_threads: list[dict[str, Any]]
) -> None:
    with held(server, mock_server, config, kind) as (build, below):
        build.interrupt()
        assert build.wait(timeout=BUSY) == 130, build.output
    assert psutil.wait_procs(below, timeout=BUSY)[1] == []
    mock_server.wait_until(lambda stats: stats.in_flight == 0, timeout=BUSY)
    metadata = DatasetReader(config.parent / kind).metadata()
    assert metadata is not None
    assert metadata.status is Verdict.INTERRUPTED
    assert {each.outcome for each in metadata.row_groups} <= {Outcome.COMPLETED, Outcome.ABORTED}

    mock_server.control(hold=False)
    server.run(*words(config, kind))
    assert rows(config.parent / kind) == by_threads
    assert mock_server.stats().answers == 80


@pytest.mark.parametrize("kind", [runner("processes"), runner("dask")])
def test_the_workers_of_a_killed_flow_end_and_a_second_run_finishes_the_dataset(
    kind: str, server: PrefectServer, mock_server: MockServer, config: Path, by_threads: list[dict[str, Any]]
) -> None:
    with held(server, mock_server, config, kind) as (build, below):
        build.kill()
        assert psutil.wait_procs(below, timeout=BUSY)[1] == []
    mock_server.wait_until(lambda stats: stats.in_flight == 0, timeout=BUSY)
    mock_server.control(hold=False)
    server.run(*words(config, kind))
    assert rows(config.parent / kind) == by_threads
    stats = mock_server.stats()
    assert stats.distinct_requests == 80
    assert stats.calls <= 80 + 8


def test_an_error_of_a_worker_ends_the_run_with_that_error(
    server: PrefectServer, mock_server: MockServer, config: Path
) -> None:
    mock_server.become(errors=["400:1"])
    done = server.run(*words(config, "processes"), code=1)
    assert "stopped early: 400" in done.stderr


def test_a_runner_that_is_not_installed_is_an_error_that_says_how(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prefect_ray", None)
    with pytest.raises(ConfigError, match=r"needs prefect-ray .*pip install 'prefect-datagen\[ray\]'"):
        Workers(RunConfig(task_runner=TaskRunnerKind.RAY))


def test_a_cluster_is_for_runners_that_have_one() -> None:
    with pytest.raises(ValidationError, match="cluster 'tcp://x:1' is for task_runner dask or ray, not threads"):
        RunConfig(cluster="tcp://x:1")


@pytest.mark.parametrize("kind", ["threads", "processes", runner("dask")])
def test_a_dataset_on_an_object_store_is_the_same_and_readers_see_whole_row_groups_only(
    kind: str,
    server: PrefectServer,
    mock_server: MockServer,
    s3: ObjectStore,
    by_threads: list[dict[str, Any]],
    tmp_path: Path,
) -> None:
    mock_server.become(latency_ms=200)
    url = s3.new_url()
    script = tmp_path / "build_on_s3.py"
    script.write_text(
        "import json, sys\n"
        "from prefect_datagen import ParquetRowGroupSink, RunConfig, build_dataset\n"
        "if __name__ == '__main__':\n"
        "    config, url, options, kind = json.loads(sys.argv[1])\n"
        "    run = RunConfig(seed=7, row_group_size=4, task_runner=kind)\n"
        "    sink = ParquetRowGroupSink(path=url, storage_options=options)\n"
        "    build_dataset(config, num_records=40, sink=sink, run=run)\n"
    )
    order = json.dumps([feedback(mock_server.url), url, s3.options, kind])
    env = server.env(XDG_CACHE_HOME=str(tmp_path))
    reader = DatasetReader(url, storage_options=s3.options)
    seen = set()
    with Background([sys.executable, str(script), order], env=env, log=tmp_path / "log") as build:
        while build.process.poll() is None:
            committed = reader.committed()
            count = reader.dataset().count_rows()
            assert count % 4 == 0
            assert count >= 4 * len(committed)  # others may have come meanwhile
            seen.add(count)
        assert build.wait() == 0, build.output
    assert len(seen) > 1
    assert reader.dataset().to_table().to_pylist() == by_threads
    assert mock_server.stats().answers == 80
    metadata = reader.metadata()
    assert metadata is not None
    assert metadata.status is Verdict.COMPLETE


def limit_names(server: PrefectServer) -> list[str]:
    """Names of the global concurrency limits of a server."""
    with temporary_settings({PREFECT_API_URL: server.url}), get_client(sync_client=True) as client:
        answer = client.request("POST", "/v2/concurrency_limits/filter", json={})
    return [limit["name"] for limit in answer.json()]


def callers(build: Background, mock_server: MockServer) -> list[psutil.Process]:
    """The processes below a build that are connected to the model: its workers."""
    port = urlsplit(mock_server.url).port
    found = []
    for child in psutil.Process(build.process.pid).children(recursive=True):
        with suppress(psutil.Error):
            if any(each.raddr and each.raddr.port == port for each in child.net_connections("tcp")):
                found.append(child)
    return found
