"""Models by tag: read as pydantic's union of all would read them, and imported one by one."""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import Annotated, Any

import pytest
from pydantic import Field, TypeAdapter, ValidationError

from prefect_datagen.columns.kinds import Kinds
from prefect_datagen.columns.sampler import AnySamplerParams
from prefect_datagen.columns.samplers.categorical import CategorySamplerParams
from prefect_datagen.config.dataset import AnyCheck, Column
from prefect_datagen.processors.config import Processor
from prefect_datagen.seeds.config import AnySeedSource

FAMILIES: dict[str, Any] = {
    "column_type": Column,
    "sampler_type": AnySamplerParams,
    "processor_type": Processor,
    "seed_type": AnySeedSource,
    "check_type": AnyCheck,
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
