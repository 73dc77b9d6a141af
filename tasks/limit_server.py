"""Global concurrency limits of Prefect's server, in the few words that leases need. Every method is one request, and blocks.

Prefect's own `concurrency()` is not used: it goes on without any limit where the limit is missing, waits for up to 30 s
between two tries, and has a thread per lease. Nor are its rate limits (slots that decay): a request that is denied sets
the time that decay is counted from, so processes that ask often get ever less than the rate.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound

from prefect_datagen.engine.errors import ConfigError


@dataclass(frozen=True)
class FoundLimit:
    """A limit as the server has it. One that is not `active` limits nothing."""

    slots: int
    taken: int
    active: bool


class LimitServer:
    """The server that a run reports to. Opened in its flow or task run (whose settings count), used by any thread."""

    def __init__(self) -> None:
        self._client: SyncPrefectClient = get_client(sync_client=True).__enter__()

    def close(self) -> None:
        """Close the connection."""
        self._client.__exit__(None, None, None)

    def find(self, name: str) -> FoundLimit | None:
        """The limit, or None where there is none."""
        try:
            found = self._client.read_global_concurrency_limit_by_name(name)
        except ObjectNotFound:
            return None
        return FoundLimit(found.limit, found.active_slots, found.active)

    def create(self, name: str, slots: int) -> bool:
        """Create a limit. False where another process has just done so."""
        try:
            self._client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=name, limit=slots))
        except (ObjectAlreadyExists, httpx.HTTPStatusError):
            if self.find(name) is None:
                raise
            return False
        return True

    def delete(self, name: str) -> None:
        """Delete a limit, if it is there."""
        with suppress(ObjectNotFound):
            self._client.delete_global_concurrency_limit_by_name(name)

    def acquire(self, name: str, slots: int, *, lease_seconds: float) -> UUID | None:
        """Lease slots; None where not so many are free.

        Raises:
            ConfigError: the limit is gone from the server.
        """
        try:
            answer = self._client.increment_concurrency_slots_with_lease(
                names=[name], slots=slots, mode="concurrency", lease_duration=lease_seconds
            )
        except httpx.HTTPStatusError as error:
            if error.response.status_code in (HTTPStatus.LOCKED, HTTPStatus.UNPROCESSABLE_ENTITY):
                return None  # none free, or the limit was made smaller than what is asked for
            raise
        leased = answer.json()
        if not leased["limits"]:
            raise ConfigError(
                f"the global concurrency limit {name!r} is gone from Prefect's server while a run needs it; run again, "
                f"or create it: prefect gcl create {name!r} --limit N"
            )
        return UUID(leased["lease_id"])

    def renew(self, lease: UUID, *, lease_seconds: float) -> bool:
        """Keep a lease for another `lease_seconds`. False where it has run out."""
        try:
            self._client.renew_concurrency_lease(lease_id=lease, lease_duration=lease_seconds)
        except ObjectNotFound:
            return False
        except httpx.HTTPStatusError as error:
            if error.response.status_code in (HTTPStatus.GONE, HTTPStatus.NOT_FOUND):
                return False
            raise
        return True

    def release(self, lease: UUID) -> None:
        """Give leased slots back. Nothing happens where the lease has run out."""
        self._client.release_concurrency_slots_with_lease(lease_id=lease)
