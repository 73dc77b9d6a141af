"""The driver against a model of ours: order, retries, rejections, early ends, accounting. No clock is waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pytest

from prefect_datagen.engine.answer_journal import NoJournal
from prefect_datagen.engine.chat import ChatAnswer
from prefect_datagen.engine.driver import Driver, DriverSettings
from prefect_datagen.engine.errors import (
    CellError,
    EarlyShutdownError,
    ErrorKind,
    InternalError,
    ModelError,
    ProcessorError,
    RunInterruptedError,
)
from prefect_datagen.engine.node import Batch, FullColumn
from prefect_datagen.engine.retry import RetryPolicy
from prefect_datagen.engine.run_budget import RunBudget
from tests.engine.engine_run import EngineRun, ask, now, row_group, rows_of, whole
from tests.engine.fake_model import FakeModel, echo, model_error


@dataclass
class SkipWhen:
    """A skip rule over the source column."""

    rows: set[str]
    value: Any = "skipped"
    inputs: tuple[str, ...] = ("s",)

    def applies(self, inputs: Mapping[str, Any]) -> bool:
        return inputs["s"] in self.rows


def test_dependent_cells_read_their_own_rows_answers() -> None:
    group = row_group(0, 3)
    run = EngineRun([ask("a", "s"), ask("b", "a"), now("c", "b", function=lambda row: row["b"].upper())])
    _, ends = run.run(group)
    assert ends == [True]
    assert rows_of(group, "b", "c")[2] == {"b": "<b:<a:2>>", "c": "<B:<A:2>>"}


def test_there_is_no_barrier_between_columns() -> None:
    """The first dependent cell is asked for long before its input column is finished."""
    run = EngineRun([ask("a", "s"), ask("b", "a")], ceiling=4)
    run.run(row_group(0, 50))
    first_dependent = next(at for at, prompt in enumerate(run.model.order) if prompt.startswith("b:"))
    assert first_dependent < 10


class RestingJournal(NoJournal):
    """Notes what is asked of it."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.rests = asyncio.Event()

    def put(self, key: bytes, answer: bytes) -> None:
        self.asked.append("put")

    def rest(self) -> None:
        self.asked.append("rest")
        self.rests.set()


def test_the_journal_rests_when_the_last_row_group_has_left_the_engine() -> None:
    journal = RestingJournal()
    run = EngineRun([ask("a", "s")], journal=journal)

    async def go() -> None:
        driver = await run.start()
        await asyncio.gather(*(driver.run_row_group(row_group(index, 5)) for index in range(3)))
        await asyncio.wait_for(journal.rests.wait(), 10)
        await driver.aclose()

    asyncio.run(go())
    run.threads.shutdown()
    assert journal.asked[:15] == 15 * ["put"]


def test_the_ceiling_is_reached_and_never_exceeded() -> None:
    run = EngineRun([ask("a", "s")], ceiling=8)
    run.run(row_group(0, 40), row_group(1, 40))
    assert run.model.most_in_flight == 8
    assert run.model.total == 80


def test_row_groups_finish_in_order_of_admission() -> None:
    order: list[int] = []

    async def go() -> None:
        run = EngineRun([ask("a", "s")], ceiling=4)
        driver = await run.start()

        async def one(index: int) -> None:
            await driver.run_row_group(row_group(index, 20))
            order.append(index)

        await asyncio.gather(*(one(index) for index in range(4)))
        await driver.aclose()

    asyncio.run(go())
    assert order == [0, 1, 2, 3]


def test_a_permanent_error_rejects_its_row_only_and_its_dependants_are_never_asked_for() -> None:
    def script(prompt: str, call: int) -> ChatAnswer | ModelError:
        return model_error(ErrorKind.PERMANENT, reason="400") if prompt == "a:1" else echo(prompt, call)

    group = row_group(0, 3)
    run = EngineRun([ask("a", "s"), ask("b", "a")], FakeModel(script))
    _, ends = run.run(group)
    assert ends == [True]
    assert [row["b"] for row in rows_of(group, "b")] == ["<b:<a:0>>", "<b:<a:2>>"]
    (rejected,) = group.rejected_rows()
    assert (rejected.row_index, rejected.column, rejected.reason, rejected.attempts) == (1, "a", "400", 1)
    assert rejected.values == {"s": "1"}
    assert not rejected.retryable
    assert run.model.calls["a:1"] == 1
    assert not any(prompt.startswith("b:") and ":1" in prompt for prompt in run.model.calls)


