"""Model access of a run: the ports of its aliases, their journal and their accounting.

Cells call through `engine/cell_models.py`; the driver hands out the slots. Everything here runs on the engine's event loop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping

import orjson

from prefect_datagen.engine.answer_journal import AnswerJournal
from prefect_datagen.engine.errors import EarlyShutdownError, ErrorKind, ModelError
from prefect_datagen.engine.limits import SharedLimiter
from prefect_datagen.engine.model_ports import EndpointPort, ModelPort, Waiter
from prefect_datagen.engine.outcomes import ModelUsage
from prefect_datagen.engine.run_budget import RunBudget
from prefect_datagen.engine.shares import Share
from prefect_datagen.engine.tools import Toolbox


class ModelAccess:
    """All ports of a run. The driver sets `wake` (a call waits for a slot) and `budget_exceeded`.

    `toolboxes` are by tool alias; with None, columns that would use tools ask without them (estimates do).
    """

    def __init__(
        self,
        ports: Mapping[str, ModelPort],
        *,
        journal: AnswerJournal,
        budget: RunBudget,
        toolboxes: Mapping[str, Toolbox] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.ports = dict(ports)
        self.journal = journal
        self.budget = budget
        self.toolboxes = toolboxes
        self.clock = clock
        self.wake: Callable[[], None] = lambda: None
        self.budget_exceeded: Callable[[EarlyShutdownError], None] = lambda error: None
        self.usage_changed = False
        self.draining = False

    def port(self, alias: str) -> ModelPort:
        """The port of an alias.

        Raises:
            ModelError: there is no such alias (a custom column may ask for any).
        """
        try:
            return self.ports[alias]
        except KeyError:
            known = ", ".join(sorted(self.ports)) or "none"
            raise ModelError(
                f"model alias {alias!r} is not defined (defined: {known})", kind=ErrorKind.FATAL, reason="unknown alias"
            ) from None

    async def wait_for_slot(self, port: ModelPort, *, avoid: EndpointPort | None = None) -> EndpointPort:
        """Wait until the driver hands this caller a slot, already reserved, elsewhere than at `avoid` if it can be. After
        cancellation none is held.

        Raises:
            CancelledError: the waiting was cancelled, or no call is sent any more.
        """
        if self.draining:
            raise asyncio.CancelledError
        waiter = Waiter()
        waiter.avoid = avoid
        port.waiters.append(waiter)
        self.wake()
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                port.give_back(waiter.result())
            raise

    def shared_limits(self) -> set[SharedLimiter | Share]:
        """Whatever is shared with others, and wakes its watchers when a slot came free."""
        limiters = {endpoint.limiter for port in self.ports.values() for endpoint in port.endpoints}
        return limiters | {port.spec.share for port in self.ports.values() if port.spec.share is not None}

    def send_no_more(self) -> None:
        """The run is ending: calls that wait for a slot, or ask for one later, are cancelled; those in flight are not,
        unless they are in batches."""
        self.draining = True
        for port in self.ports.values():
            for waiter in port.waiters:
                waiter.cancel()
            port.waiters.clear()
            if port.batches is not None:
                port.batches.leave()  # nobody waits for hours while a run ends

    def spent(self, tokens: int, cost: float) -> None:
        """An answer was paid for; ends the run where a budget is used up."""
        self.budget.spend(tokens, cost)
        exceeded = self.budget.exceeded()
        if exceeded is not None:
            self.budget_exceeded(EarlyShutdownError(exceeded, cause="budget"))

    def commit(self) -> None:
        """Put on disk what was answered since the last time, and what was spent, in one.

        Raises:
            SinkError: the journal cannot be written.
        """
        if self.usage_changed:
            self.journal.put_usage(orjson.dumps({alias: port.usage for alias, port in self.ports.items()}))
            self.usage_changed = False
        self.journal.commit()

    def usage(self) -> dict[str, ModelUsage]:
        """What this process spent in this run, by alias."""
        return {alias: port.usage.freeze() for alias, port in self.ports.items()}
