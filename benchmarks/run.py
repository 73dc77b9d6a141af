"""`make bench`: the table of docs/performance.md, measured here and now. Ratios are side by side in one run.

python -m benchmarks.run [--runs 5] [--only calls,overhead,tabular,memory,start,resume,journal]
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.measure import job, measure
from tests.mock_server import MockServer


@contextmanager
def prefect_server() -> Iterator[dict[str, str]]:
    """A Prefect server of its own; the environment that points to it."""
    with tempfile.TemporaryDirectory() as home:
        environment = {"PREFECT_HOME": home, "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
        command = [sys.executable, "-m", "prefect", "server", "start", "--port", "4299"]
        server = subprocess.Popen(
            command, env={**os.environ, **environment}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            yield {**environment, "PREFECT_API_URL": _listening("http://127.0.0.1:4299/api")}
        finally:
            server.terminate()
            server.wait()


def _listening(url: str) -> str:
    import httpx

    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{url}/health").status_code == 200:
                return url
        except httpx.HTTPError:
            time.sleep(0.2)
    raise TimeoutError(f"no Prefect server at {url}")


def calls(runs: int, environment: dict[str, str]) -> list[str]:
    """1,000 rows x 3 model cells, 50 ms, 64 in flight."""
    ideal = 3_000 * 0.05 / 64
    with MockServer(latency_ms=50) as server:
        ours = job("build", server.url, 1_000, 1_000, 64, runs=runs, environment=environment)
        engine = job("engine", server.url, 1_000, 64, runs=runs)
        plain = job("plain", server.url, 1_000, 64, runs=runs)
    return [
        f"| 1,000 rows × 3 cells, 50 ms, 64 in flight (ideal {ideal:.2f} s): plain aiohttp "
        f"| {plain.said['made_seconds']:.2f} s |",
        f"| … the engine alone | {engine.said['made_seconds']:.2f} s "
        f"({engine.said['made_seconds'] / plain.said['made_seconds']:.2f} × plain) |",
        f"| … the whole flow run | {ours.said['made_seconds']:.2f} s "
        f"({ours.said['made_seconds'] / plain.said['made_seconds']:.2f} × plain) |",
    ]


def overhead(runs: int, environment: dict[str, str]) -> list[str]:
    """The same at 0 ms: CPU per cell."""
    with MockServer() as server:
        engine = job("engine", server.url, 2_000, 64, runs=runs)
        plain = job("plain", server.url, 2_000, 64, runs=runs)
        small = job("build", server.url, 1_000, 1_000, 64, runs=runs, environment=environment)
        large = job("build", server.url, 5_000, 1_000, 64, runs=runs, environment=environment)
    whole = 1000 * (large.cpu - small.cpu) / (3 * 4_000)
    return [
        f"| CPU per cell at 0 ms: plain aiohttp | {plain.said['cpu_per_cell_ms']:.3f} ms |",
        f"| … the engine with templates, scheduling, journal | {engine.said['cpu_per_cell_ms']:.3f} ms |",
        f"| … the whole process, Parquet and Prefect included (5,000 rows less 1,000) | {whole:.3f} ms |",
    ]


def tabular(runs: int, environment: dict[str, str]) -> list[str]:
    """1,000,000 rows without a model."""
    full = job("tabular", 1_000_000, 20_000, runs=runs, environment=environment)
    quick = job("samplers", 1_000_000, 20_000, runs=runs, environment=environment)
    return [
        f"| 1,000,000 rows: samplers, two Jinja expressions, SQL | {1e6 / full.said['made_seconds']:,.0f} rows/s |",
        f"| … samplers and SQL alone | {1e6 / quick.said['made_seconds']:,.0f} rows/s |",
    ]


def memory(runs: int, environment: dict[str, str]) -> list[str]:
    """Peak memory must not depend on the number of rows."""
    few = job("samplers", 200_000, 10_000, runs=runs, environment=environment)
    many = job("samplers", 2_000_000, 10_000, runs=runs, environment=environment)
    return [
        f"| peak memory, 200,000 rows | {few.memory:.0f} MB |",
        f"| … 2,000,000 rows | {many.memory:.0f} MB ({100 * (many.memory / few.memory - 1):+.0f} %) |",
        f"| … time per million rows, 200,000 and 2,000,000 rows | {5 * few.said['made_seconds']:.2f} s, "
        f"{many.said['made_seconds'] / 2:.2f} s |",
    ]


def start(runs: int, environment: dict[str, str]) -> list[str]:
    """What a user waits for before anything happens."""
    example = str(Path(__file__).parents[1] / "examples" / "airports" / "dataset.yaml")
    entry = [sys.executable, "-m", "prefect_datagen.cli.main"]
    bare = measure([sys.executable, "-c", "pass"], runs=runs)
    imported = measure([sys.executable, "-c", "import prefect_datagen"], runs=runs)
    shown = measure([*entry, "--help"], runs=runs)
    checked = measure([*entry, "validate", example], runs=runs)
    return [
        f"| `python -c pass` / `import prefect_datagen` | {bare.wall:.2f} s / {imported.wall:.2f} s |",
        f"| `prefect-datagen --help` | {shown.wall:.2f} s |",
        f"| `prefect-datagen validate` | {checked.wall:.2f} s |",
    ]


def journal(runs: int, environment: dict[str, str]) -> list[str]:
    """Journal and tracing, on against off."""
    with MockServer(latency_ms=5) as server:
        arguments = ("build", server.url, 3_000, 1_000, 64)
        with_both = job(*arguments, "{}", runs=runs, environment=environment)
        without = job(*arguments, '{"journal": false}', runs=runs, environment=environment)
        traced = job(*arguments, '{"trace": true}', runs=runs, environment=environment)
    base = with_both.said["made_seconds"]
    return [
        f"| journal on ÷ off, 9,000 cells at 5 ms | {base / without.said['made_seconds']:.2f} |",
        f"| tracing on ÷ off | {traced.said['made_seconds'] / base:.2f} |",
    ]


PARTS: dict[str, Callable[[int, dict[str, str]], list[str]]] = {
    "calls": calls,
    "overhead": overhead,
    "tabular": tabular,
    "memory": memory,
    "start": start,
    "journal": journal,
}


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5, help="counted runs of each job; the median is shown")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, separated by commas")
    options = parser.parse_args()
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, medians of {options.runs}\n"
    )
    print("| work | figure |\n|---|---|", flush=True)
    with prefect_server() as environment:
        for name in options.only.split(","):
            print("\n".join(PARTS[name](options.runs, environment)), flush=True)


if __name__ == "__main__":
    main()