def test_a_retryable_error_is_tried_again_and_counted() -> None:
    def script(prompt: str, call: int) -> ChatAnswer | ModelError:
        return model_error(ErrorKind.RETRYABLE) if call == 0 and prompt == "a:1" else echo(prompt, call)

    group = row_group(0, 3)
    run = EngineRun([ask("a", "s")], FakeModel(script))
    driver, ends = run.run(group)
    assert ends == [True]
    assert len(rows_of(group, "a")) == 3
    usage = driver.access.usage()["m"]
    assert (usage.calls, usage.answers, usage.retries, usage.errors) == (4, 3, 1, 1)
    assert group.usage["m"].freeze() == usage


def test_a_row_that_keeps_failing_is_salvaged_last_and_then_rejected_as_retryable() -> None:
    def script(prompt: str, call: int) -> ChatAnswer | ModelError:
        return model_error(ErrorKind.RETRYABLE, reason="502") if prompt == "a:0" else echo(prompt, call)

    group = row_group(0, 12)
    run = EngineRun([ask("a", "s")], FakeModel(script), ceiling=1)
    run.settings = DriverSettings(retry=RetryPolicy(max_retries=0, salvage_rounds=2, first_delay=0.001))
    _, ends = run.run(group)
    assert ends == [True]
    (rejected,) = group.rejected_rows()
    assert rejected.attempts == 3
    assert rejected.retryable
    assert run.model.order[-2:] == ["a:0", "a:0"]  # after the rest of the row group


def test_a_push_back_is_no_failure_of_the_cell() -> None:
    def script(prompt: str, call: int) -> ChatAnswer | ModelError:
        if call < 5:
            return model_error(ErrorKind.THROTTLED, reason="429", retry_after=0.0)
        return echo(prompt, call)

    group = row_group(0, 2)
    run = EngineRun([ask("a", "s")], FakeModel(script))
    driver, ends = run.run(group)
    assert ends == [True]
    assert not group.rejected_rows()
    assert driver.access.usage()["m"].throttled == 10


def test_a_dead_endpoint_stops_the_run_after_a_few_calls_and_says_why() -> None:
    run = EngineRun(
        [ask("a", "s"), ask("b", "a")],
        FakeModel(lambda prompt, call: model_error(ErrorKind.PERMANENT, reason="401")),
        ceiling=8,
    )
    driver, ends = run.run(row_group(0, 500), row_group(1, 500))
    assert ends == [False, False]
    assert isinstance(driver.error, EarlyShutdownError)
    assert driver.error.message.startswith("stopped early: 401 from fake on ")
    assert run.model.total <= 8 + 2 * 20
    assert run.model.in_flight == 0


def test_disabled_early_shutdown_goes_on_at_a_hundred_percent() -> None:
    group = row_group(0, 100)
    run = EngineRun(
        [ask("a", "s")], FakeModel(lambda prompt, call: model_error(ErrorKind.PERMANENT, reason="400")), error_rate=None
    )
    driver, ends = run.run(group)
    assert ends == [True]
    assert driver.error is None
    assert len(group.rejected_rows()) == 100


def test_nothing_but_retryable_errors_opens_the_circuit_at_the_deadline() -> None:
    """A clock that runs ahead: the deadline passes without anybody waiting for it."""
    clock = [0.0]

    def tick() -> float:
        clock[0] += 0.01
        return clock[0]

    run = EngineRun(
        [ask("a", "s")],
        FakeModel(lambda prompt, call: model_error(ErrorKind.RETRYABLE, reason="503")),
        retry_deadline=1.0,
        clock=tick,
        settings=DriverSettings(retry=RetryPolicy(0, 0), shutdown_grace=0.01, slow_call=0.01),
        error_rate=None,
    )
    driver, ends = run.run(row_group(0, 400))
    assert ends == [False]
    assert isinstance(driver.error, EarlyShutdownError)
    assert "nothing but retryable errors" in driver.error.message
    assert run.model.total <= 8 + 2 * run.window


