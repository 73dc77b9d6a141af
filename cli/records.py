"""Rows of a preview, one by one, for people: code in colours, judgements as tables, and what models were asked."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import orjson
from rich.console import Console, Group, RenderableType
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from prefect_datagen.columns.code import LLMCodeColumnConfig
from prefect_datagen.columns.image import ImageColumnConfig
from prefect_datagen.columns.judge import LLMJudgeColumnConfig
from prefect_datagen.columns.llm import LLMColumnConfig
from prefect_datagen.columns.template import Template, TemplateError
from prefect_datagen.columns.validation import ValidationColumnConfig

if TYPE_CHECKING:
    from prefect_datagen.columns.base import ColumnConfig
    from prefect_datagen.config.dataset import DatasetConfig
    from prefect_datagen.flows.results import PreviewResult

_LONGEST_LIST = 8
_LONGEST_TEXT = 2_000
_THEME = "ansi_dark"  # the terminal's own colours


def show_records(result: PreviewResult, config: DatasetConfig, *, console: Console, step: bool = False) -> None:
    """Draw every row as a table of column and value, with `step` each after a press of Enter."""
    columns = {column.name: column for column in config.columns}
    rows = result.dataset.to_dict(orient="records")
    for number, row in enumerate(rows, 1):
        table = Table(title=f"row {number} of {len(rows)}", title_justify="left", show_header=False, expand=True)
        table.add_column(style="bold cyan", no_wrap=True)
        table.add_column(overflow="fold")
        for name, value in row.items():
            table.add_row(Text(str(name)), _cell(columns.get(str(name)), value, row))
        console.print(table)
        if step and number < len(rows):
            console.input("Enter: the next row ")


def as_json(value: Any, *, indent: bool = False) -> str:
    """JSON of a value from a data frame: arrays as lists, times in ISO form."""
    option = orjson.OPT_SERIALIZE_NUMPY | (orjson.OPT_INDENT_2 if indent else 0)
    return orjson.dumps(value, option=option, default=_plain).decode()


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else str(value)


def _cell(column: ColumnConfig | None, value: Any, row: Mapping[Any, Any]) -> RenderableType:
    """A value as its column says it is best read; after what the model was asked, where one was."""
    shown = _shown(column, value)
    if not isinstance(column, (LLMColumnConfig, ImageColumnConfig)):
        return shown
    return Group(*(_asked(field, text, row) for field, text in column.templates()), shown)


def _asked(field: str, template: str, row: Mapping[Any, Any]) -> Text:
    """The prompt as it was sent, but for lists and mappings; the template where it reads a column that is left out."""
    name = field.replace("_", " ")
    try:
        text = Template(template).render({str(column): value for column, value in row.items()})
    except TemplateError:
        name, text = f"{name} (template)", template
    return Text(f"{name}: {_trimmed(text)}", style="dim italic")


def _shown(column: ColumnConfig | None, value: Any) -> RenderableType:
    if isinstance(column, LLMCodeColumnConfig) and isinstance(value, str):
        return Syntax(value, column.code_lang.partition(":")[0], theme=_THEME, word_wrap=True)
    if isinstance(column, LLMJudgeColumnConfig) and isinstance(value, dict):
        return _judgement(column, value)
    if isinstance(column, ImageColumnConfig) and isinstance(value, str):
        return Text(_image(value))
    if isinstance(column, ValidationColumnConfig) and isinstance(value, dict):
        verdict = value.get("is_valid")
        colour = {True: "green", False: "red"}.get(bool(verdict), "") if verdict is not None else ""
        return Text(as_json(value, indent=True), style=colour)
    if isinstance(value, dict):
        return Syntax(as_json(value, indent=True), "json", theme=_THEME, word_wrap=True)
    return Text(_text(value))


def _judgement(column: LLMJudgeColumnConfig, value: Mapping[str, Any]) -> Table:
    table = Table(box=None, show_edge=False, padding=(0, 1))
    for title in ("score", "of", "reasoning"):
        table.add_column(title, overflow="fold")
    for score in column.scores:
        given = value.get(score.name) or {}
        options = ", ".join(str(option) for option in score.options)
        table.add_row(
            Text(f"{score.name}: {given.get('score')}", style="bold"), options, Text(str(given.get("reasoning") or ""))
        )
    return table


def _image(value: str) -> str:
    """What an image is: base64 of a preview is not to be read."""
    try:
        size = len(base64.b64decode(value, validate=True))
    except ValueError:
        return value  # a path
    return f"image, {size:,} bytes (base64; --json shows it)"


def _text(value: Any) -> str:
    if isinstance(value, str):
        return _trimmed(value)
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list) and len(value) > _LONGEST_LIST and all(isinstance(each, float) for each in value):
        return f"[{', '.join(f'{each:.4g}' for each in value[:_LONGEST_LIST])}, ...] ({len(value)} numbers)"
    return as_json(value, indent=True) if isinstance(value, (dict, list)) else str(value)


def _trimmed(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}... ({len(text):,} characters)"
