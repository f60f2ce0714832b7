"""Contract 4.10: POST /admin/topics/{t}/partitions, and what lives on the topic goes on."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from goqueue_client import GoQueueClient, GoQueueError
from harness import PATIENCE, Broker, Setting, eventually, ok, refused, unique
from test_publish import murmur3
from test_sdk import typed


def grow(broker: Broker, topic: str, count: int) -> dict[str, Any]:
    grown: dict[str, Any] = ok(broker.post(f"/admin/topics/{topic}/partitions", {"count": count}))
    return grown


def offsets(broker: Broker, topic: str) -> list[tuple[int, int, int]]:
    """Of each partition, as all three views tell it: earliest, latest, next."""
    details = ok(broker.get(f"/topics/{topic}"))
    listed = ok(broker.get(f"/topics/{topic}/partitions"))["partitions"]
    assert [p["partition"] for p in listed] == list(range(details["partitions"]))
    told = [(p["earliest"], p["latest"], p["next"]) for p in listed]
    views = details["partition_offsets"]
    assert told == [
        (views[str(p)]["earliest"], views[str(p)]["latest"], views[str(p)]["next"])
        for p in range(len(listed))
    ]
    flights = ok(broker.get(f"/topics/{topic}/inflight"))["partitions"]
    assert set(flights) == {str(p) for p in range(len(listed))}
    return told


def beat(s: Setting, generation: int) -> dict[str, Any]:
    body = {"member_id": s.member, "generation": generation}
    told: dict[str, Any] = ok(s.broker.post(f"/groups/{s.group}/heartbeat", body))
    return told


# The call.


def test_reply_and_views(broker: Broker, topic: str) -> None:
    broker.create(topic, 2)
    broker.publish(topic, "a", "b", "c")
    assert offsets(broker, topic) == [(0, 1, 2), (0, 0, 1)]
    assert grow(broker, topic, 5) == {
        "success": True, "topic_name": topic, "old_partition_count": 2, "new_partition_count": 5,
        "partitions_added": [2, 3, 4],
    }  # fmt: skip
    assert offsets(broker, topic) == [(0, 1, 2), (0, 0, 1), (0, -1, 0), (0, -1, 0), (0, -1, 0)]
    assert broker.values(topic, 4) == []
    refused(broker.get(f"/topics/{topic}/partitions/5/messages"), 404, "partition_not_found")
    [placed] = broker.publish(topic, {"value": "x", "partition": 4})
    assert (placed["partition"], placed["offset"]) == (4, 0)
    assert broker.values(topic, 4) == ["x"]
    status = ok(broker.get(f"/admin/topics/{topic}/scaling-status"))
    assert status == {"topic": topic, "scaling_in_progress": False}


def test_over_the_sdk(broker: Broker, topic: str) -> None:
    broker.create(topic, 1)

    async def calls() -> None:
        async with GoQueueClient(broker.url) as client:
            request = {"count": 3, "replica_assignments": {"1": ["node-1"], "2": ["node-1", "b"]}}
            grown = await typed(client.admin.add_partitions, topic, request)
            assert grown["partitions_added"] == [1, 2]
            with pytest.raises(GoQueueError) as refusal:
                await client.admin.add_partitions(topic, {"count": 3})
            assert refusal.value.status == 400

    asyncio.run(calls())


@pytest.mark.parametrize("count", [-(2**62), -1, 0, 1, 3, 4, 1025, 2**32 + 5, 2**62])
def test_bad_counts(broker: Broker, topic: str, count: int) -> None:
    broker.create(topic, 4)
    error = refused(broker.post(f"/admin/topics/{topic}/partitions", {"count": count}), 400)
    assert error.pop("error").startswith("count: ")
    assert error == {
        "status": 400, "code": "invalid_argument", "success": False, "topic_name": topic,
        "old_partition_count": 4, "new_partition_count": 4, "partitions_added": [],
    }  # fmt: skip
    assert len(offsets(broker, topic)) == 4


@pytest.mark.parametrize(
    ("field", "body"),
    [
        ("count", {}),
        ("count", {"count": None}),
        ("count", {"count": "5"}),
        ("count", {"count": 5.0}),
        ("count", {"count": True}),
        ("replica_assignments", {"count": 5, "replica_assignments": []}),
        ("replica_assignments", {"count": 5, "replica_assignments": "node"}),
        ("replica_assignments", {"count": 5, "replica_assignments": {"4": "node"}}),
        ("replica_assignments", {"count": 5, "replica_assignments": {"4": []}}),
        ("replica_assignments", {"count": 5, "replica_assignments": {"4": [""]}}),
        ("replica_assignments", {"count": 5, "replica_assignments": {"4": ["a", 5]}}),
        ("replica_assignments", {"count": 5, "replica_assignments": {"four": ["a"]}}),
        ("replica_assignments", {"count": 5, "replica_assignments": {"-1": ["a"]}}),
        ("replica_assignments", {"count": 5, "replica_assignments": {"": ["a"]}}),
        ("invalid JSON", None),
        ("invalid JSON", []),
        ("invalid JSON", 5),
    ],
)
def test_bad_bodies(broker: Broker, topic: str, field: str, body: Any) -> None:
    broker.create(topic, 4)
    error = refused(broker.post(f"/admin/topics/{topic}/partitions", body), 400)
    assert error["success"] is False
    assert error["error"].startswith(field)
    assert len(offsets(broker, topic)) == 4


def test_unknown_topics(broker: Broker) -> None:
    for name in (unique(), "no such name", "__x"):
        path = f"/admin/topics/{name}"
        for count in (5, 1025):
            refused(broker.post(path + "/partitions", {"count": count}), 404, "topic_not_found")
        refused(broker.get(path + "/scaling-status"), 404, "topic_not_found")
    assert broker.get(f"/admin/topics/{unique()}/partitions").status_code == 405


def test_the_tenant_is_ignored(broker: Broker, topic: str) -> None:
    """As everywhere below /admin (2.8)."""
    tenant = {"X-Tenant-ID": "acme"}
    path = f"/admin/topics/{topic}"
    ok(broker.request("POST", "/topics", {"name": topic, "num_partitions": 2}, headers=tenant), 201)
    reply = broker.request("POST", path + "/partitions", {"count": 3}, headers=tenant)
    refused(reply, 404, "topic_not_found")
    broker.create(topic, 5)
    reply = broker.request("POST", path + "/partitions", {"count": 7}, headers=tenant)
    assert ok(reply)["old_partition_count"] == 5
    ok(broker.request("GET", path + "/scaling-status", headers=tenant))
    assert ok(broker.request("GET", f"/topics/{topic}", headers=tenant))["partitions"] == 2


def test_up_to_the_limit(own_broker: Broker) -> None:
    b = own_broker
    b.create("t", 1)
    assert grow(b, "t", 1024)["partitions_added"] == list(range(1, 1024))
    refused(b.post("/admin/topics/t/partitions", {"count": 1025}), 400)
    b.publish("t", *({"value": str(p), "partition": p} for p in range(1024)))
    member = b.join("g", "t", max_in_flight=2000)["member_id"]
    for restart in (b.restart, b.crash):
        restart()
        assert len(offsets(b, "t")) == 1024
    got = b.receive("g", member, 1024, max_messages=1000)
    assert sorted(int(m["value"]) for m in got) == list(range(1024))


# Keys and order.


def test_keys_hash_over_the_new_count(broker: Broker, topic: str) -> None:
    """What is stored stays where it is, in its order."""
    broker.create(topic, 3)
    keys = [f"key-{i}" for i in range(60)]
    old = broker.publish(topic, *({"key": k, "value": f"old {k}"} for k in keys))
    before = [broker.values(topic, p) for p in range(3)]
    for count in (4, 7):
        grow(broker, topic, count)
        new = broker.publish(topic, *({"key": k, "value": f"{count} {k}"} for k in keys))
        assert [r["partition"] for r in new] == [murmur3(k.encode()) % count for k in keys]
    assert [r["partition"] for r in old] == [murmur3(k.encode()) % 3 for k in keys]
    for p in range(3):
        assert broker.values(topic, p)[: len(before[p])] == before[p]


def test_keyless_messages_take_turns_over_all(broker: Broker, topic: str) -> None:
    broker.create(topic, 2)
    broker.publish(topic, "x", "x", "x")
    grow(broker, topic, 5)
    placed = [broker.publish(topic, "x")[0]["partition"] for _ in range(10)]
    assert sorted(placed) == sorted([*range(5)] * 2)


def test_old_keyed_messages_keep_their_order(broker: Broker) -> None:
    keys = ["a", "b", "c"]
    s = Setting(broker, [{"key": keys[i % 3], "value": str(i)} for i in range(60)], partitions=2)
    first = s.poll(max_messages=10)
    for message in first:
        ok(broker.ack(message["receipt_handle"]))
    grow(broker, s.topic, 6)
    rest = s.receive(50)
    for key in keys:
        mine = [int(m["value"]) for m in first + rest if m["key"] == key]
        assert mine == sorted(mine)
        assert len(mine) == 20


# Groups.


def test_members_get_the_new_ones_without_joining_again(broker: Broker) -> None:
    s = Setting(broker, 0, partitions=1)
    with ThreadPoolExecutor(1) as pool:
        parked = pool.submit(s.poll, timeout="20s")
        time.sleep(0.15)
        grow(broker, s.topic, 3)
        time.sleep(0.1)
        assert not parked.done()
        start = time.monotonic()
        broker.publish(s.topic, {"value": "new", "partition": 2})
        assert [m["value"] for m in parked.result()] == ["new"]
        assert time.monotonic() - start < 1 * PATIENCE
    told = beat(s, 1)
    assert (told["rebalance_required"], told["generation"]) == (True, 2)
    assert told["assigned_partitions"] == [f"{s.topic}-{p}" for p in range(3)]
    assert beat(s, 2)["rebalance_required"] is False
    stats = ok(broker.get(f"/groups/{s.group}/rebalance/stats"))
    assert stats["rebalances_by_reason"]["partitions_added"] == 1


def test_members_that_start_at_the_latest_miss_nothing(broker: Broker) -> None:
    """A partition that was not there when they joined is new to them from its first message on."""
    s = Setting(broker, 2, auto_offset_reset="latest")
    grow(broker, s.topic, 2)
    broker.publish(s.topic, {"value": "new", "partition": 1})
    assert s.values() == ["new"]


def test_shares_stay_balanced_and_sticky(broker: Broker, topic: str, group: str) -> None:
    broker.create(topic, 4)
    with ThreadPoolExecutor(2) as pool:
        pair = [j.result() for j in [pool.submit(broker.join, group, topic) for _ in "ab"]]
    other = Setting(broker, 0)  # of another topic: none of its business
    grow(broker, topic, 8)
    found = ok(broker.get(f"/groups/{group}"))
    assert found["generation"] == 2
    shares = {m["member_id"]: set(m["assigned_partitions"]) for m in found["members"]}
    assert [len(share) for share in shares.values()] == [4, 4]
    for joined in pair:
        assert set(joined["assigned_partitions"]) < shares[joined["member_id"]]
    assert ok(broker.get(f"/groups/{other.group}"))["generation"] == 1


def test_idle_members_get_work(broker: Broker, topic: str, group: str) -> None:
    broker.create(topic, 1)
    with ThreadPoolExecutor(3) as pool:
        joined = [j.result() for j in [pool.submit(broker.join, group, topic) for _ in "abc"]]
        parked = [pool.submit(broker.poll, group, j["member_id"], timeout="20s") for j in joined]
        time.sleep(0.15)
        grow(broker, topic, 3)
        broker.publish(topic, *({"value": str(p), "partition": p} for p in range(3)))
        got = [[m["value"] for m in p.result()] for p in parked]
    assert sorted(got) == [["0"], ["1"], ["2"]]


def test_cooperative_members_are_told_once(broker: Broker, topic: str, group: str) -> None:
    broker.create(topic, 2)
    body: dict[str, Any] = {"client_id": "c", "topics": [topic]}
    member = ok(broker.post(f"/groups/{group}/join/cooperative", body))["member_id"]
    grow(broker, topic, 4)
    body = {"member_id": member, "generation": 1}
    path = f"/groups/{group}/heartbeat/cooperative"
    told = ok(broker.post(path, body))
    assert told["partitions_assigned"] == [{"topic": topic, "partition": p} for p in (2, 3)]
    assert (told["state"], told["generation"]) == ("complete", 2)
    assert "partitions_assigned" not in ok(broker.post(path, body))


def test_in_flight_and_committed_stay(broker: Broker) -> None:
    s = Setting(broker, 4, partitions=2)
    held = s.poll()
    ok(broker.ack(held[0]["receipt_handle"]))
    before = broker.positions(s.group)[s.topic]
    grow(broker, s.topic, 3)
    assert s.poll() == []
    after = broker.positions(s.group)[s.topic]
    assert {p: after[p] for p in before} == before
    for message in held[1:]:
        ok(broker.ack(message["receipt_handle"]))
    assert broker.positions(s.group)[s.topic] == {"0": 2, "1": 2, "2": 0}


# Dead letters and delays.


def test_dead_letters_of_a_grown_topic(broker: Broker) -> None:
    """Their topic keeps the partitions that it was made with; it may grow by itself."""
    s = Setting(broker, 2, partitions=2)
    for message in s.receive(2):
        ok(broker.reject(message["receipt_handle"]))
    grow(broker, s.topic, 5)
    messages = [{"value": f"new-{p}", "partition": p} for p in range(5)]
    messages += [{"value": f"key-{i}", "key": f"k{i}"} for i in range(10)]
    broker.publish(s.topic, *messages)
    for message in s.receive(15):
        ok(broker.reject(message["receipt_handle"]))
    dead = broker.dead_letters(s.topic)
    assert {m["value"] for m in dead} == {"0", "1"} | {str(m["value"]) for m in messages}
    for m in dead:
        key = m.get("key")
        origin = int(m["headers"]["x-goqueue-original-partition"])
        assert m["partition"] == (murmur3(key.encode()) if key else origin) % 2
    assert grow(broker, f"{s.topic}.dlq", 3)["old_partition_count"] == 2
    replayed = ok(broker.post("/messages/dlq/replay", {"dlq_topic": f"{s.topic}.dlq"}))
    assert (replayed["processed"], replayed["errors"]) == (17, 0)
    assert {m["partition"] for m in s.receive(17)} == set(range(5))


def test_delayed_messages_of_new_partitions(own_broker: Broker) -> None:
    b = own_broker
    s = Setting(b, [{"value": "old", "delay": "600ms"}])
    grow(b, s.topic, 2)
    b.publish(s.topic, {"value": "new", "delay": "600ms", "partition": 1})
    assert {m["value"] for m in b.pending(s.topic)} == {"old", "new"}
    b.crash()
    assert {m["value"] for m in s.receive(2)} == {"old", "new"}


# Restarts and load.


@pytest.mark.parametrize("how", ["restart", "crash"])
def test_restarts(own_broker: Broker, how: str) -> None:
    b = own_broker
    s = Setting(b, 4, partitions=2)
    grow(b, s.topic, 3)
    b.publish(s.topic, {"value": "third", "partition": 2})
    getattr(b, how)()
    grow(b, s.topic, 5)
    b.publish(s.topic, {"value": "fifth", "partition": 4})
    before = offsets(b, s.topic), ok(b.get(f"/groups/{s.group}"))["generation"]
    for _ in range(2):
        getattr(b, how)()
        assert (offsets(b, s.topic), ok(b.get(f"/groups/{s.group}"))["generation"]) == before
    assert sorted(m["value"] for m in s.receive(6)) == ["0", "1", "2", "3", "fifth", "third"]
    [placed] = b.publish(s.topic, {"value": "more", "partition": 4})
    assert placed["offset"] == 1


def test_delete_and_create_again(own_broker: Broker) -> None:
    """The partitions of a deleted topic do not come back."""
    b = own_broker
    b.create("t", 2)
    grow(b, "t", 6)
    b.publish("t", *({"value": "x", "partition": p} for p in range(6)))
    ok(b.delete("/topics/t"))
    b.create("t", 2)
    assert offsets(b, "t") == [(0, -1, 0)] * 2
    grow(b, "t", 4)
    for restart in (b.restart, b.crash):
        restart()
        assert offsets(b, "t") == [(0, -1, 0)] * 4


@pytest.mark.parametrize("how", [None, "crash"])
def test_while_messages_are_published(own_broker: Broker, how: str | None) -> None:
    """No publish fails, every message lies where it was said to, and each is received once."""
    b = own_broker
    s = Setting(b, 0, partitions=1, max_in_flight=100000)
    end, lock = threading.Event(), threading.Lock()
    placed: dict[str, tuple[int, int]] = {}
    counts = [1]  # partitions: the last may be under way

    def publish(name: int) -> None:
        i = 0
        while not end.is_set():
            values = [f"{name}-{i + k}" for k in range(3)]
            floor = counts[-1]
            results = b.publish(
                s.topic, {"value": values[0], "key": values[0]}, {"value": values[1]},
                {"value": values[2], "partition": floor - 1},
            )  # fmt: skip
            allowed = {murmur3(values[0].encode()) % n for n in (*counts, counts[-1] + 2) if n >= floor}
            assert results[0]["partition"] in allowed
            assert results[2]["partition"] == floor - 1
            with lock:
                placed.update(zip(values, ((r["partition"], r["offset"]) for r in results)))
            i += 3

    with ThreadPoolExecutor(3) as pool:
        publishers = [pool.submit(publish, n) for n in range(3)]
        try:
            for count in range(3, 25, 2):
                grow(b, s.topic, count)
                counts.append(count)
                size = len(placed)
                eventually(lambda: len(placed) > size + 40 or any(p.done() for p in publishers))  # noqa: B023
        finally:
            end.set()
        for publisher in publishers:
            publisher.result()
    if how is not None:
        getattr(b, how)()
    stored = b.everything(s.topic)
    assert {m["value"]: (m["partition"], m["offset"]) for m in stored} == placed
    assert {m["partition"] for m in stored} == set(range(23))
    got = s.receive(len(placed), max_messages=1000)
    assert {m["value"]: (m["partition"], m["offset"]) for m in got} == placed
