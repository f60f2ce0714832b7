"""Contract 4.3 and 7.2.6: dead letters, and the way back."""

from __future__ import annotations

import json
import random
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from harness import Broker, Raw, Setting, eventually, micros, now_us, ok, refused, unique
from test_crash import ROUNDS
from test_publish import murmur3
from test_recovery import flip

PREFIX = "x-goqueue-"
HEADERS = {
    "dlq-reason", "original-topic", "original-partition", "original-offset", "original-timestamp",
    "delivery-attempts", "first-delivery", "last-delivery", "last-group", "dlq-time",
}  # fmt: skip


def of_ours(message: dict[str, Any]) -> dict[str, str]:
    """The headers that the broker added, without their prefix."""
    headers: dict[str, str] = message["headers"]
    return {k[len(PREFIX) :]: v for k, v in headers.items() if k.startswith(PREFIX)}


def of_theirs(message: dict[str, Any]) -> dict[str, str]:
    return {k: v for k, v in message["headers"].items() if not k.startswith(PREFIX)}


def reject_all(s: Setting, count: int) -> None:
    for message in s.receive(count, max_messages=1000):
        ok(s.broker.reject(message["receipt_handle"]))


def replay(broker: Broker, topic: str, **body: Any) -> dict[str, Any]:
    return ok(broker.post("/messages/dlq/replay", {"dlq_topic": f"{topic}.dlq", **body}))


# What a dead letter is.


def test_reject(broker: Broker) -> None:
    message = {"value": "v", "key": "k", "priority": "high", "headers": {"a": "1", "b": "ü"}}
    s = Setting(broker, [message])
    [delivered] = s.poll()
    before = now_us()
    ok(broker.reject(delivered["receipt_handle"], reason="no such account"))
    [dead] = broker.dead_letters(s.topic)
    assert (dead["value"], dead["key"], dead["priority"]) == ("v", "k", "high")
    assert of_theirs(dead) == message["headers"]
    ours = of_ours(dead)
    assert ours["dlq-reason"] == "REJECTED"
    assert ours["dlq-error"] == "no such account"
    assert ours["original-topic"] == s.topic
    assert (ours["original-partition"], ours["original-offset"]) == ("0", "0")
    assert micros(ours["original-timestamp"]) == micros(delivered["timestamp"])
    assert ours["delivery-attempts"] == "1"
    assert ours["last-group"] == s.group
    assert ours["last-consumer"] == s.member
    leased = micros(delivered["visibility_deadline"]) - 30_000_000
    assert micros(ours["first-delivery"]) == micros(ours["last-delivery"]) == leased
    assert before <= micros(ours["dlq-time"]) <= now_us()
    assert HEADERS | {"dlq-error", "last-consumer"} == set(ours)
    assert s.poll(timeout="300ms") == []
    assert s.position() == 1


def test_exhausted_by_nack(broker: Broker) -> None:
    s = Setting(broker, 1)
    for reason in ("first", "second", None):
        [message] = s.receive(1)
        if message["delivery_count"] == 1:
            first = micros(message["visibility_deadline"]) - 30_000_000
        got = ok(broker.nack(message["receipt_handle"], delay="0s", reason=reason))
    assert (got["requeued"], got["action"], got["dlq_topic"]) == (False, "dlq", f"{s.topic}.dlq")
    [dead] = broker.dead_letters(s.topic)
    ours = of_ours(dead)
    assert ours["dlq-reason"] == "MAX_RETRIES_EXCEEDED"
    assert ours["dlq-error"] == "second"  # the last reason that was given
    assert ours["delivery-attempts"] == "3"
    assert micros(ours["first-delivery"]) == first
    assert micros(ours["last-delivery"]) == micros(message["visibility_deadline"]) - 30_000_000
    assert HEADERS <= set(ours)
    assert "key" not in dead
    assert of_theirs(dead) == {}


