"""Contract 4.3, 4.5 and 7.2: messages that come back, when, how often, and how many at a time."""

from __future__ import annotations

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from harness import (
    PATIENCE,
    Broker,
    Setting,
    eventually,
    leased_us,
    micros,
    now_us,
    ok,
    refused,
    unique,
)

SHORT = "400ms"  # a visibility timeout that a test can wait for


def counts(messages: list[dict[str, Any]]) -> dict[str, int]:
    return {m["value"]: m["delivery_count"] for m in messages}


def durable(b: Broker) -> None:
    """Leases are journalled without anybody waiting; what is answered after them comes after them."""
    b.publish("durable", "everything so far")


# nack.


def test_nack_with_a_delay(broker: Broker) -> None:
    s = Setting(broker, 3)
    first, second, third = s.poll()
    got = ok(broker.nack(second["receipt_handle"], delay="600ms"))
    ok(broker.ack(first["receipt_handle"]))
    assert s.poll() == []  # not there before
    [again] = s.receive(1)
    assert (again["value"], again["offset"], again["delivery_count"]) == ("1", 1, 2)
    assert leased_us(again) >= micros(got["next_visible_at"])
    assert again["receipt_handle"] != second["receipt_handle"]
    ok(broker.ack(again["receipt_handle"]))
    ok(broker.ack(third["receipt_handle"]))
    assert s.position() == 3


def test_nack_at_once(broker: Broker) -> None:
    s = Setting(broker, 4)
    held = s.poll(max_messages=2)
    for message in held:
        ok(broker.nack(message["receipt_handle"], delay="0s"))
    assert [(m["value"], m["delivery_count"]) for m in s.poll()] == [
        ("0", 2), ("1", 2), ("2", 1), ("3", 1),
    ]


def test_nack_without_a_delay_waits_for_the_visibility_timeout(broker: Broker) -> None:
    of_topic = Setting(broker, 1, topic={"visibility_timeout": SHORT})
    of_member = Setting(broker, 1, topic={"visibility_timeout": "1h"}, visibility_timeout=SHORT)
    for s in (of_topic, of_member):
        [message] = s.poll()
        before = now_us()
        next_us = micros(ok(broker.nack(message["receipt_handle"]))["next_visible_at"])
        assert before + 400_000 <= next_us <= now_us() + 400_000
        [again] = s.receive(1)
        assert leased_us(again, SHORT) >= next_us
        assert again["delivery_count"] == 2


def test_nack_wakes_a_parked_poll(broker: Broker) -> None:
    s = Setting(broker, 1)
    [message] = s.poll()
    for delay in ("0s", "500ms"):
        with ThreadPoolExecutor(1) as pool:
            parked = pool.submit(s.poll, timeout="20s")
            time.sleep(0.15)
            got = ok(broker.nack(message["receipt_handle"], delay=delay))
            [message] = parked.result()
        late_us = leased_us(message) - micros(got["next_visible_at"])
        assert 0 <= late_us < 5_000_000 * PATIENCE


def test_different_delays_come_back_in_their_order(broker: Broker) -> None:
    s = Setting(broker, 6)
    delays = {"0": "900ms", "1": "300ms", "2": "600ms", "3": "1200ms", "4": "0s", "5": "1500ms"}
    due = {}
    for message in s.poll():
        got = ok(broker.nack(message["receipt_handle"], delay=delays[message["value"]]))
        due[message["value"]] = micros(got["next_visible_at"])
    back = s.receive(6)
    assert [m["value"] for m in back] == sorted(due, key=lambda value: due[value])
    for message in back:
        assert leased_us(message) >= due[message["value"]]


def test_nacked_messages_hold_nobody_back(broker: Broker) -> None:
    """Neither later ones of the partition, nor those of the same key (7.2.4)."""
    s = Setting(broker, [{"value": str(i), "key": "one"} for i in range(5)])
    [first] = s.poll(max_messages=1)
    ok(broker.nack(first["receipt_handle"], delay="1h"))
    rest = s.poll()
    assert [m["value"] for m in rest] == ["1", "2", "3", "4"]
    for message in rest:
        ok(broker.ack(message["receipt_handle"]))
    assert s.position() in (None, 0)


