"""Ordering by key: one message of a key at a time, in the order in which they were published."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from typing import Any

from harness import PATIENCE, Broker, Raw, Setting, eventually, ok, unique
from test_crash import crashing as crashing
from test_dead_letters import exchange


def keyed(keys: str) -> list[dict[str, Any]]:
    """A message for each letter, with that as its key; without one for a dot."""
    return [{"value": str(i), **({} if key == "." else {"key": key})} for i, key in enumerate(keys)]


def test_one_message_of_a_key_at_a_time(broker: Broker) -> None:
    s = Setting(broker, keyed("aab.ab"), ordering="key")
    first = s.poll()
    assert [m["value"] for m in first] == ["0", "2", "3"]
    assert s.values() == []
    ok(broker.ack(first[0]["receipt_handle"]))
    assert s.values() == ["1"]
    ok(broker.ack(first[1]["receipt_handle"]))
    assert s.values() == ["5"]


def test_without_ordering_all_come(broker: Broker) -> None:
    s = Setting(broker, keyed("aab.ab"))
    assert s.values() == ["0", "1", "2", "3", "4", "5"]
    s = Setting(broker, keyed("aab.ab"), ordering="none")
    assert s.values() == ["0", "1", "2", "3", "4", "5"]


def test_a_retry_holds_back_its_key_and_no_other(broker: Broker) -> None:
    s = Setting(broker, keyed("aab"), ordering="key")
    a, b = s.poll()
    ok(broker.nack(a["receipt_handle"], delay="300ms"))
    ok(broker.ack(b["receipt_handle"]))
    assert s.values() == []
    [again] = s.receive(1)
    assert (again["value"], again["delivery_count"]) == ("0", 2)
    ok(broker.reject(again["receipt_handle"]))
    assert s.values() == ["1"]


def test_held_back_messages_are_not_in_flight(broker: Broker) -> None:
    s = Setting(broker, keyed("aaaa"), ordering="key")
    assert len(s.poll()) == 1
    assert s.values() == []
    info = ok(broker.get(f"/topics/{s.topic}/inflight"))
    assert info["partitions"]["0"]["in_flight_count"] == 1


def test_ordering_can_be_switched_while_messages_are_out(broker: Broker) -> None:
    s = Setting(broker, keyed("aaaa"), ordering="key")
    assert s.values() == ["0"]
    broker.join(s.group, s.topic, member_id=s.member, ordering="none")
    assert s.values() == ["1", "2", "3"]
    broker.publish(s.topic, *keyed("ab"))
    broker.join(s.group, s.topic, member_id=s.member)  # says nothing of it: it stays
    assert len(s.values()) == 2
    broker.join(s.group, s.topic, member_id=s.member, ordering="key")
    broker.publish(s.topic, *keyed("abc"))
    assert s.values() == ["2"]


def test_a_poll_that_does_not_wait_gets_what_there_is(own_broker: Broker) -> None:
    """Even when the keys are to be read first."""
    s = Setting(own_broker, keyed("abcabc"), ordering="key", visibility_timeout="1h")
    assert s.values(max_messages=1) == ["0"]
    eventually(lambda: len(s.poll(max_messages=1)) == 1)
    own_broker.restart()
    assert s.values() == ["2"]  # a and b are out
    own_broker.publish(s.topic, *keyed("d"))
    assert s.values() == ["0"]


def test_a_waiting_poll_is_woken_when_a_key_is_free(broker: Broker) -> None:
    s = Setting(broker, keyed("aa"), ordering="key")
    [first] = s.poll()
    timer = threading.Timer(0.2, lambda: broker.ack(first["receipt_handle"]))
    timer.start()
    start = time.monotonic()
    assert s.values(timeout="10s") == ["1"]
    assert time.monotonic() - start < 5 * PATIENCE
    timer.join()


def test_a_partition_moves_and_its_keys_stay_where_they_are_out(broker: Broker) -> None:
    """Contract 7.2, rule 4, for groups without ordering."""
    topic = broker.create(unique("topic"), 2)
    group = unique("group")
    old = broker.join(group, topic)["member_id"]
    for partition in (0, 1):
        broker.publish(topic, *({**m, "partition": partition} for m in keyed("abab.c")))
    taken = broker.poll(group, old, max_messages=4)
    assert sorted(m["value"] for m in taken) == ["0", "0", "1", "1"]
    new = broker.join(group, topic)["member_id"]
    got = broker.poll(group, new)
    assert [m["value"] for m in got] == ["4", "5"]
    moved = got[0]["partition"]
    assert broker.poll(group, new) == []
    [a] = [m for m in taken if m["partition"] == moved and m["value"] == "0"]
    ok(broker.ack(a["receipt_handle"]))
    assert [m["value"] for m in broker.poll(group, new)] == ["2"]
    ok(broker.post(f"/groups/{group}/leave", {"member_id": old}))  # gives b back
    again = [m["value"] for m in broker.poll(group, new) if m["partition"] == moved]
    assert again == ["1", "3"]


KEYS, PER_KEY, KEYLESS = 20, 60, 100
MEMBERS, ROUNDS = 4, 4
VISIBILITY_S = 1.5 * PATIENCE


class Order:
    """What is known of each key. All under one lock."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.next = [0] * KEYS  # the first message of the key whose ack was not sent
        self.unsure: set[tuple[int, int]] = set()  # the broker died before it answered the ack
        self.out: dict[int, tuple[int, float, str]] = {}  # by key: which message, until when, at whom
        self.keyless: set[int] = set()  # that were acked
        self.tally: Counter[str] = Counter()
        self.problems: list[BaseException] = []

    def received(self, key: int, number: int, asked_at: float, member: str) -> None:
        with self.lock:
            assert number <= self.next[key], f"{key}: {number} came before {self.next[key]}"
            assert number == self.next[key] or (key, number) in self.unsure, f"{key}: {number} again"
            other, until, _ = self.out.get(key, (-1, 0.0, ""))
            assert until <= time.monotonic(), f"{key}: {number} came while {other} was out"
            self.out[key] = (number, asked_at + VISIBILITY_S, member)
            self.tally["again" if number < self.next[key] or other == number else "first"] += 1

    def ends(self, key: int, number: int, acked: bool) -> None:
        """Before the broker is told: from then on it may deliver."""
        with self.lock:
            self.out.pop(key, None)
            if acked and number == self.next[key]:
                self.next[key] += 1

    def leaves(self, member: str) -> None:
        """What it has is given back."""
        with self.lock:
            self.out = {key: out for key, out in self.out.items() if out[2] != member}

    def has_all(self) -> bool:
        return self.next == [PER_KEY] * KEYS and len(self.keyless) == KEYLESS


