"""Problems of a config: where, what, the value, what would be right. Collected all together, never one at a time."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

Path = tuple[str | int, ...]

_QUOTED = re.compile(r"'([^']*)'")


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


def from_validation_error(
    error: ValidationError, prefix: Path, data: Any, *, model: type[BaseModel] | None = None
) -> list[Problem]:
    """What pydantic found, with union tags taken out of the paths and the values put into the messages.

    With `model`, the model that was validated, unknown fields are told with the one that was perhaps meant.
    """
    schema = None if model is None else model.model_json_schema()
    problems = []
    for each in error.errors(include_url=False):
        path, message = _told(each, _real_path(each["loc"], data), data, schema)
        if each["type"] == "union_tag_invalid" and path[-1] not in _at(data, path[:-1]):
            continue  # the tag stands elsewhere in the data, and its mistake is told there
        problems.append(Problem(prefix + path, message))
    return problems


def _told(error: ErrorDetails, path: Path, data: Any, schema: dict[str, Any] | None) -> tuple[Path, str]:
    """Path and message of one of pydantic's errors."""
    kind, context = error["type"], error.get("ctx", {})
    if kind == "extra_forbidden":
        known = [] if schema is None else _fields(schema, schema, path[:-1], data)
        return path, f"unknown field{did_you_mean(str(path[-1]), known)}"
    if kind == "missing":
        return path, "is required"
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        tag = str(context["discriminator"]).strip("'")
        given = context.get("tag")
        if given is None:
            return (*path, tag), "is required"
        return (*path, tag), _none_of(given, context["expected_tags"])
    if kind in ("literal_error", "enum") and isinstance(error["input"], str):
        return path, _none_of(error["input"], context["expected"])
    message = error["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    shown = repr(error["input"])
    return path, f"{message} (got {shown if len(shown) <= 80 else shown[:77] + '...'})"


def _at(data: Any, path: Path) -> Any:
    for step in path:
        data = data[step]
    return data


def _none_of(given: str, expected: str) -> str:
    names = _QUOTED.findall(expected)
    return f"{given!r} is none of {', '.join(names)}{did_you_mean(given, names)}"


def _fields(
    node: dict[str, Any], schema: dict[str, Any], path: Path, data: Any, around: Mapping[str, Any] | None = None
) -> list[str]:
    """Names of the fields that a JSON schema knows at a path through the data; `around` is what the data stands in."""
    tags = {**(around or {}), **data} if isinstance(data, dict) else {}
    node = _chosen(node, schema, tags)
    if not path:
        return list(node.get("properties", ()))
    step, *rest = path
    under = node.get("items", {}) if isinstance(step, int) else node.get("properties", {}).get(step, {})
    return _fields(under, schema, tuple(rest), data[step], tags)


def _chosen(node: dict[str, Any], schema: dict[str, Any], tags: Mapping[str, Any]) -> dict[str, Any]:
    """The definition behind a reference, an optional field, or a union whose member is told by one of `tags`."""
    for member in node.get("anyOf", ()):
        if member.get("type") != "null":
            return _chosen(member, schema, tags)
    if "discriminator" in node:
        mapping = node["discriminator"]["mapping"]
        node = {"$ref": mapping.get(tags.get(node["discriminator"]["propertyName"]), "")}
    if "$ref" in node:
        found: dict[str, Any] = schema.get("$defs", {}).get(node["$ref"].removeprefix("#/$defs/"), {})
        return found
    return node


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
