"""Scores given by a model."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest
import yaml
from pydantic import ValidationError

from prefect_datagen.columns.judge import LLMJudgeColumnConfig, Score
from prefect_datagen.engine.errors import CellError
from tests.columns.fakes import FakeModels, context, make

QUALITY = {"name": "quality", "description": "How good?", "options": {1: "bad", 2: "fair", 3: "good"}}
TONE = {"name": "tone", "description": "Which tone?", "options": {"Friendly": "warm", "Rude": "cold"}}


def column(*scores: dict[str, Any]) -> LLMJudgeColumnConfig:
    return LLMJudgeColumnConfig.model_validate(
        {"name": "verdict", "prompt": "Judge it.", "model_alias": "writer", "scores": list(scores or (QUALITY, TONE))}
    )


def answer(quality: Any, tone: Any = "Rude") -> str:
    return json.dumps({"quality": {"reasoning": "so", "score": quality}, "tone": {"reasoning": "it is", "score": tone}})


def test_each_score_has_its_value_and_its_reasoning() -> None:
    node = column().build(context())
    field = {"quality": pa.int64(), "tone": pa.string()}
    assert node.types == (
        pa.struct([(name, pa.struct([("reasoning", pa.string()), ("score", type_)])) for name, type_ in field.items()]),
    )
    models = FakeModels([f"```json\n{answer(3, 'Friendly')}\n```"])
    assert make(node, models)["verdict"] == {
        "quality": {"reasoning": "so", "score": 3},
        "tone": {"reasoning": "it is", "score": "Friendly"},
    }


def test_the_model_is_told_what_is_judged_and_what_scores_mean() -> None:
    models = FakeModels([answer(1)])
    make(column().build(context()), models)
    assert models.prompt().startswith("Judge it.\n\n")
    schema = json.loads(models.prompt().splitlines()[-1])
    assert schema == models.requests[0].response_schema
    assert schema["required"] == ["quality", "tone"]
    assert schema["properties"]["quality"]["description"] == "How good?"
    assert list(schema["properties"]["quality"]["properties"]) == ["reasoning", "score"]
    assert schema["properties"]["quality"]["properties"]["score"]["enum"] == [1, 2, 3]
    assert "* 3: good" in schema["properties"]["quality"]["properties"]["score"]["description"]


@pytest.mark.parametrize(
    ("given", "stored"),
    [((2, "Rude"), (2, "Rude")), (("2", "rude "), (2, "Rude")), ((2.0, "FRIENDLY"), (2, "Friendly"))],
)
def test_a_score_is_the_option_that_it_means(given: tuple[Any, Any], stored: tuple[Any, Any]) -> None:
    made = make(column().build(context()), FakeModels([answer(*given)]))["verdict"]
    assert (made["quality"]["score"], made["tone"]["score"]) == stored


@pytest.mark.parametrize("bad", [answer(4), answer(True), answer(None), answer([1]), '{"quality": 3}', "3", "[]"])
def test_anything_else_is_corrected_then_loses_the_row(bad: str) -> None:
    assert (
        make(column().build(context(corrections=1)), FakeModels([bad, answer(1)]))["verdict"]["quality"]["score"] == 1
    )
    with pytest.raises(CellError) as caught:
        make(column().build(context()), FakeModels([bad]))
    assert (caught.value.reason, caught.value.answer) == ("invalid answer", bad)


def test_options_are_the_same_from_python_json_and_yaml() -> None:
    config = column()
    for text in (config.model_dump_json(), yaml.safe_dump(config.model_dump(mode="json"))):
        again = LLMJudgeColumnConfig.model_validate(yaml.safe_load(text))
        assert [list(score.options) for score in again.scores] == [[1, 2, 3], ["Friendly", "Rude"]]
    mixed = Score.model_validate({"name": "x", "description": "", "options": {1: "one", "n/a": "none", "01": "odd"}})
    assert list(mixed.options) == ["1", "n/a", "01"]


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ([QUALITY, QUALITY], "same name"),
        ([{**TONE, "options": {"a": "", "A": ""}}], "more than case"),
        ([{**TONE, "options": {}}], "options"),
    ],
)
def test_scores_that_cannot_be_told_apart_are_refused(scores: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        column(*scores)
