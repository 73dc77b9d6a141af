"""Run commands several times, taking turns, each as a whole process: wall and CPU seconds, and peak memory.

Turns, because machines have moods: what is compared is measured side by side. CPU seconds and peak memory are those of
the process and of the children that it waited for.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from benchmarks.peers import QUIET, Peer

LONG, RUNS_OF_LONG = 120.0, 3
"""Seconds beyond which a command is run only so many times."""

ENTRY = [sys.executable, "-m", "prefect_datagen.cli.main"]


@dataclass(frozen=True)
class Measured:
    """Medians over the runs. Seconds; megabytes; `said` holds the medians of the numbers that the job printed."""

    wall: float
    cpu: float
    memory: float
    said: dict[str, float]
    runs: int

    @property
    def note(self) -> str:
        """What a line must add where there were fewer runs than the median of five wants."""
        return "" if self.runs >= 5 else f"; median of {self.runs}"

    @property
    def made(self) -> float:
        """Seconds of the work itself, as the job says."""
        return self.said["made_seconds"]


@dataclass(frozen=True)
class Line:
    """A line of the table. `goal` is in words; `holds` says whether it was met, None where there is none."""

    work: str
    goal: str
    measured: str
    holds: bool | None = None


def _nothing() -> AbstractContextManager[dict[str, str]]:
    return nullcontext({})


@dataclass
class Bench:
    """How the rows measure: so many runs each, against this Prefect server, with the peers or without."""

    runs: int = 5
    peers: bool = True
    environment: dict[str, str] = field(default_factory=dict)

    def job(self, *arguments: object) -> list[str]:
        """The command of a job of `benchmarks/jobs.py`."""
        return [sys.executable, "-m", "benchmarks.jobs", *map(str, arguments)]

    def measure(self, command: list[str]) -> Measured:
        """Medians of one command's runs."""
        return self.compare({"": command})[""]

    def compare(
        self,
        commands: Mapping[str, list[str]],
        *,
        around: Callable[[], AbstractContextManager[dict[str, str]]] = _nothing,
    ) -> dict[str, Measured]:
        """Medians of several commands that take turns, after one round that does not count.

        `around` is entered for each run, and gives variables of its environment.

        Where a command takes more than `LONG` seconds in that round, the round counts, since what it warms up is a small
        part, and that command is run `RUNS_OF_LONG` times at most.
        """

        def run(command: list[str]) -> _Sample:
            with around() as variables:
                return run_once(command, {**self.environment, **variables})

        first = {name: run(command) for name, command in commands.items()}
        samples = {name: [sample] if sample[0] > LONG else [] for name, sample in first.items()}
        wanted = {name: min(self.runs, RUNS_OF_LONG) if samples[name] else self.runs for name in commands}
        for _ in range(self.runs):
            for name, command in commands.items():
                if len(samples[name]) < wanted[name]:
                    samples[name].append(run(command))
        return {name: _medians(each) for name, each in samples.items()}

    def present(self, peers: tuple[Peer, ...]) -> tuple[list[Peer], list[Line]]:
        """The peers that can run, and a line for each that cannot."""
        if not self.peers:
            return [], []
        why = {peer: peer.missing() for peer in peers}
        left_out = [Line(f"… {peer.name}", "", f"left out: {reason}") for peer, reason in why.items() if reason]
        return [peer for peer, reason in why.items() if reason is None], left_out


_Sample = tuple[float, float, float, dict[str, Any]]


def _medians(samples: list[_Sample]) -> Measured:
    said = {
        key: statistics.median(sample[3][key] for sample in samples)
        for key, value in samples[0][3].items()
        if isinstance(value, (int, float))
    }
    wall, cpu, memory = (statistics.median(sample[at] for sample in samples) for at in range(3))
    return Measured(wall, cpu, memory, said, runs=len(samples))


def run_once(command: list[str], environment: dict[str, str]) -> _Sample:
    """Wall seconds, CPU seconds, peak megabytes of one run, and what the job printed.

    Raises:
        RuntimeError: it failed.
    """
    with tempfile.TemporaryFile("w+", errors="replace") as told:
        started = time.perf_counter()
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=told,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **QUIET, **environment, "PYTHONDONTWRITEBYTECODE": ""},  # compiled in the first round
            text=True,
        )
        assert process.stdout is not None
        printed = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        wall = time.perf_counter() - started
        if process.returncode:
            told.seek(0)
            raise RuntimeError(
                f"{' '.join(command)} ended with {process.returncode}: {(printed + told.read())[-2000:]}"
            )
    lines = [line for line in printed.splitlines() if line.startswith("{")]
    said = json.loads(lines[-1]) if lines else {}
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, said
