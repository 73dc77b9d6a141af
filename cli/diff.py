"""`prefect-datagen diff`: what differs between two datasets, with an exit code for pipelines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from prefect_datagen.reports.diff import DatasetDiff


@click.command()
@click.argument("base", type=click.Path(path_type=Path), metavar="DIR1", help="The dataset that was there before.")
@click.argument("current", type=click.Path(path_type=Path), metavar="DIR2", help="The dataset that is there now.")
@click.option(
    "--key", multiple=True, metavar="COLUMN", help="Column that tells rows apart; repeat for several. Repeatable."
)
@click.option(
    "--fail-on",
    multiple=True,
    metavar="CONDITION",
    help="Exit with 1 where it holds: schema, 'rows>5%', 'fewer>0', 'rejected>10', 'missing[price]>1%', "
    "'distance>0.1'; with --key also added, removed, 'changed>2%'. Repeatable.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write the comparison as .html, .png, .pdf, .svg or .json.",
)
def diff(base: Path, current: Path, key: tuple[str, ...], fail_on: tuple[str, ...], output: Path | None) -> None:
    """Compare two datasets: schema, counts, every column, and with --key the rows.

    Exits with 1 where a --fail-on condition holds, with 2 where something given is wrong.

    Example: prefect-datagen diff out/yesterday out/today --key id --fail-on schema --fail-on 'rows>5%'
    """
    from prefect_datagen.reports.diff import diff_datasets
    from prefect_datagen.reports.diff_text import diff_text
    from prefect_datagen.reports.duckdb_sources import PairSource
    from prefect_datagen.reports.errors import DifferenceError
    from prefect_datagen.reports.fail_on import Condition, violations
    from prefect_datagen.reports.render import Format

    conditions = [Condition.parse(text) for text in fail_on]
    format_ = Format.of(output) if output is not None else None
    pair = PairSource(base, current)
    try:
        found = diff_datasets(pair, key=key)
        click.echo(diff_text(found))
        violated = violations(found, conditions)
        if output is not None and format_ is not None:
            _write(pair, found, output, as_json=format_ is Format.JSON, key=key)
    finally:
        pair.close()
    if violated:
        raise DifferenceError("the datasets differ: " + "; ".join(violated), violations=violated)


def _write(pair: object, found: DatasetDiff, output: Path, *, as_json: bool, key: Sequence[str]) -> None:
    from prefect_datagen.reports.diff_report import diff_report
    from prefect_datagen.reports.duckdb_sources import PairSource
    from prefect_datagen.reports.query_cache import QueryCache
    from prefect_datagen.reports.render import write_file, write_report

    if as_json:
        write_file(output, (found.model_dump_json(indent=2) + "\n").encode())
        return
    assert isinstance(pair, PairSource)
    with QueryCache() as cache:
        write_report(diff_report(pair, key=key), output, cache=cache)
