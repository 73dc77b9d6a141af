"""20,000 rows of three cells, 200 ms with jitter, 256 in flight, 1 % errors: how full the endpoint is kept."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator

from benchmarks.measure import Bench, Line
from tests.mock_server import MockServer

ROWS, PARALLEL, LATENCY_MS = 20_000, 256, 200


def lines(bench: Bench) -> Iterator[Line]:
    """Time over the ideal, and the endpoint's own count of calls in flight, looked at every 50 ms."""
    runs = [_run(bench) for _ in range(bench.runs)]
    runs.sort()
    ratio, share, least = runs[len(runs) // 2]
    note = "" if len(runs) >= 5 else f"; median of {len(runs)}"
    yield Line(
        "20,000 × 3 cells, 200 ms ± 20 %, 256 in flight, 1 % errors: ÷ ideal",
        "≤ 1.08",
        f"{ratio:.3f}{note}",
        ratio <= 1.08,
    )
    yield Line(
        "… in flight at the endpoint between the first and the last 2 %",
        "≥ 95 % of the ceiling",
        f"{100 * share:.1f} % on average, {100 * least:.1f} % at least in 99 of 100 looks",
        share >= 0.95,
    )


def _run(bench: Bench) -> tuple[float, float, float]:
    with MockServer(latency_ms=LATENCY_MS, jitter_ms=LATENCY_MS // 5, errors=["500:0.01"]) as server:
        seen: list[tuple[float, int, int]] = []
        done = threading.Event()

        def look() -> None:
            while not done.wait(0.05):
                with urllib.request.urlopen(server.url.removesuffix("/v1") + "/stats") as answer:
                    stats = json.load(answer)
                seen.append((time.perf_counter(), stats["calls"], stats["in_flight"]))

        watcher = threading.Thread(target=look)
        watcher.start()
        try:
            command = bench.job("build", server.url, ROWS, 1000, PARALLEL)
            subprocess.run(command, env={**os.environ, **bench.environment}, check=True, capture_output=True)
        finally:
            done.set()
            watcher.join()
    calls = seen[-1][1]
    busy = [each for each in seen if each[1] > 0 and (each[2] or each[1] < calls)]
    first = next(at for at, count, _ in busy)
    last = max(at for at, _, flying in busy if flying)
    ideal = calls * LATENCY_MS / 1000 / PARALLEL
    middle = sorted(flying for _, count, flying in busy if 0.02 * calls <= count <= 0.98 * calls)
    return (last - first) / ideal, sum(middle) / len(middle) / PARALLEL, middle[len(middle) // 100] / PARALLEL
