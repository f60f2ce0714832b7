"""Contract 4.4, 7.1 and 7.8: messages that wait for their time."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from goqueue_client import parse_duration
from harness import (
    PATIENCE,
    Broker,
    Setting,
    after,
    eventually,
    leased_us,
    micros,
    now_us,
    ok,
    refused,
    unique,
)

HOURS = 3600 * 1_000_000


def due_us(result: dict[str, Any]) -> int:
    assert result["delayed"] is True, result
    return micros(result["deliverAt"])


def in_time(message: dict[str, Any], due: int, visibility: str = "30s") -> None:
    """Never early, by the broker's own clock."""
    assert leased_us(message, visibility) >= due, message


def listed(b: Broker, topic: str, **query: Any) -> dict[str, Any]:
    return ok(b.get(f"/topics/{topic}/delayed", **query))


def cancel(b: Broker, topic: str, result: dict[str, Any]) -> Any:
    return b.delete(f"/topics/{topic}/delayed/{result['partition']}/{result['offset']}")


# Delivery.


@pytest.mark.parametrize("field", ["delay", "deliverAt", "deliver_at"])
def test_delivered_when_due(broker: Broker, field: str) -> None:
    s = Setting(broker, 0)
    at = datetime.now(timezone.utc) + timedelta(milliseconds=700)
    when = "700ms" if field == "delay" else at.isoformat()
    [result] = broker.publish(s.topic, {"value": "x", "key": "k", "headers": {"a": "b"}, field: when})
    assert s.poll() == []
    [message] = s.receive(1)
    in_time(message, due_us(result))
    assert (message["value"], message["key"], message["headers"]) == ("x", "k", {"a": "b"})
    assert (message["offset"], message["delivery_count"]) == (result["offset"], 1)
    assert micros(message["timestamp"]) < due_us(result)  # when it was published
    if field != "delay":
        assert due_us(result) == int(at.timestamp() * 1e6 + 0.5)
    ok(broker.ack(message["receipt_handle"]))
    assert s.position() == 1


def test_never_early(broker: Broker) -> None:
    """Hundreds of them, with all kinds of delays, and a consumer that asks all the time."""
    s = Setting(broker, 0, partitions=3)
    delays = [f"{50 + 7 * i % 1500}ms" for i in range(400)]
    results = broker.publish(s.topic, *({"value": str(i), "delay": d} for i, d in enumerate(delays)))
    due = {str(i): due_us(r) for i, r in enumerate(results)}
    got: list[dict[str, Any]] = []
    end = time.monotonic() + 20 * PATIENCE
    while len(got) < 400:
        assert time.monotonic() < end
        got += s.poll(timeout="0s" if len(got) % 2 else "300ms")
    for message in got:
        in_time(message, due[message["value"]])
    assert sorted(int(m["value"]) for m in got) == list(range(400))
    late = max(leased_us(m) - due[m["value"]] for m in got)
    print(f"at most {late / 1000:.1f} ms late")


def test_a_parked_poll_is_woken(broker: Broker) -> None:
    s = Setting(broker, 0)
    with ThreadPoolExecutor(1) as pool:
        for _ in range(3):
            parked = pool.submit(s.poll, timeout="30s")
            [result] = broker.publish(s.topic, {"value": "x", "delay": "400ms"})
            [message] = parked.result()
            in_time(message, due_us(result))
            assert leased_us(message) - due_us(result) < 5_000_000 * PATIENCE


def test_newer_messages_do_not_wait(broker: Broker) -> None:
    """Nor do they hold it back when they were acked long before."""
    s = Setting(broker, [{"value": "later", "delay": "1s"}, "a", "b", "c"])
    for message in s.receive(3):
        ok(broker.ack(message["receipt_handle"]))
    assert s.position() in (None, 0)
    broker.publish(s.topic, "d")
    [message] = s.receive(1)
    ok(broker.ack(message["receipt_handle"]))
    [message] = s.receive(1)
    assert (message["value"], message["offset"]) == ("later", 0)
    in_time(message, due_us(s.published[0]))
    ok(broker.ack(message["receipt_handle"]))
    assert s.position() == 5


