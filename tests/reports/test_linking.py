"""Values are bound, never pasted; queries that read others are linked, or refused with a reason."""

from __future__ import annotations

from typing import Any

import pytest

from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.reports.linking import bind, check_queries, link
from prefect_datagen.reports.spec import ReportSpec

CHART = {"c": {"type": "table", "query": "q"}}


def spec(queries: dict[str, Any], **more: Any) -> ReportSpec:
    return ReportSpec.model_validate({"queries": queries, "charts": CHART, **more})


def messages(queries: dict[str, Any], **more: Any) -> list[str]:
    return [f"{problem.name}: {problem.message}" for problem in check_queries(spec(queries, **more))]


VARIABLES = {"v": {"type": "text", "default": "x"}, "list": {"type": "integer", "multiple": True, "default": [1, 2]}}


def test_a_value_becomes_a_parameter_in_the_form_of_the_dialect():
    text = "SELECT * FROM t WHERE a = {{ variables.v }} OR b = :v"
    assert bind(text, {"v": "x"}, dialect="duckdb") == ("SELECT * FROM t WHERE a = $v OR b = $v", {"v": "x"})
    assert bind(text, {"v": "x"}, dialect="sqlite") == ("SELECT * FROM t WHERE a = :v OR b = :v", {"v": "x"})


def test_a_list_becomes_a_list_of_parameters():
    text = "SELECT * FROM t WHERE a IN {{ variables.list }}"
    bound = ("SELECT * FROM t WHERE a IN ($list_0, $list_1)", {"list_0": 1, "list_1": 2})
    assert bind(text, {"list": [1, 2]}, dialect="duckdb") == bound
    assert bind(text, {"list": []}, dialect="duckdb") == ("SELECT * FROM t WHERE a IN (SELECT NULL WHERE 1 = 0)", {})


def test_only_values_that_a_query_uses_are_bound():
    assert bind("SELECT 1", {"v": "x"}, dialect="duckdb") == ("SELECT 1", {})


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT '{{ variables.v }}'",
        'SELECT "{{ variables.v }}"',
        "SELECT 'x {{ queries.b }}'",
        "SELECT a{{ variables.v }}",
    ],
)
def test_a_reference_in_quotes_is_refused(sql):
    assert "quotes" in messages({"q": {"sql": sql}, "b": {"sql": "SELECT 1"}}, variables=VARIABLES)[0]


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELECT {{ variables.lst }}", "there is no 'variables.lst'; did you mean 'list'?"),
        ("SELECT * FROM {{ queries.nope }}", "there is no 'queries.nope'"),
        ("SELECT {{ v }}", "neither"),
        ("SELECT {{ variables.v | upper }}", "neither"),
        ("SELECT 'a", "never closed"),
    ],
)
def test_other_references_are_refused(sql, said):
    assert said in messages({"q": {"sql": sql}}, variables=VARIABLES)[0]


def test_a_query_that_reads_itself_is_a_circle():
    assert messages({"q": {"sql": "SELECT * FROM {{ queries.q }} AS q"}}) == [
        "q: queries read each other in a circle: q → q"
    ]


def test_a_diamond_is_no_circle():
    queries = {
        "q": {"sql": "SELECT * FROM {{ queries.a }} AS a, {{ queries.b }} AS b"},
        "a": {"sql": "SELECT * FROM {{ queries.d }} AS d"},
        "b": {"sql": "SELECT * FROM {{ queries.d }} AS d"},
        "d": {"sql": "SELECT 1 AS n"},
    }
    assert messages(queries) == []


def test_sources_have_to_be_named_where_there_are_several():
    sources = {"a": {"type": "dataset"}, "b": {"type": "dataset"}}
    assert messages({"q": {"sql": "SELECT 1"}}, sources=sources) == ["q: give its source: the report has a, b"]
    assert messages({"q": {"sql": "SELECT 1", "source": "x"}}, sources=sources) == ["q: there is no source 'x'"]


@pytest.mark.parametrize("dialect", ["duckdb", "sqlite"])
def test_duckdb_is_handed_rows_and_others_a_subquery(make_source, dialect):
    source = make_source(dialect)
    source.dialect = dialect
    queries = {
        "q": {"sql": "SELECT * FROM {{ queries.b }} AS b WHERE n > {{ variables.v }}"},
        "b": {"sql": "SELECT * FROM t WHERE word = {{ variables.v }};"},
    }
    report = spec(queries, variables=VARIABLES, sources={"s": {"type": "dataset"}})
    linked = link(report, sources={"s": source}, values=report.values(), versions={"s": "1"})["q"]
    if dialect == "duckdb":
        assert list(linked.uses) == ["b"]
        assert linked.sql == f"SELECT * FROM {linked.uses['b'].relation} AS b WHERE n > $v"
    else:
        assert linked.sql == "SELECT * FROM (SELECT * FROM t WHERE word = :v) AS b WHERE n > :v"
    assert linked.parameters == {"v": "x"}


def test_a_database_cannot_read_a_query_of_another_source(make_source):
    one, other = make_source("one"), make_source("other")
    one.dialect = other.dialect = "sqlite"
    queries = {
        "q": {"sql": "SELECT * FROM {{ queries.b }} AS b", "source": "one"},
        "b": {"sql": "SELECT 1", "source": "other"},
    }
    report = spec(queries, sources={"one": {"type": "dataset"}, "other": {"type": "dataset"}})
    with pytest.raises(ConfigError, match="reads query 'b' of another source"):
        link(report, sources={"one": one, "other": other}, values={}, versions={"one": "", "other": ""})
