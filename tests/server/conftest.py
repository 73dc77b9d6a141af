"""A real server process, real datasets written by the real store, and a plain HTTP client for them."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from prefect_datagen.engine.outcomes import (
    DatasetMetadata,
    ModelUsage,
    RejectedRow,
    RowGroupOutcome,
    Verdict,
    add_usage,
)
from prefect_datagen.storage import DatasetDirectory, RowGroupCommit, RunRecord

DEADLINE = 30.0
"""Seconds after which a condition that should come true is given up; never waited for where it does."""

COMMAND = [sys.executable, "-c", "from prefect_datagen.cli.main import main; main()", "serve"]
"""What the installed `prefect-datagen serve` runs."""

SCHEMA = pa.schema(
    [
        ("id", pa.int64()),
        ("code", pa.string()),
        ("city", pa.string()),
        ("score", pa.float64()),
        ("born", pa.date32()),
        ("tags", pa.list_(pa.string())),
        ("ok", pa.bool_()),
    ]
)
CODES = ["0E8", "00M", "1.10", "null", "true", "NA", "", "1e5"]
CITIES = ["Oslo", "Roma", "Zürich", None]


def table_of(start: int, rows: int) -> pa.Table:
    """Rows `start` to `start + rows` of a dataset whose values follow from the row's number."""
    numbers = range(start, start + rows)
    return pa.table(
        {
            "id": list(numbers),
            "code": [CODES[n % len(CODES)] for n in numbers],
            "city": [CITIES[n % len(CITIES)] for n in numbers],
            "score": [float("nan") if n % 10 == 9 else n / 4 for n in numbers],
            "born": [datetime(2000 + n % 30, 1 + n % 12, 1).date() for n in numbers],
            "tags": [[f"t{n % 3}", "all"] for n in numbers],
            "ok": [n % 2 == 0 for n in numbers],
        },
        schema=SCHEMA,
    )


@dataclass
class Dataset:
    """A dataset that grows row group by row group, through the store that builds use."""

    path: Path
    store: DatasetDirectory
    row_group_size: int = 20
    row_groups: int = 0

    def commit(self, *, rejected: int = 0, table: pa.Table | None = None) -> None:
        """Commit one more row group, with some of its rows rejected."""
        start = self.row_groups * self.row_group_size
        written = self.row_group_size - rejected
        rejects = [
            RejectedRow(
                row_index=start + written + n,
                column="code",
                error_type="ModelError",
                reason="timeout",
                message="no answer",
                attempts=3,
                retryable=True,
            )
            for n in range(rejected)
        ]
        self.store.commit(
            RowGroupCommit(
                index=self.row_groups,
                start_row=start,
                planned=self.row_group_size,
                requested=self.row_group_size,
                table=table_of(start, written) if table is None else table,
                rejects=rejects,
                usage={"writer": ModelUsage(calls=written, answers=written, input_tokens=100, output_tokens=50)},
                stage_seconds={"generate": 1.0},
                started_at=datetime.now(UTC),
            )
        )
        self.row_groups += 1

    def finish(self, status: Verdict = Verdict.COMPLETE) -> None:
        """Write the metadata of a run that ended."""
        manifests = self.store.committed()
        now = datetime.now(UTC)
        self.store.write_metadata(
            DatasetMetadata(
                name=self.path.name,
                status=status,
                target_num_records=sum(item.requested for item in manifests.values()),
                actual_num_records=sum(item.written for item in manifests.values()),
                row_group_size=self.row_group_size,
                row_groups=[
                    RowGroupOutcome(index=index, outcome=item.outcome, manifest=item)
                    for index, item in manifests.items()
                ],
                usage=add_usage(item.usage for item in manifests.values()),
                seed=1,
                fingerprint="f",
                started_at=now,
                ended_at=now,
                seconds=1.0,
            )
        )


NewDataset = Callable[..., Dataset]


@contextmanager
def datasets_in(folder: Path) -> Iterator[NewDataset]:
    """Makes open datasets below a folder, each with some row groups."""
    opened: list[DatasetDirectory] = []

    def make(name: str = "cities", *, row_groups: int = 0, schema: pa.Schema = SCHEMA) -> Dataset:
        store = DatasetDirectory(folder / name, schema=schema)
        opened.append(store)
        store.write_config("columns: []\n")
        store.write_run(
            RunRecord(seed=1, row_group_size=20, fingerprint="f", library_version="0", created_at=datetime.now(UTC))
        )
        dataset = Dataset(folder / name, store)
        for _ in range(row_groups):
            dataset.commit()
        return dataset

    yield make
    for store in opened:
        store.close()


