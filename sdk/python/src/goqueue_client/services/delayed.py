"""``client.delayed``: messages that are published but not due yet."""

from __future__ import annotations

from typing import Optional

from ..transport import path_of
from ..types import CancelDelayedResponse, DelayedMessage, DelayedMessagesResponse, DelayStats
from ._service import Service


class DelayedService(Service):
    """Delayed messages. Publish one with ``delay`` or ``deliverAt``."""

    async def list(
        self, topic: str, *, limit: int = 100, skip: Optional[int] = None
    ) -> DelayedMessagesResponse:
        """Return the pending messages of a topic (``GET /topics/{topic}/delayed``).

        Args:
            topic: The topic.
            limit: At most this many, 1 to 1000.
            skip: Leave out this many first ones.

        Returns:
            ``messages``, the next due first, and ``count``, how many were returned.

        Raises:
            GoQueueError: 404 ``topic_not_found``.
        """
        reply: DelayedMessagesResponse = await self._get(
            path_of("topics", topic, "delayed"), {"limit": limit, "skip": skip}
        )
        return reply

    async def get(
        self, topic: str, offset: int, *, partition: Optional[int] = None
    ) -> DelayedMessage:
        """Return one pending message (``GET /topics/{topic}/delayed/{offset}``).

        Args:
            topic: The topic.
            offset: As ``publish`` returned it.
            partition: The partition; absent = the lowest one with such a pending offset.

        Returns:
            ``topic``, ``partition``, ``offset``, ``deliver_at`` (a timestamp) and ``priority``.

        Raises:
            GoQueueError: 404 ``topic_not_found``, or ``delayed_not_found`` if it was never delayed,
                is due already, or was cancelled.
        """
        reply: DelayedMessage = await self._get(
            path_of("topics", topic, "delayed", offset), {"partition": partition}
        )
        return reply

    async def cancel(self, topic: str, partition: int, offset: int) -> CancelDelayedResponse:
        """Cancel a pending message for good (``DELETE /topics/{topic}/delayed/{p}/{offset}``).

        Args:
            topic: The topic.
            partition: The partition.
            offset: The offset.

        Returns:
            ``cancelled`` True; ``already_cancelled`` True if it had been cancelled before.

        Raises:
            GoQueueError: 404 ``topic_not_found``, or ``delayed_not_found`` if it was never delayed
                or is due already.
        """
        reply: CancelDelayedResponse = await self._delete(
            path_of("topics", topic, "delayed", partition, offset)
        )
        return reply

    async def stats(self) -> DelayStats:
        """Return counts of delayed messages (``GET /delay/stats``).

        Returns:
            ``pending_count``, ``delivered_count``, ``cancelled_count`` and ``avg_delay``, the mean
            of the requested delays (a duration).
        """
        reply: DelayStats = await self._get(path_of("delay", "stats"))
        return reply
