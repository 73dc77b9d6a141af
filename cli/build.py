"""`prefect-datagen build`: a config becomes a dataset directory."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prefect_datagen.cli.options import (
    ApiKeyVariable,
    ConfigFile,
    Endpoint,
    NumRecords,
    Offline,
    RowGroupSize,
    Seed,
    Settings,
    make_endpoints,
    make_run,
    split_settings,
)


def build(
    config: ConfigFile,
    num_records: NumRecords,
    output: Annotated[str, typer.Option("-o", "--output", metavar="DIR", help="The dataset: a folder or fsspec URL.")],
    seed: Seed = None,
    row_group_size: RowGroupSize = None,
    max_row_groups: Annotated[
        int | None, typer.Option("--max-row-groups", metavar="K", help="Row groups in flight. [default: 4]")
    ] = None,
    task_runner: Annotated[
        str | None,
        typer.Option(metavar="KIND", help="Where row groups run: threads, processes, dask or ray. [default: threads]"),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(metavar="W", help="Worker processes of a task runner that starts its own. [default: 2]"),
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Dask scheduler or Ray head that is running; see docs/scale.md."),
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(
            metavar="MODE",
            help="never: start anew. if-possible: continue where the config fits, else set the old dataset aside and pay "
            "only for what changed. always: continue or refuse. repair: also make rejected rows again. "
            "[default: if-possible]",
        ),
    ] = None,
    no_journal: Annotated[
        bool, typer.Option("--no-journal", help="Do not keep model answers; a resume pays again for open row groups.")
    ] = False,
    trace: Annotated[
        bool, typer.Option("--trace", help="Record when every cell was queued, started and ended.")
    ] = False,
    offline: Offline = False,
    endpoint: Endpoint = None,
    api_key_env: ApiKeyVariable = None,
    settings: Settings = None,
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
        typer.echo(f"rejected rows, each with its reason: {output}/rejects ({hint})", err=True)
        raise
    row_groups = result.metadata.row_groups
    reused = sum(outcome.reused for outcome in row_groups)
    if reused:
        rest = "nothing to do" if reused == len(row_groups) else f"{len(row_groups) - reused:,} made now"
        typer.echo(f"{reused:,} of {len(row_groups):,} row groups were there already: {rest}")
    typer.echo(result.summary)
    typer.echo(f"{result.metadata.status.value}: {output} (seed {result.metadata.seed})")
