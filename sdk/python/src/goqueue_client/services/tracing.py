"""``client.tracing``: what happened to a message."""

from __future__ import annotations

from typing import Optional

from ..transport import path_of
from ..types import Trace, TraceListResponse, TracerStats, TraceSearchParams
from ._service import Service


class TracingService(Service):
    """Traces: one per message, kept for a while after it was published."""

    async def list(self, *, limit: int = 100) -> TraceListResponse:
        """Return the latest traces, newest first (``GET /traces``).

        Args:
            limit: At most this many, 1 to 1000.

        Returns:
            ``traces``.
        """
        reply: TraceListResponse = await self._get(path_of("traces"), {"limit": limit})
        return reply

    async def search(self, params: Optional[TraceSearchParams] = None) -> TraceListResponse:
        """Return the traces that match all given conditions (``GET /traces/search``).

        Args:
            params: Any of ``topic``, ``partition``, ``consumer_group``, ``start`` and ``end``
                (timestamps, inclusive, of the time of publishing), ``status`` and ``limit``.

        Returns:
            ``traces``, newest first.

        Raises:
            GoQueueError: 400 for a malformed condition.
        """
        reply: TraceListResponse = await self._get(path_of("traces", "search"), params)
        return reply

    async def get(self, trace_id: str) -> Trace:
        """Return one trace (``GET /traces/{trace_id}``).

        Args:
            trace_id: From ``publish``, ``list`` or ``search``.

        Returns:
            ``trace_id``, ``topic``, ``partition``, ``offset``, ``status`` and ``events``, each with
            ``timestamp``, ``event_type`` and ``details``.

        Raises:
            GoQueueError: 404 ``trace_not_found``.
        """
        reply: Trace = await self._get(path_of("traces", trace_id))
        return reply

    async def stats(self) -> TracerStats:
        """Return counts of traces (``GET /traces/stats``).

        Returns:
            ``traces_total``, ``traces_completed``, ``traces_error`` and ``avg_latency``, from
            publish to the first acknowledgement (a duration).
        """
        reply: TracerStats = await self._get(path_of("traces", "stats"))
        return reply