@pytest.fixture
def new_dataset(tmp_path: Path) -> Iterator[NewDataset]:
    """Makes datasets for one test."""
    with datasets_in(tmp_path) as make:
        yield make


@pytest.fixture(scope="module")
def module_dataset(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NewDataset]:
    """Makes datasets that the tests of a module share."""
    with datasets_in(tmp_path_factory.mktemp("datasets")) as make:
        yield make


@dataclass(frozen=True)
class Answer:
    """One HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, str]:
        error: dict[str, str] = self.json["error"]
        return error


class ServerProcess:
    """`prefect-datagen serve` as a process of its own."""

    def __init__(self, *arguments: str, environment: dict[str, str] | None = None) -> None:
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed by `stop`
        self.process = subprocess.Popen(
            [*COMMAND, *arguments, "--port", "0"],
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env={**os.environ, **(environment or {})},
        )
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()
        if not self.url:
            raise AssertionError(f"the server did not start: {self.stop()}")
        self.port = int(self.url.partition("#")[0].rstrip("/").rpartition(":")[2])

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE)

    def request(
        self, method: str, path: str, *, headers: dict[str, str] | None = None, body: bytes | None = None
    ) -> Answer:
        connection = self.connect()
        try:
            connection.request(method, path, body=body, headers=headers or {})
            answer = connection.getresponse()
            return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        return self.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})

    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = self.get("/api/health").json
        return state

    def wait(self, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first state in which a condition holds, as the server's events tell it."""
        stream = self.connect()
        until = time.monotonic() + DEADLINE
        state: dict[str, Any] = {}
        try:
            stream.request("GET", "/api/events")
            for event, data in events_of(stream.getresponse()):
                state = json.loads(data)
                if event == "state" and condition(state):
                    return state
                if time.monotonic() > until:
                    break
        except TimeoutError:
            pass
        finally:
            stream.close()
        raise AssertionError(f"the condition did not come true; the last state was {state}: {self.stop()}")

    def wait_ready(self) -> dict[str, Any]:
        return self.wait(lambda state: state["ready"])

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait for the process to end; its exit code."""
        self.process.send_signal(number)
        return self.process.wait(DEADLINE)

    def stop(self) -> str:
        """End the process whatever it does; what it wrote to standard error. May be called twice."""
        self.process.kill()
        self.process.wait(DEADLINE)
        if self._errors.closed:
            return ""
        assert self.process.stdout is not None
        self.process.stdout.close()
        with self._errors:
            self._errors.seek(0)
            return self._errors.read()


def events_of(answer: http.client.HTTPResponse) -> Iterator[tuple[str, str]]:
    """Event name and data of each server-sent event, until the stream ends."""
    event = data = ""
    for raw in answer:
        line = raw.decode().rstrip("\n")
        if line.startswith("event: "):
            event = line.removeprefix("event: ")
        elif line.startswith("data: "):
            data = line.removeprefix("data: ")
        elif not line and event:
            yield event, data
            event = data = ""


Serve = Callable[..., ServerProcess]


@contextmanager
def servers() -> Iterator[Serve]:
    """Starts servers that are ended with the block."""
    started: list[ServerProcess] = []

    def start(*arguments: str | Path, environment: dict[str, str] | None = None) -> ServerProcess:
        server = ServerProcess(*map(str, arguments), environment=environment)
        started.append(server)
        return server

    yield start
    for server in started:
        server.stop()


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts servers for one test."""
    with servers() as start:
        yield start


@pytest.fixture(scope="module")
def module_serve() -> Iterator[Serve]:
    """Starts servers that the tests of a module share."""
    with servers() as start:
        yield start


@pytest.fixture
def eventually() -> Callable[[Callable[[], bool]], None]:
    """Polls a real condition until it holds, for things that send no event."""

    def wait(condition: Callable[[], bool]) -> None:
        until = time.monotonic() + DEADLINE
        pause = threading.Event()
        while not condition():
            assert time.monotonic() < until, "the condition did not come true"
            pause.wait(0.05)

    return wait


@pytest.fixture
def run_serve() -> Callable[[Sequence[str]], subprocess.CompletedProcess[str]]:
    """Runs `serve` to its end, for command lines that it refuses."""

    def run(arguments: Sequence[str], **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, *arguments],
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
            env={**os.environ, "COLUMNS": "400", **environment},
        )

    return run
