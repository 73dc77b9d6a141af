"""What the journal and tracing cost."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.measure import Bench, Line
from tests.mock_server import MockServer

ROWS, PARALLEL = 2000, 64
QUICKEST_MS, USUAL_MS = 20, 50
"""Calls of 20 ms keep the engine busy all the time, so that all it costs shows; those of 50 ms are row 1's."""


def lines(bench: Bench) -> Iterator[Line]:
    """Build time with each on over that with it off."""
    for latency in (USUAL_MS, QUICKEST_MS):
        with MockServer(latency_ms=latency) as server:
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
            yield Line(
                f"{name} on ÷ off, 6,000 cells of {latency} ms", "≤ 1.05", f"{ratio:.3f} (CPU {cpu:.2f})", ratio <= 1.05
            )
