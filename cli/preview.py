"""`prefect-datagen preview`: a few rows in the terminal, nothing on disk."""

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
    Seed,
    Settings,
    make_endpoints,
    make_run,
    split_settings,
)


def preview(
    config: ConfigFile,
    num_records: NumRecords = 3,
    json: Annotated[bool, typer.Option("--json", help="One JSON object per row on stdout.")] = False,
    step: Annotated[bool, typer.Option("--step", help="Wait for Enter after each row.")] = False,
    seed: Seed = None,
    offline: Offline = False,
    endpoint: Endpoint = None,
    api_key_env: ApiKeyVariable = None,
    settings: Settings = None,
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
            typer.echo(as_json(row))
    else:
        from rich.console import Console

        from prefect_datagen.cli.records import show_records

        show_records(result, loaded, console=Console(), step=step)
    typer.echo(result.summary, err=json)