def test_exhausted_by_deadline(broker: Broker) -> None:
    """Nobody has to poll for it."""
    s = Setting(broker, 1, visibility_timeout="100ms")
    for _ in range(3):
        [message] = s.receive(1)
    [dead] = eventually(lambda: broker.dead_letters(s.topic))
    ours = of_ours(dead)
    assert ours["dlq-reason"] == "MAX_RETRIES_EXCEEDED"
    assert ours["delivery-attempts"] == "3"
    assert ours.get("dlq-error", "") == ""
    assert ours["last-consumer"] == s.member
    assert micros(ours["last-delivery"]) == micros(message["visibility_deadline"]) - 100_000
    assert micros(ours["dlq-time"]) >= micros(message["visibility_deadline"])
    assert s.position() == 1
    assert ok(broker.ack(message["receipt_handle"]))["already"] is True


def test_what_it_was_comes_back_identical(broker: Broker) -> None:
    texts = ["", "\0", 'q"\\/\b\f\n', "ключ 漢字 😀", "x" * 100_000]
    priorities = ["critical", "high", "normal", "low", "background"]
    messages = [
        {"value": t, "key": t[:60], "headers": {t[:60]: t[:1000]}, "priority": p}
        for t, p in zip(texts, priorities)
    ]
    s = Setting(broker, messages, partitions=4)
    reject_all(s, len(messages))
    dead = {m["value"]: m for m in broker.dead_letters(s.topic)}
    for message in messages:
        got = dead[message["value"]]
        assert got.get("key", "") == message["key"]
        assert got["priority"] == message["priority"]
        assert of_theirs(got) == message["headers"]


def test_large_messages(broker: Broker) -> None:
    """The largest there are: nothing of them is lost for want of room for our headers."""
    messages: list[dict[str, Any]] = [
        {"value": "v" * (16 * 1024 * 1024)},
        {"value": "k", "key": "k" * 65535},
        {"value": "h", "headers": {"h": "v" * 65534}},
    ]
    s = Setting(broker, messages[1:])
    broker.publish(s.topic, messages[0])
    reject_all(s, 3)
    assert s.position() == 3
    dead = {m["value"][:1]: m for m in broker.everything(f"{s.topic}.dlq")}
    assert dead["v"]["value"] == messages[0]["value"]
    assert dead["k"]["key"] == messages[1]["key"]
    assert of_theirs(dead["h"]) == messages[2]["headers"]
    assert all(of_ours(m)["dlq-reason"] == "REJECTED" for m in dead.values())


def test_our_headers_replace_those_of_that_name(broker: Broker) -> None:
    given = {"x-goqueue-dlq-reason": "theirs", "x-goqueue-last-group": "nobody", "other": "kept"}
    s = Setting(broker, [{"value": "x", "headers": given}])
    [message] = s.poll()
    ok(broker.reject(message["receipt_handle"], reason="ours"))
    text = broker.get(f"/topics/{s.topic}.dlq/partitions/0/messages").text
    assert len(re.findall(r'"x-goqueue-dlq-reason"', text)) == 1
    [dead] = broker.dead_letters(s.topic)
    assert of_ours(dead)["dlq-reason"] == "REJECTED"
    assert of_ours(dead)["last-group"] == s.group
    assert dead["headers"]["other"] == "kept"


def test_exhausted_by_leaving(broker: Broker) -> None:
    """A delivery that ends with its member counts like any other."""
    s = Setting(broker, 2, topic={"max_deliveries": 1}, session_timeout="1s")
    s.poll(max_messages=1)
    ok(broker.post(f"/groups/{s.group}/leave", {"member_id": s.member}))
    eventually(lambda: [m["value"] for m in broker.dead_letters(s.topic)] == ["0"])
    member = broker.join(s.group, s.topic, session_timeout="1s")["member_id"]
    assert [m["value"] for m in broker.poll(s.group, member)] == ["1"]
    eventually(lambda: len(broker.dead_letters(s.topic)) == 2)  # evicted
    for message in broker.dead_letters(s.topic):
        assert of_ours(message)["dlq-reason"] == "MAX_RETRIES_EXCEEDED"


def test_a_rewind_brings_it_back(broker: Broker) -> None:
    s = Setting(broker, 2)
    reject_all(s, 2)
    ok(s.commit(0))
    reject_all(s, 2)
    assert [m["value"] for m in broker.dead_letters(s.topic)] == ["0", "1", "0", "1"]


