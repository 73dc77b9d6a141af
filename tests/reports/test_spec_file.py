"""Problems of a file have their lines; nothing in it is guessed."""

from __future__ import annotations

from pathlib import Path

import pytest

from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.reports.spec_file import load_report, parse_report

GOOD = """
title: Reviews
queries:
  all: {sql: SELECT * FROM data}
charts:
  one: {type: table, query: all}
"""

EXAMPLES = Path(__file__).parents[2] / "examples" / "reports"


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_report(text, file="r.yaml")
    return caught.value.problems


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.name)
def test_every_example_is_a_report(path):
    assert load_report(path).charts


def test_all_problems_are_told_together_each_with_its_line():
    text = """title: 2024
sources:
  data: {type: dataset}
charts:
  one: {type: bar, query: al, x: a, y: b, colour: c}
  two: {type: nope}
  three: {type: kpi, value: 1, sql: SELECT 1}
"""
    found = problems(text)
    assert [line.split(":")[1] for line in found] == ["1", "5", "6", "7"]
    assert "put it in quotes" in found[0]
    assert "colour: unknown field" in found[1]


def test_names_that_lead_nowhere_have_suggestions_and_lines():
    found = problems(GOOD.replace("query: all", "query: al") + "layout:\n  - row: [one, two]\n  - one\n")
    assert found == [
        "r.yaml:6: charts.one.query: there is no query 'al'; did you mean 'all'?",
        "r.yaml:8: layout[0].row[1]: there is no chart 'two'",
        "r.yaml:9: layout[1]: chart 'one' is placed twice",
    ]


def test_a_name_that_is_given_twice_is_a_problem():
    assert problems(GOOD + "  one: {type: table, query: all}\n") == ["r.yaml:7: charts.one: is given twice"]


def test_a_circle_of_queries_is_named_with_its_line():
    text = GOOD.replace("SELECT * FROM data", '"SELECT * FROM {{ queries.b }} AS b"')
    text = text.replace("charts:", '  b: {sql: "SELECT * FROM {{ queries.all }} AS a"}\ncharts:')
    assert problems(text) == ["r.yaml:4: queries.all.sql: queries read each other in a circle: all → b → all"]


@pytest.mark.parametrize(
    "word", ["no", "on", "2025-01-31", "1_000", "0x10", "1e3", "0E8", "00M", "007", "NA", "yes", "1:30"]
)
def test_words_that_yaml_would_take_for_something_else_are_text(word):
    spec = parse_report(GOOD.replace("Reviews", word))
    assert spec.title == word


@pytest.mark.parametrize("word", ["1.10", "true", "null", "7"])
def test_what_is_no_text_is_refused_where_text_belongs(word):
    assert "title" in problems(GOOD.replace("Reviews", word))[0]


def test_what_is_no_yaml_is_told_with_its_line():
    assert (
        problems("title: [\ncharts: }") == ["r.yaml:2: not YAML: while parsing a flow sequence"]
        or "r.yaml:2" in (problems("title: [\ncharts: }")[0])
    )
    assert "a report is a mapping" in problems("- a")[0]


def test_a_file_that_cannot_be_read_is_a_config_error(tmp_path):
    with pytest.raises(ConfigError, match="cannot read report"):
        load_report(tmp_path / "nope.yaml")
    (tmp_path / "x.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_report(tmp_path / "x.yaml")


def test_a_format_that_is_none_is_found_before_anything_runs():
    text = GOOD + "  two: {type: kpi, query: all, value: n, format: ',.2q'}\n"
    assert "r.yaml:7: charts.two.format: ',.2q' is no number format" in problems(text)[0]
