"""``client.priority``: statistics by priority."""

from __future__ import annotations

from ..transport import path_of
from ..types import PriorityStats
from ._service import Service


class PriorityService(Service):
    """Priorities are critical, high, normal, low and background; see ``PublishMessage``."""

    async def stats(self) -> PriorityStats:
        """Return numbers and waiting times by priority (``GET /priority/stats``).

        Returns:
            ``messages_by_priority`` (how many are kept) and ``avg_wait_time_by_priority`` (a
            duration: from publish or due time to the first delivery), each with all five
            priorities.
        """
        reply: PriorityStats = await self._get(path_of("priority", "stats"))
        return reply