# Where it goes.


def test_the_topic(broker: Broker, topic: str) -> None:
    """Made on demand with the source's partition count and 336 hours; the source tells its name."""
    broker.create(topic, 5, retention_hours=7, visibility_timeout="5m", max_deliveries=9)
    broker.publish(topic, "x")
    assert ok(broker.get(f"/topics/{topic}"))["dlq_topic"] is None
    refused(broker.get(f"/topics/{topic}.dlq"), 404, "topic_not_found")
    group = unique("group")
    member = broker.join(group, topic)["member_id"]
    [message] = broker.poll(group, member)
    ok(broker.reject(message["receipt_handle"]))
    assert ok(broker.get(f"/topics/{topic}"))["dlq_topic"] == f"{topic}.dlq"
    got = ok(broker.get(f"/topics/{topic}.dlq"))
    assert (got["name"], got["partitions"], got["retention_hours"]) == (f"{topic}.dlq", 5, 336)
    assert (got["total_messages"], got["dlq_topic"]) == (1, None)
    listed = ok(broker.get("/topics"))["topics"]
    assert f"{topic}.dlq" in listed
    assert f"{topic}.dlq.dlq" not in listed
    assert f"{topic}.dlq" in ok(broker.get("/stats"))["topic_list"]


def test_partitions(broker: Broker) -> None:
    """Keyless ones stay in theirs; keyed ones go by their hash, wherever they were."""
    keys = [f"key-{i}" for i in range(20)]
    messages = [{"value": f"{p}-{i}", "partition": p} for p in range(4) for i in range(5)]
    messages += [{"value": key, "key": key} for key in keys]
    messages += [{"value": f"moved-{key}", "key": key, "partition": 3} for key in keys]
    s = Setting(broker, messages, partitions=4)
    reject_all(s, len(messages))
    dead = broker.dead_letters(s.topic)
    assert len(dead) == len(messages)
    for message in dead:
        key = message.get("key")
        wanted = murmur3(key.encode()) % 4 if key else int(message["value"].split("-")[0])
        assert message["partition"] == wanted, message
    for p in range(4):  # in the order in which they died, which was that of their offsets
        keyless = [m["value"] for m in dead if m["partition"] == p and "key" not in m]
        assert keyless == [f"{p}-{i}" for i in range(5)]


def test_a_dead_letter_topic_of_the_clients_own(broker: Broker, topic: str) -> None:
    broker.create(f"{topic}.dlq", 2, retention_hours=5)
    broker.create(topic, 5)
    assert ok(broker.get(f"/topics/{topic}"))["dlq_topic"] == f"{topic}.dlq"
    messages = [{"value": str(p), "partition": p} for p in range(5)]
    broker.publish(topic, *messages, {"value": "keyed", "key": "test"})
    group = unique("group")
    member = broker.join(group, topic)["member_id"]
    for message in broker.receive(group, member, 6):
        ok(broker.reject(message["receipt_handle"]))
    dead = {m["value"]: m for m in broker.dead_letters(topic)}
    assert sorted(dead) == ["0", "1", "2", "3", "4", "keyed"]
    assert dead["keyed"]["partition"] == murmur3(b"test") % 2
    assert ok(broker.get(f"/topics/{topic}.dlq"))["retention_hours"] == 5


def test_it_is_made_anew_when_it_was_deleted(broker: Broker) -> None:
    s = Setting(broker, 2)
    for message in s.poll():
        ok(broker.reject(message["receipt_handle"]))
        assert [m["value"] for m in broker.dead_letters(s.topic)] == [message["value"]]
        ok(broker.delete(f"/topics/{s.topic}.dlq"))
        assert ok(broker.get(f"/topics/{s.topic}"))["dlq_topic"] is None


def test_it_outlives_its_source(broker: Broker) -> None:
    s = Setting(broker, 2)
    first, second = s.poll()
    ok(broker.reject(first["receipt_handle"]))
    ok(broker.delete(f"/topics/{s.topic}"))
    refused(broker.reject(second["receipt_handle"]), 404)
    assert [m["value"] for m in broker.everything(f"{s.topic}.dlq")] == ["0"]


