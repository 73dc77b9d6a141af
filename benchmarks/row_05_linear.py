"""From 100,000 to 10,000,000 rows of samplers: time is linear, memory flat."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.measure import Bench, Line

FEW, SOME, MANY, ROW_GROUP = 100_000, 1_000_000, 10_000_000, 20_000


def lines(bench: Bench) -> Iterator[Line]:
    """Seconds per million rows and peak memory, at three sizes. The smallest run is start-up above all."""
    commands = {str(rows): bench.job("samplers", rows, ROW_GROUP) for rows in (FEW, SOME, MANY)}
    found = bench.compare(commands)
    few, some, many = (found[str(rows)] for rows in (FEW, SOME, MANY))
    # A build has a fixed part; the slope between two sizes is what a row costs.
    early, late = (some.made - few.made) / (SOME - FEW), (many.made - some.made) / (MANY - SOME)
    grown = late / early - 1
    yield Line(
        "rows 100,000 → 10,000,000: time",
        "linear within 10 %",
        f"{few.made:.2f}, {some.made:.2f}, {many.made:.2f} s: a further row costs {100 * grown:+.0f} % at the end"
        f"{many.note}",
        grown <= 0.10,
    )
    swollen = many.memory / few.memory - 1
    yield Line(
        "… peak memory",
        "within 15 %",
        f"{few.memory:.0f}, {some.memory:.0f}, {many.memory:.0f} MB ({100 * swollen:+.0f} %)",
        swollen <= 0.15,
    )
