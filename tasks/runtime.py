"""The live half of a run in one process: blueprint, driver, model clients, journal, store. Shared by all its row groups.

The controller opens the runtime of its own process before it maps row groups, and closes it after the last one. Every
other process that is given row groups has a runtime of its own; see `tasks/worker.py`.
"""

from __future__ import annotations

import hashlib
import os
import socket
import sys
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from prefect_datagen.config.blueprint import Blueprint
from prefect_datagen.engine import loop_thread
from prefect_datagen.engine.answer_journal import AnswerJournal, NoJournal
from prefect_datagen.engine.driver import Driver, DriverSettings
from prefect_datagen.engine.errors import DatagenError, SinkError
from prefect_datagen.engine.garbage import keep_no_longer, keep_what_is_there
from prefect_datagen.engine.model_access import ModelAccess
from prefect_datagen.engine.model_ports import EndpointSpec, LimiterRegistry, ModelSpec, make_ports
from prefect_datagen.engine.outcomes import USAGE_COUNTS, DatasetMetadata, ModelUsage, RowGroupManifest, add_usage
from prefect_datagen.engine.retry import RetryPolicy
from prefect_datagen.engine.run_budget import RunBudget
from prefect_datagen.models.config import Mode, ModelConfig
from prefect_datagen.models.offline import OfflineClient
from prefect_datagen.storage import layout
from prefect_datagen.storage.journal import Journal
from prefect_datagen.storage.store import RowGroupStore
from prefect_datagen.tasks.endpoints import clients_of, open_tools, providers_of, tools_in_use
from prefect_datagen.tasks.run_limits import RunLimits
from prefect_datagen.tasks.ticket import RunTicket

if TYPE_CHECKING:
    from prefect_datagen.models.batch import OpenAIBatchClient

_limiters = LimiterRegistry()
"""Limits of this process, shared by all runs in it."""

_NO_CEILING = sys.maxsize
"""Cells of async functions at once where they may wait for a batch: it is to hold those of all rows in flight."""


