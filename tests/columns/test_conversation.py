"""Correction rounds, restarts, and what becomes of a row whose answers cannot be used."""

from __future__ import annotations

import asyncio

import pytest

from prefect_datagen.columns.conversation import Exchange, Patience, converse
from prefect_datagen.engine.chat import ChatAnswer, ChatRequest
from prefect_datagen.engine.errors import CellError, ErrorKind, InvalidAnswerError, ModelError
from tests.columns.fakes import Answer, FakeModels, unusable

REQUEST = ChatRequest("m", [{"role": "user", "content": "say yes"}])


def read(text: str) -> str:
    if text != "yes":
        raise InvalidAnswerError(f"{text!r} is not yes")
    return text.upper()


def talk(models: FakeModels, *, restarts: int = 0, corrections: int = 0) -> Exchange[str]:
    patience = Patience(restarts=restarts, corrections=corrections)
    return asyncio.run(converse(models, "writer", REQUEST, read=read, patience=patience))


def test_a_good_answer_takes_one_call() -> None:
    models = FakeModels(["yes"])
    exchange = talk(models, restarts=3, corrections=3)
    assert (exchange.value, len(models.requests)) == ("YES", 1)
    assert exchange.messages == [*REQUEST.messages, {"role": "assistant", "content": "yes"}]


def test_a_correction_round_shows_the_answer_and_what_was_wrong() -> None:
    models = FakeModels(["no", "yes"])
    assert talk(models, corrections=1).value == "YES"
    first, second = models.requests
    assert first.messages == REQUEST.messages
    assert [message["role"] for message in second.messages] == ["user", "assistant", "user"]
    assert second.messages[1]["content"] == "no"
    assert "'no' is not yes" in second.messages[2]["content"]


def test_an_answer_cut_off_at_the_limit_is_told_so() -> None:
    models = FakeModels([ChatAnswer("ye", finish_reason="length"), "yes"])
    talk(models, corrections=1)
    assert "cut off at the limit of tokens" in models.prompt()


def test_a_restart_forgets_the_conversation() -> None:
    models = FakeModels(["no", "nope", "yes"])
    assert talk(models, restarts=1, corrections=1).value == "YES"
    assert models.requests[2].messages == REQUEST.messages


def test_an_answer_without_content_leads_to_a_restart_at_once() -> None:
    models = FakeModels([unusable(), "no", "yes"])
    assert talk(models, restarts=1, corrections=1).value == "YES"
    assert [len(request.messages) for request in models.requests] == [1, 1, 3]


@pytest.mark.parametrize(("restarts", "corrections"), [(0, 0), (0, 2), (2, 0), (2, 1)])
def test_the_row_is_lost_after_all_tries_and_keeps_the_last_answer(restarts: int, corrections: int) -> None:
    calls = (restarts + 1) * (corrections + 1)
    models = FakeModels([f"no {call}" for call in range(calls)])
    with pytest.raises(CellError) as caught:
        talk(models, restarts=restarts, corrections=corrections)
    assert len(models.requests) == calls
    assert (caught.value.reason, caught.value.answer) == ("invalid answer", f"no {calls - 1}")
    assert f"'no {calls - 1}' is not yes" in caught.value.message


@pytest.mark.parametrize(
    ("script", "last"),
    [([unusable("<html>"), unusable()], "<html>"), (["no", unusable()], "no"), ([unusable(), unusable()], None)],
)
def test_a_row_lost_to_answers_without_content_says_so(script: list[Answer], last: str | None) -> None:
    with pytest.raises(CellError) as caught:
        talk(FakeModels(script), restarts=1)
    assert (caught.value.reason, caught.value.answer) == ("unusable answer", last)
    assert isinstance(caught.value.__cause__, ModelError)


@pytest.mark.parametrize("kind", list(ErrorKind))
def test_other_errors_of_the_endpoint_pass_through(kind: ErrorKind) -> None:
    error = ModelError("boom", kind=kind, reason="400")
    with pytest.raises(ModelError) as caught:
        talk(FakeModels([error]), restarts=5, corrections=5)
    assert caught.value is error