def test_many_come_back(broker: Broker) -> None:
    s = Setting(broker, 1000)
    held = s.poll(max_messages=1000)
    assert len(held) == 1000
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda m: ok(broker.nack(m["receipt_handle"], delay="200ms")), held))
    back = s.receive(1000, max_messages=1000)
    assert sorted(int(m["value"]) for m in back) == list(range(1000))
    assert {m["delivery_count"] for m in back} == {2}


# How often.


def test_every_way_back_counts(broker: Broker) -> None:
    """nack, deadline, leave, eviction: the next delivery is one more, the old handle is 410."""
    topic, group = broker.create(unique(), 1, max_deliveries=10), unique("group")
    broker.publish(topic, "x")

    def join(**more: Any) -> str:
        member: str = broker.join(group, topic, **more)["member_id"]
        return member

    member = join(visibility_timeout=SHORT)
    [message] = broker.poll(group, member)
    old = [message["receipt_handle"]]
    ok(broker.nack(message["receipt_handle"], delay="0s"))
    [message] = broker.receive(group, member, 1)
    assert message["delivery_count"] == 2
    old.append(message["receipt_handle"])
    [message] = broker.receive(group, member, 1)  # its deadline passes
    assert message["delivery_count"] == 3
    old.append(message["receipt_handle"])
    ok(broker.post(f"/groups/{group}/leave", {"member_id": member}))
    member = join(session_timeout="1s")
    [message] = broker.poll(group, member)  # at once
    assert message["delivery_count"] == 4
    old.append(message["receipt_handle"])
    eventually(lambda: not ok(broker.get(f"/groups/{group}"))["members"])
    member = join()
    [message] = broker.poll(group, member)
    assert message["delivery_count"] == 5
    for handle in old:
        refused(broker.ack(handle), 410, "receipt_expired")
        refused(broker.extend(handle), 410, "receipt_expired")
        refused(broker.reject(handle), 410, "receipt_expired")
    ok(broker.ack(message["receipt_handle"]))


def test_a_live_member_keeps_what_it_has_when_partitions_move(broker: Broker) -> None:
    s = Setting(broker, [{"value": str(p), "partition": p} for p in (0, 1)], partitions=2)
    held = s.poll()
    assert len(held) == 2
    other = broker.join(s.group, s.topic)
    assert len(other["assigned_partitions"]) == 1
    assert broker.poll(s.group, other["member_id"]) == []
    for message in held:
        ok(broker.ack(message["receipt_handle"]))


def test_max_deliveries_of_the_topic(broker: Broker) -> None:
    s = Setting(broker, 1, topic={"max_deliveries": 5})
    for expected in range(1, 6):
        [message] = s.receive(1)
        assert message["delivery_count"] == expected
        got = ok(broker.nack(message["receipt_handle"], delay="0s"))
        assert got["requeued"] is (expected < 5)
    assert s.poll(timeout="300ms") == []
    assert [m["value"] for m in broker.dead_letters(s.topic)] == ["0"]


def test_max_deliveries_of_the_member(broker: Broker) -> None:
    """It goes before the topic's."""
    for given, expected in ((1, 1), (4, 4), (None, 2)):
        s = Setting(broker, 1, topic={"max_deliveries": 2}, max_deliveries=given)
        for number in range(1, expected + 1):
            [message] = s.receive(1)
            assert message["delivery_count"] == number
            got = ok(broker.nack(message["receipt_handle"], delay="0s"))
            assert got["requeued"] is (number < expected)


def test_the_default_is_three(broker: Broker) -> None:
    s = Setting(broker, 1, visibility_timeout="100ms")
    assert [s.receive(1)[0]["delivery_count"] for _ in range(3)] == [1, 2, 3]
    eventually(lambda: broker.dead_letters(s.topic))
    assert s.position() == 1


# Visibility.


def test_the_members_timeout_goes_before_the_topics(broker: Broker) -> None:
    s = Setting(broker, 1, topic={"visibility_timeout": "1h"}, visibility_timeout=SHORT)
    [message] = s.poll()
    assert micros(message["visibility_deadline"]) <= now_us() + 400_000
    assert s.receive(1)[0]["delivery_count"] == 2
    longer = Setting(broker, 1, topic={"visibility_timeout": "50ms"}, visibility_timeout="1h")
    [message] = longer.poll()
    assert micros(message["visibility_deadline"]) > now_us() + 3_000_000_000
    assert longer.poll(timeout="300ms") == []


