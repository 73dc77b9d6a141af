"""What safety costs: 1 % of push-backs against none, tracing on against off, turn by turn in one process.

    python -m benchmarks.reliability [--runs 7]

Whole flow runs against a Prefect server of their own, commits and traces on disk included; seconds as the runs' own
metadata tell them. Medians, and the ratio. Takes about four minutes on two cores that have nothing else to do.
"""

from __future__ import annotations

import argparse
import os
import statistics
from typing import Any

from benchmarks.jobs import build, three_cells
from benchmarks.prefect_server import prefect_server
from prefect_datagen.cli.console import quiet_prefect
from tests.mock_server import MockServer

PUSHED_BACK: dict[str, Any] = {"errors": ["429:0.01"], "retry_after": 0}


def seconds(server: MockServer, rows: int, model: str, behaviour: dict[str, Any], **run: Any) -> float:
    """One build of `rows` rows of three cells. The limit of an endpoint's model lives on: `model` names a fresh one."""
    server.become(**behaviour)
    config = three_cells(server.url, 64)
    config["model_configs"][0]["model"] = model
    made: float = build(config, rows, rows // 3, **run)["made_seconds"]
    return made


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7, help="counted runs of each kind; one more is not counted")
    runs = parser.parse_args().runs
    times: dict[str, list[float]] = {name: [] for name in ("clean", "pushed back", "untraced", "traced")}
    quiet_prefect()
    with prefect_server() as environment, MockServer() as server:
        os.environ.update(environment)  # Prefect is imported by the first build
        for turn in range(runs + 1):
            times["clean"].append(seconds(server, 1_000, f"clean-{turn}", {"latency_ms": 50}))
            times["pushed back"].append(seconds(server, 1_000, f"pushed-{turn}", {"latency_ms": 50, **PUSHED_BACK}))
            times["untraced"].append(seconds(server, 2_000, f"plain-{turn}", {"latency_ms": 5}))
            times["traced"].append(seconds(server, 2_000, f"traced-{turn}", {"latency_ms": 5}, trace=True))
    medians = {name: statistics.median(each[1:]) for name, each in times.items()}
    print("| work | seconds | ratio |\n|---|---:|---:|")
    print(f"| 3,000 cells at 50 ms, 64 in flight | {medians['clean']:.2f} | |")
    ratio = medians["pushed back"] / medians["clean"]
    print(f"| ... with 429 on 1 % of the calls | {medians['pushed back']:.2f} | {ratio:.2f} |")
    print(f"| 6,000 cells at 5 ms, 64 in flight | {medians['untraced']:.2f} | |")
    ratio = medians["traced"] / medians["untraced"]
    print(f"| ... with tracing | {medians['traced']:.2f} | {ratio:.3f} |")


if __name__ == "__main__":
    main()