def test_a_name_of_full_length(broker: Broker) -> None:
    """A topic of 255 characters has dead letters as well."""
    name = unique("t") + "x" * 300
    name = broker.create(name[:255])
    broker.publish(name, "v")
    group = unique("group")
    member = broker.join(group, name)["member_id"]
    [message] = broker.poll(group, member)
    assert ok(broker.reject(message["receipt_handle"]))["dlq_topic"] == f"{name}.dlq"
    assert [m["value"] for m in broker.dead_letters(name)] == ["v"]


# Who it is dead for.


def test_for_one_group_only(broker: Broker) -> None:
    s = Setting(broker, 2)
    other = unique("group")
    member = broker.join(other, s.topic)["member_id"]
    reject_all(s, 2)
    assert [m["value"] for m in broker.poll(other, member)] == ["0", "1"]
    assert broker.values(s.topic) == ["0", "1"]
    assert s.position() == 2
    assert broker.positions(other).get(s.topic, {}).get("0", 0) == 0


def test_two_groups_make_two_dead_letters(broker: Broker) -> None:
    s = Setting(broker, 1)
    other = unique("group")
    member = broker.join(other, s.topic)["member_id"]
    reject_all(s, 1)
    [message] = broker.poll(other, member)
    ok(broker.reject(message["receipt_handle"]))
    dead = broker.dead_letters(s.topic)
    assert [of_ours(m)["last-group"] for m in dead] == [s.group, other]


def test_out_of_order(broker: Broker) -> None:
    """The position moves over dead letters as over acked messages."""
    s = Setting(broker, 5)
    messages = s.poll()
    ok(broker.reject(messages[1]["receipt_handle"]))
    ok(broker.ack(messages[3]["receipt_handle"]))
    assert s.position() in (None, 0)
    ok(broker.reject(messages[0]["receipt_handle"]))
    assert s.position() == 2
    ok(broker.ack(messages[2]["receipt_handle"]))
    assert s.position() == 4


# Dead letters are messages like others, but for one thing.


def test_consuming_dead_letters(broker: Broker) -> None:
    s = Setting(broker, [{"value": str(i), "priority": "high" if i == 2 else "low"} for i in range(4)])
    reject_all(s, 4)
    group = unique("group")
    member = broker.join(group, f"{s.topic}.dlq")["member_id"]
    got = broker.poll(group, member)
    assert [m["value"] for m in got] == ["2", "0", "1", "3"]
    assert [m["delivery_count"] for m in got] == [1] * 4
    assert all(of_ours(m)["dlq-reason"] == "REJECTED" for m in got)
    ok(broker.ack(got[0]["receipt_handle"]))
    ok(broker.nack(got[1]["receipt_handle"], delay="0s"))
    assert [(m["value"], m["delivery_count"]) for m in broker.poll(group, member)] == [("0", 2)]


def test_dead_letters_that_fail_again_are_dropped(broker: Broker) -> None:
    """By reject, nack and deadline; counted, and nowhere else."""
    s = Setting(broker, 3)
    reject_all(s, 3)
    dead, group = f"{s.topic}.dlq", unique("group")
    member = broker.join(group, dead, max_deliveries=1, visibility_timeout="1s")["member_id"]
    before = ok(broker.get("/reliability/stats"))
    first, second, third = broker.poll(group, member)
    got = ok(broker.reject(first["receipt_handle"], reason="again"))
    assert (got["rejected"], got["dlq_topic"], got["topic"]) == (True, None, dead)
    got = ok(broker.nack(second["receipt_handle"]))
    assert (got["requeued"], got["action"], got["dlq_topic"]) == (False, "dlq", None)
    eventually(lambda: broker.positions(group).get(dead, {}).get("0") == 3)
    assert ok(broker.ack(third["receipt_handle"]))["already"] is True
    repeat = ok(broker.reject(first["receipt_handle"], reason="again"))
    assert (repeat["already"], repeat["dlq_topic"]) == (True, None)
    assert f"{dead}.dlq" not in ok(broker.get("/topics"))["topics"]
    assert len(broker.dead_letters(s.topic)) == 3  # done for the group, not gone
    after = ok(broker.get("/reliability/stats"))
    assert after["rejects_total"] == before["rejects_total"] + 1
    assert after["dlq_messages"] == before["dlq_messages"]
    assert broker.poll(group, member) == []


