"""Every reply of delivery has the type that the Python client declares for it, and no other member."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Awaitable, Callable
from types import ModuleType
from typing import Any, get_type_hints

from goqueue_client import GoQueueClient, GoQueueError
from harness import ROOT, Broker, unique


def load_shape() -> ModuleType:
    """The checker of the client's own tests."""
    spec = importlib.util.spec_from_file_location("shape", ROOT / "sdk/python/tests/shape.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SHAPE = load_shape()


async def typed(call: Callable[..., Awaitable[Any]], *arguments: Any, **more: Any) -> Any:
    """The reply of a call, which must be of the declared type."""
    reply = await call(*arguments, **more)
    SHAPE.check_shape(reply, get_type_hints(call)["return"], call.__qualname__)
    return reply


async def refused(status: int, call: Callable[..., Awaitable[Any]], *arguments: Any) -> None:
    try:
        await call(*arguments)
    except GoQueueError as error:
        assert error.status == status, error
    else:
        raise AssertionError(f"{call.__qualname__}: not refused")


async def settle(c: GoQueueClient, topic: str, group: str) -> None:
    await typed(c.topics.create, {
        "name": topic, "num_partitions": 1, "max_deliveries": 2, "max_in_flight": 50,
        "max_delayed": 10, "priority_mode": "weighted", "visibility_timeout": "1m",
    })
    details = await typed(c.topics.get, topic)
    assert details["dlq_topic"] is None
    await typed(c.messages.publish, topic, [
        {"value": str(i), "priority": "high" if i else "critical", "headers": {"n": str(i)}} for i in range(4)
    ])
    join = {"client_id": "c", "topics": [topic], "max_deliveries": 2, "max_in_flight": 9}
    member = (await typed(c.groups.join, group, join))["member_id"]
    one, two, three, four = (await typed(c.groups.poll, group, member, timeout="0s"))["messages"]
    for _ in range(2):
        await typed(c.messages.ack, one["receipt_handle"], consumer_id="me")
        await typed(c.messages.nack, two["receipt_handle"], delay="0s", reason="busy")
        await typed(c.messages.reject, three["receipt_handle"], reason="no")
        await typed(c.messages.extend_visibility, four["receipt_handle"], timeout="90s")
    [again] = (await typed(c.groups.poll, group, member, timeout="10s"))["messages"]
    for _ in range(2):
        dead = await typed(c.messages.nack, again["receipt_handle"])
        assert dead["dlq_topic"] == f"{topic}.dlq"
    await typed(c.messages.reject, four["receipt_handle"])
    details = await typed(c.topics.get, topic)
    assert details["dlq_topic"] == f"{topic}.dlq"
    await typed(c.topics.get, f"{topic}.dlq")
    letters = await typed(c.messages.consume, f"{topic}.dlq", 0)
    assert [m["value"] for m in letters["messages"]] == ["2", "1", "3"]
    member = (await typed(c.groups.join, group + "-dlq", {"client_id": "c", "topics": [f"{topic}.dlq"]}))["member_id"]
    first, *_ = (await typed(c.groups.poll, group + "-dlq", member, timeout="0s"))["messages"]
    assert (await typed(c.messages.reject, first["receipt_handle"]))["dlq_topic"] is None
    stats = await typed(c.messages.reliability_stats)
    assert (stats["acks_total"], stats["nacks_total"], stats["rejects_total"]) == (1, 2, 3)
    await typed(c.priority.stats)
    await typed(c.groups.get_offsets, group)
    await refused(410, c.messages.extend_visibility, two["receipt_handle"], "5s")
    await refused(404, c.messages.nack, one["receipt_handle"])
    await refused(400, c.messages.reject, "rubbish")


async def delay(c: GoQueueClient, topic: str) -> None:
    await typed(c.topics.create, {"name": topic, "num_partitions": 1})
    results = (await typed(c.messages.publish, topic, [
        {"value": "a", "delay": "1h", "key": "k"},
        {"value": "b", "deliverAt": "2100-01-01T00:00:00Z"},
        {"value": "c", "delay": "2h", "priority": "low"},
    ]))["results"]
    assert [("error" in r) for r in results] == [False, True, False]
    listed = await typed(c.delayed.list, topic)
    assert [m["value"] for m in listed["messages"]] == ["a", "c"]
    await typed(c.delayed.list, topic, limit=1, skip=1)
    for result in (results[0], results[2]):
        got = await typed(c.delayed.get, topic, result["offset"], partition=result["partition"])
        assert got["deliver_at"] == result["deliverAt"]
        await typed(c.delayed.get, topic, result["offset"])
        for _ in range(2):
            await typed(c.delayed.cancel, topic, result["partition"], result["offset"])
        await refused(404, c.delayed.get, topic, result["offset"])
    stats = await typed(c.delayed.stats)
    assert (stats["pending_count"], stats["cancelled_count"]) == (0, 2)


def test_settling(own_broker: Broker) -> None:
    async def main() -> None:
        async with GoQueueClient(own_broker.url) as client:
            await settle(client, unique("topic"), unique("group"))

    asyncio.run(main())


def test_delaying(own_broker: Broker) -> None:
    async def main() -> None:
        async with GoQueueClient(own_broker.url) as client:
            await delay(client, unique("topic"))

    asyncio.run(main())
