"""What the journal and tracing cost."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.measure import Bench, Line
from tests.mock_server import MockServer

ROWS, PARALLEL, LATENCY_MS = 2000, 64, 20


def lines(bench: Bench) -> Iterator[Line]:
    """Build time with each on over that with it off, calls of 20 ms."""
    with MockServer(latency_ms=LATENCY_MS) as server:
        arguments = ("build", server.url, ROWS, 500, PARALLEL)
        found = bench.compare(
            {
                "journal": bench.job(*arguments, '{"journal": true}'),
                "none": bench.job(*arguments, '{"journal": false}'),
                "traced": bench.job(*arguments, '{"trace": true}'),
            }
        )
    for name, (on, off) in {"journal": ("journal", "none"), "tracing": ("traced", "journal")}.items():
        ratio = found[on].made / found[off].made
        cpu = found[on].cpu / found[off].cpu
        yield Line(f"{name} on ÷ off, 6,000 cells of 20 ms", "≤ 1.05", f"{ratio:.3f} (CPU {cpu:.2f})", ratio <= 1.05)