def test_the_name_of_a_dlq_of_a_dlq_is_none(broker: Broker, topic: str) -> None:
    refused(broker.post("/topics", {"name": f"{topic}.dlq.dlq"}), 400)


# Back again.


def dead(broker: Broker, messages: "int | list[Any]" = 3, **settings: Any) -> Setting:
    """A setting whose messages are all dead letters."""
    s = Setting(broker, messages, **settings)
    reject_all(s, messages if isinstance(messages, int) else len(messages))
    return s


def test_replay(broker: Broker) -> None:
    """To the topic it came from: delivered anew, and gone from where it was."""
    messages = [{"value": "a", "key": "k", "priority": "high", "headers": {"h": "1"}}, {"value": "b"}]
    s = dead(broker, messages)
    got = replay(broker, s.topic)
    assert (got["processed"], got["skipped"], got["errors"]) == (2, 0, 0)
    assert got["last_offset"] == 1
    assert broker.dead_letters(s.topic) == []
    first, second = s.receive(2)
    assert (first["value"], first["key"], first["priority"]) == ("a", "k", "high")
    assert (second["value"], second["delivery_count"], second["offset"]) == ("b", 1, 3)
    assert of_theirs(first) == {"h": "1"}
    ok(broker.ack(first["receipt_handle"]))
    ok(broker.ack(second["receipt_handle"]))
    assert s.position() == 4


def test_replay_twice_duplicates_nothing(broker: Broker) -> None:
    s = dead(broker, 5)
    assert replay(broker, s.topic)["processed"] == 5
    again = replay(broker, s.topic)
    assert (again["processed"], again["errors"]) == (0, 0)
    assert sorted(broker.values(s.topic)) == sorted(list("01234") * 2)
    assert [m["value"] for m in s.receive(5)] == list("01234")


def test_replay_at_once_from_many_sides(broker: Broker) -> None:
    s = dead(broker, 200)
    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(replay, broker, s.topic) for _ in range(4)]
        assert sum(j.result()["processed"] for j in jobs) == 200
    assert sorted(int(v) for v in broker.values(s.topic)) == sorted(list(range(200)) * 2)
    assert broker.dead_letters(s.topic) == []


def test_replay_elsewhere(broker: Broker) -> None:
    s = dead(broker, 3)
    other = broker.create(unique(), 1)
    assert replay(broker, s.topic, target_topic=other)["processed"] == 3
    assert broker.values(other) == ["0", "1", "2"]
    assert broker.values(s.topic) == ["0", "1", "2"]
    refused(broker.post("/messages/dlq/replay", {"dlq_topic": f"{s.topic}.dlq", "target_topic": unique()}),
            404, "topic_not_found")


def test_replay_keeps_partitions(broker: Broker) -> None:
    messages: list[dict[str, Any]] = [{"value": f"p{p}", "partition": p} for p in range(4)]
    messages += [{"value": f"k{i}", "key": f"k{i}"} for i in range(10)]
    s = dead(broker, messages, partitions=4)
    got = replay(broker, s.topic)
    assert (got["processed"], got["errors"]) == (14, 0)
    for m in s.receive(14):
        key = m.get("key")
        wanted = murmur3(key.encode()) % 4 if key else int(m["value"][1:])
        assert m["partition"] == wanted


def test_replay_of_one_partition(broker: Broker) -> None:
    messages = [{"value": f"{p}-{i}", "partition": p} for p in range(3) for i in range(4)]
    s = dead(broker, messages, partitions=3)
    assert replay(broker, s.topic, partition=1)["processed"] == 4
    assert sorted(m["value"] for m in s.receive(4)) == [f"1-{i}" for i in range(4)]
    assert len(broker.dead_letters(s.topic)) == 8


