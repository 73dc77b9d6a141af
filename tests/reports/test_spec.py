"""Variables keep their types; a specification says what is wrong with it."""

from __future__ import annotations

from datetime import date, datetime

import pytest
from pydantic import ValidationError

from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.reports.spec import ReportSpec, Variable, VegaConfig, Widget


@pytest.mark.parametrize(
    ("kind", "given", "value"),
    [
        ("text", "1.10", "1.10"),
        ("text", "null", "null"),
        ("integer", "7", 7),
        ("integer", -7, -7),
        ("number", "1.5", 1.5),
        ("number", 2, 2.0),
        ("boolean", "true", True),
        ("boolean", False, False),
        ("date", "2025-01-31", date(2025, 1, 31)),
        ("datetime", "2025-01-31T12:00:00+00:00", datetime.fromisoformat("2025-01-31T12:00:00+00:00")),
        ("integer", None, None),
    ],
)
def test_a_value_is_read_as_its_variable_says(kind, given, value):
    parsed = Variable(type=kind).parse(given)
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("text", 1.1),
        ("text", True),
        ("integer", "1.0"),
        ("integer", "x"),
        ("integer", True),
        ("number", "nan"),
        ("number", "1e999"),
        ("number", False),
        ("boolean", "yes"),
        ("boolean", 1),
        ("date", "yesterday"),
        ("datetime", "noon"),
    ],
)
def test_a_value_of_another_type_is_refused(kind, given):
    with pytest.raises(ValueError, match=r".+"):
        Variable(type=kind).parse(given)


def test_bounds_and_choices_hold_for_every_value():
    bounded = Variable(type="integer", minimum=1, maximum=5)
    with pytest.raises(ValueError, match="above the maximum 5"):
        bounded.parse(6)
    chosen = Variable(type="text", choices=["a", "b"], multiple=True)
    assert chosen.parse("a") == ["a"]
    with pytest.raises(ValueError, match="none of"):
        chosen.parse(["a", "c"])


def test_the_default_has_to_fit_too():
    with pytest.raises(ValidationError, match="below the minimum"):
        Variable(type="integer", default=0, minimum=1)


def test_widgets_follow_the_type_and_need_what_they_show():
    assert Variable(type="boolean").shown_as is Widget.CHECKBOX
    assert Variable(type="text", choices=["a"]).shown_as is Widget.SELECT
    with pytest.raises(ValidationError, match="a slider needs"):
        Variable(type="integer", widget="slider")
    with pytest.raises(ValidationError, match="needs choices"):
        Variable(type="text", widget="radio")


def test_every_wrong_value_is_told_at_once():
    spec = ReportSpec.model_validate(
        {
            "variables": {"a": {"type": "integer"}, "b": {"type": "date"}},
            "charts": {"c": {"type": "text", "markdown": "x"}},
        }
    )
    with pytest.raises(ConfigError) as caught:
        spec.values({"a": "x", "b": "y", "z": 1})
    assert len(caught.value.problems) == 3


@pytest.mark.parametrize(
    "spec", [{"data": {"url": "http://example.com/x.csv"}}, {"layer": [{"data": {"url": "/etc/passwd"}}]}]
)
def test_a_vega_specification_that_loads_something_is_refused(spec):
    with pytest.raises(ValidationError, match="reaches nothing outside"):
        VegaConfig(type="vega", sql="SELECT 1", spec=spec)


def test_a_chart_has_one_query():
    with pytest.raises(ValidationError, match="either query or sql"):
        ReportSpec.model_validate({"charts": {"c": {"type": "kpi", "value": "v"}}})
