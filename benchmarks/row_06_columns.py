"""Many columns: 50 of model cells by 10,000 rows at 0 ms; a graph of 1,000 columns."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.measure import Bench, Line
from tests.mock_server import MockServer

PARALLEL = 64


def lines(bench: Bench) -> Iterator[Line]:
    """CPU per cell of the engine with 3, 50 and 1,000 columns, by a build of each."""
    with MockServer() as server:
        found = bench.compare(
            {
                "3": bench.job("wide", server.url, 3, 10_000, PARALLEL),
                "50": bench.job("wide", server.url, 50, 10_000, PARALLEL),
                "1000": bench.job("wide", server.url, 1000, 60, PARALLEL),
            }
        )
    few, many, most = (found[name].said["cpu_per_cell_ms"] for name in ("3", "50", "1000"))
    yield Line("cost per cell, 3 columns × 10,000 rows", "", f"{few:.3f} ms{found['3'].note}")
    for name, cost in (("50 columns × 10,000 rows", many), ("1,000 columns × 60 rows", most)):
        yield Line(f"… {name}", "within 15 %", f"{cost:.3f} ms ({100 * (cost / few - 1):+.0f} %)", cost / few <= 1.15)
