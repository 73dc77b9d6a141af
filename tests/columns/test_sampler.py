"""The config of sampler columns: what is accepted, what is refused and how, which types are promised."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pyarrow as pa
import pytest
from data_designer.config import config_builder, sampler_params
from data_designer.config.column_configs import SamplerColumnConfig as RefereeColumn
from data_designer.config.models import ModelConfig
from pydantic import ValidationError

from prefect_datagen.columns.base import Reference
from prefect_datagen.columns.sampler import SamplerColumnConfig
from prefect_datagen.columns.samplers.base import parse_time, time_type
from prefect_datagen.columns.samplers.people import PERSON

PARAMS: dict[str, dict[str, Any]] = {
    "bernoulli": {"p": 0.3},
    "bernoulli_mixture": {"p": 0.4, "dist_name": "gamma", "dist_params": {"a": 2.0}},
    "binomial": {"n": 20, "p": 0.25},
    "category": {"values": ["a", "b", "c"], "weights": [1, 2, 3]},
    "datetime": {"start": "2024-01-01", "end": "2024-03-01", "unit": "h"},
    "gaussian": {"mean": 5.0, "stddev": 2.0, "decimal_places": 3},
    "person": {"locale": "en_US", "age_range": [20, 60], "sex": "Female"},
    "person_from_faker": {"locale": "de_DE", "city": ["Ulm", "Kiel"]},
    "poisson": {"mean": 4.5},
    "scipy": {"dist_name": "beta", "dist_params": {"a": 2, "b": 5}, "decimal_places": 4},
    "subcategory": {"category": "parent", "values": {"x": ["x1", "x2"], "y": ["y1"]}},
    "timedelta": {"dt_min": 1, "dt_max": 10, "reference_column_name": "start", "unit": "D"},
    "uniform": {"low": -1.0, "high": 1.0},
    "uuid": {"prefix": "id-", "short_form": True, "uppercase": True},
}


def column(sampler_type: str, params: dict[str, Any] | None = None, **more: Any) -> SamplerColumnConfig:
    chosen = PARAMS[sampler_type] if params is None else params
    return SamplerColumnConfig.model_validate(
        {"name": "x", "column_type": "sampler", "sampler_type": sampler_type, "params": chosen, **more}
    )


def problems(config: SamplerColumnConfig) -> dict[str, str]:
    return dict(config.check())


def test_every_sampler_of_the_referee_is_known() -> None:
    assert set(PARAMS) == {kind.value for kind in sampler_params.SamplerType}


@pytest.mark.parametrize("kind", PARAMS)
def test_a_config_exported_by_the_referee_loads_and_means_the_same(kind: str) -> None:
    builder = config_builder.DataDesignerConfigBuilder(model_configs=[ModelConfig(alias="m", model="m", provider="p")])
    builder.add_column(RefereeColumn(name="x", sampler_type=kind, params=PARAMS[kind]))
    exported = builder.get_builder_config().to_dict()["data_designer"]["columns"][0]
    ours = SamplerColumnConfig.model_validate(exported)
    assert exported["params"]["sampler_type"] == kind
    kept = ours.params.model_dump()
    assert {name: kept[name] for name in exported["params"] if name != "weights"} == {
        name: value for name, value in exported["params"].items() if name != "weights"
    }
    assert not problems(ours)


@pytest.mark.parametrize("kind", PARAMS)
def test_params_take_their_sampler_from_the_column(kind: str) -> None:
    short = column(kind, conditional_params={"parent == 'x'": PARAMS[kind]})
    long = column(
        kind,
        {"sampler_type": kind, **PARAMS[kind]},
        conditional_params={"parent == 'x'": {"sampler_type": kind, **PARAMS[kind]}},
    )
    assert short == long
    assert not problems(short)
    assert SamplerColumnConfig.model_validate(short.model_dump(mode="json")) == short


def test_params_of_another_sampler_are_refused() -> None:
    with pytest.raises(ValidationError, match=r"params.sampler_type 'uniform' is not the column's .* 'gaussian'"):
        column("gaussian", {"sampler_type": "uniform", "low": 0, "high": 1})
    with pytest.raises(ValidationError, match=r"conditional_params\[a == 1\].sampler_type 'uniform'"):
        column("gaussian", conditional_params={"a == 1": {"sampler_type": "uniform", "low": 0, "high": 1}})


def test_an_unknown_sampler_or_field_is_refused() -> None:
    with pytest.raises(ValidationError, match="'zipf'"):
        column("zipf", {})
    with pytest.raises(ValidationError, match="sigma"):
        column("gaussian", {"mean": 0, "stddev": 1, "sigma": 1})


@pytest.mark.parametrize(
    ("kind", "params", "field", "message"),
    [
        ("category", {"values": ["a", "b"], "weights": [1]}, "params.weights", "1 weights for 2 values"),
        ("category", {"values": ["a", "b"], "weights": [1, -1]}, "params.weights", "-1.0 is no weight"),
        ("category", {"values": ["a", "b"], "weights": [0, 0]}, "params.weights", "at least one must be above 0"),
        ("category", {"values": ["a", "b"], "weights": [1, float("nan")]}, "params.weights", "nan is no weight"),
        ("category", {"values": [True, "a"]}, "params.values", "mixes truth values"),
        ("category", {"values": [2**70]}, "params.values", "does not fit 64 bits"),
        ("subcategory", {"category": "p", "values": {"a": []}}, "params.values.a", "the list is empty"),
        ("subcategory", {"category": "p", "values": {}}, "params.values", "is empty"),
        ("uniform", {"low": 1, "high": 0}, "params.high", "below low"),
        ("uniform", {"low": -1e308, "high": 1e308}, "params.high", "no finite number"),
        ("uniform", {"low": 0.11, "high": 0.19, "decimal_places": 1}, "params.high", "no number with 1 decimal"),
        ("timedelta", {"dt_min": 5, "dt_max": 5, "reference_column_name": "t"}, "params.dt_max", "above dt_min 5"),
        ("timedelta", {"dt_min": 0, "dt_max": 10**9, "reference_column_name": "t"}, "params.dt_max", "longer than all"),
        ("person", {"city": []}, "params.city", "is empty"),
        ("datetime", {"start": "2024-01-02", "end": "2024-01-02"}, "params.end", "must be later than start"),
        ("scipy", {"dist_name": "nonesuch", "dist_params": {}}, "params.dist_name", "'nonesuch' is no univariate"),
        ("scipy", {"dist_name": "describe", "dist_params": {}}, "params.dist_name", "'describe' is no univariate"),
        ("scipy", {"dist_name": "beta", "dist_params": {"a": 1}}, "params.dist_params", "does not take {'a': 1}"),
        ("scipy", {"dist_name": "norm", "dist_params": {"sd": 1}}, "params.dist_params", "does not take {'sd': 1}"),
        ("scipy", {"dist_name": "norm", "dist_params": {"scale": -1}}, "params.dist_params", "is outside of what"),
        ("scipy", {"dist_name": "norm", "dist_params": {"loc": [0, 1]}}, "params.dist_params", "several distributions"),
        ("scipy", {"dist_name": "rv_discrete", "dist_params": {}}, "params.dist_params", "needs 'values'"),
        ("bernoulli_mixture", {"p": 1, "dist_name": "x", "dist_params": {}}, "params.dist_name", "'x' is no"),
        ("person_from_faker", {"locale": "xx_XX"}, "params.locale", "'xx_XX' is no locale of Faker; there are "),
        ("person", {"locale": "en_SG"}, "params.locale", "'en_SG' is no locale of Faker"),
        ("person", {"age_range": [30, 20]}, "params.age_range", "[30, 20] must be two ages in order"),
        ("person", {"with_synthetic_personas": True}, "params.with_synthetic_personas", "needs a persona dataset"),
        ("person", {"select_field_values": {"a": ["b"]}}, "params.select_field_values", "needs a persona dataset"),
        ("person", {"as_of": "2025-02-30"}, "params.as_of", "'2025-02-30' is no date"),
    ],
)
def test_bad_params_are_named(kind: str, params: dict[str, Any], field: str, message: str) -> None:
    found = problems(column(kind, params))
    assert message in found.get(field, f"nothing, but {found}")


@pytest.mark.parametrize(
    ("kind", "params", "message"),
    [
        ("bernoulli", {"p": 1.5}, "less than or equal to 1"),
        ("binomial", {"n": -1, "p": 0.5}, "greater than or equal to 0"),
        ("poisson", {"mean": -1}, "greater than or equal to 0"),
        ("gaussian", {"mean": 0, "stddev": -1}, "greater than or equal to 0"),
        ("gaussian", {"mean": float("inf"), "stddev": 1}, "finite number"),
        ("category", {"values": []}, "at least 1 item"),
        ("category", {"values": ["a", None]}, "valid"),
        ("category", {"values": [float("nan")]}, "finite number"),
        ("datetime", {"start": "yesterday", "end": "2024-01-01"}, "'yesterday' is no date or time"),
        ("datetime", {"start": "2024-13-01", "end": "2025-01-01"}, "'2024-13-01' is no date or time"),
        ("datetime", {"start": "2024-01-01", "end": "2025-01-01", "unit": "ns"}, "'Y', 'M', 'D', 'h', 'm' or 's'"),
        ("timedelta", {"dt_min": 0, "dt_max": 1, "reference_column_name": "t", "unit": "M"}, "'D', 'h', 'm' or 's'"),
        ("person", {"sex": "Other"}, "'Male' or 'Female'"),
    ],
)
def test_params_out_of_bounds_do_not_load(kind: str, params: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        column(kind, params)


@pytest.mark.parametrize(
    ("kind", "convert_to", "message"),
    [
        ("uniform", "%Y", "it can be int, float, str"),
        ("uuid", "int", "it can be str"),
        ("person", "str", "leave it out"),
        ("datetime", "str", "no strftime format"),
        ("datetime", "%Y\ud800", "no strftime format"),
        ("category", "bool", "it can be int, float, str"),
    ],
)
def test_a_conversion_that_the_sampler_does_not_have_is_refused(kind: str, convert_to: str, message: str) -> None:
    assert message in problems(column(kind, convert_to=convert_to))["convert_to"]


def test_text_that_is_no_number_cannot_be_converted_to_one() -> None:
    config = column("category", {"values": ["1", "two"]}, convert_to="int")
    assert problems(config) == {"params.values": "'two' cannot be made int (convert_to)"}


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("a ==", "does not parse"),
        ("a == 1\nb", "does not parse"),
        ("len(a) > 3", "Call is not allowed"),
        ("a.__class__()", "Call is not allowed"),
        ("(lambda: 1)()", "not allowed"),
        ("[x for x in a]", "ListComp is not allowed"),
        ("a ** 100", "Pow is not allowed"),
        ("f'{a}'", "JoinedStr is not allowed"),
        ("not " * 200 + "a", "nested deeper than 50"),
    ],
)
def test_a_condition_that_is_none_is_refused(condition: str, message: str) -> None:
    config = column("uniform", conditional_params={condition: {"low": 0, "high": 1}})
    assert message in problems(config)[f"conditional_params[{condition}]"]


def test_references_name_the_field_that_reads() -> None:
    config = column(
        "subcategory",
        conditional_params={"a > 1 and person.age < b": {"category": "other", "values": {"k": [1]}}, "broken (": {}}
        | {"broken (": {"category": "third", "values": {"k": [1]}}},
    )
    assert list(config.references()) == [
        Reference("parent", "params.category"),
        Reference("other", "conditional_params[a > 1 and person.age < b].category"),
        Reference("third", "conditional_params[broken (].category"),
        Reference("a", "conditional_params[a > 1 and person.age < b]"),
        Reference("b", "conditional_params[a > 1 and person.age < b]"),
        Reference("person", "conditional_params[a > 1 and person.age < b]"),
    ]
    assert list(column("timedelta").references()) == [Reference("start", "params.reference_column_name")]


@pytest.mark.parametrize(
    ("kind", "params", "convert_to", "expected"),
    [
        ("category", {"values": [1, 2]}, None, pa.int64()),
        ("category", {"values": [1, 2.5]}, None, pa.float64()),
        ("category", {"values": ["1", "2"]}, None, pa.string()),
        ("category", {"values": [1, "2"]}, None, pa.string()),
        ("category", {"values": [True, False]}, None, pa.bool_()),
        ("category", {"values": [1, 2]}, "str", pa.string()),
        ("category", {"values": ["1", "2"]}, "int", pa.int64()),
        ("subcategory", {"category": "p", "values": {"a": [1], "b": ["x"]}}, None, pa.string()),
        ("subcategory", {"category": "p", "values": {"a": [1], "b": [2.5]}}, None, pa.float64()),
        ("uniform", None, None, pa.float64()),
        ("uniform", None, "int", pa.int64()),
        ("gaussian", None, "str", pa.string()),
        ("bernoulli", None, None, pa.int64()),
        ("binomial", None, "float", pa.float64()),
        ("poisson", None, None, pa.int64()),
        ("scipy", None, None, pa.float64()),
        ("scipy", {"dist_name": "geom", "dist_params": {"p": 0.5}}, None, pa.int64()),
        ("scipy", {"dist_name": "rv_discrete", "dist_params": {"values": [[1, 2.5], [0.5, 0.5]]}}, None, pa.float64()),
        ("bernoulli_mixture", None, None, pa.float64()),
        ("datetime", None, None, time_type()),
        ("datetime", None, "%Y", pa.string()),
        ("timedelta", None, None, time_type()),
        ("uuid", None, None, pa.string()),
        ("person", None, None, PERSON),
    ],
)
def test_the_type_follows_from_the_config(
    kind: str, params: dict[str, Any] | None, convert_to: str | None, expected: pa.DataType
) -> None:
    assert column(kind, params, convert_to=convert_to).types({}) == (expected,)


def test_the_type_holds_the_values_of_every_branch() -> None:
    params = {"a": {"values": [2.5]}, "b": {"values": [3]}}
    assert column("category", {"values": [1]}, conditional_params=params).types({}) == (pa.float64(),)
    assert column("category", {"values": ["a"]}, conditional_params=params).types({}) == (pa.string(),)
    mixed = column("category", {"values": [True]}, conditional_params=params)
    assert "mix truth values" in problems(mixed)["conditional_params"]


@pytest.mark.parametrize(
    ("kind", "value", "fits"),
    [
        ("poisson", 0, True),
        ("poisson", None, True),
        ("poisson", 0.5, False),
        ("poisson", "n/a", False),
        ("poisson", True, False),
        ("uniform", 1, True),
        ("category", "none", True),
        ("category", 1, False),
        ("datetime", "2024-01-01", False),
        ("person", "nobody", False),
    ],
)
def test_a_skipped_cell_must_fit_the_column(kind: str, value: Any, fits: bool) -> None:
    found = problems(column(kind, skip={"when": "{{ a }}", "value": value}))
    assert ("skip.value" not in found) is fits


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024", "2024-01-01T00:00:00"),
        ("2024-05", "2024-05-01T00:00:00"),
        ("2024-05-06", "2024-05-06T00:00:00"),
        ("2024-05-06 07:08:09.5", "2024-05-06T07:08:09.500000"),
        ("2024-05-06T07:00:00+02:00", "2024-05-06T05:00:00"),
        ("2024-05-06T07:00:00Z", "2024-05-06T07:00:00"),
        ("May 6, 2024", "2024-05-06T00:00:00"),
        ("2024/05/06", "2024-05-06T00:00:00"),
    ],
)
def test_times_are_read_as_they_are_written(text: str, expected: str) -> None:
    assert parse_time(text).isoformat() == expected


def test_an_unquoted_date_of_yaml_is_a_time() -> None:
    import yaml

    text = "{name: x, sampler_type: datetime, params: {start: 2024-01-01, end: 2024-01-02T03:04:05}}"
    config = SamplerColumnConfig.model_validate(yaml.safe_load(text))
    assert (config.params.start, config.params.end) == ("2024-01-01", "2024-01-02T03:04:05")  # type: ignore[union-attr]


def test_importing_the_configs_loads_neither_scipy_nor_faker_nor_pandas() -> None:
    code = (
        "import sys; import prefect_datagen.columns.sampling; "
        "print(sorted({'scipy', 'faker', 'pandas'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_what_is_drawn_and_simple_templates_wait_for_no_large_import() -> None:
    code = """
