"""Contract 4.1: probes, version, statistics."""

from __future__ import annotations

import asyncio
import re
from datetime import datetime, timedelta, timezone

import httpx
from goqueue_client import GoQueueClient, GoQueueError
from harness import Broker, ok, refused

DURATION = re.compile(r"0s|(\d+h)?(\d+m)?\d+(\.\d+)?s|\d+(\.\d+)?(ms|µs|ns)")


def recent(text: str) -> bool:
    stamp = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return text.endswith("Z") and abs(datetime.now(timezone.utc) - stamp) < timedelta(minutes=1)


def test_health(broker: Broker) -> None:
    body = ok(broker.get("/health"))
    assert body["status"] == "ok"
    assert recent(body["timestamp"])
    assert DURATION.fullmatch(body["uptime"])
    assert body["version"]


def test_probes(broker: Broker) -> None:
    for path in ("/healthz", "/livez", "/readyz", "/v1/healthz", "/v1/livez", "/v1/readyz"):
        body = ok(broker.get(path))
        assert body["status"] == "pass"
        assert recent(body["timestamp"])
        assert DURATION.fullmatch(body["uptime"])
        assert "checks" not in body


def test_verbose_readiness(broker: Broker) -> None:
    assert "checks" not in ok(broker.get("/readyz", verbose="false"))
    for value in ("true", "1", "TRUE", "True"):
        body = ok(broker.get("/readyz", verbose=value))
        assert {"broker", "storage"} <= set(body["checks"])
        for check in body["checks"].values():
            assert check["status"] == "pass"
            assert DURATION.fullmatch(check["latency"])
        assert body["broker"]["node_id"] == "node-1"
        assert body["broker"]["topic_count"] >= 0
        assert body["broker"]["total_size"] >= 0
    refused(broker.get("/readyz", verbose="yes"), 400, "invalid_argument")


def test_version(broker: Broker) -> None:
    body = ok(broker.get("/version"))
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", body["version"])
    assert body["go_version"] == ""
    assert body["git_commit"]
    assert body["build_time"]
    assert body["compiler"]


def test_stats(own_broker: Broker) -> None:
    own_broker.create("orders", 2)
    own_broker.create("orders.dlq", 1)
    own_broker.publish("orders", "a", "b", "c")
    own_broker.join("workers", "orders")
    body = ok(own_broker.get("/stats"))
    assert body["node_id"] == "node-1"
    assert DURATION.fullmatch(body["uptime"])
    assert body["topics"] == 2
    assert body["topic_list"] == ["orders", "orders.dlq"]
    assert body["groups"] == 1
    orders = body["topic_stats"]["orders"]
    assert (orders["name"], orders["partitions"], orders["total_messages"]) == ("orders", 2, 3)
    sizes = [t["total_size_bytes"] for t in body["topic_stats"].values()]
    assert body["total_size_bytes"] == sum(sizes)
    assert orders["total_size_bytes"] > 0


def test_node_id(idle_broker: Broker) -> None:
    idle_broker.start(BROKER_NODEID="näh-7")
    assert ok(idle_broker.get("/stats"))["node_id"] == "näh-7"


def test_through_the_sdk(broker: Broker) -> None:
    async def check() -> None:
        async with GoQueueClient(broker.url, max_retries=0) as client:
            assert (await client.health.check())["status"] == "ok"
            assert (await client.health.liveness())["status"] == "pass"
            ready = await client.health.readiness(verbose=True)
            assert all(c["status"] == "pass" for c in ready["checks"].values())
            stats = await client.health.stats()
            assert isinstance(stats["topics"], int)
            assert stats["uptime"]
            try:
                await client.topics.get("non-existent-topic")
            except GoQueueError as error:
                assert (error.message, error.status) == ("topic not found", 404)
            else:
                raise AssertionError("no error")

    asyncio.run(check())


def test_topics_of_one_name_in_two_tenants_are_told_as_one(broker: Broker) -> None:
    for headers in ({}, {"X-Tenant-ID": "acme-stats"}):
        reply = httpx.post(
            f"{broker.url}/topics",
            json={"name": "shared-name", "num_partitions": 2},
            headers=headers,
        )
        assert reply.status_code == 201
    stats = httpx.get(f"{broker.url}/stats")
    assert stats.text.count('"shared-name":') == 1
    assert stats.json()["topic_stats"]["shared-name"]["partitions"] == 4
    assert stats.json()["topic_list"].count("shared-name") == 1
