"""From 100,000 to 10,000,000 rows of samplers: time is linear, memory flat."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.measure import Bench, Line
from benchmarks.prefect_server import prefect_server

FEW, SOME, MORE, MANY, ROW_GROUP = 100_000, 1_000_000, 3_000_000, 10_000_000, 20_000


def lines(bench: Bench) -> Iterator[Line]:
    """Seconds and peak memory at four sizes. The smallest run is start-up above all."""
    sizes = (FEW, SOME, MORE, MANY)
    # A server of its own for each: one that still digests ten million rows lets the next run wait half a minute.
    found = bench.compare({str(rows): bench.job("samplers", rows, ROW_GROUP) for rows in sizes}, around=prefect_server)
    few, some, more, many = (found[str(rows)] for rows in sizes)
    # A build has a fixed part; the slope between two sizes is what a row costs. Prefect's server takes in task runs some
    # seconds behind, on the same cores: from a million rows on it does so all the time.
    early, late = (more.made - some.made) / (MORE - SOME), (many.made - more.made) / (MANY - MORE)
    grown, swollen = late / early - 1, many.memory / few.memory - 1
    times = ", ".join(f"{one.made:.2f}" for one in found.values())
    peaks = ", ".join(f"{one.memory:.0f}" for one in found.values())
    yield Line(
        "rows 100,000 → 10,000,000: time",
        "linear within 10 %",
        f"{times} s: a further row costs {100 * grown:+.0f} % at the end{many.note}",
        grown <= 0.10,
    )
    yield Line("… peak memory", "within 15 %", f"{peaks} MB ({100 * swollen:+.0f} %)", swollen <= 0.15)
