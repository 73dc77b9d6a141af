"""The asyncio half of the engine: carries out the scheduler's instructions; each result is the scheduler's next event.

One driver per run and process, on one event loop (`engine/loop_thread.py`), shared by all row groups in the process. It
owns tasks, timers and threads; states are in `SchedulerState`, values in `RowGroup`, limits in `ModelAccess`.

The *pump* gives free slots to waiting calls and ready cells. It runs once per tick of the loop, however many cells ended
in it, and commits the journal before it lets any further call go: an answer is on disk before its slot is used again, so
a kill costs at most the calls in flight. When the last row group has left, the journal may rest.

`stop(error)` ends the run early: nothing is dispatched any more, what is in flight may come back for a grace period, is
cancelled then, and every row group that was admitted ends, completed or aborted. After `aclose` nothing of the driver
runs, and no timer is left.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any

from prefect_datagen.engine.cell_models import CellModels
from prefect_datagen.engine.errors import (
    CellError,
    DatagenError,
    EarlyShutdownError,
    ErrorKind,
    InternalError,
    ModelError,
    ProcessorError,
    RunInterruptedError,
)
from prefect_datagen.engine.graph import ColumnGraph
from prefect_datagen.engine.health import Circuit
from prefect_datagen.engine.limits import LimiterStatistics
from prefect_datagen.engine.model_access import ModelAccess
from prefect_datagen.engine.model_ports import ModelPort
from prefect_datagen.engine.node import INLINE, LOOP, THREADS, Batch, Cell, ColumnNode, FullColumn, RowKey
from prefect_datagen.engine.retry import RetryPolicy, Tries
from prefect_datagen.engine.row_group import WHOLE_COLUMN, CellTrace, Failure, RowGroup
from prefect_datagen.engine.scheduler_state import (
    CellCancelled,
    CellDeferred,
    CellDone,
    CellDue,
    CellId,
    CellRejected,
    CellSkipped,
    ColumnCancelled,
    ColumnDone,
    Drain,
    Event,
    FinishRowGroup,
    Instruction,
    Positions,
    RowGroupAdmitted,
    SalvageDue,
    SchedulerState,
    ScheduleSalvage,
    SlotFree,
    StartCell,
    StartColumn,
)
from prefect_datagen.engine.usage import UsageCounter
from prefect_datagen.engine.values import fit, from_numpy

_THREAD_PATIENCE = 5.0  # seconds that a cancelled run waits for user code in a thread


@dataclass(frozen=True)
class DriverSettings:
    """How a driver behaves. Times in seconds."""

    retry: RetryPolicy = field(default_factory=RetryPolicy)
    shutdown_grace: float = 30.0
    slow_call: float = 30.0
    max_loop_cells: int = 256
    max_thread_cells: int = 8
    trace: bool = False


@dataclass(frozen=True)
class DriverStatistics:
    """A look at the driver: one frozen snapshot for progress lines, artifacts and tests.

    `limiters` and `circuits` are by alias, or by `alias@endpoint` where an alias has several endpoints.
    """

    row_groups: int
    cells: dict[str, int]
    queued: dict[str, int]
    in_flight: dict[str, int]
    rows_finished: int
    cells_finished: int
    limiters: dict[str, LimiterStatistics]
    circuits: dict[str, str]
    draining: bool


class _Place:
    """Slots of the thread pool or of the event loop for user code: a plain count."""

    def __init__(self, ceiling: int) -> None:
        self.ceiling = ceiling
        self.in_flight = 0


class Driver:
    """See the module's docstring. All methods but the constructor run on the event loop."""

    def __init__(
        self,
        graph: ColumnGraph,
        *,
        access: ModelAccess,
        threads: Executor,
        settings: DriverSettings | None = None,
        notify: Callable[[str], None] = lambda text: None,
        seed: int = 0,
    ) -> None:
        self.graph = graph
        self.access = access
        self.settings = settings or DriverSettings()
        self.error: DatagenError | None = None
        self.cells_finished = 0
        self.rows_finished = 0
        self._state = SchedulerState(graph)
        self._threads = threads
        self._notify = notify
        self._rng = random.Random(seed)
        self._groups: dict[int, RowGroup] = {}
        self._ends: dict[int, asyncio.Future[bool]] = {}
        self._salvage_rounds: Counter[int] = Counter()
        self._tries: dict[CellId, Tries] = {}
        self._running: dict[CellId | tuple[int, int], tuple[asyncio.Task[None], float]] = {}
        self._places = {LOOP: _Place(self.settings.max_loop_cells), THREADS: _Place(self.settings.max_thread_cells)}
        self._timers: set[asyncio.TimerHandle] = set()
        self._pump_due = False
        self._ticker: asyncio.Task[None] | None = None
        self._last_progress = access.clock()
        self._tripped: ModelPort | None = None
        self._alarms: dict[str, float] = {}
        access.wake = self._wake
        access.budget_exceeded = self.stop
        for limit in access.shared_limits():
            limit.watchers.add(self._wake)

    # --- the outside -----------------------------------------------------------------------------------------------

    async def run_row_group(self, group: RowGroup) -> bool:
        """Fill the columns of a row group. Returns whether it is complete; False where the run was stopped on the way.

        When this is cancelled, the row group's cells are cancelled and awaited first.

        Raises:
            ProcessorError: a full-column generator failed; the run is stopped, too.
            InternalError: a bug; the run is stopped, too.
        """
        loop = asyncio.get_running_loop()
        if self._ticker is None:
            self._ticker = loop.create_task(self._tick())
        for node in self.graph.nodes:
            group.open_column(node)
        group.admitted = self.access.clock()
        self._groups[group.index] = group
        end = self._ends[group.index] = loop.create_future()
        self._handle(RowGroupAdmitted(group.index, group.rows, group.skipped))
        try:
            complete: bool = await end
            self._note_skips(group)
            return complete
        finally:
            if not end.done() or end.cancelled():
                self.stop(RunInterruptedError(f"row group {group.index} was cancelled", row_group=group.index))
            await self._cancel_row_group(group.index)
            self._state.release(group.index)
            del self._groups[group.index], self._ends[group.index]
            self._salvage_rounds.pop(group.index, None)
            self._wake()  # for the last answers, and the journal's rest

    def _note_skips(self, group: RowGroup) -> None:
        """Write the skip values of cells that were skipped because an input was, and count skipped cells."""
        for index, node in enumerate(self.graph.nodes):
            skipped = self._state.skipped_cells(group.index, index)
            if skipped.any():
                group.note_skips(node, skipped.nonzero()[0].tolist())
        self.rows_finished += group.rows

    def stop(self, error: DatagenError, *, grace: float | None = None) -> None:
        """End the run early because of `error`; the first one counts. May be called at any time, any number of times."""
        first = self.error is None
        if first:
            self.error = error
            self.access.send_no_more()
            self._handle(Drain())
        if first or grace is not None:
            self._later(self.settings.shutdown_grace if grace is None else grace, self._cancel_all)

    async def aclose(self) -> None:
        """Cancel and await whatever is left. Nothing of the driver runs afterwards. Where the last answers cannot be
        put on disk, `error` says so."""
        if self._ticker is not None:
            self._ticker.cancel()
            await asyncio.gather(self._ticker, return_exceptions=True)
            self._ticker = None
        if self._groups:
            self.stop(RunInterruptedError("the engine was closed while row groups were in it"), grace=0.0)
        self._cancel_all()
        await asyncio.gather(*(task for task, _ in self._running.values()), return_exceptions=True)
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        for limit in self.access.shared_limits():
            limit.left_by(self._wake)
        try:
            self.access.commit()
        except DatagenError as error:
            self.error = self.error or error

    def statistics(self) -> DriverStatistics:
        """A snapshot."""
        state = self._state.statistics()
        now = self.access.clock()
        ports = self.access.ports
        endpoints = dict(each for port in ports.values() for each in port.named_endpoints())
        return DriverStatistics(
            row_groups=state.row_groups,
            cells=state.cells,
            queued=state.queued,
            in_flight={alias: port.in_flight for alias, port in ports.items()},
            rows_finished=self.rows_finished,
            cells_finished=self.cells_finished,
            limiters={name: endpoint.limiter.statistics(now) for name, endpoint in endpoints.items()},
            circuits={name: endpoint.circuit.state.value for name, endpoint in endpoints.items()},
            draining=state.draining,
        )

    def __repr__(self) -> str:
        return f"Driver({self.statistics()!r})"

    # --- events and instructions -----------------------------------------------------------------------------------

    def _handle(self, event: Event) -> None:
        """Give the scheduler an event and carry out what it says; inline cells answer at once, hence the queue."""
        todo: deque[Instruction] = deque(self._state.handle(event))
        while todo:
            instruction = todo.popleft()
            if isinstance(instruction, StartCell):
                if self.graph.nodes[instruction.cell.node].resource == INLINE:
                    todo.extend(self._state.handle(self._make_now(instruction.cell)))
                else:
                    self._start(instruction.cell, self._make(instruction.cell), CellCancelled(instruction.cell))
            elif isinstance(instruction, StartColumn):
                key = (instruction.row_group, instruction.node)
                self._start(key, self._make_column(instruction), ColumnCancelled(*key, instruction.rows))
            elif isinstance(instruction, ScheduleSalvage):
                self._schedule_salvage(instruction.row_group)
            else:
                self._finish(instruction)
        self._wake()

    def _start(
        self, key: CellId | tuple[int, int], work: Coroutine[Any, Any, None], cancelled: CellCancelled | ColumnCancelled
    ) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._running[key] = (task, self.access.clock())
        task.add_done_callback(lambda done: self._note_end(key, done, cancelled))

    def _note_end(
        self,
        key: CellId | tuple[int, int],
        task: asyncio.Task[None],
        cancelled: CellCancelled | ColumnCancelled,
    ) -> None:
        """A task that was cancelled before its first step never ran, and so has not told the scheduler."""
        if key not in self._running or self._running[key][0] is not task:
            return
        del self._running[key]
        if isinstance(key, CellId):
            self._give_back(self.graph.nodes[key.node].resource)
        self._handle(cancelled)

    def _give_back(self, resource: str) -> None:
        """Free a slot that was held and not used."""
        if resource in self._places:
            self._places[resource].in_flight -= 1
        else:
            self.access.port(resource).give_back()

    def _finish(self, instruction: FinishRowGroup) -> None:
        end = self._ends[instruction.row_group]
        if not end.done():
            end.set_result(instruction.complete)

    def _schedule_salvage(self, row_group: int) -> None:
        self._salvage_rounds[row_group] += 1
        delay = self.settings.retry.salvage_delay(self._salvage_rounds[row_group], self._rng)
        self._later(delay, lambda: self._handle(SalvageDue(row_group)))

    def _later(self, delay: float, action: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()

        def fire() -> None:
            self._timers.discard(timer)
            action()

        timer = loop.call_later(delay, fire)
        self._timers.add(timer)

    # --- slots -----------------------------------------------------------------------------------------------------

    def _wake(self) -> None:
        """See that the pump runs at the end of this tick: one round of the loop later than it could, so that answers
        that are read meanwhile share its transaction."""
        if not self._pump_due:
            self._pump_due = True
            loop = asyncio.get_running_loop()
            loop.call_soon(loop.call_soon, self._pump)

    def _pump(self) -> None:
        self._pump_due = False
        try:
            self.access.commit()
        except DatagenError as error:
            self.stop(error, grace=0.0)
            return
        if not self._groups:
            self.access.journal.rest()
        now = self.access.clock()
        for alias, port in self.access.ports.items():
            while port.has_slot(now):
                if port.waiters:
                    waiter = port.waiters.popleft()
                    if waiter.done():
                        continue
                    waiter.set_result(port.reserve(now, avoid=waiter.avoid))
                elif alias in self.graph.resources and self._state.queued(alias):
                    port.granted.append(port.reserve(now))
                    self._handle(SlotFree(alias))
                else:
                    break
            else:
                self._wait_for_time(alias, now)
        for resource, place in self._places.items():
            while resource in self.graph.resources and place.in_flight < place.ceiling and self._state.queued(resource):
                place.in_flight += 1
                self._handle(SlotFree(resource))

    def _wait_for_time(self, alias: str, now: float) -> None:
        """Where a pause, a probe or a budget holds calls back, look again when it is over."""
        port = self.access.ports[alias]
        if not (port.waiters or self._state_queued(alias)):
            return
        port.unserved(now)
        wait = port.wait(now)
        if wait is None:
            return
        if self._alarms.get(alias, 0.0) <= now:  # one alarm at a time: the pump runs often
            self._alarms[alias] = now + wait
            self._later(wait + 0.001, self._wake)

    def _state_queued(self, resource: str) -> int:
        return self._state.queued(resource) if resource in self.graph.resources else 0

    # --- cells -----------------------------------------------------------------------------------------------------

    def _make_now(self, cell: CellId) -> Event:
        """An INLINE cell, made at once."""
        node, group = self.graph.nodes[cell.node], self._groups[cell.row_group]
        try:
            inputs = group.inputs(node, cell.row)
            if node.skip is not None and node.skip.applies(inputs):
                group.skip_cell(node, cell.row)
                return CellSkipped(cell)
            values = node.generator.generate_now(inputs)  # type: ignore[union-attr]
            group.set_cell(node, cell.row, _fitted(node, values))
        except CellError as error:
            group.reject(cell.row, Failure(node.name, error, attempts=1))
            return CellRejected(cell)
        except Exception as error:  # noqa: BLE001 - boundary: a bug ends the run, and is never only logged
            self._fail(cell.row_group, _bug(error, node, cell.row_group))
            return CellCancelled(cell)
        self._count_cell()
        return CellDone(cell)

    async def _make(self, cell: CellId) -> None:
        """A cell that needs a slot; the slot is held when this starts, and free when it ends."""
        node, group = self.graph.nodes[cell.node], self._groups[cell.row_group]
        tries = self._tries.get(cell) or Tries()
        tries.calls += 1
        key = group.keys[cell.row]
        models = CellModels(
            self.access,
            column=node.name,
            row=key,
            reserved=node.resource if node.resource not in self._places else None,
            usage=group.usage,
            attempt=tries.failures + tries.push_backs,
        )
        started = self.access.clock()
        event: Event = CellCancelled(cell)
        status = "cancelled"
        try:
            inputs = group.inputs(node, cell.row)
            if node.skip is not None and node.skip.applies(inputs):
                group.skip_cell(node, cell.row)
                event, status = CellSkipped(cell), "skipped"
            else:
                work = Cell(node.name, cell.row_group, key, tries.calls - 1, inputs, models)
                values = await node.generator.generate(work)  # type: ignore[union-attr]
                models.raise_if_cut_short()
                group.set_cell(node, cell.row, _fitted(node, values))
                self._observe(node, None)
                event, status = CellDone(cell), "done"
        except (ModelError, CellError) as error:
            if not models.cut_short:
                event, status = self._failed(cell, node, group, error, tries)
        except asyncio.CancelledError:
            pass  # only the driver cancels: the cell's fate is the scheduler's to say
        except DatagenError as error:
            self._fail(cell.row_group, error)
        except Exception as error:  # noqa: BLE001 - boundary: a bug ends the run, and is never only logged
            if not models.cut_short:
                self._fail(cell.row_group, _bug(error, node, cell.row_group))
        models.close()
        if node.resource in self._places:
            self._places[node.resource].in_flight -= 1
        del self._running[cell]
        if self.settings.trace:
            group.trace.append(self._trace_of(cell, key, started, status, tries, models))
        if status in ("done", "skipped"):
            self._tries.pop(cell, None)
            self._count_cell()
        self._handle(event)

    def _failed(
        self, cell: CellId, node: ColumnNode, group: RowGroup, error: ModelError | CellError, tries: Tries
    ) -> tuple[Event, str]:
        """What follows from a cell's error: another try, a rejected row, or the end of the run."""
        if isinstance(error, ModelError):
            if error.kind is ErrorKind.FATAL:
                self.stop(error)
                return CellCancelled(cell), "cancelled"
            again = self.settings.retry.decide(error, tries, self._rng)
            if again is not None:
                self._tries[cell] = tries
                if not again.salvage:
                    self._later(again.delay, lambda: self._handle(CellDue(cell)))
                return CellDeferred(cell, salvage=again.salvage), "deferred"
        group.reject(cell.row, Failure(node.name, error, attempts=tries.calls))
        self._tries.pop(cell, None)
        self._observe(node, f"{error.reason} from {getattr(error, 'endpoint', None) or node.resource}")
        return CellRejected(cell), "rejected"

    def _observe(self, node: ColumnNode, cause: str | None) -> None:
        """Let the early-shutdown rule of the node's model see the end of a cell."""
        port = self.access.ports.get(node.resource)
        if port is None:
            return
        if port.rule.observe(cause) and self.error is None:
            self._tripped = port
            self.stop(_tripped_rule(port))
        elif self._tripped is port:
            self.error = _tripped_rule(port)  # calls that were in flight when it tripped count, too

    def _count_cell(self) -> None:
        self.cells_finished += 1
        self._last_progress = self.access.clock()

    def _trace_of(
        self, cell: CellId, key: RowKey, started: float, status: str, tries: Tries, models: CellModels
    ) -> CellTrace:
        group, now = self._groups[cell.row_group], self.access.clock()
        finished, row = group.finished, cell.row
        queued = group.admitted  # a cell is queued from the moment that the last of its inputs was there
        for wait in self.graph.waits_for[cell.node]:
            at = finished.get((wait, row)) or finished.get((wait, WHOLE_COLUMN))
            if at is not None and at > queued:
                queued = at
        finished[cell.node, row] = now
        record = models.record
        return CellTrace(
            self.graph.nodes[cell.node].name,
            cell.row_group,
            key.index,
            key.copy,
            queued,
            started,
            now,
            status,
            tries.calls,
            record.input_tokens,
            record.output_tokens,
        )

    # --- full columns ----------------------------------------------------------------------------------------------

    async def _make_column(self, start: StartColumn) -> None:
        node, group = self.graph.nodes[start.node], self._groups[start.row_group]
        started = self.access.clock()
        event: Event = ColumnCancelled(start.row_group, start.node, start.rows)
        try:
            loop = asyncio.get_running_loop()
            rows, skipped, rejected = _split_by_skip(node, group, start.rows)
            batch = _batch(node, group, rows, self.graph)
            made = await _in_thread(loop.run_in_executor(self._threads, node.generator.generate_batch, batch))  # type: ignore[union-attr]
            event = _take_column(node, group, start, made, rows, skipped, rejected)
            self.cells_finished += len(start.rows)
            self._last_progress = self.access.clock()
        except asyncio.CancelledError:
            pass
        except DatagenError as error:
            self._fail(start.row_group, error)
        except Exception as error:  # noqa: BLE001 - boundary: user code failed; the run ends with its error
            self._fail(start.row_group, _column_failed(error, node, start.row_group))
        if self.settings.trace:
            now = group.finished[start.node, WHOLE_COLUMN] = self.access.clock()
            index = group.keys[0].index if group.keys else 0
            status = "done" if isinstance(event, ColumnDone) else "cancelled"
            group.trace.append(
                CellTrace(node.name, group.index, index, WHOLE_COLUMN, started, started, now, status, 1, 0, 0)
            )
        del self._running[(start.row_group, start.node)]
        self._handle(event)

    # --- ends ------------------------------------------------------------------------------------------------------

    def _fail(self, row_group: int, error: DatagenError) -> None:
        """A row group cannot go on, and so neither can the run."""
        end = self._ends[row_group]
        if not end.done():
            end.set_exception(error)
        self.stop(error)

    def _cancel_all(self) -> None:
        for task, _ in self._running.values():
            task.cancel()

    async def _cancel_row_group(self, row_group: int) -> None:
        """Cancel and await what runs for a row group. Nothing does where it ended by itself."""
        mine = [
            task
            for key, (task, _) in self._running.items()
            if (key.row_group if isinstance(key, CellId) else key[0]) == row_group
        ]
        for task in mine:
            task.cancel()
        await asyncio.gather(*mine, return_exceptions=True)

    async def _tick(self) -> None:
        """Once a second: circuits that ran out of time, calls that take long, a run that stands still."""
        reported: dict[CellId | tuple[int, int], float] = {}
        quiet_since = self.access.clock()
        while True:
            await asyncio.sleep(min(1.0, self.settings.slow_call))
            now = self.access.clock()
            self._check_circuits(now)
            reported = self._report_slow_calls(now, reported)
            quiet_since = max(quiet_since, self._last_progress)
            if self._awaits_batches():
                quiet_since = now
            elif self._groups and now - quiet_since >= self.settings.slow_call:
                self._notify(self._why_quiet(now))
                quiet_since = now

    def _awaits_batches(self) -> bool:
        """Whether calls are in batches, which take hours and are told of by their client."""
        return any(port.batches is not None and port.in_flight for port in self.access.ports.values())

    def _check_circuits(self, now: float) -> None:
        for alias, port in self.access.ports.items():
            circuits = [endpoint.circuit for endpoint in port.endpoints]
            if self.error is None and all(circuit.overdue(now) for circuit in circuits):
                for circuit in circuits:
                    circuit.open()
                self.stop(_given_up(alias, circuits))

    def _report_slow_calls(
        self, now: float, reported: dict[CellId | tuple[int, int], float]
    ) -> dict[CellId | tuple[int, int], float]:
        """Say once a period which calls have been pending for longer than that."""
        period = self.settings.slow_call
        due = {
            key: now
            for key, (_, started) in self._running.items()
            if isinstance(key, CellId)
            and not self._is_batched(key)
            and now - max(started, reported.get(key, started)) >= period
        }
        for key in list(due)[:5]:
            if isinstance(key, CellId):
                node, group = self.graph.nodes[key.node], self._groups[key.row_group]
                age = now - self._running[key][1]
                self._notify(
                    f"waiting for {node.resource!r} since {age:.0f} s: column {node.name!r}, "
                    f"row {group.keys[key.row].index} (row group {key.row_group})"
                )
        if len(due) > 5:
            self._notify(f"... and {len(due) - 5} more calls pending for over {period:g} s")
        kept = {key: at for key, at in reported.items() if key in self._running}
        return kept | due

    def _is_batched(self, cell: CellId) -> bool:
        port = self.access.ports.get(self.graph.nodes[cell.node].resource)
        return port is not None and port.batches is not None

    def _why_quiet(self, now: float) -> str:
        statistics = self.statistics()
        held = [
            f"{alias}: circuit {circuit}, limit {statistics.limiters[alias].limit}, "
            f"paused for {statistics.limiters[alias].paused_for:.0f} s"
            for alias, circuit in statistics.circuits.items()
        ]
        held += [
            f"{alias}: budget per minute is spent, next call in {wait:.0f} s"
            for alias, port in self.access.ports.items()
            if (wait := port.budget_wait(now)) > 0
        ]
        return (
            f"nothing finished for {now - self._last_progress:.0f} s: in flight {sum(statistics.in_flight.values())}, "
            f"ready {sum(statistics.queued.values())}, deferred {statistics.cells['deferred']}; " + "; ".join(held)
        )


def _given_up(alias: str, circuits: list[Circuit]) -> EarlyShutdownError:
    told = "; ".join(f"{circuit.failures} in a row, the last: {circuit.last_error}" for circuit in circuits)
    return EarlyShutdownError(
        f"stopped early: model {alias!r} gave nothing but retryable errors for {circuits[0].deadline:g} s ({told})",
        model=alias,
        cause=circuits[0].last_error,
        failed=sum(circuit.failures for circuit in circuits),
    )


def _tripped_rule(port: ModelPort) -> EarlyShutdownError:
    rule, alias = port.rule, port.spec.alias
    dominant, count = rule.causes.most_common(1)[0]
    return EarlyShutdownError(
        f"stopped early: {dominant} on {count} of {rule.total} cells of model {alias!r} "
        f"(shutdown_error_rate={rule.rate:g} over the last {rule.window} cells)",
        model=alias,
        cause=dominant,
        failed=rule.failed,
        calls=rule.total,
    )


def _fitted(node: ColumnNode, values: tuple[Any, ...]) -> list[Any]:
    return [fit(value, type_) for value, type_ in zip(values, node.types, strict=True)]


def _bug(error: Exception, node: ColumnNode, row_group: int) -> InternalError:
    internal = InternalError(
        f"column {node.name!r} in row group {row_group}: {type(error).__name__}: {error} (this is a bug in "
        "prefect-datagen; please report it)",
        column=node.name,
        row_group=row_group,
    )
    internal.__cause__ = error
    return internal


def _column_failed(error: Exception, node: ColumnNode, row_group: int) -> ProcessorError:
    failed = ProcessorError(
        f"generate: column {node.name!r} failed for row group {row_group}: {type(error).__name__}: {error}",
        stage="generate",
        column=node.name,
        row_group=row_group,
    )
    failed.__cause__ = error
    return failed


async def _in_thread(work: asyncio.Future[FullColumn]) -> FullColumn:
    """Wait for a thread's work. A thread cannot be cancelled: a cancellation waits for it, within reason, and goes on."""
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait([work], timeout=_THREAD_PATIENCE)
        raise


def _split_by_skip(
    node: ColumnNode, group: RowGroup, rows: Sequence[int]
) -> tuple[Positions, list[int], dict[int, CellError]]:
    """Rows to make, rows that the skip rule spares, rows whose skip rule cannot be told."""
    if node.skip is None:
        return Positions.of(rows), [], {}
    make: list[int] = []
    skipped: list[int] = []
    rejected: dict[int, CellError] = {}
    for row in rows:
        try:
            (skipped if node.skip.applies(group.inputs(node, row)) else make).append(row)
        except CellError as error:
            rejected[row] = error
    return Positions(make), skipped, rejected


def _batch(node: ColumnNode, group: RowGroup, rows: Positions, graph: ColumnGraph) -> Batch:
    types = {name: type_ for each in graph.nodes for name, type_ in zip(each.produces, each.types, strict=True)}
    take = None if len(rows) == group.rows else from_numpy(rows.array)
    arrays = {name: group.array(name, types.get(name)) for name in node.inputs}
    columns = arrays if take is None else {name: array.take(take) for name, array in arrays.items()}
    keys = group.keys if take is None else group.keys.take(rows.array)
    return Batch(group.index, keys, columns)


def _take_column(
    node: ColumnNode,
    group: RowGroup,
    start: StartColumn,
    made: FullColumn,
    rows: Positions,
    skipped: list[int],
    rejected: dict[int, CellError],
) -> ColumnDone:
    """Store a full column and say what became of its rows.

    Raises:
        ProcessorError: the generator changed the number of rows and did not declare `allow_resize`.
    """
    length = len(made.arrays[node.name])
    if made.parents is not None and node.allow_resize:
        parents = group.resize(node, made, rows)
        return ColumnDone(start.row_group, start.node, start.rows, parents=parents)
    if length != len(rows):
        raise ProcessorError(
            f"generate: column {node.name!r} returned {length} rows for the {len(rows)} of row group {group.index}; "
            "a function that changes the number of rows must declare allow_resize: true",
            stage="generate",
            column=node.name,
            row_group=group.index,
        )
    lost = {**{rows[at]: error for at, error in made.rejected.items()}, **rejected}
    group.set_column(node, made, rows)
    for row, error in lost.items():
        group.reject(row, Failure(node.name, error, attempts=1))
    return ColumnDone(start.row_group, start.node, start.rows, skipped=skipped, rejected=list(lost))


def frozen_usage(usage: dict[str, UsageCounter]) -> dict[str, Any]:
    """Counters of a row group as records."""
    return {alias: counter.freeze() for alias, counter in usage.items()}
