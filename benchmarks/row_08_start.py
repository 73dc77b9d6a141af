"""What a user waits for before anything happens: import, help, validate."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import ENTRY, Bench, Line

EXAMPLE = Path(__file__).parents[1] / "examples" / "airports" / "dataset.yaml"


def lines(bench: Bench) -> Iterator[Line]:
    """Wall time of whole processes."""
    found = bench.compare(
        {
            "`python -c pass`": [sys.executable, "-c", "pass"],
            "`import prefect_datagen`": [sys.executable, "-c", "import prefect_datagen"],
            "`prefect-datagen --help`": [*ENTRY, "--help"],
            "`prefect-datagen validate`": [*ENTRY, "validate", str(EXAMPLE)],
        }
    )
    for (name, measured), most in zip(found.items(), (None, 0.15, 0.25, 0.6), strict=True):
        goal = "" if most is None else f"≤ {most} s"
        yield Line(
            name,
            goal,
            f"{measured.wall:.2f} s ({measured.cpu:.2f} s CPU)",
            None if most is None else measured.wall <= most,
        )
