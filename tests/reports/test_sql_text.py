"""Normalisation changes layout only; placeholders are found outside quoted text only."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefect_datagen.reports.sql_text import normalise, placeholders


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("select a from t", "SELECT  a\n FROM t"),
        ("SELECT a FROM t -- the rows", "SELECT a /* all */ FROM t"),
        ("SELECT a FROM t;", "SELECT a FROM t"),
        ("select a from t where b is not null", "SELECT a FROM t WHERE b IS NOT NULL"),
    ],
)
def test_layout_comments_and_case_of_keywords_are_no_difference(one, other):
    assert normalise(one) == normalise(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("SELECT 'a  b'", "SELECT 'a b'"),
        ("SELECT 'Select'", "SELECT 'SELECT'"),
        ('SELECT "A" FROM t', 'SELECT "a" FROM t'),
        ("SELECT 1 AS a", "SELECT 1 AS A"),
        ("SELECT 1 AS from", "SELECT 1 AS FROM"),
        ("SELECT t.order FROM t", "SELECT t.ORDER FROM t"),
        ("SELECT '-- x' FROM t", "SELECT '' FROM t"),
        ("SELECT $$a  b$$", "SELECT $$a b$$"),
    ],
)
def test_literals_and_names_are_never_touched(one, other):
    assert normalise(one, dialect="duckdb") != normalise(other, dialect="duckdb")


@settings(deadline=None)
@given(st.text(alphabet=st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=30))
def test_any_literal_survives_as_it_is_written(content):
    literal = "'" + content.replace("'", "''") + "'"
    assert literal in normalise(f"select  {literal}  from t", dialect="duckdb")


def test_text_that_is_no_sql_comes_back():
    assert normalise("  select 'never closed ") == "select 'never closed"


def test_placeholders_are_found_where_a_value_can_stand_and_nowhere_else():
    text = "SELECT ':a', \":a\", x::a, y[1:a], :a, :ab /* :a */ FROM t WHERE b=:a"
    found = placeholders(text, frozenset({"a"}), dialect="duckdb")
    assert [text[place.start - 2 : place.end] for place in found] == [", :a", "b=:a"]


def test_a_quote_that_is_never_closed_is_refused():
    with pytest.raises(ValueError, match="never closed"):
        placeholders("SELECT 'a", frozenset({"a"}))
