"""Made-up answers: what each kind of request gets."""

from __future__ import annotations

from typing import Any

import jsonschema
import orjson
import pytest

from prefect_datagen.models.answers import (
    MadeUpAnswer,
    answer_chat,
    content_text,
    estimate_tokens,
    prompt_text,
    request_digest,
    unfit_json,
)

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "string"}}, "required": ["a", "b"]}


def body(prompt: str, **more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": prompt}], **more}


def answer(asked: dict[str, Any]) -> MadeUpAnswer:
    return answer_chat(asked, digest=request_digest(asked))


def test_answers_are_pinned() -> None:
    """Another Python or another release gives the same text: datasets made offline stay as they are."""
    assert answer(body("Describe 0E8.")).text == PINNED


PINNED = (
    "[offline model] Reply 570358 to “Describe 0E8.”: The main point goes well with an honest review, more or less."
)


def test_answers_to_many_prompts_are_all_different() -> None:
    assert len({answer(body(f"Describe airport {number}.")).text for number in range(2000)}) == 2000


def test_a_long_prompt_is_quoted_in_part_and_on_one_line() -> None:
    text = answer(body("first line\n\nsecond " + "x" * 500)).text
    assert "“first line second xxx" in text
    assert len(text.splitlines()) == 1
    assert len(text) < 500


def test_tokens_are_a_quarter_of_the_characters_rounded_up() -> None:
    assert [estimate_tokens("x" * length) for length in (0, 1, 4, 5)] == [0, 1, 1, 2]
    asked = body("12345678")
    asked["messages"].insert(0, {"role": "system", "content": "123"})
    made = answer(asked)
    assert made.input_tokens == 3  # 3 + 8 characters and the line's end between them
    assert made.output_tokens == estimate_tokens(made.text)


def test_max_tokens_cuts_text_and_says_so() -> None:
    made = answer(body("Describe.", max_tokens=5))
    assert (len(made.text), made.output_tokens, made.finish_reason) == (20, 5, "length")


def test_contents_of_messages() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {}}, "b", 7]
    assert [content_text(content) for content in ("a", None, parts, 7)] == ["a", "", "a\nb", ""]
    assert prompt_text([{"role": "system"}, {"role": "user", "content": "x"}]) == "\nx"


def test_a_native_schema_is_answered_with_json_that_fits() -> None:
    for number in range(20):
        wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}
        jsonschema.validate(orjson.loads(answer(body(f"prompt {number}", response_format=wanted)).text), SCHEMA)
    assert list(orjson.loads(answer(body("a", response_format={"type": "json_object"})).text)) == ["answer"]
    assert answer(body("a", response_format={"type": "text"})).text.startswith("[offline model]")


@pytest.mark.parametrize("shape", ["```json\n{}\n```", "schema: {} Answer with JSON."])
def test_a_schema_written_in_the_prompt_is_answered_with_fenced_json_that_fits(shape: str) -> None:
    schema = {**SCHEMA, "description": 'a "brace" } in text'}
    text = answer(body("Row: {'x': 1}. " + shape.replace("{}", orjson.dumps(schema).decode()))).text
    assert text.startswith("```json\n")
    jsonschema.validate(orjson.loads(text.removeprefix("```json\n").removesuffix("\n```")), SCHEMA)


def test_of_several_schemas_in_the_prompt_the_last_one_counts() -> None:
    wanted = {"type": "array", "items": {"type": "object", "properties": {"x": {"const": 7}}}, "minItems": 1}
    text = answer(body(f"{orjson.dumps(SCHEMA).decode()} {orjson.dumps(wanted).decode()} {{'a': 1}}")).text
    assert {"x": 7} in orjson.loads(text.removeprefix("```json\n").removesuffix("\n```"))


@pytest.mark.parametrize(
    "prompt",
    [
        '{"properties": ',
        '{"properties": oops}',
        'say "properties"',
        '{"type": "review", "a": {"b": 1}}',
        "Explain this:\n```python\nx = 1\n```\nin words",
    ],
)
def test_what_asks_for_neither_json_nor_code_gets_sentences(prompt: str) -> None:
    assert answer(body(prompt)).text.startswith("[offline model]")


@pytest.mark.parametrize("language", ["python", "sql", "sql:postgres", "rust", "cobol"])
def test_a_named_fence_is_answered_with_labelled_code(language: str) -> None:
    text = answer(body(f"Write it in ```{language} and nothing else.")).text
    first, second, *_ = text.splitlines()
    assert first == f"```{language}"
    assert "[offline model]" in second
    assert text.endswith("\n```")


def test_code_is_asked_for_in_a_correction_too() -> None:
    asked = body("Answer in one fenced block that starts with ```sql")
    asked["messages"] += [{"role": "assistant", "content": "no"}, {"role": "user", "content": "There is no code."}]
    assert answer(asked).text.startswith("```sql\n")


def test_python_code_is_python() -> None:
    text = answer(body("Use ```python please")).text
    scope: dict[str, Any] = {}
    exec(text.removeprefix("```python\n").removesuffix("\n```"), scope)
    assert isinstance(scope["answer"](), int)


@pytest.mark.parametrize("schema", [SCHEMA, {"type": "array", "items": {"type": "string"}}])
def test_unfit_answers_never_fit(schema: dict[str, Any]) -> None:
    parsed = 0
    for number in range(40):
        asked = body(f"{number}", response_format={"type": "json_schema", "json_schema": {"schema": schema}})
        text = unfit_json(asked, digest=request_digest(asked))
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError:
            continue
        parsed += 1
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(value, schema)
    assert 0 < parsed < 40
