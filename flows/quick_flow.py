"""Flows that start without FastAPI.

Prefect writes a run's parameters down with FastAPI's `jsonable_encoder`, and imports all of FastAPI for it: a sixth of the
time of a resume that finds nothing to do. pydantic, which that encoder asks for every model, is loaded anyway.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from prefect import Flow
from pydantic_core import to_jsonable_python

P = ParamSpec("P")
R = TypeVar("R")


class QuickFlow(Flow[P, R]):
    """A flow that encodes its parameters with pydantic alone."""

    def serialize_parameters(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """Plain data of each parameter, as the UI shows it; what has none, such as a function, as its text."""
        return {name: _plain(value) for name, value in parameters.items()}


def flow(**options: Any) -> Callable[[Callable[P, R]], QuickFlow[P, R]]:
    """Prefect's decorator of this name, with the same options."""
    return lambda function: QuickFlow(function, **options)


def _plain(value: Any) -> Any:
    try:
        return to_jsonable_python(value, serialize_unknown=True)
    except (ValueError, RecursionError):  # it holds itself, or bytes that are no text
        return f"<{type(value).__name__}>"
