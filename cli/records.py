"""Rows of a preview, one by one, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from prefect_datagen.flows.results import PreviewResult


def show_records(result: PreviewResult) -> None:
    """Draw every row as a table of column and value."""
    console = Console()
    for number, row in enumerate(result.dataset.to_dict(orient="records")):
        table = Table(title=f"row {number}", title_justify="left", show_header=False, expand=True)
        table.add_column(style="bold cyan", no_wrap=True)
        table.add_column(overflow="fold")
        for name, value in row.items():
            table.add_row(Text(str(name)), Text(_text(value)))
        console.print(table)


def as_json(value: Any, *, indent: bool = False) -> str:
    """JSON of a value from a data frame: arrays as lists, times in ISO form."""
    option = orjson.OPT_SERIALIZE_NUMPY | (orjson.OPT_INDENT_2 if indent else 0)
    return orjson.dumps(value, option=option, default=_plain).decode()


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else str(value)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, (dict, list)) or hasattr(value, "tolist"):
        return as_json(value, indent=True)
    return str(value)
