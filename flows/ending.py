"""What a flow has made reaches its caller, also where the answer of Prefect's API to its end is lost.

Prefect's client repeats a request whose answer did not arrive (a time limit, a cut connection, a 502 or 503 of a gateway).
The server has made the transition by then; it refuses the repeated one, and answers with the state that it has stored.
That has no data, since results are not persisted, and Prefect's engine (3.8: `propose_state_sync`) takes it for the flow's
state: who asks for the result of a build that is done gets `MissingResult`, and a chain would fail after its first stage.
(Errors are persisted, whatever the settings, and are found again.)

So a flow notes what it completes with, and a hook gives it back to a state that comes without. Hooks are called with the
state that the engine keeps, in the thread and the context of the flow.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any
from uuid import UUID

from prefect import Flow, State
from prefect.client.schemas.objects import FlowRun
from prefect.context import FlowRunContext
from prefect.states import Completed

_noted: ContextVar[tuple[UUID, Any] | None] = ContextVar("what a flow run completed with", default=None)


def completed(*, name: str = "Completed", message: str, data: Any) -> State[Any]:
    """The final state of the flow run that calls this; `data` is its result, whatever becomes of the API's answer.

    The flow needs the hook `keep_result`.
    """
    context = FlowRunContext.get()
    if context is not None and context.flow_run is not None:
        _noted.set((context.flow_run.id, data))
    return Completed(name=name, message=message, data=data)


def keep_result(flow: Flow[Any, Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Hook on completion: give the state its data, where it came back from the API without."""
    noted = _noted.get()
    _noted.set(None)  # it may be large: a preview's rows
    if state.data is None and noted is not None and noted[0] == flow_run.id:
        state.data = noted[1]
