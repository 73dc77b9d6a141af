"""Rows of a preview, one by one, for people."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

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
            table.add_row(str(name), _text(value))
        console.print(table)


def _text(value: Any) -> str:
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False, indent=2, default=str)
    return str(value)
