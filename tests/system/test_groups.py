"""Contract 4.5, 7.2 and 7.4: membership, assignment, polling."""

from __future__ import annotations

import re
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from harness import PATIENCE, Broker, eventually, ok, refused, unique


def heartbeat(broker: Broker, group: str, member: str, **more: Any) -> dict[str, Any]:
    return ok(broker.post(f"/groups/{group}/heartbeat", {"member_id": member, **more}))


def leave(broker: Broker, group: str, member: str) -> dict[str, Any]:
    return ok(broker.post(f"/groups/{group}/leave", {"member_id": member}))


def labels(joined: dict[str, Any]) -> set[str]:
    return set(joined["assigned_partitions"])


def test_join_alone(broker: Broker, topic: str, group: str) -> None:
    broker.create(topic, 2)
    start = time.monotonic()
    got = broker.join(group, topic, client_id="worker-1")
    assert time.monotonic() - start < 1 * PATIENCE
    assert re.fullmatch(r"worker-1-.+", got["member_id"])
    assert got["generation"] == 1
    assert got["leader"] is True
    assert got["leader_id"] == got["member_id"]
    assert labels(got) == {f"{topic}-0", f"{topic}-1"}
    assert sorted(got["partitions"]) == [0, 1]
    assert got["members"] == [got["member_id"]]
    assert got["rebalance_required"] is False
    assert got["session_timeout"] == "30s"
    details = ok(broker.get(f"/groups/{group}"))
    assert (details["group_id"], details["id"], details["generation"]) == (group, group, 1)
    assert (details["state"], details["protocol"]) == ("stable", "cooperative-sticky")
    [member] = details["members"]
    assert member["member_id"] == member["id"] == got["member_id"]
    assert member["client_id"] == "worker-1"
    assert labels(member) == labels(got)


def test_three_joins_share_one_generation(broker: Broker, topic: str, group: str) -> None:
    broker.create(topic, 6)
    with ThreadPoolExecutor(3) as pool:
        joins = [pool.submit(broker.join, group, topic, client_id=f"w{i}") for i in range(3)]
        got = [j.result() for j in joins]
    assert {j["generation"] for j in got} == {1}
    assert sum(j["leader"] for j in got) == 1
    assert len({j["leader_id"] for j in got}) == 1
    assert [len(labels(j)) for j in got] == [2, 2, 2]
    assert set().union(*map(labels, got)) == {f"{topic}-{p}" for p in range(6)}
    for j in got:
        beat = heartbeat(broker, group, j["member_id"], generation=j["generation"])
        assert beat["rebalance_required"] is False
        assert labels(beat) == labels(j)


def test_more_members_than_partitions(broker: Broker, topic: str, group: str) -> None:
    broker.create(topic, 2)
    with ThreadPoolExecutor(4) as pool:
        got = [j.result() for j in [pool.submit(broker.join, group, topic) for _ in range(4)]]
    assert sorted(len(labels(j)) for j in got) == [0, 0, 1, 1]
    idle = next(j for j in got if not labels(j))
    assert broker.poll(group, idle["member_id"]) == []


def test_late_joiner_is_sticky_and_balanced(broker: Broker, topic: str, group: str) -> None:
    broker.create(topic, 6)
    with ThreadPoolExecutor(2) as pool:
        first, second = (
            j.result() for j in [pool.submit(broker.join, group, topic) for _ in range(2)]
        )
    start = time.monotonic()
    third = broker.join(group, topic)
    assert time.monotonic() - start < 0.24 * PATIENCE  # no join window in a living group
    assert third["generation"] == first["generation"] + 1
    assert len(labels(third)) == 2
    now = [heartbeat(broker, group, j["member_id"]) for j in (first, second)]
    for before, after in zip((first, second), now):
        assert labels(after) < labels(before)
        assert len(labels(after)) == 2
        assert after["generation"] == third["generation"]