def test_redelivery_is_never_before_the_deadline(broker: Broker) -> None:
    s = Setting(broker, 20, topic={"max_deliveries": 100}, visibility_timeout="250ms")
    deadline: dict[str, int] = {}
    seen = 0
    while seen < 100:
        for message in s.poll(timeout="5s", max_messages=7):
            assert leased_us(message, "250ms") >= deadline.get(message["value"], 0)
            deadline[message["value"]] = micros(message["visibility_deadline"])
            seen += 1


def test_an_extended_deadline_holds(broker: Broker) -> None:
    s = Setting(broker, 2, visibility_timeout=SHORT)
    held, other = s.poll()
    first = micros(ok(broker.extend(held["receipt_handle"], "2s"))["new_deadline"])
    assert [m["value"] for m in s.receive(1)] == [other["value"]]
    again = micros(ok(broker.extend(held["receipt_handle"], "2s"))["new_deadline"])
    assert again > first
    back = {}
    while "0" not in back:
        for message in s.poll(timeout="5s"):
            back[message["value"]] = message
    assert leased_us(back["0"], SHORT) >= again
    assert back["0"]["delivery_count"] == 2
    refused(broker.extend(held["receipt_handle"]), 410, "receipt_expired")


def test_a_deadline_can_be_brought_forward(broker: Broker) -> None:
    s = Setting(broker, 1)
    [message] = s.poll()
    deadline = micros(ok(broker.extend(message["receipt_handle"], "100ms"))["new_deadline"])
    [again] = s.receive(1)
    assert leased_us(again) >= deadline
    assert leased_us(again) < micros(message["visibility_deadline"])


def test_extended_for_ever(broker: Broker) -> None:
    """As long as it is extended it stays; ack works at the end."""
    s = Setting(broker, 1, visibility_timeout="1s")
    [message] = s.poll()
    for _ in range(10):
        time.sleep(0.25)
        ok(broker.extend(message["receipt_handle"], f"{PATIENCE:g}s"))
    assert s.poll() == []
    assert "already" not in ok(broker.ack(message["receipt_handle"]))


# How many at a time.


def test_max_in_flight_of_the_member(broker: Broker) -> None:
    """Acked, nacked, rejected and expired ones make room; waiting ones take none."""
    s = Setting(broker, 20, max_in_flight=3)
    held = s.poll()
    assert [m["value"] for m in held] == ["0", "1", "2"]
    assert s.poll() == []
    ok(broker.nack(held[0]["receipt_handle"], delay="1h"))
    ok(broker.ack(held[1]["receipt_handle"]))
    assert s.values() == ["3", "4"]
    ok(broker.reject(held[2]["receipt_handle"]))
    assert s.values() == ["5"]
    assert s.poll() == []


def test_room_wakes_a_parked_poll(broker: Broker) -> None:
    member_limit = Setting(broker, 5, max_in_flight=1)
    topic_limit = Setting(broker, 5, topic={"max_in_flight": 1})
    for s in (member_limit, topic_limit):
        for finish in (broker.ack, broker.reject):
            [message] = s.receive(1)
            with ThreadPoolExecutor(1) as pool:
                parked = pool.submit(s.poll, timeout="20s")
                time.sleep(0.15)
                assert not parked.done()
                ok(finish(message["receipt_handle"]))
                [after] = parked.result()
            assert after["offset"] == message["offset"] + 1
            ok(broker.ack(after["receipt_handle"]))


def test_max_in_flight_of_the_topic(broker: Broker) -> None:
    """Of one partition, for one group."""
    messages = [{"value": f"{p}-{i}", "partition": p} for p in (0, 1) for i in range(5)]
    s = Setting(broker, messages, partitions=2, topic={"max_in_flight": 2})
    held = {m["value"]: m for m in s.poll()}
    assert sorted(held) == ["0-0", "0-1", "1-0", "1-1"]
    assert s.poll() == []
    other = unique("group")
    assert len(broker.poll(other, broker.join(other, s.topic)["member_id"])) == 4
    ok(broker.ack(held["0-0"]["receipt_handle"]))
    assert s.values() == ["0-2"]
    ok(broker.nack(held["1-1"]["receipt_handle"], delay="1h"))
    assert s.values() == ["1-2"]
    assert s.poll() == []


