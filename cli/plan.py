"""`prefect-datagen plan`: what a build would do and cost; no model is called, nothing is written."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from prefect_datagen.cli.options import ConfigFile, NumRecords, RowGroupSize, Seed, Settings, make_run, split_settings

if TYPE_CHECKING:
    from prefect_datagen.config.estimate import Estimate, Range


def plan(
    config: ConfigFile,
    num_records: NumRecords,
    output: Annotated[
        str | None, typer.Option("-o", "--output", metavar="DIR", help="The dataset that the build would write.")
    ] = None,
    seed: Seed = None,
    row_group_size: RowGroupSize = None,
    resume: Annotated[str | None, typer.Option(metavar="MODE", help="As for build. [default: if-possible]")] = None,
    settings: Settings = None,
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

    typer.echo(
        f"{loaded.name}: {num_records:,} rows in {prepared.plan.row_groups:,} row groups of {prepared.plan.row_group_size:,}"
    )
    repair, intact = prepared.repairable, prepared.intact
    kept = sum(manifest.planned for manifest in prepared.plan.reused.values()) + intact
    new = sum(group.rows for group in prepared.plan.todo) - repair - intact
    typer.echo(f"  rows: {new:,} to make, {repair:,} to repair, {kept:,} kept")
    if prepared.decision.differences:
        typer.echo(f"  changed since the last build of {output}:")
        for difference in prepared.decision.differences:
            typer.echo(f"    {difference}")
    if prepared.decision.course in (Course.SUPERSEDE, Course.RENEW):
        typer.echo("  the old dataset would be set aside; nothing of it is deleted")
        asking = prepared.estimate.calls_by_column
        typer.echo(f"    answers reused: {_names(name for name in asking if name in prepared.paid)}")
        typer.echo(f"    paid for again: {_names(name for name in asking if name not in prepared.paid)}")
    for line in prepared.blueprint.sampler.acceptance():
        typer.echo(f"  {line}")
    _show(prepared.estimate)


def _names(columns: Iterable[str]) -> str:
    return ", ".join(columns) or "no column"


def _show(estimate: Estimate) -> None:
    for column, calls in estimate.calls_by_column.items():
        typer.echo(f"  column {column}: {calls:,} calls")
    for alias, model in estimate.models.items():
        typer.echo(
            f"  model {alias}: {model.calls:,} calls, {_range(model.input_tokens)} tokens in, "
            f"{_range(model.output_tokens)} tokens out" + ("" if model.cost is None else f", cost {_money(model.cost)}")
        )
    typer.echo(f"  time by the limits: {_range(estimate.seconds)} s")
    typer.echo(
        "  cost: " + ("unknown (no prices in model_configs)" if estimate.cost is None else _money(estimate.cost))
    )
    typer.echo(f"  (tokens counted on the prompts of {estimate.sampled_rows} sample rows; answers are a guess)")


def _range(numbers: Range) -> str:
    return f"{numbers.low:,.0f} to {numbers.high:,.0f}"


def _money(numbers: Range) -> str:
    return f"{numbers.low:,.4f} to {numbers.high:,.4f}"