def test_heartbeat_tells_only_those_whose_share_changed(
    broker: Broker, topic: str, group: str
) -> None:
    broker.create(topic, 2)
    with ThreadPoolExecutor(2) as pool:
        pair = [j.result() for j in [pool.submit(broker.join, group, topic) for _ in range(2)]]
    late = broker.join(group, topic)  # gets nothing, takes nothing
    assert labels(late) == set()
    for joined in pair:
        beat = heartbeat(broker, group, joined["member_id"], generation=joined["generation"])
        assert beat["rebalance_required"] is False
        assert beat["generation"] == late["generation"]
    leave(broker, group, pair[0]["member_id"])
    same = heartbeat(broker, group, pair[1]["member_id"], generation=pair[1]["generation"])
    assert same["rebalance_required"] is False
    changed = heartbeat(broker, group, late["member_id"], generation=late["generation"])
    assert changed["rebalance_required"] is True
    assert labels(changed) == labels(pair[0])
    adopted = heartbeat(broker, group, late["member_id"], generation=changed["generation"])
    assert adopted["rebalance_required"] is False
    silent = heartbeat(broker, group, late["member_id"])
    assert silent["rebalance_required"] is False
    ancient = heartbeat(broker, group, late["member_id"], generation=0)
    assert ancient["rebalance_required"] is True


def test_heartbeat_errors(broker: Broker, topic: str, group: str) -> None:
    def beat(name: str, body: Any) -> Any:
        return broker.post(f"/groups/{name}/heartbeat", body)

    refused(beat(group, {"member_id": "m"}), 404, "group_not_found")
    broker.create(topic)
    joined = broker.join(group, topic)
    refused(beat(group, {"member_id": "nobody"}), 404, "member_not_found")
    refused(beat(group, {}), 400)
    refused(beat(group, {"member_id": 5}), 400)
    refused(beat(group, {"member_id": joined["member_id"], "generation": "1"}), 400)
    refused(beat("a b", {"member_id": "m"}), 400)


@pytest.mark.parametrize(
    "change",
    [
        {"client_id": None},
        {"client_id": ""},
        {"client_id": 7},
        {"client_id": "c" * 256},
        {"topics": None},
        {"topics": []},
        {"topics": "t"},
        {"topics": [5]},
        {"session_timeout": "999ms"},
        {"session_timeout": "31m"},
        {"session_timeout": 30},
        {"session_timeout": "30"},
        {"session_timeout": "-5s"},
        {"session_timeout_ms": 0},
        {"auto_offset_reset": "middle"},
        {"visibility_timeout": "0s"},
        {"visibility_timeout": "13h"},
        {"max_in_flight": 0},
    ],
)
def test_bad_joins(broker: Broker, topic: str, group: str, change: dict[str, Any]) -> None:
    broker.create(topic)
    body = {"client_id": "c", "topics": [topic], **change}
    refused(broker.post(f"/groups/{group}/join", body), 400)
    refused(broker.get(f"/groups/{group}"), 404, "group_not_found")


def test_join_needs_the_topics(broker: Broker, topic: str, group: str) -> None:
    broker.create(topic)
    for missing in (unique(), "no such name", "__x"):
        body = {"client_id": "c", "topics": [topic, missing]}
        refused(broker.post(f"/groups/{group}/join", body), 404, "topic_not_found")
    bad = {"client_id": "c", "topics": [topic]}
    for name in ("a b", "é", "g" * 256, "a%00b"):
        refused(broker.post(f"/groups/{name}/join", bad), 400)


def test_rejoin_keeps_the_identity(broker: Broker, topic: str, group: str) -> None:
    other = broker.create(unique(), 1)
    broker.create(topic, 2)
    first = broker.join(group, topic)
    again = broker.join(group, topic, member_id=first["member_id"])
    assert again["member_id"] == first["member_id"]
    assert again["generation"] == first["generation"]
    wider = broker.join(group, topic, other, topic, member_id=first["member_id"])
    assert wider["member_id"] == first["member_id"]
    assert wider["generation"] == first["generation"] + 1
    assert labels(wider) == {f"{topic}-0", f"{topic}-1", f"{other}-0"}
    body = {"client_id": "c", "topics": [topic], "member_id": "stranger"}
    refused(broker.post(f"/groups/{group}/join", body), 404, "member_not_found")


