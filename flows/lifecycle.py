"""A run from config to verdict, for build and preview alike: they differ only in the sink.

load ─► decide (start, continue, repair, set aside) ─► open the sink (its lock is held from here on) ─► plan
     ─► controller maps the row groups ─► finalize (not after an early end) ─► metadata, artifacts ─► final state
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from contextvars import copy_context
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from prefect import State
from prefect.exceptions import TerminationSignal
from prefect.runtime import deployment
from prefect.states import Cancelled

from prefect_datagen.blocks.memory_sink import InMemoryRowGroupSink
from prefect_datagen.blocks.model_endpoint import ModelEndpoint
from prefect_datagen.blocks.offline_model import OfflineModel
from prefect_datagen.blocks.parquet_sink import ParquetRowGroupSink
from prefect_datagen.columns.user_code import load_function
from prefect_datagen.config.blueprint import Blueprint
from prefect_datagen.config.dataset import ConfigSource, DatasetConfig
from prefect_datagen.config.estimate import Estimate
from prefect_datagen.config.plan import Plan, make_plan
from prefect_datagen.config.preparation import Preparation, fingerprint, is_tabular, prepare, repairable_row_groups
from prefect_datagen.config.resume import Course
from prefect_datagen.config.run import OnShortfall, RunConfig, TaskRunnerKind
from prefect_datagen.engine.errors import ConfigError, DatagenError, RunInterruptedError, SinkError
from prefect_datagen.engine.outcomes import DatasetMetadata, ModelUsage, Verdict, add_usage
from prefect_datagen.flows.artifacts import ProgressArtifact, show_outcomes
from prefect_datagen.flows.backlog import Backlog
from prefect_datagen.flows.ending import completed
from prefect_datagen.flows.log import run_log
from prefect_datagen.flows.progress import ProgressSnapshot, current_listener
from prefect_datagen.flows.results import summary
from prefect_datagen.flows.row_groups import Controller, OutcomeCallback
from prefect_datagen.flows.verdict import make_metadata, shortfall
from prefect_datagen.flows.workers import Workers
from prefect_datagen.models.config import Mode
from prefect_datagen.processors import Stage
from prefect_datagen.storage.store import RowGroupStore, RunRecord
from prefect_datagen.tasks.endpoints import check_endpoints
from prefect_datagen.tasks.finalize import FinalizeWork, finalize
from prefect_datagen.tasks.process_row_group import Process, process_row_group, with_results_in
from prefect_datagen.tasks.run_limits import LimitsOfRun, ensure_limits
from prefect_datagen.tasks.runtime import Runtime, opened
from prefect_datagen.tasks.task_run_events import send_in_batches
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
        ConfigError: the config is wrong, or an endpoint refuses its key; nothing was done.
        SinkError: the sink cannot be opened or resumed; nothing was done.
    """
    started_at = datetime.now(UTC)
    config = DatasetConfig.load(request.config)
    _check_batches(config, request)
    callback = _callback(request.on_row_group_complete, config.folder)
    prepared = prepare(config, request.run, num_records=request.num_records, reader=request.sink.reader())
    blueprint = prepared.blueprint
    staged = bool(blueprint.processors(Stage.AFTER_GENERATION))
    run_id = uuid.uuid4().hex
    sink = request.sink.anchored()
    with ThreadPoolExecutor(1, thread_name_prefix="prefect-datagen-sink") as beside:
        # Four requests to the server or more; it answers while endpoints are asked and the run sets out.
        saving = None
        if prepared.plan.todo:
            if not isinstance(sink, InMemoryRowGroupSink):
                saving = beside.submit(copy_context().run, sink.saved)
            for doubt in check_endpoints(config, request.endpoints):
                run_log().warning("%s", doubt)
            for line in ensure_limits(config, request.run):
                run_log().warning("%s", line)
        with (
            Workers(request.run) as workers,
            closing(request.sink.open(schema=blueprint.schema, staged=staged)) as store,
            LimitsOfRun(config, run_id, several=workers.are_elsewhere) as limits,
        ):
            _set_out(store, prepared)
            plan = _plan_under_lock(prepared, store)
            if plan.todo or staged or blueprint.seed_stream is not None:
                _mark_as_building(store)
            ticket = RunTicket(
                run_id=run_id,
                config=limits.config,
                run=request.run,
                seed=prepared.seed,
                fingerprint=fingerprint(blueprint.fingerprint_parts),
                sink=sink,
                endpoints=tuple(request.endpoints),
                inline=request.run.inline_stages(plan, tabular=is_tabular(config)),
                writer=store.writer,
            )
            _say(plan, store.location)
            run = _Run(ticket, plan, store, saving, workers, limits, blueprint, callback, started_at, prepared.estimate)
            finished = run.carry_out()
            workers.close(at_once=finished.error is not None)
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
    return completed(name=name, message=summary(finished.metadata), data=result)


