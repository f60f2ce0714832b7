"""What the tables of this package are made of."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, Callable, NamedTuple, Optional

from goqueue_client import GoQueueClient

TS = "2030-01-31T08:00:00.5Z"


class Call(NamedTuple):
    """One call of a service and the HTTP exchange it stands for."""

    name: str
    invoke: Callable[[GoQueueClient], Awaitable[Any]]
    method: str
    path: str
    reply: Any
    query: Optional[dict[str, str]] = None
    body: Optional[dict[str, Any]] = None
    status: int = 200


COORDINATES = {"topic": "orders", "partition": 0, "offset": 4}
MESSAGE = {
    "topic": "orders",
    "partition": 0,
    "offset": 4,
    "timestamp": TS,
    "key": "k",
    "value": "v",
    "priority": "normal",
    "headers": {"h": "x"},
}
