"""`prefect-datagen deploy`: a dataset or a workflow that the Prefect server starts, by schedule or by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prefect_datagen.cli.options import Offline, Seed, Settings, make_endpoints, make_run, split_settings


def deploy(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="YAML file of a dataset or of a workflow.")],
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="Name of the deployment.")],
    num_records: Annotated[int | None, typer.Option("-n", "--num-records", min=0, help="Rows to make.")] = None,
    output: Annotated[
        str | None, typer.Option("-o", "--output", metavar="DIR", help="The dataset: a folder or fsspec URL.")
    ] = None,
    sink: Annotated[
        str | None, typer.Option(metavar="NAME", help="Instead of --output: a saved parquet-row-group-sink block.")
    ] = None,
    cron: Annotated[str | None, typer.Option(metavar="CRON", help="Schedule, such as '0 6 * * *'.")] = None,
    interval: Annotated[float | None, typer.Option(metavar="SECONDS", min=1, help="Schedule: every so often.")] = None,
    timezone: Annotated[str | None, typer.Option(metavar="ZONE", help="Of the schedule. [default: UTC]")] = None,
    work_pool: Annotated[
        str | None,
        typer.Option(metavar="POOL", help="Pool whose workers run it. [default: this process serves it until stopped]"),
    ] = None,
    target: Annotated[
        str | None, typer.Option(metavar="MODE", help="fixed, version or extend: what each run does. [default: fixed]")
    ] = None,
    partition: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Partition of each run, such as date=%Y-%m-%d. Repeatable."),
    ] = None,
    when_ready: Annotated[
        list[str] | None,
        typer.Option(metavar="DIR", help="Start a run whenever the dataset there is ready. Repeatable."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--concurrency-limit", metavar="K", min=1, help="Runs at the same time.")
    ] = None,
    collision: Annotated[
        str, typer.Option(metavar="MODE", help="enqueue or cancel: a run that is one too many.")
    ] = "enqueue",
    max_lateness: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", min=0, help="A run that is later is missed. [default: late runs catch up]"),
    ] = None,
    endpoint_block: Annotated[
        list[str] | None, typer.Option(metavar="TYPE/NAME", help="Saved block for a provider. Repeatable.")
    ] = None,
    offline: Offline = False,
    embed: Annotated[bool, typer.Option("--embed", help="Store the config in the deployment.")] = False,
    tag: Annotated[list[str] | None, typer.Option(help="Tag of the runs. Repeatable.")] = None,
    paused: Annotated[bool, typer.Option("--paused", help="Start with the schedule paused.")] = False,
    seed: Seed = None,
    settings: Settings = None,
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
    endpoints = [read_endpoint(block, name="--endpoint-block") for block in endpoint_block or []]
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
        when_ready=tuple(when_ready or ()),
        limit=limit,
        collision=collision,
        embed=embed,
        tags=tuple(tag or ()),
        paused=paused,
    )
    if work_pool is None:
        from prefect import serve

        deployment = make_deployment(plan)
        typer.echo(f"serving {deployment.full_name}; stop with Ctrl-C")
        serve(deployment)
        return
    full_name = register(plan, work_pool=work_pool)
    typer.echo(f"deployed {full_name} to the work pool {work_pool}")
    typer.echo(f"  a worker:  prefect worker start --type process --pool {work_pool}")
    typer.echo(f"  a run now: prefect deployment run {full_name!r}")


def _partition(texts: list[str] | None) -> dict[str, str]:
    from prefect_datagen.engine.errors import ConfigError

    values = {}
    for text in texts or []:
        name, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"--partition {text!r}: expected NAME=VALUE, such as date=%Y-%m-%d")
        values[name] = value
    return values
