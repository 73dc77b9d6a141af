"""Resume of a complete dataset of 10,000 row groups: everything is there, and that must be seen at once."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator

from benchmarks.measure import Bench, Line, run_once

ROW_GROUPS = 10_000


def lines(bench: Bench) -> Iterator[Line]:
    """Seconds of the flow run that finds nothing to do. The dataset is made first, by a plain loop."""
    with tempfile.TemporaryDirectory() as folder:
        run_once(bench.job("loop", ROW_GROUPS, 1, f"{folder}/d"), bench.environment)
        found = bench.measure(bench.job("resume", ROW_GROUPS, 1, f"{folder}/d"))
    seconds = found.said["flow_seconds"]
    yield Line("resume of a complete dataset of 10,000 row groups", "≤ 2 s", f"{seconds:.2f} s", seconds <= 2)
