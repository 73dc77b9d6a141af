"""`prefect-datagen backfill`: the partitions of a dataset that are missing or short."""

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
@num_records_option()
@click.option("-o", "--output", required=True, metavar="DIR", help="Folder or URL of all partitions.")
@click.option(
    "--partition",
    multiple=True,
    required=True,
    metavar="NAME=VALUES",
    help="Values, such as region=eu,us or date=2026-01-01..2026-01-31. Repeatable: every combination is built.",
)
@click.option(
    "--max-partitions", type=click.IntRange(min=1), default=1, metavar="K", help="Partitions built at the same time."
)
@seed_option
@endpoint_options
@settings_option
def backfill(
    config: Path,
    num_records: int,
    output: str,
    partition: tuple[str, ...],
    max_partitions: int,
    seed: int | None,
    offline: bool,
    endpoint: str | None,
    api_key_env: str | None,
    settings: tuple[str, ...],
) -> None:
    """Build N rows of CONFIG for each partition that is missing, and what is short of those that are there.

    Example: prefect-datagen backfill events.yaml -n 1000 -o out/events --partition date=2026-01-01..2026-01-31
    """
    from prefect_datagen.cli.console import quiet_prefect, showing_progress

    quiet_prefect()
    from prefect_datagen.config.dataset import DatasetConfig
    from prefect_datagen.config.target import filled, partition_values
    from prefect_datagen.engine.errors import ConfigError

    partitions = {}
    for text in partition:
        name, equals, values = text.partition("=")
        if not equals:
            raise ConfigError(f"--partition {text!r}: expected NAME=VALUES, such as region=eu,us")
        partitions[name] = partition_values(values)
    config_settings, run_settings = split_settings(settings)
    if config_settings:
        raise ConfigError(f"--set {next(iter(config_settings))}: a backfill's config is edited in its file")
    run = make_run(run_settings, seed=seed)
    first = DatasetConfig.load(filled(config, {name: values[0] for name, values in partitions.items()}))
    endpoints = make_endpoints(first, offline=offline, url=endpoint, api_key_variable=api_key_env)

    from prefect_datagen.blocks.parquet_sink import ParquetRowGroupSink
    from prefect_datagen.cli.outcome import finish
    from prefect_datagen.cli.partitions import show
    from prefect_datagen.flows.partitions import backfill_dataset

    with showing_progress("backfill"):
        state = backfill_dataset(
            config,
            num_records=num_records,
            sink=ParquetRowGroupSink(path=output),
            partitions=partitions,
            run=run,
            endpoints=endpoints,
            max_concurrent_partitions=max_partitions,
            return_state=True,
        )
    show(finish(state))
