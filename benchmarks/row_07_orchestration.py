"""1,000 row groups against a running Prefect server on SQLite, above the same work in a plain loop."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.measure import Bench, Line
from benchmarks.prefect_server import prefect_server

ROW_GROUPS, ROWS = 1000, 20


def lines(bench: Bench) -> Iterator[Line]:
    """Milliseconds per row group that Prefect adds, with stages as task runs and as plain calls; growth of memory."""
    commands = {"loop": bench.job("loop", ROW_GROUPS, ROWS)}
    commands |= {stages: bench.job("row-groups", ROW_GROUPS, ROWS, stages) for stages in ("tasks", "inline")}
    commands["few"] = bench.job("row-groups", ROW_GROUPS // 5, ROWS, "inline")
    # A server of its own for each: one that still digests what a run before told it is slow, or refuses.
    found = bench.compare(commands, around=prefect_server)
    loop = found["loop"].made
    for stages, most in (("tasks", 40), ("inline", 15)):
        added = 1000 * (found[stages].made - loop) / ROW_GROUPS
        yield Line(
            f"1,000 row groups above a plain loop ({loop:.1f} s), stages: {stages}",
            f"≤ {most} ms each",
            f"{added:.1f} ms{found[stages].note}",
            added <= most,
        )
    growth = found["inline"].memory - found["few"].memory
    yield Line("… memory of the flow process, 200 → 1,000 row groups", "flat", f"{growth:+.0f} MB", growth <= 40)
