"""Limits that hold over all runs and machines, as one run in one process keeps to them. Slots are leased, never per call.

* `shared_limits` of a model: while the run has row groups in this process it is a *member* of the limit, looks at it
  every `LOOK_EVERY` seconds and holds what its `Share` decides; see `engine/shares.py`. Slots are leased in `CHUNKS` parts
  of the limit, so that a part can be given back. Members are counted by a second limit, `NAME-members`.
* `row_group_limit` of a run: each row group leases one slot before its first stage and gives it back at its end.

A lease is renewed long before it runs out. That of a killed process is not, and its slots come back. Where the server is
away for so long that a lease may have run out, or has forgotten it, its slots are used no more: rather a run that
stands still than a limit that is exceeded.

All of this runs on the engine's event loop; requests to the server are made in threads.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from uuid import UUID

import httpx

from prefect_datagen.config.dataset import DatasetConfig
from prefect_datagen.config.run import RowGroupLimit, RunConfig
from prefect_datagen.engine.errors import ConfigError, DatagenError
from prefect_datagen.engine.shares import Share, SharedLimitView
from prefect_datagen.models.config import ModelConfig, SharedLimits
from prefect_datagen.tasks.limit_server import LimitServer

LOOK_EVERY = 1.0
"""Seconds between two looks at a limit: two requests to the server for each model with shared limits."""

CHUNKS = 16
"""Parts that a limit is leased in."""

MOST_MEMBERS = 100_000


@dataclass
class Lease:
    """Slots that are held. `until` is when they are certainly still held, on the loop's clock."""

    id: UUID
    slots: int
    until: float


class Leases:
    """Leases on one limit, kept alive."""

    def __init__(self, server: LimitServer, name: str, *, seconds: float) -> None:
        self._server = server
        self._name = name
        self._seconds = seconds
        self.held: list[Lease] = []

    @property
    def slots(self) -> int:
        """Slots held."""
        return sum(lease.slots for lease in self.held)

    async def acquire(self, slots: int) -> bool:
        """Lease so many more, if they are free.

        Raises:
            ConfigError: the limit is gone.
            httpx.HTTPError: the server does not answer, or with an error.
        """
        asked = time.monotonic()
        work = asyncio.ensure_future(
            asyncio.to_thread(self._server.acquire, self._name, slots, lease_seconds=self._seconds)
        )
        try:
            id_ = await asyncio.shield(work)
        except asyncio.CancelledError:
            work.add_done_callback(self._release_late)
            raise
        if id_ is not None:
            self.held.append(Lease(id_, slots, asked + self._seconds))
        return id_ is not None

    def _release_late(self, work: asyncio.Future[UUID | None]) -> None:
        """A lease that was granted to a caller who had gone."""
        if not work.cancelled() and work.exception() is None and (id_ := work.result()) is not None:
            asyncio.get_running_loop().run_in_executor(None, self._server.release, id_)

    async def renew(self) -> None:
        """Renew what is due; drop what has run out, or may have."""
        for lease in list(self.held):
            now = time.monotonic()
            if lease.until - now > self._seconds / 2:
                continue
            try:
                alive = await asyncio.to_thread(self._server.renew, lease.id, lease_seconds=self._seconds)
            except httpx.HTTPError:
                alive = now < lease.until - _MARGIN
            else:
                lease.until = now + self._seconds
            if not alive and lease in self.held:
                self.held.remove(lease)

    async def shrink_to(self, slots: int) -> None:
        """Give back leases until no more than so many slots are held."""
        while self.held and self.slots > slots:
            await self._release(min(self.held, key=lambda lease: lease.slots))

    async def release_all(self) -> None:
        """Give everything back."""
        while self.held:
            await self._release(self.held[-1])

    async def _release(self, lease: Lease) -> None:
        self.held.remove(lease)
        try:
            await asyncio.to_thread(self._server.release, lease.id)
        except httpx.HTTPError:
            return  # it is renewed no more, and so runs out


_MARGIN = 5.0  # seconds before its end at which a lease that cannot be renewed is given up


