"""`make bench`: the table of docs/performance.md, measured here and now. Ratios are side by side in one run.

    python -m benchmarks.run [--runs 5] [--only 1,2,8] [--no-peers]

One module per row of the table, `benchmarks/row_NN_*.py`. Each row is printed as soon as it is measured.
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import time
from pathlib import Path

from benchmarks import load
from benchmarks.measure import Bench, Line
from benchmarks.prefect_server import prefect_server


def rows() -> dict[int, str]:
    """Modules by their row of the table."""
    found = sorted(Path(__file__).parent.glob("row_*.py"))
    return {int(path.stem.split("_")[1]): path.stem for path in found}


def show(number: int | str, line: Line) -> None:
    """One line of the table."""
    verdict = {True: "holds", False: "**missed**", None: ""}[line.holds]
    print(f"| {number} | {line.work} | {line.goal} | {line.measured} | {verdict} |", flush=True)


def seconds_of_the_machine() -> float:
    """A loop of Python's own, the best of three: tells a slow hour of a shared machine from a quick one."""

    def loop() -> float:
        started, total = time.perf_counter(), 0
        for number in range(3_000_000):
            total += number
        return time.perf_counter() - started

    return min(loop() for _ in range(3))


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5, help="counted runs of each command; the median is shown")
    parser.add_argument("--only", default="", help="rows of the table, separated by commas; all where left out")
    parser.add_argument("--no-peers", action="store_true", help="install and run no peer")
    options = parser.parse_args()
    modules = rows()
    chosen = [int(number) for number in options.only.split(",") if number] or sorted(modules)
    unknown = [number for number in chosen if number not in modules]
    if unknown:
        parser.error(
            f"--only {options.only!r}: there is no row {unknown[0]}; rows are {min(modules)} to {max(modules)}"
        )
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    print(f"{machine}, medians of {options.runs}, load {os.getloadavg()[0]:.1f} before", flush=True)
    print(f"three million additions in Python: {seconds_of_the_machine():.2f} s before\n")
    print("| # | work | goal | measured | |\n|---|---|---|---|---|", flush=True)
    with prefect_server() as environment:
        if {1, 2, 3, 6, 10} & set(chosen):
            rate = load.requests_per_second()
            show("", Line("requests that the mock model serves", "≥ 8,000 / s", f"{rate:,.0f} / s", rate >= 8_000))
        bench = Bench(options.runs, not options.no_peers, environment)
        for number in chosen:
            for line in importlib.import_module(f"benchmarks.{modules[number]}").lines(bench):
                show(number, line)
    print(f"\nthree million additions in Python: {seconds_of_the_machine():.2f} s after")


if __name__ == "__main__":
    main()