def test_a_budget_ends_the_run_and_completed_row_groups_stay() -> None:
    run = EngineRun([ask("a", "s")], ceiling=1, budget=RunBudget(max_total_tokens=30))
    driver, ends = run.run(row_group(0, 10), row_group(1, 10))
    assert ends == [True, False]
    assert isinstance(driver.error, EarlyShutdownError)
    assert driver.error.message == "max_total_tokens=30 reached (30 tokens)"
    assert run.model.total == 15


def test_stopping_drains_what_is_in_flight_and_cancels_it_after_the_grace() -> None:
    async def go() -> tuple[EngineRun, list[Any]]:
        run = EngineRun([ask("a", "s")], ceiling=4)
        run.model.hold()
        driver = await run.start()
        work = asyncio.gather(driver.run_row_group(row_group(0, 10)), return_exceptions=True)
        await run.model.reached(4)
        driver.stop(RunInterruptedError("told to"), grace=0.01)
        ends = await work
        await driver.aclose()
        return run, ends

    run, ends = asyncio.run(go())
    assert ends == [False]
    assert run.model.cancelled == 4
    assert run.model.total == 4


def test_calls_in_flight_may_come_back_and_complete_their_row_group() -> None:
    async def go() -> tuple[EngineRun, list[Any]]:
        run = EngineRun([ask("a", "s"), now("b", "a", function=lambda row: row["a"])], ceiling=4)
        run.model.hold()
        driver = await run.start()
        work = asyncio.gather(driver.run_row_group(row_group(0, 4)), driver.run_row_group(row_group(1, 4)))
        await run.model.reached(4)
        driver.stop(RunInterruptedError("told to"), grace=5.0)
        run.model.let_go()
        ends = await work
        await driver.aclose()
        return run, list(ends)

    run, ends = asyncio.run(go())
    assert ends == [True, False]
    assert run.model.total == 4


def test_skipped_cells_are_not_asked_for_hold_the_value_and_propagate() -> None:
    group = row_group(0, 3)
    run = EngineRun(
        [
            ask("a", "s", skip=SkipWhen({"1"})),
            ask("b", "a"),
            ask("c", "a", propagate_skip=False),
        ]
    )
    _, ends = run.run(group)
    assert ends == [True]
    rows = rows_of(group, "a", "b", "c")
    assert rows[1] == {"a": "skipped", "b": None, "c": "<c:skipped>"}
    assert group.skipped_by_column == {"a": 1, "b": 1}
    assert run.model.total == 2 + 2 + 3


def test_a_value_that_does_not_fit_its_type_rejects_the_row_not_the_row_group() -> None:
    group = row_group(0, 3)
    node = now("n", "s", function=lambda row: "x" if row["s"] == "1" else int(row["s"]), type_=pa.int64())
    _, ends = EngineRun([node]).run(group)
    assert ends == [True]
    assert [row.row_index for row in group.rejected_rows()] == [1]
    assert group.rejected_rows()[0].reason == "type"


def test_a_full_column_waits_for_all_rows_and_sees_live_ones_only() -> None:
    seen: list[list[str]] = []

    def function(batch: Batch) -> FullColumn:
        seen.append(batch.columns["a"].to_pylist())
        return FullColumn({"w": pa.array([text.upper() for text in batch.columns["a"].to_pylist()])})

    def script(prompt: str, call: int) -> ChatAnswer | ModelError:
        return model_error(ErrorKind.PERMANENT, reason="400") if prompt == "a:1" else echo(prompt, call)

    group = row_group(0, 3)
    run = EngineRun([ask("a", "s"), whole("w", "a", function=function)], FakeModel(script))
    _, ends = run.run(group)
    assert ends == [True]
    assert seen == [["<a:0>", "<a:2>"]]
    assert [row["w"] for row in rows_of(group, "w")] == ["<A:0>", "<A:2>"]


def test_a_full_column_that_raises_fails_the_run_with_its_place() -> None:
    def broken(batch: Batch) -> FullColumn:
        raise ZeroDivisionError("by zero")

    run = EngineRun([whole("w", "s", function=broken)])
    driver, ends = run.run(row_group(7, 3))
    (error,) = ends
    assert isinstance(error, ProcessorError)
    assert error.context() == {"stage": "generate", "column": "w", "row_group": 7}
    assert isinstance(error.__cause__, ZeroDivisionError)
    assert driver.error is error


