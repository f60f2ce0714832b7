"""Contract 4.6 and 7.2.2: five lanes, urgent first, order kept inside each."""

from __future__ import annotations

import itertools
import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from goqueue_client import parse_duration
from harness import Broker, Setting, micros, now_us, ok, refused, unique

LANES = ["critical", "high", "normal", "low", "background"]
WEIGHTS = [50, 25, 15, 7, 3]


def lane(message: dict[str, Any]) -> int:
    return LANES.index(message["priority"])


def mixed(count: int, partitions: int = 1, seed: int = 1) -> list[dict[str, Any]]:
    rng = random.Random(seed)
    return [
        {"value": str(i), "priority": rng.choice(LANES), "partition": rng.randrange(partitions)}
        for i in range(count)
    ]


def in_lane_order(messages: list[dict[str, Any]]) -> bool:
    """Each lane of each partition by offset."""
    places: dict[tuple[str, int, int], int] = {}
    for m in messages:
        place = m["topic"], m["partition"], lane(m)
        if m["offset"] <= places.get(place, -1):
            return False
        places[place] = m["offset"]
    return True


def test_critical_first(broker: Broker) -> None:
    order = ["background", "normal", "critical", "low", "high", "normal", "critical"]
    s = Setting(broker, [{"value": str(i), "priority": p} for i, p in enumerate(order)])
    assert s.values() == ["2", "6", "4", "1", "5", "3", "0"]


def test_without_a_word_it_is_normal(broker: Broker) -> None:
    s = Setting(broker, [{"value": "low", "priority": "low"}, {"value": "plain"},
                         {"value": "null", "priority": None}, {"value": "high", "priority": "high"}])
    got = s.poll()
    assert [m["value"] for m in got] == ["high", "plain", "null", "low"]
    assert [m["priority"] for m in got] == ["high", "normal", "normal", "low"]


@pytest.mark.parametrize("spell", [str.lower, str.upper, str.title, str.swapcase])
def test_any_letter_case(broker: Broker, spell: Any) -> None:
    s = Setting(broker, [{"value": p, "priority": spell(p)} for p in reversed(LANES)])
    got = s.poll()
    assert [m["value"] for m in got] == LANES
    assert [m["priority"] for m in got] == LANES


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_order_inside_a_lane(broker: Broker, size: int) -> None:
    """Whatever the pages: lane by lane, and each by offset."""
    s = Setting(broker, mixed(300))
    got: list[dict[str, Any]] = []
    while page := s.poll(max_messages=size):
        assert len(page) <= size
        got += page
    assert len(got) == 300
    assert [(lane(m), m["offset"]) for m in got] == sorted((lane(m), m["offset"]) for m in got)


def test_across_partitions(broker: Broker) -> None:
    """A poll is strict over all its partitions, not partition by partition."""
    s = Setting(broker, mixed(600, 6), partitions=6)
    got: list[dict[str, Any]] = []
    while page := s.poll(max_messages=50):
        got += page
    assert len(got) == 600
    assert [lane(m) for m in got] == sorted(lane(m) for m in got)
    assert in_lane_order(got)


def test_across_topics(broker: Broker, group: str) -> None:
    topics = [broker.create(unique(), 2) for _ in range(3)]
    for i, topic in enumerate(topics):
        broker.publish(topic, *mixed(100, 2, seed=i))
    member = broker.join(group, *topics)["member_id"]
    got: list[dict[str, Any]] = []
    while page := broker.poll(group, member, max_messages=30):
        got += page
    assert len(got) == 300
    assert [lane(m) for m in got] == sorted(lane(m) for m in got)
    assert in_lane_order(got)


def test_equal_partitions_take_turns(broker: Broker) -> None:
    messages = [{"value": "x", "partition": p, "priority": "high"} for p in range(4) for _ in range(50)]
    s = Setting(broker, messages, partitions=4)
    got = [m for _ in range(8) for m in s.poll(max_messages=10)]
    shares = [sum(m["partition"] == p for m in got) for p in range(4)]
    assert sum(shares) == 80
    assert min(shares) > 0