def test_zero_is_no_limit_of_the_topic(broker: Broker) -> None:
    s = Setting(broker, 500, topic={"max_in_flight": 0})
    assert len(s.poll(max_messages=1000)) == 500


def test_topic_and_member_limits_together(broker: Broker) -> None:
    messages = [{"value": f"{p}-{i}", "partition": p} for p in (0, 1, 2) for i in range(5)]
    s = Setting(broker, messages, partitions=3, topic={"max_in_flight": 2}, max_in_flight=5)
    assert len(s.poll()) == 5
    assert s.poll() == []


@pytest.mark.parametrize(
    "fields",
    [
        *({"max_in_flight": v} for v in (-1, "5", 1.5, True, 2**63)),
        *({"max_deliveries": v} for v in (0, -1, "3", 1.5, 2**40)),
        *({"visibility_timeout": v} for v in ("0s", "13h", "", 30)),
    ],
)
def test_bad_settings_of_a_topic(broker: Broker, topic: str, fields: dict[str, Any]) -> None:
    refused(broker.post("/topics", {"name": topic, **fields}), 400)


@pytest.mark.parametrize("value", [-1, 0, "3", 1.5, True, 2**40])
def test_bad_max_deliveries_of_a_member(broker: Broker, topic: str, group: str, value: Any) -> None:
    broker.create(topic)
    body = {"client_id": "c", "topics": [topic], "max_deliveries": value}
    refused(broker.post(f"/groups/{group}/join", body), 400)


# Restarts.


@pytest.mark.parametrize("how", ["restart", "crash"])
def test_nacked_survives(own_broker: Broker, how: str) -> None:
    """Its time, its count, and what others are."""
    b = own_broker
    s = Setting(b, 4)
    soon, later, long, done = s.poll()
    due = {
        m["value"]: micros(ok(b.nack(m["receipt_handle"], delay=delay))["next_visible_at"])
        for m, delay in ((soon, "300ms"), (later, "2500ms"), (long, "1h"))
    }
    ok(b.ack(done["receipt_handle"]))
    getattr(b, how)()
    back = s.receive(2)
    assert counts(back) == {"0": 2, "1": 2}
    for message in back:
        assert leased_us(message) >= due[message["value"]]
    for message in back:
        ok(b.nack(message["receipt_handle"], delay="0s"))
    getattr(b, how)()
    back = s.receive(2)
    assert counts(back) == {"0": 3, "1": 3}
    assert not any(ok(b.nack(m["receipt_handle"], delay="0s"))["requeued"] for m in back)
    getattr(b, how)()
    assert s.poll(timeout="500ms") == []
    assert sorted(m["value"] for m in b.dead_letters(s.topic)) == ["0", "1"]


@pytest.mark.parametrize("how", ["restart", "crash"])
def test_in_flight_survives(own_broker: Broker, how: str) -> None:
    """It comes back when its deadline passes, not before, and that is one more delivery."""
    b = own_broker
    s = Setting(b, 6, visibility_timeout="1500ms")
    held = s.poll()
    deadline = {m["value"]: micros(m["visibility_deadline"]) for m in held}
    for value, timeout in ((1, "3s"), (2, "200ms")):
        got = ok(b.extend(held[value]["receipt_handle"], timeout))
        deadline[str(value)] = micros(got["new_deadline"])
    ok(b.ack(held[0]["receipt_handle"]))
    del deadline["0"]
    ok(b.extend(held[5]["receipt_handle"], "1h"))
    del deadline["5"]
    durable(b)
    getattr(b, how)()
    back = {}
    while len(back) < 4:
        [message] = s.receive(1, max_messages=1)
        ok(b.ack(message["receipt_handle"]))
        assert leased_us(message, "1500ms") >= deadline[message["value"]], message
        back[message["value"]] = message["delivery_count"]
    assert back == dict.fromkeys("1234", 2)
    assert s.poll() == []
    assert "already" not in ok(b.ack(held[5]["receipt_handle"]))