def test_one_client_id_twice_is_two_members(broker: Broker, topic: str, group: str) -> None:
    broker.create(topic, 2)
    with ThreadPoolExecutor(2) as pool:
        pair = [j.result() for j in [pool.submit(broker.join, group, topic) for _ in range(2)]]
    assert pair[0]["member_id"] != pair[1]["member_id"]
    assert ok(broker.get(f"/groups/{group}"))["generation"] == 1


def test_list_get_delete(broker: Broker, topic: str) -> None:
    broker.create(topic)
    names = sorted(unique("list.group_") for _ in range(3))
    for name in names:
        broker.join(name, topic)
    body = ok(broker.get("/groups"))
    assert body["groups"] == sorted(body["groups"])
    assert [g for g in body["groups"] if g in names] == names
    details = {d["id"]: d for d in body["group_details"]}
    assert details[names[0]]["members"] == 1
    assert details[names[0]]["generation"] == 1
    assert details[names[0]]["topics"] == [topic]
    gone = ok(broker.delete(f"/groups/{names[0]}"))
    assert gone == {"deleted": True, "group": names[0], "group_id": names[0]}
    refused(broker.delete(f"/groups/{names[0]}"), 404, "group_not_found")
    refused(broker.get(f"/groups/{names[0]}"), 404, "group_not_found")
    assert names[0] not in ok(broker.get("/groups"))["groups"]


def test_leave(broker: Broker, topic: str, group: str) -> None:
    broker.create(topic)
    broker.publish(topic, "a", "b")
    with ThreadPoolExecutor(2) as pool:
        pair = [j.result() for j in [pool.submit(broker.join, group, topic) for _ in range(2)]]
    owner, other = sorted(pair, key=lambda j: not labels(j))
    held = broker.poll(group, owner["member_id"])
    assert len(held) == 2
    assert leave(broker, group, owner["member_id"]) == {"left": True, "status": "left"}
    assert leave(broker, group, owner["member_id"]) == {"left": True, "status": "left"}
    refused(broker.ack(held[0]["receipt_handle"]), 410, "receipt_expired")
    again = broker.poll(group, other["member_id"])
    assert [m["value"] for m in again] == ["a", "b"]
    refused(broker.get(f"/groups/{group}/poll", member_id=owner["member_id"]), 404)
    path = f"/groups/{group}/leave"
    refused(broker.post(path, {"member_id": "nobody"}), 404, "member_not_found")
    refused(broker.post(f"/groups/{unique()}/leave", {"member_id": "m"}), 404, "group_not_found")
    refused(broker.post(path, {}), 400)
    leave(broker, group, other["member_id"])
    details = ok(broker.get(f"/groups/{group}"))
    assert (details["state"], details["members"]) == ("dead", [])


def test_a_silent_member_is_evicted(broker: Broker, topic: str, group: str) -> None:
    broker.create(topic)
    broker.publish(topic, "a")
    with ThreadPoolExecutor(2) as pool:
        pair = [
            j.result()
            for j in [pool.submit(broker.join, group, topic, session_timeout="1s") for _ in "ab"]
        ]
    owner, other = sorted(pair, key=lambda j: not labels(j))
    [held] = broker.poll(group, owner["member_id"])
    got: list[dict[str, Any]] = []

    def works() -> bool:
        got.extend(broker.poll(group, other["member_id"], timeout="500ms"))
        return bool(got)

    start = time.monotonic()
    eventually(works)
    assert time.monotonic() - start > 0.8
    assert got[0]["value"] == "a"
    refused(broker.ack(held["receipt_handle"]), 410)
    body = {"member_id": owner["member_id"]}
    refused(broker.post(f"/groups/{group}/heartbeat", body), 404, "member_not_found")
    leave(broker, group, owner["member_id"])  # evicted within the last 10 minutes: 200