def test_a_late_critical_one_overtakes(broker: Broker) -> None:
    s = Setting(broker, 500)
    for i in range(5):
        assert len(s.poll(max_messages=20)) == 20
        broker.publish(s.topic, {"value": f"urgent-{i}", "priority": "critical"})
        assert s.values(max_messages=2) == [f"urgent-{i}", str(20 + 21 * i)]


def test_urgent_ones_wake_a_parked_poll(broker: Broker) -> None:
    for priority in LANES:
        s = Setting(broker, 0)
        with ThreadPoolExecutor(1) as pool:
            parked = pool.submit(s.poll, timeout="20s")
            broker.publish(s.topic, {"value": "x", "priority": priority})
            assert [m["priority"] for m in parked.result()] == [priority]


def test_redelivery_keeps_its_lane(broker: Broker) -> None:
    """And comes before newer ones of that lane."""
    order = ["low", "high", "low", "high", "normal", "low"]
    s = Setting(broker, [{"value": str(i), "priority": p} for i, p in enumerate(order)])
    held = s.poll(max_messages=4)
    assert [m["value"] for m in held] == ["1", "3", "4", "0"]
    for message in held:
        ok(broker.nack(message["receipt_handle"], delay="0s"))
    broker.publish(s.topic, {"value": "6", "priority": "high"}, {"value": "7", "priority": "critical"})
    got = s.poll()
    assert [m["value"] for m in got] == ["7", "1", "3", "6", "4", "0", "2", "5"]
    assert [m["delivery_count"] for m in got] == [1, 2, 2, 1, 2, 2, 1, 1]


def test_expired_ones_keep_their_lane(broker: Broker) -> None:
    order = ["low", "critical", "background"]
    s = Setting(broker, [{"value": str(i), "priority": p} for i, p in enumerate(order)],
                visibility_timeout="100ms")
    assert len(s.poll()) == 3
    got: list[str] = []
    while len(got) < 3:
        got += s.values(timeout="5s", max_messages=1)
        if len(got) == 1:
            broker.publish(s.topic, "newer, normal")
    assert got[0] == "1"


def test_acks_out_of_order_of_the_log(broker: Broker) -> None:
    """The position follows the log, whatever the lanes."""
    s = Setting(broker, [{"value": str(i), "priority": p} for i, p in enumerate(reversed(LANES))])
    got = s.poll()
    assert [m["offset"] for m in got] == [4, 3, 2, 1, 0]
    for message in got[:4]:
        ok(broker.ack(message["receipt_handle"]))
        assert s.position() in (None, 0)
    ok(broker.ack(got[4]["receipt_handle"]))
    assert s.position() == 5


def test_groups_that_commit(broker: Broker) -> None:
    """Below a committed position nothing is delivered, of whatever lane; a rewind brings it back."""
    s = Setting(broker, [{"value": str(i), "priority": p} for i, p in enumerate(LANES * 2)])
    ok(s.commit(5))
    assert s.values() == ["5", "6", "7", "8", "9"]
    ok(s.commit(3))
    assert s.values() == ["5", "6", "7", "3", "8", "4", "9"]


def test_a_group_from_latest(broker: Broker) -> None:
    s = Setting(broker, mixed(50), auto_offset_reset="latest")
    assert s.poll() == []
    broker.publish(s.topic, {"value": "a", "priority": "low"}, {"value": "b", "priority": "high"})
    assert s.values() == ["b", "a"]


@pytest.mark.parametrize("how", ["restart", "crash"])
def test_lanes_survive(own_broker: Broker, how: str) -> None:
    b = own_broker
    s = Setting(b, mixed(200, 3), partitions=3, visibility_timeout="200ms", topic={"max_deliveries": 9})
    got: list[dict[str, Any]] = []
    for message in s.poll(max_messages=30):
        ok(b.ack(message["receipt_handle"]))
        got.append(message)
    held = s.poll(max_messages=10)
    ok(b.nack(held[0]["receipt_handle"], delay="0s"))
    before = ok(b.get("/priority/stats"))
    getattr(b, how)()
    stats = ok(b.get("/priority/stats"))
    assert stats["messages_by_priority"] == before["messages_by_priority"]
    assert stats["total_by_priority"] == before["total_by_priority"]
    rest: dict[str, dict[str, Any]] = {}
    lanes = []
    while len(rest) < 170:
        for message in s.poll(timeout="5s", max_messages=20):
            ok(b.ack(message["receipt_handle"]))
            rest[message["value"]] = message
            lanes.append(lane(message))
    assert not {m["value"] for m in got} & rest.keys()
    # Those that were in flight come when their deadline passes; all others lane by lane.
    fresh = [lane(m) for m in rest.values() if m["delivery_count"] == 1]
    assert len(fresh) >= 160
    assert fresh == sorted(fresh)


