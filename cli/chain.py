"""`prefect-datagen chain`: the datasets of a workflow, each seeded from the earlier ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from prefect_datagen.cli.options import endpoint_options, make_run, seed_option

if TYPE_CHECKING:
    from prefect_datagen.blocks.model_endpoint import ModelEndpoint
    from prefect_datagen.blocks.offline_model import OfflineModel
    from prefect_datagen.config.workflow import Workflow
    from prefect_datagen.flows.chain import ChainPreview


@click.command()
@click.argument(
    "workflow", type=click.Path(path_type=Path), metavar="WORKFLOW", help="YAML file that describes the stages."
)
@click.option(
    "-o", "--output", metavar="DIR", help="Folder or fsspec URL for the stages' datasets. [default: its path]"
)
@click.option("--only", metavar="STAGE", help="Run this stage only.")
@click.option("--from", "start", metavar="STAGE", help="Run this stage and all that follow from it.")
@click.option(
    "--preview", type=click.IntRange(min=1), metavar="N", help="Make N rows of each stage, in memory, and show them."
)
@click.option("--json", is_flag=True, help="With --preview: one JSON object per stage on stdout.")
@seed_option
@click.option("--resume", metavar="MODE", help="As for build, for every stage that is run.")
@endpoint_options
@click.option(
    "--set", "settings", multiple=True, metavar="run.KEY=VALUE", help="Set a field of every stage's run. Repeatable."
)
def chain(
    workflow: Path,
    output: str | None,
    only: str | None,
    start: str | None,
    preview: int | None,
    json: bool,
    seed: int | None,
    resume: str | None,
    offline: bool,
    endpoint: str | None,
    api_key_env: str | None,
    settings: tuple[str, ...],
) -> None:
    """Build the datasets of WORKFLOW, each seeded from the earlier ones, or continue where a run of it ended.

    Example: prefect-datagen chain workflow.yaml --preview 3 --offline
    """
    from prefect_datagen.cli.console import quiet_prefect, showing_progress

    quiet_prefect()
    run = make_run(_run_settings(settings), seed=seed, resume=resume)
    from prefect_datagen.config.workflow import Workflow

    loaded = Workflow.load(Path(workflow))
    endpoints = _endpoints(loaded, offline=offline, url=endpoint, api_key_variable=api_key_env)

    from prefect_datagen.blocks.parquet_sink import ParquetRowGroupSink
    from prefect_datagen.cli.outcome import finish
    from prefect_datagen.flows.chain import chain_datasets

    with showing_progress("chain"):
        state = chain_datasets(
            loaded,
            sink=ParquetRowGroupSink(path=output) if output is not None else None,
            run=run,
            endpoints=endpoints,
            only=only,
            start=start,
            preview=preview,
            return_state=True,
        )
    result = finish(state)
    if preview is not None:
        _show(result, loaded, json=json)
    click.echo(result.summary, err=json)


def _run_settings(settings: Sequence[str]) -> dict[str, object]:
    from prefect_datagen.cli.options import split_settings
    from prefect_datagen.engine.errors import ConfigError

    config, run = split_settings(settings)
    if config:
        raise ConfigError(
            f"--set {next(iter(config))}: a workflow's stages are edited in its file; run.KEY is meant here"
        )
    return run


def _endpoints(
    workflow: Workflow, *, offline: bool, url: str | None, api_key_variable: str | None
) -> list[ModelEndpoint | OfflineModel]:
    """Blocks that stand for every provider that a stage's models name, or none where the stages' own are used."""
    from prefect_datagen.cli.options import make_endpoints
    from prefect_datagen.config.workflow_check import check_stages

    found = [
        endpoint
        for shape in check_stages(workflow).values()
        for endpoint in make_endpoints(shape.config, offline=offline, url=url, api_key_variable=api_key_variable)
    ]
    return list({endpoint.provider: endpoint for endpoint in found}.values())


def _show(previews: ChainPreview, workflow: Workflow, *, json: bool) -> None:
    from prefect_datagen.config.workflow_check import check_stages

    shapes = check_stages(workflow)
    for name, preview in previews.stages.items():
        if json:
            rows = preview.dataset.to_json(orient="records", date_format="iso", force_ascii=False)
            click.echo(f'{{"stage": "{name}", "rows": {rows}}}')
        else:
            from rich.console import Console

            from prefect_datagen.cli.records import show_records

            click.echo(f"stage {name}")
            show_records(preview, shapes[name].config, console=Console())