def test_signs_of_life_keep_a_member(broker: Broker, topic: str, group: str) -> None:
    broker.create(topic)
    broker.publish(topic, *map(str, range(10)))
    member = broker.join(group, topic, session_timeout="1s")["member_id"]
    broker.poll(group, member, timeout="1600ms", max_messages=1)
    [message] = broker.poll(group, member, max_messages=1)
    time.sleep(0.6)
    heartbeat(broker, group, member)
    time.sleep(0.6)
    ok(broker.ack(message["receipt_handle"]))
    time.sleep(0.6)
    assert len(broker.poll(group, member)) == 8
    assert broker.poll(group, member, timeout="1700ms") == []  # parked longer than the session
    heartbeat(broker, group, member)


def poll_later(
    pool: ThreadPoolExecutor, broker: Broker, group: str, member: str, timeout: str = "20s"
) -> "Future[Any]":
    future = pool.submit(broker.get, f"/groups/{group}/poll", member_id=member, timeout=timeout)
    time.sleep(0.15)
    assert not future.done()
    return future


def test_a_publish_wakes_a_parked_poll(broker: Broker, topic: str, group: str) -> None:
    broker.create(topic, 3)
    member = broker.join(group, topic)["member_id"]
    with ThreadPoolExecutor(1) as pool:
        for i in range(5):
            future = poll_later(pool, broker, group, member)
            start = time.monotonic()
            broker.publish(topic, f"m{i}")
            [message] = ok(future.result())["messages"]
            assert time.monotonic() - start < 1 * PATIENCE
            assert message["value"] == f"m{i}"
            ok(broker.ack(message["receipt_handle"]))


def test_only_the_owner_is_woken(broker: Broker, topic: str, group: str) -> None:
    broker.create(topic, 2)
    with ThreadPoolExecutor(2) as pool:
        pair = [j.result() for j in [pool.submit(broker.join, group, topic) for _ in range(2)]]
        polls = [poll_later(pool, broker, group, j["member_id"], "1s") for j in pair]
        broker.publish(topic, {"value": "x", "partition": 0})
        got = [ok(p.result())["messages"] for p in polls]
    owner = [f"{topic}-0" in labels(j) for j in pair]
    assert [bool(messages) for messages in got] == owner


def test_poll_fields_and_limits(broker: Broker, topic: str, group: str) -> None:
    broker.create(topic)
    broker.publish(topic, {"value": "v", "key": "k", "headers": {"h": "1"}, "priority": "high"})
    broker.publish(topic, *map(str, range(1499)))
    member = broker.join(group, topic, max_in_flight=100000)["member_id"]
    path = f"/groups/{group}/poll"
    body = ok(broker.get(path, member_id=member, max_messages=1, generation=1))
    assert body["generation"] == 1
    assert body["rebalance_required"] is False
    [message] = body["messages"]
    assert (message["topic"], message["partition"], message["offset"]) == (topic, 0, 0)
    assert (message["key"], message["value"], message["headers"]) == ("k", "v", {"h": "1"})
    assert (message["priority"], message["delivery_count"]) == ("high", 1)
    assert message["timestamp"].endswith("Z")
    assert message["visibility_deadline"] > message["timestamp"]
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,512}", message["receipt_handle"])
    assert "rebalance_required" not in ok(broker.get(path, member_id=member, limit=1))
    assert len(broker.poll(group, member)) == 100
    assert len(broker.poll(group, member, max_messages=5000)) == 1000
    assert len(broker.poll(group, member, max_messages=1000)) == 398
    for query in ({"max_messages": 0}, {"max_messages": -1}, {"max_messages": "x"},
                  {"timeout": "5"}, {"timeout": "-1s"}, {"generation": "x"}, {"limit": 0}):
        refused(broker.get(path, member_id=member, **query), 400)
    refused(broker.get(path), 400)
    refused(broker.get(path, member_id="nobody"), 404, "member_not_found")
    refused(broker.get(f"/groups/{unique()}/poll", member_id=member), 404, "group_not_found")
    refused(broker.get(path, member_id=member, generation=0), 409, "stale_generation")


