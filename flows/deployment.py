"""Deployments: what the server starts, with which parameters, when, and how many at once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from prefect import Flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.deployments.runner import RunnerDeployment
from prefect.events import DeploymentEventTrigger, ResourceSpecification
from prefect.exceptions import ObjectNotFound
from prefect.schedules import Cron, Interval, Schedule
from prefect.types.entrypoint import EntrypointType
from pydantic import ValidationError

from prefect_datagen.blocks.model_endpoint import ModelEndpoint
from prefect_datagen.blocks.offline_model import OfflineModel
from prefect_datagen.blocks.parquet_sink import ParquetRowGroupSink
from prefect_datagen.config.dataset import DatasetConfig
from prefect_datagen.config.run import RunConfig
from prefect_datagen.config.target import Target, filled
from prefect_datagen.config.workflow import Workflow, is_workflow
from prefect_datagen.config.workflow_check import check_stages
from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.flows.build import build_dataset
from prefect_datagen.flows.chain import chain_datasets
from prefect_datagen.flows.events import DatasetEvent, asset_key
from prefect_datagen.models.config import names_variable


@dataclass(frozen=True)
class DeploymentPlan:
    """What is to be deployed.

    Attributes:
        source: file of a dataset config or of a workflow.
        name: of the deployment.
        num_records: rows of a dataset; None for a workflow, whose stages say it.
        sink: where the rows go; None where a workflow says it.
        run: run settings; what is not set in it stays the default.
        endpoints: blocks that stand for providers.
        target: what a repeated run means for the dataset.
        cron: schedule, such as `0 6 * * *`.
        interval: seconds between two runs, instead of `cron`.
        timezone: of the cron schedule.
        limit: runs at the same time.
        collision: what happens to a run that is one too many: `enqueue` or `cancel`.
        when_ready: places of datasets: a run starts whenever one of them is ready.
        embed: whether the config is stored in the deployment, rather than read from its file by each run.
    """

    source: Path
    name: str
    num_records: int | None = None
    sink: ParquetRowGroupSink | None = None
    run: RunConfig = RunConfig()  # noqa: RUF009 - frozen
    endpoints: tuple[ModelEndpoint | OfflineModel, ...] = ()
    target: Target = Target()  # noqa: RUF009 - frozen
    cron: str | None = None
    interval: float | None = None
    timezone: str | None = None
    limit: int | None = None
    collision: str = "enqueue"
    when_ready: tuple[str, ...] = ()
    embed: bool = False
    tags: tuple[str, ...] = ()
    paused: bool = False


def deploy(plan: DeploymentPlan, *, work_pool: str) -> str:
    """Register a deployment for the workers of a pool, which is made (type process) where there is none.

    Returns:
        Its full name, `FLOW/NAME`.

    Raises:
        ConfigError: config, schedule or options are wrong; nothing was registered.
    """
    deployment = make_deployment(plan)
    with get_client(sync_client=True) as client:
        try:
            client.read_work_pool(work_pool)
        except ObjectNotFound:
            client.create_work_pool(WorkPoolCreate(name=work_pool, type="process"))
    deployment.apply(work_pool_name=work_pool)
    return deployment.full_name


def make_deployment(plan: DeploymentPlan) -> RunnerDeployment:
    """The deployment, not registered yet. Its blocks are saved, so that it can refer to them.

    Raises:
        ConfigError: config, schedule or options are wrong.
    """
    flow, parameters = _chain(plan) if is_workflow(plan.source) else _build(plan)
    schedule = _schedule(plan)
    # A worker imports the flow by its module, so it needs this package and no copy of anybody's files.
    return RunnerDeployment.from_flow(
        flow,
        plan.name,
        schedules=[schedule] if schedule is not None else [],
        parameters=parameters,
        concurrency_limit=_limit(plan),
        tags=list(plan.tags),
        paused=plan.paused,
        triggers=[_trigger(place) for place in plan.when_ready],
        description=f"`{plan.source}`",
        entrypoint_type=EntrypointType.MODULE_PATH,
    )


def _trigger(place: str) -> DeploymentEventTrigger:
    """Starts the deployment on the event that a dataset is ready."""
    return DeploymentEventTrigger(
        name=f"when {place} is ready",
        expect={DatasetEvent.READY.value},
        match=ResourceSpecification({"prefect.resource.id": asset_key(place)}),
    )


def _build(plan: DeploymentPlan) -> tuple[Flow[Any, Any], dict[str, Any]]:
    if plan.num_records is None:
        raise ConfigError("--num-records is required for a dataset")
    if plan.sink is None:
        raise ConfigError("--output or --sink is required for a dataset")
    sample = {name: text if "%" not in text else "2000-01-01" for name, text in plan.target.partition.items()}
    config = DatasetConfig.load(plan.source) if not sample else DatasetConfig.load(filled(plan.source, sample))
    parameters = _common(plan) | {
        "config": _source(plan, config),
        "num_records": plan.num_records,
        "sink": plan.sink.saved(),
    }
    if plan.target.model_fields_set:
        parameters["target"] = plan.target.model_dump(mode="json", exclude_unset=True)
    return build_dataset, parameters


def _chain(plan: DeploymentPlan) -> tuple[Flow[Any, Any], dict[str, Any]]:
    if plan.num_records is not None:
        raise ConfigError("--num-records: the stages of a workflow say it themselves")
    if plan.target.model_fields_set:
        raise ConfigError("a workflow has no target: its stages are built anew where what they come from has changed")
    workflow = Workflow.load(plan.source)
    check_stages(workflow)
    if plan.sink is None and (workflow.path is None or not Path(workflow.path).is_absolute()):
        raise ConfigError("--output is required: a worker has another working directory than this one")
    parameters = _common(plan) | {"workflow": str(plan.source.resolve())}
    if plan.embed:
        raise ConfigError("--embed: a workflow is read from its files")
    if plan.sink is not None:
        parameters["sink"] = plan.sink.saved()
    return chain_datasets, parameters


def _common(plan: DeploymentPlan) -> dict[str, Any]:
    parameters: dict[str, Any] = {}
    if plan.run.model_fields_set:
        parameters["run"] = plan.run.model_dump(mode="json", exclude_unset=True)
    if plan.endpoints:
        parameters["endpoints"] = [_saved(endpoint) for endpoint in plan.endpoints]
    return parameters


def _source(plan: DeploymentPlan, config: DatasetConfig) -> str | dict[str, Any]:
    if not plan.embed:
        return str(plan.source.resolve())
    if plan.target.partition:
        raise ConfigError("--embed: the config of a partition is read from its file")
    for provider in config.model_providers:
        if provider.api_key is not None and not names_variable(provider.api_key):
            raise ConfigError(
                f"model_providers[{provider.name}].api_key: a key is not stored in a deployment; name an environment "
                "variable, or use a ModelEndpoint block"
            )
    embedded: dict[str, Any] = config.model_dump(mode="json", exclude_none=True)
    return embedded


def _saved(endpoint: ModelEndpoint | OfflineModel) -> ModelEndpoint | OfflineModel:
    if endpoint._block_document_id is None:
        endpoint.save(f"offline-{endpoint.provider}".lower().replace("_", "-"), overwrite=True, _sync=True)  # type: ignore[call-arg]
    return endpoint


_COLLISIONS = {"enqueue": ConcurrencyLimitStrategy.ENQUEUE, "cancel": ConcurrencyLimitStrategy.CANCEL_NEW}


def _limit(plan: DeploymentPlan) -> ConcurrencyLimitConfig | None:
    if plan.collision not in _COLLISIONS:
        raise ConfigError(f"--collision {plan.collision!r}: enqueue or cancel")
    if plan.limit is None:
        return None
    return ConcurrencyLimitConfig(limit=plan.limit, collision_strategy=_COLLISIONS[plan.collision])


def _schedule(plan: DeploymentPlan) -> Schedule | None:
    if plan.cron is not None and plan.interval is not None:
        raise ConfigError("--cron and --interval contradict each other: give one of them")
    try:
        if plan.cron is not None:
            return Cron(plan.cron, timezone=plan.timezone)
        if plan.interval is not None:
            return Interval(timedelta(seconds=plan.interval), timezone=plan.timezone)
    except (ValueError, ValidationError) as error:
        given = repr(plan.cron) if plan.cron is not None else f"{plan.interval:g}"
        raise ConfigError(f"schedule {given} (timezone {plan.timezone}): {error}") from error
    return None
