"""kill -9 under load, again and again, on one data directory.

After each restart: every message that was answered 200 is there exactly once, at the place that was
answered, in order for each producer; a message whose answer never came may be there or not, at most
once; a message whose ack was answered 200 is never delivered to the group again.

GQ_CRASH_ROUNDS sets the number of rounds (50).
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from typing import Any, Optional

import pytest
from harness import BINARY, PATIENCE, Broker, Raw, eventually, goqueue, ok

ROUNDS = int(os.environ.get("GQ_CRASH_ROUNDS", "50"))
PARTITIONS = 3
SINGLE_PRODUCERS, BATCH_PRODUCERS, CONSUMERS = 3, 2, 2
SETTINGS = {  # small, so that checkpoints and new segments come often
    "JOURNAL_CHECKPOINT": "1MiB",
    "JOURNAL_SEGMENTSIZE": "96MiB",
    "LOG_SEGMENTSIZE": "1MiB",
}

VISIBILITY = f"{3 * PATIENCE:g}s"  # longer than a round

Place = tuple[int, int]  # partition, offset


def call(raw: Raw, method: str, path: str, body: Any = None) -> Any:
    """One request; None when the broker died. Anything but 200 is a failure."""
    content = b"" if body is None else json.dumps(body).encode()
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(content)}\r\n\r\n"
    try:
        raw.send(head.encode() + content)
        reply = raw.reply()
    except ConnectionError:
        return None
    if reply is None:
        return None
    assert reply[0] == 200, reply
    return json.loads(reply[2])


class Load:
    """What clients know, over all rounds."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.next_number = [0] * (SINGLE_PRODUCERS + BATCH_PRODUCERS)
        self.confirmed: dict[str, Place] = {}
        self.fresh: dict[str, Place] = {}  # those of this round
        self.unanswered: set[str] = set()
        self.acked: set[Place] = set()
        self.leased: set[Place] = set()  # in this round
        self.members: list[str] = []
        self.problems: list[BaseException] = []

    def produce(self, port: int, producer: int, seed: int) -> None:
        rng = random.Random(seed)
        with Raw(port, timeout=30) as raw:
            while True:
                count = 1 if producer < SINGLE_PRODUCERS else rng.randint(2, 30)
                first = self.next_number[producer]
                self.next_number[producer] += count
                numbers = range(first, first + count)
                values = [f"{producer}-{n}-{'x' * rng.randrange(100)}" for n in numbers]
                body = call(raw, "POST", "/topics/t/messages", {
                    "messages": [self.message(rng, value) for value in values]
                })
                with self.lock:
                    if body is None:
                        self.unanswered.update(values)
                        return
                    for value, result in zip(values, body["results"]):
                        assert "error" not in result, result
                        self.fresh[value] = result["partition"], result["offset"]

    @staticmethod
    def message(rng: random.Random, value: str) -> dict[str, Any]:
        kind = rng.randrange(3)
        if kind == 0:
            return {"value": value}
        if kind == 1:
            return {"value": value, "key": f"key-{rng.randrange(100)}"}
        return {"value": value, "partition": rng.randrange(PARTITIONS)}

    def consume(self, port: int, member: str, stop_when_empty: bool = False) -> None:
        path = f"/groups/g/poll?member_id={member}&max_messages=40&timeout=" + (
            "0s" if stop_when_empty else "300ms"
        )
        with Raw(port, timeout=30) as raw:
            while True:
                body = call(raw, "GET", path)
                if body is None or (stop_when_empty and not body["messages"]):
                    return
                messages = body["messages"]
                with self.lock:
                    for m in messages:
                        place = m["partition"], m["offset"]
                        assert place not in self.acked, f"delivered after its ack: {m}"
                        assert place not in self.leased, f"with two members at a time: {m}"
                        self.leased.add(place)
                if not self.ack(raw, messages):
                    return

    def ack(self, raw: Raw, messages: list[dict[str, Any]]) -> bool:
        singles, batch = messages[:3], messages[3:]
        for m in singles:
            body = call(raw, "POST", "/messages/ack", {"receipt_handle": m["receipt_handle"]})
            if body is None:
                return False
            with self.lock:
                self.acked.add((m["partition"], m["offset"]))
        if batch:
            handles = [m["receipt_handle"] for m in batch]
            body = call(raw, "POST", "/messages/ack/batch", {"receipt_handles": handles})
            if body is None:
                return False
            assert body["success_count"] == len(handles), body
            with self.lock:
                self.acked.update((m["partition"], m["offset"]) for m in batch)
        return True

    def thread(self, target: Any, *arguments: Any) -> threading.Thread:
        def run() -> None:
            try:
                target(*arguments)
            except BaseException as problem:  # shown by the test's own thread
                self.problems.append(problem)

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    def check_problems(self) -> None:
        if self.problems:
            raise self.problems[0]


