"""A template over many rows gives what it gives row by row."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefect_datagen.columns.template import MAX_OUTPUT, Template, TemplateError

TEMPLATES = [
    "{{ a }} and {{ b }}",
    "{{ a }}{{ a }}",
    "{{ b }}",
    "constant",
    "",
    "{{ a | upper }}: {{ b * 2 }}",
    "{% if b %}{{ a }}{% else %}none{% endif %}",
    "{% set b = 5 %}{{ a }}{{ b }}",
    "{% set x = a %}{{ x }}{% for i in range(2) %}{{ loop.index }}{{ x }}{% endfor %}",
    "{% macro twice(x) %}{{ x }}{{ x }}{% endmacro %}{{ twice(a) }}",
    "{% block body %}text{% endblock %}{{ b }}",
    "{{ range(3) | join(a) }}",
    "{{ 10 // b }}",
    "{{ a.missing }}",
    "{{ loop }}{{ a }}",
    "{{ datagen_rows }}{{ a }}",
    "{{ a }}\n{# comment #}  {%- if true %} x {% endif %}\n",
]
VALUES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.integers(), max_size=3))


def one_by_one(template: Template, rows: list[dict[str, Any]]) -> list[str | None]:
    texts: list[str | None] = []
    for row in rows:
        try:
            texts.append(template.render(row))
        except TemplateError:
            texts.append(None)
    return texts


@pytest.mark.parametrize("text", TEMPLATES)
@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_all_rows_at_once_give_the_texts_of_row_by_row(text: str, data: st.DataObject) -> None:
    template = Template(text)
    rows = data.draw(st.lists(st.fixed_dictionaries(dict.fromkeys(template.references, VALUES)), max_size=4))
    columns = {name: [row[name] for row in rows] for name in template.references}
    made = template.render_rows(columns, len(rows))
    assert [None if isinstance(text, TemplateError) else text for text in made] == one_by_one(template, rows)


def test_a_row_that_fails_says_why_and_leaves_the_others() -> None:
    made = Template("{{ 6 // b }}").render_rows({"b": [2, 0, 3]}, 3)
    assert (made[0], made[2]) == ("3", "2")
    assert "ZeroDivisionError" in str(made[1])


def test_the_output_limit_holds_for_each_row() -> None:
    made = Template("{{ a }}{{ a }}").render_rows({"a": ["x", "y" * (MAX_OUTPUT // 2 + 1)]}, 2)
    assert made[0] == "xx"
    assert "rendered to more than 1,000,000 characters" in str(made[1])


def test_the_sandbox_holds_for_many_rows_too() -> None:
    (made,) = Template("{{ a.__class__.__mro__ }}").render_rows({"a": ["x"]}, 1)
    assert "unsafe" in str(made)
