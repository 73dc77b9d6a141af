"""Columns written by a chat model: what is sent, what is kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pydantic import BaseModel, ValidationError

from prefect_datagen.columns.base import SkipConfig
from prefect_datagen.columns.llm import LLMStructuredColumnConfig, LLMTextColumnConfig
from prefect_datagen.engine.chat import ChatAnswer
from prefect_datagen.engine.errors import CellError, ConfigError
from prefect_datagen.engine.node import ColumnNode, Strategy
from tests.columns.fakes import Answer, FakeModels, cell, context, make, problems, unusable

TYPES = {"city": pa.string(), "n": pa.int64(), "info": pa.struct([("tags", pa.list_(pa.string()))])}


class Review(BaseModel):
    title: str
    stars: int


REVIEW = Review.model_json_schema()


def text_column(**fields: Any) -> LLMTextColumnConfig:
    return LLMTextColumnConfig.model_validate(
        {"name": "review", "prompt": "Review {{ city }}.", "model_alias": "writer", **fields}
    )


def structured(**fields: Any) -> LLMStructuredColumnConfig:
    return LLMStructuredColumnConfig.model_validate(
        {"name": "review", "prompt": "Review {{ city }}.", "model_alias": "writer", "output_format": REVIEW, **fields}
    )


def node(config: Any, **options: Any) -> ColumnNode:
    built: ColumnNode = config.build(context(TYPES, **options))
    return built


def test_the_node_reads_what_the_prompts_read_and_runs_on_the_model() -> None:
    config = text_column(system_prompt="You know {{ n }}.", multi_modal_context=[{"column_name": "pic"}])
    assert [(reference.column, reference.field) for reference in config.references()] == [
        ("city", "prompt"),
        ("n", "system_prompt"),
        ("pic", "multi_modal_context[0].column_name"),
    ]
    assert [(alias.column, alias.field) for alias in config.model_aliases()] == [("writer", "model_alias")]
    assert [field for field, _ in config.templates()] == ["prompt", "system_prompt"]
    built = node(config)
    assert (built.strategy, built.resource, built.inputs) == (Strategy.CELL, "writer", ("city", "n", "pic"))
    assert built.types == (pa.string(),)


@pytest.mark.parametrize("answer", ["0E8", "1.10", "null", "true", "NA", " two\nlines \n", '{"a": 1}', "```\nx\n```"])
def test_text_is_kept_as_it_was_answered(answer: str) -> None:
    assert make(node(text_column()), FakeModels([answer]), city="Ulm") == {"review": answer}


def test_the_request_has_the_prompts_and_the_parameters_of_the_model() -> None:
    models = FakeModels(["fine"])
    config = text_column(prompt="{{ city }}: {{ info }}", system_prompt="Be {{ n }}.")
    parameters = {"temperature": 0.5, "top_p": 0.9, "max_tokens": 20, "extra_body": {"seed": 3}}
    make(node(config, model=parameters), models, city="00M", n=4, info={"tags": ["a", "0E8"]})
    (request,) = models.requests
    assert models.aliases == ["writer"]
    assert request.body() == {
        "model": "m-1",
        "messages": [{"role": "system", "content": "Be 4."}, {"role": "user", "content": '00M: {"tags":["a","0E8"]}'}],
        "temperature": 0.5,
        "top_p": 0.9,
        "max_tokens": 20,
        "seed": 3,
    }


def test_drawn_parameters_depend_on_seed_column_and_row_alone() -> None:
    parameters = {
        "temperature": {"distribution_type": "uniform", "params": {"low": 0.5, "high": 0.7}},
        "top_p": {"distribution_type": "manual", "params": {"values": [0.1, 0.9], "weights": [1, 3]}},
    }

    def drawn(name: str, row: int, copy: int = 0, seed: int = 7) -> dict[str, Any]:
        models = FakeModels(["x"])
        make(node(text_column(name=name), model=parameters, seed=seed), models, row=row, copy=copy, city="Ulm")
        return models.requests[0].parameters

    assert drawn("a", 5) == drawn("a", 5)
    others = [drawn("b", 5), drawn("a", 6), drawn("a", 5, copy=1), drawn("a", 5, seed=8)]
    assert drawn("a", 5)["temperature"] not in [other["temperature"] for other in others]
    many = [drawn("a", row) for row in range(400)]
    temperatures = np.array([each["temperature"] for each in many])
    assert 0.5 <= temperatures.min() < 0.51 < 0.69 < temperatures.max() < 0.7
    assert np.mean([each["top_p"] == 0.9 for each in many]) == pytest.approx(0.75, abs=0.08)
    assert abs(np.corrcoef(temperatures, [each["top_p"] for each in many])[0, 1]) < 0.15


def test_a_blank_answer_is_corrected_and_never_an_empty_cell() -> None:
    models = FakeModels([" \n", "fine"])
    assert make(node(text_column(), corrections=1), models, city="Ulm") == {"review": "fine"}
    with pytest.raises(CellError, match="it is blank"):
        make(node(text_column()), FakeModels(["  "]), city="Ulm")


def test_a_200_without_content_is_asked_again_then_loses_the_row() -> None:
    models = FakeModels([unusable(), "fine"])
    assert make(node(text_column(), restarts=1), models, city="Ulm") == {"review": "fine"}
    with pytest.raises(CellError) as caught:
        make(node(text_column(), restarts=1), FakeModels([unusable(), unusable("<html>")]), city="Ulm")
    assert (caught.value.reason, caught.value.answer) == ("unusable answer", "<html>")


def test_a_prompt_that_cannot_be_rendered_loses_the_row_without_a_call() -> None:
    models = FakeModels()
    with pytest.raises(CellError) as caught:
        make(node(text_column(prompt="{{ info.nothing }}")), models, info={"tags": []})
    assert (caught.value.reason, models.requests) == ("template", [])


def test_side_columns_hold_the_conversation_and_the_reasoning() -> None:
    script: list[Answer] = [" ", ChatAnswer("fine", reasoning="because")]
    config = text_column(with_trace="all_messages", extract_reasoning_content=True)
    assert config.produces() == ("review", "review__trace", "review__reasoning_content")
    built = node(config, corrections=1)
    assert built.types == (pa.string(),) * 3
    made = make(built, FakeModels(script), city="Ulm")
    trace = json.loads(made["review__trace"])
    assert [message["role"] for message in trace] == ["user", "assistant", "user", "assistant"]
    assert trace[-1] == {"role": "assistant", "content": "fine", "reasoning_content": "because"}
    assert made["review__reasoning_content"] == "because"
    last = make(node(text_column(with_trace="last_message")), FakeModels(["fine"]), city="Ulm")
    assert json.loads(last["review__trace"]) == [{"role": "assistant", "content": "fine"}]
    none = make(node(text_column(extract_reasoning_content=True)), FakeModels(["fine"]), city="Ulm")
    assert none == {"review": "fine", "review__reasoning_content": None}


def test_structured_output_is_offered_asked_for_and_typed() -> None:
    models = FakeModels(['```json\n{"title": "1.10", "stars": 4, "more": true}\n```'])
    built = node(structured())
    assert built.types == (pa.struct([("title", pa.string()), ("stars", pa.int64())]),)
    assert make(built, models, city="Ulm") == {"review": {"title": "1.10", "stars": 4}}
    (request,) = models.requests
    assert request.response_schema == REVIEW
    assert request.body()["response_format"]["json_schema"]["schema"] == REVIEW
    assert models.prompt().startswith("Review Ulm.\n\n")
    assert json.loads(models.prompt().splitlines()[-1]) == REVIEW


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ('{"title": "x", "stars": "4"}', 'stars: "4" is not of type "integer"'),
        ('{"title": "x"}', '"stars" is a required property'),
        ('{"title": "x", "sta', "not complete"),
        ("I would rather not.", "no JSON"),
        ('{"title": "x", "stars": 9223372036854775808}', "outside"),
        ('{"title": "\\ud800", "stars": 1}', "Unicode"),
    ],
)
def test_an_answer_that_does_not_fit_is_corrected_then_loses_the_row(bad: str, said: str) -> None:
    models = FakeModels([bad, '{"title": "x", "stars": 4}'])
    assert make(node(structured(), corrections=1), models, city="Ulm")["review"]["stars"] == 4
    assert said in models.prompt()
    with pytest.raises(CellError) as caught:
        make(node(structured()), FakeModels([bad]), city="Ulm")
    assert (caught.value.reason, caught.value.answer) == ("invalid answer", bad)


def test_free_form_json_is_kept_as_text() -> None:
    built = node(structured(output_format={"type": "object"}))
    assert built.types == (pa.string(),)
    assert make(built, FakeModels(['{"code": "0E8", "n": 1}']), city="Ulm") == {"review": '{"code":"0E8","n":1}'}


def test_a_pydantic_model_may_be_given_or_imported(tmp_path: Path) -> None:
    assert structured(output_format=Review).output_format == REVIEW
    (tmp_path / "shapes.py").write_text(
        "from pydantic import BaseModel\nclass Review(BaseModel):\n    title: str\n    stars: int\ndef other(): ...\n"
    )
    config = structured(output_format="shapes.py:Review")
    config.place_in(tmp_path)
    assert (config.schema_dict(), problems(config)) == (REVIEW, {})
    assert config.model_dump(mode="json")["output_format"] == "shapes.py:Review"
    assert "stars" in "".join(config.source_code())
    for reference, message in [("shapes.py:other", "not a pydantic model"), ("none.py:X", "no file")]:
        config = structured(output_format=reference)
        config.place_in(tmp_path)
        assert message in problems(config)["output_format"]


def test_mistakes_are_found_before_any_call() -> None:
    assert "not a JSON schema" in problems(structured(output_format={"type": "strin"}))["output_format"]
    skip = SkipConfig(when="{{ n }}", value="none")
    assert problems(text_column(skip=skip)) == {}
    assert "not a mapping" in problems(structured(skip=skip))["skip.value"]
    with pytest.raises(ConfigError, match="model alias 'nobody' is not defined"):
        node(text_column(model_alias="nobody"))
    with pytest.raises(ConfigError, match="is for embedding"):
        node(text_column(), model={"generation_type": "embedding"})
    with pytest.raises(ValidationError, match="with_trace"):
        text_column(with_trace="everything")


def test_media_stand_before_the_text() -> None:
    models = FakeModels(["fine"])
    config = text_column(multi_modal_context=[{"column_name": "pic", "data_type": "url"}])
    make(node(config), models, city="Ulm", pic="http://host/a.png")
    assert models.requests[0].messages[0]["content"] == [
        {"type": "image_url", "image_url": {"url": "http://host/a.png"}},
        {"type": "text", "text": "Review Ulm."},
    ]


def test_generating_leaves_the_inputs_as_they_were() -> None:
    inputs: dict[str, Any] = {"city": "Ulm", "info": {"tags": ["a"]}}
    built = node(text_column(prompt="{{ city }} {{ info }}"))
    work = cell(built, FakeModels(["fine"]), **inputs)
    make(built, FakeModels(["fine"]), **inputs)
    assert work.inputs == {"city": "Ulm", "info": {"tags": ["a"]}}
    assert type(inputs["info"]) is dict
