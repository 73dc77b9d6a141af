"""Models by tag: read as pydantic's union of all would read them, and imported one by one."""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import Annotated, Any

import pytest
from pydantic import Field, TypeAdapter, ValidationError

from prefect_datagen.columns.constraints import AnyConstraint
from prefect_datagen.columns.kinds import Kinds, Later
from prefect_datagen.columns.media import MultiModalContext
from prefect_datagen.columns.sampler import AnySamplerParams
from prefect_datagen.columns.samplers.categorical import CategorySamplerParams
from prefect_datagen.config.dataset import AnyCheck, AnyMCPProvider, Column
from prefect_datagen.processors.config import Processor
from prefect_datagen.seeds.config import AnySeedSource

FAMILIES: dict[str, Any] = {
    "column_type": Column,
    "sampler_type": AnySamplerParams,
    "processor_type": Processor,
    "seed_type": AnySeedSource,
    "check_type": AnyCheck,
    "constraint_type": AnyConstraint,
    "modality": MultiModalContext,
    "provider_type": AnyMCPProvider,
}


def _union(tag: str) -> TypeAdapter[Any]:
    return TypeAdapter(Annotated[reduce(or_, FAMILIES[tag].__metadata__[0].models()), Field(discriminator=tag)])


@pytest.mark.parametrize("tag", FAMILIES)
def test_each_model_has_the_tag_that_leads_to_it(tag: str) -> None:
    kinds: Kinds = FAMILIES[tag].__metadata__[0]
    assert [kinds._model(model.model_fields[tag].default) for model in kinds.models()] == kinds.models()


@pytest.mark.parametrize("tag", FAMILIES)
def test_the_json_schema_is_that_of_the_union(tag: str) -> None:
    assert TypeAdapter(FAMILIES[tag]).json_schema() == _union(tag).json_schema()


@pytest.mark.parametrize("value", [{"sampler_type": "gauss"}, {"sampler_type": 1}, {}, 3, "text", None, ["category"]])
def test_what_leads_to_no_model_is_refused_as_by_the_union(value: Any) -> None:
    told = []
    for adapter in (TypeAdapter[Any](AnySamplerParams), _union("sampler_type")):
        with pytest.raises(ValidationError) as refused:
            adapter.validate_python(value)
        (error,) = refused.value.errors(include_url=False)
        told.append((error["type"], error["loc"], error["msg"], error["input"]))
    assert told[0] == told[1]


def test_mistakes_within_a_model_are_told_where_they_are() -> None:
    adapter = TypeAdapter(list[AnySamplerParams])
    with pytest.raises(ValidationError) as refused:
        adapter.validate_python(
            [{"sampler_type": "uniform", "low": 0, "high": 1}, {"sampler_type": "uniform", "lo": 0}]
        )
    found = {(error["type"], error["loc"]) for error in refused.value.errors()}
    assert found == {("missing", (1, "low")), ("missing", (1, "high")), ("extra_forbidden", (1, "lo"))}


def test_a_model_is_taken_as_it_is_and_written_with_all_its_fields() -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(AnySamplerParams)
    params = CategorySamplerParams(values=["a", "b"])
    assert adapter.validate_python(params) is params
    assert adapter.validate_python(adapter.dump_python(params, mode="json")) == params


@pytest.mark.parametrize(
    ("family", "value", "model"),
    [
        (MultiModalContext, {"column_name": "c"}, "ImageContext"),
        (AnyConstraint, {"target_column": "a", "operator": "lt", "rhs": "b"}, "ColumnInequalityConstraint"),
        (AnyConstraint, {"target_column": "a", "operator": "lt", "rhs": "2024-01-31"}, "ScalarInequalityConstraint"),
        (AnyMCPProvider, {"name": "p", "command": "c"}, "LocalStdioMCPProvider"),
        (AnyMCPProvider, {"name": "p", "endpoint": "http://h/sse"}, "MCPProvider"),
    ],
)
def test_a_mapping_without_a_tag_means_what_its_family_says(family: Any, value: dict[str, Any], model: str) -> None:
    assert type(TypeAdapter(family).validate_python(value)).__name__ == model


def test_a_model_that_comes_later_is_read_and_described_as_itself() -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(
        list[Annotated[Any, Later("prefect_datagen.columns.samplers.categorical:CategorySamplerParams")]]
    )
    assert adapter.validate_python([{"values": ["a"]}]) == [CategorySamplerParams(values=["a"])]
    assert adapter.json_schema()["items"] == CategorySamplerParams.model_json_schema()
    with pytest.raises(ValidationError) as refused:
        adapter.validate_python([{"values": ["a"]}, {"vals": ["a"]}])
    assert {error["loc"] for error in refused.value.errors()} == {(1, "values"), (1, "vals")}
