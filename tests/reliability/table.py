"""The fault matrix as a table in `docs/reliability.md`: `python -m tests.reliability.table` plays it and writes it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.reliability.matrix import Case
    from tests.reliability.worlds import Attempt, Found

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
WRITE = "DATAGEN_WRITE_MATRIX"
_BEGIN, _END = "<!-- fault matrix: begin -->", "<!-- fault matrix: end -->"


@dataclass(frozen=True)
class Line:
    """A line of the table: rows after the fault, and what the resume without it paid and made."""

    fault: str
    where: str
    outcome: str
    written: int
    rejected: int
    lost: int
    paid_twice: int
    after: str

    @classmethod
    def of(cls, case: Case, found: Found, paid_twice: int, resumed: Attempt) -> Line:
        """What was found of a case."""
        after = "the same" if resumed.outcome == "completed" else "the same but for the rejected"
        return cls(
            case.fault,
            case.where,
            case.outcome,
            len(found.present),
            len(found.rejected),
            len(found.lost),
            paid_twice,
            after,
        )

    def agrees_with(self, other: Line, *, varies: bool) -> bool:
        """Whether two plays of one case gave the same; `varies` where rows and answers depend on the moment."""
        if not varies:
            return self == other
        return (self.outcome, self.lost, self.after) == (other.outcome, other.lost, other.after)

    @property
    def key(self) -> str:
        """The case's name."""
        return f"{self.fault}, {self.where}"


_HEADS = ("fault", "where", "outcome", "written", "rejected", "lost", "paid twice", "dataset after a resume")


def documented_lines() -> dict[str, Line] | None:
    """The table as it is in the documentation, by case; None while it is being written."""
    if os.environ.get(WRITE):
        return None
    table = PAGE.read_text().partition(_BEGIN)[2].partition(_END)[0]
    lines = {}
    for row in table.strip().splitlines()[2:]:
        cells = [cell.strip() for cell in row.strip().strip("|").split(" | ")]
        kinds = [field.type for field in fields(Line)]
        line = Line(*(int(cell) if kind == "int" else cell for cell, kind in zip(cells, kinds, strict=True)))  # type: ignore[arg-type]
        lines[line.key] = line
    return lines


def write(found: Mapping[str, Line]) -> None:
    """Put the table into the documentation."""
    rows = [" | ".join(map(str, astuple(line))) for line in found.values()]
    table = [" | ".join(_HEADS), "|".join("---:" if head in _NUMBERS else "---" for head in _HEADS), *rows]
    text = "\n".join(f"| {row} |" if "---" not in row[:4] else f"|{row}|" for row in table)
    before, _, rest = PAGE.read_text().partition(_BEGIN)
    after = rest.partition(_END)[2]
    PAGE.write_text(f"{before}{_BEGIN}\n{text}\n{_END}{after}")


_NUMBERS = frozenset({"written", "rejected", "lost", "paid twice"})


def main() -> int:
    """Play the matrix and write it; the exit code of pytest."""
    command = [sys.executable, "-m", "pytest", "-q", "tests/reliability/test_matrix.py", *sys.argv[1:]]
    return subprocess.run(command, env={**os.environ, WRITE: "1"}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
