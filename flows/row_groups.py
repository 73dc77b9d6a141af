"""The controller: admits row groups, collects their outcomes, stops and drains the run. Used by build and preview alike.

Row groups are mapped as task runs of `process_row_group`, at most `max_concurrent_row_groups` at a time: the next is
mapped when one ends, in order, so neither the task runner nor memory ever holds more than that. The truth about a row
group is what its task returned to this process and what the sink says; nothing is read back from Prefect's server.

A run ends early on the first error that is not a row's own. Then: no row group is admitted any more, the engine drains for
the grace period, every admitted row group ends as completed or aborted, and only then does `run` return.
"""

from __future__ import annotations

import math
import queue
import time
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from operator import attrgetter
from typing import Any

from prefect import State
from prefect.context import FlowRunContext
from prefect.flow_engine import FlowRunTimeoutError

from prefect_datagen.config.checks import OnFail, UniqueCheck, merge, recount
from prefect_datagen.config.plan import Plan, RowGroupPlan
from prefect_datagen.engine.errors import (
    DatagenError,
    InternalError,
    ProcessorError,
    QualityError,
    RunInterruptedError,
    SinkError,
)
from prefect_datagen.engine.garbage import no_collection
from prefect_datagen.engine.loop_thread import event_loop
from prefect_datagen.engine.outcomes import CheckResult, CheckTally, Outcome, RowGroupManifest, RowGroupOutcome
from prefect_datagen.flows.backlog import Backlog
from prefect_datagen.flows.log import run_log
from prefect_datagen.flows.progress import ProgressSnapshot
from prefect_datagen.flows.workers import RowGroupFuture, Workers
from prefect_datagen.tasks.process_row_group import Process
from prefect_datagen.tasks.runtime import Runtime

INTERRUPT_GRACE = 5.0
"""Seconds that calls in flight may take to come back when a run is interrupted: it must end within ten."""

INTERRUPT_GRACE_ELSEWHERE = 3.0
"""The same for calls of workers, which hear of it a little later and whose processes have to end, too."""

MOST_DRAINING = 8.0
"""Seconds after which an interrupted run waits no longer for row groups whose user code does not return."""

MOST_CACHED_SHOWN = 3
"""Committed row groups that a resume shows as Cached task runs. Each costs tens of milliseconds here and on the server,
and the table of row groups shows them all."""

_TIMEOUT_PATIENCE = 0.25
"""Seconds that Prefect has to end a run that exceeds the flow's timeout, before the controller does."""

MOST_TRIES = 3
"""Times that a row group is given to a worker. A row group whose workers always die kills them."""

OutcomeCallback = Callable[[RowGroupOutcome], object]


def _timeout_of_flow() -> float:
    """When the flow's timeout is over for certain, by the monotonic clock.

    Prefect raises it once, wherever the flow's thread is, and Python drops what is raised while an object is finalized. A
    thread that waits hears of it only when it goes on.
    """
    context = FlowRunContext.get()
    if context is None or context.flow is None or context.flow.timeout_seconds is None:
        return math.inf
    since = (datetime.now(UTC) - context.start_time).total_seconds()
    return time.monotonic() - since + context.flow.timeout_seconds + _TIMEOUT_PATIENCE


