"""The circuit breaker's transitions."""

from __future__ import annotations

from prefect_datagen.reports.circuit import Circuit, CircuitState


def opened(at: float) -> Circuit:
    circuit = Circuit(failures_to_open=2, cooldown=10)
    assert not circuit.broke(at)
    assert circuit.broke(at)
    return circuit


def test_it_opens_after_breakdowns_in_a_row_and_not_before():
    circuit = Circuit(failures_to_open=2, cooldown=10)
    circuit.broke(0)
    circuit.answered()
    assert not circuit.broke(0)
    assert circuit.state(0) is CircuitState.CLOSED
    assert circuit.broke(0)
    assert circuit.state(0) is CircuitState.OPEN
    assert circuit.retry_after(4) == 6


def test_half_open_lets_one_query_through():
    circuit = opened(0)
    assert not circuit.admit(9.9)
    assert circuit.admit(10)
    assert not circuit.admit(10)
    circuit.released()
    assert circuit.admit(10)
    circuit.answered()
    assert circuit.admit(10)
    assert circuit.state(10) is CircuitState.CLOSED


def test_a_breakdown_of_the_probe_opens_it_again():
    circuit = opened(0)
    assert circuit.admit(10)
    circuit.broke(11)
    assert circuit.state(20.9) is CircuitState.OPEN
    assert circuit.state(21) is CircuitState.HALF_OPEN