def test_max_in_flight(broker: Broker, topic: str, group: str) -> None:
    broker.create(topic)
    broker.publish(topic, *map(str, range(20)))
    member = broker.join(group, topic, max_in_flight=7)["member_id"]
    first = broker.poll(group, member)
    assert [m["value"] for m in first] == [str(i) for i in range(7)]
    assert broker.poll(group, member) == []
    for message in first[:3]:
        ok(broker.ack(message["receipt_handle"]))
    assert [m["value"] for m in broker.poll(group, member)] == ["7", "8", "9"]


def test_the_wait_is_a_little_shorter_than_asked(broker: Broker, topic: str, group: str) -> None:
    broker.create(topic)
    member = broker.join(group, topic)["member_id"]
    start = time.monotonic()
    assert broker.poll(group, member, timeout="800ms") == []
    took = time.monotonic() - start
    assert 0.7 < took < 0.8 * PATIENCE + 0.3
    start = time.monotonic()
    assert broker.poll(group, member, timeout="0s") == []
    assert time.monotonic() - start < 0.5 * PATIENCE


def test_a_rebalance_retargets_a_parked_poll(broker: Broker, topic: str, group: str) -> None:
    broker.create(topic, 1)
    with ThreadPoolExecutor(2) as pool:
        pair = [j.result() for j in [pool.submit(broker.join, group, topic) for _ in range(2)]]
        owner, other = sorted(pair, key=lambda j: not labels(j))
        future = poll_later(pool, broker, group, other["member_id"])
        broker.publish(topic, "x")  # not for the waiting one
        time.sleep(0.1)
        assert not future.done()
        leave(broker, group, owner["member_id"])
        assert [m["value"] for m in ok(future.result())["messages"]] == ["x"]


def test_delete_ends_parked_polls(broker: Broker, topic: str, group: str) -> None:
    broker.create(topic, 2)
    with ThreadPoolExecutor(2) as pool:
        pair = [j.result() for j in [pool.submit(broker.join, group, topic) for _ in range(2)]]
        polls = [poll_later(pool, broker, group, j["member_id"]) for j in pair]
        ok(broker.delete(f"/groups/{group}"))
        for future in polls:
            refused(future.result(), 404)
    body = {"member_id": pair[0]["member_id"]}
    refused(broker.post(f"/groups/{group}/heartbeat", body), 404, "group_not_found")


def test_leaving_ends_the_own_parked_poll(broker: Broker, topic: str, group: str) -> None:
    broker.create(topic)
    member = broker.join(group, topic)["member_id"]
    with ThreadPoolExecutor(1) as pool:
        future = poll_later(pool, broker, group, member)
        leave(broker, group, member)
        refused(future.result(), 404, "member_not_found")


def test_a_client_that_went_away_gets_nothing(broker: Broker, topic: str, group: str) -> None:
    """Messages are not leased to a parked poll whose connection is closed."""
    broker.create(topic)
    member = broker.join(group, topic)["member_id"]
    target = f"/groups/{group}/poll?member_id={member}&timeout=20s"
    with broker.raw(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode()):
        time.sleep(0.15)
    time.sleep(0.1)
    broker.publish(topic, "x")
    [message] = broker.poll(group, member, timeout="5s")
    assert (message["value"], message["delivery_count"]) == ("x", 1)


