"""Contract 4.1, 4.2 and 4.3: what the broker tells about deliveries."""

from __future__ import annotations

import time
from typing import Any

import pytest
from harness import PATIENCE, Broker, Setting, after, eventually, ok, refused, unique
from test_metrics import metrics, value


def in_flight(b: Broker, topic: str) -> dict[str, Any]:
    got = ok(b.get(f"/topics/{topic}/inflight"))
    assert got["topic"] == topic
    return got


def counts(got: dict[str, Any]) -> dict[str, int]:
    return {p: part["in_flight_count"] for p, part in got["partitions"].items()}


def test_in_flight(broker: Broker) -> None:
    messages = [{"value": f"{p}-{i}", "partition": p} for p in (0, 1) for i in range(3)]
    s = Setting(broker, messages, partitions=3)
    got = in_flight(broker, s.topic)
    assert set(got["partitions"]) == {"0", "1", "2"}
    assert counts(got) == {"0": 0, "1": 0, "2": 0}
    assert {p["oldest_in_flight_age_seconds"] for p in got["partitions"].values()} == {0}
    assert got["groups"] == {s.group: 0}
    held = s.poll()
    other = unique("group")
    member = broker.join(other, s.topic)["member_id"]
    assert len(broker.poll(other, member, max_messages=4)) == 4
    got = in_flight(broker, s.topic)
    assert sum(counts(got).values()) == 10
    assert got["groups"] == {s.group: 6, other: 4}
    one = {m["value"]: m["receipt_handle"] for m in held}
    ok(broker.ack(one["0-0"]))
    ok(broker.nack(one["0-1"], delay="1h"))
    ok(broker.reject(one["1-0"]))
    ok(broker.extend(one["1-1"]))
    assert in_flight(broker, s.topic)["groups"] == {s.group: 3, other: 4}
    ok(broker.post(f"/groups/{other}/leave", {"member_id": member}))
    got = in_flight(broker, s.topic)
    assert got["groups"].get(other, 0) == 0
    assert counts(got) == {"0": 1, "1": 2, "2": 0}
    ok(broker.delete(f"/groups/{s.group}"))
    got = in_flight(broker, s.topic)
    assert counts(got) == {"0": 0, "1": 0, "2": 0}
    assert s.group not in got["groups"]


def test_the_age_of_the_oldest(broker: Broker) -> None:
    s = Setting(broker, 2)
    [first] = s.poll(max_messages=1)
    time.sleep(1.1)
    [second] = s.poll(max_messages=1)

    def age() -> float:
        seconds = in_flight(broker, s.topic)["partitions"]["0"]["oldest_in_flight_age_seconds"]
        assert isinstance(seconds, (int, float))
        assert not isinstance(seconds, bool)
        return seconds

    assert 1 <= age() < 1 + 5 * PATIENCE
    ok(broker.ack(first["receipt_handle"]))
    assert age() < 1.1 + 5 * (PATIENCE - 1)
    ok(broker.ack(second["receipt_handle"]))
    assert age() == 0


def test_expired_ones_are_not_in_flight(broker: Broker) -> None:
    s = Setting(broker, 3, visibility_timeout="100ms")
    held = s.poll()
    after(held[-1]["visibility_deadline"])
    eventually(lambda: counts(in_flight(broker, s.topic)) == {"0": 0})


@pytest.mark.parametrize("how", ["restart", "crash"])
def test_in_flight_after(own_broker: Broker, how: str) -> None:
    """What is still out counts still, or is told as not out; it never counts twice."""
    b = own_broker
    s = Setting(b, 5, visibility_timeout="2s")
    held = s.poll()
    ok(b.ack(held[0]["receipt_handle"]))
    getattr(b, how)()
    assert counts(in_flight(b, s.topic))["0"] in (0, 4)
    back = s.receive(4)
    assert counts(in_flight(b, s.topic)) == {"0": 4}
    for message in back:
        ok(b.ack(message["receipt_handle"]))
    assert counts(in_flight(b, s.topic)) == {"0": 0}


