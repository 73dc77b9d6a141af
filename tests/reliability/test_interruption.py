"""`prefect-datagen build` told to end: by Ctrl-C, by SIGTERM, twice, and while user code never comes back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from prefect_datagen.engine.outcomes import Outcome, Verdict
from prefect_datagen.storage import DatasetReader
from tests.reliability.child_builds import wait_for
from tests.reliability.configs import CEILING, ROWS, SIZE, reviews
from tests.reliability.worlds import World

pytestmark = pytest.mark.usefixtures("prefect_api")

WITHIN = 15.0
"""Seconds that an interrupted run is given: ten by its own clock, and some for a busy machine."""


class Command:
    """A `prefect-datagen build` at work."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self.log = log

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, as `kill` does."""
        self.process.send_signal(number)

    def ends(self, *, within: float) -> int:
        """Its exit code, once it has ended, which is to be soon."""
        return self.process.wait(timeout=within)

    @property
    def output(self) -> str:
        """What it printed so far."""
        return self.log.read_text()


Start = Callable[..., Command]

STARTED = 180.0
"""Seconds after which even a busy machine has started a command."""


@pytest.fixture
def start(world: World, api_url: str, tmp_path: Path) -> Iterator[Start]:
    """Starts the real command."""
    started: list[subprocess.Popen[bytes]] = []

    def command(config: dict[str, Any], *options: str, path: Path | None = None) -> Command:
        folder = path or world.path
        file, log = folder.with_suffix(".yaml"), folder.with_suffix(".log")
        file.write_text(yaml.safe_dump(config, sort_keys=False))
        words = [sys.executable, "-m", "prefect_datagen.cli.main", "build", str(file), "-n", str(ROWS)]
        words += ["-o", str(folder), "--seed", "7", "--row-group-size", str(SIZE), *options]
        with log.open("wb") as output:
            process = subprocess.Popen(
                words,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PREFECT_API_URL": api_url, "PREFECT_HOME": str(tmp_path / "home")},
                cwd=Path(__file__).parents[2],
            )
        started.append(process)
        return Command(process, log)

    yield command
    for process in started:
        process.kill()
        process.wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_calls_come_back_commits_what_is_complete_and_ends_as_interrupted(
    number: signal.Signals, world: World, start: Start
) -> None:
    """Exit 130, the counts as the last words, and a dataset that a resume completes."""
    assert len(world.expected) == ROWS
    world.server.become(latency_ms=20)
    command = start(world.config, "--max-row-groups", "1", "--set", "run.progress_interval=0.1")
    wait_for(lambda: bool(list((world.path / "manifests").glob("*.json"))), "a row group is committed", timeout=STARTED)
    command.send(number)
    assert command.ends(within=WITHIN) == 130, command.output
    metadata = world.metadata()
    assert metadata.status is Verdict.INTERRUPTED
    assert metadata.reasons == [f"interrupted by {number.name}"]
    outcomes = [outcome.outcome for outcome in metadata.row_groups]
    done = outcomes.count(Outcome.COMPLETED)
    assert outcomes == [Outcome.COMPLETED] * done + [Outcome.ABORTED] * (ROWS // SIZE - done)
    assert 0 < done < ROWS // SIZE
    last = command.output.strip().splitlines()[-1]
    assert last.startswith(f"error: interrupted by {number.name}; {done * SIZE} of {ROWS} rows written")
    parts = world.found().parts
    world.lift()
    assert world.resume().outcome == "completed"
    assert parts.items() <= world.found().parts.items()
    pd.testing.assert_frame_equal(DatasetReader(world.path).load(), world.expected)
    assert world.paid_twice() == 0


def test_calls_that_do_not_come_back_are_cancelled_in_time(world: World, start: Start) -> None:
    world.server.become(hold=True)
    command = start(world.config)
    world.server.wait_until(lambda stats: stats.in_flight == CEILING, timeout=STARTED)
    command.send(signal.SIGINT)
    assert command.ends(within=WITHIN) == 130, command.output
    assert world.metadata().status is Verdict.INTERRUPTED
    assert world.server.wait_until(lambda stats: stats.in_flight == 0).disconnected == CEILING


def test_a_second_signal_ends_it_at_once_and_a_resume_goes_on(world: World, start: Start) -> None:
    """At once: the calls in flight, which never come back, were not waited for, and so no verdict was written."""
    assert len(world.expected) == ROWS
    world.server.become(hold=True)
    command = start(world.config)
    world.server.wait_until(lambda stats: stats.in_flight == CEILING, timeout=STARTED)
    command.send(signal.SIGINT)
    wait_for(lambda: "interrupt again to end at once" in command.output, "the first signal is noticed")
    command.send(signal.SIGINT)
    assert command.ends(within=WITHIN) == 130
    assert DatasetReader(world.path).metadata() is None
    world.lift()
    assert world.resume().outcome == "completed"
    pd.testing.assert_frame_equal(DatasetReader(world.path).load(), world.expected)


def test_user_code_that_never_comes_back_does_not_keep_it(world: World, start: Start) -> None:
    """Neither a cell nor a processor: a thread cannot be cancelled, so the run is ended without it, and says so."""
    plain = reviews(world.server.url)
    column = {
        "name": "own",
        "column_type": "custom",
        "generator_function": "tests.reliability.user_code:stuck",
        "input_columns": ["title"],
    }
    processor = {
        "name": "own",
        "processor_type": "custom",
        "stage": "post_batch",
        "function": "tests.reliability.user_code:stuck_frame",
    }
    world.break_user_code()
    places = {
        "cell": {**plain, "columns": [*plain["columns"], column]},
        "processor": {**plain, "processors": [processor]},
    }
    commands = [start(config, path=world.tmp / place) for place, config in places.items()]
    for place in places:
        wait_for(lambda place=place: place in world.switch.read_text(), f"the {place} is stuck", timeout=STARTED)  # type: ignore[misc]
    for command in commands:
        command.send(signal.SIGINT)
    for command, place in zip(commands, places, strict=True):
        assert command.ends(within=WITHIN) == 130, command.output
        metadata = DatasetReader(world.tmp / place).metadata()
        assert metadata is not None
        assert metadata.status is Verdict.INTERRUPTED
        assert {outcome.outcome for outcome in metadata.row_groups} == {Outcome.ABORTED}


def test_a_timeout_that_is_lost_ends_the_run_all_the_same(world: World) -> None:
    """Prefect raises it once, from an alarm; Python drops what is raised in a finalizer. Here the alarm itself is lost."""
    world.server.become(latency_ms=60_000)

    def lose_it() -> None:
        wait_for(lambda: world.server.stats().in_flight > 0, what="a call in flight")
        signal.setitimer(signal.ITIMER_REAL, 0)

    with ThreadPoolExecutor(1) as threads:
        lost = threads.submit(lose_it)
        ended = world.build(timeout=10.0)
        lost.result()
    assert ended.outcome == "timed out", ended.output
    metadata = DatasetReader(world.path).metadata()
    assert metadata is not None
    assert metadata.status is Verdict.INTERRUPTED