@dataclass
class Controller:
    """One run's row groups. `error` says why it ended early, where it did; `outcomes` and `manifests` are by row group."""

    runtime: Runtime
    backlog: Backlog
    process: Process
    workers: Workers
    on_all_workers_died: Callable[[], None] = lambda: None
    on_row_group_complete: OutcomeCallback | None = None
    on_progress: Callable[[ProgressSnapshot], None] = lambda snapshot: None
    error: DatagenError | None = None
    outcomes: dict[int, RowGroupOutcome] = field(default_factory=dict)
    manifests: dict[int, RowGroupManifest] = field(default_factory=dict)
    _ended: queue.SimpleQueue[tuple[RowGroupPlan, RowGroupFuture] | None] = field(default_factory=queue.SimpleQueue)
    _admitted: dict[int, RowGroupPlan] = field(default_factory=dict)
    _tries: Counter[int] = field(default_factory=Counter)
    _restart_due: bool = False
    _tallies: dict[str, CheckTally] = field(default_factory=dict)
    _rows: Counter[str] = field(default_factory=Counter)
    _started: float = field(default_factory=time.monotonic)
    _give_up: float = math.inf
    _times_out: float = field(default_factory=_timeout_of_flow)

    @property
    def plan(self) -> Plan:
        """The plan, as far as it is known."""
        return self.backlog.plan

    def wake(self) -> None:
        """Look now whether there is something to admit. Any thread may call it."""
        self._ended.put(None)

    def run(self) -> None:
        """Make every row group of the plan that is to do. When this returns, none of them is running.

        Raises:
            KeyboardInterrupt, Prefect's TerminationSignal, or the flow's timeout: after draining, with `error` set. Only
                user code that does not return within `MOST_DRAINING` may still run; what it makes is not committed.
        """
        self._reuse()
        self._report()
        try:
            while (self._admitted and time.monotonic() < self._give_up) or (
                self.error is None and not self.backlog.exhausted
            ):
                if time.monotonic() >= self._times_out:
                    raise FlowRunTimeoutError("the flow's timeout is over")
                self._admit()
                self._wait_for_one()
        except BaseException as interruption:
            self.interrupt(interruption)
            while self._admitted and time.monotonic() < self._give_up:
                self._wait_for_one()
            raise
        finally:
            for index in self._admitted:
                self._end_aborted(index, "it did not end in time when the run was told to")
            for plan in self.backlog.rest():
                self._end_aborted(plan.index, "never started")
            self._report()

    def _reuse(self) -> None:
        """Count committed row groups; show a few as Cached task runs (many would cost a run each, to do nothing)."""
        reused = dict(sorted(self.plan.reused.items()))
        with no_collection():
            for index, manifest in reused.items():
                self.outcomes[index] = RowGroupOutcome(index=index, outcome=manifest.outcome, reused=True)
        self.manifests |= reused
        self._count(reused.values())
        self._rows["reused"] += sum(manifest.requested for manifest in reused.values())
        if self.workers.are_elsewhere:
            return
        some = islice(reused.values(), MOST_CACHED_SHOWN)
        for _, future in self._map([RowGroupPlan(each.index, each.start_row, each.planned) for each in some]):
            future.wait()

    def stop(self, error: DatagenError, *, grace: float | None = None) -> None:
        """End the run early because of `error`; the first one counts."""
        if self.error is None:
            self.error = error
            if isinstance(error, RunInterruptedError):
                self._give_up = time.monotonic() + MOST_DRAINING
        self.runtime.stop(error, grace=grace)
        if self.workers.are_elsewhere:
            try:
                self.runtime.store.tell_to_stop(error.message, grace=grace)
            except SinkError as unwritten:
                run_log().warning("workers are not told that the run is ending: %s", unwritten)

    def interrupt(self, cause: BaseException) -> None:
        """End the run because somebody told it to, quickly."""
        grace = INTERRUPT_GRACE_ELSEWHERE if self.workers.are_elsewhere else INTERRUPT_GRACE
        self._times_out = math.inf
        self.stop(interrupted(cause), grace=grace)
        self._report()

    def check_results(self, *, final: bool) -> list[CheckResult]:
        """The verdict of every quality gate on the rows so far."""
        checks = self.runtime.blueprint.config.checks
        return [check.judge(self._tallies.get(check.name, CheckTally()), final=final) for check in checks]

    def judge(self, *, final: bool) -> None:
        """Stop the run where a gate that fails it does; at the end, count repeated values over all row groups."""
        if final:
            for check in self.runtime.blueprint.config.checks:
                if isinstance(check, UniqueCheck):
                    self._tallies[check.name] = recount(check, self.runtime.store.generated())
        for result in self.check_results(final=final):
            if not result.passed and result.on_fail == OnFail.FAIL_RUN:
                self.stop(
                    QualityError(
                        f"quality gate {result.name!r} failed: {result.message}; {result.limit}",
                        check=result.name,
                        observed=result.observed,
                        rows=result.rows,
                    )
                )

    def _admit(self) -> None:
        free = self.runtime.row_groups_at_once - len(self._admitted)
        if self.error is not None or free <= 0 or self._restart_due:
            return
        plans = self.backlog.take(free)
        self._admitted |= {plan.index: plan for plan in plans}
        self._tries.update(plan.index for plan in plans)
        for plan, future in self._map(plans):
            future.add_done_callback(partial(self._note_end, plan))

    def _map(self, plans: list[RowGroupPlan]) -> list[tuple[RowGroupPlan, RowGroupFuture]]:
        if not plans:
            return []
        return list(zip(plans, self.workers.map(self.process, self.runtime.ticket, plans), strict=True))

    def _note_end(self, plan: RowGroupPlan, future: RowGroupFuture) -> None:
        self._ended.put((plan, future))

    def _wait_for_one(self) -> None:
        """Take one ended row group, if one ends within the progress interval; report in any case."""
        left = max(0.0, min(self._give_up, self._times_out) - time.monotonic())
        try:
            ended = self._ended.get(timeout=min(left, self.runtime.ticket.run.progress_interval))
        except queue.Empty:
            ended = None
        if ended is not None:
            plan, future = ended
            del self._admitted[plan.index]
            self._take(plan, self.workers.final_state(future))
        engine_error = self.runtime.driver.error
        if engine_error is not None and self.error is None:
            self.stop(engine_error)
        if self.backlog.error is not None and self.error is None:
            self.stop(RunInterruptedError(self.backlog.error, cause=self.backlog.error))
        self._report()

    def _take(self, plan: RowGroupPlan, state: State[Any] | None) -> None:
        self._judge_end(plan, state)
        if self._restart_due and not self._admitted:  # the last of those that died together is accounted for
            self._restart_due = False
            self.workers.close(at_once=True)
            self.on_all_workers_died()

    def _judge_end(self, plan: RowGroupPlan, state: State[Any] | None) -> None:
        if state is not None:
            self._end(self._outcome(plan, state))
            self.judge(final=False)
        elif self.error is not None:
            self._end_aborted(plan.index, "its worker died while the run was ending")
        elif self._tries[plan.index] < MOST_TRIES:
            run_log().warning("the worker of row group %d died; the row group is given to another", plan.index)
            self.backlog.put_back(plan)
            self._restart_due = self.workers.die_together
        else:
            error = InternalError(
                f"row group {plan.index}: {MOST_TRIES} workers died while they made it (out of memory?); fewer rows in a "
                "row group, or fewer row groups at a time, need less",
                row_group=plan.index,
            )
            self.stop(error)
            self._end(
                RowGroupOutcome(
                    index=plan.index, outcome=Outcome.FAILED, error_type="InternalError", message=error.message
                )
            )

    def _outcome(self, plan: RowGroupPlan, state: State[Any]) -> RowGroupOutcome:
        if state.is_cancelled():
            return RowGroupOutcome(index=plan.index, outcome=Outcome.ABORTED, message=state.message)
        # A result that is there needs no way through Prefect's event loop.
        kept = getattr(state.data, "result", state.data)
        result = kept if isinstance(kept, RowGroupManifest) else state.result(raise_on_failure=False)
        if isinstance(result, RowGroupManifest):
            return RowGroupOutcome(
                index=plan.index, outcome=result.outcome, reused=state.name == "Cached", manifest=result
            )
        error = _as_error(result, plan, state)
        self.stop(error)
        return RowGroupOutcome(
            index=plan.index,
            outcome=Outcome.FAILED,
            stage=error.context().get("stage"),
            error_type=type(error).__name__,
            message=error.message,
        )

    def _end_aborted(self, index: int, why: str) -> None:
        self._end(RowGroupOutcome(index=index, outcome=Outcome.ABORTED, message=why))

    def _end(self, outcome: RowGroupOutcome) -> None:
        self.outcomes[outcome.index] = outcome.model_copy(update={"manifest": None})
        if outcome.manifest is not None:
            self.manifests[outcome.index] = outcome.manifest
            self._count([outcome.manifest])
            self._rows["reused"] += outcome.manifest.requested if outcome.reused else 0
            if self.workers.are_elsewhere and not outcome.reused:
                self._spend(outcome.manifest)
        if self.on_row_group_complete is None or outcome.reused:
            return
        try:
            self.on_row_group_complete(outcome)
        except Exception as error:  # noqa: BLE001 - user code: its failure is the run's
            failed = ProcessorError(
                f"on_row_group_complete failed for row group {outcome.index}: {type(error).__name__}: {error}",
                stage="on_row_group_complete",
                row_group=outcome.index,
            )
            failed.__cause__ = error
            self.stop(failed)

    def _count(self, manifests: Collection[RowGroupManifest]) -> None:
        for name in ("written", "rejected", "filtered"):
            self._rows[name] += sum(map(attrgetter(name), manifests))
        self._rows["groups"] += len(manifests)
        self._tallies = merge([self._tallies, *(manifest.checks for manifest in manifests if manifest.checks)])

    def _spend(self, manifest: RowGroupManifest) -> None:
        """Count against the run's budgets what a worker spent."""
        used = list(manifest.usage.values())
        tokens = sum(each.input_tokens + each.output_tokens for each in used)
        spent = partial(self.runtime.driver.access.spent, tokens, sum(each.cost for each in used))
        event_loop().call_soon_threadsafe(spent)

    def _report(self) -> None:
        self.on_progress(self.snapshot())

    def snapshot(self) -> ProgressSnapshot:
        """How far the run is."""
        rows = self._rows
        made = rows["written"] + rows["rejected"] + rows["filtered"] - rows["reused"]
        elapsed = time.monotonic() - self._started
        driver = self.runtime.driver
        ports = driver.access.ports
        endpoints = dict(each for port in ports.values() for each in port.named_endpoints())
        return ProgressSnapshot(
            rows_total=self.plan.num_records,
            rows_done=rows["written"],
            rows_rejected=rows["rejected"],
            rows_filtered=rows["filtered"],
            row_groups_total=self.plan.row_groups,
            row_groups_done=rows["groups"],
            row_groups_reused=len(self.plan.reused),
            cells_done=driver.cells_finished,
            cells_in_flight=sum(port.in_flight for port in ports.values()),
            elapsed=elapsed,
            rows_per_second=made / elapsed if elapsed > 0 else 0.0,
            tokens=driver.access.budget.tokens,
            limits={name: int(endpoint.limiter.limit) for name, endpoint in endpoints.items()},
            throttled={
                name: endpoint.limiter.throttled
                for name, endpoint in endpoints.items()
                if int(endpoint.limiter.limit) < endpoint.limiter.ceiling
            },
            circuits={name: endpoint.circuit.state.value for name, endpoint in endpoints.items()},
            batches={alias: port.batches.statistics() for alias, port in ports.items() if port.batches is not None},
            stopping=None if self.error is None else self.error.message,
            interrupted=isinstance(self.error, RunInterruptedError),
        )


def _as_error(result: object, plan: RowGroupPlan, state: State[Any]) -> DatagenError:
    if isinstance(result, DatagenError):
        return result
    error = InternalError(
        f"row group {plan.index}: {type(result).__name__}: {result} (state {state.name})", row_group=plan.index
    )
    if isinstance(result, BaseException):
        error.__cause__ = result
    return error


def interrupted(cause: BaseException) -> DatagenError:
    """The error of a run that was told to end by `cause`, such as a `KeyboardInterrupt`."""
    if isinstance(cause, DatagenError):
        return cause
    named = {"KeyboardInterrupt": "SIGINT", "TerminationSignal": "SIGTERM", "FlowRunTimeoutError": "the flow's timeout"}
    name = named.get(type(cause).__name__, type(cause).__name__)
    return RunInterruptedError(f"interrupted by {name}", cause=name)