def test_replay_of_one_message(broker: Broker) -> None:
    s = dead(broker, 5)
    got = replay(broker, s.topic, partition=0, offset=2)
    assert (got["processed"], got["last_offset"]) == (1, 2)
    assert s.values(timeout="5s") == ["2"]
    again = replay(broker, s.topic, partition=0, offset=2)
    assert (again["processed"], again["errors"]) == (0, 0)
    assert [m["value"] for m in broker.dead_letters(s.topic)] == ["0", "1", "3", "4"]


def test_replay_from_an_offset(broker: Broker) -> None:
    s = dead(broker, 6)
    assert replay(broker, s.topic, from_offset=4)["processed"] == 2
    assert [m["value"] for m in broker.dead_letters(s.topic)] == ["0", "1", "2", "3"]
    assert [m["value"] for m in s.receive(2)] == ["4", "5"]


def test_replay_a_few_at_a_time(broker: Broker) -> None:
    s = dead(broker, 10)
    got = replay(broker, s.topic, max_messages=4)
    assert (got["processed"], got["last_offset"]) == (4, 3)
    assert replay(broker, s.topic, max_messages=4)["processed"] == 4
    assert replay(broker, s.topic, max_messages=4)["processed"] == 2
    assert replay(broker, s.topic, max_messages=4)["processed"] == 0
    assert [m["value"] for m in s.receive(10)] == list("0123456789")


def test_replay_of_many(broker: Broker) -> None:
    s = Setting(broker, 3000, max_in_flight=5000, max_deliveries=1, visibility_timeout="1s")
    for _ in range(3):
        assert s.poll(max_messages=1000)
    eventually(lambda: len(broker.dead_letters(s.topic)) == 3000, 30)
    total = 0
    while (got := replay(broker, s.topic))["processed"]:
        total += got["processed"]
        assert got["errors"] == 0
    assert total == 3000
    assert broker.dead_letters(s.topic) == []
    assert len(broker.all_values(s.topic)) == 6000


def test_replay_of_nothing(broker: Broker, topic: str) -> None:
    broker.create(topic)
    broker.create(f"{topic}.dlq")
    got = replay(broker, topic)
    assert (got["processed"], got["skipped"], got["errors"]) == (0, 0, 0)
    nulls = dict.fromkeys(("target_topic", "partition", "offset", "from_offset", "max_messages"))
    assert replay(broker, topic, **nulls)["processed"] == 0


def test_replay_when_the_source_is_gone(broker: Broker) -> None:
    """Nothing is lost: the dead letters stay where they are, or go where they are sent."""
    s = dead(broker, 2)
    ok(broker.delete(f"/topics/{s.topic}"))
    reply = broker.post("/messages/dlq/replay", {"dlq_topic": f"{s.topic}.dlq"})
    assert reply.status_code == 404 or ok(reply)["processed"] == 0
    assert len(broker.everything(f"{s.topic}.dlq")) == 2
    other = broker.create(unique())
    assert replay(broker, s.topic, target_topic=other)["processed"] == 2


def test_replay_of_what_a_group_works_on(broker: Broker) -> None:
    """It is gone from the dead-letter topic, for its consumers too."""
    s = dead(broker, 4)
    group = unique("group")
    member = broker.join(group, f"{s.topic}.dlq")["member_id"]
    held = [m["receipt_handle"] for m in broker.poll(group, member)]
    assert replay(broker, s.topic)["processed"] == 4
    assert ok(broker.ack(held[0]))["already"] is True
    refused(broker.nack(held[1]), 404)
    refused(broker.reject(held[2]), 404)
    refused(broker.extend(held[3]), 404)
    assert broker.positions(group)[f"{s.topic}.dlq"] == {"0": 4}
    assert broker.poll(group, member) == []
    assert [m["value"] for m in s.receive(4)] == list("0123")


def test_a_replayed_message_can_die_again(broker: Broker) -> None:
    s = dead(broker, [{"value": "x", "headers": {"mine": "1"}}])
    replay(broker, s.topic)
    [message] = s.receive(1)
    ok(broker.nack(message["receipt_handle"], delay="0s"))
    [message] = s.receive(1)
    ok(broker.reject(message["receipt_handle"], reason="second death"))
    [again] = broker.dead_letters(s.topic)
    ours = of_ours(again)
    assert (ours["dlq-error"], ours["delivery-attempts"]) == ("second death", "2")
    assert (ours["original-topic"], ours["original-offset"]) == (s.topic, "1")
    assert again["headers"]["mine"] == "1"


