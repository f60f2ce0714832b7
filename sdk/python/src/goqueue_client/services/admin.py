"""``client.admin``: partitions and tenants."""

from __future__ import annotations

from typing import Optional

from ..transport import path_of
from ..types import (
    AddPartitionsRequest,
    AddPartitionsResponse,
    CreateTenantRequest,
    Tenant,
    TenantListResponse,
    TenantStatus,
)
from ._service import Service


class AdminService(Service):
    """Administration. Where the broker checks keys, these calls need an admin's."""

    async def add_partitions(
        self, topic: str, request: AddPartitionsRequest
    ) -> AddPartitionsResponse:
        """Give a topic more partitions (``POST /admin/topics/{topic}/partitions``).

        From then on keys are spread over the new number, so a key may move to another partition;
        messages already stored stay where they are.

        Args:
            topic: The topic.
            request: ``count``, the new total, up to 1024.

        Returns:
            ``success`` True, ``topic_name``, ``old_partition_count``, ``new_partition_count`` and
            ``partitions_added``, their numbers.

        Raises:
            GoQueueError: 400 if ``count`` is not above the current number or over the limit; 404
                ``topic_not_found``; 403 ``quota_exceeded``.
        """
        reply: AddPartitionsResponse = await self._post(
            path_of("admin", "topics", topic, "partitions"), request
        )
        return reply

    async def list_tenants(self, *, status: Optional[TenantStatus] = None) -> TenantListResponse:
        """Return all tenants but the default one, by id (``GET /admin/tenants``).

        Args:
            status: Only those that are "active", "suspended" or "disabled".

        Returns:
            ``tenants``.
        """
        reply: TenantListResponse = await self._get(path_of("admin", "tenants"), {"status": status})
        return reply

    async def create_tenant(self, request: CreateTenantRequest) -> Tenant:
        """Create a tenant (``POST /admin/tenants``).

        Args:
            request: ``name``, and optionally ``display_name`` and ``quotas``. The id is made from
                the name unless ``id`` is given.

        Returns:
            The tenant, with its ``id``, the value for the ``X-Tenant-ID`` header.

        Raises:
            GoQueueError: 409 ``tenant_exists``; 400 for a bad name, id or quota.
        """
        reply: Tenant = await self._post(path_of("admin", "tenants"), request)
        return reply
