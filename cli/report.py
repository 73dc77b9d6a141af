"""`prefect-datagen report`: a report becomes a file."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from prefect_datagen.reports.query import Source, SourceLimits
    from prefect_datagen.reports.report import Report


@click.command()
@click.argument(
    "report",
    type=click.Path(path_type=Path),
    required=False,
    metavar="[REPORT]",
    help="YAML file of a report. Without one, the report that every dataset has.",
)
@click.option(
    "--data",
    multiple=True,
    metavar="DIR",
    help="Dataset for the report's next dataset source, or NAME=DIR. Repeatable.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("report.html"),
    metavar="FILE",
    help="A .html, .png, .pdf, .svg or .json file.",
)
@click.option(
    "--set", "settings", multiple=True, metavar="NAME=VALUE", help="Value of a variable; repeat for a list. Repeatable."
)
@click.option("--dark", is_flag=True, help="Dark colours in pictures; a page follows the reader's.")
def report(report: Path | None, data: tuple[str, ...], output: Path, settings: tuple[str, ...], dark: bool) -> None:
    """Run the queries of REPORT and write it to FILE.

    Exits with 1 where a chart's query failed; the file is written all the same, with an error panel in its place.

    Example: prefect-datagen report --data out/reviews -o reviews.html
    """
    from prefect_datagen.reports.query_cache import QueryCache
    from prefect_datagen.reports.render import Format, write_report

    Format.of(output)
    with _open(report, data or []) as opened, QueryCache() as cache:
        written = write_report(opened, output, cache=cache, values=_values(opened, settings), dark=dark)
    click.echo(f"{written.path}: {len(written.charts)} charts")
    for name, error in written.failed.items():
        click.echo(f"error: chart {name!r}: {error}", err=True)
    if written.failed:
        sys.exit(1)


def _open(path: Path | None, data: Sequence[str]) -> Report:
    from prefect_datagen.engine.errors import ConfigError
    from prefect_datagen.reports.report import Report

    folder = path if path is not None and path.is_dir() else None
    if path is None or folder is not None:
        from prefect_datagen.reports.auto import auto_report

        folders = [*([str(folder)] if folder else []), *data]
        if len(folders) != 1:
            raise ConfigError("give a report's file, or one dataset with --data DIR")
        return auto_report(folders[0])
    named = dict(each.split("=", 1) for each in data if "=" in each and not Path(each).exists())
    if named and len(named) != len(data):
        raise ConfigError("give either every --data as NAME=DIR or none")
    return Report.open(path, data=named or data, load_block=_load_block)


def _load_block(name: str, limits: SourceLimits | None) -> Source:
    from prefect_datagen.cli.console import quiet_prefect

    quiet_prefect()
    from prefect_datagen.blocks.query_source import load_query_source

    return load_query_source(name, limits)


def _values(opened: Report, settings: Sequence[str]) -> dict[str, Any]:
    """`--set` options as texts by variable; the variable's type says what they mean."""
    from prefect_datagen.engine.errors import ConfigError

    given: dict[str, list[str]] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals or not name:
            raise ConfigError(f"--set {setting!r}: expected NAME=VALUE, such as --set least_score=3")
        given.setdefault(name, []).append(text)
    values: dict[str, Any] = {}
    for name, texts in given.items():
        variable = opened.spec.variables.get(name)
        several = variable is not None and variable.multiple
        if len(texts) > 1 and not several:
            raise ConfigError(f"--set {name} is given {len(texts)} times, but the variable takes one value")
        values[name] = texts if several else texts[0]
    return values
