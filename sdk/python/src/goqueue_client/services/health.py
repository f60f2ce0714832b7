"""``client.health``: probes, version, statistics and metrics."""

from __future__ import annotations

from ..transport import path_of
from ..types import (
    HealthResponse,
    LivenessResponse,
    ReadinessResponse,
    StatsResponse,
    VersionResponse,
)
from ._service import Service


class HealthService(Service):
    """Health of the broker.

    The probes answer 503 while the broker cannot serve. Like every 503 that is repeated a few
    times and then raised as :class:`GoQueueError`; its ``body`` has the same shape as the reply.
    """

    async def check(self) -> HealthResponse:
        """Return the overall state of the broker (``GET /health``).

        Returns:
            ``status`` ("ok", "degraded" or "fail") and ``timestamp``.

        Raises:
            GoQueueError: 503 if the broker cannot serve.
        """
        reply: HealthResponse = await self._get(path_of("health"))
        return reply

    async def liveness(self) -> LivenessResponse:
        """Ask whether the process is alive, as a liveness probe does (``GET /healthz``).

        Returns:
            ``status`` "pass", ``timestamp`` and ``uptime`` (a duration).

        Raises:
            GoQueueError: 503 if it should be restarted.
        """
        reply: LivenessResponse = await self._get(path_of("healthz"))
        return reply

    async def readiness(self, *, verbose: bool = False) -> ReadinessResponse:
        """Ask whether the broker takes requests, as a readiness probe does (``GET /readyz``).

        Args:
            verbose: Add the result of each check and a summary of the broker.

        Returns:
            ``status`` "pass", ``timestamp`` and ``uptime``; with ``verbose`` also ``checks`` (by
            name, each with a ``status``) and ``broker``.

        Raises:
            GoQueueError: 503 while starting, shutting down, or when the storage fails.
        """
        reply: ReadinessResponse = await self._get(path_of("readyz"), {"verbose": verbose})
        return reply

    async def startup(self) -> LivenessResponse:
        """Ask whether the recovery at start is finished, as a startup probe does (``GET /livez``).

        Returns:
            ``status`` "pass", ``timestamp`` and ``uptime``.

        Raises:
            GoQueueError: 503 until then.
        """
        reply: LivenessResponse = await self._get(path_of("livez"))
        return reply

    async def version(self) -> VersionResponse:
        """Return what is running (``GET /version``).

        Returns:
            ``version``, ``git_commit``, ``build_time``, ``go_version`` (empty), and ``features``,
            the names of optional abilities of this broker.
        """
        reply: VersionResponse = await self._get(path_of("version"))
        return reply

    async def stats(self) -> StatsResponse:
        """Return counts and sizes (``GET /stats``).

        With an ``X-Tenant-ID`` header they cover that tenant only.

        Returns:
            ``node_id``, ``uptime`` (a duration), ``topics`` (how many), ``total_size_bytes``, and
            ``topic_stats`` by topic name.
        """
        reply: StatsResponse = await self._get(path_of("stats"))
        return reply

    async def metrics(self) -> str:
        """Return the metrics in the Prometheus text format (``GET /metrics``).

        Returns:
            The text, as a Prometheus server would scrape it.
        """
        reply: str = await self._get(path_of("metrics"))
        return reply
