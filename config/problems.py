"""Problems of a config: where, what, the value, what would be right. Collected all together, never one at a time."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from pydantic import ValidationError

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Problem:
    """One mistake. `path` leads to the field, such as `("columns", 2, "prompt")`."""

    path: Path
    message: str
    line: int | None = None

    def text(self, file: str | None = None) -> str:
        """One line: `dataset.yaml:14: columns[2].prompt: ...`."""
        line = "" if self.line is None else str(self.line)
        where = f"{file}:{line}".rstrip(":") + ": " if file else f"line {line}: " if line else ""
        return f"{where}{path_text(self.path)}{': ' if self.path else ''}{self.message}"


def path_text(path: Path) -> str:
    """`("columns", 2, "prompt")` as `columns[2].prompt`."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'review'?`, or nothing."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""


def from_validation_error(error: ValidationError, prefix: Path, data: Any) -> list[Problem]:
    """What pydantic found, with union tags taken out of the paths and the values put into the messages."""
    problems = []
    for each in error.errors(include_url=False):
        path = _real_path(each["loc"], data)
        message = each["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
        if each["type"] == "extra_forbidden":
            message = "unknown field"
        elif each["type"] == "missing":
            message = "is required"
        else:
            shown = repr(each["input"])
            message = f"{message} (got {shown if len(shown) <= 80 else shown[:77] + '...'})"
        problems.append(Problem(prefix + path, message))
    return problems


def _real_path(location: Sequence[str | int], data: Any) -> Path:
    """The steps that lead through the data; pydantic adds the names of union members in between."""
    path: list[str | int] = []
    here: Any = data
    for at, step in enumerate(location):
        if (isinstance(here, dict) and step in here) or (
            isinstance(here, list) and isinstance(step, int) and step < len(here)
        ):
            path.append(step)
            here = here[step]  # type: ignore[index]
        elif at == len(location) - 1 and isinstance(step, (str, int)):
            path.append(step)  # a missing field: the last step is not there
    return tuple(path)


def line_of(root: yaml.Node | None, path: Path) -> int | None:
    """The line (from 1) in a YAML document where the deepest existing step of a path stands."""
    node, line = root, None
    for step in path:
        found = _child(node, step)
        if found is None:
            break
        node = found
        line = node.start_mark.line + 1
    return line


def _child(node: yaml.Node | None, step: str | int) -> yaml.Node | None:
    if isinstance(node, yaml.MappingNode):
        return next((value for key, value in node.value if key.value == step), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        child: yaml.Node = node.value[step]
        return child
    return None