class Reader:
    """Reads on where it stopped and compares with what clients know."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.next_offset = [0] * PARTITIONS
        self.places: dict[str, Place] = {}
        self.last_number: dict[tuple[int, str], int] = {}

    def read_on(self, broker: Broker) -> None:
        for partition in range(PARTITIONS):
            while True:
                at = self.next_offset[partition]
                page = broker.consume("t", partition, offset=at, limit=1000)
                for m in page["messages"]:
                    assert m["offset"] == self.next_offset[partition], "a gap"
                    self.next_offset[partition] += 1
                    self.add(m["value"], partition, m["offset"])
                if not page["messages"]:
                    break

    def compare(self, expected: dict[str, Place]) -> None:
        for value, place in expected.items():
            assert self.places.get(value) == place, f"lost: {value} at {place}"

    def add(self, value: str, partition: int, offset: int) -> None:
        assert value not in self.places, f"twice: {value}"
        assert value in self.load.confirmed or value in self.load.unanswered, f"unknown: {value}"
        self.places[value] = partition, offset
        producer, number, _ = value.split("-")
        last = self.last_number.get((partition, producer), -1)
        assert int(number) > last, f"order: {value} after {last}"
        self.last_number[partition, producer] = int(number)


def digest_of(directory: Any) -> str:
    ended = goqueue("check", str(directory), "--json")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    digest = json.loads(ended.stdout)["digest"]
    assert isinstance(digest, str)
    assert digest
    return digest


def check_digest(broker: Broker) -> None:
    """The state after replay is the state before, however often, and after a clean stop too."""
    copy = Broker(**SETTINGS)
    try:
        shutil.copytree(broker.data, copy.data)
        first = digest_of(copy.data)
        assert digest_of(copy.data) == first
        copy.start().stop()
        assert digest_of(copy.data) == first
        copy.start().kill()
        assert digest_of(copy.data) == first
    finally:
        copy.close()


@pytest.fixture
def crashing() -> Iterator[Broker]:
    broker = Broker(**SETTINGS)
    try:
        yield broker.start()
    finally:
        broker.close()


def one_round(broker: Broker, load: Load, number: int) -> None:
    load.leased.clear()
    load.fresh = {}
    port = broker.port
    threads = [
        load.thread(load.produce, port, producer, number * 100 + producer)
        for producer in range(SINGLE_PRODUCERS + BATCH_PRODUCERS)
    ]
    threads += [load.thread(load.consume, port, member) for member in load.members]
    time.sleep(random.Random(number).uniform(0.2, 0.8))
    broker.kill()
    for thread in threads:
        thread.join()
    load.check_problems()
    load.confirmed.update(load.fresh)


def test_kill_under_load(crashing: Broker) -> None:
    broker = crashing
    load = Load()
    reader = Reader(load)
    broker.create("t", PARTITIONS, max_deliveries=1000)  # each crash costs one
    load.members = [
        broker.join("g", "t", session_timeout="30m", visibility_timeout=VISIBILITY)["member_id"]
        for _ in range(CONSUMERS)
    ]
    for number in range(ROUNDS):
        one_round(broker, load, number)
        assert load.fresh, "the load did nothing"
        if number % 10 == 0 or number == ROUNDS - 1:
            check_digest(broker)
        broker.start()
        reader.read_on(broker)
        reader.compare(load.fresh)
    again = Reader(load)  # all of it once more, from the first offset on
    again.read_on(broker)
    again.compare(load.confirmed)
    drain(broker, load)
    ok(broker.get("/health"))
    print(
        f"{ROUNDS} crashes: {len(load.confirmed)} messages answered, {len(load.unanswered)} not,"
        f" {len(load.acked)} acked"
    )


def drain(broker: Broker, load: Load) -> None:
    """The group gets everything that is not done, and then it is all done."""
    load.leased.clear()
    ends = ok(broker.get("/topics/t"))["partition_offsets"]
    expected = {p: offsets["next"] for p, offsets in ends.items() if offsets["next"] > 0}

    def done() -> bool:  # what was in flight at the last crash comes when its deadline passes
        for member in load.members:
            load.consume(broker.port, member, stop_when_empty=True)
        return broker.positions("g")["t"] == expected

    eventually(done, 15, pause=0.1)
    load.check_problems()
    for member in load.members:
        assert broker.poll("g", member) == []


def test_kill_while_topics_and_groups_change(own_broker: Broker) -> None:
    """Whatever was answered is there after the crash: topics, groups, members, positions."""
    b = own_broker
    rounds = max(2, ROUNDS // 10)
    for number in range(rounds):
        topics: dict[str, Optional[int]] = {}
        members: dict[str, str] = {}
        for i in range(12):
            topic = f"topic-{number}-{i}"
            b.create(topic, 1 + i % 4)
            topics[topic] = 1 + i % 4
            if i % 3 == 0:
                ok(b.delete(f"/topics/{topic}"))
                topics[topic] = None
            else:
                b.publish(topic, topic)
        kept = f"topic-{number}-1"
        for i in range(3):
            group = f"group-{number}-{i}"
            members[group] = b.join(group, kept, session_timeout="30m")["member_id"]
        ok(b.delete(f"/groups/group-{number}-2"))
        messages = b.poll(f"group-{number}-0", members[f"group-{number}-0"])
        ok(b.ack(messages[0]["receipt_handle"]))
        b.crash()
        for topic, partitions in topics.items():
            reply = b.get(f"/topics/{topic}")
            assert (ok(reply)["partitions"] if reply.status_code == 200 else None) == partitions
            if partitions is not None:
                assert b.values(topic) == [topic]
        groups = ok(b.get("/groups"))["groups"]
        assert f"group-{number}-0" in groups
        assert f"group-{number}-1" in groups
        assert f"group-{number}-2" not in groups
        assert b.poll(f"group-{number}-0", members[f"group-{number}-0"]) == []
        assert len(b.poll(f"group-{number}-1", members[f"group-{number}-1"])) == 1


def test_kill_while_starting(own_broker: Broker) -> None:
    """A start that is cut off anywhere does no harm."""
    b = own_broker
    b.publish("t", *({"value": str(i), "partition": 0} for i in range(500)))
    b.kill()
    for milliseconds in (0, 1, 2, 4, 8, 15, 30, 60, 120):
        process = subprocess.Popen(
            [BINARY, "serve"],
            env=b.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(milliseconds * PATIENCE / 1000)
        process.kill()
        process.wait()
    b.start()
    assert b.values("t") == [str(i) for i in range(500)]
