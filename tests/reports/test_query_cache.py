"""The query cache: what is joined, stored, cancelled, timed out and counted."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, wait

import pyarrow as pa
import pytest

from prefect_datagen.reports.circuit import CircuitState
from prefect_datagen.reports.errors import CircuitOpenError, QueryError, QueryTimeoutError, SourceDownError
from prefect_datagen.reports.query_cache import QueryCache

DEADLINE = 20.0


def until(condition: Callable[[], bool]) -> None:
    """Wait for something that another thread will make true, and for which there is no event."""
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, "gave up waiting"
        time.sleep(0.001)


def words(table: pa.Table) -> list[str]:
    return table.column("word").to_pylist()


class TestJoining:
    def test_identical_queries_in_flight_run_once(self, cache, make_source):
        source = make_source()
        gate = source.gate("slow")
        handles = [cache.submit(source.query("slow", name=f"name {number}")) for number in range(50)]
        assert gate.entered.wait(DEADLINE)
        assert cache.statistics().waiters == 50
        gate.open()
        assert [words(handle.result(DEADLINE)) for handle in handles] == [["slow"]] * 50
        assert source.executed == ["slow"]
        statistics = cache.statistics()
        assert (statistics.misses, statistics.joins, statistics.executions) == (1, 49, 1)

    def test_rows_that_are_there_are_served_without_an_execution(self, cache, make_source):
        source = make_source()
        cache.submit(source.query("x")).result(DEADLINE)
        handle = cache.submit(source.query("x"))
        assert handle.future.done()
        assert not handle.stale
        assert source.executed == ["x"]
        assert cache.statistics().hits == 1

    def test_layout_and_names_do_not_make_different_work(self, cache, make_source):
        source = make_source()
        cache.submit(source.query("select 1 -- one", name="a")).result(DEADLINE)
        assert cache.submit(source.query("SELECT   1;", name="b")).future.done()

    @pytest.mark.parametrize("other", [1.0, True, "1", None])
    def test_parameters_of_another_type_are_other_work(self, cache, make_source, other):
        source = make_source()
        cache.submit(source.query("x", parameters={"n": 1})).result(DEADLINE)
        cache.submit(source.query("x", parameters={"n": other})).result(DEADLINE)
        assert source.executed == ["x", "x"]

    def test_a_new_data_version_is_other_work(self, cache, make_source):
        source = make_source()
        cache.submit(source.query("x")).result(DEADLINE)
        source.data_version = "2"
        cache.submit(source.query("x")).result(DEADLINE)
        assert source.executed == ["x", "x"]

    def test_two_source_objects_of_one_identity_share_rows_and_two_identities_do_not(self, cache, make_source):
        first, again, other = make_source("a"), make_source("a"), make_source("b")
        for source in (first, again, other):
            cache.submit(source.query("x")).result(DEADLINE)
        assert (first.executed, again.executed, other.executed) == (["x"], [], ["x"])


class TestLeaving:
    def test_one_waiter_leaving_does_not_disturb_the_others(self, cache, make_source):
        source = make_source()
        gate = source.gate("slow")
        leaver, stayer = cache.submit(source.query("slow")), cache.submit(source.query("slow"))
        assert gate.entered.wait(DEADLINE)
        leaver.leave()
        assert cache.statistics().waiters == 1
        gate.open()
        assert words(stayer.result(DEADLINE)) == ["slow"]
        assert not gate.interrupted.is_set()
        with pytest.raises(CancelledError):
            leaver.result(DEADLINE)

    def test_the_last_waiter_leaving_interrupts_the_source_and_stores_nothing(self, cache, make_source):
        source = make_source()
        gate = source.gate("slow")
        first, last = cache.submit(source.query("slow")), cache.submit(source.query("slow"))
        assert gate.entered.wait(DEADLINE)
        first.leave()
        last.leave()
        assert gate.interrupted.wait(DEADLINE)
        until(lambda: cache.statistics().sources[0].stopping == 0)
        statistics = cache.statistics()
        assert (statistics.cancellations, statistics.entries, statistics.in_flight) == (1, 0, 0)

    def test_a_queued_query_nobody_waits_for_never_runs(self, cache, make_source):
        source = make_source(max_running=1)
        gate = source.gate("slow")
        running, queued = cache.submit(source.query("slow")), cache.submit(source.query("queued"))
        assert gate.entered.wait(DEADLINE)
        queued.leave()
        assert cache.statistics().sources[0].queued == 0
        gate.open()
        running.result(DEADLINE)
        assert source.executed == ["slow"]

    def test_a_query_that_is_being_stopped_is_not_joined(self, cache, make_source):
        source = make_source()
        gate = source.gate("slow", deaf=True)
        first = cache.submit(source.query("slow"))
        assert gate.entered.wait(DEADLINE)
        first.leave()
        assert cache.statistics().sources[0].stopping == 1
        again = source.gate("slow")
        second = cache.submit(source.query("slow"))
        assert again.entered.wait(DEADLINE)
        again.open()
        assert words(second.result(DEADLINE)) == ["slow"]
        gate.open()
        assert source.executed == ["slow", "slow"]

    def test_rows_of_a_query_that_was_cancelled_too_late_are_not_stored(self, cache, make_source):
        source = make_source()
        gate = source.gate("slow", deaf=True)
        source.behaviours["slow"] = lambda cancel, relations: (
            (gate.entered.set(), gate._open.wait(DEADLINE)) and (pa.table({"word": ["late"]}))
        )
        handle = cache.submit(source.query("slow"))
        assert gate.entered.wait(DEADLINE)
        handle.leave()
        gate.open()
        until(lambda: cache.statistics().sources[0].stopping == 0)
        assert cache.statistics().entries == 0

    def test_leaving_after_the_rows_came_changes_nothing(self, cache, make_source):
        source = make_source()
        with cache.submit(source.query("x")) as handle:
            handle.result(DEADLINE)
        assert words(handle.result()) == ["x"]
        assert cache.statistics().cancellations == 0

    def test_cancelling_the_future_is_leaving_and_wait_sees_it(self, cache, make_source):
        source = make_source()
        gate = source.gate("slow")
        handle = cache.submit(source.query("slow"))
        assert gate.entered.wait(DEADLINE)
        handle.future.cancel()
        assert wait([handle.future], timeout=DEADLINE).done == {handle.future}
        assert gate.interrupted.wait(DEADLINE)

    def test_an_asyncio_task_that_is_cancelled_leaves(self, cache, make_source):
        source = make_source()
        gate = source.gate("slow")

        async def ask() -> None:
            task = asyncio.ensure_future(_await(cache.submit(source.query("slow"))))
            await asyncio.to_thread(gate.entered.wait, DEADLINE)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        asyncio.run(ask())
        assert gate.interrupted.wait(DEADLINE)
        until(lambda: cache.statistics().in_flight == 0)

    def test_a_handle_can_be_awaited(self, cache, make_source):
        source = make_source()
        assert words(asyncio.run(_await(cache.submit(source.query("x"))))) == ["x"]


async def _await(handle) -> pa.Table:
    return await handle


class TestErrors:
    def test_an_error_reaches_every_waiter_and_is_not_stored(self, cache, make_source):
        source = make_source(max_running=1)
        gate = source.gate("first")
        cache.submit(source.query("first"))
        assert gate.entered.wait(DEADLINE)
        source.fail("bad", QueryError("no such column"))
        handles = [cache.submit(source.query("bad")) for _ in range(3)]
        gate.open()
        for handle in handles:
            with pytest.raises(QueryError, match="no such column"):
                handle.result(DEADLINE)
        del source.behaviours["bad"]
        assert words(cache.submit(source.query("bad")).result(DEADLINE)) == ["bad"]

    def test_the_worker_survives_whatever_a_source_raises(self, cache, make_source):
        source = make_source(max_running=1)
        source.fail("exit", SystemExit(3))
        with pytest.raises(SystemExit):
            cache.submit(source.query("exit")).result(DEADLINE)
        assert words(cache.submit(source.query("x")).result(DEADLINE)) == ["x"]


class TestStaleRows:
    def test_old_rows_are_served_at_once_while_one_refresh_runs(self, cache, make_source, clock):
        source = make_source(ttl=60)
        source.answer("x", pa.table({"word": ["old"]}))
        cache.submit(source.query("x")).result(DEADLINE)
        clock.now += 60
        gate = source.gate("x")
        handles = [cache.submit(source.query("x")) for _ in range(3)]
        assert all(handle.stale and words(handle.result(0)) == ["old"] for handle in handles)
        gate.open()
        until(lambda: cache.statistics().in_flight == 0)
        fresh = cache.submit(source.query("x"))
        assert words(fresh.result(0)) == ["x"]
        assert not fresh.stale
        assert source.executed == ["x", "x"]

    def test_a_failed_refresh_keeps_the_good_rows(self, cache, make_source, clock):
        source = make_source(ttl=60)
        cache.submit(source.query("x")).result(DEADLINE)
        clock.now += 60
        source.fail("x", QueryError("broken"))
        cache.submit(source.query("x"))
        until(lambda: cache.statistics().failures == 1)
        assert words(cache.submit(source.query("x")).result(0)) == ["x"]

    def test_fresh_waits_for_the_refresh(self, cache, make_source, clock):
        source = make_source(ttl=60)
        source.answer("x", pa.table({"word": ["old"]}))
        cache.submit(source.query("x")).result(DEADLINE)
        clock.now += 60
        del source.behaviours["x"]
        assert words(cache.submit(source.query("x"), fresh=True).result(DEADLINE)) == ["x"]

    def test_rows_without_a_time_to_live_stay_fresh(self, cache, make_source, clock):
        source = make_source(ttl=None)
        cache.submit(source.query("x")).result(DEADLINE)
        clock.now += 1e9
        assert not cache.submit(source.query("x")).stale


class TestBytes:
    def test_the_least_recently_used_rows_go_first(self, clock, make_source):
        table = pa.table({"n": pa.array(range(125), pa.int64())})  # 1,000 bytes
        source = make_source()
        for word in "abc":
            source.answer(word, table)
        with QueryCache(max_bytes=2_000, clock=clock) as cache:
            for word in "abac":
                cache.submit(source.query(word)).result(DEADLINE)
            statistics = cache.statistics()
            assert (statistics.bytes, statistics.entries, statistics.evictions) == (2_000, 2, 1)
            assert cache.submit(source.query("a")).future.done()
            cache.submit(source.query("b")).result(DEADLINE)
        assert source.executed == ["a", "b", "c", "b"]

    def test_rows_larger_than_the_cache_are_delivered_and_not_kept(self, clock, make_source):
        source = make_source()
        source.answer("big", pa.table({"n": pa.array(range(1_000), pa.int64())}))
        with QueryCache(max_bytes=1_000, clock=clock) as cache:
            assert cache.submit(source.query("big")).result(DEADLINE).num_rows == 1_000
            assert cache.statistics().bytes == 0


class TestUses:
    def test_a_pool_of_one_thread_cannot_deadlock(self, cache, make_source):
        source = make_source(max_running=1)
        seen = {}
        source.behaviours["top"] = lambda cancel, relations: seen.update(relations) or pa.table({"word": ["top"]})
        base = source.query("base")
        middle = source.query("middle {{ queries.base }}", uses={"base": base})
        top = source.query("top {{ queries.middle }} {{queries.base}}", uses={"base": base, "middle": middle})
        handles = cache.prefetch([top, middle, base])
        assert [words(handle.result(DEADLINE)) for handle in handles] == [["top"], ["middle"], ["base"]]
        assert {name: words(rows) for name, rows in seen.items()} == {
            base.relation: ["base"],
            middle.relation: ["middle"],
        }
        assert source.executed == ["base", middle.sql, top.sql]

    def test_a_waiting_query_holds_no_slot(self, cache, make_source):
        source, slow_source = make_source("a", max_running=1), make_source("b")
        gate = slow_source.gate("slow")
        slow = slow_source.query("slow")
        dependent = cache.submit(source.query("top {{ queries.slow }}", uses={"slow": slow}))
        assert gate.entered.wait(DEADLINE)
        assert words(cache.submit(source.query("other")).result(DEADLINE)) == ["other"]
        gate.open()
        assert words(dependent.result(DEADLINE)) == ["top"]

    def test_leaving_a_dependent_query_leaves_its_upstream(self, cache, make_source):
        source = make_source()
        gate = source.gate("slow")
        handle = cache.submit(source.query("top {{ queries.s }}", uses={"s": source.query("slow")}))
        assert gate.entered.wait(DEADLINE)
        handle.leave()
        assert gate.interrupted.wait(DEADLINE)
        until(lambda: cache.statistics().in_flight == 0)
        assert source.executed == ["slow"]

    def test_an_error_upstream_is_the_error_of_the_dependent(self, cache, make_source):
        source = make_source()
        source.fail("bad", QueryError("no such table"))
        handle = cache.submit(source.query("top {{ queries.b }}", uses={"b": source.query("bad")}))
        with pytest.raises(QueryError, match="no such table"):
            handle.result(DEADLINE)
        assert source.executed == ["bad"]

    def test_a_refresh_does_not_read_stale_upstream_rows(self, cache, make_source, clock):
        source = make_source(ttl=60)
        seen: list[list[str]] = []
        source.answer("base", pa.table({"word": ["old"]}))
        source.behaviours["top"] = lambda cancel, relations: (
            seen.extend(words(rows) for rows in relations.values()) or pa.table({"word": ["top"]})
        )
        top = source.query("top {{ queries.base }}", uses={"base": source.query("base")})
        cache.submit(top).result(DEADLINE)
        clock.now += 60
        del source.behaviours["base"]
        cache.submit(top, fresh=True).result(DEADLINE)
        assert seen == [["old"], ["base"]]

    def test_renaming_a_query_that_is_read_shares_the_work(self, cache, make_source):
        source = make_source()
        for name in ("x", "y"):
            query = source.query(f"top {{{{ queries.{name} }}}}", uses={name: source.query("base")})
            cache.submit(query).result(DEADLINE)
        assert len(source.executed) == 2


class TestLimits:
    def test_a_source_runs_no_more_than_its_limit_and_sources_do_not_share_slots(self, cache, make_source):
        busy, idle = make_source("busy", max_running=2), make_source("idle")
        gates = [busy.gate(f"q{number}") for number in range(4)]
        handles = [cache.submit(busy.query(f"q{number}")) for number in range(4)]
        assert gates[0].entered.wait(DEADLINE)
        assert gates[1].entered.wait(DEADLINE)
        statistics = {item.source: item for item in cache.statistics().sources}["busy"]
        assert (statistics.running, statistics.queued) == (2, 2)
        assert words(cache.submit(idle.query("x")).result(DEADLINE)) == ["x"]
        for gate in gates:
            gate.open()
        wait([handle.future for handle in handles], timeout=DEADLINE)
        assert busy.most_running == 2

    def test_ten_queries_at_limit_ten_run_at_the_same_time(self, cache, make_source):
        source = make_source(max_running=10)
        barrier = threading.Barrier(10)
        for number in range(10):
            source.behaviours[f"q{number}"] = lambda cancel, relations: pa.table({"n": [barrier.wait(DEADLINE)]})
        handles = cache.prefetch(source.query(f"q{number}") for number in range(10))
        assert sorted(handle.result(DEADLINE)["n"][0].as_py() for handle in handles) == list(range(10))


class TestTimeouts:
    def test_a_query_that_runs_too_long_is_interrupted_and_its_waiters_told(self, make_source):
        source = make_source(timeout=0.02)
        gate = source.gate("slow")
        with QueryCache() as cache:
            handle = cache.submit(source.query("slow"))
            with pytest.raises(QueryTimeoutError, match=r"'slow' ran for more than 0\.02 s"):
                handle.result(DEADLINE)
            assert gate.interrupted.wait(DEADLINE)
            assert cache.statistics().timeouts == 1
            assert cache.statistics().entries == 0

    def test_nobody_waits_for_a_source_that_ignores_its_interrupt(self, make_source):
        source = make_source(timeout=0.02, queue_timeout=0.04, max_running=1)
        gate = source.gate("hung", deaf=True)
        with QueryCache() as cache:
            hung, queued = cache.submit(source.query("hung")), cache.submit(source.query("queued"))
            with pytest.raises(QueryTimeoutError, match="ran for more"):
                hung.result(DEADLINE)
            with pytest.raises(QueryTimeoutError, match="waited for a free slot"):
                queued.result(DEADLINE)
            assert cache.statistics().sources[0].stopping == 1
            gate.open()
            until(lambda: cache.statistics().sources[0].stopping == 0)
            assert words(cache.submit(source.query("x")).result(DEADLINE)) == ["x"]


class TestCircuit:
    def break_down(self, cache, source, times: int) -> None:
        source.fail("down", SourceDownError("connection refused"))
        for _ in range(times):
            with pytest.raises(SourceDownError, match="connection refused"):
                cache.submit(source.query("down")).result(DEADLINE)

    def test_a_source_that_is_down_is_left_alone_and_others_are_not(self, cache, make_source, clock):
        down, fine = make_source("down", failures_to_open=3), make_source("fine")
        self.break_down(cache, down, 3)
        until(lambda: cache.statistics().sources[0].circuit is CircuitState.OPEN)
        with pytest.raises(CircuitOpenError, match="left alone for 10 s"):
            cache.submit(down.query("x")).result(DEADLINE)
        assert len(down.executed) == 3
        assert words(cache.submit(fine.query("x")).result(DEADLINE)) == ["x"]

    def test_one_query_tries_after_the_cooldown_and_closes_the_circuit(self, cache, make_source, clock):
        source = make_source(failures_to_open=1, cooldown=10)
        self.break_down(cache, source, 1)
        clock.now += 10
        gate = source.gate("probe")
        probe = cache.submit(source.query("probe"))
        with pytest.raises(CircuitOpenError):
            cache.submit(source.query("x")).result(DEADLINE)
        gate.open()
        probe.result(DEADLINE)
        assert words(cache.submit(source.query("x")).result(DEADLINE)) == ["x"]
        assert cache.statistics().sources[0].circuit is CircuitState.CLOSED

    def test_a_cancelled_probe_lets_the_next_query_try(self, cache, make_source, clock):
        source = make_source(failures_to_open=1, cooldown=10)
        self.break_down(cache, source, 1)
        clock.now += 10
        gate = source.gate("probe")
        probe = cache.submit(source.query("probe"))
        assert gate.entered.wait(DEADLINE)
        probe.leave()
        assert words(cache.submit(source.query("x")).result(DEADLINE)) == ["x"]

    def test_what_stands_in_the_queue_when_the_circuit_opens_is_told_at_once(self, cache, make_source):
        source = make_source(failures_to_open=1, max_running=1)
        gate = source.gate("first")
        source.behaviours["first"] = lambda cancel, relations: _raise_after(gate, cancel)
        first, queued = cache.submit(source.query("first")), cache.submit(source.query("queued"))
        assert gate.entered.wait(DEADLINE)
        gate.open()
        with pytest.raises(SourceDownError, match="gone"):
            first.result(DEADLINE)
        with pytest.raises(CircuitOpenError):
            queued.result(DEADLINE)
        assert source.executed == ["first"]

    def test_errors_of_the_query_do_not_open_it(self, cache, make_source):
        source = make_source(failures_to_open=1)
        source.fail("bad", QueryError("no such column"))
        for _ in range(3):
            with pytest.raises(QueryError, match="no such column"):
                cache.submit(source.query("bad")).result(DEADLINE)
        assert words(cache.submit(source.query("x")).result(DEADLINE)) == ["x"]

    def test_old_rows_are_served_while_the_circuit_is_open(self, cache, make_source, clock):
        source = make_source(failures_to_open=1, ttl=5, cooldown=100)
        cache.submit(source.query("x")).result(DEADLINE)
        self.break_down(cache, source, 1)
        clock.now += 5
        handle = cache.submit(source.query("x"))
        assert handle.stale
        assert words(handle.result(0)) == ["x"]
        assert cache.statistics().refreshes == 0


def _raise_after(gate, cancel) -> pa.Table:
    gate.pass_through(cancel)
    raise SourceDownError("gone")


class TestClosing:
    def test_closing_cancels_what_runs_and_what_waits_and_refuses_more(self, make_source):
        source = make_source(max_running=1)
        gate = source.gate("slow")
        cache = QueryCache()
        handles = cache.prefetch([source.query("slow"), source.query("queued")])
        assert gate.entered.wait(DEADLINE)
        assert cache.close()
        for handle in handles:
            with pytest.raises(CancelledError):
                handle.result(DEADLINE)
        assert source.executed == ["slow"]
        with pytest.raises(QueryError, match="closed"):
            cache.submit(source.query("x"))

    def test_closing_tells_when_a_source_does_not_let_go(self, make_source):
        source = make_source()
        gate = source.gate("hung", deaf=True)
        cache = QueryCache()
        cache.submit(source.query("hung"))
        assert gate.entered.wait(DEADLINE)
        assert not cache.close(timeout=0.01)
        gate.open()
        assert cache.close(timeout=DEADLINE)

    def test_an_idle_cache_has_no_threads(self, make_source):
        source = make_source(max_running=3)
        with QueryCache() as cache:
            before = threading.active_count()
            for handle in cache.prefetch(source.query(f"q{number}") for number in range(20)):
                handle.result(DEADLINE)
            until(lambda: threading.active_count() <= before)


def test_many_clients_that_come_and_go_leave_nothing_behind(make_source):
    """Random joins and leaves from several threads: every submit and every execution is accounted for."""
    source = make_source(max_running=2)
    threads = []
    with QueryCache(max_bytes=0) as cache:

        def client(number: int) -> None:
            for turn in range(60):
                handle = cache.submit(source.query(f"q{(number * turn) % 5}"))
                if (number + turn) % 3:
                    handle.result(DEADLINE)
                else:
                    handle.leave()

        threads = [threading.Thread(target=client, args=(number,)) for number in range(1, 9)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLINE)
        until(lambda: cache.statistics().in_flight == 0 and cache.statistics().sources[0].stopping == 0)
        statistics = cache.statistics()
    assert statistics.misses + statistics.joins + statistics.hits == 8 * 60
    assert statistics.misses == statistics.stored + statistics.cancellations
    assert statistics.executions == len(source.executed)
    assert statistics.waiters == 0
    assert source.most_running <= 2
