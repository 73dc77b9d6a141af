"""The start-up tracker: states follow from facts, and a load's record ends with the load."""

from __future__ import annotations

import threading
import time

import pytest

from prefect_datagen.engine.errors import SinkError
from prefect_datagen.server.startup import LoadStatus, StartupTracker


def tracker(*, timeout: float = 60.0) -> StartupTracker:
    return StartupTracker(started=time.monotonic(), timeout=timeout, on_change=lambda: None)


def test_a_load_that_succeeds_makes_it_ready() -> None:
    loading = tracker()
    loading.begin()
    with loading.phase("records"):
        assert loading.state().phases == ("records",)
        assert loading.state().status is LoadStatus.LOADING
    loading.size("rows", 3)
    loading.succeed()
    state = loading.state()
    assert (state.status, state.version, state.phases, state.sizes) == (LoadStatus.READY, 1, (), {"rows": 3})
    assert state.milliseconds["records"] >= 0
    assert not state.stale


def test_a_load_that_fails_leaves_the_version_before_and_makes_it_stale() -> None:
    loading = tracker()
    loading.begin()
    loading.fail(SinkError("no"))
    assert loading.state().status is LoadStatus.FAILED
    assert not loading.state().stale
    loading.succeed()
    loading.fail(SinkError("no"))
    state = loading.state()
    assert (state.status, state.version, state.stale, state.error) == (LoadStatus.READY, 1, True, "SinkError")
    loading.succeed(changed=False)
    assert (loading.state().version, loading.state().stale, loading.state().error) == (1, False, None)


def test_the_record_of_a_load_is_reset_on_success_and_on_failure() -> None:
    loading = tracker()
    for end in (loading.succeed, lambda: loading.fail(SinkError("no"))):
        loading.begin()
        running = loading.phase("records")
        running.__enter__()
        end()
        assert loading.state().phases == ()
        loading.begin()
        assert loading.state().milliseconds == {}
        assert loading.state().sizes == {}


def test_a_phase_that_raises_is_timed_and_over() -> None:
    loading = tracker()
    with pytest.raises(SinkError), loading.phase("records"):
        raise SinkError("no")
    assert loading.state().phases == ()
    assert "records" in loading.state().milliseconds


def test_past_the_deadline_it_counts_as_failed_until_it_succeeds() -> None:
    late = tracker(timeout=-1.0)
    assert (late.state().status, late.state().error) == (LoadStatus.FAILED, "StartupTimeout")
    late.succeed()
    assert (late.state().status, late.state().error) == (LoadStatus.READY, None)


def test_phases_of_many_threads_are_all_kept() -> None:
    loading = tracker()
    loading.begin()
    together = threading.Barrier(8)

    def work(number: int) -> None:
        with loading.phase(f"phase {number}"):
            together.wait()
            loading.size(f"size {number}", number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    state = loading.state()
    assert set(state.milliseconds) == {f"phase {number}" for number in range(8)}
    assert state.sizes == {f"size {number}": number for number in range(8)}
    assert state.phases == ()