@dataclass(frozen=True)
class _Run:
    """A run under the sink's lock, from its plan to its verdict."""

    ticket: RunTicket
    plan: Plan
    store: RowGroupStore
    saving: Future[ParquetRowGroupSink] | None
    workers: Workers
    limits: LimitsOfRun
    blueprint: Blueprint
    callback: OutcomeCallback | None
    started_at: datetime
    estimate: Estimate

    def carry_out(self) -> Finished:
        """Map the row groups, finalize, write the verdict."""
        artifact = ProgressArtifact(interval=self.ticket.run.progress_interval, listener=current_listener())
        notices: list[tuple[int, str]] = []

        def say_notices() -> None:
            while notices:
                run_log().log(*notices.pop(0))

        def on_progress(snapshot: ProgressSnapshot) -> None:
            say_notices()
            artifact.show(snapshot)

        runtime = Runtime(
            self.ticket,
            store=self.store,
            reused=self.plan.reused,
            notify=lambda text: notices.append((logging.WARNING, text)),
            inform=lambda text: notices.append((logging.INFO, text)),
        )
        stream = self.blueprint.seed_stream
        send_in_batches()
        with ExitStack() as stack:
            stack.enter_context(opened(runtime))
            controller = Controller(
                runtime=runtime,
                backlog=Backlog(self.plan, self.store, stream),
                process=self._process(),
                workers=self.workers,
                on_all_workers_died=self.limits.start_over,
                on_row_group_complete=self.callback,
                on_progress=on_progress,
            )
            if stream is not None:
                stack.enter_context(stream.watched(controller.wake))
            interruption = self._make_rows(controller)
            usage = self._usage(controller)
            # Nothing of the engine changes any more; to close it, last, is to wait for the disk and for connections.
            say_notices()
            finished = self._conclude(controller, usage)
            artifact.close()
        if interruption is not None and not _is_ours(interruption):
            raise interruption  # Prefect's own: a cancellation or a timeout, whose state Prefect sets
        return finished

    def _process(self) -> Process:
        """The task to map."""
        return process_row_group if self.saving is None else with_results_in(self.saving.result(), self.ticket)

    def _make_rows(self, controller: Controller) -> BaseException | None:
        """Run the controller and finalize; whatever interrupted them, to be raised when all is written."""
        try:
            controller.run()
            if controller.error is None:
                controller.judge(final=True)
            if controller.error is None and self.blueprint.processors(Stage.AFTER_GENERATION):
                finalize(FinalizeWork(controller.runtime))
        except DatagenError as error:
            controller.stop(error)
        except BaseException as interruption:  # noqa: BLE001 - raised again once the verdict is written
            controller.interrupt(interruption)
            return interruption
        return None

    def _usage(self, controller: Controller) -> Mapping[str, ModelUsage]:
        """End the engine and take its account; answers that it could not store are an error of the run."""
        runtime = controller.runtime
        controller.error = controller.error or runtime.finish()
        try:
            known = runtime.usage()
            return _with_workers(known, self.store) if self.workers.are_elsewhere else known
        except SinkError as error:
            controller.error = controller.error or error
            return runtime.driver.access.usage()

    def _conclude(self, controller: Controller, usage: Mapping[str, ModelUsage]) -> Finished:
        """Write the verdict, and show it."""
        runtime = controller.runtime
        for line in runtime.blueprint.sampler.acceptance():
            run_log().info("%s", line)
        metadata = make_metadata(
            ticket=self.ticket,
            plan=controller.plan,
            outcomes=controller.outcomes,
            manifests=controller.manifests.values(),
            error=controller.error,
            checks=controller.check_results(final=controller.error is None),
            schema=self.blueprint.final_schema,
            usage=usage,
            estimate=self.estimate,
            spent=runtime.driver.access.usage(),
            started_at=self.started_at,
        )
        error = self._write(metadata, controller.error)
        url = self.ticket.run.results_url
        show_outcomes(metadata, controller.manifests, store=self.store, results_url=url)
        run_log().info("%s: %s", metadata.status.value, summary(metadata))
        return Finished(metadata, error)

    def _write(self, metadata: DatasetMetadata, error: DatagenError | None) -> DatagenError | None:
        """Write the verdict; the first error is what the user must see, and a full disk explains the second by itself."""
        try:
            self.store.write_metadata(metadata)
        except DatagenError as unwritten:
            run_log().error("metadata not written: %s", unwritten)
            return error or unwritten
        return error


