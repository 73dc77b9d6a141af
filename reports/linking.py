"""From the queries of a report to queries that can run: values bound, queries that read others linked.

A value reaches SQL as a bound parameter and in no other way; a list of values becomes a list of parameters in
parentheses. `{{ queries.x }}` becomes a relation that DuckDB is handed; other databases read only their own queries,
as a subquery in parentheses.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from prefect_datagen.config.problems import did_you_mean
from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.reports.query import Query, Source
from prefect_datagen.reports.spec import QueryConfig, ReportSpec
from prefect_datagen.reports.sql_text import QUERY_REFERENCE, placeholders, tokens

_REFERENCE = re.compile(r"\{\{\s*(.*?)\s*\}\}", re.DOTALL)
_VARIABLE = re.compile(r"\{\{\s*variables\.([A-Za-z_]\w*)\s*\}\}")
_EMPTY_LIST = "(SELECT NULL WHERE 1 = 0)"


@dataclass(frozen=True)
class QueryProblem:
    """A mistake in the query `name`."""

    name: str
    message: str


def check_queries(spec: ReportSpec) -> list[QueryProblem]:
    """Every mistake in the queries of a report that can be told without running them."""
    queries = spec.all_queries()
    problems = [
        QueryProblem(name, message)
        for name, query in queries.items()
        for message in _problems_of(query, spec, known=frozenset(queries))
    ]
    if not problems and (circle := _find_circle(queries)):
        problems.append(QueryProblem(circle[0], f"queries read each other in a circle: {' → '.join(circle)}"))
    return problems


def link(
    spec: ReportSpec, *, sources: Mapping[str, Source], values: Mapping[str, Any], versions: Mapping[str, str]
) -> dict[str, Query]:
    """The queries of a report, ready to run, by name.

    Args:
        values: of every variable, as `ReportSpec.values` gives them.
        versions: data version of each source, by its name in the report.

    Raises:
        ConfigError: a query is wrong, or reads a query of another source where its own is no DuckDB.
    """
    problems = check_queries(spec)
    if problems:
        texts = [f"queries.{problem.name}: {problem.message}" for problem in problems]
        raise ConfigError("; ".join(texts), problems=texts)
    linker = _Linker(spec, sources, values, versions)
    for name in spec.all_queries():
        linker.link(name)
    return linker.linked


def source_of(query: QueryConfig, spec: ReportSpec) -> str:
    """Name of the source that a query runs on."""
    return query.source or next(iter(spec.sources))


class _Linker:
    def __init__(
        self, spec: ReportSpec, sources: Mapping[str, Source], values: Mapping[str, Any], versions: Mapping[str, str]
    ) -> None:
        self._spec = spec
        self._queries = spec.all_queries()
        self._sources = sources
        self._values = values
        self._versions = versions
        self.linked: dict[str, Query] = {}

    def link(self, name: str) -> Query:
        if name in self.linked:
            return self.linked[name]
        source_name = source_of(self._queries[name], self._spec)
        source = self._sources[source_name]
        text = self._queries[name].sql
        uses: dict[str, Query] = {}
        if source.dialect == "duckdb":
            uses = {used: self.link(used) for used in QUERY_REFERENCE.findall(text)}
        else:
            text = self._with_subqueries(name, source_name)
        text, parameters = bind(text, self._values, dialect=source.dialect)
        query = Query(source, text, parameters=parameters, uses=uses, version=self._versions[source_name], name=name)
        self.linked[name] = query
        return query

    def _with_subqueries(self, name: str, source_name: str) -> str:
        def subquery(match: re.Match[str]) -> str:
            used = match.group(1)
            if source_of(self._queries[used], self._spec) != source_name:
                raise ConfigError(
                    f"queries.{name}: it reads query {used!r} of another source, which only DuckDB sources can; "
                    "run it on a dataset or a DuckDB file"
                )
            return f"({self._with_subqueries(used, source_name).rstrip().rstrip(';')})"

        return QUERY_REFERENCE.sub(subquery, self._queries[name].sql)


def bind(text: str, values: Mapping[str, Any], *, dialect: str | None) -> tuple[str, dict[str, Any]]:
    """The text with a parameter in the dialect's form for each value, and the parameters it needs, by name."""
    text = _VARIABLE.sub(lambda match: f":{match.group(1)}", text)
    sign = "$" if dialect == "duckdb" else ":"
    parameters: dict[str, Any] = {}
    parts: list[str] = []
    at = 0
    for place in placeholders(text, frozenset(values), dialect=dialect):
        parts.append(text[at : place.start])
        value = values[place.name]
        named = {f"{place.name}_{number}": each for number, each in enumerate(value)} if isinstance(value, list) else {}
        if isinstance(value, list):
            parts.append(f"({', '.join(sign + each for each in named)})" if named else _EMPTY_LIST)
        else:
            named = {place.name: value}
            parts.append(sign + place.name)
        parameters |= named
        at = place.end
    return "".join([*parts, text[at:]]), parameters


def _problems_of(query: QueryConfig, spec: ReportSpec, *, known: frozenset[str]) -> list[str]:
    problems: list[str] = []
    if query.source is not None and query.source not in spec.sources:
        problems.append(f"there is no source {query.source!r}{did_you_mean(query.source, spec.sources)}")
    elif query.source is None and len(spec.sources) > 1:
        problems.append(f"give its source: the report has {', '.join(spec.sources)}")
    for match in _REFERENCE.finditer(query.sql):
        kind, _, name = match.group(1).partition(".")
        names = spec.variables if kind == "variables" else known if kind == "queries" else None
        if names is None or not name.isidentifier():
            problems.append(f"{match.group(0)!r} is neither {{{{ variables.name }}}} nor {{{{ queries.name }}}}")
        elif name not in names:
            problems.append(f"there is no {match.group(1)!r}{did_you_mean(name, names)}")
    return problems or _quoting_problems(query.sql, spec)


def _quoting_problems(sql: str, spec: ReportSpec) -> list[str]:
    """A reference inside quotes would be plain text. Each is tried as a name that cannot be there by chance."""
    value, relation = "value_in_this_report", "relation_in_this_report"
    text = _REFERENCE.sub(lambda match: f":{value}" if _VARIABLE.fullmatch(match.group(0)) else relation, sql)
    found = tokens(text)
    if found is None:
        return ["it cannot be read as SQL: a quote or a comment is never closed"]
    bound = len(placeholders(text, frozenset({value})))
    if bound + sum(token.raw == relation for token in found) < len(_REFERENCE.findall(sql)):
        return ["a {{ reference }} stands in quotes or beside other letters; a value is bound, so it needs no quotes"]
    return []


def _find_circle(queries: Mapping[str, QueryConfig]) -> list[str] | None:
    """Names that lead from a query back to itself, the first one repeated at the end."""
    finished: set[str] = set()

    def visit(name: str, path: list[str]) -> list[str] | None:
        if name in path:
            return [*path[path.index(name) :], name]
        if name in finished:
            return None
        for used in QUERY_REFERENCE.findall(queries[name].sql):
            if circle := visit(used, [*path, name]):
                return circle
        finished.add(name)
        return None

    return next((circle for name in queries if (circle := visit(name, []))), None)
