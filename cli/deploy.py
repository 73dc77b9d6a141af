"""`prefect-datagen deploy`: a dataset or a workflow that the Prefect server starts, by schedule or by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from prefect_datagen.cli.options import (
    make_endpoints,
    make_run,
    offline_option,
    seed_option,
    settings_option,
    split_settings,
)


@click.command()
@click.argument(
    "config", type=click.Path(path_type=Path), metavar="CONFIG", help="YAML file of a dataset or of a workflow."
)
@click.option("--name", required=True, metavar="NAME", help="Name of the deployment.")
@click.option("-n", "--num-records", type=click.IntRange(min=0), help="Rows to make.")
@click.option("-o", "--output", metavar="DIR", help="The dataset: a folder or fsspec URL.")
@click.option("--sink", metavar="NAME", help="Instead of --output: a saved parquet-row-group-sink block.")
@click.option("--cron", metavar="CRON", help="Schedule, such as '0 6 * * *'.")
@click.option("--interval", type=click.FloatRange(min=1), metavar="SECONDS", help="Schedule: every so often.")
@click.option("--timezone", metavar="ZONE", help="Of the schedule. [default: UTC]")
@click.option(
    "--work-pool", metavar="POOL", help="Pool whose workers run it. [default: this process serves it until stopped]"
)
@click.option("--target", metavar="MODE", help="fixed, version or extend: what each run does. [default: fixed]")
@click.option(
    "--partition", multiple=True, metavar="NAME=VALUE", help="Partition of each run, such as date=%Y-%m-%d. Repeatable."
)
@click.option(
    "--when-ready", multiple=True, metavar="DIR", help="Start a run whenever the dataset there is ready. Repeatable."
)
@click.option("--concurrency-limit", "limit", type=click.IntRange(min=1), metavar="K", help="Runs at the same time.")
@click.option("--collision", default="enqueue", metavar="MODE", help="enqueue or cancel: a run that is one too many.")
@click.option(
    "--max-lateness",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="A run that is later is missed. [default: late runs catch up]",
)
@click.option("--endpoint-block", multiple=True, metavar="TYPE/NAME", help="Saved block for a provider. Repeatable.")
@offline_option
@click.option("--embed", is_flag=True, help="Store the config in the deployment.")
@click.option("--tag", multiple=True, help="Tag of the runs. Repeatable.")
@click.option("--paused", is_flag=True, help="Start with the schedule paused.")
@seed_option
@settings_option
def deploy(
    config: Path,
    name: str,
    num_records: int | None,
    output: str | None,
    sink: str | None,
    cron: str | None,
    interval: float | None,
    timezone: str | None,
    work_pool: str | None,
    target: str | None,
    partition: tuple[str, ...],
    when_ready: tuple[str, ...],
    limit: int | None,
    collision: str,
    max_lateness: float | None,
    endpoint_block: tuple[str, ...],
    offline: bool,
    embed: bool,
    tag: tuple[str, ...],
    paused: bool,
    seed: int | None,
    settings: tuple[str, ...],
) -> None:
    """Register CONFIG as a deployment, so that Prefect runs it by schedule, from its UI, or on an event.

    Example: prefect-datagen deploy dataset.yaml --name nightly --cron '0 6 * * *' -n 1000 -o /data/reviews
    --work-pool local --target version
    """
    from prefect_datagen.cli.console import quiet_prefect

    quiet_prefect()
    from prefect_datagen.blocks.parquet_sink import ParquetRowGroupSink
    from prefect_datagen.config.target import Target
    from prefect_datagen.config.workflow import is_workflow
    from prefect_datagen.engine.errors import ConfigError
    from prefect_datagen.flows.deployment import DeploymentPlan, make_deployment
    from prefect_datagen.flows.deployment import deploy as register
    from prefect_datagen.flows.parameters import read, read_endpoint, read_sink

    if output is not None and sink is not None:
        raise ConfigError("--output and --sink contradict each other: give one of them")
    config_settings, run_settings = split_settings(settings)
    if config_settings:
        raise ConfigError(f"--set {next(iter(config_settings))}: a deployment's config is edited in its file")
    place = None
    if output is not None:
        place = ParquetRowGroupSink(path=output if "://" in output else str(Path(output).resolve()))
    elif sink is not None:
        place = read_sink(sink if "/" in sink else f"parquet-row-group-sink/{sink}", name="--sink")
    endpoints = [read_endpoint(block, name="--endpoint-block") for block in endpoint_block]
    if offline and not is_workflow(config):
        from prefect_datagen.config.dataset import DatasetConfig

        endpoints += make_endpoints(DatasetConfig.load(config), offline=True, url=None, api_key_variable=None)
    fields = {"mode": target, "partition": _partition(partition)}
    plan = DeploymentPlan(
        source=config,
        name=name,
        num_records=num_records,
        sink=place,
        run=make_run(run_settings, seed=seed, max_lateness_seconds=max_lateness),
        endpoints=tuple(endpoints),
        target=read({field: value for field, value in fields.items() if value}, Target, name="--target"),
        cron=cron,
        interval=interval,
        timezone=timezone,
        when_ready=when_ready,
        limit=limit,
        collision=collision,
        embed=embed,
        tags=tag,
        paused=paused,
    )
    if work_pool is None:
        from prefect import serve

        deployment = make_deployment(plan)
        click.echo(f"serving {deployment.full_name}; stop with Ctrl-C")
        serve(deployment)
        return
    full_name = register(plan, work_pool=work_pool)
    click.echo(f"deployed {full_name} to the work pool {work_pool}")
    click.echo(f"  a worker:  prefect worker start --type process --pool {work_pool}")
    click.echo(f"  a run now: prefect deployment run {full_name!r}")


def _partition(texts: Sequence[str]) -> dict[str, str]:
    from prefect_datagen.engine.errors import ConfigError

    values = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"--partition {text!r}: expected NAME=VALUE, such as date=%Y-%m-%d")
        values[name] = value
    return values
