"""`prefect-datagen partitions`: which partitions of a dataset exist, and what they hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from prefect_datagen.flows.partitions import PartitionRecord


@click.command()
@click.argument("dataset", metavar="DIR", help="Folder or URL of all partitions.")
@click.option("--json", is_flag=True, help="One JSON object per partition on stdout.")
def partitions(dataset: str, json: bool) -> None:
    """List the partitions of a dataset, with rows, verdict and what is missing.

    Example: prefect-datagen partitions out/events
    """
    from prefect_datagen.cli.console import quiet_prefect

    quiet_prefect()
    from prefect_datagen.blocks.parquet_sink import ParquetRowGroupSink
    from prefect_datagen.flows.partitions import existing

    records = existing(ParquetRowGroupSink(path=dataset))
    if json:
        for record in records:
            click.echo(record.model_dump_json())
    else:
        show(records)


def show(records: Sequence[PartitionRecord]) -> None:
    """Print the table of partitions."""
    from prefect_datagen.flows.partitions import table_row

    if not records:
        click.echo("no partitions")
        return
    rows = [table_row(record) for record in records]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    lines = [columns, *([str(row.get(name, "")) for name in columns] for row in rows)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(columns))]
    for line in lines:
        click.echo("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())
