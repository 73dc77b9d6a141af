"""Seconds and CPU seconds by task runner and number of workers, of a build that is bound by CPU: one JSON line each.

Wall seconds mean something on a machine at rest only; its load stands in each line.

PREFECT_API_URL=http://127.0.0.1:4200/api python -m benchmarks.workers --runners threads processes --workers 1 2 4
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
import time
from pathlib import Path

CONFIG = {
    "name": "workers",
    "columns": [
        {"name": "who", "column_type": "sampler", "sampler_type": "person", "params": {}},
        {"name": "mood", "column_type": "sampler", "sampler_type": "category", "params": {"values": ["glad", "sad"]}},
        {
            "name": "title",
            "column_type": "expression",
            "expr": "{% for letter in who.first_name %}{{ letter | upper }}-{{ loop.index * 7 }} {% endfor %}{{ mood }}",
        },
    ],
}


def build(*, runner: str, workers: int, rows: int, row_group_size: int) -> float:
    """Build, and return seconds; the start of the workers is part of them."""
    from prefect_datagen.blocks import ParquetRowGroupSink
    from prefect_datagen.config.run import RunConfig, TaskRunnerKind
    from prefect_datagen.flows.build import build_dataset

    run = RunConfig(
        seed=1,
        row_group_size=row_group_size,
        task_runner=TaskRunnerKind(runner),
        workers=workers,
        max_concurrent_row_groups=2 * workers,
    )
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        build_dataset(CONFIG, num_records=rows, sink=ParquetRowGroupSink(path=str(Path(folder) / "out")), run=run)
        return time.perf_counter() - started


def cpu_seconds() -> float:
    """User and system time of this process and of those it has seen end."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in used)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runners", nargs="+", default=["threads", "processes"])
    parser.add_argument("--workers", nargs="+", type=int, default=[1, 2, 4])
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--row-group-size", type=int, default=5_000)
    given = parser.parse_args()
    for runner in given.runners:
        for workers in given.workers if runner != "threads" else [1]:
            before = cpu_seconds()
            seconds = build(runner=runner, workers=workers, rows=given.rows, row_group_size=given.row_group_size)
            line = {"runner": runner, "workers": workers, "rows": given.rows, "seconds": round(seconds, 1)}
            line |= {"cpu_seconds": round(cpu_seconds() - before, 1), "load": os.getloadavg()[0]}
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
