"""A config in Python is the config of the file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import pandas as pd
import pytest
from pydantic import BaseModel

from prefect_datagen import ConfigError, DatasetBuilder, DatasetConfig, RunConfig, preview_dataset
from prefect_datagen.columns.expression import ExpressionColumnConfig
from prefect_datagen.config.builder import CheckType, ColumnType, ProcessorType, SeedType
from prefect_datagen.config.checks import UniqueCheck
from prefect_datagen.models.config import ChatInferenceParameters, ModelConfig, ModelProvider
from prefect_datagen.processors.selection import DropColumnsProcessorConfig
from prefect_datagen.seeds.frame import DataFrameSeedSource

YAML = """
name: reviews
columns:
  - {name: stars, column_type: sampler, sampler_type: category, params: {values: [1, 2, 3]}}
  - {name: low, column_type: sampler, sampler_type: uniform, params: {low: 0, high: 1}}
  - {name: review, column_type: llm-text, model_alias: writer, prompt: "{{ stars }} stars", skip: {when: "{{ stars > 2 }}"}}
  - {name: label, column_type: expression, expr: "{{ stars }}"}
model_configs:
  - {alias: writer, model: m, provider: house, inference_parameters: {temperature: 0.5, max_parallel_requests: 9}}
model_providers:
  - {name: house, endpoint: "http://127.0.0.1:8090/v1"}
constraints:
  - {constraint_type: scalar_inequality, target_column: low, operator: gt, rhs: 0.5}
processors:
  - {name: tidy, processor_type: drop_columns, column_names: [low]}
checks:
  - {name: once, check_type: unique, column: label}
"""


def by_fields() -> DatasetBuilder:
    return (
        DatasetBuilder("reviews")
        .add_column("stars", "sampler", sampler_type="category", params={"values": [1, 2, 3]})
        .add_column("low", "sampler", sampler_type="uniform", params={"low": 0, "high": 1})
        .add_column(
            "review", "llm-text", model_alias="writer", prompt="{{ stars }} stars", skip={"when": "{{ stars > 2 }}"}
        )
        .add_column("label", "expression", expr="{{ stars }}")
        .add_model("writer", "m", provider="house", temperature=0.5, max_parallel_requests=9)
        .add_provider("house", "http://127.0.0.1:8090/v1")
        .add_constraint(constraint_type="scalar_inequality", target_column="low", operator="gt", rhs=0.5)
        .add_processor("tidy", "drop_columns", column_names=["low"])
        .add_check("once", "unique", column="label")
    )


def test_fields_give_the_config_of_the_file() -> None:
    assert by_fields().build() == DatasetConfig.load(YAML)
    assert by_fields().to_yaml() == DatasetConfig.load(YAML).to_yaml()


def test_objects_give_the_config_of_the_file() -> None:
    whole = DatasetConfig.load(YAML)
    builder = DatasetBuilder("reviews")
    for column in whole.columns:
        builder.add_column(column)
    model = ModelConfig(
        alias="writer",
        model="m",
        provider="house",
        inference_parameters=ChatInferenceParameters(temperature=0.5, max_parallel_requests=9),
    )
    builder.add_model(model).add_provider(ModelProvider(name="house", endpoint="http://127.0.0.1:8090/v1"))
    builder.add_constraint(whole.constraints[0])
    builder.add_processor(DropColumnsProcessorConfig(name="tidy", column_names=["low"]))
    builder.add_check(UniqueCheck(name="once", column="label"))
    assert builder.build() == whole


def test_what_is_built_reads_back_from_its_yaml() -> None:
    assert DatasetConfig.load(by_fields().to_yaml()) == by_fields().build()


def test_a_builder_goes_on_after_a_build() -> None:
    builder = DatasetBuilder().add_column("a", "expression", expr="x")
    first = builder.build()
    second = builder.add_column("b", "expression", expr="{{ a }}").build()
    assert [len(config.columns) for config in (first, second)] == [1, 2]
    assert repr(builder) == "DatasetBuilder('dataset', {'columns': 2})"


def test_all_mistakes_are_told_together_when_it_is_built() -> None:
    builder = DatasetBuilder().add_column("reply", "llm-text", model_alias="wrtier", prompt="{{ reveiw }}")
    builder.add_column("review", "expresion", expr="x").add_model("writer", "m", temprature=1)
    with pytest.raises(ConfigError) as caught:
        builder.build()
    text = str(caught.value)
    assert "columns[0].prompt: column 'reveiw' is not defined; did you mean 'review'?" in text
    assert "columns[0].model_alias: model alias 'wrtier' is not defined" in text
    assert "columns[1]" in text
    assert "model_configs[0].inference_parameters.temprature: unknown field" in text


@pytest.mark.parametrize(
    ("add", "message"),
    [
        (lambda b: b.add_column("a"), "columns: 'a' needs a column_type"),
        (lambda b: b.add_processor("a"), "processors: 'a' needs a processor_type"),
        (lambda b: b.add_check("a"), "checks: 'a' needs a check_type"),
        (lambda b: b.add_model("a"), r"add_model\('a'\): which model\?"),
        (lambda b: b.add_column(ExpressionColumnConfig(name="a", expr="x"), drop=True), "is whole already; leave drop"),
        (lambda b: b.add_column(ExpressionColumnConfig(name="a", expr="x"), "sql"), "is whole already; leave 'sql'"),
    ],
)
def test_what_no_part_can_be_made_of_is_refused_at_once(add: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        add(DatasetBuilder())


class Shape(BaseModel):
    size: int


def double(row: dict[str, Any]) -> str:
    return str(row["code"]) * 2


@pytest.mark.usefixtures("prefect_api")
def test_functions_classes_and_frames_are_kept() -> None:
    builder = (
        DatasetBuilder()
        .with_seed("df", df=pd.DataFrame({"code": ["0E8", "null"]}), sampling_strategy="ordered")
        .add_column("twice", "custom", generator_function=double, input_columns=["code"])
        .add_column("shape", "llm-structured", model_alias="writer", prompt="x", output_format=Shape)
        .add_model("writer", "m")
    )
    frame = preview_dataset(builder.build(), num_records=2, run=RunConfig(seed=1)).dataset
    assert list(frame.twice) == ["0E80E8", "nullnull"]
    assert all(isinstance(shape["size"], int) for shape in frame["shape"])
    again = DatasetBuilder().with_seed(DataFrameSeedSource(df=pd.DataFrame({"code": ["0E8"]}))).build()
    assert again.seed_config is not None


@pytest.mark.parametrize(
    ("literal", "field"),
    [(ColumnType, "columns"), (ProcessorType, "processors"), (CheckType, "checks"), (SeedType, "seed_config")],
)
def test_the_types_offered_are_those_that_there_are(literal: Any, field: str) -> None:
    schema = DatasetConfig.model_json_schema()
    if field == "seed_config":
        known = schema["$defs"]["SeedConfig"]["properties"]["source"]["discriminator"]["mapping"]
    else:
        known = schema["properties"][field]["items"]["discriminator"]["mapping"]
    assert set(get_args(literal)) == set(known)


def test_the_page_runs_as_it_stands(capsys: pytest.CaptureFixture[str]) -> None:
    text = (Path(__file__).parents[2] / "docs" / "python.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    exec(compile(code, "docs/python.md", "exec"), {})
    assert DatasetConfig.load(capsys.readouterr().out).name == "reviews"