def test_bad_replays(broker: Broker) -> None:
    s = dead(broker, 2)
    name = f"{s.topic}.dlq"
    path = "/messages/dlq/replay"
    for body in ({}, {"dlq_topic": None}, {"dlq_topic": 5}, {"dlq_topic": ""}):
        assert broker.post(path, body).status_code in (400, 404)
    assert broker.post(path, {}).status_code == 400
    refused(broker.post(path, {"dlq_topic": f"{unique()}.dlq"}), 404, "topic_not_found")
    assert broker.post(path, {"dlq_topic": s.topic}).status_code in (400, 404)  # not one of the dead
    for more in ({"target_topic": 5}, {"partition": "0"}, {"partition": -1}, {"offset": -1, "partition": 0},
                 {"offset": "1", "partition": 0}, {"from_offset": -1}, {"from_offset": 1.5},
                 {"max_messages": 0}, {"max_messages": -1}, {"max_messages": "1"}, {"partition": True}):
        refused(broker.post(path, {"dlq_topic": name, **more}), 400)
    assert broker.post(path, {"dlq_topic": name, "partition": 1}).status_code in (400, 404)
    refused(broker.get(path), 405, "method_not_allowed")
    assert len(broker.dead_letters(s.topic)) == 2


# Damage, restarts and crashes.


def test_what_cannot_be_read_is_not_lost(own_broker: Broker) -> None:
    """A message damaged on the disk: told with 5xx, and everything else goes on."""
    b = own_broker
    s = Setting(b, ["needle"], visibility_timeout="10m")
    b.publish(s.topic, "fine")  # in a batch of its own
    damaged, fine = s.poll()
    [log] = (path for path in b.data.rglob("*.log") if b"needle" in path.read_bytes())
    flip(log, b"needle")
    for _ in range(2):
        refused(b.reject(damaged["receipt_handle"]), 500, "internal")
    assert b.dead_letters(s.topic) == []
    ok(b.nack(fine["receipt_handle"], delay="0s"))
    [fine] = s.receive(1)
    assert fine["value"] == "fine"
    ok(b.extend(damaged["receipt_handle"]))  # it is in flight still
    stats = ok(b.get("/reliability/stats"))
    assert (stats["rejects_total"], stats["dlq"]["total_routed"]) == (0, 0)
    assert stats["dlq"]["publish_errors"] == 2
    assert "already" not in ok(b.ack(damaged["receipt_handle"]))


@pytest.mark.parametrize("how", ["restart", "crash"])
def test_dead_letters_survive(own_broker: Broker, how: str) -> None:
    b = own_broker
    s = Setting(b, 4, topic={"max_deliveries": 2})
    one, two, three, _ = s.poll()
    ok(b.reject(one["receipt_handle"], reason="r"))
    ok(b.nack(two["receipt_handle"], delay="0s", reason="first try"))
    before = b.dead_letters(s.topic)
    getattr(b, how)()
    assert b.dead_letters(s.topic) == before
    [two] = s.receive(1)
    ok(b.nack(two["receipt_handle"]))  # the reason is from before the restart
    ok(b.reject(three["receipt_handle"]))
    found = b.dead_letters(s.topic)
    assert [m["value"] for m in found] == ["0", "1", "2"]
    assert of_ours(found[1])["dlq-error"] == "first try"
    assert of_ours(found[1])["delivery-attempts"] == "2"
    assert replay(b, s.topic, max_messages=2)["processed"] == 2
    getattr(b, how)()
    assert [m["value"] for m in b.dead_letters(s.topic)] == ["2"]
    assert b.values(s.topic) == ["0", "1", "2", "3", "0", "1"]
    assert replay(b, s.topic)["processed"] == 1


