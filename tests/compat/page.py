"""Writes docs/compatibility.md from the table: `python -m tests.compat.page`."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from tests.compat.table import CASES, Verdict

PAGE = Path(__file__).parents[2] / "docs" / "compatibility.md"

_HEAD = """\
# Compatibility with NVIDIA NeMo Data Designer

Made by `python -m tests.compat.page` from the table that the tests run: every line is a config that the builder of
`data-designer-config` {version} exported, loaded by `DatasetConfig.load` and, where it is accepted, run. Nothing is
accepted and then ignored: what is not supported is refused by an error that names it.

Endpoints stand in the config (`model_providers`) or come as blocks; Data Designer keeps them beside it. In Python,
`DatasetConfig.from_data_designer(builder)` takes the builder itself, with the functions and data frames that an export
loses.
"""


def page() -> str:
    """The page's text."""
    parts = [_HEAD.format(version=version("data-designer-config"))]
    for group in dict.fromkeys(case.group for case in CASES):
        lines = ["| feature | accepted | |", "|---|---|---|"]
        for case in CASES:
            if case.group == group:
                accepted = "no" if case.verdict is Verdict.REFUSED else "yes"
                lines.append(f"| {case.feature} | {accepted} | {_verdict(case.verdict, case.why)} |")
        parts.append(f"## {group}\n\n" + "\n".join(lines) + "\n")
    return "\n".join(parts)


def _verdict(verdict: Verdict, why: str) -> str:
    if verdict is Verdict.SAME:
        return verdict.value
    return f"{verdict.value}: the error says `{why}`" if verdict is Verdict.REFUSED else f"{verdict.value}: {why}"


if __name__ == "__main__":
    PAGE.write_text(page())
