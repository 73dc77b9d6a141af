"""Reading a report from YAML: every problem with its line, and no guessing of types.

YAML 1.1 makes a boolean of `no`, a date of `2025-01-31` and a number of `1_000`. Here only `true`, `false`, `null` and
plain numbers are anything but text, as in JSON; a number where text belongs is refused, not turned into text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from prefect_datagen.config.problems import Problem, did_you_mean, from_validation_error, line_of
from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.reports.linking import check_queries
from prefect_datagen.reports.spec import Column, Heading, LayoutNode, ReportSpec, Row, Tabs


class _Loader(yaml.SafeLoader):
    """The core of YAML 1.2, as far as JSON goes."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's own shape


_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"^(?:null|~|)$"), ["n", "~", ""])
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|false)$"), ["t", "f"])
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^-?(?:0|[1-9][0-9]*)$"), list("-0123456789"))
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)(?:[eE][-+]?[0-9]+)?$"),
    list("-0123456789"),
)


def load_report(path: Path | str) -> ReportSpec:
    """Read and check a report's file.

    Raises:
        ConfigError: with every problem, each beginning with `file:line:`.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot read report {str(path)!r}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"report {str(path)!r} is not UTF-8 text: {error}") from error
    return parse_report(text, file=str(path))


def parse_report(text: str, *, file: str = "report") -> ReportSpec:
    """Read and check a report's text; `file` is its name in messages.

    Raises:
        ConfigError: with every problem, each beginning with `file:line:`.
    """
    try:
        root = yaml.compose(text, Loader=_Loader)
        twice = [] if root is None else list(_names_given_twice(root, ()))
        data = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise ConfigError(f"{file}{line}: not YAML: {getattr(error, 'problem', None) or error}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{file}:1: a report is a mapping with `charts`, not {type(data).__name__}")
    problems = twice
    spec: ReportSpec | None = None
    try:
        spec = ReportSpec.model_validate(data)
    except ValidationError as error:
        problems += [_with_advice(problem) for problem in from_validation_error(error, (), data)]
    if spec is not None:
        problems += check_report(spec)
    if spec is None or problems:
        lined = [
            Problem(problem.path, problem.message, problem.line or line_of(root, problem.path)) for problem in problems
        ]
        texts = [problem.text(file) for problem in sorted(lined, key=lambda problem: problem.line or 0)]
        raise ConfigError("\n".join(texts), problems=texts)
    return spec


def _with_advice(problem: Problem) -> Problem:
    message = problem.message
    if message.startswith("Input should be a valid string"):
        message = message.replace("Input should be a valid string", "this is no text; put it in quotes")
    return Problem(problem.path, message, problem.line)


def check_report(spec: ReportSpec) -> list[Problem]:
    """What no single field can know: names that lead nowhere, charts placed twice, queries that cannot run."""
    problems: list[Problem] = []
    queries = spec.all_queries()
    for name, chart in spec.charts.items():
        wanted = spec.query_of(name)
        if wanted is not None and wanted not in queries:
            problems.append(
                Problem(("charts", name, "query"), f"there is no query {wanted!r}{did_you_mean(wanted, queries)}")
            )
        if getattr(chart, "sql", None) is not None and name in spec.queries:
            problems.append(
                Problem(("charts", name), f"a chart with sql of its own cannot be called like query {name!r}")
            )
    for problem in check_queries(spec):
        where = ("queries", problem.name) if problem.name in spec.queries else ("charts", problem.name)
        problems.append(Problem((*where, "sql"), problem.message))
    placed: set[str] = set()
    for path, name in _placed(spec.layout, ("layout",)):
        if name not in spec.charts:
            problems.append(Problem(path, f"there is no chart {name!r}{did_you_mean(name, spec.charts)}"))
        elif name in placed:
            problems.append(Problem(path, f"chart {name!r} is placed twice"))
        placed.add(name)
    return problems


def _placed(nodes: list[LayoutNode], path: tuple[str | int, ...]) -> Iterable[tuple[tuple[str | int, ...], str]]:
    for number, node in enumerate(nodes):
        here = (*path, number)
        if isinstance(node, Row):
            yield from _placed(node.row, (*here, "row"))
        elif isinstance(node, Column):
            yield from _placed(node.column, (*here, "column"))
        elif isinstance(node, Tabs):
            for title, inside in node.tabs.items():
                yield from _placed(inside, (*here, "tabs", title))
        elif not isinstance(node, Heading):
            yield here, node


def _names_given_twice(node: yaml.Node, path: tuple[str | int, ...]) -> Iterable[Problem]:
    """PyYAML takes the last of two equal keys without a word."""
    if isinstance(node, yaml.MappingNode):
        seen: set[Any] = set()
        for key, value in node.value:
            here = (*path, key.value)
            if key.value in seen:
                yield Problem(here, "is given twice", line=key.start_mark.line + 1)
            seen.add(key.value)
            yield from _names_given_twice(value, here)
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            yield from _names_given_twice(value, (*path, number))
