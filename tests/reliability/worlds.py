"""A place where one fault is tried out: a dataset's folder, a model server, runs, and what is found afterwards."""

from __future__ import annotations

import hashlib
import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from prefect_datagen.blocks import ParquetRowGroupSink
from prefect_datagen.config.run import RunConfig
from prefect_datagen.engine.errors import DatagenError
from prefect_datagen.engine.outcomes import DatasetMetadata, RejectedRow, RowGroupOutcome
from prefect_datagen.flows.build import build_dataset
from prefect_datagen.models.mock_behaviour import MockBehaviour
from prefect_datagen.storage import DatasetReader
from prefect_datagen.storage.parts import rejected_rows
from tests.mock_server import MockServer
from tests.reliability.child_builds import Child, ForkServer
from tests.reliability.configs import CALLS, ROWS, SIZE, reviews
from tests.reliability.servers import ServerOnPort
from tests.reliability.user_code import SWITCH

RUN: dict[str, Any] = {
    "seed": 7,
    "row_group_size": SIZE,
    "max_concurrent_row_groups": 2,
    "stages": "inline",
    "shutdown_error_window": 20,
    "retry_deadline_seconds": 2.0,
    "shutdown_grace_seconds": 2.0,
    "progress_interval": 0.25,
}


@dataclass(frozen=True)
class Attempt:
    """How a run ended: `completed`, `partial`, `interrupted`, `killed`, or the name of the error that it failed with."""

    outcome: str
    error: DatagenError | None = None
    output: str = ""


def attempt(
    config: Any,
    path: Path,
    rows: int,
    *,
    timeout: float | None = None,
    callback: Callable[[RowGroupOutcome], object] | None = None,
    **run: Any,
) -> Attempt:
    """Build in this process, with the settings of `RUN` but for those given."""
    flow = build_dataset if timeout is None else build_dataset.with_options(timeout_seconds=timeout)
    state = flow(
        config,
        num_records=rows,
        sink=ParquetRowGroupSink(path=path),
        run=RunConfig.model_validate({**RUN, **run}),
        on_row_group_complete=callback,
        return_state=True,
    )
    assert state.name is not None
    if state.name == "TimedOut":
        return Attempt("timed out", output=state.message or "")
    if state.is_cancelled():
        return Attempt("interrupted", output=state.message or "")
    result = state.result(raise_on_failure=False)
    if isinstance(result, DatagenError):
        return Attempt(type(result).__name__, result, str(result))
    if isinstance(result, BaseException):
        raise result
    return Attempt(state.name.lower(), output=state.message or "")


def mount(*arguments: str) -> None:
    """Call `mount`; skips the test where that is not allowed."""
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"mounting is not possible here: {done.stderr.strip()}")


