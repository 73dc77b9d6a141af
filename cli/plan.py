"""`prefect-datagen plan`: what a build would do and cost; no model is called, nothing is written."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from prefect_datagen.cli.options import (
    config_file,
    make_run,
    num_records_option,
    row_group_size_option,
    seed_option,
    settings_option,
    split_settings,
)

if TYPE_CHECKING:
    from prefect_datagen.config.estimate import Estimate, Range


@click.command()
@config_file
@num_records_option()
@click.option("-o", "--output", metavar="DIR", help="The dataset that the build would write.")
@seed_option
@row_group_size_option
@click.option("--resume", metavar="MODE", help="As for build. [default: if-possible]")
@settings_option
def plan(
    config: Path,
    num_records: int,
    output: str | None,
    seed: int | None,
    row_group_size: int | None,
    resume: str | None,
    settings: tuple[str, ...],
) -> None:
    """Say what building N rows of CONFIG would do, call and cost. Calls no model.

    Example: prefect-datagen plan dataset.yaml -n 100000 -o out/reviews
    """
    from prefect_datagen.config.dataset import DatasetConfig
    from prefect_datagen.config.preparation import prepare
    from prefect_datagen.config.resume import Course
    from prefect_datagen.storage.reader import DatasetReader

    config_settings, run_settings = split_settings(settings)
    run = make_run(run_settings, seed=seed, row_group_size=row_group_size, resume=resume)
    loaded = DatasetConfig.load(Path(config), overrides=config_settings)
    reader = DatasetReader(output) if output is not None else None
    prepared = prepare(loaded, run, num_records=num_records, reader=reader)

    click.echo(
        f"{loaded.name}: {num_records:,} rows in {prepared.plan.row_groups:,} row groups of {prepared.plan.row_group_size:,}"
    )
    repair, intact = prepared.repairable, prepared.intact
    kept = sum(manifest.planned for manifest in prepared.plan.reused.values()) + intact
    new = sum(group.rows for group in prepared.plan.todo) - repair - intact
    click.echo(f"  rows: {new:,} to make, {repair:,} to repair, {kept:,} kept")
    if prepared.decision.differences:
        click.echo(f"  changed since the last build of {output}:")
        for difference in prepared.decision.differences:
            click.echo(f"    {difference}")
    if prepared.decision.course in (Course.SUPERSEDE, Course.RENEW):
        click.echo("  the old dataset would be set aside; nothing of it is deleted")
        asking = prepared.estimate.calls_by_column
        click.echo(f"    answers reused: {_names(name for name in asking if name in prepared.paid)}")
        click.echo(f"    paid for again: {_names(name for name in asking if name not in prepared.paid)}")
    for line in prepared.blueprint.sampler.acceptance():
        click.echo(f"  {line}")
    _show(prepared.estimate)


def _names(columns: Iterable[str]) -> str:
    return ", ".join(columns) or "no column"


def _show(estimate: Estimate) -> None:
    for column, calls in estimate.calls_by_column.items():
        click.echo(f"  column {column}: {calls:,} calls")
    for alias, model in estimate.models.items():
        click.echo(
            f"  model {alias}: {model.calls:,} calls, {_range(model.input_tokens)} tokens in, "
            f"{_range(model.output_tokens)} tokens out" + ("" if model.cost is None else f", cost {_money(model.cost)}")
        )
    click.echo(f"  time by the limits: {_range(estimate.seconds)} s")
    click.echo(
        "  cost: " + ("unknown (no prices in model_configs)" if estimate.cost is None else _money(estimate.cost))
    )
    click.echo(f"  (tokens counted on the prompts of {estimate.sampled_rows} sample rows; answers are a guess)")


def _range(numbers: Range) -> str:
    return f"{numbers.low:,.0f} to {numbers.high:,.0f}"


def _money(numbers: Range) -> str:
    return f"{numbers.low:,.4f} to {numbers.high:,.4f}"
