"""What every service has in common: a transport and the four HTTP verbs.

A reply is ``Any`` here; each call of a service gives it the type the contract promises.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Optional

from ..durations import parse_duration
from ..transport import Transport


class Service:
    """Base of the services. A service holds nothing but the transport they all share."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def _get(
        self,
        path: str,
        query: Optional[Mapping[str, Any]] = None,
        *,
        wait: Optional[str] = None,
    ) -> Any:
        """GET; ``wait`` is the duration for which the broker may hold the request back."""
        return await self._transport.request(
            "GET", path, query=query, wait_seconds=_wait_seconds(wait)
        )

    async def _post(
        self,
        path: str,
        body: Mapping[str, Any],
        *,
        headers: Optional[Mapping[str, str]] = None,
    ) -> Any:
        return await self._transport.request("POST", path, body=body, headers=headers)

    async def _put(self, path: str, body: Mapping[str, Any]) -> Any:
        return await self._transport.request("PUT", path, body=body)

    async def _delete(self, path: str) -> Any:
        return await self._transport.request("DELETE", path)


def _wait_seconds(wait: Optional[str]) -> float:
    try:
        return parse_duration(wait) if wait else 0.0
    except ValueError:
        return 0.0  # the broker answers 400 at once, and says what is wrong with it