def test_kill_while_messages_die(own_broker: Broker) -> None:
    """By reject, nack and deadline, all at once: each is a dead letter once, whatever was answered."""
    b = own_broker
    rounds, each = max(2, ROUNDS // 6), 150
    topic = b.create("t", 3, max_deliveries=1)
    values: list[str] = []
    told: set[str] = set()
    lock = threading.Lock()
    problems: list[BaseException] = []
    members = [
        b.join("g", topic, visibility_timeout="500ms", session_timeout="30m", client_id=str(i))["member_id"]
        for i in range(2)
    ]

    def work(port: int, member: str, rng: random.Random) -> None:
        with Raw(port, timeout=30) as raw:
            while True:
                path = f"/groups/g/poll?member_id={member}&max_messages=15&timeout=200ms"
                status, body = exchange(raw, "GET", path)
                if body is None:
                    return
                assert status == 200, body
                for m in body["messages"]:
                    with lock:
                        assert m["value"] not in told, f"delivered when dead: {m}"
                    how = rng.choice(("reject", "nack", "deadline"))
                    if how == "deadline":
                        continue
                    receipt = {"receipt_handle": m["receipt_handle"], "reason": "r"}
                    status, reply = exchange(raw, "POST", f"/messages/{how}", receipt)
                    if reply is None:
                        return
                    if status == 200:
                        assert reply["dlq_topic"] == "t.dlq", reply
                        with lock:
                            told.add(m["value"])
                    else:
                        assert status in (404, 410), reply  # too late

    def run(*arguments: Any) -> None:
        try:
            work(*arguments)
        except BaseException as problem:
            problems.append(problem)

    for number in range(rounds):
        fresh = [f"{number}-{i}" for i in range(each)]
        b.publish(topic, *fresh)
        values += fresh
        threads = [
            threading.Thread(target=run, args=(b.port, m, random.Random(number * 10 + i)))
            for i, m in enumerate(members)
        ]
        for thread in threads:
            thread.start()
        time.sleep(random.Random(number).uniform(0.05, 0.6))
        b.kill()
        for thread in threads:
            thread.join()
        if problems:
            raise problems[0]
        b.start()
        found = [m["value"] for m in b.dead_letters(topic)]
        assert len(set(found)) == len(found), "a dead letter twice"
        assert told <= set(found), "a dead letter lost"

    def all_dead() -> bool:
        for member in members:
            b.poll("g", member, max_messages=1000)
        return len(b.dead_letters(topic)) >= len(values)

    eventually(all_dead, 30, pause=0.2)
    assert sorted(m["value"] for m in b.dead_letters(topic)) == sorted(values)
    ends = ok(b.get(f"/topics/{topic}"))["partition_offsets"]
    assert b.positions("g")[topic] == {p: o["next"] for p, o in ends.items()}


def test_kill_while_replaying(own_broker: Broker) -> None:
    """Each dead letter is here or there, once."""
    b = own_broker
    s = Setting(b, [{"value": str(i), "partition": i % 3} for i in range(900)], partitions=3,
                max_deliveries=1, visibility_timeout="200ms")
    s.receive(900, max_messages=900)
    eventually(lambda: len(b.dead_letters(s.topic)) == 900)
    moved: list[str] = []
    for number in range(max(2, ROUNDS // 6)):
        target = b.create(f"target-{number}", 3)

        def work(target: str = target) -> None:
            body = {"dlq_topic": f"{s.topic}.dlq", "target_topic": target, "max_messages": 20}
            with Raw(b.port, timeout=30) as raw:
                while exchange(raw, "POST", "/messages/dlq/replay", body)[1] is not None:
                    pass

        thread = threading.Thread(target=work)
        thread.start()
        time.sleep(random.Random(number).uniform(0.005, 0.05))
        b.kill()
        thread.join()
        b.start()
        moved += [m["value"] for m in b.everything(target)]
        found = moved + [m["value"] for m in b.dead_letters(s.topic)]
        assert sorted(found, key=int) == [str(i) for i in range(900)]
        if len(moved) == 900:
            break
    print(f"{len(moved)} were moved")


def exchange(raw: Raw, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """One request; (0, None) when the broker died."""
    content = b"" if body is None else json.dumps(body).encode()
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(content)}\r\n\r\n"
    try:
        raw.send(head.encode() + content)
        reply = raw.reply()
    except ConnectionError:
        return 0, None
    return (reply[0], json.loads(reply[2])) if reply is not None else (0, None)
