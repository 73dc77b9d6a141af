"""A lease storage for a test server: leases run out twenty times as fast, since Prefect's shortest is a minute."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from prefect.server.concurrency.lease_storage import ConcurrencyLimitLeaseMetadata
from prefect.server.concurrency.lease_storage.memory import ConcurrencyLeaseStorage as InMemoryStorage
from prefect.server.utilities.leasing import ResourceLease

TIMES_FASTER = 20


class ConcurrencyLeaseStorage(InMemoryStorage):
    """Named as Prefect looks for it."""

    async def create_lease(
        self, resource_ids: list[UUID], ttl: timedelta, metadata: ConcurrencyLimitLeaseMetadata | None = None
    ) -> ResourceLease[ConcurrencyLimitLeaseMetadata]:
        return await super().create_lease(resource_ids, ttl / TIMES_FASTER, metadata)

    async def renew_lease(self, lease_id: UUID, ttl: timedelta) -> bool:
        return await super().renew_lease(lease_id, ttl / TIMES_FASTER)