# Weighted.


def weighted(broker: Broker, each: int, partitions: int = 3) -> Setting:
    messages = [
        {"value": f"{p}-{i}", "priority": p, "partition": i % partitions}
        for p in LANES
        for i in range(each)
    ]
    return Setting(broker, messages, partitions=partitions, topic={"priority_mode": "weighted"},
                   max_in_flight=10_000)


@pytest.mark.parametrize("size", [10, 100])
def test_weighted(broker: Broker, size: int) -> None:
    """No lane starves; each gets about its weight; order inside a lane as ever."""
    s = weighted(broker, 600)
    got: list[dict[str, Any]] = []
    while len(got) < 1000:
        page = s.poll(max_messages=size)
        assert len(page) == size
        got += page
    assert in_lane_order(got)
    shares = [sum(lane(m) == i for m in got[:1000]) / 10 for i in range(5)]
    for share, weight in zip(shares, WEIGHTS):
        assert 0.6 * weight <= share <= 1.5 * weight, f"{shares}, not about {WEIGHTS}"


def test_weighted_gives_everything(broker: Broker) -> None:
    """Empty lanes leave their turns to the others."""
    s = weighted(broker, 100)
    got: list[dict[str, Any]] = []
    while page := s.poll(max_messages=60):
        got += page
    assert len(got) == 500
    assert in_lane_order(got)
    only = Setting(broker, [{"value": str(i), "priority": "background"} for i in range(50)],
                   topic={"priority_mode": "weighted"})
    assert only.values() == [str(i) for i in range(50)]


def test_weighted_one_at_a_time(broker: Broker) -> None:
    """Turns are kept from poll to poll."""
    s = weighted(broker, 100)
    got = [m for _ in range(200) for m in s.poll(max_messages=1)]
    assert {lane(m) for m in got} == set(range(5))


def test_strict_and_weighted_topics_together(broker: Broker, group: str) -> None:
    strict = broker.create(unique(), 1, priority_mode="strict")
    other = broker.create(unique(), 1, priority_mode="weighted")
    for topic in (strict, other):
        broker.publish(topic, *({"value": p, "priority": p} for p in LANES for _ in range(60)))
    member = broker.join(group, strict, other)["member_id"]
    got: list[dict[str, Any]] = []
    while page := broker.poll(group, member, max_messages=20):
        got += page
    assert len(got) == 600
    assert in_lane_order(got)
    of_strict = [lane(m) for m in got if m["topic"] == strict]
    assert of_strict == sorted(of_strict)
    broker.publish(other, *({"value": p, "priority": p} for p in LANES for _ in range(60)))
    assert {lane(m) for m in broker.poll(group, member)} == set(range(5))


def test_weighted_survives_a_restart(own_broker: Broker) -> None:
    b = own_broker
    s = weighted(b, 200)
    for restart in (b.restart, b.crash):
        restart()
        got = s.poll(max_messages=100)
        assert {lane(m) for m in got} == set(range(5))
        assert sum(lane(m) == 0 for m in got) < 80


@pytest.mark.parametrize("mode", ["", "fair", "STRICT ", 1, True, ["weighted"], {}])
def test_bad_modes(broker: Broker, topic: str, mode: Any) -> None:
    refused(broker.post("/topics", {"name": topic, "priority_mode": mode}), 400)
    refused(broker.get(f"/topics/{topic}"), 404)


def test_good_modes(broker: Broker) -> None:
    for mode in ("strict", "weighted", None):
        broker.create(unique(), priority_mode=mode)


# Statistics.