import sys
from prefect_datagen.config.blueprint import Blueprint
from prefect_datagen.config.dataset import DatasetConfig
from prefect_datagen.config.run import RunConfig
from prefect_datagen.engine.node import Batch

columns = [
    {"name": "colour", "sampler_type": "category", "params": {"values": ["red", "blue"], "weights": [3, 1]}},
    {"name": "shade", "sampler_type": "subcategory",
     "params": {"category": "colour", "values": {"red": ["dark"], "blue": ["light", "dark"]}}},
    {"name": "size", "sampler_type": "gaussian", "params": {"mean": 10, "stddev": 2}},
    {"name": "share", "sampler_type": "uniform", "params": {"low": 0, "high": 1}},
    {"name": "count", "sampler_type": "poisson", "params": {"mean": 4}},
    {"name": "flag", "sampler_type": "bernoulli", "params": {"p": 0.5}},
    {"name": "day", "sampler_type": "datetime", "params": {"start": "2024-01-01", "end": "2025-01-01"}},
    {"name": "label", "column_type": "expression",
     "expr": "{{ colour }} #{{ count }}{% if flag %}, {{ shade }}{% endif %}"},
    {"name": "area", "column_type": "sql", "expr": "size * share"},
]
drawn = [{"column_type": "sampler", **each} for each in columns if "column_type" not in each]
Blueprint(DatasetConfig.load({"name": "d", "columns": drawn}), RunConfig(), seed=1).seed_rows(0, 100)
print(sorted({"pandas", "scipy", "pyarrow.compute"} & set(sys.modules)))
config = DatasetConfig.load({"name": "d", "columns": [{"column_type": "sampler", **each} for each in columns]})
blueprint = Blueprint(config, RunConfig(), seed=1)
rows = blueprint.seed_rows(0, 100)
for node in blueprint.graph.nodes:
    made = node.generator.generate_batch(Batch(0, rows.keys, {name: rows.columns[name] for name in node.inputs}))
    assert not made.rejected
print("pandas" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[]", "False"]
