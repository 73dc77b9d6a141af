"""A run from config to verdict, for build and preview alike: they differ only in the sink.

    load ─► decide (start, continue, repair, set aside) ─► open the sink (its lock is held from here on) ─► plan
         ─► controller maps the row groups ─► finalize (not after an early end) ─► metadata, artifacts ─► final state
"""

from __future__ import annotations

import hashlib
import secrets
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import orjson
from prefect.states import Cancelled, Completed, State

from prefect_datagen.blocks.model_endpoint import ModelEndpoint
from prefect_datagen.blocks.offline_model import OfflineModel
from prefect_datagen.columns.user_code import load_function
from prefect_datagen.config.blueprint import Blueprint
from prefect_datagen.config.dataset import ConfigSource, DatasetConfig
from prefect_datagen.config.plan import Plan, make_plan
from prefect_datagen.config.resume import Course, Decision, decide
from prefect_datagen.config.run import OnShortfall, RunConfig
from prefect_datagen.engine.errors import DatagenError, RunInterruptedError
from prefect_datagen.engine.outcomes import DatasetMetadata
from prefect_datagen.flows.artifacts import ProgressArtifact, show_outcomes
from prefect_datagen.flows.log import run_log
from prefect_datagen.flows.progress import current_listener
from prefect_datagen.flows.results import summary
from prefect_datagen.flows.row_groups import Controller, OutcomeCallback
from prefect_datagen.flows.verdict import make_metadata, shortfall
from prefect_datagen.processors import Stage
from prefect_datagen.storage.parts import rejected_rows
from prefect_datagen.storage.store import RowGroupStore, RunRecord
from prefect_datagen.tasks.finalize import FinalizeWork, finalize
from prefect_datagen.tasks.process_row_group import process_row_group
from prefect_datagen.tasks.runtime import Runtime, opened
from prefect_datagen.tasks.ticket import RunTicket, Sink
from prefect_datagen.version import VERSION


@dataclass(frozen=True)
class Finished:
    """A run that has ended: its record, and the error that ended it early or made it fail."""

    metadata: DatasetMetadata
    error: DatagenError | None


@dataclass(frozen=True)
class RunRequest:
    """What a flow was asked for, as it came."""

    config: ConfigSource
    num_records: int
    sink: Sink
    run: RunConfig
    endpoints: Sequence[ModelEndpoint | OfflineModel] = ()
    on_row_group_complete: OutcomeCallback | str | None = None


def execute(request: RunRequest, *, read: Callable[[RowGroupStore], None] = lambda store: None) -> Finished:
    """Carry out a request. Nothing of it runs any more when this returns or raises.

    Args:
        request: what to do.
        read: called with the sink while it is still open and the run has ended well, to take rows out of memory.

    Raises:
        ConfigError: the config is wrong; nothing was done.
        SinkError: the sink cannot be opened or resumed; nothing was done.
    """
    started_at = datetime.now(UTC)
    config = DatasetConfig.load(request.config)
    callback = _callback(request.on_row_group_complete, config.folder)
    recorded = request.sink.reader().run_record()
    seed = _seed(request.run, recorded)
    blueprint = Blueprint(config, request.run, seed=seed)
    decision = decide(
        request.run.resume,
        recorded,
        parts=blueprint.fingerprint_parts,
        row_group_size=request.run.row_group_size,
        location=request.sink.location,
    )
    staged = bool(blueprint.processors(Stage.AFTER_GENERATION))
    with closing(request.sink.open(schema=blueprint.schema, staged=staged)) as store:
        _set_out(store, decision, blueprint, request)
        plan = make_plan(
            request.num_records, row_group_size=request.run.row_group_size, committed=store.committed()
        )
        ticket = RunTicket(
            run_id=uuid.uuid4().hex,
            config=config,
            run=request.run,
            seed=seed,
            fingerprint=_fingerprint(blueprint.fingerprint_parts),
            sink=request.sink,
            endpoints=tuple(request.endpoints),
            inline=request.run.inline_stages(plan.row_groups),
        )
        _say(plan, decision, store.location)
        finished = _run(ticket, plan, store, blueprint, callback, started_at)
        if finished.error is None:
            read(store)
    return finished


def final_state(finished: Finished, run: RunConfig, result: object) -> State:
    """The flow's final state: Completed, or Completed as Partial, or Cancelled.

    Raises:
        DatagenError: the run failed; raised from the flow, it makes the state Failed and reaches the caller as it is.
    """
    error = finished.error
    if isinstance(error, RunInterruptedError):
        return Cancelled(message=f"{error.message}; {summary(finished.metadata)}; a resume continues from there")
    if error is not None:
        raise error
    short = shortfall(finished.metadata, run)
    if short is not None and run.on_shortfall is OnShortfall.FAIL:
        raise short
    name = "Completed" if short is None else "Partial"
    return Completed(name=name, message=summary(finished.metadata), data=result)


