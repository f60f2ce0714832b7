"""kill -9 under load, again and again, with messages in every condition that delivery knows.

Producers publish plain, urgent and delayed messages and cancel some; consumers ack, nack, reject,
extend or forget. Afterwards every message is done exactly once: acked, or a dead letter, or cancelled;
never two of these, never one of them twice, and nothing was delivered before its time or after its end.

Three fifths of GQ_CRASH_ROUNDS (50) rounds.
"""

from __future__ import annotations

import random
import shutil
import threading
import time
from collections import Counter
from typing import Any

from harness import PATIENCE, Broker, Raw, eventually, leased_us, micros, now_us, ok
from test_crash import ROUNDS as CRASH_ROUNDS
from test_crash import SETTINGS, digest_of
from test_crash import crashing as crashing
from test_dead_letters import exchange

ROUNDS = max(2, CRASH_ROUNDS * 3 // 5)
PARTITIONS = 3
PRODUCERS, CONSUMERS = 3, 3
DELIVERIES_MAX = 3
VISIBILITY_MS = int(400 * PATIENCE)
VISIBILITY = f"{VISIBILITY_MS}ms"
LANES = ["critical", "high", "normal", "low", "background"]


class Load:
    """What clients know, over all rounds. `unsure`: asked for, and the broker died."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.numbers = [0] * PRODUCERS
        self.places: dict[str, tuple[int, int]] = {}  # of all whose publication was answered
        self.due: dict[str, int] = {}
        self.unsure_published: set[str] = set()
        self.far: set[str] = set()  # due in an hour
        self.cancelled: set[str] = set()
        self.unsure_cancelled: set[str] = set()
        self.acked: set[str] = set()
        self.dead: set[str] = set()  # a client was told so
        self.unsure_done: set[str] = set()
        self.count: Counter[str] = Counter()  # deliveries that are known to be durable
        self.not_before: dict[str, int] = {}  # after a nack
        self.until: dict[str, tuple[int, int]] = {}  # in this run: which delivery, its deadline
        self.tally: Counter[str] = Counter()
        self.problems: list[BaseException] = []
        self.members: list[str] = []

    # Producers.

    def produce(self, port: int, producer: int, seed: int) -> None:
        rng = random.Random(seed)
        with Raw(port, timeout=30) as raw:
            while self.publish(raw, rng, producer) and self.cancel_some(raw, rng):
                time.sleep(rng.uniform(0, 0.01))  # consumers keep up, nearly

    def publish(self, raw: Raw, rng: random.Random, producer: int) -> bool:
        count = rng.randint(1, 12)
        first = self.numbers[producer]
        self.numbers[producer] += count
        messages = [self.message(rng, f"{producer}-{n}") for n in range(first, first + count)]
        status, body = exchange(raw, "POST", "/topics/t/messages", {"messages": messages})
        with self.lock:
            for i, message in enumerate(messages):
                value = message["value"]
                if message.get("delay") == "1h":
                    self.far.add(value)
                if body is None:
                    self.unsure_published.add(value)
                    continue
                assert status == 200, body
                result = body["results"][i]
                assert "error" not in result, result
                self.places[value] = result["partition"], result["offset"]
                if result["delayed"]:
                    self.due[value] = micros(result["deliverAt"])
                    self.tally["delayed"] += 1
        return body is not None

    @staticmethod
    def message(rng: random.Random, value: str) -> dict[str, Any]:
        message: dict[str, Any] = {"value": value, "headers": {"h": value}}
        if rng.random() < 0.5:
            message["key"] = f"key-{rng.randrange(50)}"
        if rng.random() < 0.4:
            message["priority"] = rng.choice(LANES)
        if rng.random() < 0.5:
            message["delay"] = "1h" if rng.random() < 0.1 else f"{rng.randrange(1, 900)}ms"
        return message

    def cancel_some(self, raw: Raw, rng: random.Random) -> bool:
        with self.lock:
            waiting = [v for v in list(self.due)[-40:] if v not in self.cancelled | self.unsure_cancelled]
        for value in rng.sample(waiting, min(rng.randrange(2), len(waiting))):
            partition, offset = self.places[value]
            status, body = exchange(raw, "DELETE", f"/topics/t/delayed/{partition}/{offset}")
            with self.lock:
                if body is None:
                    self.unsure_cancelled.add(value)
                    return False
                if status == 200:
                    assert value not in self.acked | self.dead, f"cancelled when done: {value}"
                    self.cancelled.add(value)
                    self.tally["cancelled"] += 1
                else:
                    assert status == 404, body
                    assert now_us() >= self.due[value], f"not due, but {body}"
        return True

    # Consumers.

    def consume(self, port: int, member: str, seed: int) -> None:
        rng = random.Random(seed)
        path = f"/groups/g/poll?member_id={member}&max_messages=15&timeout=200ms"
        with Raw(port, timeout=30) as raw:
            while True:
                status, body = exchange(raw, "GET", path)
                if body is None:
                    return
                assert status == 200, body
                for message in body["messages"]:
                    self.check(message)
                    if not self.settle(raw, rng, message):
                        return

    def check(self, m: dict[str, Any]) -> None:
        """Was this delivery allowed?"""
        value, leased = m["value"], leased_us(m, VISIBILITY)
        with self.lock:
            self.tally["deliveries"] += 1
            self.tally["retries"] += m["delivery_count"] > 1
            assert m["headers"]["h"] == value, m
            assert value in self.places or value in self.unsure_published or self.in_reply(value), m
            assert value not in self.acked, f"delivered after its ack: {m}"
            assert value not in self.dead, f"delivered when dead: {m}"
            assert value not in self.cancelled, f"delivered when cancelled: {m}"
            assert value not in self.far, f"delivered an hour early: {m}"
            assert 1 <= m["delivery_count"] <= DELIVERIES_MAX, m
            assert leased >= self.due.get(value, 0), f"early: {m}"
            assert m["delivery_count"] > self.count[value], f"count fell: {m}"
            assert leased >= self.not_before.get(value, 0), f"before the nack's delay: {m}"
            number, deadline = self.until.get(value, (0, 0))
            if m["delivery_count"] > number:  # else somebody else told faster
                assert leased >= deadline, f"leased twice at a time: {m}"
                self.until[value] = m["delivery_count"], micros(m["visibility_deadline"])

    def in_reply(self, value: str) -> bool:
        """Is it of a request whose reply its producer may not have seen yet?"""
        producer, number = map(int, value.split("-"))
        return number < self.numbers[producer]

    def settle(self, raw: Raw, rng: random.Random, m: dict[str, Any]) -> bool:
        """Whether the broker is still there."""
        what = rng.choices(("ack", "nack", "reject", "visibility", "forget"), (55, 18, 7, 8, 12))[0]
        if what == "forget":
            return True
        value, count = m["value"], m["delivery_count"]
        body: dict[str, Any] = {"receipt_handle": m["receipt_handle"]}
        if what == "nack":
            body["delay"] = f"{rng.choice((0, 0, 50, 300))}ms"
        if what == "visibility":
            body["timeout"] = VISIBILITY
        status, reply = exchange(raw, "POST", f"/messages/{what}", body)
        with self.lock:
            if reply is None:
                if what != "visibility":
                    self.unsure_done.add(value)
                return False
            self.tally[f"{what} {status}"] += 1
            if status != 200:
                assert status in (404, 410), reply  # too late for it
                assert status == 410 or what != "ack", f"unknown: {m} {reply}"
            elif what == "ack" and "already" not in reply:
                self.acked.add(value)
            elif what == "reject" or (what == "nack" and not reply["requeued"]):
                assert reply["dlq_topic"] == "t.dlq", reply
                self.dead.add(value)
            elif what == "nack":
                assert count < DELIVERIES_MAX, reply
                self.count[value] = max(self.count[value], count)
                self.not_before[value] = micros(reply["next_visible_at"])
                self.until.pop(value, None)
            elif what == "visibility":
                if self.until.get(value, (0, 0))[0] == count:
                    self.until[value] = count, micros(reply["new_deadline"])
        return True

    # Running them.

    def thread(self, target: Any, *arguments: Any) -> threading.Thread:
        def run() -> None:
            try:
                target(*arguments)
            except BaseException as problem:  # shown by the test's own thread
                self.problems.append(problem)

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    def round(self, broker: Broker, number: int) -> None:
        self.until.clear()  # what a crash forgets of leases makes them available earlier
        threads = [self.thread(self.produce, broker.port, i, number * 100 + i) for i in range(PRODUCERS)]
        threads += [
            self.thread(self.consume, broker.port, member, number * 100 + 50 + i)
            for i, member in enumerate(self.members)
        ]
        time.sleep(random.Random(number).uniform(0.2, 0.8))
        broker.kill()
        for thread in threads:
            thread.join()
        if self.problems:
            raise self.problems[0]


class DeadLetters:
    """Reads the dead-letter topic on from where it stopped."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.next_offset = [0] * PARTITIONS
        self.found: dict[str, dict[str, Any]] = {}

    def read_on(self, broker: Broker) -> None:
        if broker.get("/topics/t.dlq").status_code != 200:
            return
        for partition in range(PARTITIONS):
            while page := broker.consume("t.dlq", partition, offset=self.next_offset[partition], limit=1000)["messages"]:
                for m in page:
                    value, headers = m["value"], m["headers"]
                    assert value not in self.found, f"a dead letter twice: {m}"
                    assert value not in self.load.acked, f"acked, and a dead letter: {m}"
                    assert value not in self.load.cancelled, f"cancelled, and a dead letter: {m}"
                    assert headers["h"] == value
                    place = self.load.places.get(value)
                    theirs = int(headers["x-goqueue-original-partition"]), int(headers["x-goqueue-original-offset"])
                    assert place in (None, theirs), m
                    self.found[value] = m
                    self.next_offset[partition] = m["offset"] + 1

    def compare(self) -> None:
        lost = self.load.dead - self.found.keys()
        assert not lost, f"dead letters lost: {sorted(lost)[:10]}"


def check_replay(broker: Broker) -> None:
    """The same state however often it is replayed, also after starts that were cut off.

    A start itself may change it: what fell due meanwhile is journalled then.
    """
    copy = Broker(**SETTINGS)
    try:
        shutil.copytree(broker.data, copy.data)
        for _ in range(3):
            assert digest_of(copy.data) == digest_of(copy.data)
            copy.start().kill()
        copy.start().stop()
        assert digest_of(copy.data) == digest_of(copy.data)
    finally:
        copy.close()


def test_kill_under_delivery(crashing: Broker) -> None:
    broker = crashing
    load = Load()
    dead = DeadLetters(load)
    broker.create("t", PARTITIONS, max_deliveries=DELIVERIES_MAX)
    load.members = [
        broker.join("g", "t", session_timeout="30m", visibility_timeout=VISIBILITY, client_id=str(i))["member_id"]
        for i in range(CONSUMERS)
    ]
    for number in range(ROUNDS):
        known = len(load.places)
        load.round(broker, number)
        assert len(load.places) > known, "the load did nothing"
        if number % 10 == 0 or number == ROUNDS - 1:
            check_replay(broker)
        broker.start()
        dead.read_on(broker)
        dead.compare()
    check_pending(broker, load)
    drain(broker, load)
    dead.read_on(broker)
    dead.compare()
    check_ends(broker, load, dead)
    print(f"{ROUNDS} crashes: {len(load.places)} messages answered, {len(load.unsure_published)} not;"
          f" {len(load.acked)} acked, {len(dead.found)} dead letters; {dict(load.tally)}")


def check_pending(broker: Broker, load: Load) -> None:
    """Those of an hour are all still there, but for the cancelled ones; then they are cancelled too."""
    listed = {m["value"]: m for m in broker.pending("t")}
    for value in load.far & load.places.keys():
        if value in load.cancelled:
            assert value not in listed, f"cancelled, but listed: {value}"
        elif value not in load.unsure_cancelled:
            assert value in listed, f"a delay was lost: {value}"
            m = listed[value]
            assert (m["partition"], m["offset"]) == load.places[value]
            assert micros(m["deliver_at"]) == load.due[value]
    for value, m in listed.items():
        assert value in load.places or value in load.unsure_published, f"unknown: {m}"
        if value in load.far:
            ok(broker.delete(f"/topics/t/delayed/{m['partition']}/{m['offset']}"))
            load.cancelled.add(value)


def drain(broker: Broker, load: Load) -> None:
    """The group gets everything that is not done, and then all of it is done."""
    load.until.clear()
    ends = ok(broker.get("/topics/t"))["partition_offsets"]
    expected = {p: offsets["next"] for p, offsets in ends.items() if offsets["next"] > 0}

    def done() -> bool:
        for member in load.members:
            while messages := broker.poll("g", member, max_messages=500):
                for m in messages:
                    load.check(m)
                body = {"receipt_handles": [m["receipt_handle"] for m in messages]}
                results = ok(broker.post("/messages/ack/batch", body))["results"]
                for m, result in zip(messages, results):
                    assert result["acknowledged"] or result["code"] == "receipt_expired", result
                    load.unsure_done.add(m["value"])  # a dead letter counts as acknowledged too
        return broker.positions("g")["t"] == expected

    try:
        eventually(done, 30, pause=0.1)
    except AssertionError:
        raise AssertionError(what_is_left(broker, expected)) from None
    for member in load.members:
        assert broker.poll("g", member) == []
    got = ok(broker.get("/topics/t/inflight"))
    assert all(p["in_flight_count"] == 0 for p in got["partitions"].values()), got
    stats = ok(broker.get("/reliability/stats"))
    assert stats["ack_manager"]["current_queued"] == 0


def what_is_left(broker: Broker, expected: dict[str, int]) -> str:
    """For the report of a failure: where the group is stuck, and on what."""
    positions = broker.positions("g")["t"]
    lines = [f"positions {positions}, not {expected}"]
    for partition, offset in positions.items():
        if offset != expected[partition]:
            page = broker.consume("t", int(partition), offset=offset, limit=1)
            lines.append(f"partition {partition}: {page}")
    lines += [broker.get(path).text for path in ("/topics/t/inflight", "/reliability/stats", "/groups/g")]
    lines.append(str(broker.pending("t")))
    return "\n".join(lines)


def check_ends(broker: Broker, load: Load, dead: DeadLetters) -> None:
    """Every message ended exactly once."""
    for value in load.places:
        ends = [value in load.acked, value in dead.found, value in load.cancelled]
        if sum(ends) == 0:  # then somebody asked for it and was not answered
            assert value in load.unsure_done | load.unsure_cancelled, f"lost: {value}"
        assert sum(ends) <= 1, f"{value}: acked, dead, cancelled: {ends}"
    stored: dict[str, tuple[int, int]] = {}
    for m in broker.everything("t"):
        assert m["value"] not in stored, f"stored twice: {m}"
        stored[m["value"]] = m["partition"], m["offset"]
    for value, place in load.places.items():
        if value in load.cancelled:
            assert value not in stored, f"cancelled, but shown: {value}"
        elif value not in load.unsure_cancelled:
            assert stored.get(value) == place, f"lost: {value} at {place}"
    assert stored.keys() <= load.places.keys() | load.unsure_published
    assert broker.pending("t") == []
    counted = ok(broker.get("/delay/stats"))
    assert counted["pending_count"] == 0
    assert counted["total_scheduled"] == counted["delivered_count"] + counted["cancelled_count"]
