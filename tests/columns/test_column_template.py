"""A simple template over whole columns gives what Jinja2 gives row by row, or leaves it to Jinja2."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_datagen.columns.column_template import ColumnTemplate
from prefect_datagen.columns.template import MAX_OUTPUT, Template

TYPES = {
    "t": pa.string(),
    "n": pa.int64(),
    "small": pa.uint8(),
    "flag": pa.bool_(),
    "x": pa.float64(),
    "d": pa.date32(),
}

SIMPLE = [
    "{{ t }}",
    "{{ n }}",
    "{{ t }} and {{ t }}: #{{ n }} {{ small }}",
    "{% if flag %}{{ t }}{% else %}plain{% endif %}",
    "{% if not flag %}{{ t }}{% endif %}",
    "a {% if flag %}{{ n }}{% elif not flag %}{{ t }}{% else %}never{% endif %} z\n",
    "{%- if flag -%} yes {%- endif %} {# comment #}{{ t }}",
    "{% raw %}{{ t }}{% endraw %}{{ t }}",
    "{% if n %}{{ t }}{% else %}plain{% endif %}",
    "{% if not small %}none{% elif x %}{{ t }}{% elif t %}text{% endif %}",
]
OTHERS = [
    "{{ x }}",
    "{{ flag }}",
    "{{ t | upper }}",
    "{{ n + 1 }}",
    "{{ t.missing }}",
    "{% if d %}a{% endif %}{{ t }}",
    "{% if flag and not flag %}a{% endif %}",
    "{% for i in range(2) %}{{ t }}{% endfor %}",
    "{% set t = 5 %}{{ t }}",
    "{{ 'constant' }}{{ t }}",
    "constant",
    "{{ unknown }}{{ t }}",
]


def arrays(rows: list[dict[str, Any]]) -> dict[str, pa.Array]:
    return {name: pa.array([row[name] for row in rows], type_) for name, type_ in TYPES.items()}


@pytest.mark.parametrize("text", SIMPLE)
@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "t": st.text(st.characters(exclude_categories=["Cs"])),
                "n": st.integers(-(2**63), 2**63 - 1),
                "small": st.integers(0, 255),
                "flag": st.booleans(),
                "x": st.floats(),
                "d": st.none(),
            }
        ),
        max_size=5,
    )
)
def test_the_text_is_that_of_jinja2(text: str, rows: list[dict[str, Any]]) -> None:
    template = Template(text)
    made = ColumnTemplate.of(template, TYPES)
    assert made is not None
    texts = made.render(arrays(rows))
    assert texts is not None
    assert texts.type == pa.string()
    assert texts.to_pylist() == [template.render(row) for row in rows]


@pytest.mark.parametrize("text", OTHERS)
def test_what_is_not_simple_is_left_to_jinja2(text: str) -> None:
    assert ColumnTemplate.of(Template(text), TYPES) is None


def test_nulls_other_types_and_texts_beyond_the_limit_are_left_to_jinja2() -> None:
    made = ColumnTemplate.of(Template("{{ t }}{{ t }}"), TYPES)
    assert made is not None
    assert made.render({"t": pa.array(["a", None])}) is None
    assert made.render({"t": pa.array(["a"], pa.large_string())}) is None
    assert made.render({"t": pa.array(["é" * (MAX_OUTPUT // 2)])}) is not None
    assert made.render({"t": pa.array(["é" * (MAX_OUTPUT // 2 + 1)])}) is None
