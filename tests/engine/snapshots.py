"""Everything that an object holds, as a value to compare with."""

from __future__ import annotations

import copy
from typing import Any

from prefect_datagen.engine.cell_table import CellTable
from prefect_datagen.engine.scheduler_state import SchedulerState


def snapshot(state: SchedulerState) -> dict[str, Any]:
    """A deep copy of all that the state holds, row groups taken apart, without its handlers."""
    held = {name: value for name, value in vars(state).items() if name not in ("graph", "_handlers")}
    return copy.deepcopy({name: _taken_apart(value) for name, value in held.items()})


def _taken_apart(value: Any) -> Any:
    if isinstance(value, CellTable):
        return {name: getattr(value, name) for name in CellTable.__slots__}
    if isinstance(value, dict):
        return {key: _taken_apart(each) for key, each in value.items()}
    return value