def test_stats(own_broker: Broker) -> None:
    b = own_broker
    empty = ok(b.get("/priority/stats"))
    assert empty["messages_by_priority"] == dict.fromkeys(LANES, 0)
    assert empty["avg_wait_time_by_priority"] == dict.fromkeys(LANES, "0s")
    assert empty["total_by_priority"] == [0] * 5
    assert empty["topics"] == {}
    numbers = {"critical": 1, "high": 2, "normal": 3, "low": 4, "background": 5}
    before = now_us()
    messages = [{"value": p, "priority": p, "partition": 0} for p, n in numbers.items() for _ in range(n)]
    s = Setting(b, messages, partitions=2)
    b.publish(b.create("other"), {"value": "x", "priority": "high"})
    stats = ok(b.get("/priority/stats"))
    assert stats["messages_by_priority"] == {**numbers, "high": 3}
    assert list(stats["messages_by_priority"]) == LANES
    assert stats["total_by_priority"] == [1, 3, 3, 4, 5]
    assert set(stats["topics"]) == {s.topic, "other"}
    one = stats["topics"][s.topic]
    assert one["total_by_priority"] == [1, 2, 3, 4, 5]
    assert set(one["partitions"]) == {"0", "1"}
    assert one["partitions"]["0"]["total"] == [1, 2, 3, 4, 5]
    assert one["partitions"]["1"]["total"] == [0] * 5
    assert one["partitions"]["1"]["oldest_pending"] == [""] * 5
    for oldest in one["partitions"]["0"]["oldest_pending"]:
        assert oldest == "" or before <= micros(oldest) <= now_us()
    for part in one["partitions"].values():
        assert {"pending", "consumed", "total", "oldest_pending"} <= set(part)
    after_some(s)
    waits = {p: parse_duration(d) for p, d in ok(b.get("/priority/stats"))["avg_wait_time_by_priority"].items()}
    assert list(waits) == LANES
    assert all(wait > 0 for wait in waits.values())
    ok(b.delete("/topics/other"))
    assert ok(b.get("/priority/stats"))["messages_by_priority"] == numbers  # acked ones are retained


def after_some(s: Setting) -> None:
    for message in s.receive(15):
        ok(s.broker.ack(message["receipt_handle"]))


def test_waiting_is_counted_from_the_due_time(own_broker: Broker) -> None:
    b = own_broker
    s = Setting(b, [{"value": "x", "priority": "low", "delay": "1s"}])
    s.receive(1)
    wait = ok(b.get("/priority/stats"))["avg_wait_time_by_priority"]["low"]
    assert 0 <= parse_duration(wait) < 0.9


def test_stats_are_of_one_tenant_with_the_header(own_broker: Broker) -> None:
    b = own_broker
    mine = {"X-Tenant-ID": "tenant-one"}
    b.publish("t", {"value": "x", "priority": "high"})
    body = {"messages": [{"value": "x", "priority": "low"}]}
    ok(b.request("POST", "/topics/u/messages", body, headers=mine))
    everything = ok(b.get("/priority/stats"))
    assert (everything["messages_by_priority"]["high"], everything["messages_by_priority"]["low"]) == (1, 1)
    own = ok(b.request("GET", "/priority/stats", headers=mine))
    assert (own["messages_by_priority"]["high"], own["messages_by_priority"]["low"]) == (0, 1)
    assert set(own["topics"]) == {"u"}


def test_dead_letters_count_in_their_lane(own_broker: Broker) -> None:
    b = own_broker
    s = Setting(b, [{"value": "x", "priority": "background"}])
    [message] = s.poll()
    ok(b.reject(message["receipt_handle"]))
    stats = ok(b.get("/priority/stats"))
    assert stats["messages_by_priority"]["background"] == 2
    assert stats["topics"][f"{s.topic}.dlq"]["total_by_priority"] == [0, 0, 0, 0, 1]


def test_all_combinations_of_three(broker: Broker) -> None:
    """Every sequence of lanes of length three."""
    s = Setting(broker, 0)
    for trio in itertools.product(LANES, repeat=3):
        results = broker.publish(s.topic, *({"value": str(i), "priority": p} for i, p in enumerate(trio)))
        first = results[0]["offset"]
        got = s.poll()
        wanted = sorted(range(3), key=lambda i, trio=trio: (LANES.index(trio[i]), i))
        assert [m["offset"] - first for m in got] == wanted
