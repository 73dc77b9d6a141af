"""Sample rows with the prompts that made them, rendered anew from the dataset's own config."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import yaml

from prefect_datagen.columns.template import Template, TemplateError
from prefect_datagen.reports.dataset_files import DatasetState
from prefect_datagen.reports.formats import show
from prefect_datagen.storage import layout

PROMPT_ROWS = 5

PROMPTS_SCHEMA = pa.schema(
    [("row", pa.int64()), ("column", pa.string()), ("prompt", pa.string()), ("answer", pa.string())]
)


def prompts_of(state: DatasetState, sample: pa.Table) -> pa.Table:
    """Prompt and answer of every cell in the first rows of `sample` that a model was asked for.

    A prompt that reads what is not stored (a dropped column, say) says so instead. Order is by row, then by column.
    """
    rows = sample.slice(0, PROMPT_ROWS).to_pylist()
    asked = list(_prompts(state))
    records = [
        {
            "row": number,
            "column": column,
            "prompt": _rendered(prompt, row),
            "answer": show(row[column]) if column in row else None,
        }
        for number, row in enumerate(rows)
        for column, prompt in asked
    ]
    return pa.Table.from_pylist(records, schema=PROMPTS_SCHEMA)


def _prompts(state: DatasetState) -> Iterable[tuple[str, str]]:
    """(column, template) of every prompt in the dataset's config; none where that cannot be read."""
    try:
        config = yaml.safe_load((state.path / layout.CONFIG).read_text(encoding="utf-8"))
    except (FileNotFoundError, UnicodeDecodeError, yaml.YAMLError):
        return
    columns: Any = config.get("columns") if isinstance(config, dict) else None
    for column in columns if isinstance(columns, list) else []:
        if isinstance(column, dict) and isinstance(column.get("prompt"), str) and isinstance(column.get("name"), str):
            yield column["name"], column["prompt"]


def _rendered(prompt: str, row: dict[str, Any]) -> str:
    try:
        return Template(prompt).render(row)
    except TemplateError as error:
        return f"(cannot be shown: {error})\n{prompt}"
