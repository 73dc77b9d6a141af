"""From a flow's final state to the command's end: the result, or the error that the command line reports."""

from __future__ import annotations

from typing import Any

from prefect import State

from prefect_datagen.engine.errors import DatagenError, InternalError, RunInterruptedError


def finish(state: State[Any]) -> Any:
    """The flow's result.

    Raises:
        DatagenError: the flow failed, was cancelled, or crashed.
    """
    if state.is_cancelled():
        raise RunInterruptedError(state.message or "the run was cancelled")
    result = state.result(raise_on_failure=False)
    if isinstance(result, DatagenError):
        raise result
    if isinstance(result, BaseException):
        raise InternalError(f"{type(result).__name__}: {result}") from result
    return result