def test_unknown_topics(broker: Broker) -> None:
    refused(broker.get(f"/topics/{unique()}/inflight"), 404, "topic_not_found")
    refused(broker.get("/topics/a%20b/inflight"), 404)
    refused(broker.post("/topics/x/inflight"), 405, "method_not_allowed")


def test_of_dead_letters(broker: Broker) -> None:
    s = Setting(broker, 1)
    ok(broker.reject(s.poll()[0]["receipt_handle"]))
    group = unique("group")
    member = broker.join(group, f"{s.topic}.dlq")["member_id"]
    assert broker.poll(group, member)
    assert in_flight(broker, f"{s.topic}.dlq")["groups"] == {group: 1}


def test_routes_are_under_v1_too(broker: Broker) -> None:
    """And HEAD is GET without a body."""
    s = Setting(broker, [{"value": "x", "delay": "1h"}])
    for path in (f"/topics/{s.topic}/inflight", f"/topics/{s.topic}/delayed", f"/topics/{s.topic}/delayed/0",
                 "/delay/stats", "/priority/stats", "/reliability/stats"):
        for prefix in ("", "/v1"):
            ok(broker.get(prefix + path))
            head = broker.request("HEAD", prefix + path)
            assert (head.status_code, head.content) == (200, b"")
        ok(broker.get(path + "/"))
    for operation in ("nack", "reject", "visibility"):
        refused(broker.post(f"/v1/messages/{operation}", {"receipt_handle": "x", "timeout": "1s"}), 400)
    refused(broker.post("/v1/messages/dlq/replay", {"dlq_topic": f"{unique()}.dlq"}), 404)
    ok(broker.delete(f"/v1/topics/{s.topic}/delayed/0/0"))


# /reliability/stats.

FLAT = {"acks_total", "nacks_total", "rejects_total", "dlq_messages", "visibility_extensions"}
ACKS = {"total_acks", "total_nacks", "total_rejects", "total_expired", "total_retries", "total_dlq",
        "current_queued"}  # fmt: skip
TRACKER = {"total_tracked", "current_in_flight", "total_expired", "total_acked", "total_extended"}
DEAD = {"total_routed", "routes_by_reason", "routes_by_topic", "create_errors", "publish_errors"}


def stats(b: Broker) -> dict[str, Any]:
    got = ok(b.get("/reliability/stats"))
    assert FLAT | {"ack_manager", "visibility_tracker", "dlq"} <= set(got)
    assert ACKS <= set(got["ack_manager"])
    assert TRACKER <= set(got["visibility_tracker"])
    assert DEAD <= set(got["dlq"])
    numbers = [got[name] for name in FLAT]
    numbers += [got["ack_manager"][n] for n in ACKS] + [got["visibility_tracker"][n] for n in TRACKER]
    numbers += [got["dlq"][n] for n in DEAD if not n.startswith("routes")]
    numbers += [*got["dlq"]["routes_by_reason"].values(), *got["dlq"]["routes_by_topic"].values()]
    assert all(type(n) is int and n >= 0 for n in numbers), got
    return dict(got)


def test_stats_at_the_start(own_broker: Broker) -> None:
    got = stats(own_broker)
    assert all(got[name] == 0 for name in FLAT)
    assert all(got["ack_manager"][name] == 0 for name in ACKS)
    assert all(got["visibility_tracker"][name] == 0 for name in TRACKER)
    assert got["dlq"]["total_routed"] == 0


