"""Vectors of texts."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from prefect_datagen.columns.embedding import EmbeddingColumnConfig
from prefect_datagen.engine.chat import EmbeddingRequest
from prefect_datagen.engine.errors import CellError, ConfigError, ModelError
from prefect_datagen.engine.node import ColumnNode, Strategy
from tests.columns.fakes import FakeModels, context, make, problems

MODEL = {"generation_type": "embedding", "dimensions": 2, "extra_body": {"user": "u"}}
COLUMN = EmbeddingColumnConfig(name="vector", target_column="text", model_alias="writer")
VECTOR = pa.list_(pa.float32())


def node(type_: pa.DataType = pa.string(), **model: Any) -> ColumnNode:  # noqa: B008 - a type is a constant
    return COLUMN.build(context({"text": type_}, model=model or MODEL))


def test_a_text_has_a_vector_and_a_list_of_texts_has_several() -> None:
    assert (node().types, node(pa.list_(pa.string())).types) == ((VECTOR,), (pa.list_(VECTOR),))
    assert (node().strategy, node().resource, node().inputs) == (Strategy.CELL, "writer", ("text",))
    models = FakeModels()
    assert make(node(), models, text="abc") == {"vector": [3.0, 1.0]}
    assert make(node(pa.list_(pa.string())), models, text=["a", "bc"]) == {"vector": [[1.0, 1.0], [2.0, 1.0]]}
    assert models.aliases == ["writer", "writer"]
    parameters = {"encoding_format": "float", "dimensions": 2, "user": "u"}
    assert models.embedding_requests == [
        EmbeddingRequest("m-1", ["abc"], parameters),
        EmbeddingRequest("m-1", ["a", "bc"], parameters),
    ]
    assert models.embedding_requests[0].body() == {"model": "m-1", "input": ["abc"], **parameters}


def test_text_that_looks_like_a_list_is_one_text() -> None:
    models = FakeModels()
    make(node(), models, text='["a", "b"]')
    assert models.embedding_requests[0].texts == ['["a", "b"]']


@pytest.mark.parametrize("value", [None, "", ["a", ""], ["a", None]])
def test_without_text_the_row_is_lost_and_no_call_is_made(value: Any) -> None:
    models = FakeModels()
    with pytest.raises(CellError) as caught:
        make(node(), models, text=value)
    assert (caught.value.reason, models.embedding_requests) == ("no text", [])


def test_an_empty_list_needs_no_call() -> None:
    models = FakeModels()
    assert make(node(pa.list_(pa.string())), models, text=[]) == {"vector": []}
    assert models.embedding_requests == []


def test_another_number_of_vectors_is_an_unusable_answer() -> None:
    class Short(FakeModels):
        async def embed(self, alias: str, request: EmbeddingRequest) -> list[list[float]]:
            return [[1.0]]

    with pytest.raises(ModelError) as caught:
        make(node(pa.list_(pa.string())), Short(), text=["a", "b"])
    assert caught.value.reason == "unusable answer"


def test_mistakes_are_found_before_any_call() -> None:
    with pytest.raises(ConfigError, match="only text and lists of texts"):
        COLUMN.types({"text": pa.int64()})
    with pytest.raises(ConfigError, match="is for chat-completion"):
        node(temperature=0.5)
    skip = {"when": "{{ text }}", "value": "none"}
    config = EmbeddingColumnConfig.model_validate({**COLUMN.model_dump(), "skip": skip})
    assert "not a list" in problems(config)["skip.value"]
    assert [(reference.column, reference.field) for reference in COLUMN.references()] == [("text", "target_column")]