def _with_workers(known: dict[str, ModelUsage], store: RowGroupStore) -> dict[str, ModelUsage]:
    """What the dataset cost, by alias. A worker whose journal is not here (another machine, or none) is known only by
    what it committed."""
    committed = add_usage(manifest.usage for manifest in store.committed().values())
    aliases = known.keys() | committed.keys()
    empty = ModelUsage()
    return {
        alias: max(known.get(alias, empty), committed.get(alias, empty), key=lambda usage: usage.calls)
        for alias in sorted(aliases)
    }


def _set_out(store: RowGroupStore, prepared: Preparation) -> None:
    """Bring the sink to where the run starts from."""
    course, blueprint = prepared.decision.course, prepared.blueprint
    if store.run_record() != prepared.recorded:
        raise SinkError(f"{store.location} was changed by another process just now; run again", path=store.location)
    if course in (Course.SUPERSEDE, Course.RENEW):
        for difference in prepared.decision.differences:
            run_log().warning("differs from the dataset in %s: %s", store.location, difference)
        run_log().warning("the dataset in %s is set aside; nothing is deleted", store.location)
        store.supersede(with_journal=course is Course.RENEW)
    if course is Course.REPAIR:
        _mark_as_building(store)
        for index in repairable_row_groups(store, store.committed()):
            store.discard(index)
    store.write_config(blueprint.config.to_yaml())
    if course not in (Course.CONTINUE, Course.REPAIR):
        store.write_run(
            RunRecord(
                seed=prepared.seed,
                row_group_size=prepared.plan.row_group_size,
                fingerprint=fingerprint(blueprint.fingerprint_parts),
                fingerprint_parts=blueprint.fingerprint_parts,
                library_version=VERSION,
                created_at=datetime.now(UTC),
            )
        )


def _plan_under_lock(prepared: Preparation, store: RowGroupStore) -> Plan:
    """The plan of now: another process may have committed since the look without a lock."""
    plan = prepared.plan
    if prepared.stamp is not None and store.stamp() == prepared.stamp:
        return plan
    return make_plan(plan.num_records, row_group_size=plan.row_group_size, committed=store.committed())


def _mark_as_building(store: RowGroupStore) -> None:
    """A dataset that is extended or repaired is not what its metadata says until the run is over."""
    before = store.metadata()
    if before is not None and before.status is not Verdict.BUILDING:
        store.write_metadata(before.model_copy(update={"status": Verdict.BUILDING}))


def _is_ours(interruption: BaseException) -> bool:
    """Whether the run ends as Cancelled by its own word: Ctrl-C, or SIGTERM where no runner of Prefect sent it.

    A deployment's SIGTERM may mean cancelling, rescheduling or eviction: Prefect knows, and sets the state.
    """
    if isinstance(interruption, TerminationSignal):
        return deployment.id is None
    return isinstance(interruption, KeyboardInterrupt)


def _say(plan: Plan, location: str) -> None:
    if not plan.todo:
        run_log().info("%s is complete already: %d row groups reused, nothing to do", location, len(plan.reused))
    elif plan.reused:
        run_log().info("%s: %d row groups reused, %d to do", location, len(plan.reused), len(plan.todo))
    else:
        run_log().info("%s: %d rows in %d row groups", location, plan.num_records, len(plan.todo))


def _check_batches(config: DatasetConfig, request: RunRequest) -> None:
    """Batches are written down in the journal: without one a kill would lose what is paid for. Previews ask live."""
    batched = next((model.alias for model in config.model_configs if model.mode is Mode.BATCH), None)
    if batched is not None and request.run.task_runner is not TaskRunnerKind.THREADS:
        raise ConfigError(
            f"model {batched!r}: `mode: batch` waits for hours and costs no CPU; use `task_runner: threads`, not "
            f"{request.run.task_runner.value!r}, or `mode: live`"
        )
    if batched is not None and not request.run.journal and not isinstance(request.sink, InMemoryRowGroupSink):
        raise ConfigError(
            f"model {batched!r}: `mode: batch` needs the journal; leave out --no-journal, or use `mode: live`"
        )


def _callback(given: OutcomeCallback | str | None, folder: Path) -> OutcomeCallback | None:
    return load_function(given, folder) if isinstance(given, str) else given