def test_stats(own_broker: Broker) -> None:
    b = own_broker
    s = Setting(b, 8, topic={"max_deliveries": 2})
    expiring = Setting(b, 2, topic={"max_deliveries": 2}, visibility_timeout="200ms")
    held = [m["receipt_handle"] for m in s.poll()]
    for handle in held[:2]:
        ok(b.ack(handle))
    ok(b.ack(held[0]))  # repeats count for nothing
    for _ in range(3):
        ok(b.extend(held[7]))
    for handle in held[2:5]:
        ok(b.nack(handle, delay="1h" if handle == held[4] else "0s"))
    ok(b.nack(held[2]))
    for handle in held[5:7]:
        ok(b.reject(handle))
    ok(b.reject(held[5]))
    for message in s.receive(2):
        ok(b.nack(message["receipt_handle"]))  # the last allowed
    for _ in range(2):
        assert len(expiring.receive(2)) == 2
    eventually(lambda: len(b.dead_letters(expiring.topic)) == 2)
    got = stats(b)
    assert (got["acks_total"], got["nacks_total"], got["rejects_total"]) == (2, 5, 2)
    assert (got["dlq_messages"], got["visibility_extensions"]) == (6, 3)
    acks, tracker, dead = got["ack_manager"], got["visibility_tracker"], got["dlq"]
    assert (acks["total_acks"], acks["total_nacks"], acks["total_rejects"]) == (2, 5, 2)
    assert acks["total_dlq"] == 6
    assert acks["total_expired"] == tracker["total_expired"] == 4
    assert acks["total_retries"] == 4  # deliveries beyond a message's first
    assert acks["current_queued"] == 1  # waits for its hour
    assert tracker["total_tracked"] == 8 + 2 + 2 + 2
    assert tracker["current_in_flight"] == 1
    assert tracker["total_acked"] == 2
    assert tracker["total_extended"] == 3
    assert dead["total_routed"] == 6
    assert dead["routes_by_reason"] == {"REJECTED": 2, "MAX_RETRIES_EXCEEDED": 4}
    assert sorted(dead["routes_by_topic"].values()) == [2, 4]
    assert (dead["create_errors"], dead["publish_errors"]) == (0, 0)
    ok(b.post("/messages/dlq/replay", {"dlq_topic": f"{s.topic}.dlq"}))
    got = stats(b)
    assert got["dlq_messages"] == 2  # those that are there now
    assert got["dlq"]["total_routed"] == 6


@pytest.mark.parametrize("how", ["restart", "crash"])
def test_stats_survive(own_broker: Broker, how: str) -> None:
    """What is in the dead-letter topics is what is there; totals never fall."""
    b = own_broker
    s = Setting(b, 4)
    one, two, three, _ = s.poll()
    ok(b.ack(one["receipt_handle"]))
    ok(b.nack(two["receipt_handle"], delay="1h"))
    ok(b.reject(three["receipt_handle"]))
    getattr(b, how)()
    got = stats(b)
    assert got["dlq_messages"] == 1
    assert got["ack_manager"]["current_queued"] in (0, 1, 2)


def test_stats_of_a_tenant(own_broker: Broker) -> None:
    b = own_broker
    s = Setting(b, 1)
    ok(b.reject(s.poll()[0]["receipt_handle"]))
    headers = {"X-Tenant-ID": "somebody-else"}
    assert ok(b.request("GET", "/reliability/stats", headers=headers))["dlq_messages"] == 0
    assert stats(b)["dlq_messages"] == 1


# /metrics.


def test_metrics(own_broker: Broker) -> None:
    b = own_broker
    s = Setting(b, 6)
    held = [m["receipt_handle"] for m in s.poll()]
    ok(b.ack(held[0]))
    for handle in held[1:3]:
        ok(b.nack(handle, delay="1h"))
    ok(b.reject(held[3]))
    delayed = b.publish(s.topic, *({"value": "x", "delay": "1h"} for _ in range(4)))
    ok(b.delete(f"/topics/{s.topic}/delayed/0/{delayed[0]['offset']}"))
    types, samples = metrics(b)
    assert value(samples, "broker_messages_acked_total") == 1
    assert value(samples, "broker_messages_nacked_total") == 2
    assert value(samples, "broker_messages_rejected_total") == 1
    assert value(samples, "broker_delayed_messages_pending") == 3
    assert value(samples, "broker_messages_published_total", topic=s.topic) == 10
    assert types["goqueue_broker_delayed_messages_pending"] == "gauge"
    for name in ("acked", "nacked", "rejected"):
        assert types[f"goqueue_broker_messages_{name}_total"] == "counter"
    for name, kind in types.items():
        assert (kind == "counter") == name.endswith("_total"), name
