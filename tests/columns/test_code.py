"""Source code taken out of a model's answer."""

from __future__ import annotations

from typing import get_args

import pytest
from pydantic import ValidationError

from prefect_datagen.columns.code import CodeLang, LLMCodeColumnConfig, extract_code
from prefect_datagen.engine.errors import CellError, InvalidAnswerError
from tests.columns.fakes import FakeModels, context, make


def column(code_lang: str) -> LLMCodeColumnConfig:
    return LLMCodeColumnConfig.model_validate(
        {"name": "code", "prompt": "Write it.", "model_alias": "writer", "code_lang": code_lang}
    )


def test_there_are_21_languages() -> None:
    languages = get_args(CodeLang)
    assert len(languages) == 21
    for code_lang in languages:
        assert extract_code(f"```{code_lang.partition(':')[0]}\nx\n```", code_lang) == "x"
    with pytest.raises(ValidationError, match="code_lang"):
        column("latin")


@pytest.mark.parametrize(
    ("answer", "code_lang", "code"),
    [
        ("print(1)", "python", "print(1)"),
        ("```python\nprint(1)\n```", "python", "print(1)"),
        ("Sure:\n```py\n\n    x = 1\n    y = 2\n\n```\nEnjoy!", "python", "    x = 1\n    y = 2"),
        ("```bash\npip install x\n```\n```python\nimport x\n```", "python", "import x"),
        ("```json\n{}\n```\n```\nSELECT 1\n```", "sql:ansi", "SELECT 1"),
        ("```postgresql\nSELECT 1\n```", "sql:postgres", "SELECT 1"),
        ("```c++\nint x;\n```", "cpp", "int x;"),
        ("```text\nfirst\n```\n```text\nsecond\n```", "go", "first"),
        ("<think>```python\nno\n```</think>```python\nyes\n```", "python", "yes"),
        ('~~~~rust\nlet s = "```";\n~~~~', "rust", 'let s = "```";'),
        ("0E8", "python", "0E8"),
    ],
)
def test_the_code_is_taken_as_it_stands(answer: str, code_lang: str, code: str) -> None:
    assert extract_code(answer, code_lang) == code


@pytest.mark.parametrize(
    ("answer", "message"),
    [("```python\nprint(1", "not complete"), ("```python\n\n```", "no code"), (" \n", "no code")],
)
def test_half_an_answer_is_no_code(answer: str, message: str) -> None:
    with pytest.raises(InvalidAnswerError, match=message):
        extract_code(answer, "python")


def test_the_model_is_asked_for_the_dialect_and_corrected() -> None:
    models = FakeModels(["```sql\nSELECT", "```sql\nSELECT 1\n```"])
    node = column("sql:tsql").build(context(corrections=1))
    assert make(node, models) == {"code": "SELECT 1"}
    assert "T-SQL code only" in models.requests[0].messages[0]["content"]
    assert "not complete" in models.prompt()
    assert models.requests[0].response_schema is None
    with pytest.raises(CellError) as caught:
        make(node, FakeModels(["```", "```"]))
    assert caught.value.reason == "invalid answer"
