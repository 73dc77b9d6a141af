"""`llm-judge` columns: a model gives scores, each with its reasoning."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import Field, field_validator

from prefect_datagen.columns.base import Config
from prefect_datagen.columns.llm import AnswerForm, LLMColumnConfig, json_form

Option = int | str

_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,9})")


class Score(Config):
    """One thing that is judged."""

    name: str = Field(min_length=1, description="Name of the score: a field of the column.")
    description: str = Field(description="What is judged, and how.")
    options: dict[Option, str] = Field(
        min_length=1, description="What each score means, such as {1: 'useless', 2: 'helpful'}."
    )

    @field_validator("options")
    @classmethod
    def _are_of_one_type(cls, options: dict[Option, str]) -> dict[Option, str]:
        """Integers where all are, written as `1` or, as JSON must, as `"1"`; else text."""
        whole = all(isinstance(option, int) or _INTEGER.fullmatch(option) for option in options)
        typed: dict[Option, str] = {(int if whole else str)(option): meaning for option, meaning in options.items()}
        if len({_word(option) for option in typed}) != len(options):
            raise ValueError(f"options must differ by more than case: {list(options)!r}")
        return typed

    def json_schema(self) -> dict[str, Any]:
        """Reasoning comes first: a model that has to reason before it scores, scores better."""
        meanings = "\n".join(f"* {option}: {meaning}" for option, meaning in self.options.items())
        return {
            "type": "object",
            "description": self.description,
            "properties": {
                "reasoning": {"type": "string", "description": "Why this score."},
                "score": {"enum": list(self.options), "description": f"One of:\n{meanings}"},
            },
            "required": ["reasoning", "score"],
        }

    def option(self, answered: Any) -> Any:
        """The option that a model means: `"4"` and `4.0` are 4, `good` is `Good`. What means none stays as it is."""
        return next((option for option in self.options if _word(option) == _word(answered)), answered)


def _word(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip().casefold()


class LLMJudgeColumnConfig(LLMColumnConfig):
    """Scores given by a model."""

    column_type: Literal["llm-judge"] = "llm-judge"
    scores: list[Score] = Field(min_length=1, description="What is judged.")

    @field_validator("scores")
    @classmethod
    def _have_names_of_their_own(cls, scores: list[Score]) -> list[Score]:
        names = [score.name for score in scores]
        if len(set(names)) != len(names):
            raise ValueError(f"two scores have the same name: {names}")
        return scores

    def answer_form(self) -> AnswerForm:
        """An object with a score and its reasoning for each of `scores`."""
        schema = {
            "type": "object",
            "properties": {score.name: score.json_schema() for score in self.scores},
            "required": [score.name for score in self.scores],
        }
        wanted = "Judge by these scores. Answer with one JSON value that fits this JSON schema, and nothing else:"
        return json_form(schema, prepare=self._with_options, instructions=wanted)

    def _with_options(self, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        judged = dict(value)
        for score in self.scores:
            given = judged.get(score.name)
            if isinstance(given, dict) and "score" in given:
                judged[score.name] = {**given, "score": score.option(given["score"])}
        return judged