class Worker:
    def __init__(self, order: Order, port: int, group: str, topic: str, seed: int) -> None:
        self.order, self.port, self.group, self.topic = order, port, group, topic
        self.rng = random.Random(seed)

    def run(self, end: float) -> None:
        try:
            with Raw(self.port, timeout=30) as raw:
                while time.monotonic() < end and not self.order.has_all() and self.live(raw, end):
                    pass
        except BaseException as problem:
            self.order.problems.append(problem)

    def live(self, raw: Raw, end: float) -> bool:
        """A member's life; False when the broker died. Some leave early: partitions move."""
        body = {"client_id": "c", "topics": [self.topic], "ordering": "key", "session_timeout": "10s",
                "visibility_timeout": f"{VISIBILITY_S}s", "max_deliveries": 1000}
        status, joined = exchange(raw, "POST", f"/groups/{self.group}/join", body)
        if joined is None:
            return False
        assert status == 200, joined
        member = joined["member_id"]
        for _ in range(self.rng.randint(20, 200)):
            if self.order.has_all() or time.monotonic() > end:
                break
            asked_at = time.monotonic()
            path = f"/groups/{self.group}/poll?member_id={member}&max_messages=5&timeout=100ms"
            status, body = exchange(raw, "GET", path)
            if body is None:
                return False
            assert status == 200, body
            for message in body["messages"]:
                self.order_of(message, asked_at, member)
            for message in body["messages"]:
                if not self.end(raw, message):
                    return False
        self.order.leaves(member)
        return exchange(raw, "POST", f"/groups/{self.group}/leave", {"member_id": member})[0] == 200

    def order_of(self, message: dict[str, Any], asked_at: float, member: str) -> None:
        if message.get("key"):
            self.order.received(int(message["key"]), int(message["value"]), asked_at, member)

    def end(self, raw: Raw, message: dict[str, Any]) -> bool:
        """Ack, nack or forget; False when the broker died."""
        what = self.rng.choices(("ack", "nack", "forget"), (16, 4, 1))[0]
        key, number = message.get("key"), int(message["value"])
        self.order.tally[what] += 1
        if what == "forget":
            return True
        if key:
            self.order.ends(int(key), number, what == "ack")
        body: dict[str, Any] = {"receipt_handle": message["receipt_handle"]}
        if what == "nack":
            body["delay"] = self.rng.choice(("0s", "20ms", "200ms"))
        status, reply = exchange(raw, "POST", f"/messages/{what}", body)
        with self.order.lock:
            if reply is None and what == "ack" and key:
                self.order.unsure.add((int(key), number))
            elif reply is not None:
                assert status == 200, reply
                if what == "ack" and not key:
                    self.order.keyless.add(number)
        return reply is not None