class Runtime:
    """See the module's docstring. `stopping` is set when the run is to end: stages look at it before they start."""

    def __init__(
        self,
        ticket: RunTicket,
        *,
        store: RowGroupStore,
        reused: Mapping[int, RowGroupManifest],
        is_worker: bool = False,
        notify: Callable[[str], None] = lambda text: None,
        inform: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.ticket = ticket
        self.store = store
        self.reused = dict(reused)
        self.is_worker = is_worker
        self.stopping = threading.Event()
        folder = store.local_path
        self.blueprint = Blueprint(
            ticket.config,
            ticket.run,
            seed=ticket.seed,
            artifact_dir=None if folder is None else folder / layout.ARTIFACTS,
        )
        self._tools = loop_thread.run(open_tools(ticket.config, tools_in_use(ticket.config, ticket.endpoints)))
        self._threads = ThreadPoolExecutor(ticket.run.worker_threads, thread_name_prefix="prefect-datagen-worker")
        self.journal = open_journal(ticket, store, is_worker=is_worker)
        self._spent_beside = self._beside_ledger(store.metadata())
        providers = providers_of(ticket.config, ticket.endpoints)
        self._sent_along = {
            provider.name: orjson.dumps(provider.extra_body, option=orjson.OPT_SORT_KEYS).decode()
            for provider in providers
            if provider.extra_body
        }
        self._clients = clients_of(ticket.config, ticket.endpoints)
        self._notify = notify
        self._limits = RunLimits(ticket.config, ticket.run)
        self._inform = inform
        self._batches: list[OpenAIBatchClient] = []
        self.driver = loop_thread.run(self._make_driver(notify))
        keep_what_is_there()

    async def _make_driver(self, notify: Callable[[str], None]) -> Driver:
        run = self.ticket.run
        ports = make_ports(
            [self._spec_of(model) for model in self.ticket.config.model_configs],
            limiters=_limiters,
            window=run.shutdown_error_window,
            error_rate=None if run.disable_early_shutdown else run.shutdown_error_rate,
            retry_deadline=run.retry_deadline_seconds,
        )
        budget = RunBudget(run.max_total_tokens, run.max_cost)
        access = ModelAccess(ports, journal=self.journal, budget=budget, toolboxes=self._tools.toolboxes)
        settings = DriverSettings(
            retry=RetryPolicy(run.max_retries, run.salvage_rounds),
            shutdown_grace=run.shutdown_grace_seconds,
            slow_call=run.slow_call_seconds,
            max_loop_cells=_NO_CEILING if self._batches else DriverSettings.max_loop_cells,
            max_thread_cells=run.worker_threads,
            trace=run.trace,
        )
        return Driver(
            self.blueprint.graph,
            access=access,
            threads=self._threads,
            settings=settings,
            notify=notify,
            seed=self.ticket.seed,
        )

    @property
    def row_groups_at_once(self) -> int:
        """Row groups in flight."""
        return self.ticket.run.row_groups_at_once(batched=bool(self._batches))

    def _spec_of(self, model: ModelConfig) -> ModelSpec:
        batched = self._batched(model)
        if batched is not None:
            return batched
        return ModelSpec(
            alias=model.alias,
            endpoints=tuple(
                EndpointSpec(
                    model=endpoint.model,
                    client=self._clients[endpoint.provider],
                    name=endpoint.name,
                    weight=endpoint.weight,
                    sent_along=self._sent_along.get(endpoint.provider, ""),
                    input_price=endpoint.price.input,
                    output_price=endpoint.price.output,
                )
                for endpoint in model.all_endpoints()
            ),
            max_parallel_requests=model.inference_parameters.max_parallel_requests,
            timeout=model.inference_parameters.timeout,
            rpm=model.rpm,
            tpm=model.tpm,
            share=self._limits.shares.get(model.alias),
        )

    def _batched(self, model: ModelConfig) -> ModelSpec | None:
        """A model in batch mode. Without a journal, as in a preview, models are asked live."""
        [endpoint, *_] = model.all_endpoints()
        live = self._clients[endpoint.provider]
        if model.mode is not Mode.BATCH or not isinstance(self.journal, Journal) or isinstance(live, OfflineClient):
            return None
        from prefect_datagen.models.batch import OpenAIBatchClient
        from prefect_datagen.models.openai import OpenAIClient

        assert isinstance(live, OpenAIClient)  # the config was checked for it
        client = OpenAIBatchClient(
            live,
            alias=model.alias,
            parameters=model.batch,
            ledger=self.journal,
            patience=self.ticket.run.retry_deadline_seconds,
            notify=self._inform,
        )
        self._batches.append(client)
        price = model.batch.price_of(endpoint.price)
        spec = EndpointSpec(
            model=endpoint.model,
            client=client,
            name=endpoint.name,
            sent_along=self._sent_along.get(endpoint.provider, ""),
            input_price=price.input,
            output_price=price.output,
        )
        return ModelSpec(model.alias, (spec,), max_parallel_requests=sys.maxsize)

    def reusable(self, index: int) -> RowGroupManifest | None:
        """The manifest of a row group that is committed: by an earlier run, or by a worker that died just after."""
        return self.store.manifest(index) if self.is_worker else self.reused.get(index)

    def usage(self) -> dict[str, ModelUsage]:
        """What the dataset cost so far, by model alias: this run and all before it, those that were killed included.

        A run without a journal is known by the verdict that it left; one that was killed then left none.

        Raises:
            SinkError: the journal cannot be read.
        """
        return add_usage([self._spent_beside, *self._other_runs(), self.driver.access.usage()])

    def _other_runs(self) -> list[dict[str, ModelUsage]]:
        records = self.journal.usage() if isinstance(self.journal, Journal) else []
        return [{alias: ModelUsage(**used) for alias, used in orjson.loads(record).items()} for record in records]

    def _beside_ledger(self, before: DatasetMetadata | None) -> dict[str, ModelUsage]:
        """What the last verdict knows and the ledger does not: what runs without a journal spent."""
        if before is None or before.fingerprint != self.ticket.fingerprint:
            return {}
        known = add_usage(self._other_runs())
        return {alias: _excess(spent, known.get(alias, ModelUsage())) for alias, spent in before.usage.items()}

    def stop(self, error: DatagenError, *, grace: float | None = None) -> None:
        """End the run early: no stage starts any more, the engine drains. Returns at once; any thread may call it."""
        self.stopping.set()
        loop_thread.event_loop().call_soon_threadsafe(lambda: self.driver.stop(error, grace=grace))

    @contextmanager
    def admitted(self, label: str) -> Iterator[bool]:
        """Around a row group: holds what shared limits ask for. Yields False where the run is ending instead."""
        if self._limits.are_none:
            yield True
            return
        admission = self._limits.row_group(
            stopping=self.stopping.is_set,
            failed=self.driver.stop,
            say=lambda text: self._notify(f"row group {label} {text}"),
        )
        with loop_thread.entered(admission) as may_begin:
            yield may_begin

    def finish(self) -> DatagenError | None:
        """Cancel and await what is left in the engine; nothing of it changes any more. May be called twice.

        Returns:
            Why the engine ended early, where it did; that the last answers cannot be stored is a reason, too.
        """
        self.stopping.set()
        loop_thread.run(self._end_engine())
        return self.driver.error

    def close(self) -> None:
        """`finish`, and let go of everything but the store. May be called twice."""
        self.finish()
        loop_thread.run(self._limits.aclose())
        loop_thread.run(self._close_clients())
        self._threads.shutdown(wait=False, cancel_futures=True)
        if isinstance(self.journal, Journal):
            with suppress(SinkError):  # what it cannot take now it could not take in `finish`, which told
                self.journal.close()
        keep_no_longer()

    async def _end_engine(self) -> None:
        await self.driver.aclose()
        for client in self._batches:
            await client.aclose()

    async def _close_clients(self) -> None:
        for client in self._clients.values():
            await client.aclose()
        await self._tools.aclose()


def _excess(spent: ModelUsage, known: ModelUsage) -> ModelUsage:
    """By how much `spent` is more than `known`, count by count."""
    more = {name: max(0, getattr(spent, name) - getattr(known, name)) for name in USAGE_COUNTS}
    endpoints = {name: _excess(each, known.endpoints.get(name, ModelUsage())) for name, each in spent.endpoints.items()}
    return ModelUsage(**more, endpoints=endpoints)


def open_journal(ticket: RunTicket, store: RowGroupStore, *, is_worker: bool = False) -> AnswerJournal:
    """The journal: beside a local dataset, in this machine's cache for a remote one, none where the run has none.

    Workers on the machine of their run share its journal; those on another machine have one of that machine. A dataset
    without models needs none, unless it had some before: what it cost is in there.
    """
    if not ticket.run.journal:
        return NoJournal()
    if store.local_path is not None:
        place = store.local_path / layout.JOURNAL
        if is_worker and ticket.host != socket.gethostname():
            place = store.local_path / layout.JOURNALS / f"{socket.gethostname()}.sqlite"
    else:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "prefect-datagen" / "journals"
        place = cache / f"{hashlib.blake2b(store.location.encode(), digest_size=12).hexdigest()}.sqlite"
    if not ticket.config.model_configs and not place.exists():
        return NoJournal()
    # Each process of a run has a line of its own in the ledger.
    journal = Journal.open(place, run=f"{ticket.run_id}/{uuid.uuid4().hex}", fingerprint=ticket.fingerprint)
    if store.local_path is not None and not is_worker:
        for other in sorted((store.local_path / layout.JOURNALS).glob("*.sqlite")):
            journal.absorb(other)
    return journal


_runtimes: dict[str, Runtime] = {}
_lock = threading.Lock()


@contextmanager
def opened(runtime: Runtime) -> Iterator[Runtime]:
    """Make a runtime known to the tasks of this process while its run goes on; closed at the end."""
    with _lock:
        _runtimes[runtime.ticket.run_id] = runtime
    try:
        yield runtime
    finally:
        with _lock:
            del _runtimes[runtime.ticket.run_id]
        runtime.close()


def stop_runs(error: DatagenError, *, grace: float | None = None) -> None:
    """End every run of this process early, as `Runtime.stop` ends one. For runs in other threads than the main one."""
    with _lock:
        runtimes = list(_runtimes.values())
    for runtime in runtimes:
        runtime.stop(error, grace=grace)


def runtime_of(run_id: str) -> Runtime | None:
    """The runtime of a run in this process, where it is open."""
    with _lock:
        return _runtimes.get(run_id)