class References:
    """Uninterrupted datasets, each built once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._built: dict[str, pd.DataFrame] = {}

    def dataset(self, config: dict[str, Any], rows: int, server: MockServer) -> pd.DataFrame:
        """What an uninterrupted run of this config makes. The server behaves well for it, and counts from zero after."""
        key = hashlib.sha256(json.dumps([config, rows], sort_keys=True).encode()).hexdigest()
        if key not in self._built:
            server.become()
            path = self._folder / str(len(self._built))
            assert attempt(config, path, rows).outcome == "completed"
            self._built[key] = DatasetReader(path).load()
            server.become()
        return self._built[key]


@dataclass(frozen=True)
class Found:
    """What is in a dataset's folder, told from the rows themselves and not from anybody's counters.

    Attributes:
        present: dataset rows that are there, by index.
        rejected: dataset rows that are not, with why.
        filtered: number of rows that a processor removed.
        to_do: dataset rows of row groups that are not committed.
        lost: dataset rows that are nowhere.
        parts: digest of each committed part by path.
    """

    present: frozenset[int]
    rejected: dict[int, RejectedRow]
    filtered: int
    to_do: frozenset[int]
    lost: frozenset[int]
    parts: dict[str, str]


class World:
    """See the module's docstring."""

    rows = ROWS

    def __init__(self, request: pytest.FixtureRequest, references: References) -> None:
        self._request = request
        self._references = references
        self.tmp: Path = request.getfixturevalue("tmp_path")
        self.server: MockServer = request.getfixturevalue("mock_server")
        self.path = self.tmp / "dataset"
        self.config = reviews(self.server.url)
        self.switch = self.tmp / "fault"
        self.paid_elsewhere = 0
        environment: pytest.MonkeyPatch = request.getfixturevalue("monkeypatch")
        environment.setenv(SWITCH, str(self.switch))

    @cached_property
    def fork_server(self) -> ForkServer:
        """Where child processes come from."""
        server: ForkServer = self._request.getfixturevalue("fork_server")
        return server

    def disk(self, size: str) -> Path:
        """A file system of its own of so many bytes; asked again, it is resized."""
        resize: Callable[[str], Path] = self._request.getfixturevalue("small_disk")
        return resize(size)

    @contextmanager
    def frozen(self, folder: Path) -> Iterator[None]:
        """Makes a folder read-only, for root too."""
        mount("--bind", str(folder), str(folder))
        try:
            mount("-o", "remount,ro,bind", str(folder))
            yield
        finally:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)

    @cached_property
    def expected(self) -> pd.DataFrame:
        """The uninterrupted dataset. First asked for before the fault: it needs a good server and the first config."""
        return self._references.dataset(self.config, self.rows, self.server)

    def kill_server_after(self, server: ServerOnPort, *, answers: int, then: Callable[[], None] = lambda: None) -> None:
        """Kill a server in the middle of calls, once it has given so many answers. Returns at once."""

        def kill() -> None:
            server.wait_until(lambda stats: stats.answers >= answers)
            server.control(hold=True)
            self.paid_elsewhere = server.stats().answers
            server.kill()
            then()

        killer = threading.Thread(target=kill)
        killer.start()
        self._request.addfinalizer(killer.join)

    def move_to(self, port: int) -> None:
        """Go on with a new server on this port."""
        self.server = ServerOnPort(port).__enter__()
        self._request.addfinalizer(lambda: self.server.__exit__(None, None, None))

    def build(self, **options: Any) -> Attempt:
        """Build in this process."""
        return attempt(self.config, self.path, self.rows, **options)

    def child(self, *, die_at: int = 0, step: str = "", **run: Any) -> Child:
        """Build in a process of its own."""
        settings = {**RUN, **run}
        return self.fork_server.build(self.config, self.path, self.rows, die_at=die_at, step=step, **settings)

    def break_user_code(self, **order: Any) -> None:
        """Let the functions of `user_code` fail from now on."""
        self.switch.write_text(json.dumps(order))

    def lift(self) -> None:
        """Let the server, which counts on, and user code behave."""
        self.server.control(**MockBehaviour().model_dump(mode="json"))
        self.switch.unlink(missing_ok=True)

    def resume(self, **run: Any) -> Attempt:
        """Build again, with rejected rows that a retry can help."""
        begun = DatasetReader(self.path).run_record() is not None
        return self.build(resume="repair" if begun else "if-possible", **run)

    def paid_twice(self) -> int:
        """Answers that were given for a cell that had been answered before. A wrong one is asked for again on purpose."""
        stats = self.server.stats()
        if self.paid_elsewhere:  # answers of a server that is gone, and its memory with it
            return self.paid_elsewhere + stats.answers - CALLS
        return max(0, stats.repeated_requests - stats.by_fault.get("bad-json", 0))

    def metadata(self) -> DatasetMetadata:
        """The verdict that was left."""
        metadata = DatasetReader(self.path).metadata()
        assert metadata is not None
        return metadata

    def found(self) -> Found:
        """What is in the dataset's folder now."""
        reader = DatasetReader(self.path)
        committed = reader.committed()
        numbers = {number: index for index, number in enumerate(self.expected["number"])}
        rows = [numbers[number] for number in reader.generated().to_table()["number"].to_pylist()] if committed else []
        rejected = {row.row_index: row for row in rejected_rows(reader.rejects())}
        filtered = sum(manifest.filtered for manifest in committed.values())
        done = {
            row
            for manifest in committed.values()
            for row in range(manifest.start_row, manifest.start_row + manifest.planned)
        }
        to_do = frozenset(range(self.rows)) - done
        assert len(set(rows)) == len(rows), "a row is there twice"
        assert not set(rows) & set(rejected), "a row is written and rejected"
        gone = done - set(rows) - set(rejected)
        return Found(
            present=frozenset(rows),
            rejected=rejected,
            filtered=filtered,
            to_do=to_do,
            lost=frozenset() if len(gone) == filtered else frozenset(gone),
            parts={
                manifest.part: hashlib.sha256((self.path / manifest.part).read_bytes()).hexdigest()
                for manifest in committed.values()
                if manifest.part is not None
            },
        )
