"""Queries, their keys, and how a running one is stopped."""

from __future__ import annotations

import threading

import pytest

from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.reports.errors import QueryCancelledError
from prefect_datagen.reports.query_cache import Cancellation

DEADLINE = 20.0


def test_the_key_of_a_query_follows_the_queries_it_reads(make_source):
    source = make_source()
    base, other = source.query("base"), source.query("other")
    over_base = source.query("top {{ queries.x }}", uses={"x": base})
    over_other = source.query("top {{ queries.x }}", uses={"x": other})
    renamed = source.query("top {{queries.y}}", uses={"y": base}, name="another")
    assert over_base.key != over_other.key
    assert over_base.key == renamed.key
    assert base.relation in over_base.sql


def test_a_query_that_reads_what_it_was_not_given_is_refused(make_source):
    with pytest.raises(ConfigError, match="reads query 'y'"):
        make_source().query("top {{ queries.y }}")


def test_the_version_is_the_present_one_unless_given(make_source):
    source = make_source()
    source.data_version = "7"
    assert source.query("x").version == "7"
    assert source.query("x", version="6").version == "6"


def test_an_interrupt_reaches_only_what_runs_inside_the_block():
    cancel = Cancellation()
    called = []
    cancel.interrupt()
    with cancel.interrupting(lambda: called.append(1)):
        cancel.interrupt()
    cancel.interrupt()
    assert called == [1]


def test_a_query_that_was_cancelled_before_does_not_begin():
    cancel = Cancellation()
    cancel.ask()
    with pytest.raises(QueryCancelledError), cancel.interrupting(lambda: None):
        pytest.fail("the block was entered")


def test_waiting_for_a_cancellation_ends_with_it():
    cancel = Cancellation()
    waiter = threading.Thread(target=cancel.wait, args=(DEADLINE,))
    waiter.start()
    cancel.ask()
    waiter.join(DEADLINE)
    assert not waiter.is_alive()
    assert not Cancellation().wait(0)