def publish(broker: Broker, topic: str, first: int, end: int) -> None:
    messages = [{"key": str(k), "value": str(n)} for n in range(first, end) for k in range(KEYS)]
    for at in range(0, len(messages), 200):
        broker.publish(topic, *messages[at : at + 200])


def test_each_key_is_processed_in_order(crashing: Broker) -> None:
    """Four members come and go, with random nacks and messages that are forgotten; kill -9."""
    broker, order = crashing, Order()
    topic, group = broker.create("ordered", 4), "workers"
    for i in range(KEYLESS):
        broker.publish(topic, str(i))
    publish(broker, topic, 0, PER_KEY // 2)
    for number in range(ROUNDS):
        last = number == ROUNDS - 1
        end = time.monotonic() + (120 * PATIENCE if last else 2 * PATIENCE)
        workers = [Worker(order, broker.port, group, topic, number * 100 + i) for i in range(MEMBERS)]
        threads = [threading.Thread(target=w.run, args=(end,)) for w in workers]
        for thread in threads:
            thread.start()
        if number == 1:
            publish(broker, topic, PER_KEY // 2, PER_KEY)
        if not last:
            time.sleep(1.2 * PATIENCE)
            broker.kill()
        for thread in threads:
            thread.join()
        if order.problems:
            raise order.problems[0]
        if not last:
            order.out.clear()  # what was handed out in the last moments may come at once
            broker.start()
    assert order.has_all(), (order.next, len(order.keyless))
    print(dict(order.tally))
    positions = broker.positions(group)[topic]
    ends = {str(p): broker.consume(topic, p, limit=1)["latest"] + 1 for p in range(4)}
    eventually(lambda: broker.positions(group)[topic] == ends, 20)
    assert set(positions) == set(ends)


def test_more_held_back_than_there_is_room_for(broker: Broker) -> None:
    """They all wait for a message behind them that waits to be delivered again."""
    early = [{"value": "early", "key": "k", "delay": "3s"}] * 8500
    s = Setting(broker, [], ordering="key")
    for _ in range(2):  # more than 16,384
        broker.publish(s.topic, *early)
    broker.publish(s.topic, {"value": "late", "key": "k"}, {"value": "other", "key": "o"})
    [late] = s.poll(max_messages=1)
    assert late["value"] == "late"
    ok(broker.nack(late["receipt_handle"], delay="0s"))
    eventually(lambda: not ok(broker.get(f"/topics/{s.topic}/delayed", limit=1))["messages"], 30 * PATIENCE)
    [again] = s.receive(1, max_messages=1)
    assert again["value"] == "late"
    ok(broker.ack(again["receipt_handle"]))
    assert s.receive(1, max_messages=1)[0]["value"] == "early"
