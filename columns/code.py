"""`llm-code` columns: source code written by a model, taken out of its fence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from prefect_datagen.columns.fences import after_thinking, fenced_blocks
from prefect_datagen.columns.json_shape import TEXT
from prefect_datagen.columns.llm import AnswerForm, LLMColumnConfig
from prefect_datagen.engine.errors import InvalidAnswerError

CodeLang = Literal[
    "bash",
    "c",
    "cobol",
    "cpp",
    "csharp",
    "go",
    "java",
    "javascript",
    "kotlin",
    "python",
    "ruby",
    "rust",
    "scala",
    "swift",
    "typescript",
    "sql:ansi",
    "sql:bigquery",
    "sql:mysql",
    "sql:postgres",
    "sql:sqlite",
    "sql:tsql",
]

SQL_DIALECTS: Mapping[str, str] = {
    "sql:ansi": "ANSI SQL",
    "sql:bigquery": "BigQuery SQL",
    "sql:mysql": "MySQL",
    "sql:postgres": "PostgreSQL",
    "sql:sqlite": "SQLite",
    "sql:tsql": "T-SQL",
}

_TAGS: Mapping[str, frozenset[str]] = {
    "bash": frozenset({"sh", "shell", "zsh", "console"}),
    "c": frozenset({"h"}),
    "cobol": frozenset({"cob", "cbl"}),
    "cpp": frozenset({"c++", "cc", "cxx", "hpp"}),
    "csharp": frozenset({"c#", "cs"}),
    "go": frozenset({"golang"}),
    "javascript": frozenset({"js", "jsx", "node", "mjs"}),
    "kotlin": frozenset({"kt", "kts"}),
    "python": frozenset({"py", "python3"}),
    "ruby": frozenset({"rb"}),
    "rust": frozenset({"rs"}),
    "typescript": frozenset({"ts", "tsx"}),
    "sql:bigquery": frozenset({"bigquery"}),
    "sql:mysql": frozenset({"mysql"}),
    "sql:postgres": frozenset({"postgres", "postgresql", "pgsql", "psql"}),
    "sql:sqlite": frozenset({"sqlite", "sqlite3"}),
    "sql:tsql": frozenset({"tsql", "t-sql", "mssql"}),
}


class LLMCodeColumnConfig(LLMColumnConfig):
    """Source code written by a model."""

    column_type: Literal["llm-code"] = "llm-code"
    code_lang: CodeLang = Field(description="Programming language, or `sql:` with a dialect.")

    def answer_form(self) -> AnswerForm:
        """Code of the language, in a fence or bare."""
        name = SQL_DIALECTS.get(self.code_lang, self.code_lang)
        tag = self.code_lang.partition(":")[0]
        wanted = f"Answer with {name} code only, in one fenced code block that starts with ```{tag}"
        return AnswerForm(TEXT, lambda text: extract_code(text, self.code_lang), wanted)


def extract_code(text: str, code_lang: str) -> str:
    """The code in a model's answer, as it stands there, without blank lines around it.

    The first fenced block of the language is taken; where none names the language, the first that names no other, then
    the first; where there is no fence, the whole answer.

    Raises:
        InvalidAnswerError: there is none, or the answer ends within its fence.
    """
    answer = after_thinking(text)
    blocks = list(fenced_blocks(answer))
    tags = _TAGS.get(code_lang, frozenset()) | {code_lang, code_lang.partition(":")[0]}
    block = next(
        (block for wanted in (tags, {""}) for block in blocks if block.tag in wanted), blocks[0] if blocks else None
    )
    if block is not None and not block.closed:
        raise InvalidAnswerError("the code is not complete: the answer ends before its code block is closed")
    code = _without_blank_edges(answer if block is None else block.text)
    if not code:
        raise InvalidAnswerError("there is no code in it")
    return code


def _without_blank_edges(text: str) -> str:
    """Drop blank lines at both ends; the first line keeps its indentation."""
    lines = text.rstrip().splitlines()
    first = next((at for at, line in enumerate(lines) if line.strip()), len(lines))
    return "\n".join(lines[first:])
