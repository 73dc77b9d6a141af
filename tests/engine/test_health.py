"""Early shutdown and circuits: when a model is given up, and when not."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from prefect_datagen.engine.health import Circuit, CircuitState, ShutdownRule, wilson_lower_bound


@given(st.integers(1, 500).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total))))
def test_the_bound_is_wilsons(case: tuple[int, int]) -> None:
    failed, total = case
    expected = binomtest(failed, total).proportion_ci(confidence_level=0.95, method="wilson").low
    assert wilson_lower_bound(failed, total) == pytest.approx(expected, abs=1e-9)


def test_total_failure_stops_within_ten_cells() -> None:
    rule = ShutdownRule(0.5, 50)
    stops = [rule.observe("401") for _ in range(20)]
    assert stops.index(True) == 9


def test_ten_percent_failure_never_stops_at_a_threshold_of_fifty() -> None:
    rng = random.Random(1)
    rule = ShutdownRule(0.5, 50)
    assert not any(rule.observe("400" if rng.random() < 0.1 else None) for _ in range(200_000))


def test_failures_close_together_are_no_reason() -> None:
    rule = ShutdownRule(0.5, 50)
    outcomes = [None] * 40 + ["400"] * 20 + [None] * 40
    assert not any(rule.observe(outcome) for outcome in outcomes)


def test_a_disabled_rule_never_stops() -> None:
    rule = ShutdownRule(None, 10)
    assert not any(rule.observe("401") for _ in range(1_000))
    assert rule.causes["401"] == 1_000


def test_the_rule_looks_at_the_last_window_only() -> None:
    rule = ShutdownRule(0.5, 20)
    for _ in range(10_000):
        rule.observe(None)
    assert any(rule.observe("500") for _ in range(20))


def test_a_circuit_probes_one_call_at_a_time_and_closes_on_success() -> None:
    circuit = Circuit(window=3, deadline=300)
    for at in range(3):
        circuit.failed(float(at), "503")
    assert circuit.state is CircuitState.HALF_OPEN
    assert not circuit.allows(2.5, in_flight=0)
    assert circuit.allows(3.0, in_flight=0)
    assert not circuit.allows(3.0, in_flight=1)
    circuit.succeeded()
    assert circuit.allows(3.0, in_flight=50)


def test_probes_of_a_dead_endpoint_are_few() -> None:
    circuit, now, calls = Circuit(window=20, deadline=300), 0.0, 0
    while not circuit.overdue(now):
        if circuit.allows(now, in_flight=0):
            circuit.failed(now, "503")
            calls += 1
        now += 0.1
    assert calls <= 2 * 20
    assert now == pytest.approx(300, abs=0.2)


def test_a_circuit_with_successes_never_opens() -> None:
    circuit = Circuit(window=3, deadline=10)
    for at in range(1_000):
        circuit.failed(float(at), "503")
        circuit.failed(float(at), "503")
        circuit.succeeded()
        assert not circuit.overdue(float(at))
