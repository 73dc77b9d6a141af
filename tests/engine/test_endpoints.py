"""Several endpoints of one model: turns by weight, handing over, circuits, accounting, one name in the journal."""

from __future__ import annotations

from typing import Any

import pytest

from prefect_datagen.engine.chat import ChatAnswer
from prefect_datagen.engine.driver import Driver
from prefect_datagen.engine.errors import EarlyShutdownError, ErrorKind, ModelError
from prefect_datagen.engine.model_ports import EndpointSpec
from prefect_datagen.engine.row_group import RowGroup
from tests.engine.engine_run import EngineRun, ask, row_group, rows_of
from tests.engine.fake_model import FakeModel, Script, echo


def endpoint(name: str, script: Script = echo, *, weight: float = 1.0, price: float = 0.0) -> EndpointSpec:
    client = FakeModel(script, endpoint=name)
    return EndpointSpec("model", client, name=name, weight=weight, input_price=price)


def calls_of(spec: EndpointSpec) -> int:
    assert isinstance(spec.client, FakeModel)
    return spec.client.calls.total()


def always(kind: ErrorKind, *, reason: str = "503", status: int | None = None) -> Script:
    def script(prompt: str, call: int) -> ChatAnswer | ModelError:
        return ModelError(f"{reason} from it", kind=kind, reason=reason, endpoint="it", status=status)

    return script


def run(*endpoints: EndpointSpec, rows: int = 120, **options: Any) -> tuple[Driver, RowGroup]:
    """One row group that comes to its end."""
    group = row_group(0, rows)
    driver, ends = EngineRun([ask("a", "s")], endpoints=endpoints, **options).run(group)
    assert ends == [True]
    return driver, group


def test_calls_are_shared_out_by_weight_exactly() -> None:
    heavy, light = endpoint("heavy", weight=3), endpoint("light", weight=1)
    driver, group = run(heavy, light)
    assert (calls_of(heavy), calls_of(light)) == (90, 30)
    usage = driver.access.usage()["m"]
    assert {name: used.answers for name, used in usage.endpoints.items()} == {"heavy": 90, "light": 30}
    assert group.usage["m"].freeze() == usage


def test_each_endpoint_has_its_own_price() -> None:
    dear, cheap = endpoint("dear", price=3e6), endpoint("cheap", price=1e6)
    driver, _group = run(dear, cheap, rows=10)
    usage = driver.access.usage()["m"]
    assert usage.cost == 5 * 3 + 5 * 1
    assert usage.endpoints["dear"].cost == 15


@pytest.mark.parametrize(
    "script",
    [
        always(ErrorKind.RETRYABLE, reason="connection"),
        always(ErrorKind.PERMANENT, reason="401", status=401),
        always(ErrorKind.PERMANENT, reason="tls"),
    ],
)
def test_a_dead_endpoint_costs_no_row_and_few_calls(script: Script) -> None:
    dead, alive = endpoint("dead", script), endpoint("alive")
    driver, group = run(dead, alive)
    assert len(rows_of(group, "a")) == 120
    assert calls_of(dead) <= 5 + 8  # until its circuit is half open, and what was in flight then
    statistics = driver.statistics()
    assert statistics.circuits == {"m@dead": "half-open", "m@alive": "closed"}


def test_an_endpoint_that_only_pushes_back_gives_its_calls_to_the_other() -> None:
    full, alive = endpoint("full", always(ErrorKind.THROTTLED, reason="429")), endpoint("alive")
    _driver, group = run(full, alive)
    assert len(rows_of(group, "a")) == 120
    assert calls_of(alive) == 120


def test_what_is_wrong_with_the_request_is_not_asked_elsewhere() -> None:
    one, other = (endpoint(name, always(ErrorKind.PERMANENT, reason="400", status=400)) for name in ("one", "other"))
    _driver, group = run(one, other, rows=6, error_rate=None)
    assert calls_of(one) + calls_of(other) == 6
    assert len(group.rejected_rows()) == 6


def test_the_run_ends_where_all_endpoints_are_dead_and_names_each() -> None:
    now = [0.0]

    def clock() -> float:
        now[0] += 0.5  # of a clock that runs fast: the deadline passes within a moment
        return now[0]

    endpoints = [endpoint(name, always(ErrorKind.RETRYABLE, reason=f"50{at}")) for at, name in enumerate(("a", "b"))]
    engine = EngineRun([ask("a", "s")], endpoints=tuple(endpoints), retry_deadline=20.0, clock=clock, error_rate=None)
    driver, ends = engine.run(row_group(0, 200))
    assert ends == [False]
    assert isinstance(driver.error, EarlyShutdownError)
    assert "500 from a" in driver.error.message
    assert "501 from b" in driver.error.message
    assert set(driver.statistics().circuits.values()) == {"open"}


class Remembers:
    """A journal in memory."""

    def __init__(self) -> None:
        self.answers: dict[bytes, bytes] = {}

    def get(self, key: bytes) -> bytes | None:
        return self.answers.get(key)

    def put(self, key: bytes, answer: bytes) -> None:
        self.answers[key] = answer

    def put_usage(self, usage: bytes) -> None: ...

    def commit(self) -> None: ...


def test_answers_are_found_again_whichever_endpoint_gave_them_and_after_one_is_added() -> None:
    journal = Remembers()
    first = endpoint("first")
    run(first, rows=20, journal=journal)
    added = endpoint("added")
    driver, _group = run(first, added, rows=30, journal=journal)
    usage = driver.access.usage()["m"]
    assert (usage.replayed, usage.calls) == (20, 10)
    assert calls_of(added) == 5
