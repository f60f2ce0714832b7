"""The client: one object that holds the connection pool and the ten services."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Optional

import httpx

from .services import (
    AdminService,
    DelayedService,
    GroupsService,
    HealthService,
    MessagesService,
    PriorityService,
    SchemasService,
    TopicsService,
    TracingService,
    TransactionsService,
)
from .transport import Transport


class GoQueueClient:
    """A client of one GoQueue broker.

    Use it as an async context manager, or call :meth:`close` when done. One client serves any
    number of tasks at the same time, all in one event loop. Creating it sends nothing.

    Args:
        base_url: ``http://host:port`` or ``https://host:port`` of the broker; a path such as
            ``/v1`` is kept as a prefix.
        timeout: Seconds to wait for a connection, and for the next piece of an answer. Calls that
            wait at the broker (``groups.poll``, ``messages.consume`` with a ``timeout``) get their
            own timeout plus a margin where that is longer. None = wait for ever.
        headers: Sent with every request, for example ``X-Tenant-ID`` or ``Authorization``.
        max_retries: How often a call is repeated after a 5xx reply or a network error; 0 = never.
        initial_delay: Seconds before the first repetition, doubled for each further one.
        max_delay: The longest pause between two attempts, in seconds. It also bounds the pause the
            broker asks for with ``Retry-After``.
        transport: The httpx transport to use instead of the network's own: a stub in tests, a Unix
            socket, special TLS settings.

    Raises:
        ValueError: ``base_url`` is not an http or https URL, or a retry setting is negative.

    Attributes:
        health: Probes, version, statistics, metrics.
        topics: Create, list, inspect and delete topics.
        messages: Publish, read by offset, acknowledge.
        delayed: Look at and cancel messages that are not due yet.
        groups: Consumer groups: join, poll, heartbeat, leave, offsets.
        priority: Statistics by priority.
        schemas: The schema registry.
        transactions: Producers and transactions.
        tracing: What happened to a message.
        admin: Partitions and tenants.

    Example::

        async with GoQueueClient("http://localhost:8080") as client:
            await client.messages.publish("orders", [{"value": "hello"}])
    """

    def __init__(
        self,
        base_url: str,
        *,
        timeout: Optional[float] = 30.0,
        headers: Optional[Mapping[str, str]] = None,
        max_retries: int = 3,
        initial_delay: float = 0.1,
        max_delay: float = 5.0,
        transport: Optional[httpx.AsyncBaseTransport] = None,
    ) -> None:
        self._transport = Transport(
            base_url,
            timeout=timeout,
            headers=headers,
            max_retries=max_retries,
            initial_delay=initial_delay,
            max_delay=max_delay,
            http_transport=transport,
        )
        self.health = HealthService(self._transport)
        self.topics = TopicsService(self._transport)
        self.messages = MessagesService(self._transport)
        self.delayed = DelayedService(self._transport)
        self.groups = GroupsService(self._transport)
        self.priority = PriorityService(self._transport)
        self.schemas = SchemasService(self._transport)
        self.transactions = TransactionsService(self._transport)
        self.tracing = TracingService(self._transport)
        self.admin = AdminService(self._transport)

    async def close(self) -> None:
        """Close the client's connections. Calling it twice does no harm."""
        await self._transport.close()

    async def __aenter__(self) -> GoQueueClient:
        return self

    async def __aexit__(
        self,
        exc_type: Optional[type[BaseException]],
        exc: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        await self.close()
