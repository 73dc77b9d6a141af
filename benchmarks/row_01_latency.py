"""1,000 rows of three model cells (two independent, one on both), 50 ms each, 64 in flight."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.measure import Bench, Line
from benchmarks.peers import AIOHTTP, PEERS
from tests.mock_server import MockServer

ROWS, PARALLEL, LATENCY_MS = 1000, 64, 50


def lines(bench: Bench) -> Iterator[Line]:
    """Build time over that of a plain program and of each peer. Time counts from the first row to the last."""
    peers, left_out = bench.present(PEERS)
    with MockServer(latency_ms=LATENCY_MS) as server:
        commands = {"ours": bench.job("build", server.url, ROWS, ROWS, PARALLEL)}
        commands |= {peer.name: peer.command(server.url, ROWS, PARALLEL) for peer in peers}
        found = bench.compare(commands)
    ours = found["ours"]
    ideal = 3 * ROWS * LATENCY_MS / 1000 / PARALLEL
    yield Line(f"1,000 × 3 cells, 50 ms, 64 in flight (ideal {ideal:.2f} s)", "", f"{ours.made:.2f} s")
    for peer in peers:
        other, most = found[peer.name], 1.10 if peer is AIOHTTP else 0.6
        ratio = ours.made / other.made
        goal = f"÷ ≤ {most}" if peer is AIOHTTP or peer.generator else ""
        yield Line(
            f"… ÷ {peer.name}",
            goal,
            f"{ratio:.2f} ({other.made:.2f} s, {other.cpu:.1f} s CPU, {other.memory:.0f} MB)",
            ratio <= most if goal else None,
        )
    yield from left_out
