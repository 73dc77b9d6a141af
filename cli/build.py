"""`prefect-datagen build`: a config becomes a dataset directory."""

from __future__ import annotations

from pathlib import Path

import click

from prefect_datagen.cli.options import (
    config_file,
    endpoint_options,
    make_endpoints,
    make_run,
    num_records_option,
    row_group_size_option,
    seed_option,
    settings_option,
    split_settings,
)


@click.command()
@config_file
@num_records_option()
@click.option("-o", "--output", required=True, metavar="DIR", help="The dataset: a folder or fsspec URL.")
@seed_option
@row_group_size_option
@click.option("--max-row-groups", type=int, metavar="K", help="Row groups in flight. [default: 4]")
@click.option(
    "--task-runner", metavar="KIND", help="Where row groups run: threads, processes, dask or ray. [default: threads]"
)
@click.option(
    "--workers", type=int, metavar="W", help="Worker processes of a task runner that starts its own. [default: 2]"
)
@click.option("--cluster", metavar="ADDRESS", help="Dask scheduler or Ray head that is running; see docs/scale.md.")
@click.option(
    "--resume",
    metavar="MODE",
    help="never: start anew. if-possible: continue where the config fits, else set the old dataset aside and pay "
    "only for what changed. always: continue or refuse. repair: also make rejected rows again. [default: if-possible]",
)
@click.option("--no-journal", is_flag=True, help="Do not keep model answers; a resume pays again for open row groups.")
@click.option("--trace", is_flag=True, help="Record when every cell was queued, started and ended.")
@endpoint_options
@settings_option
def build(
    config: Path,
    num_records: int,
    output: str,
    seed: int | None,
    row_group_size: int | None,
    max_row_groups: int | None,
    task_runner: str | None,
    workers: int | None,
    cluster: str | None,
    resume: str | None,
    no_journal: bool,
    trace: bool,
    offline: bool,
    endpoint: str | None,
    api_key_env: str | None,
    settings: tuple[str, ...],
) -> None:
    """Build N rows of CONFIG into DIR, or continue a build that is there.

    Example: prefect-datagen build dataset.yaml -n 1000 -o out/reviews --seed 7
    """
    from prefect_datagen.cli.console import quiet_prefect, showing_progress

    quiet_prefect()
    config_settings, run_settings = split_settings(settings)
    run = make_run(
        run_settings,
        seed=seed,
        row_group_size=row_group_size,
        max_concurrent_row_groups=max_row_groups,
        task_runner=task_runner,
        workers=workers,
        cluster=cluster,
        resume=resume,
        journal=False if no_journal else None,
        trace=True if trace else None,
    )
    from prefect_datagen.config.dataset import DatasetConfig

    loaded = DatasetConfig.load(Path(config), overrides=config_settings)

    from prefect_datagen.blocks.parquet_sink import ParquetRowGroupSink
    from prefect_datagen.cli.outcome import finish
    from prefect_datagen.engine.errors import ShortfallError
    from prefect_datagen.flows.build import build_dataset

    endpoints = make_endpoints(loaded, offline=offline, url=endpoint, api_key_variable=api_key_env)
    with showing_progress("build"):
        state = build_dataset(
            loaded,
            num_records=num_records,
            sink=ParquetRowGroupSink(path=output),
            run=run,
            endpoints=endpoints,
            return_state=True,
        )
    try:
        result = finish(state)
    except ShortfallError:
        hint = "--resume repair makes again those that a retry can help"
        click.echo(f"rejected rows, each with its reason: {output}/rejects ({hint})", err=True)
        raise
    row_groups = result.metadata.row_groups
    reused = sum(outcome.reused for outcome in row_groups)
    if reused:
        rest = "nothing to do" if reused == len(row_groups) else f"{len(row_groups) - reused:,} made now"
        click.echo(f"{reused:,} of {len(row_groups):,} row groups were there already: {rest}")
    click.echo(result.summary)
    click.echo(f"{result.metadata.status.value}: {output} (seed {result.metadata.seed})")