def test_several_topics(broker: Broker, topic: str, group: str) -> None:
    other = unique("other")
    broker.create(topic, 2)
    broker.create(other, 2)
    joined = broker.join(group, topic, other, topic)
    assert labels(joined) == {f"{t}-{p}" for t in (topic, other) for p in (0, 1)}
    assert "partitions" not in joined
    broker.publish(topic, *["a"] * 40)
    broker.publish(other, *["b"] * 40)
    got: list[dict[str, Any]] = []
    for _ in range(4):  # partitions take turns at being first
        got += broker.poll(group, joined["member_id"], max_messages=10)
    places = {(m["topic"], m["partition"]) for m in got}
    assert len(places) == 4
    for place in places:
        offsets = [m["offset"] for m in got if (m["topic"], m["partition"]) == place]
        assert offsets == list(range(len(offsets)))


def test_different_subscriptions(broker: Broker, topic: str, group: str) -> None:
    other = broker.create(unique("other"), 2)
    broker.create(topic, 2)
    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(broker.join, group, topic)
        two = pool.submit(broker.join, group, other)
    assert labels(one.result()) == {f"{topic}-0", f"{topic}-1"}
    assert labels(two.result()) == {f"{other}-0", f"{other}-1"}


def test_groups_are_independent(broker: Broker, topic: str) -> None:
    broker.create(topic)
    broker.publish(topic, "a", "b")
    for name in (unique("g"), unique("g")):
        member = broker.join(name, topic)["member_id"]
        assert [m["value"] for m in broker.poll(name, member)] == ["a", "b"]


def test_auto_offset_reset(broker: Broker, topic: str) -> None:
    broker.create(topic)
    broker.publish(topic, "old")
    group = unique("latest")
    member = broker.join(group, topic, auto_offset_reset="latest")["member_id"]
    assert broker.poll(group, member) == []
    broker.publish(topic, "new")
    assert [m["value"] for m in broker.poll(group, member)] == ["new"]


def test_no_message_goes_to_two_members(broker: Broker, topic: str, group: str) -> None:
    """Members come and go while messages are published: each is acked exactly once."""
    broker.create(topic, 6)
    total, done, lock = 1200, [], threading.Lock()
    finished = threading.Event()

    def work(stays: bool) -> None:
        joined = broker.join(group, topic)
        while not finished.is_set():
            for m in broker.poll(group, joined["member_id"], timeout="200ms", max_messages=20):
                if ok(broker.ack(m["receipt_handle"])).get("already") is None:
                    with lock:
                        done.append(m["value"])
            if not stays:
                break
        leave(broker, group, joined["member_id"])

    def come_and_go() -> None:
        while not finished.is_set():
            work(stays=False)

    threads = [threading.Thread(target=work, args=(True,)) for _ in range(2)]
    threads += [threading.Thread(target=come_and_go) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for start in range(0, total, 100):
            broker.publish(topic, *map(str, range(start, start + 100)))
        eventually(lambda: len(done) >= total, 30)
    finally:
        finished.set()
        for thread in threads:
            thread.join()
    assert sorted(done, key=int) == [str(i) for i in range(total)]


def test_membership_survives_a_restart(own_broker: Broker, topic: str, group: str) -> None:
    own_broker.create(topic, 4)
    with ThreadPoolExecutor(2) as pool:
        pair = [j.result() for j in [pool.submit(own_broker.join, group, topic) for _ in "ab"]]
    before = {j["member_id"]: labels(j) for j in pair}
    for restart in (own_broker.restart, own_broker.crash):
        restart()
        details = ok(own_broker.get(f"/groups/{group}"))
        assert details["generation"] == 1
        assert {m["member_id"]: labels(m) for m in details["members"]} == before
        for j in pair:
            beat = heartbeat(own_broker, group, j["member_id"], generation=1)
            assert beat["rebalance_required"] is False
            assert labels(beat) == labels(j)
    own_broker.publish(topic, *map(str, range(8)))
    got = [m for j in pair for m in own_broker.poll(group, j["member_id"])]
    assert sorted(m["value"] for m in got) == [str(i) for i in range(8)]
