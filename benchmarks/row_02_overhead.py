"""The same three cells at 0 ms: what is left is overhead."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.measure import Bench, Line
from benchmarks.peers import PEERS
from tests.mock_server import MockServer

FEW, MANY, PARALLEL = 1000, 5000, 64


def lines(bench: Bench) -> Iterator[Line]:
    """CPU per cell of the whole process, start-up taken out: 5,000 rows less 1,000. Wall time over that of the peers."""
    peers, left_out = bench.present(PEERS)
    with MockServer() as server:
        found = bench.compare(
            {
                "few": bench.job("build", server.url, FEW, FEW, PARALLEL),
                "many": bench.job("build", server.url, MANY, FEW, PARALLEL),
                "engine": bench.job("engine", server.url, FEW, PARALLEL),
            }
            | {peer.name: peer.command(server.url, FEW, PARALLEL) for peer in peers}
        )
    per_cell = 1000 * (found["many"].cpu - found["few"].cpu) / (3 * (MANY - FEW))
    yield Line("CPU per cell at 0 ms, all included", "≤ 0.35 ms", f"{per_cell:.3f} ms", per_cell <= 0.35)
    yield Line("… of it the engine", "", f"{found['engine'].said['cpu_per_cell_ms']:.3f} ms")
    made = found["few"].made
    yield Line("1,000 × 3 cells at 0 ms", "", f"{made:.2f} s")
    for peer in peers:
        other = found[peer.name]
        ratio = made / other.made
        goal = "÷ ≤ 0.25" if peer.generator else ""
        yield Line(
            f"… ÷ {peer.name}",
            goal,
            f"{ratio:.2f} ({other.made:.2f} s, {other.cpu:.1f} s CPU)",
            ratio <= 0.25 if goal else None,
        )
    yield from left_out
