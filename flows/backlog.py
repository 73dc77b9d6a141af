"""Row groups that a run has still to admit: those of its plan, in order, each once its seed rows are there.

While seed rows are still being made, a row group that lacks some waits. A shorter last one waits until the number of rows
is known, so the row groups are the same, whenever the seed rows came. Which seed rows are used is written down before.
"""

from __future__ import annotations

import contextvars
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from prefect_datagen.config.plan import Plan, RowGroupPlan, make_plan
from prefect_datagen.engine.outcomes import SeedPrefix
from prefect_datagen.seeds.stream import SeedStream
from prefect_datagen.storage.store import RowGroupStore

_all_seed_rows: contextvars.ContextVar[bool] = contextvars.ContextVar("all_seed_rows", default=False)


@contextmanager
def all_seed_rows() -> Iterator[None]:
    """Runs that are begun inside make a row for each seed row; their number of rows is what is expected."""
    token = _all_seed_rows.set(True)
    try:
        yield
    finally:
        _all_seed_rows.reset(token)


class Backlog:
    """See the module's docstring. Used by the thread that controls the run.

    Attributes:
        plan: of the run, as far as it is known.
    """

    def __init__(self, plan: Plan, store: RowGroupStore, stream: SeedStream | None) -> None:
        """The row groups of `plan` that are to do; made in the run's own context.

        Args:
            store: its run record tells which seed rows were used.
            stream: where the seed rows come from; None where they are all there.
        """
        self.plan = plan
        self._store = store
        self._stream = stream
        self._open_end = stream is not None and _all_seed_rows.get()
        self._settled = stream is None
        self._noted: SeedPrefix | None = None
        self._left = deque(plan.todo)

    @property
    def exhausted(self) -> bool:
        """Whether there is nothing more to take, and never will be."""
        self._settle()
        return self._settled and not self._left

    @property
    def error(self) -> str | None:
        """Why seed rows that are missing will not come, where that is so."""
        return None if self._stream is None or self._settled else self._stream.error

    def take(self, most: int) -> list[RowGroupPlan]:
        """The next row groups in order whose seed rows are there, `most` of them at most."""
        self._settle()
        taken: list[RowGroupPlan] = []
        while self._left and len(taken) < most and self._is_ready(self._left[0]):
            taken.append(self._left.popleft())
        if taken:
            self._note()
        return taken

    def put_back(self, group: RowGroupPlan) -> None:
        """A row group that was taken and is to be made again: it is the next one."""
        self._left.appendleft(group)

    def rest(self) -> list[RowGroupPlan]:
        """What was not taken, as far as it is known."""
        return list(self._left)

    def _is_ready(self, group: RowGroupPlan) -> bool:
        if self._settled:
            return True
        assert self._stream is not None
        is_last = group.start + group.rows == self.plan.num_records
        return group.start + group.rows <= self._stream.rows and not (is_last and self._open_end)

    def _settle(self) -> None:
        """Plan anew once all seed rows are there: their number is known now."""
        if self._settled or self._stream is None or not self._stream.ended:
            return
        self._settled = True
        if self._open_end and self._stream.rows != self.plan.num_records:
            taken = {group.index for group in self.plan.todo} - {group.index for group in self._left}
            plan = make_plan(self._stream.rows, row_group_size=self.plan.row_group_size, committed=self.plan.reused)
            self.plan = plan
            self._left = deque(group for group in plan.todo if group.index not in taken)
        self._note()

    def _note(self) -> None:
        """Write down which seed rows are used."""
        if self._stream is None:
            return
        prefix = self._stream.prefix()
        assert prefix is not None
        if self._settled and self.plan.num_records > prefix.rows:
            prefix = prefix.model_copy(update={"whole": True})
        if prefix == self._noted:
            return
        record = self._store.run_record()
        assert record is not None  # the run has set out
        if record.seed_prefix != prefix:
            self._store.write_run(record.model_copy(update={"seed_prefix": prefix}))
        self._noted = prefix
