"""Templates reach no Python internals, no files, and end soon: by what they render, and by how long they take."""

from __future__ import annotations

import pytest

from prefect_datagen.columns.template import MAX_STEPS, Template, TemplateError

VALUES = {"x": "abc", "items": [1, 2], "n": 5_000_000}


def refusal(text: str) -> str:
    with pytest.raises(TemplateError) as caught:
        Template(text).render(VALUES)
    return str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "{{ x.__class__.__mro__ }}",
        "{{ x|attr('__class__') }}",
        "{{ x['__class__'] }}",
        "{{ self.__init__.__globals__ }}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ '{0.__class__}'.format(x) }}",
        "{{ '{x.__class__}'.format_map({'x': x}) }}",
        "{{ [x]|map(attribute='__class__')|list|first|attr('mro') }}",
        "{{ items.append(3) }}",
        "{{ items.clear() }}",
    ],
)
def test_no_python_internals_and_no_change_of_values(text: str) -> None:
    assert refusal(text)
    assert VALUES["items"] == [1, 2]


@pytest.mark.parametrize(
    "text", ["{% include '/etc/passwd' %}", "{% import '/etc/passwd' as p %}", "{% extends '/x' %}"]
)
def test_no_files(text: str) -> None:
    assert "no loader" in refusal(text)


@pytest.mark.parametrize(
    "text",
    [
        "{{ range(10 ** 9)|list }}",
        "{% for a in range(9999) %}{% for b in range(9999) %}{% for c in range(9999) %}{% endfor %}{% endfor %}{% endfor %}",
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    ],
)
def test_no_unbounded_loops(text: str) -> None:
    assert refusal(text)


@pytest.mark.parametrize(
    "text",
    [
        "{{ 'a' * 10 ** 9 }}",
        "{{ [1] * 10 ** 9 }}",
        "{{ 10 ** (10 ** 9) }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ '%*d' % (1000000000, 1) }}",
        "{{ '%.1000000000f'|format(1) }}",
        "{{ '{:>1000000000}'.format(1) }}",
        "{{ '{:>{w}}'.format(1, w=1000000000) }}",
        "{{ x|center(1000000000) }}",
        "{{ x.ljust(1000000000) }}",
        "{{ x.zfill(1000000000) }}",
        "{{ x|indent(1000000000) }}",
        "{{ items|slice(1000000000)|list }}",
        "{{ ('a' * 1000000)|replace('a', 'b' * 1000) }}",
        "{{ ('a' * 1000000).replace('a', 'b' * 1000) }}",
        "{% set a = 'x' * 1000000 %}{% set a = a + a %}{{ a }}",
        "{% set a = 'x' %}" + "{% set a = a ~ a %}" * 60 + "{{ a }}",
        "{% set a = 'x' %}" + "{% set a = a ~ a ~ '' %}" * 60 + "{{ a|length }}",
        "{% set a = 'x' %}" + "{% set a %}{{ a }}{{ a }}{% endset %}" * 60 + "{{ a|length }}",
        "{% macro f(a) %}{{ a }}{{ a }}{% endmacro %}{{ " + "f(" * 60 + "'x'" + ")" * 60 + " }}",
        "{% set a = ['x'] %}" + "{% set a = [a, a] %}" * 60 + "{{ a|length }}",
        "{% set a = ['x'] %}" + "{% set a = {1: a, 2: a} %}" * 60 + "{{ a|length }}",
        "{% set a = 'x' * 1000000 %}{% for i in range(9999) %}{{ a }}{% endfor %}",
    ],
)
def test_no_text_beyond_the_limit_on_the_way(text: str) -> None:
    assert "Memory" not in refusal(text)


@pytest.mark.parametrize(
    ("text", "rendered"),
    [
        ("{{ n|default(9000000) }}", "5000000"),
        ("{{ '5 * %s of 5551234567' % x }}", "5 * abc of 5551234567"),
        ("{{ '{} 5551234567'.format(x) }}", "abc 5551234567"),
        ("{{ '%05.2f' % 1.5 }}|{{ x|center(7) }}|{{ x|replace('b', '-') }}", "01.50|  abc  |a-c"),
        ("{% for a in items %}{% if loop.last %}{{ a }}{% endif %}{% else %}none{% endfor %}", "2"),
        ("{% macro f(a) %}<{{ a }}>{% endmacro %}{{ f(x) }}{{ [3, 1]|sort|join(',') }}", "<abc>1,3"),
        ("{% for a in range(9999) %}{% endfor %}{{ x + x }}", "abcabc"),
    ],
)
def test_what_people_write_renders(text: str, rendered: str) -> None:
    assert Template(text).render(VALUES) == rendered


def test_each_row_has_the_same_number_of_rounds() -> None:
    template = Template("{% for a in range(n) %}{% endfor %}{{ n }}")
    rows = 3 * MAX_STEPS // 9_000
    assert template.render_rows({"n": [9_000] * rows}, rows) == ["9000"] * rows