def test_counts_survive_many_crashes(own_broker: Broker) -> None:
    """Each crash with a delivery that was not settled costs that delivery; the last one is fatal."""
    b = own_broker
    s = Setting(b, 2, topic={"max_deliveries": 4}, visibility_timeout="300ms")
    for number in range(1, 5):
        back = s.receive(2)
        assert counts(back) == {"0": number, "1": number}
        durable(b)
        b.crash()
    eventually(lambda: len(b.dead_letters(s.topic)) == 2)
    assert s.poll() == []
    assert s.position() == 2
    for message in b.dead_letters(s.topic):
        assert message["headers"]["x-goqueue-dlq-reason"] == "MAX_RETRIES_EXCEEDED"
        assert message["headers"]["x-goqueue-delivery-attempts"] == "4"


def test_a_deadline_that_passed_while_it_was_down(own_broker: Broker) -> None:
    b = own_broker
    s = Setting(b, 3, visibility_timeout="300ms")
    last = Setting(b, 1, topic={"max_deliveries": 1}, visibility_timeout="300ms")
    held = s.poll()
    ok(b.nack(held[2]["receipt_handle"], delay="400ms"))
    assert last.poll()
    durable(b)
    b.kill()
    time.sleep(0.6)
    b.start()
    assert counts(s.receive(3)) == {"0": 2, "1": 2, "2": 2}
    eventually(lambda: b.dead_letters(last.topic))


def test_limits_survive_a_restart(own_broker: Broker) -> None:
    b = own_broker
    s = Setting(b, 9, topic={"max_in_flight": 4, "max_deliveries": 2, "visibility_timeout": "1h"})
    narrow = Setting(b, 9, max_in_flight=2, max_deliveries=1, visibility_timeout="2h")
    for restart in (b.restart, b.crash):
        restart()
        held = s.poll()
        assert len(held) == 4 - 2 * (restart == b.crash)  # what was held still is
        assert all(micros(m["visibility_deadline"]) > now_us() + 3_000_000_000 for m in held)
        for message in held[:2]:
            ok(b.ack(message["receipt_handle"]))
        held = narrow.poll()
        assert len(held) == 2
        assert all(micros(m["visibility_deadline"]) > now_us() + 6_000_000_000 for m in held)
        for message in held:
            assert ok(b.nack(message["receipt_handle"], delay="0s"))["requeued"] is False
    assert len(b.dead_letters(narrow.topic)) == 4


def test_each_is_out_once_at_a_time(broker: Broker) -> None:
    """Members that ack, nack and forget: a message is never with two of them before its time."""
    topic, group = broker.create(unique(), 3, max_deliveries=1000), unique("group")
    total, done = 150, set()
    until: dict[str, tuple[int, int]] = {}  # which delivery, and until when
    rng = random.Random(1)
    lock, finished = threading.Lock(), threading.Event()
    problems: list[BaseException] = []

    def work() -> None:
        member = broker.join(group, topic, visibility_timeout=SHORT)["member_id"]
        while not finished.is_set():
            for m in broker.poll(group, member, timeout="200ms", max_messages=10):
                with lock:
                    assert m["value"] not in done, m
                    count, before = until.get(m["value"], (0, 0))
                    if m["delivery_count"] > count:  # else somebody was faster to tell
                        assert leased_us(m, SHORT) >= before, m
                        until[m["value"]] = m["delivery_count"], micros(m["visibility_deadline"])
                    choice = rng.randrange(4)
                    if choice == 0 and broker.ack(m["receipt_handle"]).status_code == 200:
                        done.add(m["value"])
                    if choice == 1:
                        got = broker.nack(m["receipt_handle"], delay="50ms")
                        if got.status_code == 200:
                            next_us = micros(got.json()["next_visible_at"])
                            until[m["value"]] = m["delivery_count"], next_us

    def run() -> None:
        try:
            work()
        except BaseException as problem:
            problems.append(problem)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for start in range(0, total, 50):
            broker.publish(topic, *map(str, range(start, start + 50)))
        eventually(lambda: problems or len(done) >= total, 60)
    finally:
        finished.set()
        for thread in threads:
            thread.join()
    if problems:
        raise problems[0]
