"""`prefect-datagen preview`: a few rows in the terminal, nothing on disk."""

from __future__ import annotations

from pathlib import Path

import click

from prefect_datagen.cli.options import (
    config_file,
    endpoint_options,
    make_endpoints,
    make_run,
    num_records_option,
    seed_option,
    settings_option,
    split_settings,
)


@click.command()
@config_file
@num_records_option(default=3)
@click.option("--json", is_flag=True, help="One JSON object per row on stdout.")
@click.option("--step", is_flag=True, help="Wait for Enter after each row.")
@seed_option
@endpoint_options
@settings_option
def preview(
    config: Path,
    num_records: int,
    json: bool,
    step: bool,
    seed: int | None,
    offline: bool,
    endpoint: str | None,
    api_key_env: str | None,
    settings: tuple[str, ...],
) -> None:
    """Make a few rows of CONFIG and show them one by one, with what models were asked; nothing is written to disk.

    Example: prefect-datagen preview dataset.yaml -n 3 --set run.shutdown_error_rate=0.2
    """
    from prefect_datagen.cli.console import quiet_prefect, showing_progress

    quiet_prefect()
    config_settings, run_settings = split_settings(settings)
    run = make_run(run_settings, seed=seed)
    from prefect_datagen.config.dataset import DatasetConfig

    loaded = DatasetConfig.load(Path(config), overrides=config_settings)

    from prefect_datagen.cli.outcome import finish
    from prefect_datagen.flows.preview import preview_dataset

    endpoints = make_endpoints(loaded, offline=offline, url=endpoint, api_key_variable=api_key_env)
    with showing_progress("preview"):
        state = preview_dataset(loaded, num_records=num_records, run=run, endpoints=endpoints, return_state=True)
    result = finish(state)
    if json:
        from prefect_datagen.cli.records import as_json

        for row in result.dataset.to_dict(orient="records"):
            click.echo(as_json(row))
    else:
        from rich.console import Console

        from prefect_datagen.cli.records import show_records

        show_records(result, loaded, console=Console(), step=step)
    click.echo(result.summary, err=json)