def test_each_group_gets_it(broker: Broker) -> None:
    s = Setting(broker, [{"value": "x", "delay": "600ms"}, "y"])
    early, late, newest = unique("early"), unique("late"), unique("newest")
    members = {early: broker.join(early, s.topic)["member_id"]}
    assert [m["value"] for m in broker.receive(early, members[early], 1)] == ["y"]
    [message] = broker.receive(early, members[early], 1)
    in_time(message, due_us(s.published[0]))
    members[late] = broker.join(late, s.topic)["member_id"]
    assert [m["value"] for m in broker.poll(late, members[late])] == ["x", "y"]
    members[newest] = broker.join(newest, s.topic, auto_offset_reset="latest")["member_id"]
    assert broker.poll(newest, members[newest]) == []


def test_order_when_due(broker: Broker) -> None:
    """Inside a partition by offset, among all that are there."""
    s = Setting(broker, [{"value": "0", "delay": "900ms"}, "1", {"value": "2", "delay": "300ms"}, "3"])
    after(s.published[0]["deliverAt"], 0.3)
    assert s.values() == ["0", "1", "2", "3"]


def test_lanes_when_due(broker: Broker) -> None:
    messages = [
        {"value": "0", "priority": "low", "delay": "300ms"},
        {"value": "1", "priority": "critical", "delay": "600ms"},
        {"value": "2"},
        {"value": "3", "priority": "critical", "delay": "200ms"},
        {"value": "4", "priority": "background"},
    ]
    s = Setting(broker, messages)
    after(s.published[1]["deliverAt"], 0.3)
    got = s.poll()
    assert [m["value"] for m in got] == ["1", "3", "2", "0", "4"]
    assert [m["priority"] for m in got] == ["critical", "critical", "normal", "low", "background"]


def test_priority_does_not_make_it_due(broker: Broker) -> None:
    s = Setting(broker, [{"value": "0", "priority": "critical", "delay": "1h"}, {"value": "1", "priority": "background"}])
    assert s.values(timeout="300ms") == ["1"]


def test_many_due_at_the_same_time(broker: Broker) -> None:
    at = (datetime.now(timezone.utc) + timedelta(seconds=1.5)).isoformat()
    s = Setting(broker, 0, partitions=2, max_in_flight=10_000)
    results = broker.publish(s.topic, *({"value": str(i), "deliverAt": at} for i in range(5000)))
    got = s.receive(5000, seconds=30, max_messages=1000)
    for message in got:
        in_time(message, due_us(results[0]))
    for partition in (0, 1):
        offsets = [m["offset"] for m in got if m["partition"] == partition]
        assert offsets == list(range(2500))


def test_settled_like_any_other(broker: Broker) -> None:
    """nack, deadline, dead letter: the delay of its publication plays no part any more."""
    s = Setting(broker, [{"value": "x", "delay": "300ms"}], visibility_timeout="200ms")
    [message] = s.receive(1)
    ok(broker.nack(message["receipt_handle"], delay="0s"))
    [message] = s.receive(1)
    assert message["delivery_count"] == 2
    [message] = s.receive(1)
    assert message["delivery_count"] == 3
    ok(broker.reject(message["receipt_handle"]))
    [dead] = broker.dead_letters(s.topic)
    assert dead["value"] == "x"
    assert listed(broker, f"{s.topic}.dlq")["total"] == 0


def test_a_commit_over_it(broker: Broker) -> None:
    """Below the position it is done for the group, due or not; for others it is not."""
    s = Setting(broker, [{"value": "x", "delay": "500ms"}, "y"])
    ok(s.commit(1))
    assert s.values() == ["y"]
    after(s.published[0]["deliverAt"], 0.3)
    assert s.poll() == []
    ok(s.commit(0))
    assert s.values() == ["x", "y"]


def test_not_delayed(broker: Broker) -> None:
    past = (datetime.now(timezone.utc) - timedelta(hours=1)).isoformat()
    s = Setting(broker, [{"value": "a", "delay": "0s"}, {"value": "b", "deliverAt": past},
                         {"value": "c", "delay": "0s", "deliverAt": "2031-01-01T00:00:00Z"}])
    assert s.values() == ["a", "b", "c"]
    assert listed(broker, s.topic)["messages"] == []