class ShareHolder:
    """Keeps one share in step with its limit while row groups use it."""

    def __init__(self, share: Share, leases: Leases, members: Leases, *, look: Callable[[], SharedLimitView]) -> None:
        self._slots = 0
        self._share = share
        self._leases = leases
        self._members = members
        self._look_now = look
        self._users = 0
        self._task: asyncio.Task[None] | None = None
        self._looked: asyncio.Future[None] | None = None

    async def enter(self, failed: Callable[[DatagenError], None]) -> None:
        """A row group begins. Returns when the share was looked after once."""
        self._users += 1
        if self._task is None:
            self._looked = asyncio.get_running_loop().create_future()
            self._task = asyncio.create_task(self._keep(self._looked, failed))
        if self._looked is not None:
            await asyncio.shield(self._looked)

    async def leave(self) -> None:
        """A row group has ended; with the last one everything is given back."""
        self._users -= 1
        if self._users == 0:
            await self.aclose()

    async def aclose(self) -> None:
        """Give everything back. May be called twice."""
        task, self._task = self._task, None
        if task is None:
            return
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        self._share.resize(0, slots=0, now=time.monotonic())
        await self._leases.release_all()
        await self._members.release_all()

    async def _keep(self, looked: asyncio.Future[None], failed: Callable[[DatagenError], None]) -> None:
        try:
            while True:
                try:
                    await self._look()
                except httpx.HTTPError:
                    self._use(self._share.held)  # without what may have run out meanwhile
                except DatagenError as error:
                    failed(error)
                    return
                if not looked.done():
                    looked.set_result(None)
                await asyncio.sleep(LOOK_EVERY * random.uniform(0.8, 1.2))
        finally:
            if not looked.done():
                looked.set_result(None)

    async def _look(self) -> None:
        await self._leases.renew()
        await self._members.renew()
        if not self._members.held:
            await self._members.acquire(1)
        self._use(self._share.held)
        view = await asyncio.to_thread(self._look_now)
        self._slots = view.slots
        target = self._share.look(view)
        chunk = -(-view.slots // CHUNKS)
        while target > self._leases.slots:
            if not await self._leases.acquire(min(chunk, target - self._leases.slots)):
                break
            self._use(self._leases.slots)
        self._use(self._rounded(target))
        await self._leases.shrink_to(self._share.held + self._share.surplus)

    def _rounded(self, target: int) -> int:
        """What is left when whole leases are given back until no more than `target` slots are held."""
        left = self._leases.slots
        for lease in sorted(self._leases.held, key=lambda each: each.slots):
            if left <= target:
                break
            left -= lease.slots
        return left

    def _use(self, held: int) -> None:
        """Let calls use so many slots, as far as they are leased."""
        self._share.resize(min(held, self._leases.slots), slots=self._slots, now=time.monotonic())


class RunLimits:
    """All shared limits of a run in this process. `shares` are what the engine's ports keep to, by model alias."""

    def __init__(self, config: DatasetConfig, run: RunConfig) -> None:
        self._row_group_limit = run.row_group_limit
        self._lease_seconds = run.lease_seconds
        self._holders: dict[str, ShareHolder] = {}
        self._slots: dict[str, Leases] = {}
        self.shares: dict[str, Share] = {}
        by_name: dict[str, Share] = {}
        limited = [model for model in config.model_configs if model.shared_limits is not None]
        self._server = LimitServer() if limited or run.row_group_limit is not None else None
        for model in limited:
            name, limits = model.shared_limit_name, model.shared_limits
            assert limits is not None
            if name not in by_name:
                by_name[name] = Share(
                    bounds_calls=limits.max_parallel_requests is not None, rpm=limits.rpm, tpm=limits.tpm
                )
                self._holders[name] = self._holder(name, by_name[name])
            self.shares[model.alias] = by_name[name]

    def _leases(self, name: str) -> Leases:
        assert self._server is not None
        return Leases(self._server, name, seconds=self._lease_seconds)

    def _holder(self, name: str, share: Share) -> ShareHolder:
        server = self._server
        assert server is not None

        def look() -> SharedLimitView:
            limit, members = server.find(name), server.find(members_of(name))
            if limit is None or members is None:
                gone = name if limit is None else members_of(name)
                raise ConfigError(f"the global concurrency limit {gone!r} is gone from Prefect's server; run again")
            return SharedLimitView(slots=limit.slots, taken=limit.taken, members=max(1, members.taken))

        return ShareHolder(share, self._leases(name), self._leases(members_of(name)), look=look)

    @property
    def are_none(self) -> bool:
        """Whether a row group has nothing to wait for or to take part in before it begins."""
        return self._row_group_limit is None and not self._holders

    @asynccontextmanager
    async def row_group(
        self, *, stopping: Callable[[], bool], failed: Callable[[DatagenError], None], say: Callable[[str], None]
    ) -> AsyncIterator[bool]:
        """Around a row group: yields once it may begin, or False where the run is stopped before that.

        Args:
            stopping: whether the run is ending.
            failed: is told of an error that ends the run.
            say: is told, once, that the row group waits.
        """
        slot = self._leases(self._row_group_limit.name) if self._row_group_limit is not None else None
        renewal: asyncio.Task[None] | None = None
        entered: list[ShareHolder] = []
        try:
            if slot is not None:
                if not await self._wait_for(slot, self._row_group_limit, stopping, say):
                    yield False
                    return
                renewal = asyncio.create_task(_keep(slot))
            for holder in self._holders.values():
                entered.append(holder)
                await holder.enter(failed)
            yield True
        finally:
            for holder in entered:
                await holder.leave()
            if renewal is not None:
                renewal.cancel()
                await asyncio.gather(renewal, return_exceptions=True)
            if slot is not None:
                await slot.release_all()

    async def _wait_for(
        self, slot: Leases, limit: RowGroupLimit | None, stopping: Callable[[], bool], say: Callable[[str], None]
    ) -> bool:
        said = False
        while not stopping():
            try:
                if await slot.acquire(1):
                    return True
            except httpx.HTTPError:
                pass  # the server does not answer just now
            if not said and limit is not None:
                say(f"waits for a slot of the global concurrency limit {limit.name!r}")
                said = True
            await asyncio.sleep(LOOK_EVERY * random.uniform(0.5, 1.0))
        return False

    async def aclose(self) -> None:
        """Give everything back. May be called twice."""
        for holder in self._holders.values():
            await holder.aclose()
        if self._server is not None:
            self._server.close()
            self._server = None


async def _keep(slot: Leases) -> None:
    while True:
        await asyncio.sleep(LOOK_EVERY)
        await slot.renew()


class LimitsOfRun:
    """The limits of a run whose row groups run in several processes: each model's hold for all of them together.

    Models without `shared_limits` get some of this run alone, which are there from `__enter__` to `__exit__`. Without
    `several`, there are none.

    Attributes:
        config: the run's config, with these limits in it.
    """

    def __init__(self, config: DatasetConfig, run_id: str, *, several: bool) -> None:
        models = [
            self._limited(model, f"run-{run_id[:12]}-{index}") if several else model
            for index, model in enumerate(config.model_configs)
        ]
        self._own = [
            new.shared_limit_name for new, old in zip(models, config.model_configs, strict=True) if new is not old
        ]
        self.config = config.model_copy(update={"model_configs": models}) if self._own else config

    @staticmethod
    def _limited(model: ModelConfig, name: str) -> ModelConfig:
        if model.shared_limits is not None:
            return model
        limits = SharedLimits(
            name=name,
            max_parallel_requests=model.inference_parameters.max_parallel_requests,
            rpm=model.rpm,
            tpm=model.tpm,
        )
        return model.model_copy(update={"shared_limits": limits})

    def __enter__(self) -> Self:
        if self._own:
            ensure_limits(self.config, RunConfig())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._delete()

    def start_over(self) -> None:
        """Nobody holds anything any more: all processes have died. Their leases would run out only after a while."""
        if self._own:
            self._delete()
            ensure_limits(self.config, RunConfig())

    def _delete(self) -> None:
        if not self._own:
            return
        with closing(LimitServer()) as server:
            for name in self._own:
                server.delete(name)
                server.delete(members_of(name))


def ensure_limits(config: DatasetConfig, run: RunConfig) -> list[str]:
    """Look at every shared limit that a run names, before anything is paid; create what is missing and may be created.

    Returns:
        What there is to say, a line each.

    Raises:
        ConfigError: a limit is missing and is not to be created, or has no slots.
    """
    wanted: dict[str, tuple[int | None, bool]] = {}
    if run.row_group_limit is not None:
        wanted[run.row_group_limit.name] = (run.row_group_limit.slots, run.row_group_limit.slots is not None)
    for model in config.model_configs:
        if model.shared_limits is not None:
            wanted[model.shared_limit_name] = (model.shared_limits.slots, model.shared_limits.create)
    if not wanted:
        return []
    server = LimitServer()
    try:
        said = [line for name, (slots, create) in wanted.items() for line in _ensure(server, name, slots, create)]
        for model in config.model_configs:
            if model.shared_limits is not None and server.find(members_of(model.shared_limit_name)) is None:
                server.create(members_of(model.shared_limit_name), MOST_MEMBERS)
    finally:
        server.close()
    return said


def _ensure(server: LimitServer, name: str, slots: int | None, create: bool) -> list[str]:
    found = server.find(name)
    if found is None:
        if slots is None or not create:
            raise ConfigError(
                f"Prefect's server has no global concurrency limit {name!r}, and without it nothing would be limited; "
                f"create it (prefect gcl create {name!r} --limit {slots or 'N'}), or let the run do so (slots: N of "
                "row_group_limit, create: true of shared_limits)"
            )
        server.create(name, slots)
        return [f"created the global concurrency limit {name!r} with {slots} slots, for all runs that name it"]
    if found.slots < 1:
        raise ConfigError(
            f"the global concurrency limit {name!r} has no slots: nothing could ever run; raise its limit"
        )
    if not found.active:
        return [f"the global concurrency limit {name!r} is switched off on the server: it limits nothing"]
    if slots is not None and found.slots != slots:
        return [
            f"the global concurrency limit {name!r} has {found.slots} slots on the server, which count; the config says "
            f"{slots} (prefect gcl update {name!r} --limit {slots} changes it)"
        ]
    return []


def members_of(name: str) -> str:
    """The limit that counts who takes part in the limit `name`."""
    return f"{name}-members"