def test_a_full_column_that_changes_the_row_count_is_refused() -> None:
    run = EngineRun([whole("w", "s", function=lambda batch: FullColumn({"w": pa.array(["only one"])}))])
    _, (error,) = run.run(row_group(0, 3))
    assert isinstance(error, ProcessorError)
    assert "returned 1 rows for the 3 of row group 0" in str(error)
    assert "allow_resize" in str(error)


def test_a_declared_resize_deals_rows_anew_and_keeps_their_provenance() -> None:
    def twice(batch: Batch) -> FullColumn:
        parents = [at for at in range(len(batch.rows)) for _ in range(2)]
        return FullColumn({"w": pa.array([f"{at}" for at in range(len(parents))])}, parents=parents)

    group = row_group(0, 2)
    run = EngineRun([whole("w", "s", function=twice, allow_resize=True), ask("a", "s", "w")])
    _, ends = run.run(group)
    assert ends == [True]
    assert group.requested == 4
    assert list(group.keys) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert [row["a"] for row in rows_of(group, "a")] == ["<a:0,0>", "<a:0,1>", "<a:1,2>", "<a:1,3>"]


def test_a_bug_in_a_generator_ends_the_run_and_is_never_only_logged() -> None:
    def broken(row: Mapping[str, Any]) -> Any:
        raise AttributeError("oops")

    _, (error,) = EngineRun([now("n", "s", function=broken)]).run(row_group(0, 2))
    assert isinstance(error, InternalError)
    assert "column 'n' in row group 0: AttributeError: oops" in str(error)


def test_a_row_that_two_cells_fail_is_rejected_once() -> None:
    group = row_group(0, 4)
    run = EngineRun(
        [ask("a", "s"), ask("b", "s")],
        FakeModel(lambda prompt, call: model_error(ErrorKind.PERMANENT, reason="400")),
        error_rate=None,
    )
    run.run(group)
    assert len(group.rejected_rows()) == 4


@pytest.mark.parametrize("rows", [0, 1])
def test_row_groups_of_none_and_one(rows: int) -> None:
    group = row_group(0, rows)
    _, ends = EngineRun(
        [ask("a", "s"), whole("w", "a", function=lambda batch: FullColumn({"w": batch.columns["a"]}))]
    ).run(group)
    assert ends == [True]
    assert len(rows_of(group, "a", "w")) == rows


def test_traces_have_one_record_per_cell_with_times_in_order() -> None:
    group = row_group(0, 3)
    run = EngineRun([ask("a", "s"), ask("b", "a")], settings=DriverSettings(trace=True))
    run.run(group)
    assert len(group.trace) == 6
    assert all(record.queued <= record.started <= record.ended for record in group.trace)
    assert {record.status for record in group.trace} == {"done"}


def test_cell_errors_of_user_code_reject_the_row_with_the_answer_kept() -> None:
    def refuse(row: Mapping[str, Any]) -> Any:
        raise CellError("not this one", reason="custom", answer="what it said")

    group = row_group(0, 1)
    EngineRun([now("n", "s", function=refuse)]).run(group)
    (rejected,) = group.rejected_rows()
    assert (rejected.reason, rejected.answer, rejected.error_type) == ("custom", "what it said", "CellError")


def test_a_row_group_that_is_cancelled_before_its_cells_ran_leaves_nothing_behind() -> None:
    async def go() -> tuple[Driver, asyncio.Task[bool]]:
        driver = await EngineRun([ask("a", "s")], ceiling=4).start()
        work = asyncio.create_task(driver.run_row_group(row_group(0, 10)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        await driver.aclose()
        return driver, work

    driver, work = asyncio.run(go())
    assert work.cancelled()
    assert isinstance(driver.error, RunInterruptedError)
    assert driver.statistics().in_flight == {"m": 0}
    assert driver.statistics().row_groups == 0


def test_closing_an_engine_at_work_ends_its_row_groups() -> None:
    async def go() -> list[Any]:
        run = EngineRun([ask("a", "s"), whole("w", "s", function=lambda batch: FullColumn({"w": batch.columns["s"]}))])
        run.model.hold()
        driver = await run.start()
        work = asyncio.gather(driver.run_row_group(row_group(0, 10)), return_exceptions=True)
        await run.model.reached(8)
        await driver.aclose()
        assert run.model.in_flight == 0
        return list(await work)

    assert asyncio.run(go()) == [False]