def _run(
    ticket: RunTicket,
    plan: Plan,
    store: RowGroupStore,
    blueprint: Blueprint,
    callback: OutcomeCallback | None,
    started_at: datetime,
) -> Finished:
    artifact = ProgressArtifact(interval=ticket.run.progress_interval, listener=current_listener())
    notices: list[str] = []
    with opened(Runtime(ticket, store=store, notify=notices.append)) as runtime:
        controller = Controller(
            runtime=runtime,
            plan=plan,
            process=_task_with_cache(ticket),
            on_row_group_complete=callback,
            on_progress=lambda snapshot: (_log(notices), artifact.show(snapshot)),
        )
        interruption: BaseException | None = None
        try:
            controller.run()
            if controller.error is None and blueprint.processors(Stage.AFTER_GENERATION):
                finalize(FinalizeWork(runtime))
        except DatagenError as error:
            controller.stop(error)
        except BaseException as error:
            interruption = error
        metadata = make_metadata(
            ticket=ticket,
            plan=plan,
            outcomes=controller.outcomes,
            error=controller.error,
            schema=blueprint.final_schema,
            usage=runtime.usage(),
            started_at=started_at,
        )
    error = controller.error
    try:
        store.write_metadata(metadata)
    except DatagenError as unwritten:
        # The first error is what the user must see; a full disk explains the second by itself.
        error = error or unwritten
        run_log().error("metadata not written: %s", unwritten)
    artifact.close()
    show_outcomes(metadata, list(controller.outcomes.values()), location=store.location)
    run_log().info("%s: %s", metadata.status.value, summary(metadata))
    if interruption is not None and not isinstance(interruption, KeyboardInterrupt):
        raise interruption  # Prefect's own: a cancellation or a timeout, whose state Prefect sets
    return Finished(metadata, error)


def _task_with_cache(ticket: RunTicket):  # type: ignore[no-untyped-def]
    return process_row_group


def _set_out(store: RowGroupStore, decision: Decision, blueprint: Blueprint, request: RunRequest) -> None:
    """Bring the sink to where the run starts from."""
    if decision.course in (Course.SUPERSEDE, Course.RENEW):
        for difference in decision.differences:
            run_log().warning("differs from the dataset in %s: %s", store.location, difference)
        run_log().warning("the dataset in %s is set aside; nothing is deleted", store.location)
        store.supersede()
    if decision.course is Course.REPAIR:
        _discard_repairable(store)
    store.write_config(blueprint.config.to_yaml())
    if decision.course in (Course.START, Course.SUPERSEDE, Course.RENEW):
        store.write_run(
            RunRecord(
                seed=blueprint.seed,
                row_group_size=request.run.row_group_size,
                fingerprint=_fingerprint(blueprint.fingerprint_parts),
                fingerprint_parts=blueprint.fingerprint_parts,
                library_version=VERSION,
                created_at=datetime.now(UTC),
            )
        )


def _discard_repairable(store: RowGroupStore) -> None:
    """Take back row groups that lost rows for a cause that a retry can help; their good answers are in the journal."""
    lost = {row.row_index for row in rejected_rows(store.rejects()) if row.retryable}
    for index, manifest in store.committed().items():
        if any(manifest.start_row <= row < manifest.start_row + manifest.planned for row in lost):
            store.discard(index)


def _say(plan: Plan, decision: Decision, location: str) -> None:
    if not plan.todo:
        run_log().info("%s is complete already: %d row groups reused, nothing to do", location, len(plan.reused))
    elif plan.reused:
        run_log().info("%s: %d row groups reused, %d to do", location, len(plan.reused), len(plan.todo))
    else:
        run_log().info("%s: %d rows in %d row groups", location, plan.num_records, len(plan.todo))


def _log(notices: list[str]) -> None:
    while notices:
        run_log().warning(notices.pop(0))


def _seed(run: RunConfig, recorded: RunRecord | None) -> int:
    if run.seed is not None:
        return run.seed
    return secrets.randbelow(2**31) if recorded is None else recorded.seed


def _fingerprint(parts: Mapping[str, str]) -> str:


    return hashlib.blake2b(orjson.dumps(dict(parts), option=orjson.OPT_SORT_KEYS), digest_size=12).hexdigest()


def _callback(given: OutcomeCallback | str | None, folder: Path) -> OutcomeCallback | None:
    return load_function(given, folder) if isinstance(given, str) else given