@pytest.mark.parametrize("text", ["{}+02:00", "{}-11:30", "{}.123456789+00:00"])
def test_offsets_of_time_zones(broker: Broker, topic: str, text: str) -> None:
    at = datetime.now(timezone.utc) + timedelta(days=2)
    hours = {"+02:00": 2, "-11:30": -11.5}.get(text[2:], 0)
    local = (at + timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%S")
    [result] = broker.publish(topic, {"value": "x", "deliverAt": text.format(local)})
    wanted = int(at.timestamp()) * 1_000_000 + (123456 if ".123" in text else 0)
    assert abs(due_us(result) - wanted) <= 1


# Simple consume.


def test_readers_do_not_see_it_before(broker: Broker) -> None:
    """7.1: skipped without blocking; when due, at its original offset."""
    topic = broker.create(unique())
    results = broker.publish(topic, "0", {"value": "1", "delay": "800ms"}, "2", {"value": "3", "delay": "1h"}, "4")
    page = broker.consume(topic)
    assert [m["offset"] for m in page["messages"]] == [0, 2, 4]
    assert (page["next_offset"], page["earliest"], page["latest"]) == (5, 0, 4)
    assert [m["offset"] for m in broker.consume(topic, limit=2)["messages"]] == [0, 2]
    page = broker.consume(topic, offset=1, limit=1)
    assert [m["offset"] for m in page["messages"]] == [2]
    assert page["next_offset"] in (3, 4)  # the fourth message is skipped now or later
    assert [m["offset"] for m in broker.consume(topic, offset=3)["messages"]] == [4]
    after(results[1]["deliverAt"])
    eventually(lambda: broker.values(topic) == ["0", "1", "2", "4"])
    assert ok(broker.get(f"/topics/{topic}"))["total_messages"] == 5


def test_next_offset_moves_over_what_is_hidden(broker: Broker, topic: str) -> None:
    broker.create(topic)
    hidden = {"value": "hidden", "delay": "1h"}
    broker.publish(topic, hidden, hidden, hidden)
    page = broker.consume(topic)
    assert (page["messages"], page["next_offset"]) == ([], 3)
    assert broker.consume(topic, offset=1)["next_offset"] == 3
    assert broker.consume(topic, offset=3)["next_offset"] == 3
    assert broker.consume(topic, offset=9)["next_offset"] == 9
    broker.publish(topic, "3", hidden, hidden)
    page = broker.consume(topic)
    assert [m["offset"] for m in page["messages"]] == [3]
    assert page["next_offset"] == 6
    assert (page["earliest"], page["latest"]) == (0, 5)
    assert (broker.consume(topic, offset=4)["messages"], broker.consume(topic, offset=4)["next_offset"]) == ([], 6)


def test_a_reader_gets_everything_that_is_visible(broker: Broker, topic: str) -> None:
    """Following next_offset over long hidden runs, with any page size."""
    broker.create(topic)
    visible = []
    for run in (1, 700, 3, 2500):
        results = broker.publish(topic, *({"value": "hidden", "delay": "1h"} for _ in range(run)), f"after {run}")
        visible.append(results[-1]["offset"])
    broker.publish(topic, *({"value": "hidden", "delay": "1h"} for _ in range(1500)))
    for limit in (1, 2, 100, 1000):
        at, got, pages = 0, [], 0
        while True:
            page = broker.consume(topic, offset=at, limit=limit)
            got += [m["offset"] for m in page["messages"]]
            if page["next_offset"] == at:
                break
            assert page["next_offset"] > at
            at, pages = page["next_offset"], pages + 1
        assert got == visible
        assert pages < 10


def test_a_waiting_reader_gets_it_when_due(broker: Broker, topic: str) -> None:
    broker.create(topic)
    [result] = broker.publish(topic, {"value": "x", "delay": "600ms"})
    page = broker.consume(topic, timeout="20s")
    assert [m["value"] for m in page["messages"]] == ["x"]
    assert now_us() >= due_us(result)
    assert page["next_offset"] == 1


def test_a_waiting_reader_is_not_woken_in_vain(broker: Broker, topic: str) -> None:
    broker.create(topic)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(broker.consume, topic, timeout="20s")
        time.sleep(0.1)
        broker.publish(topic, {"value": "hidden", "delay": "1h"})
        time.sleep(0.2)
        assert not waiting.done()
        broker.publish(topic, "seen")
        assert [m["value"] for m in waiting.result()["messages"]] == ["seen"]


# List and get.


def test_list(broker: Broker, topic: str) -> None:
    """By time, then partition, then offset."""
    broker.create(topic, 3)
    at = (datetime.now(timezone.utc) + timedelta(hours=5)).isoformat()
    messages = [
        {"value": "b", "partition": 2, "deliverAt": at},
        {"value": "d", "partition": 0, "delay": "6h"},
        {"value": "a", "partition": 1, "delay": "4h", "priority": "high", "key": "k"},
        {"value": "x", "partition": 1},
        {"value": "c", "partition": 2, "deliverAt": at},
        {"value": "0", "partition": 0, "deliverAt": at},
    ]
    results = {m["value"]: r for m, r in zip(messages, broker.publish(topic, *messages))}
    body = listed(broker, topic)
    assert [m["value"] for m in body["messages"]] == ["a", "0", "b", "c", "d"]
    assert (body["count"], body["total"]) == (5, 5)
    assert (body["topic"], body["limit"], body["skip"]) == (topic, 100, 0)
    first = body["messages"][0]
    assert (first["topic"], first["partition"], first["offset"]) == (topic, 1, 0)
    assert first["deliver_at"] == results["a"]["deliverAt"]
    assert (first["priority"], first["state"], first["key"]) == ("high", "pending", "k")
    assert 3.9 * 3600 < parse_duration(first["time_remaining"]) <= 4 * 3600
    second = body["messages"][1]
    assert second["priority"] == "normal"
    assert second.get("key", "") == ""


def test_list_by_pages(broker: Broker, topic: str) -> None:
    broker.create(topic, 2)
    broker.publish(topic, *({"value": str(i), "delay": f"{i + 1}h"} for i in range(250)))
    body = listed(broker, topic)
    assert (body["count"], body["total"], len(body["messages"])) == (100, 250, 100)
    pages = [listed(broker, topic, limit=70, skip=skip) for skip in range(0, 280, 70)]
    assert [p["count"] for p in pages] == [70, 70, 70, 40]
    assert {(p["total"], p["limit"]) for p in pages} == {(250, 70)}
    assert [p["skip"] for p in pages] == [0, 70, 140, 210]
    assert [m["value"] for p in pages for m in p["messages"]] == [str(i) for i in range(250)]
    assert listed(broker, topic, skip=250)["messages"] == []
    assert listed(broker, topic, skip=10**6)["count"] == 0
    assert len(listed(broker, topic, limit=1000)["messages"]) == 250


@pytest.mark.parametrize("query", ["limit=0", "limit=-1", "limit=x", "limit=1.5", "skip=-1", "skip=x", "skip=1e3"])
def test_bad_pages(broker: Broker, query: str) -> None:
    topic = broker.create(unique())
    refused(broker.get(f"/topics/{topic}/delayed?{query}"), 400, "invalid_argument")


def test_get(broker: Broker, topic: str) -> None:
    broker.create(topic, 3)
    results = broker.publish(
        topic,
        {"value": "a", "partition": 2, "delay": "1h", "priority": "background"},
        {"value": "b", "partition": 1, "delay": "2h", "key": "k"},
        {"value": "c", "partition": 0},
        {"value": "d", "partition": 0, "delay": "3h"},
    )
    path = f"/topics/{topic}/delayed"
    got = ok(broker.get(f"{path}/0"))
    assert (got["partition"], got["offset"], got["value"], got["key"]) == (1, 0, "b", "k")
    assert (got["topic"], got["state"], got["matches"]) == (topic, "pending", 2)
    assert got["deliver_at"] == results[1]["deliverAt"]
    got = ok(broker.get(f"{path}/0", partition=2))
    assert (got["partition"], got["value"], got["priority"]) == (2, "a", "background")
    assert 3500 < parse_duration(got["time_remaining"]) <= 3600
    got = ok(broker.get(f"{path}/1"))
    assert (got["partition"], got["value"], got.get("matches", 1)) == (0, "d", 1)
    refused(broker.get(f"{path}/0", partition=0), 404, "delayed_not_found")  # never delayed
    refused(broker.get(f"{path}/2"), 404, "delayed_not_found")
    refused(broker.get(f"{path}/{2**63 - 1}"), 404, "delayed_not_found")
    assert broker.get(f"{path}/0", partition=3).status_code == 404
    refused(broker.get(f"/topics/{unique()}/delayed/0"), 404, "topic_not_found")
    refused(broker.get(f"/topics/{unique()}/delayed"), 404, "topic_not_found")
    for bad in ("x", "-1", "1.5", "0x0", str(2**63)):
        refused(broker.get(f"{path}/{bad}"), 400)
        refused(broker.get(f"{path}/0", partition=bad), 400)


def test_due_ones_are_not_listed(broker: Broker) -> None:
    s = Setting(broker, [{"value": "x", "delay": "300ms"}, {"value": "y", "delay": "1h"}])
    assert len(broker.pending(s.topic)) == 2
    s.receive(1)
    assert [m["value"] for m in broker.pending(s.topic)] == ["y"]
    refused(broker.get(f"/topics/{s.topic}/delayed/0"), 404, "delayed_not_found")


def test_text_comes_back_identical(broker: Broker, topic: str) -> None:
    texts = ["", "\0", 'q"\\/\b\f\n', "ключ 漢字 😀", "x" * 100_000]
    broker.create(topic)
    broker.publish(topic, *({"value": t, "key": t[:50], "delay": f"{i + 1}h"} for i, t in enumerate(texts)))
    got = listed(broker, topic)["messages"]
    assert [m["value"] for m in got] == texts
    assert [m.get("key", "") for m in got] == [t[:50] for t in texts]


# Cancel.


def test_cancel(broker: Broker) -> None:
    s = Setting(broker, [{"value": "gone", "delay": "700ms"}, "a", {"value": "kept", "delay": "700ms"}])
    got = ok(cancel(broker, s.topic, s.published[0]))
    assert (got["cancelled"], got["canceled"]) == (True, True)
    assert (got["topic"], got["partition"], got["offset"]) == (s.topic, 0, 0)
    assert "already_cancelled" not in got or got["already_cancelled"] is False
    for _ in range(2):
        again = ok(cancel(broker, s.topic, s.published[0]))
        assert (again["cancelled"], again["already_cancelled"]) == (True, True)
    refused(broker.get(f"/topics/{s.topic}/delayed/0"), 404, "delayed_not_found")
    assert [m["value"] for m in broker.pending(s.topic)] == ["kept"]
    for message in s.receive(2):
        assert message["value"] in ("a", "kept")
        ok(broker.ack(message["receipt_handle"]))
    assert s.poll(timeout="300ms") == []
    assert s.position() == 3  # over the gap
    assert broker.values(s.topic) == ["a", "kept"]
    page = broker.consume(s.topic)
    assert ([m["offset"] for m in page["messages"]], page["next_offset"]) == ([1, 2], 3)


def test_what_cannot_be_cancelled(broker: Broker) -> None:
    s = Setting(broker, ["never delayed", {"value": "due", "delay": "200ms"}])
    s.receive(2)
    for result in s.published:
        refused(cancel(broker, s.topic, result), 404, "delayed_not_found")
    base = f"/topics/{s.topic}/delayed"
    refused(broker.delete(f"{base}/0/99"), 404, "delayed_not_found")
    assert broker.delete(f"{base}/1/0").status_code == 404
    refused(broker.delete(f"/topics/{unique()}/delayed/0/0"), 404, "topic_not_found")
    for bad in ("x/0", "0/x", "-1/0", "0/-1", "1.5/0", f"0/{2**63}"):
        refused(broker.delete(f"{base}/{bad}"), 400)
    refused(broker.delete(f"{base}/0"), 405, "method_not_allowed")
    refused(broker.post(f"{base}/0/0"), 405, "method_not_allowed")


def test_cancel_needs_the_right_place(broker: Broker) -> None:
    """The same offset of another partition, or of another topic, is another message."""
    one, two = broker.create(unique(), 2), broker.create(unique(), 2)
    for topic in (one, two):
        broker.publish(topic, *({"value": str(p), "partition": p, "delay": "1h"} for p in (0, 1)))
    ok(broker.delete(f"/topics/{one}/delayed/1/0"))
    assert [m["value"] for m in broker.pending(one)] == ["0"]
    assert [m["value"] for m in broker.pending(two)] == ["0", "1"]
    headers = {"X-Tenant-ID": "somebody-else"}
    reply = broker.request("DELETE", f"/topics/{two}/delayed/0/0", headers=headers)
    refused(reply, 404, "topic_not_found")


def test_cancelled_from_many_sides(broker: Broker, topic: str) -> None:
    broker.create(topic)
    results = broker.publish(topic, *({"value": str(i), "delay": "1h"} for i in range(20)))
    with ThreadPoolExecutor(6) as pool:
        for result in results:
            jobs = [pool.submit(cancel, broker, topic, result) for _ in range(6)]
            got = [ok(job.result()) for job in jobs]
            assert all(g["cancelled"] for g in got)
            assert sum(g.get("already_cancelled") is True for g in got) == 5
    assert broker.pending(topic) == []


def test_cancel_or_delivery(broker: Broker) -> None:
    """At the moment it is due, one of the two happens, never both."""
    s = Setting(broker, [{"value": str(i), "delay": f"{400 + 4 * i}ms"} for i in range(150)])
    cancelled: set[str] = set()

    def cancel_all() -> None:
        for value, result in enumerate(s.published):
            wait = (due_us(result) - now_us()) / 1e6
            time.sleep(max(0.0, wait))
            reply = cancel(broker, s.topic, result)
            if reply.status_code == 200:
                cancelled.add(str(value))
            else:
                refused(reply, 404, "delayed_not_found")

    thread = threading.Thread(target=cancel_all)
    thread.start()
    got: list[str] = []
    while thread.is_alive():
        got += s.values(timeout="100ms")
    thread.join()
    while page := s.values(timeout="500ms"):
        got += page
    assert len(set(got)) == len(got)
    assert set(got) | cancelled == {str(i) for i in range(150)}
    assert not set(got) & cancelled
    print(f"{len(cancelled)} of 150 were cancelled")


def test_cancelled_for_a_waiting_reader(broker: Broker, topic: str) -> None:
    broker.create(topic)
    [result] = broker.publish(topic, {"value": "x", "delay": "500ms"})
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(broker.consume, topic, timeout="1500ms")
        ok(cancel(broker, topic, result))
        page = waiting.result()
    assert (page["messages"], page["next_offset"]) == ([], 1)


def test_deleting_the_topic_takes_them(broker: Broker, topic: str) -> None:
    broker.create(topic)
    broker.publish(topic, {"value": "old", "delay": "500ms"})
    before = ok(broker.get("/delay/stats"))["pending_count"]
    ok(broker.delete(f"/topics/{topic}"))
    assert ok(broker.get("/delay/stats"))["pending_count"] == before - 1
    broker.create(topic)
    group = unique("group")
    member = broker.join(group, topic)["member_id"]
    broker.publish(topic, "new")
    assert [m["value"] for m in broker.poll(group, member)] == ["new"]
    assert broker.poll(group, member, timeout="800ms") == []
    assert broker.pending(topic) == []


# Limits.


def test_limit_of_a_topic(broker: Broker, topic: str) -> None:
    """Beyond it, an error of that message; the others are stored."""
    broker.create(topic, 2, max_delayed=3)
    later = {"value": "later", "delay": "1h"}
    body = {"messages": ["now", later, later, "now", later, later, later, "now"]}
    body["messages"] = [m if isinstance(m, dict) else {"value": m} for m in body["messages"]]
    results = ok(broker.post(f"/topics/{topic}/messages", body))["results"]
    assert ["error" in r for r in results] == [False] * 5 + [True, True, False]
    for bad in results[5:7]:
        assert (bad["partition"], bad["offset"]) == (-1, -1)
        assert isinstance(bad["error"], str)
        assert bad["error"]
    assert sum(len(broker.values(topic, p)) for p in (0, 1)) == 3
    assert listed(broker, topic)["total"] == 3
    full = ok(broker.post(f"/topics/{topic}/messages", {"messages": [later]}))["results"]
    assert "error" in full[0]
    ok(cancel(broker, topic, results[1]))
    [result] = broker.publish(topic, later)
    assert result["delayed"] is True
    assert listed(broker, topic)["total"] == 3
    offsets = ok(broker.get(f"/topics/{topic}"))["partition_offsets"]
    assert sum(o["next"] for o in offsets.values()) == 7  # what was refused took no offset


def test_due_ones_make_room(broker: Broker) -> None:
    s = Setting(broker, 0, topic={"max_delayed": 2})
    soon = {"value": "x", "delay": "300ms"}
    broker.publish(s.topic, soon, soon)
    s.receive(2)
    broker.publish(s.topic, soon, soon)


def test_limit_under_concurrency(broker: Broker, topic: str) -> None:
    broker.create(topic, 3, max_delayed=100)
    body = {"messages": [{"value": "x", "delay": "1h"}] * 3 + [{"value": "y"}]}

    def publish(_: int) -> tuple[int, int]:
        results = ok(broker.post(f"/topics/{topic}/messages", body))["results"]
        return sum("error" not in r for r in results[:3]), int("error" not in results[3])

    with ThreadPoolExecutor(8) as pool:
        stored = list(pool.map(publish, range(60)))
    assert sum(s[0] for s in stored) == 100
    assert sum(s[1] for s in stored) == 60
    assert listed(broker, topic)["total"] == 100


@pytest.mark.parametrize("value", [-1, "5", 1.5, True, 2**40, [], {}])
def test_bad_limits_of_a_topic(broker: Broker, topic: str, value: Any) -> None:
    refused(broker.post("/topics", {"name": topic, "max_delayed": value}), 400)
    refused(broker.get(f"/topics/{topic}"), 404)


def test_the_longest_delay(broker: Broker, topic: str) -> None:
    far = (datetime.now(timezone.utc) + timedelta(hours=8759)).isoformat()
    too_far = (datetime.now(timezone.utc) + timedelta(hours=8761)).isoformat()
    broker.create(topic)
    messages = [{"value": "x", "delay": "8760h"}, {"value": "x", "deliverAt": far},
                {"value": "x", "delay": "8760h1ms"}, {"value": "x", "deliverAt": too_far}, {"value": "x"}]
    results = ok(broker.post(f"/topics/{topic}/messages", {"messages": messages}))["results"]
    assert ["error" in r for r in results] == [False, False, True, True, False]
    assert [r["offset"] for r in results] == [0, 1, -1, -1, 2]
    assert 8759 * HOURS < due_us(results[0]) - now_us() <= 8760 * HOURS


def test_the_shortest_delay(broker: Broker) -> None:
    s = Setting(broker, [{"value": "1us", "delay": "1us"}, {"value": "1ms", "delay": "1ms"}])
    assert [m["value"] for m in sorted(s.receive(2), key=lambda m: m["offset"])] == ["1us", "1ms"]


# Statistics.


def test_stats(own_broker: Broker) -> None:
    b = own_broker
    empty = ok(b.get("/delay/stats"))
    assert empty == {
        **empty, "pending_count": 0, "delivered_count": 0, "cancelled_count": 0, "avg_delay": "0s",
        "canceled_count": 0, "total_scheduled": 0, "total_delivered": 0, "total_canceled": 0,
        "total_pending": 0, "by_topic": {},
    }
    one, two = b.create("one", 2), b.create("two")
    results = b.publish(one, {"value": "a", "delay": "1h"}, {"value": "b", "delay": "3h"}, "c")
    b.publish(two, {"value": "d", "delay": "2h"})
    got = ok(b.get("/delay/stats"))
    assert (got["pending_count"], got["total_pending"], got["total_scheduled"]) == (3, 3, 3)
    assert got["avg_delay"] == "2h0m0s"
    assert got["by_topic"] == {one: 2, two: 1}
    ok(cancel(b, one, results[0]))
    ok(cancel(b, one, results[0]))
    [soon] = b.publish(two, {"value": "e", "delay": "200ms"})
    after(soon["deliverAt"])
    eventually(lambda: ok(b.get("/delay/stats"))["delivered_count"] == 1)
    got = ok(b.get("/delay/stats"))
    assert (got["pending_count"], got["delivered_count"], got["cancelled_count"]) == (2, 1, 1)
    assert (got["total_pending"], got["total_delivered"], got["total_canceled"]) == (2, 1, 1)
    assert (got["canceled_count"], got["total_scheduled"]) == (1, 4)
    assert parse_duration(got["avg_delay"]) == pytest.approx((6 * 3600 + 0.2) / 4)
    assert got["by_topic"] == {one: 1, two: 1}


def test_stats_survive(own_broker: Broker) -> None:
    b = own_broker
    results = b.publish(b.create("t"), *({"value": "x", "delay": f"{i}h"} for i in (1, 2, 3)))
    ok(cancel(b, "t", results[2]))
    before = ok(b.get("/delay/stats"))
    for restart in (b.restart, b.crash):
        restart()
        got = ok(b.get("/delay/stats"))
        assert got["pending_count"] == 2
        assert got["by_topic"] == {"t": 2}
        assert got == before


def test_stats_of_a_tenant(own_broker: Broker) -> None:
    b = own_broker
    mine = {"X-Tenant-ID": "tenant-one"}
    b.publish("t", {"value": "x", "delay": "1h"})
    body = {"messages": [{"value": "x", "delay": "2h"}] * 2}
    ok(b.request("POST", "/topics/u/messages", body, headers=mine))
    got = ok(b.request("GET", "/delay/stats", headers=mine))
    assert (got["pending_count"], got["by_topic"]) == (2, {"u": 2})
    assert ok(b.get("/delay/stats"))["pending_count"] == 3
    refused(b.get("/topics/u/delayed"), 404, "topic_not_found")
    assert ok(b.request("GET", "/topics/u/delayed", headers=mine))["count"] == 2


# Restarts.


@pytest.mark.parametrize("how", ["restart", "crash"])
def test_delays_survive(own_broker: Broker, how: str) -> None:
    """And what was cancelled stays cancelled."""
    b = own_broker
    messages = [{"value": str(i), "delay": d, "priority": p} for i, (d, p) in enumerate(
        [("1500ms", "low"), ("1h", "high"), ("1500ms", "critical"), ("800ms", "normal"), ("2h", "normal")])]
    s = Setting(b, [*messages, "5"], partitions=1)
    due = {str(i): due_us(r) for i, r in enumerate(s.published[:5])}
    ok(cancel(b, s.topic, s.published[3]))
    ok(cancel(b, s.topic, s.published[4]))
    before = b.pending(s.topic)
    assert [m["value"] for m in before] == ["0", "2", "1"]
    getattr(b, how)()
    kept = ("partition", "offset", "deliver_at", "priority", "value")
    now = {m["value"]: m for m in b.pending(s.topic)}
    for old in before:
        new = now.get(old["value"])
        assert new is None or [new[k] for k in kept] == [old[k] for k in kept]
    assert "1" in now
    got = s.receive(3)  # on a slow machine the delayed ones are due already, and one of them is critical
    assert {m["value"] for m in got} == {"0", "2", "5"}
    for message in got:
        if message["value"] != "5":
            in_time(message, due[message["value"]])
        ok(b.ack(message["receipt_handle"]))
    assert ok(cancel(b, s.topic, s.published[4]))["already_cancelled"] is True
    refused(cancel(b, s.topic, s.published[0]), 404, "delayed_not_found")
    assert s.poll(timeout="300ms") == []
    assert b.values(s.topic) == ["0", "2", "5"]
    getattr(b, how)()
    assert [m["value"] for m in b.pending(s.topic)] == ["1"]
    assert s.poll(timeout="300ms") == []
    ok(cancel(b, s.topic, s.published[1]))
    assert s.position() == 6


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_overdue_while_it_was_down(own_broker: Broker, how: str) -> None:
    b = own_broker
    s = Setting(b, [{"value": str(i), "delay": "500ms", "partition": i % 2} for i in range(100)], partitions=2)
    getattr(b, how)()
    after(s.published[-1]["deliverAt"], 0.2)
    b.start()
    got = s.receive(100)
    for message in got:
        in_time(message, due_us(s.published[int(message["value"])]))
    assert b.pending(s.topic) == []
    assert ok(b.get("/delay/stats"))["pending_count"] == 0


def test_the_limit_survives_a_restart(own_broker: Broker) -> None:
    b = own_broker
    b.create("t", max_delayed=2)
    body = {"messages": [{"value": "x", "delay": "1h"}] * 3}
    assert "error" in ok(b.post("/topics/t/messages", body))["results"][2]
    for restart in (b.restart, b.crash):
        restart()
        assert all("error" in r for r in ok(b.post("/topics/t/messages", body))["results"])
        assert listed(b, "t")["total"] == 2


def test_kill_while_they_fall_due(own_broker: Broker) -> None:
    """A thousand become due around the kill: each comes, none before its time."""
    b = own_broker
    s = Setting(b, 0, partitions=3, visibility_timeout="500ms", topic={"max_deliveries": 100})
    for number in range(3):
        b.publish(s.topic, *({"value": f"{number}-{i}", "delay": f"{100 + i}ms"} for i in range(600)))
    due = {m["value"]: micros(m["deliver_at"]) for m in b.pending(s.topic)}
    done: set[str] = set()
    crashes = [1500, 1000, 700, 400, 200, 50]  # after so many acks
    end = time.monotonic() + 40 * PATIENCE
    while len(done) < 1800 and time.monotonic() < end:
        for message in s.poll(timeout="100ms", max_messages=60):
            assert message["value"] not in done
            if message["value"] in due:
                in_time(message, due[message["value"]], "500ms")
            if b.ack(message["receipt_handle"]).status_code == 200:
                done.add(message["value"])
        if crashes and len(done) >= crashes[-1]:
            crashes.pop()
            b.crash()
    assert done == {f"{n}-{i}" for n in range(3) for i in range(600)}
    assert s.position() == ok(b.get(f"/topics/{s.topic}"))["partition_offsets"]["0"]["next"]
