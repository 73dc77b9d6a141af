"""Run a command several times as a whole process: wall and CPU seconds and peak memory of it and its children."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Measured:
    """Medians over the runs. Seconds; megabytes; `said` holds the medians of the numbers that the job printed."""

    wall: float
    cpu: float
    memory: float
    said: dict[str, float]


def measure(
    command: list[str], *, runs: int = 5, warm_up: int = 1, environment: dict[str, str] | None = None
) -> Measured:
    """Medians of `runs` runs after `warm_up` that do not count."""
    samples = [_once(command, environment) for _ in range(warm_up + runs)][warm_up:]
    said = {
        key: statistics.median(sample[3][key] for sample in samples)
        for key, value in samples[0][3].items()
        if isinstance(value, (int, float))
    }
    return Measured(*(statistics.median(sample[at] for sample in samples) for at in range(3)), said)


def job(*arguments: object, runs: int = 5, environment: dict[str, str] | None = None) -> Measured:
    """Measure a job of `benchmarks/jobs.py`."""
    command = [sys.executable, "-m", "benchmarks.jobs", *map(str, arguments)]
    return measure(command, runs=runs, environment=environment)


def _once(command: list[str], environment: dict[str, str] | None) -> tuple[float, float, float, dict[str, Any]]:
    started = time.perf_counter()
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={**os.environ, **(environment or {})}, text=True
    )
    assert process.stdout is not None
    printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}")
    lines = [line for line in printed.splitlines() if line.startswith("{")]
    said = json.loads(lines[-1]) if lines else {}
    return time.perf_counter() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, said
